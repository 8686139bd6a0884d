//! The sites that are deployed: made from a seed, so that two runs anywhere deploy the same bytes.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Cursor, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use fastrand::Rng;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

/// A kind of site.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    make: fn(&mut Rng) -> Vec<File>,
    /// How many of 1,000 files an update changes, deletes and adds.
    changes: Changes,
    /// Whether each run begins with an empty bucket; else there is one cold run, which takes minutes.
    pub begins_anew: bool,
    pub scenarios: &'static [Scenario],
    /// MiB of memory that the function is given.
    pub memory_mib: u64,
}

/// How many of 1,000 files differ in an update.
#[derive(Clone, Copy, Debug)]
struct Changes {
    changed: usize,
    deleted: usize,
    added: usize,
}

/// What is deployed on top of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Into an empty bucket.
    Cold,
    /// The same contents, built and packed again.
    NoOp,
    /// Some files changed, deleted and added.
    Update,
    /// The same contents under another Cache-Control.
    Headers,
}

impl Scenario {
    pub const ALL: &'static [Self] = &[Self::Cold, Self::NoOp, Self::Update, Self::Headers];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::NoOp => "no-op",
            Self::Update => "update",
            Self::Headers => "headers",
        }
    }
}

const PERCENT: Changes = Changes { changed: 10, deleted: 5, added: 5 };

const DEFAULT_MEMORY_MIB: u64 = 512;

/// All of them, in the order in which they are measured.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "tiny-many",
        about: "10,000 files of 0.5 to 8 KiB",
        make: tiny_many,
        changes: PERCENT,
        begins_anew: true,
        scenarios: Scenario::ALL,
        memory_mib: DEFAULT_MEMORY_MIB,
    },
    Workload {
        name: "mixed",
        about: "2,000 files, 300 MiB, half of it images",
        make: mixed,
        changes: PERCENT,
        begins_anew: true,
        scenarios: Scenario::ALL,
        memory_mib: DEFAULT_MEMORY_MIB,
    },
    Workload {
        name: "large-few",
        about: "12 stored files of 40 MiB",
        make: |rng| large(rng, Kind::Video),
        changes: PERCENT,
        begins_anew: true,
        scenarios: Scenario::ALL,
        memory_mib: DEFAULT_MEMORY_MIB,
    },
    Workload {
        name: "large-deflated",
        about: "12 deflated files of 40 MiB",
        make: |rng| large(rng, Kind::Text),
        changes: PERCENT,
        begins_anew: true,
        scenarios: Scenario::ALL,
        memory_mib: DEFAULT_MEMORY_MIB,
    },
    Workload {
        name: "docs-site",
        about: "5,001 files in the shape of a documentation site, 120 MiB",
        make: docs_site,
        changes: PERCENT,
        begins_anew: true,
        scenarios: Scenario::ALL,
        memory_mib: DEFAULT_MEMORY_MIB,
    },
    Workload {
        name: "streamlit",
        about: "156 files, two real releases (from the folder that DROPSHIP_SHARED names)",
        make: |_| Vec::new(),
        changes: PERCENT,
        begins_anew: true,
        scenarios: Scenario::ALL,
        memory_mib: DEFAULT_MEMORY_MIB,
    },
    Workload {
        name: "huge-site",
        about: "200,000 files of 0.2 to 2 KiB, of which 0.1 % change",
        make: |rng| small_pages(rng, 200_000, 200..2_000),
        changes: Changes { changed: 1, deleted: 0, added: 0 },
        begins_anew: true,
        scenarios: Scenario::ALL,
        memory_mib: DEFAULT_MEMORY_MIB,
    },
    Workload {
        name: "million",
        about: "1,000,000 files of 16 to 48 bytes",
        make: |rng| small_pages(rng, 1_000_000, 16..48),
        changes: PERCENT,
        begins_anew: false,
        scenarios: &[Scenario::Cold, Scenario::NoOp],
        memory_mib: DEFAULT_MEMORY_MIB,
    },
    Workload {
        name: "giant",
        about: "one deflated file of 3 GiB",
        make: giant,
        changes: PERCENT,
        begins_anew: false,
        scenarios: &[Scenario::Cold, Scenario::NoOp],
        memory_mib: DEFAULT_MEMORY_MIB,
    },
];

