//! The archive of a build: a zip, or a folder that is zipped while it is uploaded.

use std::cell::Cell;
use std::fs::File;
use std::io::{Cursor, Error, Write};
use std::path::{Path, PathBuf};

use dropship::aws::operator::{LocalArchive, Uploaded, Written};
use dropship::config::Config;
use indicatif::ProgressBar;
use tempfile::NamedTempFile;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::folder::{self, Item};
use crate::pack;
use crate::preflight::{self, Judged};
use crate::print::{Printer, Unit, bytes, count};
use crate::stack::Stack;

/// A build whose names and `_headers` file were judged.
pub struct Archive {
    /// Equal builds have equal digests.
    pub digest: String,
    pub warnings: Vec<String>,
    path: PathBuf,
    contents: Contents,
}

enum Contents {
    /// A zip of this size, which was judged as a whole.
    Zip(u64),
    Folder(Vec<Item>),
}

impl Archive {
    /// Takes a zip or a folder. The function's rules judge it as far as that is possible before a folder is zipped.
    pub fn prepare(printer: &Printer, stack: &Stack, build: &Path) -> Result<Self, Failure> {
        if !build.exists() {
            return Err(Failure::Usage(format!("{} does not exist", build.display())));
        }
        if build.is_dir() { Self::folder(printer, &stack.config, build) } else { Self::zip(&stack.config, build) }
    }

    fn zip(config: &Config, path: &Path) -> Result<Self, Failure> {
        let unreadable = |error: Error| Failure::Local(format!("{}: {error}", path.display()));
        // To open a named pipe would wait for its writer.
        if !path.is_file() {
            return Err(Failure::Usage(format!("{} is neither a folder nor a file", path.display())));
        }
        let mut file = File::open(path).map_err(unreadable)?;
        let Judged { size_bytes, warnings } = preflight::judge(&mut file, path, config)?;
        let digest = preflight::digest(&mut file).map_err(unreadable)?;
        Ok(Self { digest, warnings, path: path.to_owned(), contents: Contents::Zip(size_bytes) })
    }

    fn folder(printer: &Printer, config: &Config, path: &Path) -> Result<Self, Failure> {
        let mut items = folder::list(path, config)?;
        folder::check_index(path, &items, config)?;
        let root = config.archive_root.as_deref().unwrap_or_default();
        let skeleton = pack::skeleton(&items, &format!("{root}_headers"))?;
        let Judged { warnings, .. } = preflight::judge(&mut Cursor::new(skeleton), path, config)?;
        let bar = printer.bar("reading", folder::size_bytes(&items), Unit::Bytes);
        let digest = folder::digest(&mut items, &bar)?;
        bar.finish_and_clear();
        Ok(Self { digest, warnings, path: path.to_owned(), contents: Contents::Folder(items) })
    }

    /// Uploads the archive. Returns its size, too.
    pub async fn upload(
        self,
        printer: &Printer,
        stack: &Stack,
        key: &str,
        source: Option<(&str, String)>,
    ) -> Result<(Uploaded, u64), Failure> {
        let Self { digest, path, contents, .. } = self;
        let to = (&*stack.config.staging_bucket, key);
        let is_interrupted = Cell::new(false);
        let withdrawn = || {
            let status =
                if is_interrupted.get() { "; if S3 has it all the same, `dropship status` shows it" } else { "" };
            Failure::Local(format!("{} was not uploaded{status}", path.display()))
        };
        let items = match contents {
            Contents::Folder(items) => items,
            Contents::Zip(size_bytes) => {
                let bar = printer.bar("uploading", size_bytes, Unit::Bytes);
                let written = watch::Sender::new(Written::Whole(size_bytes)).subscribe();
                let archive = LocalArchive { path: &path, digest: &digest, max_bytes: size_bytes, written };
                let sent = |bytes| bar.inc(bytes);
                let uploaded = stack.operator.upload(to, archive, source, &sent, interrupted(&is_interrupted)).await;
                bar.finish_and_clear();
                return Ok((uploaded?.ok_or_else(withdrawn)?, size_bytes));
            }
        };
        let (files, files_bytes) = (items.len() as u64, folder::size_bytes(&items));
        let bar = printer.bar("zipping and uploading", 2 * files_bytes, Unit::Bytes);
        let file = NamedTempFile::with_suffix(".zip").map_err(|error| Failure::local(unwritten(&error)))?;
        let written = watch::Sender::new(Written::UpTo(0));
        let archive = LocalArchive {
            path: file.path(),
            digest: &digest,
            // Deflate enlarges contents by less than a thousandth; names and headers take less than 4 KiB for each file.
            max_bytes: 2 * files_bytes + (files << 12),
            written: written.subscribe(),
        };
        let zipping = {
            let (path, file, config) = (path.clone(), file.reopen().map_err(Failure::local)?, stack.config.clone());
            let bar = bar.clone();
            tokio::task::spawn_blocking(move || zip(&items, file, &written, &path, &config, &bar))
        };
        let zipping = async {
            let size_bytes = zipping.await.map_err(Failure::local)??;
            bar.set_length(files_bytes + size_bytes);
            bar.suspend(|| printer.tell(&format!("zipped {} into {}", count(files, "file"), bytes(size_bytes))));
            Ok::<_, Failure>(size_bytes)
        };
        let sent = |bytes| bar.inc(bytes);
        let uploading = stack.operator.upload(to, archive, source, &sent, interrupted(&is_interrupted));
        let (uploaded, zipped) = tokio::join!(uploading, zipping);
        bar.finish_and_clear();
        if is_interrupted.get() {
            return Err(withdrawn());
        }
        // An upload that fails ends the zipping too.
        let uploaded = uploaded?;
        let size_bytes = zipped?;
        Ok((uploaded.ok_or_else(withdrawn)?, size_bytes))
    }
}

/// Waits for Ctrl-C, and remembers it.
async fn interrupted(is_interrupted: &Cell<bool>) {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    is_interrupted.set(true);
}

/// Returns the error of the file that is zipped into, with its folder.
fn unwritten(error: &Error) -> Error {
    let folder = std::env::temp_dir();
    Error::new(error.kind(), format!("zipping into {}: {error}; TMPDIR chooses another folder", folder.display()))
}

/// Zips files, and judges the archive before it may become an object. Returns its size.
fn zip(
    items: &[Item],
    file: File,
    written: &watch::Sender<Written>,
    path: &Path,
    config: &Config,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    let watched = Watched { file, bytes: 0, written, is_broken: false };
    let Watched { mut file, .. } = pack::pack(items, watched, bar)?;
    let Judged { size_bytes, .. } = preflight::judge(&mut file, path, config)?;
    written.send_replace(Written::Whole(size_bytes));
    Ok(size_bytes)
}

/// A file that says how many bytes were written to it. It takes no more when no upload waits for them.
struct Watched<'a> {
    file: File,
    bytes: u64,
    written: &'a watch::Sender<Written>,
    is_broken: bool,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // After a failure `ZipWriter` tries to finish the archive, and would print a complaint.
        if self.is_broken {
            return Ok(bytes.len());
        }
        let result = if self.written.is_closed() {
            Err(Error::other("the upload has ended"))
        } else {
            self.file.write(bytes).map_err(|error| unwritten(&error))
        };
        match result {
            Ok(count) => {
                self.bytes += count as u64;
                self.written.send_replace(Written::UpTo(self.bytes));
            }
            Err(_) => self.is_broken = true,
        }
        result
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.is_broken { Ok(()) } else { self.file.flush() }
    }
}
