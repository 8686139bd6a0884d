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
use crate::plan::Sum;

impl<'a> Transfer<'a> {
    /// Compares entries with their objects, and returns the keys of those that have the same bytes.
    ///
    /// # Errors
    /// `ArchiveRejected`, `ArchiveGone`, `Aws`; `Unfinished` when the deadline comes first.
    pub async fn same_bytes(&self, comparisons: Vec<Comparison<'a>>) -> Result<HashSet<String>, Error> {
        let total = comparisons.len();
        let same = Mutex::new(HashSet::new());
        let (large, whole): (Vec<_>, Vec<_>) = comparisons.into_iter().partition(|it| self.is_large(it.entry));
        let whole = whole.into_iter().map(|comparison| (comparison.entry, comparison)).collect();
        let summary = self
            .for_each_body(whole, async |Comparison { key, sum, .. }, _, body| {
                let mut summing = Summing::like(&sum);
                summing.update(&body);
                if summing.finish() == sum {
                    lock(&same).insert(key);
                }
                Ok(())
            })
            .await;
        if let Some(error) = summary.error {
            return Err(error);
        }
        let mut unfinished = summary.stopped;
        for Comparison { entry, key, sum } in large {
            if self.check_running().is_err() {
                unfinished += 1;
            } else if self.sum_of_large(entry, Summing::like(&sum)).await? == sum {
                lock(&same).insert(key);
            }
        }
        if unfinished > 0 {
            return Err(Error::Unfinished { done: total - unfinished, total });
        }
        Ok(same.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn sum_of_large(&self, entry: &Entry, mut summing: Summing) -> Result<Sum, Error> {
        let _memory = self.memory.reserve_both(PART_BYTES + EntryReader::memory_bytes(entry)).await;
        let encoding = self.rules.wanted(entry).encoding;
        self.count_inflated(entry, encoding);
        let reader = EntryReader::open(self.archive, entry, encoding).await?;
        let mut chunks = pin!(reader.chunks(PART_BYTES));
        while let Some(chunk) = chunks.try_next().await? {
            summing.update(&chunk.bytes);
        }
        Ok(summing.finish())
    }
}

fn lock(keys: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sum in progress, of the kind that S3 keeps.
enum Summing {
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

impl Summing {
    fn like(sum: &Sum) -> Self {
        match sum {
            Sum::Md5(_) => Self::Md5(Md5::new()),
            Sum::Crc32(_) => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(md5) => md5.update(bytes),
            Self::Crc32(crc32) => crc32.update(bytes),
        }
    }

    fn finish(self) -> Sum {
        match self {
            Self::Md5(md5) => Sum::Md5(hex::encode(md5.finalize())),
            Self::Crc32(crc32) => Sum::Crc32(crc32.finalize()),
        }
    }
}
