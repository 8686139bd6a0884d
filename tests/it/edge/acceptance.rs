//! How long CloudFront takes to accept the invalidations of large deployments under each quota, in virtual time.

use chrono::{DateTime, TimeDelta, Utc};
use dropship::aws::ledger::{Change, Committed};
use dropship::deployment::Owed;
use dropship::invalidation::{self, Folders, InvalidationRules, Origin, References, StaleKeys};
use serde_json::json;
use standins::Quota;

use super::QUOTAS;
use crate::build::Files;
use crate::note::note;
use crate::stage::{DISTRIBUTION, Stage};

/// How long an invalidation is in progress.
const IN_PROGRESS: TimeDelta = TimeDelta::seconds(60);

/// What CloudFront accepted, and when.
struct Accepted {
    paths: usize,
    wildcards: usize,
    offers: usize,
    /// From the first offer to the last acceptance, in seconds.
    took: f64,
    /// From the last acceptance until the lease was released, in seconds.
    held_after: f64,
}

impl Accepted {
    /// Checks that it took no longer than the quota asks for, and that the lease was released right after it.
    fn check(&self, quota: Quota, work: &str) {
        let Self { paths, wildcards, offers, took, held_after } = self;
        let (paths, wildcards) = (*paths as f64, *wildcards as f64);
        note(&format!(
            "quota: {work}, {quota:?}: {paths} paths and {wildcards} wildcards in {offers} offers, {took:.1} s; the lease \
             is held for {held_after:.1} s after that"
        ));
        let least = match quota {
            Quota::InProgress if paths <= 3_000.0 && wildcards <= 15.0 => 0.0,
            Quota::InProgress => IN_PROGRESS.as_seconds_f64(),
            // A second for each portion of 100 paths, and for each wildcard.
            _ => (paths / 100.0).ceil().max(wildcards) - 1.0,
        };
        assert!(*took <= least * 1.3 + 3.0, "{work}, {quota:?}: {took} s instead of {least} s");
        assert!(*held_after < 0.2, "{work}, {quota:?}: the lease is held for {held_after} s");
    }
}

/// Does `work`, which sends invalidations, and returns what CloudFront accepted.
async fn accepted_during(stage: &Stage, work: impl Future<Output = ()>) -> Accepted {
    let before = stage.cloud.invalidations(DISTRIBUTION).len();
    stage.cloud.clear_calls();
    work.await;
    let released: DateTime<Utc> = stage.now();
    assert_eq!(stage.ledger().await.head().await.unwrap().lease, None);
    let accepted = stage.cloud.invalidations(DISTRIBUTION).split_off(before);
    let items = || accepted.iter().flat_map(|batch| &batch.items);
    let wildcards = items().filter(|item| item.ends_with('*')).count();
    let last = accepted.last().unwrap().created;
    Accepted {
        paths: items().count() - wildcards,
        wildcards,
        offers: stage.count("CreateInvalidation"),
        took: (last - accepted[0].created).as_seconds_f64(),
        held_after: (released - last).as_seconds_f64(),
    }
}

async fn stage_under(quota: Quota, first: &Files) -> Stage {
    let stage = Stage::under(quota).await;
    stage.cloud.set_invalidation_time(DISTRIBUTION, IN_PROGRESS);
    stage.deploy("one", &stage.upload("1.zip", first)).await;
    // The invalidation of the first deployment is completed.
    tokio::time::sleep(IN_PROGRESS.to_std().unwrap()).await;
    stage
}

fn build(keys: impl IntoIterator<Item = String>, text: &str) -> Files {
    keys.into_iter().map(|key| (key, text.as_bytes().to_vec())).collect()
}

#[tokio::test(start_paused = true)]
async fn three_thousand_stale_keys_are_accepted_as_fast_as_the_quota_allows() {
    let keys = || (0..3_000).map(|n| format!("{n}.txt"));
    for quota in QUOTAS {
        let stage = stage_under(quota, &build(keys(), "one")).await.with("MAX_INVALIDATION_PATHS", "3000");
        let event = stage.upload("2.zip", &build(keys(), "two"));
        let accepted = accepted_during(&stage, async { drop(stage.deploy("two", &event).await) }).await;
        assert_eq!((accepted.paths, accepted.wildcards), (3_000, 0));
        accepted.check(quota, "3,000 stale keys");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_wildcards_are_accepted_as_fast_as_the_quota_allows() {
    let changed = || (0..300).map(|n| format!("{}/changed-{n}.txt", n % 10));
    let kept = || (0..10).map(|n| (format!("{n}/kept.txt"), b"kept".to_vec()));
    for quota in QUOTAS {
        let with_kept = |text| build(changed(), text).into_iter().chain(kept()).collect::<Files>();
        let stage = stage_under(quota, &with_kept("one")).await.with("MAX_INVALIDATION_PATHS", "10");
        let event = stage.upload("2.zip", &with_kept("two"));
        let accepted = accepted_during(&stage, async { drop(stage.deploy("two", &event).await) }).await;
        assert_eq!((accepted.paths, accepted.wildcards), (0, 10));
        accepted.check(quota, "ten wildcards");
    }
}

/// A sweep sends what a deployment of a million stale keys would owe, so that nobody has to write a million objects.
#[tokio::test(start_paused = true)]
async fn a_million_stale_keys_are_accepted_as_fast_as_the_quota_allows() {
    // Nine sections change, and between them as many do not, except for a hundred pages.
    let key = |n: usize| format!("section-{:02}/{n}.html", n % 18);
    let keys: Vec<String> = (0..2_000_000).map(key).collect();
    let is_stale = |n: usize| n.is_multiple_of(2) || n < 200;
    let of_kind =
        |stale| keys.iter().enumerate().filter(move |(n, _)| is_stale(*n) == stale).map(|(_, key)| key.as_str());
    let (changed, kept) = (of_kind(true).collect(), of_kind(false).collect());
    let stale = StaleKeys { changed, kept, ..StaleKeys::default() };
    let distribution = invalidation::Distribution {
        host: String::new(),
        id: DISTRIBUTION.to_owned(),
        origins: vec![Origin { path: String::new(), folders: Folders::Keys }],
        default_root_object: None,
        caches_errors: false,
        fallbacks: Vec::new(),
        query_strings: false,
        tags: None,
        warnings: Vec::new(),
    };
    let rules = InvalidationRules::default();
    let invalidation = invalidation::invalidation(&distribution, &stale, &rules);
    for quota in QUOTAS {
        let stage = stage_under(quota, &build(["index.html".to_owned()], "one")).await;
        let ledger = stage.ledger().await;
        let head = ledger.head().await.unwrap();
        let run = head.live.clone().unwrap();
        let references =
            References { site: "live", deployment: run.deployment.as_str(), run: run.number, recorded_at: stage.now() };
        let batches = invalidation::batches(&references, 1, &distribution, &invalidation);
        let owed: Vec<Owed> = batches.into_iter().map(|batch| Owed::new(batch, &run, stage.now())).collect();
        let to = head.next_version();
        let change = Change { owed: &owed, ..Change::of_head(&head, &to) };
        assert_eq!(ledger.commit(change).await.unwrap(), Committed::Yes);
        let accepted =
            accepted_during(&stage, async { drop(stage.deploy("sweep", &json!({"sweep": true})).await) }).await;
        assert_eq!((accepted.paths, accepted.wildcards), (100, 9));
        accepted.check(quota, "a million stale keys");
    }
}
