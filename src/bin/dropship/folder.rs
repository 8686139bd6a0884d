//! The files of a folder that is pushed, and the digest of their contents.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dropship::config::Config;
use ignore::WalkBuilder;
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// Begins what is digested. Raise the number when equal files become another zip, so that they are uploaded again.
const FORMAT: &str = "dropship folder 1\n";

/// A file of the folder.
pub struct Item {
    /// Its name in the archive.
    pub name: String,
    path: PathBuf,
    pub size_bytes: u64,
    /// The SHA-256 of its contents, once they were [digested](digest).
    sha256: [u8; 32],
}

/// Lists the files that would be deployed, sorted by name.
pub fn list(folder: &Path, config: &Config) -> Result<Vec<Item>, Failure> {
    let root = folder.canonicalize().map_err(|error| Failure::Usage(format!("{}: {error}", folder.display())))?;
    let archive_root = config.archive_root.as_deref().unwrap_or_default();
    // Someone may push the folder that the root names, or the one around it.
    let prefix = if root.join(archive_root).is_dir() { "" } else { archive_root };
    let mut items = Vec::new();
    for entry in WalkBuilder::new(&root).standard_filters(false).follow_links(true).build() {
        let entry = entry.map_err(Failure::local)?;
        let path = entry.path();
        let metadata = entry.metadata().map_err(Failure::local)?;
        if metadata.is_dir() {
            continue;
        }
        let name = path.strip_prefix(&root).map_err(Failure::local)?;
        let name = name.to_str().ok_or_else(|| Failure::Local(format!("{}: its name is not UTF-8", name.display())))?;
        let name = name.replace(std::path::MAIN_SEPARATOR, "/");
        let below_root = if prefix.is_empty() { name.strip_prefix(archive_root) } else { Some(&*name) };
        if below_root.is_some_and(|name| config.exclude.left_out(name).is_some()) || is_litter(&name) {
            continue;
        }
        if !metadata.is_file() {
            return Err(Failure::Local(format!("{name} is neither a file nor a folder; take it out")));
        }
        // A link may lead anywhere on this machine, and the site is public.
        if entry.path_is_symlink() || has_link(&root, path) {
            let target = path.canonicalize().map_err(Failure::local)?;
            if !target.starts_with(&root) {
                let target = target.display();
                return Err(Failure::Local(format!("{name} is a link out of the folder, to {target}; copy the file")));
            }
        }
        let name = format!("{prefix}{name}");
        items.push(Item { name, path: path.to_owned(), size_bytes: metadata.len(), sha256: [0; 32] });
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
}

/// Returns how many bytes the files have together.
pub fn size_bytes(items: &[Item]) -> u64 {
    items.iter().map(|item| item.size_bytes).sum()
}

/// Refuses a folder that lacks the index document where a folder in it has one.
pub fn check_index(folder: &Path, items: &[Item], config: &Config) -> Result<(), Failure> {
    let index = &config.index_document;
    let archive_root = config.archive_root.as_deref().unwrap_or_default();
    let has_index = items.iter().any(|item| item.name == format!("{archive_root}{index}"));
    // A setting says that the folder is meant as it is.
    if has_index || config.archive_root.as_deref() == Some("") {
        return Ok(());
    }
    let inner = |item: &&Item| item.name.ends_with(&format!("/{index}")) && item.name.matches('/').count() <= 2;
    let candidates = items.iter().filter(inner);
    match candidates.min_by_key(|item| (item.name.matches('/').count(), item.name.len())) {
        Some(candidate) => {
            let inner = Path::new(&candidate.name).parent().unwrap_or(Path::new(""));
            Err(Failure::Usage(format!(
                "{} has no {index}: is {} the site? Then push that folder. If this one is meant, set ArchiveRoot=. in the \
                 stack",
                folder.display(),
                folder.join(inner).display()
            )))
        }
        None => Ok(()),
    }
}

/// Whether a folder between the root and the file is a link.
fn has_link(root: &Path, path: &Path) -> bool {
    path.ancestors().take_while(|folder| *folder != root).any(Path::is_symlink)
}

/// Whether a file is one of those that every archive leaves out.
fn is_litter(name: &str) -> bool {
    let mut parts = name.split('/');
    let file = parts.next_back().unwrap_or_default();
    matches!(file, ".DS_Store" | "Thumbs.db") || parts.any(|folder| folder == "__MACOSX")
}

/// Reads the files, so that each knows its contents, and returns the digest of them all in hexadecimal digits. Equal
/// folders have equal digests. The bar counts the bytes that were read.
pub fn digest(items: &mut [Item], bar: &ProgressBar) -> Result<String, Failure> {
    let mut digest = Sha256::new_with_prefix(FORMAT);
    let contents = on_all_processors(items, |item| item.pass(&mut std::io::sink(), bar));
    for (item, contents) in items.iter_mut().zip(contents) {
        item.sha256 = contents?;
        digest.update((item.name.len() as u64).to_le_bytes());
        digest.update(&item.name);
        digest.update(item.sha256);
    }
    Ok(hex::encode(digest.finalize()))
}

impl Item {
    /// Returns the contents.
    pub fn read(&self) -> Result<Vec<u8>, Failure> {
        std::fs::read(&self.path).map_err(|error| self.unreadable(&error))
    }

    /// Writes the contents, which must be those that were [digested](digest).
    pub fn copy_to(&self, to: &mut impl Write, bar: &ProgressBar) -> Result<(), Failure> {
        if self.pass(to, bar)? != self.sha256 {
            return Err(Failure::Local(format!(
                "{} changed while it was being pushed; push again",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// Writes the contents, and returns their SHA-256.
    fn pass(&self, to: &mut impl Write, bar: &ProgressBar) -> Result<[u8; 32], Failure> {
        let mut file = File::open(&self.path).map_err(|error| self.unreadable(&error))?;
        let mut hash = Sha256::new();
        let mut buffer = [0; 16 << 10];
        loop {
            let count = file.read(&mut buffer).map_err(|error| self.unreadable(&error))?;
            if count == 0 {
                return Ok(hash.finalize().into());
            }
            hash.update(&buffer[..count]);
            to.write_all(&buffer[..count]).map_err(Failure::local)?;
            bar.inc(count as u64);
        }
    }

    fn unreadable(&self, error: &std::io::Error) -> Failure {
        Failure::Local(format!("{}: {error}", self.path.display()))
    }
}

/// Does something with each file, on all processors. The results have the order of the files.
pub fn on_all_processors<T: Send>(items: &[Item], work: impl Fn(&Item) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    let work = || {
        while let Some((number, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|number| Some((number, items.get(number)?)))
        {
            let result = work(item);
            if let Ok(mut done) = done.lock() {
                done.push((number, result));
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
