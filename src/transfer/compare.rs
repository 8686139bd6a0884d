//! Compares entries with objects by the sums that S3 keeps.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::TryStreamExt;
use md5::{Digest, Md5};

use super::entry_reader::EntryReader;
use super::large::PART_BYTES;
use super::{Comparison, Transfer};
use crate::archive::Entry;
use crate::error::Error;
use crate::plan::Checksum;

impl<'a> Transfer<'a> {
    /// Compares entries with their objects, and returns the keys of those that have the same bytes.
    ///
    /// # Errors
    /// `ArchiveRejected`, `ArchiveGone`, `Aws`; `Unfinished` when the deadline comes first.
    pub async fn same_bytes(&self, comparisons: Vec<Comparison<'a>>) -> Result<HashSet<String>, Error> {
        let total = comparisons.len();
        let same = Mutex::new(HashSet::new());
        let (large, whole): (Vec<_>, Vec<_>) = comparisons.into_iter().partition(|it| self.is_large(it.entry));
        let whole = whole.into_iter().map(|comparison| (comparison.entry, Some(comparison))).collect();
        let summary = self
            .for_each_body(whole, async |Comparison { key, checksum, .. }, _, body| {
                let mut hasher = ChecksumHasher::like(&checksum);
                hasher.update(&body);
                if hasher.finish() == checksum {
                    lock(&same).insert(key);
                }
                Ok(())
            })
            .await;
        if let Some(error) = summary.error {
            return Err(error);
        }
        let mut stopped = summary.stopped;
        for Comparison { entry, key, checksum } in large {
            if self.check_running().is_err() {
                stopped += 1;
            } else if self.checksum_of_large(entry, ChecksumHasher::like(&checksum)).await? == checksum {
                lock(&same).insert(key);
            }
        }
        if stopped > 0 {
            return Err(Error::Unfinished { done: total - stopped, total });
        }
        Ok(same.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn checksum_of_large(&self, entry: &Entry, mut hasher: ChecksumHasher) -> Result<Checksum, Error> {
        let _memory = self.memory.reserve_both(PART_BYTES + EntryReader::memory_bytes(entry)).await;
        let encoding = self.rules.wanted(entry).encoding;
        self.count_inflated(entry, encoding);
        let reader = EntryReader::open(self.archive, entry, encoding).await?;
        let mut chunks = pin!(reader.chunks(PART_BYTES));
        while let Some(chunk) = chunks.try_next().await? {
            hasher.update(&chunk.bytes);
        }
        Ok(hasher.finish())
    }
}

fn lock(keys: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A checksum in progress, of the kind that S3 keeps.
enum ChecksumHasher {
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

impl ChecksumHasher {
    fn like(checksum: &Checksum) -> Self {
        match checksum {
            Checksum::Md5(_) => Self::Md5(Md5::new()),
            Checksum::Crc32(_) => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(md5) => md5.update(bytes),
            Self::Crc32(crc32) => crc32.update(bytes),
        }
    }

    fn finish(self) -> Checksum {
        match self {
            Self::Md5(md5) => Checksum::Md5(hex::encode(md5.finalize())),
            Self::Crc32(crc32) => Checksum::Crc32(crc32.finalize()),
        }
    }
}
