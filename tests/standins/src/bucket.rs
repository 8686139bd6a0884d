//! Buckets in memory: objects, versions, conditions and multipart uploads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use md5::{Digest as _, Md5};

use crate::faults::{Does, Fault, matches_pattern};

/// Whether a bucket keeps the versions of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    On,
    Off,
}

/// What the ETags of a bucket's objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Etags {
    /// The MD5 of the body, as with SSE-S3.
    Md5,
    /// Another value at every write, which only looks like an MD5, as with SSE-KMS.
    Opaque,
}

/// The headers that S3 keeps with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_disposition: Option<String>,
    /// User metadata, names without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
}

impl Headers {
    /// Headers with a Content-Type alone.
    pub fn of_type(content_type: &str) -> Self {
        Self { content_type: Some(content_type.to_owned()), ..Self::default() }
    }
}

/// What S3 knows about the integrity of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// `CRC32`, `SHA256`, …; `CRC64NVME` where the upload named none.
    pub algorithm: String,
    /// The CRC-32 in base64, where it was sent or asked for; with `-N` when composite.
    pub crc32: Option<String>,
    /// The CRC-32 was computed over the checksums of the parts.
    pub composite: bool,
}

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Object {
    pub body: Bytes,
    /// With its quotes, as the API returns it.
    pub etag: String,
    pub headers: Headers,
    pub checksum: Checksum,
    /// None in a bucket without versioning.
    pub version_id: Option<String>,
    pub modified: SystemTime,
}

/// One entry in the history of a key.
#[derive(Clone, Debug)]
pub struct Version {
    pub id: String,
    pub modified: SystemTime,
    /// None is a delete marker.
    pub object: Option<Object>,
}

/// A multipart upload under way.
#[derive(Clone, Debug)]
pub struct Upload {
    pub id: String,
    pub key: String,
    pub headers: Headers,
    /// The checksum algorithm that the upload announced.
    pub algorithm: Option<String>,
    /// The checksum is to cover the object, not the checksums of its parts.
    pub full_object: bool,
    pub parts: BTreeMap<i32, Part>,
    pub initiated: SystemTime,
}

/// One part of a multipart upload.
#[derive(Clone, Debug)]
pub struct Part {
    pub body: Bytes,
    /// With its quotes.
    pub etag: String,
    /// Where it was needed already.
    pub crc32: Option<u32>,
}

/// The keys that a `DeleteObjects` is to refuse, by the fault rules that struck it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusedKeys(Vec<(Option<String>, String)>);

impl RefusedKeys {
    pub(crate) fn of(faults: &[Fault]) -> Self {
        let refused = faults.iter().filter_map(|fault| match &fault.does {
            Does::RefuseKeys { code } => Some((fault.key.clone(), code.clone())),
            _ => None,
        });
        Self(refused.collect())
    }

    /// Returns the error code for a key, if it is refused.
    pub(crate) fn code(&self, key: &str) -> Option<&str> {
        let matches = |pattern: &Option<String>| pattern.as_ref().is_none_or(|pattern| matches_pattern(pattern, key));
        let (_, code) = self.0.iter().find(|(pattern, _)| matches(pattern))?;
        Some(code)
    }
}

/// What has to hold of the current object for a write to take place.
///
/// Values are ETags as sent, or `*`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
}

/// Why a write did not take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// `If-Match` on an object that does not exist.
    Missing,
    PreconditionFailed,
}

impl Conditions {
    fn check(&self, current: Option<&Object>) -> Result<(), Unmet> {
        if let Some(wanted) = &self.if_match {
            let current = current.ok_or(Unmet::Missing)?;
            if !etag_matches(wanted, &current.etag) {
                return Err(Unmet::PreconditionFailed);
            }
        }
        match (&self.if_none_match, current) {
            (Some(unwanted), Some(current)) if etag_matches(unwanted, &current.etag) => Err(Unmet::PreconditionFailed),
            _ => Ok(()),
        }
    }
}

