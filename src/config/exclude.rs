//! The files of an archive that are not deployed.

use super::variables::Variables;
use crate::archive::LeftOut;
use crate::patterns::Patterns;

/// Files that no site shows on purpose: the history of the source, and the variables of the build, which often hold
/// passwords. Bots ask every site for them.
const PRIVATE: &str = ".git/\n.hg/\n.svn/\n.env\n.env.*\n";

/// The files that are left out: private ones, and those of the setting `EXCLUDE`, which may bring private ones back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exclude(Patterns);

impl Exclude {
    pub(super) fn read<Get: Fn(&str) -> Option<String>>(variables: &mut Variables<Get>) -> Self {
        Self(variables.patterns("EXCLUDE", PRIVATE))
    }

    /// Returns why a file is left out; `None` if it is deployed.
    pub fn left_out(&self, name: &str) -> Option<LeftOut> {
        let at = self.0.selecting(name)?;
        Some(if at < PRIVATE.lines().count() { LeftOut::AsPrivate } else { LeftOut::BySetting })
    }
}
