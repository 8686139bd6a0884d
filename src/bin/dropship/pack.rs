//! Zips the files of a folder. Equal files become equal bytes: no file keeps its time or owner.

use std::io::{BufWriter, Cursor, Write};
use std::path::Path;

use indicatif::ProgressBar;
use zip::write::{PreparedZipFile, SimpleFileOptions, ZipFileBuilder};
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::failure::Failure;
use crate::folder::{Item, on_all_processors};

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

/// Data from this size on may have over 4 GiB, compressed or not: Deflate adds up to 5 bytes to every 16 KiB.
const LARGE_BYTES: u64 = (4 << 30) - (16 << 20);

/// How much of the archive is collected before it is written.
const BUFFER_BYTES: usize = 1 << 20;

/// Zips the files. The bar counts the bytes that were read.
///
/// It never changes what it has written, so that the archive's first parts can be uploaded meanwhile.
pub fn pack<W: Write>(items: &[Item], to: W, bar: &ProgressBar) -> Result<W, Failure> {
    let mut archive = ZipWriter::new_stream(BufWriter::with_capacity(BUFFER_BYTES, to));
    let mut rest = items;
    while let Some(first) = rest.first() {
        if first.size_bytes > MAX_HELD_BYTES {
            archive.start_file(&*first.name, options(first)).map_err(Failure::local)?;
            first.copy_to(&mut archive, bar)?;
            rest = &rest[1..];
            continue;
        }
        let (batch, later) = rest.split_at(batch_length(rest));
        for packed in on_all_processors(batch, |item| pack_one(item, bar)) {
            archive.add_prepared_file(packed?).map_err(Failure::local)?;
        }
        rest = later;
    }
    let buffer = archive.finish().map_err(Failure::local)?.into_inner();
    buffer.into_inner().map_err(Failure::local)
}

/// Returns an archive with the same names. Only the file `_headers` has contents: they decide about the archive before
/// anything is compressed.
pub fn skeleton(items: &[Item], headers_file: &str) -> Result<Vec<u8>, Failure> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for item in items {
        archive.start_file(&*item.name, options(item)).map_err(Failure::local)?;
        if item.name == headers_file && item.size_bytes <= MAX_HELD_BYTES {
            archive.write_all(&item.read()?).map_err(Failure::local)?;
        }
    }
    Ok(archive.finish().map_err(Failure::local)?.into_inner())
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

fn pack_one(item: &Item, bar: &ProgressBar) -> Result<PreparedZipFile, Failure> {
    let mut packed = ZipFileBuilder::new(&*item.name, options(item)).map_err(Failure::local)?;
    item.copy_to(&mut packed, bar)?;
    packed.finish().map_err(Failure::local)
}

fn options(item: &Item) -> SimpleFileOptions {
    let extension = Path::new(&item.name).extension().and_then(|it| it.to_str()).unwrap_or_default();
    let is_compressed = COMPRESSED.contains(&&*extension.to_ascii_lowercase());
    SimpleFileOptions::default()
        .compression_method(if is_compressed { CompressionMethod::Stored } else { CompressionMethod::Deflated })
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644)
        .large_file(item.size_bytes >= LARGE_BYTES)
}