impl Workload {
    pub fn named(name: &str) -> Option<&'static Self> {
        WORKLOADS.iter().find(|workload| workload.name == name)
    }

    /// Whether what it needs is there.
    pub fn is_available(&self) -> bool {
        self.name != "streamlit" || release("1.48.0").is_some_and(|path| path.exists())
    }

    /// The scenarios in the order in which they are measured: all of them again and again, from an empty bucket on,
    /// up to four times as often as `runs`; where a cold deployment takes minutes, that one once and then the others.
    pub fn sequence(&self, runs: usize) -> Vec<Scenario> {
        if self.begins_anew {
            return self.scenarios.repeat(4 * runs);
        }
        let repeats = |scenario: &Scenario| match scenario {
            Scenario::Cold => 1,
            Scenario::NoOp | Scenario::Update | Scenario::Headers => runs,
        };
        self.scenarios.iter().flat_map(|scenario| vec![*scenario; repeats(scenario)]).collect()
    }
}

/// A file to be made.
struct File {
    name: String,
    seed: u64,
    size_bytes: u64,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Deflates to about a quarter.
    Text,
    /// Deflated all the same, to nothing less.
    Image,
    /// Stored.
    Video,
    /// One line over and over: deflates to about a hundredth.
    Log,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some("png" | "jpg" | "webp" | "woff2") => Self::Image,
            Some("mp4") => Self::Video,
            Some("log") => Self::Log,
            _ => Self::Text,
        }
    }
}

fn file(rng: &mut Rng, name: String, size_bytes: u64, kind: Kind) -> File {
    File { name, seed: rng.u64(..), size_bytes, kind }
}

fn tiny_many(rng: &mut Rng) -> Vec<File> {
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

fn mixed(rng: &mut Rng) -> Vec<File> {
    let mut files: Vec<File> = (0..2_000)
        .map(|number| {
            let (extension, kind) = match number % 4 {
                0 => ("html", Kind::Text),
                1 => ("js", Kind::Text),
                2 => ("jpg", Kind::Image),
                _ => ("png", Kind::Image),
            };
            let name = format!("part-{:02}/item-{number:04}.{extension}", number / 50);
            // From 4 KiB to 2 MiB, the smaller the more.
            let size = (4_096.0 * 512_f64.powf(rng.f64())) as u64;
            file(rng, name, size, kind)
        })
        .collect();
    scale(&mut files, 300 << 20);
    files
}

fn docs_site(rng: &mut Rng) -> Vec<File> {
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

fn small_pages(rng: &mut Rng, count: usize, sizes: std::ops::Range<u64>) -> Vec<File> {
    (0..count)
        .map(|number| {
            let name = format!("archive/{:04}/page-{number:07}.html", number / 1_000);
            let size = rng.u64(sizes.clone());
            file(rng, name, size, Kind::Text)
        })
        .collect()
}

fn large(rng: &mut Rng, kind: Kind) -> Vec<File> {
    let extension = if matches!(kind, Kind::Video) { "mp4" } else { "json" };
    (0..12)
        .map(|number| {
            let name = format!("media/large-{number:02}.{extension}");
            file(rng, name, 40 << 20, kind)
        })
        .collect()
}

fn giant(rng: &mut Rng) -> Vec<File> {
    vec![file(rng, "index.html".to_owned(), 5_000, Kind::Text), file(rng, "dump.log".to_owned(), 3 << 30, Kind::Log)]
}

/// Makes the sizes add up to `total_bytes`.
fn scale(files: &mut [File], total_bytes: u64) {
    let sum: u64 = files.iter().map(|file| file.size_bytes).sum();
    for file in files {
        file.size_bytes = (file.size_bytes as f64 * total_bytes as f64 / sum as f64) as u64;
    }
}

/// The archives of one site, one after the other.
pub struct Builds {
    workload: &'static Workload,
    /// The first build, which every cold run deploys.
    first: Bytes,
    latest: Bytes,
    /// Counts builds: contents and times follow from it.
    number: u64,
}

/// Names, and their new contents or nothing.
type Differing = BTreeMap<String, Option<File>>;

impl Builds {
    /// Makes the first build.
    ///
    /// # Errors
    /// When a real site's archive cannot be read.
    pub fn new(workload: &'static Workload) -> Result<Self, Box<dyn Error>> {
        let first: Bytes = if workload.name == "streamlit" {
            read_release("1.48.0")?
        } else {
            let mut files = (workload.make)(&mut Rng::with_seed(8));
            files.sort_by(|a, b| a.name.cmp(&b.name));
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            for file in &files {
                write_file(&mut zip, file, 0)?;
            }
            zip.finish()?.into_inner().into()
        };
        Ok(Self { workload, latest: first.clone(), first, number: 0 })
    }

    /// The build that a scenario deploys.
    ///
    /// # Errors
    /// When a real site's archive cannot be read.
    pub fn next(&mut self, scenario: Scenario) -> Result<Bytes, Box<dyn Error>> {
        self.number += 1;
        self.latest = match scenario {
            Scenario::Cold => self.first.clone(),
            Scenario::NoOp | Scenario::Headers => self.rebuilt(&BTreeMap::new(), &[])?,
            Scenario::Update if self.workload.name == "streamlit" => read_release("1.48.1")?,
            Scenario::Update => {
                let (differing, added) = self.differences()?;
                self.rebuilt(&differing, &added)?
            }
        };
        Ok(self.latest.clone())
    }

    /// What an update does: names to their new contents or to nothing, and files that are new.
    fn differences(&self) -> Result<(Differing, Vec<File>), Box<dyn Error>> {
        let mut rng = Rng::with_seed(self.number);
        let mut archive = ZipArchive::new(Cursor::new(&self.latest))?;
        let count = archive.len();
        let share = |of_thousand: usize| match of_thousand {
            0 => 0,
            of_thousand => (count * of_thousand / 1_000).max(1),
        };
        let Changes { changed, deleted, added } = self.workload.changes;
        let mut chosen = rng.choose_multiple(0..count, share(changed) + share(deleted));
        rng.shuffle(&mut chosen);
        let mut differing = BTreeMap::new();
        for (place, number) in chosen.into_iter().enumerate() {
            let old = archive.by_index_raw(number)?;
            let (name, size_bytes) = (old.name()?.into_owned(), old.size());
            let kind = Kind::of(&name);
            let new = (place < share(changed)).then(|| file(&mut rng, name.clone(), size_bytes, kind));
            differing.insert(name, new);
        }
        let added = (0..share(added))
            .map(|number| {
                let model = archive.by_index_raw(rng.usize(..count))?;
                let name = model.name()?;
                let extension = name.rsplit('.').next().unwrap_or("html");
                let name = format!("added/build-{}-{number:04}.{extension}", self.number);
                let kind = Kind::of(&name);
                Ok(file(&mut rng, name, model.size(), kind))
            })
            .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        Ok((differing, added))
    }

    /// Packs the latest build again under new times, with what differs.
    fn rebuilt(&self, differing: &BTreeMap<String, Option<File>>, added: &[File]) -> Result<Bytes, Box<dyn Error>> {
        let mut old = ZipArchive::new(Cursor::new(&self.latest))?;
        let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(self.latest.len())));
        for number in 0..old.len() {
            let entry = old.by_index_raw(number)?;
            match differing.get(&*entry.name()?) {
                None => {
                    zip.raw_copy_file_touch(entry, modified(self.number), None)?;
                }
                Some(Some(file)) => write_file(&mut zip, file, self.number)?,
                Some(None) => {}
            }
        }
        for file in added {
            write_file(&mut zip, file, self.number)?;
        }
        Ok(zip.finish()?.into_inner().into())
    }
}

