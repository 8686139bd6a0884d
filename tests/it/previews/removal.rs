//! The end of a preview: by an event, by an upload, and by the sweep.

use chrono::TimeDelta;
use dropship::report::{Outcome, Report};
use serde_json::{Value, json};
use standins::{Does, Fault};

use super::{build, deployed, ledger_of, live_site, live_under, push, refused, removal, sites_with, stage};
use crate::build::Files;
use crate::note::note;
use crate::stage::interruption::interrupted;
use crate::stage::{DISTRIBUTION, STAGING, Stage};

/// The time after which a lease that was taken a minute before its deadline has lapsed.
const LEASE_EXPIRED: TimeDelta = TimeDelta::seconds(66);

/// Returns a stage with the live site and the previews `a` and `b`, which every viewer has seen.
async fn with_previews() -> Stage {
    let stage = stage().await;
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    for text in ["a", "b"] {
        deployed(&stage, text, text, text).await;
    }
    let edge = stage.cloud.edge(DISTRIBUTION);
    edge.warm_all(["/", "/previews/a/", "/previews/a", "/previews/a/a.js", "/previews/b/"]);
    stage
}

/// Checks that nothing of preview `a` is left but its tombstone, and everything of the others.
async fn check_removed(stage: &Stage) {
    assert_eq!(live_under(stage, "previews/a/"), Files::new());
    assert_eq!(live_under(stage, "previews/b/"), build("b"));
    assert_eq!(live_site(stage), build("live"));
    assert_eq!(stage.cloud.edge(DISTRIBUTION).stale(), [""; 0]);
    for item in ["deployment#", "version#", "run#", "owed#", "waiting#"] {
        assert!(!sites_with(stage, item).await.contains("site/previews/a"), "{item}");
    }
    let listed = stage.ledger().await.previews().await.unwrap();
    assert_eq!(listed.iter().map(|preview| preview.name.as_str()).collect::<Vec<_>>(), ["b"]);
    let manifests =
        stage.cloud.objects(STAGING).into_keys().filter(|key| key.starts_with(".dropship/site/previews/a/"));
    assert_eq!(manifests.collect::<Vec<_>>(), [""; 0]);
    let head = ledger_of(stage, "a").await.head().await.unwrap();
    assert!(head.live.is_none() && head.manifest.is_none() && head.lease.is_none(), "{head:?}");
    assert!(head.newest.is_some() && head.sequence > 0, "{head:?}");
    let year = (stage.now() + TimeDelta::days(365)).timestamp();
    assert!(head.expires_at.is_some_and(|at| (at - year).abs() < 3_600), "{head:?}");
}

async fn remove(stage: &Stage, request_id: &str) -> Report {
    stage.deploy(request_id, &removal("a")).await
}

#[tokio::test]
async fn a_removal_leaves_nothing_but_a_tombstone_and_evicts_the_folder_by_one_wildcard() {
    let stage = with_previews().await;
    stage.pass(TimeDelta::seconds(1));
    let sent_before = stage.cloud.invalidations(DISTRIBUTION).len();
    let report = remove(&stage, "remove").await;
    assert_eq!((report.outcome, report.deleted), (Outcome::Removed, 3));
    assert_eq!(report.preview.map(|name| name.to_string()).as_deref(), Some("a"));
    let sent = stage.cloud.invalidations(DISTRIBUTION).split_off(sent_before);
    let items: Vec<&String> = sent.iter().flat_map(|it| &it.items).collect();
    assert_eq!(items, ["/previews/a", "/previews/a/*"], "one wildcard, and the folder without its slash");
    check_removed(&stage).await;

    // It is idempotent: the same request, another one, and one for what has never been.
    for (request_id, event) in [("remove", removal("a")), ("again", removal("a")), ("never", removal("never"))] {
        stage.pass(TimeDelta::seconds(1));
        stage.cloud.clear_calls();
        let report = stage.deploy(request_id, &event).await;
        assert_eq!((report.outcome, report.deleted), (Outcome::Removed, 0), "{request_id}");
        assert_eq!(stage.count("CreateInvalidation"), 0, "{request_id}");
    }
    check_removed(&stage).await;
}

#[tokio::test]
async fn nothing_but_a_newer_push_or_a_persons_word_brings_a_removed_preview_back() {
    let stage = with_previews().await;
    let known = push(&stage, "a", &build("known"));
    stage.deploy("known", &known).await;
    let unknown = push(&stage, "a", &build("unknown"));
    stage.pass(TimeDelta::seconds(2));
    remove(&stage, "remove").await;
    for event in [&known, &unknown, &json!({"requestPayload": unknown})] {
        let report = stage.deploy("late", event).await;
        assert_eq!(report.outcome, Outcome::Superseded, "{report:?}");
        assert!(report.warnings[0].contains("{\"rollback\":\"previews/a/"), "{:?}", report.warnings);
        assert_eq!(live_under(&stage, "previews/a/"), Files::new());
    }
    stage.pass(TimeDelta::hours(1));
    let report = deployed(&stage, "newer", "a", "newer").await;
    assert!(report.run > 2, "numbers go on: {report:?}");
    assert_eq!(live_under(&stage, "previews/a/"), build("newer"));
    let head = ledger_of(&stage, "a").await.head().await.unwrap();
    assert_eq!(head.expires_at, None, "the head of a preview that is live does not expire");
    // The late events stay dead.
    assert_eq!(stage.deploy("later", &unknown).await.outcome, Outcome::Superseded);
    let mut word = known.clone();
    word["options"] = json!({"replay": true});
    assert_eq!(stage.deploy("word", &word).await.outcome, Outcome::RolledBack);
    assert_eq!(live_under(&stage, "previews/a/"), build("known"));
}

