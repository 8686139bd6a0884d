//! The builds of one site.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Cursor, Write};

use bytes::Bytes;
use fastrand::Rng;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::release::read_release;
use crate::site::{File, Kind, file, fill};
use crate::workload::{Changes, Scenario, Workload};

/// The archives of one site, each derived from the one before.
pub struct Builds {
    workload: &'static Workload,
    /// The first build, which every cold deployment uses.
    first: Bytes,
    latest: Bytes,
    /// The number of the latest build, which its times follow from.
    number: u64,
}

/// Decides which files an update changes, deletes and adds. They are the same in every run.
const UPDATE_SEED: u64 = 3;

/// Files by name: a changed file with its new contents, a deleted one with None.
type Differences = BTreeMap<String, Option<File>>;

impl Builds {
    /// Makes the first build.
    ///
    /// # Errors
    /// If the archive of a real site cannot be read.
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

    /// Makes the build that a scenario deploys.
    ///
    /// # Errors
    /// If the archive of a real site cannot be read.
    pub fn next(&mut self, scenario: Scenario) -> Result<Bytes, Box<dyn Error>> {
        self.number += 1;
        self.latest = match scenario {
            Scenario::Cold => self.first.clone(),
            Scenario::NoOp | Scenario::Headers => self.rebuilt(&BTreeMap::new(), &[])?,
            Scenario::Update if self.workload.name == "streamlit" => read_release("1.48.1")?,
            Scenario::Update => {
                let (differences, added) = self.differences()?;
                self.rebuilt(&differences, &added)?
            }
        };
        Ok(self.latest.clone())
    }

    /// Chooses the files that an update changes, deletes and adds.
    fn differences(&self) -> Result<(Differences, Vec<File>), Box<dyn Error>> {
        let mut rng = Rng::with_seed(UPDATE_SEED);
        let mut archive = ZipArchive::new(Cursor::new(&self.latest))?;
        let count = archive.len();
        let share = |of_thousand: usize| match of_thousand {
            0 => 0,
            of_thousand => (count * of_thousand / 1_000).max(1),
        };
        let Changes { changed, deleted, added } = self.workload.changes;
        let mut chosen = rng.choose_multiple(0..count, share(changed) + share(deleted));
        rng.shuffle(&mut chosen);
        let mut differences = BTreeMap::new();
        for (index, number) in chosen.into_iter().enumerate() {
            let old = archive.by_index_raw(number)?;
            let (name, size_bytes) = (old.name()?.into_owned(), old.size());
            let kind = Kind::of(&name);
            let new = (index < share(changed)).then(|| file(&mut rng, name.clone(), size_bytes, kind));
            differences.insert(name, new);
        }
        let added = (0..share(added))
            .map(|number| {
                let model = archive.by_index_raw(rng.usize(..count))?;
                let name = model.name()?;
                let extension = name.rsplit('.').next().unwrap_or("html");
                let name = format!("added/build-{UPDATE_SEED}-{number:04}.{extension}");
                let kind = Kind::of(&name);
                Ok(file(&mut rng, name, model.size(), kind))
            })
            .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        Ok((differences, added))
    }

    /// Packs the latest build again, with new times and with these differences.
    fn rebuilt(&self, differences: &Differences, added: &[File]) -> Result<Bytes, Box<dyn Error>> {
        let mut old = ZipArchive::new(Cursor::new(&self.latest))?;
        let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(self.latest.len())));
        for number in 0..old.len() {
            let entry = old.by_index_raw(number)?;
            match differences.get(&*entry.name()?) {
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

/// Adds a file to the archive of a build.
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

/// Returns the modification time of the files of a build.
fn modified(build: u64) -> DateTime {
    let hour = u8::try_from(build % 24).unwrap_or_default();
    let minute = u8::try_from(build / 24 % 60).unwrap_or_default();
    DateTime::from_date_and_time(2026, 11, 22, hour, minute, 0).unwrap_or_default()
}
