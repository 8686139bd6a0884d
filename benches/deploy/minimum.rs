//! The least that the protocols of S3, DynamoDB and CloudFront allow for a deployment.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use dropship::archive::{ArchiveIndex, Encoding, Entry, Limits, Method, Parsed, Step, Unpacker, spans};
use serde::{Deserialize, Serialize};

use crate::workload::Scenario;

/// The first read of an archive; a directory that is longer takes another.
const TAIL_BYTES: u64 = 256 << 10;

/// Larger entries are copied or uploaded in parts.
const WHOLE_BYTES: u64 = 16 << 20;
const PART_BYTES: u64 = 5 << 20;

/// Stored entries over this need not pass through the function.
const COPIED_BYTES: u64 = 8 << 20;

/// How far apart spans may lie, and how long one may be, that are read in one GET.
const GAP_BYTES: u64 = 4 << 10;
const SPAN_BYTES: u64 = 4 << 20;

/// An archive's contents.
#[derive(Default)]
pub struct Build {
    entries: Vec<Entry>,
    directory_bytes: u64,
}

impl Build {
    pub fn of(archive: &[u8]) -> Result<Self, Box<dyn Error>> {
        let limits = Limits::default();
        match ArchiveIndex::parse(archive.len() as u64, archive, "", &limits)? {
            Parsed::Index(index) => Ok(Self { entries: index.entries, directory_bytes: index.directory_bytes }),
            Parsed::NeedsFrom(_) => Err("the whole archive was there".into()),
        }
    }

    /// How long one core takes to inflate and check all that is sent in parts.
    pub fn inflate_large(&self, archive: &[u8]) -> Result<Duration, Box<dyn Error>> {
        let mut part = Vec::with_capacity(PART_BYTES as usize);
        let start = Instant::now();
        for entry in &self.entries {
            if entry.size_bytes <= WHOLE_BYTES || entry.method != Method::Deflate {
                continue;
            }
            let span = &archive[entry.header_offset as usize..entry.end_offset as usize];
            let mut data = &span[entry.data_range(span)?];
            let mut unpacker = Unpacker::new(entry, Encoding::Identity);
            let mut crc32 = crc32fast::Hasher::new();
            loop {
                let step = unpacker.push(&mut data, &mut part)?;
                crc32.update(&part);
                part.clear();
                if step != Step::OutputFull {
                    break;
                }
            }
            unpacker.finish(crc32.finalize())?;
        }
        Ok(start.elapsed())
    }
}

/// Requests by operation, and bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Minimum {
    pub calls: BTreeMap<String, u64>,
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// Objects put or copied.
    pub objects: u64,
    /// What one core takes to inflate all that is sent in parts; only of a cold deployment.
    pub inflate: Duration,
}

impl Minimum {
    /// What it takes to bring a bucket from one build to another.
    pub fn between(live: &Build, next: &Build, scenario: Scenario) -> Self {
        let old: BTreeMap<&str, &Entry> = live.entries.iter().map(|entry| (&*entry.name, entry)).collect();
        let is_same = |entry: &&Entry| {
            old.get(&*entry.name).is_some_and(|old| (old.crc32, old.size_bytes) == (entry.crc32, entry.size_bytes))
        };
        let (same, written): (Vec<&Entry>, Vec<&Entry>) = next.entries.iter().partition(is_same);
        let stay = next.entries.iter().filter(|entry| old.contains_key(&*entry.name)).count();
        let deletes = live.entries.len() - stay;
        let changed = written.len() + stay - next.entries.len();
        let copies = if scenario == Scenario::Headers { same.len() } else { 0 };
        let mut minimum = Self {
            objects: (written.len() + copies) as u64,
            // The end record follows the directory.
            bytes_read: next.directory_bytes + 22,
            ..Self::default()
        };
        minimum.add("ListObjectsV2", live.entries.len().div_ceil(1_000).max(1));
        minimum.add("GetObject", 1 + usize::from(next.directory_bytes > TAIL_BYTES));
        minimum.add("CopyObject", copies);
        minimum.add("DeleteObjects", deletes.div_ceil(1_000));
        minimum.transfer(&written);
        // The manifest: read where there is one, written where anything changes.
        let had_one = usize::from(!live.entries.is_empty());
        let has_news = usize::from(minimum.objects > 0 || deletes > 0);
        minimum.add("GetObject", had_one);
        minimum.add("PutObject", has_news);
        // Head and record are read at once, the claim and the end are transactions, what is owed is asked for;
        // batches are recorded together, each is marked and sent, and the end forgets them.
        let batches = usize::from(changed + copies > 0) + usize::from(deletes > 0);
        minimum.add("TransactGetItems", 1);
        minimum.add("Query", 1);
        minimum.add("TransactWriteItems", 2 + usize::from(batches > 0));
        minimum.add("UpdateItem", batches);
        minimum.add("GetDistribution", 1);
        minimum.add("CreateInvalidation", batches);
        minimum
    }

    fn transfer(&mut self, written: &[&Entry]) {
        let (copied, sent): (Vec<&Entry>, Vec<&Entry>) =
            written.iter().partition(|entry| entry.method == Method::Stored && entry.size_bytes > COPIED_BYTES);
        let (large, whole): (Vec<&Entry>, Vec<&Entry>) = sent.iter().partition(|entry| entry.size_bytes > WHOLE_BYTES);
        // A header is judged before its data is copied.
        self.add("GetObject", copied.len());
        self.add("UploadPartCopy", copied.len());
        self.bytes_read += copied.iter().map(|entry| entry.header_bytes_max()).sum::<u64>();
        for entry in &large {
            self.add("GetObject", entry.span_bytes().div_ceil(SPAN_BYTES) as usize);
            self.add("UploadPart", entry.size_bytes.div_ceil(PART_BYTES) as usize);
        }
        self.add("CreateMultipartUpload", large.len() + copied.len());
        self.add("CompleteMultipartUpload", large.len() + copied.len());
        self.add("PutObject", whole.len());
        self.bytes_read += sent.iter().map(|entry| entry.span_bytes()).sum::<u64>();
        self.bytes_written += sent.iter().map(|entry| entry.size_bytes).sum::<u64>();
        self.add("GetObject", spans(whole.iter().copied(), GAP_BYTES, SPAN_BYTES).len());
    }

    fn add(&mut self, operation: &str, count: usize) {
        if count > 0 {
            *self.calls.entry(operation.to_owned()).or_default() += count as u64;
        }
    }
}
