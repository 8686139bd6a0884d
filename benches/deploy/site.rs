//! The files of the generated sites.

use std::ops::Range;

use fastrand::Rng;

/// A file, whose contents follow from its seed.
pub struct File {
    pub name: String,
    pub seed: u64,
    pub size_bytes: u64,
    pub kind: Kind,
}

/// A kind of contents, which decides how well they compress.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Deflates to about a quarter.
    Text,
    /// Is deflated, but does not shrink.
    Image,
    /// Is stored.
    Video,
    /// Repeats one line, and deflates to about a hundredth.
    Log,
}

impl Kind {
    /// Returns the kind of a file by its extension.
    pub fn of(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some("png" | "jpg" | "webp" | "woff2") => Self::Image,
            Some("mp4") => Self::Video,
            Some("log") => Self::Log,
            _ => Self::Text,
        }
    }
}

pub fn file(rng: &mut Rng, name: String, size_bytes: u64, kind: Kind) -> File {
    File { name, seed: rng.u64(..), size_bytes, kind }
}

pub fn tiny_many(rng: &mut Rng) -> Vec<File> {
    const EXTENSIONS: [&str; 4] = ["html", "js", "css", "json"];
    (0..10_000)
        .map(|number| {
            let extension = EXTENSIONS[number % EXTENSIONS.len()];
            let name = format!("section-{:03}/file-{number:05}.{extension}", number / 100);
            let size = rng.u64(512..8_192);
            file(rng, name, size, Kind::Text)
        })
        .collect()
}

pub fn mixed(rng: &mut Rng) -> Vec<File> {
    let mut files: Vec<File> = (0..2_000)
        .map(|number| {
            let (extension, kind) = match number % 4 {
                0 => ("html", Kind::Text),
                1 => ("js", Kind::Text),
                2 => ("jpg", Kind::Image),
                _ => ("png", Kind::Image),
            };
            let name = format!("part-{:02}/item-{number:04}.{extension}", number / 50);
            // From 4 KiB to 2 MiB; small files are more frequent.
            let size = (4_096.0 * 512_f64.powf(rng.f64())) as u64;
            file(rng, name, size, kind)
        })
        .collect();
    scale(&mut files, 300 << 20);
    files
}

pub fn docs_site(rng: &mut Rng) -> Vec<File> {
    let mut files: Vec<File> = (0..5_000)
        .map(|number| {
            let (name, kind) = match number % 20 {
                0..17 => (format!("docs/chapter-{:03}/topic-{number:04}/index.html", number / 40), Kind::Text),
                17 => (format!("assets/js/{:016x}.js", rng.u64(..)), Kind::Text),
                18 => (format!("img/figure-{number:04}.png"), Kind::Image),
                _ => (format!("api/type-{number:04}.json"), Kind::Text),
            };
            let size = (2_048.0 * 64_f64.powf(rng.f64())) as u64;
            file(rng, name, size, kind)
        })
        .collect();
    scale(&mut files, 120 << 20);
    files.push(file(rng, "index.html".to_owned(), 9_000, Kind::Text));
    files
}

pub fn small_pages(rng: &mut Rng, count: usize, sizes: Range<u64>) -> Vec<File> {
    (0..count)
        .map(|number| {
            let name = match number {
                // Without a page beside it, the folder would look like a wrapper around the site.
                0 => "index.html".to_owned(),
                _ => format!("archive/{:04}/page-{number:07}.html", number / 1_000),
            };
            let size = rng.u64(sizes.clone());
            file(rng, name, size, Kind::Text)
        })
        .collect()
}

pub fn large(rng: &mut Rng, kind: Kind) -> Vec<File> {
    let extension = if matches!(kind, Kind::Video) { "mp4" } else { "json" };
    let large: Vec<File> = (0..12)
        .map(|number| {
            let name = format!("media/large-{number:02}.{extension}");
            file(rng, name, 40 << 20, kind)
        })
        .collect();
    // Without a page beside it, the folder would look like a wrapper around the site.
    large.into_iter().chain([file(rng, "index.html".to_owned(), 5_000, Kind::Text)]).collect()
}

pub fn giant(rng: &mut Rng) -> Vec<File> {
    vec![file(rng, "index.html".to_owned(), 5_000, Kind::Text), file(rng, "dump.log".to_owned(), 3 << 30, Kind::Log)]
}

/// Scales the sizes so that they add up to `total_bytes`.
fn scale(files: &mut [File], total_bytes: u64) {
    let sum: u64 = files.iter().map(|file| file.size_bytes).sum();
    for file in files {
        file.size_bytes = (file.size_bytes as f64 * total_bytes as f64 / sum as f64) as u64;
    }
}

/// Replaces a piece of a file by its next bytes.
pub fn fill(piece: &mut Vec<u8>, rng: &mut Rng, size: usize, kind: Kind) {
    match kind {
        Kind::Image | Kind::Video => {
            piece.resize(size, 0);
            rng.fill(piece);
        }
        Kind::Text => {
            while piece.len() < size {
                // As in any text, a few words are frequent and many are rare.
                let rank = rng.f64().powi(4);
                let word = (rank * 4_096.0) as u64;
                piece.extend_from_slice(format!("{:x} ", word.wrapping_mul(0x9e37_79b9)).as_bytes());
            }
            piece.truncate(size);
        }
        Kind::Log => {
            while piece.len() < size {
                let line = format!("2026-11-22T10:15:00Z level=info request={:06}\n", rng.u32(..999));
                piece.extend(line.bytes().cycle().take(line.len() * 64));
            }
            piece.truncate(size);
        }
    }
}
