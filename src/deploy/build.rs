//! The build: an archive whose index was read and accepted.

use super::attempt::Attempt;
use super::private_keys;
use crate::archive::{ArchiveIndex, Rejection, Selection, other_by_name, shown};
use crate::aws::archive::Archive;
use crate::error::Error;
use crate::headers::{HeaderRules, HeadersFile};
use crate::plan::Plan;
use crate::preview;
use crate::report::Report;

/// An archive with its index and the headers of its files.
pub(super) struct Build {
    pub archive: Archive,
    pub index: ArchiveIndex,
    pub headers: HeaderRules,
    /// Sentences for the report.
    pub warnings: Vec<String>,
}

impl Build {
    /// Opens the archive and judges it by its name, its index and its `_headers` file.
    ///
    /// # Errors
    /// `ArchiveRejected`, `ArchiveGone`, `Aws`.
    pub(super) async fn read(attempt: &Attempt<'_>) -> Result<Self, Error> {
        let config = &attempt.site.config;
        let key = &attempt.upload.key;
        if let Some(format) = other_by_name(key) {
            return Err(Rejection::OtherFormat { name: format!("`{}`", shown(key.as_bytes())), format }.into());
        }
        let archive = attempt.site.clients.archives.open(&attempt.upload);
        let left_out = |name: &str| config.exclude.left_out(name);
        let selection = Selection { root: config.archive_root.as_deref().unwrap_or_default(), left_out: &left_out };
        let index = archive.read_index(&selection, &config.archive_limits()).await?;
        tracing::info!(entries = index.entries.len(), left_out = index.left_out, "archive read");
        if config.previews.is_some() {
            index.keep_out_of(preview::FOLDER)?;
        }
        let file = match &index.headers_file {
            Some(entry) => Some(HeadersFile::parse(&archive.read_small(entry).await?)?),
            None => None,
        };
        let names: Vec<&str> = index.entries.iter().map(|entry| &*entry.name).collect();
        let mut warnings = index.warnings.clone();
        if let Some(file) = &file {
            warnings.extend(file.check(&names)?);
        }
        let headers = HeaderRules::new(config.cache_control.clone(), &config.live_prefix, &names, file);
        Ok(Self { archive, index, headers, warnings })
    }

    /// Adds to a report the counts of a plan, and the warnings about the archive.
    pub(super) async fn describe(&self, plan: &Plan<'_>, report: &mut Report) {
        report.count(plan);
        report.left_out = self.index.left_out;
        report.warnings.extend(self.warnings.iter().cloned());
        report.warnings.extend(private_keys::warning(&self.archive, &plan.puts).await);
    }
}
