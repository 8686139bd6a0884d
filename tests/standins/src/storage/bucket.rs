//! One bucket: its keys, their versions and its multipart uploads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{BucketSettings, Checksum, Conditions, Draft, Headers, MultipartUpload, Object, Unmet, Version};
use super::{lock, md5_hex};
use crate::clock::Clock;

/// Whether a bucket keeps the versions of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    On,
    Off,
}

/// How a bucket makes the ETags of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Etags {
    /// The MD5 of the body, as with SSE-S3.
    Md5,
    /// A new value for every write, which only looks like an MD5, as with SSE-KMS.
    Opaque,
}

/// One bucket. Its lock is never held while bytes are hashed or sent.
pub(crate) struct Bucket {
    pub(super) name: String,
    pub(super) etags: Etags,
    pub(super) clock: Clock,
    created: SystemTime,
    state: Mutex<State>,
}

pub(super) struct State {
    versioning: Versioning,
    /// The versions of each key, the oldest first, never empty.
    keys: BTreeMap<String, Vec<Version>>,
    pub(super) uploads: BTreeMap<String, MultipartUpload>,
    pub(super) settings: BucketSettings,
    /// How many ids were made; the next id derives from it.
    ids: u64,
}

impl State {
    fn current(&self, key: &str) -> Option<&Object> {
        self.keys.get(key)?.last()?.object.as_ref()
    }

    /// Returns an id that looks random but is the same in every run of a test.
    pub(super) fn next_id(&mut self, bucket: &str, kind: &str) -> String {
        self.ids += 1;
        md5_hex(format!("{bucket} {kind} {}", self.ids).as_bytes())
    }

    fn next_version_id(&mut self, bucket: &str) -> Option<String> {
        match self.versioning {
            Versioning::On => Some(self.next_id(bucket, "version")),
            Versioning::Off => None,
        }
    }

    fn push(&mut self, key: &str, version: Version) {
        match self.versioning {
            Versioning::On => self.keys.entry(key.to_owned()).or_default().push(version),
            Versioning::Off if version.object.is_none() => {
                self.keys.remove(key);
            }
            Versioning::Off => {
                self.keys.insert(key.to_owned(), vec![version]);
            }
        }
    }
}

impl Bucket {
    pub(super) fn new(name: &str, versioning: Versioning, etags: Etags, clock: Clock) -> Self {
        Self {
            name: name.to_owned(),
            etags,
            created: clock.whole_seconds(),
            clock,
            state: Mutex::new(State {
                versioning,
                keys: BTreeMap::new(),
                uploads: BTreeMap::new(),
                settings: BucketSettings::default(),
                ids: 0,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn created(&self) -> SystemTime {
        self.created
    }

    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.keys.is_empty() && state.uploads.is_empty()
    }

    pub(crate) fn versioning(&self) -> Versioning {
        self.lock().versioning
    }

    pub(crate) fn set_versioning(&self, versioning: Versioning) {
        self.lock().versioning = versioning;
    }

    pub(crate) fn settings(&self) -> BucketSettings {
        self.lock().settings.clone()
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut BucketSettings)) {
        change(&mut self.lock().settings);
    }

    /// Returns the current objects.
    pub(crate) fn objects(&self) -> BTreeMap<String, Object> {
        let state = self.lock();
        let current = |(key, versions): (&String, &Vec<Version>)| Some((key.clone(), versions.last()?.object.clone()?));
        state.keys.iter().filter_map(current).collect()
    }

    pub(crate) fn object(&self, key: &str) -> Option<Object> {
        self.lock().current(key).cloned()
    }

    pub(crate) fn object_version(&self, key: &str, version_id: &str) -> Option<Object> {
        self.version(key, version_id)?.object
    }

    pub(crate) fn version(&self, key: &str, version_id: &str) -> Option<Version> {
        let state = self.lock();
        let mut versions = state.keys.get(key)?.iter();
        versions.find(|version| version.id == version_id).cloned()
    }

    /// Returns the versions of a key, the oldest first.
    pub(crate) fn versions(&self, key: &str) -> Vec<Version> {
        self.lock().keys.get(key).cloned().unwrap_or_default()
    }

    /// Returns the keys with a prefix and their versions, the oldest version of a key first.
    pub(crate) fn history(&self, prefix: &str) -> Vec<(String, Vec<Version>)> {
        let state = self.lock();
        let history = state.keys.iter().filter(|(key, _)| key.starts_with(prefix));
        history.map(|(key, versions)| (key.clone(), versions.clone())).collect()
    }

    /// Maps up to `limit` current objects with a prefix whose keys come after `after`, in the byte order of the keys.
    /// Also returns whether there are more.
    pub(crate) fn page<T>(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
        map: impl Fn(&str, &Object) -> T,
    ) -> (Vec<T>, bool) {
        let state = self.lock();
        let start = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let mut current = state
            .keys
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, versions)| Some((key, versions.last()?.object.as_ref()?)));
        let page = current.by_ref().take(limit).map(|(key, object)| map(key, object)).collect();
        (page, current.next().is_some())
    }

