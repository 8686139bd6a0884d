//! The buckets of the account and everything in them. The S3 stand-in and the edge both read them.

mod bucket;
mod conditions;
mod multipart;
mod object;
mod settings;

use md5::{Digest as _, Md5};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::Clock;

pub(crate) use bucket::Bucket;
pub use bucket::{Etags, Versioning};
pub(crate) use conditions::{Conditions, Unmet, etag_matches};
pub use multipart::{MultipartUpload, UploadedPart};
pub use object::{Checksum, Headers, Object, Version};
pub(crate) use object::{Draft, crc32_base64, parse_crc32};
pub use settings::{BucketSettings, Expiry};

/// All buckets of the account.
pub(crate) struct Buckets {
    clock: Clock,
    buckets: Mutex<BTreeMap<String, Arc<Bucket>>>,
    account_id: Mutex<Option<String>>,
}

impl Buckets {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, buckets: Mutex::default(), account_id: Mutex::default() }
    }

    /// Creates an empty bucket, or replaces one.
    pub(crate) fn create(&self, name: &str, versioning: Versioning, etags: Etags) {
        let bucket = Bucket::new(name, versioning, etags, self.clock.clone());
        lock(&self.buckets).insert(name.to_owned(), Arc::new(bucket));
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Bucket>> {
        lock(&self.buckets).get(name).cloned()
    }

    /// Returns a bucket that a test relies on.
    ///
    /// # Panics
    /// If there is no such bucket.
    pub(crate) fn expect(&self, name: &str) -> Arc<Bucket> {
        self.get(name).unwrap_or_else(|| panic!("the test created no bucket `{name}`"))
    }

    /// Removes a bucket. Returns false, and keeps it, if it has versions or unfinished uploads.
    pub(crate) fn remove_empty(&self, name: &str) -> bool {
        let mut buckets = lock(&self.buckets);
        let is_empty = buckets.get(name).is_none_or(|bucket| bucket.is_empty());
        if is_empty {
            buckets.remove(name);
        }
        is_empty
    }

    /// Returns all buckets in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Bucket>> {
        lock(&self.buckets).values().cloned().collect()
    }

    pub(crate) fn set_account_id(&self, account_id: &str) {
        *lock(&self.account_id) = Some(account_id.to_owned());
    }

    /// Returns whether the buckets belong to the account that a call expects.
    pub(crate) fn are_owned_by(&self, expected: Option<&str>) -> bool {
        match (expected, lock(&self.account_id).as_deref()) {
            (Some(expected), Some(account_id)) => expected == account_id,
            _ => true,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

fn md5_hex(data: &[u8]) -> String {
    hex::encode(Md5::digest(data))
}
