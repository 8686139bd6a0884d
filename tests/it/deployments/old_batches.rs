//! Owed batches that an earlier release recorded in a larger shape than CloudFront's quotas may have room for.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use dropship::aws::ledger::{Change, Committed};
use dropship::deployment::Owed;
use dropship::report::Outcome;
use serde_json::json;
use standins::{Distribution, Does, Fault, Headers, Quota};

use crate::build::Files;
use crate::edge::{QUOTAS, assert_fresh};
use crate::stage::{DISTRIBUTION, LIVE, Stage};

fn build(pages: usize, text: &str) -> Files {
    (0..pages).map(|n| (format!("{n}.html"), text.as_bytes().to_vec())).collect()
}

fn urls(pages: usize) -> Vec<String> {
    (0..pages).map(|n| format!("/{n}.html")).collect()
}

/// Writes batches to the ledger and deletes others, as a release before this one could have done.
async fn record(stage: &Stage, owed: &[Owed], settled: &[Owed]) {
    let ledger = stage.ledger().await;
    let head = ledger.head().await.unwrap();
    let to = head.next_version();
    let change = Change { owed, settled, ..Change::of_head(&head, &to) };
    assert_eq!(ledger.commit(change).await.unwrap(), Committed::Yes);
}

/// Returns a stage whose pages were changed by a run of an earlier release, which owes one large batch for them.
async fn with_large_batch(quota: Quota, pages: usize, offered: bool) -> (Stage, Owed) {
    let stage = Stage::under(quota).await;
    stage.deploy("one", &stage.upload("1.zip", &build(pages, "one"))).await;
    stage.cloud.edge(DISTRIBUTION).warm_all(urls(pages));
    for key in build(pages, "").keys() {
        stage.cloud.put_object(LIVE, key, "two", Headers::of_type("text/html"));
    }
    let live = stage.ledger().await.head().await.unwrap().live.unwrap();
    let wildcards = ["/a/*", "/b/*", "/c/*"].map(str::to_owned);
    let owed = Owed {
        reference: format!("{}.{}.0-{:032x}", live.deployment, live.number, 7),
        distribution: DISTRIBUTION.to_owned(),
        items: urls(pages).into_iter().chain(wildcards).collect(),
        after_deletes: false,
        deployment: live.deployment,
        run: live.number,
        offered,
        recorded_at: None,
        relies_on: None,
    };
    record(&stage, std::slice::from_ref(&owed), &[]).await;
    (stage, owed)
}

/// Checks that the batches that CloudFront has accepted since the first one fit into any quota, have the items of the
/// old one, and have left the ledger.
async fn assert_sent_in_portions(stage: &Stage, old: &Owed) {
    let sent = stage.cloud.invalidations(DISTRIBUTION).split_off(1);
    for batch in &sent {
        let wildcards = batch.items.iter().filter(|item| item.ends_with('*')).count();
        assert!(batch.items.len() <= 100 && wildcards <= 1, "{:?}", batch.items);
        let prefix = old.reference.rsplit_once('-').unwrap().0;
        assert!(batch.caller_reference.starts_with(prefix), "{}", batch.caller_reference);
    }
    let items: Vec<&String> = sent.iter().flat_map(|batch| &batch.items).collect();
    assert_eq!(items.len(), old.items.len(), "no portion is sent twice");
    assert_eq!(items.into_iter().collect::<BTreeSet<_>>(), old.items.iter().collect());
    assert_eq!(stage.ledger().await.owed().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_large_batch_is_sent_in_portions_each_of_which_leaves_the_ledger_by_itself() {
    for (quota, offered) in QUOTAS.into_iter().flat_map(|quota| [(quota, false), (quota, true)]) {
        let (stage, old) = with_large_batch(quota, 350, offered).await;
        stage.cloud.fault(Fault { first: 2, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) });
        let failure = stage.invoke("sweep", &json!({"sweep": true})).await.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "InvalidationOwed", "{quota:?}");
        let [left] = &stage.ledger().await.owed().await.unwrap()[..] else { panic!("one portion is left") };
        assert_eq!(left.items.len(), 100);
        let swept = stage.deploy("sweep again", &json!({"sweep": true})).await;
        assert_eq!((swept.outcome, swept.invalidations.len()), (Outcome::Swept, 1));
        assert_sent_in_portions(&stage, &old).await;
        assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &urls(350));
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_a_sweep_dies_the_next_one_sends_the_same_portions() {
    for point in 1.. {
        let (stage, old) = with_large_batch(Quota::PathsPerSecond, 120, false).await;
        let client = Some("victim".to_owned());
        stage.cloud.fault(Fault { client, first: point, ..Fault::any(Does::DieAfter) });
        let sweep = json!({"sweep": true});
        let has_died = tokio::select! {
            biased;
            () = stage.cloud.death("victim") => true,
            swept = stage.invoke_as("victim", "sweep", &sweep, TimeDelta::minutes(5)) => {
                assert!(swept.into_answer().is_ok());
                false
            }
        };
        // The lease lapses.
        tokio::time::sleep(std::time::Duration::from_secs(400)).await;
        stage.deploy("next", &sweep).await;
        assert_sent_in_portions(&stage, &old).await;
        assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &urls(120));
        if !has_died {
            assert!(point > 10, "{point}");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_relies_on_the_portions_of_its_large_batch() {
    for quota in QUOTAS {
        let stage = Stage::under(quota).await.with("MAX_INVALIDATION_PATHS", "1000");
        stage.deploy("one", &stage.upload("1.zip", &build(250, "one"))).await;
        stage.cloud.edge(DISTRIBUTION).warm_all(urls(250));
        let event = stage.upload("2.zip", &build(250, "two"));
        // It dies when it has recorded its batches.
        let client = Some("victim".to_owned());
        stage.cloud.fault(Fault { client, first: 2, ..Fault::on("TransactWriteItems", Does::DieAfter) });
        tokio::select! {
            _ = stage.invoke_as("victim", "two", &event, TimeDelta::minutes(5)) => panic!("it must die"),
            () = stage.cloud.death("victim") => {}
        }
        let recorded = stage.ledger().await.owed().await.unwrap();
        assert_eq!(recorded.len(), 3);
        let items = recorded.iter().flat_map(|owed| owed.items.clone()).collect();
        let reference = format!("{}0", recorded[0].reference);
        record(&stage, &[Owed { reference, items, ..recorded[0].clone() }], &recorded).await;
        stage.cloud.clear_calls();
        let report = stage.deploy("two", &event).await;
        let sizes: Vec<usize> = report.invalidations.iter().map(|sent| sent.items).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 250, "it records no further batch: {sizes:?}");
        let calls = stage.cloud.calls();
        let before_offer = calls.iter().take_while(|call| call.operation != "CreateInvalidation");
        let writes = before_offer.filter(|call| call.bucket.as_deref() == Some(LIVE) && call.operation == "PutObject");
        assert_eq!(writes.count(), 250, "they cover the writes, so they are offered after them");
        stage.assert_live(&build(250, "two"));
        assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &urls(250));
    }
}