    /// Writes an object unconditionally.
    pub(crate) fn put(&self, key: &str, body: Bytes, headers: Headers) -> Object {
        let checksum = Checksum { algorithm: "CRC64NVME".to_owned(), ..Checksum::default() };
        self.write(key, Draft::new(body, headers, checksum), &Conditions::default())
            .expect("a write without conditions takes effect")
    }

    /// Writes an object if the conditions hold at that moment.
    pub(crate) fn write(&self, key: &str, draft: Draft, conditions: &Conditions) -> Result<Object, Unmet> {
        let md5 = (self.etags == Etags::Md5).then(|| draft.multipart_etag.unwrap_or_else(|| md5_hex(&draft.body)));
        let mut state = self.lock();
        conditions.check(state.current(key))?;
        let etag = md5.unwrap_or_else(|| state.next_id(&self.name, "etag"));
        let object = Object {
            body: draft.body,
            etag: format!("\"{etag}\""),
            headers: draft.headers,
            checksum: draft.checksum,
            version_id: state.next_version_id(&self.name),
            modified: self.clock.whole_seconds(),
        };
        let version = Version {
            id: object.version_id.clone().unwrap_or_else(|| "null".to_owned()),
            modified: object.modified,
            object: Some(object.clone()),
        };
        state.push(key, version);
        Ok(object)
    }

    /// Deletes the current object unconditionally.
    pub(crate) fn delete(&self, key: &str) {
        self.delete_if(key, &Conditions::default()).expect("a delete without conditions takes effect");
    }

    /// Deletes the current object if the conditions hold at that moment. Returns the version id of the delete marker,
    /// or None in a bucket without versioning.
    pub(crate) fn delete_if(&self, key: &str, conditions: &Conditions) -> Result<Option<String>, Unmet> {
        let mut state = self.lock();
        conditions.check(state.current(key))?;
        let id = state.next_version_id(&self.name);
        let marker = Version { id: id.clone().unwrap_or_default(), modified: self.clock.whole_seconds(), object: None };
        state.push(key, marker);
        Ok(id)
    }

    /// Removes one version from the history.
    pub(crate) fn expire(&self, key: &str, version_id: &str) {
        let mut state = self.lock();
        if let Some(versions) = state.keys.get_mut(key) {
            versions.retain(|version| version.id != version_id);
            if versions.is_empty() {
                state.keys.remove(key);
            }
        }
    }

    pub(crate) fn set_modified(&self, key: &str, modified: SystemTime) {
        let mut state = self.lock();
        if let Some(version) = state.keys.get_mut(key).and_then(|versions| versions.last_mut()) {
            version.modified = modified;
            if let Some(object) = &mut version.object {
                object.modified = modified;
            }
        }
    }

    /// Makes all versions older.
    pub(crate) fn backdate(&self, by: Duration) {
        let mut state = self.lock();
        for version in state.keys.values_mut().flatten() {
            version.modified -= by;
            if let Some(object) = &mut version.object {
                object.modified -= by;
            }
        }
    }
}
