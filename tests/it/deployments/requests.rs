//! How many requests a run makes, and in which order.

use dropship::report::Outcome;
use standins::{Call, Service};

use super::{first, second};
use crate::stage::Stage;

#[tokio::test]
async fn a_run_makes_only_the_necessary_ledger_and_cloudfront_calls_and_none_after_its_end() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let two = stage.upload("2.zip", &second());
    stage.cloud.clear_calls();
    stage.deploy("two", &two).await;
    let counted = |counts: &[(&str, usize)]| -> Vec<(String, usize)> {
        let owned = counts.iter();
        owned.map(|(name, n)| ((*name).to_owned(), *n)).collect()
    };
    assert_eq!(
        protocol(&stage),
        counted(&[
            ("CreateInvalidation", 2),
            ("GetDistribution", 1),
            ("Query", 1),
            ("TransactGetItems", 1),
            ("TransactWriteItems", 3),
            ("UpdateItem", 2),
        ])
    );
    let calls = stage.cloud.calls();
    let last = calls.last().unwrap();
    assert_eq!(last.operation, "TransactWriteItems");
    assert!(
        calls.iter().all(|call| call.sequence == last.sequence || call.ended_at < Some(last.sequence)),
        "the end waits for everything"
    );
    let all = |operation: &str| {
        let of = calls.iter().filter(|call| call.operation == operation);
        of.cloned().collect::<Vec<Call>>()
    };
    for (marked, sent) in all("UpdateItem").iter().zip(all("CreateInvalidation")) {
        assert!(marked.ended_at < Some(sent.sequence), "a batch is marked before it is offered");
    }
    let ledger = stage.ledger().await;
    assert_eq!(ledger.owed().await.unwrap(), []);

    stage.cloud.clear_calls();
    let again = stage.deploy("again", &two).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(
        protocol(&stage),
        counted(&[("GetDistribution", 1), ("Query", 1), ("TransactGetItems", 1), ("TransactWriteItems", 2),])
    );
    let of_s3 = stage.cloud.calls().into_iter();
    let of_s3 = of_s3.filter(|call| call.service == Service::S3).count();
    assert_eq!(of_s3, 3, "index, manifest and listing");
}

/// The calls so far to DynamoDB and CloudFront, counted by operation.
fn protocol(stage: &Stage) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for call in stage.cloud.calls() {
        if call.service != Service::S3 {
            *counts.entry(call.operation).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}
