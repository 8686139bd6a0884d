//! The quotas of invalidations, and how long CloudFront remembers their references.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use standins::{Cloud, Distribution, Quota, VirtualClock};

use crate::account::{CloudFront, offer};
use crate::virtual_time::{cloudfront, latency};

const TOO_MANY: &str = "TooManyInvalidationsInProgress";

async fn account() -> (Cloud, VirtualClock, CloudFront) {
    let start: DateTime<Utc> = "2026-11-22T10:15:00Z".parse().unwrap();
    let clock = VirtualClock::starting_at(start);
    let cloud = Cloud::in_process(clock.clone(), latency(1, 1), "quotas-1");
    for id in ["E1", "E2"] {
        cloud.create_distribution(Distribution::of(id, "site"));
    }
    let client = cloudfront(&cloud).await;
    (cloud, clock, client)
}

/// Offers that many paths, and then as many wildcards, and returns whether they were accepted.
async fn fits(cloudfront: &CloudFront, reference: &str, paths: usize, wildcards: usize) -> bool {
    let items: Vec<String> = (0..paths)
        .map(|path| format!("/{reference}/{path}"))
        .chain((0..wildcards).map(|wildcard| format!("/{reference}/{wildcard}*")))
        .collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    match offer(cloudfront, reference, &items).await {
        Ok(_) => true,
        Err((code, status)) => {
            assert_eq!((code.as_str(), status), (TOO_MANY, 400));
            false
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invalidations_are_in_progress_for_their_time() {
    let (cloud, clock, cloudfront) = account().await;
    cloud.set_invalidation_time("E1", TimeDelta::minutes(1));
    assert!(fits(&cloudfront, "a", 2_900, 15).await);
    assert!(!fits(&cloudfront, "b", 101, 0).await);
    assert!(!fits(&cloudfront, "c", 0, 1).await);
    assert!(fits(&cloudfront, "d", 100, 0).await);
    clock.turn_in(Duration::from_secs(61), 0).await;
    assert!(fits(&cloudfront, "e", 3_000, 15).await);
}

#[tokio::test(start_paused = true)]
async fn by_path_every_wildcard_of_a_second_counts() {
    let (cloud, clock, cloudfront) = account().await;
    cloud.set_quota(Quota::PathsPerSecond);
    assert!(!fits(&cloudfront, "a", 151, 0).await);
    assert!(!fits(&cloudfront, "b", 0, 2).await);
    assert!(fits(&cloudfront, "c", 100, 1).await);
    assert!(!fits(&cloudfront, "d", 51, 0).await);
    assert!(!fits(&cloudfront, "e", 0, 1).await);
    assert!(fits(&cloudfront, "f", 50, 0).await);
    clock.turn_in(Duration::from_secs(1), 0).await;
    assert!(fits(&cloudfront, "g", 150, 1).await);
}

#[tokio::test(start_paused = true)]
async fn by_request_all_wildcards_of_one_request_count_as_one() {
    let (cloud, clock, cloudfront) = account().await;
    cloud.set_quota(Quota::RequestsPerSecond);
    assert!(fits(&cloudfront, "a", 10, 5).await);
    assert!(!fits(&cloudfront, "b", 0, 1).await);
    assert!(fits(&cloudfront, "c", 10, 0).await);
    clock.turn_in(Duration::from_secs(1), 0).await;
    assert!(fits(&cloudfront, "d", 0, 5).await);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_reference_makes_another_invalidation() {
    let (cloud, clock, cloudfront) = account().await;
    cloud.set_reference_memory("E1", Some(TimeDelta::hours(1)));
    let first = offer(&cloudfront, "a", &["/x"]).await.unwrap();
    clock.turn_in(Duration::from_secs(3_000), 0).await;
    assert_eq!(offer(&cloudfront, "a", &["/x"]).await.unwrap(), first);
    clock.turn_in(Duration::from_secs(700), 0).await;
    assert_ne!(offer(&cloudfront, "a", &["/x"]).await.unwrap(), first);
    assert_eq!(cloud.invalidations("E1").len(), 2);
}
