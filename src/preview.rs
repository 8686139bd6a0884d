//! Previews: the names of branches that are sites of their own, and which site an upload belongs to.
//!
//! A preview is the same pipeline under another site name and prefix: `previews/<name>/` below the live prefix, as the
//! site `<SITE>/previews/<name>`. Which one an upload belongs to is decided by its key alone. So no event, whoever sent
//! it and whatever its age, can bring a preview's archive to the live site.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::key::PLANS_FOLDER;

/// The folder of all previews: in the live prefix, in the folders for uploads and plans, and in the site's name.
pub const FOLDER: &str = "previews/";

/// The name of the file whose upload to a preview's folder removes the preview.
///
/// So a pull request's role, which may only upload, can end what it has begun. It is no archive by its name.
const REMOVE: &str = "remove";

/// The longest name.
const MAX_BYTES: usize = 63;

/// The allowed names, for errors.
pub const RULE: &str = "a name is a DNS label: 1 to 63 lower-case letters, digits and hyphens, without a hyphen at \
                        either end";

/// The name of a preview, which is a DNS label.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PreviewName(String);

impl PreviewName {
    /// Returns the name if it is a DNS label.
    pub fn parse(text: &str) -> Option<Self> {
        let is_label = (1..=MAX_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        is_label.then(|| Self(text.to_owned()))
    }

    /// Returns the name that is nearest to a branch's, such as `feature-menu-2` for `feature/Menu_2`; `None` if nothing
    /// of it can be in a name. One that is too long is cut, and tells by a digest which branch it is.
    pub fn of_branch(branch: &str) -> Option<Self> {
        let lower = branch.to_lowercase();
        let words = lower.split(|char: char| !char.is_ascii_lowercase() && !char.is_ascii_digit());
        let label = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
        if label.len() <= MAX_BYTES {
            return Self::parse(&label);
        }
        let digest = hex::encode(&Sha256::digest(branch)[..3]);
        Self::parse(&format!("{}-{digest}", label[..MAX_BYTES - 7].trim_end_matches('-')))
    }

    /// Reads `previews/<name>`.
    pub fn in_folder(path: &str) -> Option<Self> {
        Self::parse(path.strip_prefix(FOLDER)?)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the preview's part of keys, `previews/<name>/`.
    pub fn folder(&self) -> String {
        format!("{FOLDER}{}/", self.0)
    }
}

impl fmt::Display for PreviewName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What an upload to the staging bucket asks for, by its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// It is the live site's.
    Live,
    /// It is a preview's.
    Preview(PreviewName),
    /// It removes a preview.
    Remove(PreviewName),
}

/// The key of an upload to the folder of previews that belongs to none.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BadPreviewKey {
    #[error(
        "`{key}` is in the folder of previews, and this stack has none, so nothing was deployed: set Previews=true \
         (PREVIEWS), or upload an archive for the live site to `{uploads}`"
    )]
    Off { key: String, uploads: String },
    #[error(
        "`{key}` belongs to no preview, so nothing was deployed: upload archives to `{folder}<name>/<file>.zip`; {RULE}"
    )]
    NoName { key: String, folder: String },
}

/// Decides by its key which site an upload belongs to. `uploads` is the folder for archives, which ends in a slash.
///
/// # Errors
/// The key is in the folder of previews but belongs to none, or the stack has no previews: whoever may upload there may
/// not deploy the live site.
pub fn purpose(key: &str, uploads: &str, has_previews: bool) -> Result<Purpose, BadPreviewKey> {
    for root in [uploads, PLANS_FOLDER] {
        let folder = format!("{root}{FOLDER}");
        let Some(rest) = key.strip_prefix(&folder) else { continue };
        if !has_previews {
            return Err(BadPreviewKey::Off { key: key.to_owned(), uploads: uploads.to_owned() });
        }
        let (name, file) = rest.split_once('/').unwrap_or((rest, ""));
        let name = PreviewName::parse(name).filter(|_| !file.is_empty() && !file.contains('/'));
        return match name {
            Some(name) if file == REMOVE && root == uploads => Ok(Purpose::Remove(name)),
            Some(name) => Ok(Purpose::Preview(name)),
            None => Err(BadPreviewKey::NoName { key: key.to_owned(), folder }),
        };
    }
    Ok(Purpose::Live)
}

