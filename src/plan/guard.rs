//! The guard against a plan that takes the site away, which is most likely that of the wrong archive.

use super::known::Known;
use super::rules::Rules;
use super::verdict::Verdict;
use crate::archive::ArchiveIndex;
use crate::key::live_key;

/// This many objects may leave any site, because small sites may change completely.
const REMOVALS_ALWAYS_ALLOWED: usize = 100;

/// The plan would take away what a site hardly ever loses on purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LargeDelete {
    #[error(
        "the deployment would remove {removed} of the {objects} live objects, so nothing was changed: check that \
         this is the right archive for ArchiveRoot (ARCHIVE_ROOT) and LivePrefix (LIVE_PREFIX), then send the event \
         again with \"options\":{{\"allowLargeDelete\":true}}, or raise MaxDeletePercent (MAX_DELETE_PERCENT, now {percent})"
    )]
    Objects {
        /// How many objects leave the site, whether they are deleted now or retained first.
        removed: usize,
        objects: usize,
        percent: u8,
    },
    #[error(
        "the deployment would remove the site's index document `{key}`, so nothing was changed: check that this is \
         the right archive for ArchiveRoot (ARCHIVE_ROOT) and LivePrefix (LIVE_PREFIX); if the site should lose it, \
         send the event again with \"options\":{{\"allowLargeDelete\":true}}"
    )]
    IndexDocument { key: String },
    /// The archive is probably a zip of the folder instead of its contents.
    #[error(
        "all files of the archive are in the folder `{folder}`, and the live site {}, so nothing was changed: to \
         deploy the folder's contents, set ArchiveRoot={folder} (the variable ARCHIVE_ROOT={folder}); if the site \
         should have that folder, set ArchiveRoot=. (ARCHIVE_ROOT=.) once and for all, or send the event again with \
         \"options\":{{\"allowLargeDelete\":true}}",
        harm(.lost)
    )]
    Folder {
        /// With the archive root that is set, and a slash at the end.
        folder: String,
        /// The index document that the site would lose; `None` if the site only lacks the folder.
        lost: Option<String>,
    },
}

fn harm(lost: &Option<String>) -> String {
    match lost {
        Some(key) => format!("would lose its index document `{key}`"),
        None => "has no such folder".to_owned(),
    }
}

/// The number of the site's objects, how many of them leave it, and whether its index document is among these. Objects
/// that an earlier deployment has removed, and only retains, no longer count.
pub(super) struct Guard<'a> {
    /// The one top folder of the archive, if there is one, and nothing says that it is meant.
    folder: Option<&'a str>,
    /// The folder in it that has the site.
    site_folder: &'a str,
    folder_key: Option<String>,
    index_key: String,
    objects: usize,
    removed: usize,
    has_folder: bool,
    loses_index: bool,
}

impl<'a> Guard<'a> {
    pub(super) fn new(index: &'a ArchiveIndex, rules: &Rules<'_>) -> Self {
        let folder = index.only_folder();
        Self {
            folder_key: folder.map(|folder| live_key(rules.live_prefix, folder)),
            site_folder: index.wrapped_site(rules.index_document).unwrap_or_default(),
            folder,
            index_key: live_key(rules.live_prefix, rules.index_document),
            objects: 0,
            removed: 0,
            has_folder: false,
            loses_index: false,
        }
    }

    pub(super) fn count(&mut self, known: &Known<'_, '_>, verdict: &Verdict<'_>) {
        let Some(key) = known.stored_key().filter(|_| known.object.is_some() && !known.was_removed()) else {
            return;
        };
        let is_removed = matches!(verdict, Verdict::Deleted(_) | Verdict::Retained(_));
        self.objects += 1;
        self.removed += usize::from(is_removed);
        self.has_folder |= self.folder_key.as_ref().is_some_and(|folder| key.starts_with(folder));
        self.loses_index |= is_removed && key == self.index_key;
    }

    /// Refuses a plan that removes too much, or that replaces the site by a folder.
    pub(super) fn check(self, rules: &Rules<'_>) -> Result<(), LargeDelete> {
        if rules.allow_large_delete {
            return Ok(());
        }
        let is_folder_meant = self.folder.is_some() && rules.archive_root == Some("");
        let lost = (self.loses_index && !is_folder_meant).then_some(self.index_key);
        match (self.folder, lost) {
            (Some(_), lost) if lost.is_some() || !(self.has_folder || rules.archive_root.is_some()) => {
                let folder = format!("{}{}", rules.archive_root.unwrap_or_default(), self.site_folder);
                return Err(LargeDelete::Folder { folder, lost });
            }
            (None, Some(key)) => return Err(LargeDelete::IndexDocument { key }),
            _ => {}
        }
        let Self { objects, removed, .. } = self;
        let percent = rules.max_delete_percent;
        if removed > REMOVALS_ALWAYS_ALLOWED && removed * 100 > objects * usize::from(percent) {
            return Err(LargeDelete::Objects { removed, objects, percent });
        }
        Ok(())
    }
}
