//! CloudFront's quotas. Every test runs under each of them, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use standins::{CLIENT, Distribution, Does, Fault, Headers, Quota};

use super::{assert_fresh, first, second, set, urls};
use crate::build::Files;
use crate::stage::{DISTRIBUTION, LIVE, Stage};

/// The quotas that AWS's pages have named, and both ways to count wildcards.
pub const QUOTAS: [Quota; 3] = [Quota::InProgress, Quota::PathsPerSecond, Quota::RequestsPerSecond];

/// A build of that many pages.
fn pages(count: usize, text: &str) -> Files {
    (0..count).map(|n| (format!("{n}.html"), text.as_bytes().to_vec())).collect()
}

pub fn too_many(times: usize) -> Fault {
    Fault { times, ..Fault::on("CreateInvalidation", Does::refuse(400, "TooManyInvalidationsInProgress")) }
}

/// Deploys the first build to these distributions, whose caches then hold every URL, and returns the URLs.
async fn deploy_first(stage: &Stage, ids: &[&str], build: &Files) -> Vec<String> {
    stage.deploy("one", &stage.upload("1.zip", build)).await;
    let urls: Vec<String> = build.keys().flat_map(|key| urls(key, false)).collect();
    for id in ids {
        stage.cloud.edge(id).warm_all(&urls);
    }
    stage.cloud.clear_calls();
    urls
}