/// Returns the key whose upload removes a preview.
pub fn removal_key(uploads: &str, name: &PreviewName) -> String {
    format!("{uploads}{}{REMOVE}", name.folder())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(key: &str) -> Result<Purpose, BadPreviewKey> {
        purpose(key, "uploads/", true)
    }

    fn name(text: &str) -> PreviewName {
        PreviewName::parse(text).unwrap()
    }

    #[test]
    fn the_key_alone_says_which_site_an_upload_belongs_to() {
        assert_eq!(of("uploads/site.zip"), Ok(Purpose::Live));
        assert_eq!(of("uploads/previews.zip"), Ok(Purpose::Live));
        assert_eq!(of("uploads/v2/previews/a/site.zip"), Ok(Purpose::Live));
        assert_eq!(of("uploads/previews/pr-7/site.zip"), Ok(Purpose::Preview(name("pr-7"))));
        assert_eq!(of("plans/previews/pr-7/0123.zip"), Ok(Purpose::Preview(name("pr-7"))));
        assert_eq!(of("uploads/previews/pr-7/remove"), Ok(Purpose::Remove(name("pr-7"))));
        assert_eq!(of("plans/previews/pr-7/remove"), Ok(Purpose::Preview(name("pr-7"))), "a plan removes nothing");
        assert_eq!(purpose("in/previews/a/b.zip", "in/", true), Ok(Purpose::Preview(name("a"))));
    }

    #[test]
    fn a_key_in_the_folder_of_previews_never_reaches_the_live_site() {
        for key in [
            "uploads/previews/site.zip",
            "uploads/previews//site.zip",
            "uploads/previews/a/b/site.zip",
            "uploads/previews/a/",
            "uploads/previews/PR-7/site.zip",
            "uploads/previews/-a/site.zip",
            "uploads/previews/a-/site.zip",
            "uploads/previews/../site.zip",
            "uploads/previews/a.b/site.zip",
            "plans/previews/site.zip",
        ] {
            assert!(matches!(of(key), Err(BadPreviewKey::NoName { .. })), "{key}");
        }
        for key in ["uploads/previews/site.zip", "uploads/previews/a/site.zip", "plans/previews/a/site.zip"] {
            assert!(matches!(purpose(key, "uploads/", false), Err(BadPreviewKey::Off { .. })), "{key}");
        }
        insta::assert_snapshot!(of("uploads/previews/PR_7/site.zip").unwrap_err(), @"`uploads/previews/PR_7/site.zip` belongs to no preview, so nothing was deployed: upload archives to `uploads/previews/<name>/<file>.zip`; a name is a DNS label: 1 to 63 lower-case letters, digits and hyphens, without a hyphen at either end");
        insta::assert_snapshot!(purpose("uploads/previews/a/site.zip", "uploads/", false).unwrap_err(), @"`uploads/previews/a/site.zip` is in the folder of previews, and this stack has none, so nothing was deployed: set Previews=true (PREVIEWS), or upload an archive for the live site to `uploads/`");
    }

    #[test]
    fn a_branch_gets_the_name_that_is_nearest_to_its_own() {
        let of_branch = |branch: &str| PreviewName::of_branch(branch).map(|name| name.to_string());
        assert_eq!(of_branch("feature/Menu_2").as_deref(), Some("feature-menu-2"));
        assert_eq!(of_branch("--fix--").as_deref(), Some("fix"));
        assert_eq!(of_branch("größe").as_deref(), Some("gr-e"));
        assert_eq!(of_branch("🎉"), None);
        let long = |end: &str| of_branch(&format!("renovate/{}{end}", "a".repeat(60))).unwrap();
        assert!(long("1").len() <= 63 && long("1").starts_with("renovate-aaa"), "{}", long("1"));
        assert_ne!(long("1"), long("2"), "two branches do not share a preview because their names are long");
    }

    proptest! {
        #[test]
        fn every_name_of_a_branch_is_a_dns_label(branch in "\\PC{0,80}") {
            if let Some(name) = PreviewName::of_branch(&branch) {
                prop_assert_eq!(PreviewName::parse(name.as_str()), Some(name));
            }
        }

        #[test]
        fn what_is_uploaded_below_the_folder_of_previews_is_a_previews_or_refused(
            rest in "[a-zA-Z0-9./-]{0,12}", has_previews: bool,
        ) {
            let purpose = purpose(&format!("uploads/previews/{rest}"), "uploads/", has_previews);
            prop_assert_ne!(purpose, Ok(Purpose::Live));
        }
    }
}