/// Compares an ETag, which may lack its quotes, or `*`.
pub(crate) fn etag_matches(wanted: &str, etag: &str) -> bool {
    wanted == "*" || wanted.trim_matches('"') == etag.trim_matches('"')
}

/// Returns the CRC-32 as S3 writes it: the big-endian bytes in base64.
pub(crate) fn crc32_base64(crc32: u32) -> String {
    STANDARD.encode(crc32.to_be_bytes())
}

/// Reads what [`crc32_base64`] writes.
pub(crate) fn crc32_of(text: &str) -> Option<u32> {
    let bytes = STANDARD.decode(text).ok()?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// All buckets of the account.
#[derive(Default)]
pub struct Buckets {
    buckets: Mutex<BTreeMap<String, Arc<Bucket>>>,
    account_id: Mutex<Option<String>>,
}

impl Buckets {
    pub(crate) fn create(&self, name: &str, versioning: Versioning, etags: Etags) {
        let bucket = Bucket {
            name: name.to_owned(),
            etags,
            state: Mutex::new(State { versioning, keys: BTreeMap::new(), uploads: BTreeMap::new(), writes: 0 }),
        };
        lock(&self.buckets).insert(name.to_owned(), Arc::new(bucket));
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Bucket>> {
        lock(&self.buckets).get(name).cloned()
    }

    /// Returns a bucket that a test relies on.
    pub(crate) fn open(&self, name: &str) -> Arc<Bucket> {
        self.get(name).unwrap_or_else(|| panic!("the test created no bucket `{name}`"))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.buckets).keys().cloned().collect()
    }

    pub(crate) fn set_account_id(&self, account_id: &str) {
        *lock(&self.account_id) = Some(account_id.to_owned());
    }

    /// Tells whether the buckets belong to the account that a call expects.
    pub(crate) fn are_owned_by(&self, expected: Option<&str>) -> bool {
        match (expected, lock(&self.account_id).as_deref()) {
            (Some(expected), Some(account_id)) => expected == account_id,
            _ => true,
        }
    }
}

/// One bucket. Its lock is held for map operations alone, never while bytes are hashed or sent.
pub(crate) struct Bucket {
    name: String,
    etags: Etags,
    state: Mutex<State>,
}

struct State {
    versioning: Versioning,
    /// The versions of each key, the oldest first, never empty.
    keys: BTreeMap<String, Vec<Version>>,
    uploads: BTreeMap<String, Upload>,
    /// Counts writes, to number versions and opaque ETags.
    writes: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

fn md5_hex(data: &[u8]) -> String {
    hex::encode(Md5::digest(data))
}

/// Now, in whole seconds as S3 keeps it.
fn now() -> SystemTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A body on its way into a bucket.
pub(crate) struct Draft {
    pub(crate) body: Bytes,
    pub(crate) headers: Headers,
    pub(crate) checksum: Checksum,
    /// Without quotes, for what was uploaded in parts: the ETag in a bucket with MD5 ETags.
    pub(crate) etag_of_parts: Option<String>,
}

impl Draft {
    pub(crate) fn new(body: Bytes, headers: Headers, checksum: Checksum) -> Self {
        Self { body, headers, checksum, etag_of_parts: None }
    }
}

impl State {
    fn current(&self, key: &str) -> Option<&Object> {
        self.keys.get(key)?.last()?.object.as_ref()
    }

    fn number(&mut self, bucket: &str, kind: &str) -> String {
        self.writes += 1;
        md5_hex(format!("{bucket} {kind} {}", self.writes).as_bytes())
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
    pub(crate) fn versioning(&self) -> Versioning {
        lock(&self.state).versioning
    }

    pub(crate) fn set_versioning(&self, versioning: Versioning) {
        lock(&self.state).versioning = versioning;
    }

    pub(crate) fn objects(&self) -> BTreeMap<String, Object> {
        let state = lock(&self.state);
        let live = |(key, versions): (&String, &Vec<Version>)| Some((key.clone(), versions.last()?.object.clone()?));
        state.keys.iter().filter_map(live).collect()
    }

    pub(crate) fn backdate(&self, by: Duration) {
        let mut state = lock(&self.state);
        for version in state.keys.values_mut().flatten() {
            version.modified -= by;
            if let Some(object) = &mut version.object {
                object.modified -= by;
            }
        }
    }

    pub(crate) fn object(&self, key: &str) -> Option<Object> {
        lock(&self.state).current(key).cloned()
    }

    pub(crate) fn object_version(&self, key: &str, version_id: &str) -> Option<Object> {
        self.version(key, version_id)?.object
    }

    pub(crate) fn version(&self, key: &str, version_id: &str) -> Option<Version> {
        let state = lock(&self.state);
        let mut versions = state.keys.get(key)?.iter();
        versions.find(|version| version.id == version_id).cloned()
    }

    pub(crate) fn versions(&self, key: &str) -> Vec<Version> {
        lock(&self.state).keys.get(key).cloned().unwrap_or_default()
    }

    /// Looks at up to `limit` current objects of a prefix, from behind `after`,
    /// in the byte order of their keys; tells, too, whether there are more.
    pub(crate) fn page<T>(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
        look: impl Fn(&str, &Object) -> T,
    ) -> (Vec<T>, bool) {
        let state = lock(&self.state);
        let start = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let mut live = state
            .keys
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, versions)| Some((key, versions.last()?.object.as_ref()?)));
        let page = live.by_ref().take(limit).map(|(key, object)| look(key, object)).collect();
        (page, live.next().is_some())
    }

    pub(crate) fn put(&self, key: &str, body: Bytes, headers: Headers) -> Object {
        let checksum = Checksum { algorithm: "CRC64NVME".to_owned(), ..Checksum::default() };
        self.write(key, Draft::new(body, headers, checksum), &Conditions::default())
            .expect("a write without conditions takes place")
    }

    /// Writes an object, if the conditions hold at that very moment.
    pub(crate) fn write(&self, key: &str, draft: Draft, conditions: &Conditions) -> Result<Object, Unmet> {
        // Hashed before the bucket is locked, and only where the hash is asked for.
        let md5 = (self.etags == Etags::Md5).then(|| {
            let of_parts = draft.etag_of_parts;
            of_parts.unwrap_or_else(|| md5_hex(&draft.body))
        });
        let mut state = lock(&self.state);
        conditions.check(state.current(key))?;
        let etag = md5.unwrap_or_else(|| state.number(&self.name, "etag"));
        let version_id = match state.versioning {
            Versioning::On => Some(state.number(&self.name, "version")),
            Versioning::Off => None,
        };
        let object = Object {
            body: draft.body,
            etag: format!("\"{etag}\""),
            headers: draft.headers,
            checksum: draft.checksum,
            version_id: version_id.clone(),
            modified: now(),
        };
        let version = Version {
            id: version_id.unwrap_or_else(|| "null".to_owned()),
            modified: object.modified,
            object: Some(object.clone()),
        };
        state.push(key, version);
        Ok(object)
    }

    pub(crate) fn delete(&self, key: &str) -> Option<String> {
        self.delete_if(key, &Conditions::default()).expect("a delete without conditions takes place")
    }

    /// Deletes the current object; returns the version id of the delete marker, if one was made.
    pub(crate) fn delete_if(&self, key: &str, conditions: &Conditions) -> Result<Option<String>, Unmet> {
        let mut state = lock(&self.state);
        conditions.check(state.current(key))?;
        let id = match state.versioning {
            Versioning::On => Some(state.number(&self.name, "version")),
            Versioning::Off => None,
        };
        let version = Version { id: id.clone().unwrap_or_default(), modified: now(), object: None };
        state.push(key, version);
        Ok(id)
    }

    /// Removes one version from the history.
    pub(crate) fn expire(&self, key: &str, version_id: &str) {
        let mut state = lock(&self.state);
        if let Some(versions) = state.keys.get_mut(key) {
            versions.retain(|version| version.id != version_id);
            if versions.is_empty() {
                state.keys.remove(key);
            }
        }
    }

    /// Returns every version of the keys of a prefix.
    pub(crate) fn history(&self, prefix: &str) -> Vec<(String, Vec<Version>)> {
        let state = lock(&self.state);
        state
            .keys
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, versions)| (key.clone(), versions.clone()))
            .collect()
    }

    pub(crate) fn uploads(&self) -> Vec<Upload> {
        lock(&self.state).uploads.values().cloned().collect()
    }

    pub(crate) fn upload(&self, upload_id: &str) -> Option<Upload> {
        lock(&self.state).uploads.get(upload_id).cloned()
    }

    pub(crate) fn begin_upload(
        &self,
        key: &str,
        headers: Headers,
        algorithm: Option<String>,
        full_object: bool,
    ) -> String {
        let mut state = lock(&self.state);
        let id = state.number(&self.name, "upload");
        let upload = Upload {
            id: id.clone(),
            key: key.to_owned(),
            headers,
            algorithm,
            full_object,
            parts: BTreeMap::new(),
            initiated: now(),
        };
        state.uploads.insert(id.clone(), upload);
        id
    }

    /// Stores a part and returns its ETag, None when there is no such upload.
    pub(crate) fn put_part(&self, upload_id: &str, number: i32, body: Bytes, crc32: Option<u32>) -> Option<String> {
        let md5 = (self.etags == Etags::Md5).then(|| md5_hex(&body));
        let mut state = lock(&self.state);
        let etag = md5.unwrap_or_else(|| state.number(&self.name, "part"));
        let part = Part { body, etag: format!("\"{etag}\""), crc32 };
        let etag = part.etag.clone();
        let upload = state.uploads.get_mut(upload_id)?;
        upload.parts.insert(number, part);
        Some(etag)
    }

    /// Removes an upload; false when there is none.
    pub(crate) fn end_upload(&self, upload_id: &str) -> bool {
        lock(&self.state).uploads.remove(upload_id).is_some()
    }
}

