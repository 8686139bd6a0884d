//! The fewest requests and bytes that a deployment needs with the protocols of S3, DynamoDB and CloudFront.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use dropship::archive::{ArchiveIndex, Encoding, Entry, Limits, Method, Parsed, Selection, Step, Unpacker, spans};
use serde::{Deserialize, Serialize};

use crate::workload::Scenario;

/// The first read of an archive. A longer directory takes a second one.
const TAIL_BYTES: u64 = 256 << 10;

/// The largest entry that is held in memory.
const MAX_WHOLE_BYTES: u64 = 16 << 20;

/// The largest entry that one request writes, and the length of the parts of a larger one.
const MAX_STREAMED_BYTES: u64 = 64 << 20;
const PART_BYTES: u64 = 5 << 20;

/// Stored entries over this size need not pass through the function.
const MIN_FROM_ARCHIVE_BYTES: u64 = 8 << 20;

/// The largest gap between entries that one GET reads, and the most bytes that it reads.
const GAP_BYTES: u64 = 4 << 10;
const SPAN_BYTES: u64 = 4 << 20;

/// The contents of an archive.
#[derive(Default)]
pub struct Build {
    entries: Vec<Entry>,
    directory_bytes: u64,
}

impl Build {
    /// Parses an archive.
    pub fn of(archive: &[u8]) -> Result<Self, Box<dyn Error>> {
        let limits = Limits::default();
        match ArchiveIndex::parse(archive.len() as u64, archive, &Selection::ALL, &limits)? {
            Parsed::Index(index) => Ok(Self { entries: index.entries, directory_bytes: index.directory_bytes }),
            Parsed::NeedsFrom(_) => Err("the whole archive was there".into()),
        }
    }

    /// Returns how long one core takes to inflate and check all entries that memory does not hold.
    pub fn inflate_large(&self, archive: &[u8]) -> Result<Duration, Box<dyn Error>> {
        let mut part = Vec::with_capacity(PART_BYTES as usize);
        let start = Instant::now();
        for entry in &self.entries {
            if entry.size_bytes <= MAX_WHOLE_BYTES || entry.method != Method::Deflate {
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

/// The fewest requests, by operation, and bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Minimum {
    pub calls: BTreeMap<String, u64>,
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// Objects that are put or copied.
    pub objects: u64,
    /// How long one core takes to inflate all entries that memory does not hold. Only for a cold deployment.
    pub inflate: Duration,
}

impl Minimum {
    /// Returns the minimum of the deployment of `next` onto `live`.
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
            // The directory and the end record after it.
            bytes_read: next.directory_bytes + 22,
            ..Self::default()
        };
        let is_first = live.entries.is_empty();
        // The first deployment also looks for manifests that an older ledger may have known.
        minimum.add("ListObjectsV2", live.entries.len().div_ceil(1_000).max(1) + usize::from(is_first));
        minimum.add("GetObject", 1 + usize::from(next.directory_bytes > TAIL_BYTES));
        minimum.add("CopyObject", copies);
        minimum.add("DeleteObjects", deletes.div_ceil(1_000));
        minimum.transfer(&written);
        // The manifest is read if there is one, and written if anything changes.
        let had_one = usize::from(!live.entries.is_empty());
        let has_news = usize::from(minimum.objects > 0 || deletes > 0);
        minimum.add("GetObject", had_one);
        minimum.add("PutObject", has_news);
        // One call reads head and record, one queries the owed batches, and one the uploads that wait for the end. The
        // claim, the recording of all new batches and the end are one transaction each. Each batch is marked before it is
        // sent. The first deployment evicts whatever the distribution has cached before. After writes the distribution
        // is read again, since it may have changed meanwhile.
        let batches = usize::from(is_first || changed + copies > 0) + usize::from(deletes > 0);
        minimum.add("TransactGetItems", 1);
        minimum.add("Query", 2);
        minimum.add("TransactWriteItems", 2 + usize::from(batches > 0));
        minimum.add("UpdateItem", batches);
        minimum.add("GetDistribution", 1 + has_news);
        minimum.add("CreateInvalidation", batches);
        minimum
    }

    fn transfer(&mut self, written: &[&Entry]) {
        let (copied, sent): (Vec<&Entry>, Vec<&Entry>) = written
            .iter()
            .partition(|entry| entry.method == Method::Stored && entry.size_bytes > MIN_FROM_ARCHIVE_BYTES);
        let (large, whole): (Vec<&Entry>, Vec<&Entry>) =
            sent.iter().partition(|entry| entry.size_bytes > MAX_WHOLE_BYTES);
        // The header of an entry is checked before its data is copied.
        self.add("GetObject", copied.len());
        self.add("UploadPartCopy", copied.len());
        self.bytes_read += copied.iter().map(|entry| entry.header_bytes_max()).sum::<u64>();
        let in_parts: Vec<_> = large.iter().filter(|entry| entry.size_bytes > MAX_STREAMED_BYTES).collect();
        for entry in &in_parts {
            self.add("UploadPart", entry.size_bytes.div_ceil(PART_BYTES) as usize);
        }
        self.add("CreateMultipartUpload", in_parts.len() + copied.len());
        self.add("CompleteMultipartUpload", in_parts.len() + copied.len());
        self.add("GetObject", large.len());
        self.add("PutObject", sent.len() - in_parts.len());
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
