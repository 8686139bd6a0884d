//! The evictions of a real release.

use std::collections::BTreeSet;

use dropship::report::Report;
use standins::Distribution;

use super::{assert_fresh, evicted, set, urls};
use crate::build::{Files, unzipped};
use crate::shared_data::releases;
use crate::stage::{DISTRIBUTION, LIVE, Stage};

/// The two releases, with every URL of the old one cached before the new one is deployed.
struct Releases {
    stage: Stage,
    old: Files,
    new: Files,
    report: Report,
    evicted: BTreeSet<String>,
    evicted_needlessly: Vec<String>,
}

impl Releases {
    async fn deploy(variables: &[(&str, &str)]) -> Option<Self> {
        let [old, new] = releases()?;
        let mut stage = Stage::new().await;
        for (name, value) in variables {
            stage = stage.with(name, value);
        }
        let (old_files, new_files) = (unzipped(&old), unzipped(&new));
        stage.deploy("old", &stage.upload_bytes("old.zip", old)).await;
        let edge = stage.cloud.edge(DISTRIBUTION);
        edge.warm_all(old_files.keys().flat_map(|key| urls(key, false)));
        let before = edge.cached();
        let report = stage.deploy("new", &stage.upload_bytes("new.zip", new)).await;
        let evicted = evicted(&edge, &before);
        Some(Self {
            stage,
            old: old_files,
            new: new_files,
            report,
            evicted: evicted.all.into_iter().collect(),
            evicted_needlessly: evicted.needlessly,
        })
    }

    /// Returns the URLs of the changed keys.
    fn changed(&self) -> BTreeSet<String> {
        set(["/", "/index.html", "/manifest.json"])
    }

    /// Returns the URLs of the deleted keys.
    fn deleted(&self) -> BTreeSet<String> {
        let deleted = self.old.keys().filter(|key| !self.new.contains_key(*key));
        deleted.map(|key| format!("/{key}")).collect()
    }

    fn items(&self) -> BTreeSet<String> {
        self.stage.items_sent(&self.report, DISTRIBUTION)
    }

    fn assert_fresh<'u>(&self, urls: impl IntoIterator<Item = &'u String>) {
        assert_fresh(&self.stage, Distribution::of(DISTRIBUTION, LIVE), urls);
    }
}

#[tokio::test]
async fn a_real_release_evicts_exactly_what_became_stale() {
    let Some(releases) = Releases::deploy(&[]).await else {
        return;
    };
    let stale: BTreeSet<String> = releases.changed().union(&releases.deleted()).cloned().collect();
    assert_eq!((releases.deleted().len(), stale.len()), (66, 69));
    assert_eq!(releases.items(), stale);
    assert_eq!(releases.evicted, stale);
    assert_eq!(releases.evicted_needlessly, [""; 0]);
    assert_eq!(releases.report.warnings, [""; 0]);
    releases.assert_fresh(
        releases.old.keys().chain(releases.new.keys()).flat_map(|key| urls(key, false)).collect::<Vec<_>>().iter(),
    );
    eprintln!("streamlit: {} items, {} evicted, none needlessly", stale.len(), releases.evicted.len());
}

#[tokio::test]
async fn removed_immutable_assets_that_are_retained_are_not_invalidated() {
    let immutable = ("CACHE_CONTROL_ASSETS", "public, max-age=31536000, immutable");
    let Some(releases) = Releases::deploy(&[immutable, ("RETAIN_REMOVED_DAYS", "30")]).await else {
        return;
    };
    let pages: BTreeSet<String> = releases.deleted().into_iter().filter(|url| url.ends_with(".html")).collect();
    assert_eq!(pages, BTreeSet::new());
    assert_eq!(releases.items(), releases.changed());
    assert_eq!(releases.evicted, releases.changed());
    releases.assert_fresh(&releases.changed());
}

#[tokio::test]
async fn over_the_budget_every_stale_path_is_covered_and_a_warning_counts_the_collateral() {
    let Some(releases) = Releases::deploy(&[("MAX_INVALIDATION_PATHS", "3")]).await else {
        return;
    };
    assert!(releases.items().len() <= 3, "{:?}", releases.items());
    let stale: BTreeSet<String> = releases.changed().union(&releases.deleted()).cloned().collect();
    assert!(releases.evicted.is_superset(&stale));
    let [warning] = &releases.report.warnings[..] else {
        panic!("{:?}", releases.report.warnings);
    };
    let objects = releases.evicted_needlessly.len();
    assert!(objects > 0);
    assert!(warning.contains(&format!("evict {objects} unchanged objects from {DISTRIBUTION}")), "{warning}");
    releases.assert_fresh(releases.old.keys().flat_map(|key| urls(key, false)).collect::<Vec<_>>().iter());
    eprintln!("streamlit, 3 items: {:?} evict {objects} of 88 unchanged objects", releases.items());
}
