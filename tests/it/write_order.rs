//! The order in which a deployment writes, invalidates and deletes.

use std::collections::BTreeSet;

use fastrand::Rng;
use standins::{CLIENT, Call};

use crate::build::Files;
use crate::stage::{LIVE, Stage};

#[tokio::test]
async fn a_deployment_writes_assets_then_pages_invalidates_deletes_and_invalidates_again() {
    let mut random = Rng::with_seed(5);
    for _ in 0..12 {
        let stage = Stage::new().await;
        let (old, new) = (build(&mut random), build(&mut random));
        stage.deploy("one", &stage.upload("1.zip", &old)).await;
        let event = stage.upload("2.zip", &new);
        stage.cloud.clear_calls();
        stage.deploy("two", &event).await;
        let changed = new.iter().filter(|(name, body)| old.get(*name).is_some_and(|it| it != *body));
        let deleted = old.keys().filter(|name| !new.contains_key(*name));
        let calls: Vec<Call> = stage.cloud.calls().into_iter().filter(|call| call.client == CLIENT).collect();
        check_order(&calls, &changed.map(|(name, _)| name.as_str()).collect(), &deleted.map(String::as_str).collect());
    }
}

/// Checks the order of a deployment's calls by when they began and ended.
fn check_order(calls: &[Call], changed: &BTreeSet<&str>, deleted: &BTreeSet<&str>) {
    let is_page = |call: &&Call| call.key.as_deref().is_some_and(|key| key.ends_with(".html"));
    let puts = || calls.iter().filter(|call| is_write(call, "PutObject"));
    let began = |call: &Call| call.sequence;
    let ended = |call: &Call| call.ended_at.expect("every call has ended");
    let last_asset = puts().filter(|call| !is_page(call)).map(ended).max().unwrap_or(0);
    for page in puts().filter(is_page) {
        assert!(began(page) > last_asset, "{:?} was written before an asset", page.key);
    }
    let last_put = puts().map(ended).max().unwrap_or(0);
    let deletes = || calls.iter().filter(|call| is_write(call, "DeleteObjects"));
    let first_delete = deletes().map(began).min();
    let last_delete = deletes().map(ended).max();
    let sent: Vec<&Call> = calls.iter().filter(|call| call.operation == "CreateInvalidation").collect();
    assert_eq!(sent.len(), usize::from(!changed.is_empty()) + usize::from(!deleted.is_empty()));
    let mut sent = sent.into_iter();
    if !changed.is_empty() {
        let batch = sent.next().unwrap();
        assert!(began(batch) > last_put, "the invalidation must follow the writes");
        assert_eq!(batch.status, Some(201));
        assert!(
            first_delete.is_none_or(|delete| delete > ended(batch)),
            "the deletes must follow the first invalidation"
        );
    }
    if !deleted.is_empty() {
        let batch = sent.next().unwrap();
        assert!(last_delete.is_some_and(|delete| began(batch) > delete));
    }
}

fn is_write(call: &Call, operation: &str) -> bool {
    call.bucket.as_deref() == Some(LIVE) && call.operation == operation
}

/// Returns a random selection of sixty files, each in one of two versions.
fn build(random: &mut Rng) -> Files {
    let mut files = Files::new();
    for number in 0..60 {
        if random.u8(..) < 170 {
            let extension = ["html", "js", "css"][number % 3];
            files.insert(format!("{number}.{extension}"), vec![random.u8(0..2); 100]);
        }
    }
    files
}