fn modified(build: u64) -> DateTime {
    let hour = u8::try_from(build % 24).unwrap_or_default();
    let minute = u8::try_from(build / 24 % 60).unwrap_or_default();
    DateTime::from_date_and_time(2026, 11, 22, hour, minute, 0).unwrap_or_default()
}

fn write_file(zip: &mut ZipWriter<Cursor<Vec<u8>>>, file: &File, build: u64) -> Result<(), Box<dyn Error>> {
    let method = match file.kind {
        Kind::Video => CompressionMethod::Stored,
        _ => CompressionMethod::Deflated,
    };
    let options = SimpleFileOptions::default()
        .compression_method(method)
        .last_modified_time(modified(build))
        .unix_permissions(0o644);
    zip.start_file(&*file.name, options)?;
    let mut rng = Rng::with_seed(file.seed);
    let mut remaining = file.size_bytes;
    let mut piece = Vec::new();
    while remaining > 0 {
        let size = remaining.min(1 << 20);
        piece.clear();
        fill(&mut piece, &mut rng, size as usize, file.kind);
        zip.write_all(&piece)?;
        remaining -= size;
    }
    Ok(())
}

fn fill(piece: &mut Vec<u8>, rng: &mut Rng, size: usize, kind: Kind) {
    match kind {
        Kind::Image | Kind::Video => {
            piece.resize(size, 0);
            rng.fill(piece);
        }
        Kind::Text => {
            while piece.len() < size {
                // Few words are used often and many seldom, as in any text.
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

fn release(version: &str) -> Option<PathBuf> {
    let shared = PathBuf::from(std::env::var_os("DROPSHIP_SHARED")?);
    Some(shared.join(format!("sites/streamlit-{version}.zip")))
}

fn read_release(version: &str) -> Result<Bytes, Box<dyn Error>> {
    let path = release(version).ok_or("DROPSHIP_SHARED is not set")?;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
