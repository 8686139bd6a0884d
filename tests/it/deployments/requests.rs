//! The requests of a run: how many, and in which order.

use std::collections::BTreeMap;

use dropship::report::Outcome;
use standins::Service;

use super::{first, second};
use crate::stage::{STAGING, Stage};

#[tokio::test]
async fn a_run_makes_only_the_necessary_ledger_and_cloudfront_calls_and_none_after_its_end() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let two = stage.upload("2.zip", &second());
    stage.cloud.clear_calls();
    stage.deploy("two", &two).await;
    assert_eq!(
        calls_by_operation(&stage),
        counts([
            ("CreateInvalidation", 2),
            ("GetDistribution", 2),
            ("Query", 2),
            ("TransactGetItems", 1),
            ("TransactWriteItems", 3),
            ("UpdateItem", 2),
        ])
    );
    let mut calls = stage.cloud.calls();
    let query = calls.pop().unwrap();
    assert_eq!(query.operation, "Query", "it looks for uploads that wait, once the site is free");
    let removal = calls.pop().unwrap();
    assert_eq!(removal.operation, "DeleteObject", "the manifest goes when no head points at it");
    let last = calls.last().unwrap();
    assert_eq!(last.operation, "TransactWriteItems");
    assert!(last.ended_at < Some(removal.sequence) && removal.ended_at < Some(query.sequence));
    assert!(
        calls.iter().all(|call| call.sequence == last.sequence || call.ended_at < Some(last.sequence)),
        "the last transaction waits for every other call"
    );
    let marks = calls.iter().filter(|call| call.operation == "UpdateItem");
    let offers = calls.iter().filter(|call| call.operation == "CreateInvalidation");
    for (mark, offer) in marks.zip(offers) {
        assert!(mark.ended_at < Some(offer.sequence), "a batch must be marked before it is offered");
    }
    let ledger = stage.ledger().await;
    assert_eq!(ledger.owed().await.unwrap(), []);

    stage.cloud.clear_calls();
    let again = stage.deploy("again", &two).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(
        calls_by_operation(&stage),
        counts([("GetDistribution", 1), ("Query", 2), ("TransactGetItems", 1), ("TransactWriteItems", 2)])
    );
    let s3_calls = stage.cloud.calls().into_iter().filter(|call| call.service == Service::S3);
    assert_eq!(s3_calls.count(), 3, "index, manifest and listing");
}

#[tokio::test]
async fn only_pruning_what_is_ours_costs_a_manifest_before_the_first_write() {
    for (prune, manifests, transactions) in [("all", 1, 3), ("owned", 2, 4), ("off", 1, 3)] {
        let stage = Stage::new().await.with("PRUNE", prune);
        stage.deploy("one", &stage.upload("1.zip", &first())).await;
        let two = stage.upload("2.zip", &second());
        stage.cloud.clear_calls();
        stage.deploy("two", &two).await;
        let saved = stage
            .cloud
            .calls()
            .into_iter()
            .filter(|call| call.operation == "PutObject" && call.bucket.as_deref() == Some(STAGING));
        assert_eq!(saved.count(), manifests, "PRUNE={prune}");
        assert_eq!(stage.count("TransactWriteItems"), transactions, "PRUNE={prune}");
        stage.cloud.clear_calls();
        stage.deploy("again", &two).await;
        assert_eq!((stage.count("PutObject"), stage.count("TransactWriteItems")), (0, 2), "PRUNE={prune}");
    }
}

fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.map(|(operation, count)| (operation.to_owned(), count)).into()
}

/// Returns how many calls each DynamoDB and CloudFront operation has had so far.
fn calls_by_operation(stage: &Stage) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in stage.cloud.calls() {
        if call.service != Service::S3 {
            *counts.entry(call.operation).or_default() += 1;
        }
    }
    counts
}
