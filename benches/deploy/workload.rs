//! The workloads: which sites the benchmark deploys, and in which scenarios.

use fastrand::Rng;

use crate::release::release;
use crate::site::{self, File, Kind};

/// A kind of site. Its files come from a seed, so that every benchmark anywhere deploys the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    pub make: fn(&mut Rng) -> Vec<File>,
    pub changes: Changes,
    pub repeats: Repeats,
    pub scenarios: &'static [Scenario],
}

/// How often the scenarios are measured.
#[derive(Clone, Copy, Debug)]
pub enum Repeats {
    /// Until as many measurements as asked for are undisturbed, but at most four times as often.
    UntilUndisturbed,
    /// As often as asked for.
    AsAsked,
    /// The cold deployment once, because it takes minutes, and the others as often as asked for.
    ColdOnce,
}

/// A Cache-Control that differs from the default.
const OTHER_CACHE_CONTROL: &str = "public, max-age=60, s-maxage=86400";

/// How many of 1,000 files an update changes, deletes and adds.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    pub changed: usize,
    pub deleted: usize,
    pub added: usize,
}

/// A deployment, by its difference from the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Into an empty bucket.
    Cold,
    /// The same contents, packed again.
    NoOp,
    /// Some files are changed, deleted and added.
    Update,
    /// The same contents with another Cache-Control.
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

    /// Returns the function's settings that make the scenario.
    pub fn settings(self) -> Vec<(String, String)> {
        match self {
            Self::Cold | Self::NoOp | Self::Update => Vec::new(),
            Self::Headers => ["CACHE_CONTROL_PAGES", "CACHE_CONTROL_ASSETS"]
                .map(|name| (name.to_owned(), OTHER_CACHE_CONTROL.to_owned()))
                .into(),
        }
    }
}

const PERCENT: Changes = Changes { changed: 10, deleted: 5, added: 5 };

/// The memory that the template gives to the function.
pub const DEFAULT_MEMORY_MIB: u64 = 512;

/// All workloads, in the order in which they are measured.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "tiny-many",
        about: "10,000 files of 0.5 to 8 KiB",
        make: site::tiny_many,
        changes: PERCENT,
        repeats: Repeats::UntilUndisturbed,
        scenarios: Scenario::ALL,
    },
    Workload {
        name: "mixed",
        about: "2,000 files, 300 MiB, half of it images",
        make: site::mixed,
        changes: PERCENT,
        repeats: Repeats::UntilUndisturbed,
        scenarios: Scenario::ALL,
    },
    Workload {
        name: "large-few",
        about: "12 stored files of 40 MiB, and a page",
        make: |rng| site::large(rng, Kind::Video),
        changes: PERCENT,
        repeats: Repeats::UntilUndisturbed,
        scenarios: Scenario::ALL,
    },
    Workload {
        name: "large-deflated",
        about: "12 deflated files of 40 MiB, and a page",
        make: |rng| site::large(rng, Kind::Text),
        changes: PERCENT,
        repeats: Repeats::UntilUndisturbed,
        scenarios: Scenario::ALL,
    },
    Workload {
        name: "docs-site",
        about: "5,001 files in the shape of a documentation site, 120 MiB",
        make: site::docs_site,
        changes: PERCENT,
        repeats: Repeats::UntilUndisturbed,
        scenarios: Scenario::ALL,
    },
    Workload {
        name: "streamlit",
        about: "156 files, two real releases (from the folder in DROPSHIP_SHARED)",
        make: |_| Vec::new(),
        changes: PERCENT,
        repeats: Repeats::UntilUndisturbed,
        scenarios: Scenario::ALL,
    },
    Workload {
        name: "huge-site",
        about: "200,000 files of 0.2 to 2 KiB, of which 0.1 % change",
        make: |rng| site::small_pages(rng, 200_000, 200..2_000),
        changes: Changes { changed: 1, deleted: 0, added: 0 },
        repeats: Repeats::AsAsked,
        scenarios: Scenario::ALL,
    },
    Workload {
        name: "million",
        about: "1,000,000 files of 16 to 48 bytes",
        make: |rng| site::small_pages(rng, 1_000_000, 16..48),
        changes: PERCENT,
        repeats: Repeats::ColdOnce,
        scenarios: &[Scenario::Cold, Scenario::NoOp],
    },
    Workload {
        name: "giant",
        about: "one deflated file of 3 GiB",
        make: site::giant,
        changes: PERCENT,
        repeats: Repeats::AsAsked,
        scenarios: &[Scenario::Cold, Scenario::NoOp],
    },
];

impl Workload {
    pub fn named(name: &str) -> Option<&'static Self> {
        WORKLOADS.iter().find(|workload| workload.name == name)
    }

    /// Returns whether the archives that it needs exist.
    pub fn is_available(&self) -> bool {
        self.name != "streamlit" || release("1.48.0").is_some_and(|path| path.exists())
    }

    /// Returns the scenarios in the order in which they are measured, if `runs` measurements of each are asked for.
    pub fn sequence(&self, runs: usize) -> Vec<Scenario> {
        match self.repeats {
            Repeats::UntilUndisturbed => self.scenarios.repeat(4 * runs),
            Repeats::AsAsked => self.scenarios.repeat(runs),
            Repeats::ColdOnce => {
                let (cold, others) = self.scenarios.split_at(1);
                [cold.to_vec(), others.repeat(runs)].concat()
            }
        }
    }
}
