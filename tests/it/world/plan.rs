//! The plan of a world: what happens in it and when, as a value that a seed determines and that can be made smaller.

use fastrand::Rng;
use standins::{Quota, ReferenceConflict};

use super::contents::{Build, KEYS};
use super::previews;

/// How long the viewers' and the services' latencies are at most, in milliseconds.
const LATENCIES: [u64; 3] = [5, 40, 400];

/// A world: its AWS, and the deeds of people and machines in it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub aws: Aws,
    /// In the order in which they are numbered, which is not that of their times.
    pub deeds: Vec<Deed>,
}

/// How AWS behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Aws {
    pub quota: Quota,
    pub conflict: ReferenceConflict,
    /// How long CloudFront remembers a reference, in hours.
    pub memory_hours: Option<i64>,
    /// How long an invalidation takes to reach the edge locations, in seconds.
    pub spread_seconds: i64,
    /// Whether an invalidation voids answers that are on their way into a cache. Without that, no order of work helps.
    pub voids_fetches: bool,
    /// Whether an invalidation reaches the regional tier before the edge locations. The same holds for it.
    pub is_regional_first: bool,
    /// How long an invalidation is in progress, in seconds.
    pub invalidation_seconds: i64,
    /// The longest usual latency, in milliseconds.
    pub latency_ms: u64,
    /// One of this many calls takes up to forty seconds; 0 for none.
    pub slow_every: u64,
    pub timeout_seconds: i64,
    pub concurrency: usize,
    /// One of this many invocations dies at some call; 0 for none.
    pub deaths_every: u64,
    /// One of this many events is delivered twice under one request id; 0 for none.
    pub doubles_every: u64,
    pub pause_seconds: u64,
    pub has_opaque_etags: bool,
    /// Whether a second distribution caches errors.
    pub has_two_distributions: bool,
    pub retain_days: u64,
    pub max_items: u64,
    pub history_days: u64,
}

/// Something that someone does at some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    /// Names it, whichever other deeds there are, and determines everything random about it.
    pub number: u64,
    /// In milliseconds since the beginning.
    pub at: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Upload(Upload),
    /// A person's word that brings an upload live again, by its event.
    Replay {
        upload: usize,
        is_bare: bool,
    },
    RollBackTo {
        upload: usize,
    },
    RollBack,
    Sweep,
    /// A person sends some of the events in the failure queue again.
    Redrive,
    /// The function is throttled for some time.
    Throttle {
        seconds: u64,
    },
    Trouble(Trouble),
    WriteForeign {
        key: &'static str,
    },
    DeleteForeign {
        key: &'static str,
    },
    EmptyBucket,
    DeleteManifest,
    /// The ledger as it was an hour ago.
    RestoreLedger,
    Set {
        name: &'static str,
        value: &'static str,
    },
    /// The site's distribution gets an error page, or another one.
    CacheErrors {
        seconds: u64,
    },
    /// Somebody pushes to a preview, or removes it.
    Preview(previews::Change),
    /// The site gets another distribution in place of one.
    Exchange {
        is_deleted: bool,
    },
    /// The site's folder at the distribution changes: everything is served from it.
    MoveOrigin {
        path: &'static str,
    },
}

/// An archive that CI uploads, and the notifications of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    pub build: Build,
    pub key: &'static str,
    /// How long before its end a multipart upload began, in seconds; 0 for a simple one.
    pub initiated_before: u64,
    pub notifications: Vec<Notification>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Notification {
    /// In milliseconds.
    pub delay: u64,
    pub is_from_event_bridge: bool,
}

/// Calls that fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trouble {
    pub operation: &'static str,
    pub kind: TroubleKind,
    pub times: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TroubleKind {
    Refused,
    RefusedAfter,
    DroppedBefore,
    DroppedAfter,
    Throttled,
}

const OPERATIONS: [&str; 10] = [
    "PutObject",
    "GetObject",
    "HeadObject",
    "CopyObject",
    "DeleteObjects",
    "ListObjectsV2",
    "TransactWriteItems",
    "Query",
    "UpdateItem",
    "CreateInvalidation",
];

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

impl Plan {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let aws = Aws::random(&mut rng);
        // Most worlds are crowded, so that invocations meet; others take days.
        let span = [3 * MINUTE, 20 * MINUTE, 4 * HOUR, 60 * HOUR][rng.usize(..4)];
        let is_unkind = rng.bool();
        let mut deeds: Vec<Deed> = Vec::new();
        let mut uploads = Vec::new();
        for number in 0..rng.u64(3..9) {
            let mut rng = Rng::with_seed(rng.u64(..));
            let what = match number {
                0 | 1 => What::Upload(Upload::random(&mut rng, span, number > 0)),
                _ => What::random(&mut rng, span, &uploads, is_unkind),
            };
            if matches!(what, What::Upload(_)) {
                uploads.push(number as usize);
            }
            let at = match number {
                0 => 0,
                // Often shortly after the one before.
                _ if rng.bool() => deeds.last().map_or(0, |deed| deed.at) + rng.u64(..20 * SECOND),
                _ => rng.u64(..span),
            };
            deeds.push(Deed { number, at, what });
        }
        let mut plan = Self { seed, aws, deeds };
        plan.deeds.extend(previews::deeds(&plan, span));
        plan
    }

    /// Returns the number that determines what is random about `what` of a deed.
    pub fn salt(&self, number: u64, what: u64) -> Rng {
        Rng::with_seed(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number << 20) ^ what)
    }
}