/// Joins the parts of an upload, in the order given.
pub(crate) fn joined(parts: &[&Part], headers: Headers, upload: &Upload) -> Draft {
    let mut md5s = Vec::new();
    let mut crc32s = Vec::new();
    let mut whole = crc32fast::Hasher::new();
    for part in parts {
        // A part's ETag is its MD5 where it counts.
        md5s.extend(hex::decode(part.etag.trim_matches('"')).unwrap_or_default());
        if upload.algorithm.as_deref() == Some("CRC32") {
            let crc32 = part.crc32.unwrap_or_else(|| crc32fast::hash(&part.body));
            let size_bytes = part.body.len() as u64;
            crc32s.extend_from_slice(&crc32.to_be_bytes());
            whole.combine(&crc32fast::Hasher::new_with_initial_len(crc32, size_bytes));
        }
    }
    let body = match parts {
        [part] => part.body.clone(),
        _ => {
            let mut body = BytesMut::with_capacity(parts.iter().map(|part| part.body.len()).sum());
            for part in parts {
                body.extend_from_slice(&part.body);
            }
            body.freeze()
        }
    };
    let composite = !upload.full_object;
    let crc32 = match upload.algorithm.as_deref() {
        Some("CRC32") if composite => {
            let crc32 = crc32_base64(crc32fast::hash(&crc32s));
            Some(format!("{crc32}-{}", parts.len()))
        }
        Some("CRC32") => Some(crc32_base64(whole.finalize())),
        _ => None,
    };
    let algorithm = upload.algorithm.clone();
    Draft {
        body,
        headers,
        checksum: Checksum {
            composite: composite && crc32.is_some(),
            algorithm: algorithm.unwrap_or_else(|| "CRC64NVME".to_owned()),
            crc32,
        },
        etag_of_parts: Some(format!("{}-{}", md5_hex(&md5s), parts.len())),
    }
}