#[tokio::test]
async fn an_upload_named_remove_ends_a_preview_and_orders_by_its_time() {
    let stage = with_previews().await;
    let marker = stage.upload_bytes("uploads/previews/a/remove", Vec::new());
    let newer = push(&stage, "a", &build("newer"));
    // A push wins, whichever event comes first.
    stage.deploy("newer", &newer).await;
    let report = stage.deploy("closed", &marker).await;
    assert_eq!(report.outcome, Outcome::Superseded);
    assert_eq!(live_under(&stage, "previews/a/"), build("newer"));
    let closed = stage.upload_bytes("uploads/previews/a/remove", Vec::new());
    assert_eq!(stage.deploy("closed again", &closed).await.outcome, Outcome::Removed);
    check_removed(&stage).await;
    assert_eq!(stage.deploy("duplicate", &closed).await.outcome, Outcome::Removed);
    assert_eq!(stage.deploy("from the queue", &json!({"requestPayload": marker})).await.outcome, Outcome::Removed);
    // One that is dated in the future would shut out every push.
    let mut future = stage.upload_bytes("uploads/previews/b/remove", Vec::new());
    future["Records"][0]["eventTime"] = json!("2100-01-01T00:00:00Z");
    assert_eq!(refused(&stage, "future", &future).await.0, "BadEvent");
}