impl Aws {
    fn random(rng: &mut Rng) -> Self {
        Self {
            quota: [Quota::InProgress, Quota::PathsPerSecond, Quota::RequestsPerSecond][rng.usize(..3)],
            conflict: [
                ReferenceConflict::Documented,
                ReferenceConflict::InvalidArgument,
                ReferenceConflict::AlwaysInvalidArgument,
            ][rng.usize(..3)],
            memory_hours: [None, Some(1), Some(24)][rng.usize(..3)],
            spread_seconds: [0, 5, 60][rng.usize(..3)],
            voids_fetches: true,
            is_regional_first: true,
            invalidation_seconds: [0, 10, 120][rng.usize(..3)],
            latency_ms: LATENCIES[rng.usize(..LATENCIES.len())],
            slow_every: [0, 0, 300][rng.usize(..3)],
            timeout_seconds: [60, 300, 900][rng.usize(..3)],
            concurrency: rng.usize(1..5),
            deaths_every: [0, 6, 2][rng.usize(..3)],
            doubles_every: [0, 0, 5][rng.usize(..3)],
            pause_seconds: rng.u64(1..8),
            has_opaque_etags: rng.bool(),
            has_two_distributions: rng.u8(..3) == 0,
            retain_days: [0, 0, 1][rng.usize(..3)],
            max_items: [200, 200, 2][rng.usize(..3)],
            history_days: [365, 1][rng.usize(..2)],
        }
    }

    /// AWS at its kindest, for smaller stories.
    pub fn kind(&self) -> Self {
        Self {
            quota: Quota::InProgress,
            conflict: ReferenceConflict::Documented,
            memory_hours: None,
            spread_seconds: 0,
            voids_fetches: self.voids_fetches,
            is_regional_first: self.is_regional_first,
            invalidation_seconds: 0,
            latency_ms: LATENCIES[0],
            slow_every: 0,
            timeout_seconds: 900,
            concurrency: 4,
            deaths_every: 0,
            doubles_every: 0,
            pause_seconds: 1,
            has_opaque_etags: false,
            has_two_distributions: false,
            retain_days: 0,
            max_items: 200,
            history_days: 365,
        }
    }
}

impl Upload {
    fn random(rng: &mut Rng, span: u64, may_be_flawed: bool) -> Self {
        let mut notifications = Vec::new();
        let count = if rng.u8(..4) == 0 { 2 } else { 1 };
        for _ in 0..count {
            let delay = match rng.u8(..4) {
                0 | 1 => rng.u64(100..3 * SECOND),
                2 => rng.u64(..2 * MINUTE),
                _ => rng.u64(..span),
            };
            notifications.push(Notification { delay, is_from_event_bridge: rng.u8(..5) == 0 });
        }
        Self {
            build: Build::random(rng, may_be_flawed),
            key: ["uploads/site.zip", "uploads/site.zip", "uploads/b.zip"][rng.usize(..3)],
            initiated_before: if rng.u8(..6) == 0 { rng.u64(1..900) } else { 0 },
            notifications,
        }
    }
}

impl What {
    fn random(rng: &mut Rng, span: u64, uploads: &[usize], is_unkind: bool) -> Self {
        let upload = uploads[rng.usize(..uploads.len())];
        let key = KEYS[rng.usize(..KEYS.len())];
        match rng.u8(..if is_unkind { 26 } else { 16 }) {
            0..=5 => Self::Upload(Upload::random(rng, span, true)),
            6 => Self::Replay { upload, is_bare: rng.bool() },
            7 => Self::RollBackTo { upload },
            8 | 9 => Self::RollBack,
            10 => Self::Sweep,
            11 => Self::Redrive,
            12 => Self::Throttle { seconds: [30, 1_800, 18_000][rng.usize(..3)] },
            13..=15 => Self::Trouble(Trouble::random(rng)),
            16 | 17 => Self::WriteForeign { key },
            18 => Self::DeleteForeign { key },
            19 => Self::EmptyBucket,
            20 | 21 => Self::DeleteManifest,
            22 => Self::RestoreLedger,
            23 => {
                let (name, value) = [
                    ("ARCHIVE_ROOT", "wrong"),
                    ("ARCHIVE_ROOT", "wrong"),
                    ("ARCHIVE_ROOT", ""),
                    ("PRUNE", "owned"),
                    ("PRUNE", "off"),
                    ("PRUNE", "all"),
                    ("RETAIN_REMOVED_DAYS", "1"),
                    ("RETAIN_REMOVED_DAYS", "0"),
                    ("MAX_INVALIDATION_PATHS", "1"),
                    ("MAX_ENTRIES", "2"),
                    ("LAST", "*.html"),
                    ("LAST", "!sw.js"),
                ][rng.usize(..12)];
                Self::Set { name, value }
            }
            24 => {
                if rng.bool() {
                    Self::CacheErrors { seconds: if rng.bool() { 300 } else { 0 } }
                } else {
                    Self::MoveOrigin { path: if rng.bool() { "/d" } else { "" } }
                }
            }
            _ => Self::Exchange { is_deleted: rng.bool() },
        }
    }

    /// Whether it changes a distribution.
    pub fn reconfigures(&self) -> bool {
        matches!(self, Self::CacheErrors { .. } | Self::MoveOrigin { .. } | Self::Exchange { .. })
    }
}

impl Trouble {
    fn random(rng: &mut Rng) -> Self {
        let kinds = [
            TroubleKind::Refused,
            TroubleKind::RefusedAfter,
            TroubleKind::DroppedBefore,
            TroubleKind::DroppedAfter,
            TroubleKind::Throttled,
        ];
        Self {
            operation: OPERATIONS[rng.usize(..OPERATIONS.len())],
            kind: kinds[rng.usize(..kinds.len())],
            times: [1, 2, 12, 40][rng.usize(..4)],
        }
    }
}
