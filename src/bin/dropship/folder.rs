//! Zips a folder. Equal folders become equal bytes: names are sorted, and no file keeps its time or owner.

use std::fs::File;
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dropship::config::Config;
use ignore::WalkBuilder;
use indicatif::ProgressBar;
use tempfile::NamedTempFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::failure::Failure;

/// Files that do not get smaller.
const COMPRESSED: [&str; 24] = [
    "7z", "avif", "br", "bz2", "gif", "gz", "heic", "jpeg", "jpg", "m4a", "mp3", "mp4", "ogg", "opus", "pdf", "png",
    "rar", "webm", "webp", "woff", "woff2", "xz", "zip", "zst",
];

/// Larger files are compressed one at a time, straight into the archive.
const MAX_HELD_BYTES: u64 = 16 << 20;

/// How many files are compressed at the same time, at most this many bytes of them.
const MAX_BATCH_FILES: usize = 256;
const MAX_BATCH_BYTES: u64 = 64 << 20;

/// A file of the folder.
pub struct Item {
    /// Its name in the archive.
    pub name: String,
    path: PathBuf,
    pub size_bytes: u64,
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
        items.push(Item { name: format!("{prefix}{name}"), path: path.to_owned(), size_bytes: metadata.len() });
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
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

/// Zips the files. The bar counts the bytes that were read.
pub fn pack(items: &[Item], bar: &ProgressBar) -> Result<NamedTempFile, Failure> {
    let file = NamedTempFile::with_suffix(".zip").map_err(Failure::local)?;
    let mut archive = ZipWriter::new(BufWriter::new(file));
    let mut rest = items;
    while let Some(first) = rest.first() {
        if first.size_bytes > MAX_HELD_BYTES {
            archive.start_file(&*first.name, options(first)).map_err(Failure::local)?;
            let mut source = File::open(&first.path).map_err(|error| unreadable(first, &error))?;
            std::io::copy(&mut source, &mut archive).map_err(|error| unreadable(first, &error))?;
            bar.inc(first.size_bytes);
            rest = &rest[1..];
            continue;
        }
        let (batch, later) = rest.split_at(batch_length(rest));
        for packed in pack_batch(batch, bar) {
            let mut packed = ZipArchive::new(Cursor::new(packed?)).map_err(Failure::local)?;
            archive.raw_copy_file(packed.by_index_raw(0).map_err(Failure::local)?).map_err(Failure::local)?;
        }
        rest = later;
    }
    let mut buffer = archive.finish().map_err(Failure::local)?;
    buffer.flush().map_err(Failure::local)?;
    buffer.into_inner().map_err(Failure::local)
}

/// Returns how many of the first files make a batch.
fn batch_length(items: &[Item]) -> usize {
    let mut left_bytes = MAX_BATCH_BYTES;
    let fits = |item: &&Item| {
        let fits = item.size_bytes <= left_bytes.min(MAX_HELD_BYTES);
        left_bytes = left_bytes.saturating_sub(item.size_bytes);
        fits
    };
    items.iter().take(MAX_BATCH_FILES).take_while(fits).count().max(1)
}

/// Compresses each file into an archive of its own, on all processors. The results have the order of the files.
fn pack_batch(batch: &[Item], bar: &ProgressBar) -> Vec<Result<Vec<u8>, Failure>> {
    let (next, packed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((number, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|number| Some((number, batch.get(number)?)))
        {
            let result = pack_one(item);
            bar.inc(item.size_bytes);
            if let Ok(mut packed) = packed.lock() {
                packed.push((number, result));
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(batch.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let mut packed = packed.into_inner().unwrap_or_default();
    packed.sort_by_key(|(number, _)| *number);
    packed.into_iter().map(|(_, result)| result).collect()
}

fn pack_one(item: &Item) -> Result<Vec<u8>, Failure> {
    let contents = std::fs::read(&item.path).map_err(|error| unreadable(item, &error))?;
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(&*item.name, options(item)).map_err(Failure::local)?;
    archive.write_all(&contents).map_err(Failure::local)?;
    Ok(archive.finish().map_err(Failure::local)?.into_inner())
}

fn options(item: &Item) -> SimpleFileOptions {
    let extension = Path::new(&item.name).extension().and_then(|it| it.to_str()).unwrap_or_default();
    let is_compressed = COMPRESSED.contains(&&*extension.to_ascii_lowercase());
    SimpleFileOptions::default()
        .compression_method(if is_compressed { CompressionMethod::Stored } else { CompressionMethod::Deflated })
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644)
        .large_file(item.size_bytes >= u64::from(u32::MAX))
}

fn unreadable(item: &Item, error: &std::io::Error) -> Failure {
    Failure::Local(format!("{}: {error}", item.path.display()))
}