#[tokio::test(start_paused = true)]
async fn a_full_quota_on_one_distribution_does_not_hold_up_another() {
    for quota in QUOTAS {
        let ids = ["E1FULL", "E2ROOMY"];
        let stage = Stage::under(quota).await.with("DISTRIBUTION_IDS", &ids.join(","));
        for id in ids {
            stage.cloud.create_distribution(Distribution::of(id, LIVE));
        }
        let urls = deploy_first(&stage, &ids, &first()).await;
        let accepted = BTreeMap::from(ids.map(|id| (id, stage.cloud.invalidations(id).len())));
        let event = stage.upload("2.zip", &second());
        stage.cloud.fault(Fault { distribution: Some("E1FULL".to_owned()), ..too_many(usize::MAX) });
        let began = stage.now();
        let handled = stage.invoke("two", &event).await;
        let failure = handled.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "InvalidationOwed");
        assert!(failure.error_message.contains("E1FULL has too many"), "{}", failure.error_message);
        assert_eq!(stage.cloud.invalidations("E1FULL").len(), accepted["E1FULL"]);
        let sent = &stage.cloud.invalidations("E2ROOMY")[accepted["E2ROOMY"]..];
        let changed = set(["/", "/index.html", "/www", "/www/", "/www/index.html"]);
        assert_eq!(sent.iter().flat_map(|sent| sent.items.clone()).collect::<BTreeSet<_>>(), changed);
        let waited = sent[0].created - began;
        assert!(waited < TimeDelta::seconds(4), "{quota:?}: {waited}");

        // The refused batch is offered again as it was recorded, under the same reference.
        stage.cloud.clear_faults();
        let report = stage.deploy("two", &event).await;
        let sent = report.invalidations.iter().map(|sent| (sent.distribution_id.as_str(), sent.items));
        assert_eq!(sent.collect::<Vec<_>>(), [("E1FULL", 5), ("E1FULL", 1), ("E2ROOMY", 1)]);
        assert!(report.invalidations.iter().all(|sent| sent.caller_reference.contains(".2.")));
        stage.assert_live(&second());
        for id in ids {
            assert_fresh(&stage, Distribution::of(id, LIVE), &urls);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_quota_that_clears_before_the_deadline_only_delays() {
    for quota in QUOTAS {
        let stage = Stage::under(quota).await;
        let urls = deploy_first(&stage, &[DISTRIBUTION], &first()).await;
        let event = stage.upload("2.zip", &second());
        stage.cloud.fault(too_many(8));
        let report = stage.deploy("two", &event).await;
        assert_eq!(report.invalidations.len(), 2);
        stage.assert_live(&second());
        assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &urls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_cloudfront_refuses_for_what_it_says_is_replaced_and_holds_up_no_other() {
    for quota in QUOTAS {
        let stage = Stage::under(quota).await;
        let urls = deploy_first(&stage, &[DISTRIBUTION], &pages(150, "one")).await;
        stage.cloud.fault(Fault::on("CreateInvalidation", Does::refuse(400, "InvalidArgument")));
        let report = stage.deploy("two", &stage.upload("2.zip", &pages(150, "two"))).await;
        let items: Vec<usize> = report.invalidations.iter().map(|sent| sent.items).collect();
        assert_eq!(items, [1], "everything is evicted, with what the other batch has");
        let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
        assert_eq!(
            warning,
            "everything of the site is invalidated on E1EXAMPLE instead of 100 items: CloudFront refuses it: \
             injected InvalidArgument"
        );
        assert_eq!(stage.ledger().await.owed().await.unwrap(), []);
        assert!(stage.items_sent(&report, DISTRIBUTION).contains("/*"));
        assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &urls);

        // Every offer of the same batch fails; the others are sent, and the next attempt goes on from there.
        stage.cloud.fault(Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")));
        let event = stage.upload("3.zip", &pages(150, "three"));
        let failure = stage.invoke("three", &event).await.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "InvalidationOwed");
        assert!(failure.error_message.contains("1 invalidation batches"), "{}", failure.error_message);
        let report = stage.deploy("three", &event).await;
        assert_eq!(report.invalidations.iter().map(|sent| sent.items).collect::<Vec<_>>(), [100]);
        assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &urls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_of_one_site_evicts_no_other_site() {
    let stage = Stage::under(Quota::InProgress).await.with("SITE", "site").with("LIVE_PREFIX", "docs");
    deploy_first(&stage, &[DISTRIBUTION], &pages(2, "one")).await;
    stage.cloud.put_object(LIVE, "blog/a.html", "blog", Headers::of_type("text/html"));
    let edge = stage.cloud.edge(DISTRIBUTION);
    edge.get("/blog/a.html");
    stage.cloud.fault(Fault::on("CreateInvalidation", Does::refuse(400, "InvalidArgument")));
    let report = stage.deploy("two", &stage.upload("2.zip", &pages(2, "two"))).await;
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), set(["/docs*"]));
    assert!(edge.get("/blog/a.html").from_cache);

    // A batch that has more than the site, from before its prefix was set, needs more.
    stage.cloud.fault(Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")));
    let whole = stage.with("LIVE_PREFIX", "");
    whole.invoke("three", &whole.upload("3.zip", &pages(2, "three"))).await.into_answer().unwrap_err();
    let docs = whole.with("LIVE_PREFIX", "docs");
    docs.cloud.fault(Fault::on("CreateInvalidation", Does::refuse(400, "InvalidArgument")));
    let report = docs.deploy("four", &docs.upload("4.zip", &pages(2, "four"))).await;
    assert!(docs.items_sent(&report, DISTRIBUTION).contains("/*"));
}

#[tokio::test(start_paused = true)]
async fn no_pause_outlasts_the_time_that_is_left_to_release_the_lease() {
    for quota in QUOTAS {
        let stage = Stage::under(quota).await;
        deploy_first(&stage, &[DISTRIBUTION], &first()).await;
        let event = stage.upload("2.zip", &second());
        stage.cloud.fault(too_many(usize::MAX));
        let deadline = stage.now() + TimeDelta::seconds(90);
        let handled = stage.invoke_as(CLIENT, "two", &event, TimeDelta::seconds(90)).await;
        assert_eq!(handled.into_answer().unwrap_err().error_type, "InvalidationOwed");
        let left = deadline - stage.now();
        assert!(left > TimeDelta::seconds(15) && left < TimeDelta::seconds(21), "{quota:?}: {left}");
        assert_eq!(stage.ledger().await.head().await.unwrap().lease, None);
    }
}

#[tokio::test(start_paused = true)]
async fn all_distributions_together_keep_the_pace_of_one_account() {
    for quota in QUOTAS {
        let ids = ["E1", "E2", "E3"];
        let stage = Stage::under(quota).await.with("DISTRIBUTION_IDS", &ids.join(","));
        let stage = stage.with("MAX_INVALIDATION_PATHS", "1000");
        for id in ids {
            stage.cloud.create_distribution(Distribution::of(id, LIVE));
        }
        let urls = deploy_first(&stage, &ids, &pages(350, "one")).await;
        stage.cloud.fault(too_many(2));
        let event = stage.upload("2.zip", &pages(350, "two"));
        let began = stage.now();
        let report = stage.deploy("two", &event).await;
        let took = stage.now() - began;
        assert_eq!(report.invalidations.len(), 12);
        // Of the first offers, one for each distribution, at most one is accepted. The other batches take turns.
        assert!(took >= TimeDelta::seconds(11) && took < TimeDelta::seconds(15), "{quota:?}: {took}");
        let offers = stage.count("CreateInvalidation");
        assert!(offers <= 12 + 2, "{quota:?}: {offers} offers of 12 batches");
        for id in ids {
            assert_fresh(&stage, Distribution::of(id, LIVE), &urls);
        }
    }
}