#[tokio::test]
async fn a_removal_that_crashes_at_any_call_is_finished_by_its_retry() {
    after_each_crash(async |stage, _| {
        let report = remove(stage, "remove").await;
        assert_eq!(report.outcome, Outcome::Removed);
        check_removed(stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_removal_that_crashes_at_any_call_is_finished_by_the_next_sweep() {
    after_each_crash(async |stage, _| {
        stage.pass(LEASE_EXPIRED);
        let has_begun = ledger_of(stage, "a").await.head().await.unwrap().removed.is_some();
        stage.invoke("sweep", &json!({"sweep": true})).await.into_answer().unwrap();
        if !has_begun {
            // Nobody knows of it but its retry.
            remove(stage, "remove").await;
        }
        check_removed(stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_push_meanwhile_wins_over_a_removal_that_crashes_at_any_call() {
    after_each_crash(async |stage, calls| {
        stage.pass(LEASE_EXPIRED);
        deployed(stage, "newer", "a", "newer").await;
        let edge = stage.cloud.edge(DISTRIBUTION);
        edge.warm_all(["/previews/a/", "/previews/a/newer.js"]);
        let report = remove(stage, "remove").await;
        assert_eq!(report.outcome, Outcome::Superseded, "after {calls} calls");
        assert_eq!(live_under(stage, "previews/a/"), build("newer"), "after {calls} calls");
        assert_eq!(edge.stale(), [""; 0], "after {calls} calls");
        assert_eq!(sites_with(stage, "owed#").await, [].into(), "after {calls} calls");
        assert_eq!(stage.deploy("drift", &push(stage, "a", &build("newer"))).await.outcome, Outcome::Unchanged);
    })
    .await;
}

#[tokio::test]
async fn a_push_that_is_refused_leaves_a_removal_that_crashed_to_its_retry() {
    after_each_crash(async |stage, calls| {
        stage.pass(LEASE_EXPIRED);
        let broken = stage.upload_bytes("uploads/previews/a/site.zip", b"no zip".to_vec());
        stage.invoke("broken", &broken).await.into_answer().unwrap();
        let report = remove(stage, "remove").await;
        assert_eq!(report.outcome, Outcome::Removed, "after {calls} calls");
        assert_eq!(live_under(stage, "previews/a/"), Files::new(), "after {calls} calls");
        assert_eq!(stage.cloud.edge(DISTRIBUTION).stale(), [""; 0], "after {calls} calls");
        assert_eq!(sites_with(stage, "owed#").await, [].into(), "after {calls} calls");
        let head = ledger_of(stage, "a").await.head().await.unwrap();
        assert!(head.live.is_none() && head.unfinished_removal().is_none(), "after {calls} calls: {head:?}");
    })
    .await;
}

/// Lets the process of a removal crash after each of its calls, in a world of its own, and then does `repair`.
async fn after_each_crash(repair: impl AsyncFn(&Stage, usize)) {
    for calls in 1.. {
        let stage = with_previews().await;
        stage.pass(TimeDelta::seconds(1));
        stage.cloud.fault(Fault { client: Some("victim".to_owned()), first: calls, ..Fault::any(Does::DieAfter) });
        let event = removal("a");
        let has_crashed = tokio::select! {
            biased;
            () = stage.cloud.death("victim") => true,
            _ = stage.invoke_as("victim", "remove", &event, TimeDelta::seconds(60)) => false,
        };
        stage.cloud.clear_faults();
        if !has_crashed {
            note(&format!("removal: {calls} crashes"));
            assert!(calls > 20, "{calls}");
            return;
        }
        repair(&stage, calls).await;
    }
}

#[tokio::test]
async fn a_removal_behind_the_dead_run_of_a_newer_push_waits_for_it() {
    let stage = with_previews().await;
    let closed = stage.upload_bytes("uploads/previews/a/remove", Vec::new());
    stage.pass(TimeDelta::seconds(1));
    let newer = push(&stage, "a", &build("newer"));
    stage.cloud.fault(Fault {
        client: Some("victim".to_owned()),
        operation: Some("PutObject".to_owned()),
        ..Fault::any(Does::DieBefore)
    });
    tokio::select! {
        biased;
        () = stage.cloud.death("victim") => {}
        _ = stage.invoke_as("victim", "newer", &newer, TimeDelta::seconds(60)) => panic!("it dies"),
    }
    stage.cloud.clear_faults();
    stage.pass(LEASE_EXPIRED);
    assert_eq!(stage.deploy("closed", &closed).await.outcome, Outcome::Superseded);
    let head = ledger_of(&stage, "a").await.head().await.unwrap();
    assert!(head.unfinished_removal().is_some(), "it goes on if the push is refused: {head:?}");
    assert_eq!(stage.deploy("newer", &newer).await.outcome, Outcome::Deployed);
    stage.invoke("sweep", &json!({"sweep": true})).await.into_answer().unwrap();
    assert_eq!(live_under(&stage, "previews/a/"), build("newer"), "the push wins");
}

#[tokio::test]
async fn a_push_that_comes_while_the_removal_works_goes_live_after_it() {
    let stage = with_previews().await;
    stage.pass(TimeDelta::seconds(1));
    let event = removal("a");
    let removing = stage.invoke_as("remover", "remove", &event, TimeDelta::minutes(15));
    let pushing = async {
        let newer = push(&stage, "a", &build("newer"));
        let failure =
            stage.invoke_as("pusher", "newer", &newer, TimeDelta::seconds(15)).await.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "Busy");
    };
    let handled = interrupted(&stage.cloud, removing, |call| call.operation == "DeleteObjects", pushing).await;
    let answer = handled.into_answer().unwrap();
    let outcomes: Vec<Outcome> = answer.deployments.iter().map(|report| report.outcome).collect();
    assert_eq!(outcomes, [Outcome::Removed, Outcome::Deployed]);
    assert_eq!(live_under(&stage, "previews/a/"), build("newer"));
}

#[tokio::test]
async fn a_preview_ends_when_nobody_has_pushed_to_it_for_its_days() {
    let stage = with_previews().await.with("PREVIEW_DAYS", "3");
    stage.pass(TimeDelta::days(2));
    stage.deploy("b2", &push(&stage, "b", &build("b"))).await;
    let sweep = async |request_id: &str| {
        let answer = stage.invoke(request_id, &json!({"sweep": true})).await.into_answer().unwrap();
        answer.deployments.iter().map(|report| (report.outcome, report.site.clone())).collect::<Vec<_>>()
    };
    assert_eq!(sweep("two days").await, [(Outcome::Swept, "site".to_owned())]);
    stage.pass(TimeDelta::days(1));
    let planned = stage.invoke("plan", &json!({"sweep": true, "options": {"dryRun": true}})).await;
    planned.into_answer().unwrap();
    assert_eq!(live_under(&stage, "previews/a/"), build("a"), "a dry run removes nothing");
    let removed = [(Outcome::Swept, "site".to_owned()), (Outcome::Removed, "site/previews/a".to_owned())];
    assert_eq!(sweep("three days").await, removed);
    check_removed(&stage).await;
}

#[tokio::test]
async fn a_dry_run_of_a_removal_lists_what_it_would_delete() {
    let stage = with_previews().await;
    let mut event = removal("a");
    event["options"] = json!({"dryRun": true});
    let before = stage.cloud.table("ledger");
    let report = stage.deploy("plan", &event).await;
    assert_eq!((report.outcome, report.deleted), (Outcome::Planned, 3));
    assert_eq!(report.plan.unwrap().deleted[0], "previews/a/a.js");
    assert_eq!(stage.cloud.table("ledger"), before);
}

#[tokio::test]
async fn a_removal_from_the_failure_queue_is_not_repeated_unless_it_is_meant() {
    let stage = with_previews().await;
    let record = json!({"requestPayload": removal("a")});
    let error = stage.invoke("redriven", &record).await.into_answer().unwrap_err();
    assert!(error.error_message.contains("somebody may have pushed"), "{}", error.error_message);
    let meant: Value = json!({"requestPayload": removal("a"), "options": {"replay": true}});
    stage.pass(TimeDelta::seconds(1));
    assert_eq!(stage.deploy("meant", &meant).await.outcome, Outcome::Removed);
}
