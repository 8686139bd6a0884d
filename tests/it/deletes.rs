//! Deletes: which keys, how many, and the retries of failed ones.

use chrono::TimeDelta;
use dropship::report::Outcome;
use serde_json::{Value, json};
use standins::{Does, Fault, Headers, Waiting};

use crate::build::{Files, files};
use crate::crash::{LEASE_EXPIRED, SHORT};
use crate::deployments::first;
use crate::stage::{DISTRIBUTION, LIVE, STAGING, Stage};

/// Returns a site of 500 live pages.
async fn large_site() -> Stage {
    let stage = Stage::new().await;
    let mut site: Files = (0..499).map(|n| (format!("docs/{n}.html"), b"page".to_vec())).collect();
    site.insert("index.html".to_owned(), b"home".to_vec());
    let report = stage.deploy("site", &stage.upload("site.zip", &site)).await;
    assert_eq!(report.new, 500);
    stage.cloud.clear_calls();
    stage
}

/// Returns the type and message of the error of an event, which must leave the site unchanged.
async fn refusal_without_effect(stage: &Stage, request: &str, event: &Value) -> (String, String) {
    let before = stage.cloud.objects(LIVE);
    let sent = stage.cloud.invalidations(DISTRIBUTION).len();
    let failure = stage.invoke(request, event).await.into_answer().unwrap_err();
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    let after = stage.cloud.objects(LIVE);
    let is_same = before.iter().zip(&after).all(|(before, after)| {
        (before.0, &before.1.etag, before.1.modified) == (after.0, &after.1.etag, after.1.modified)
    });
    assert!(is_same && before.len() == after.len(), "every object must be unchanged");
    assert_eq!(stage.cloud.invalidations(DISTRIBUTION).len(), sent);
    // Nothing is owed either: a sweep would send it.
    let swept = stage.deploy(&format!("sweep after {request}"), &json!({"sweep": true})).await;
    assert_eq!((swept.outcome, swept.invalidations.len()), (Outcome::Swept, 0));
    (failure.error_type, failure.error_message)
}

#[tokio::test]
async fn the_wrong_archive_leaves_the_live_site_alone_and_the_error_says_what_to_do() {
    let stage = large_site().await;

    let event = stage.upload("empty.zip", &Files::new());
    let (error_type, message) = refusal_without_effect(&stage, "empty", &event).await;
    assert_eq!(error_type, "ArchiveRejected");
    assert!(message.contains("no file"), "{message}");

    let other = files([("index.html", "another project"), ("app.js", "app")]);
    let event = stage.upload("other.zip", &other);
    let (error_type, message) = refusal_without_effect(&stage, "other", &event).await;
    assert_eq!(error_type, "LargeDelete");
    for word in ["499 of the 500", "allowLargeDelete", "MAX_DELETE_PERCENT", "ARCHIVE_ROOT", "LIVE_PREFIX"] {
        assert!(message.contains(word), "{word}: {message}");
    }

    let wrapped: Files = (0..499).map(|n| (format!("dist/docs/{n}.html"), b"page".to_vec())).collect();
    let event = stage.upload("wrapped.zip", &wrapped);
    let (error_type, message) = refusal_without_effect(&stage, "wrapped", &event).await;
    assert_eq!(error_type, "LargeDelete");
    assert!(message.contains("ARCHIVE_ROOT=dist/"), "{message}");
    let dry_run = json!({"Records": event["Records"], "options": {"dryRun": true}});
    let (error_type, _) = refusal_without_effect(&stage, "rehearsal", &dry_run).await;
    assert_eq!(error_type, "LargeDelete", "a dry run must report the same error");

    let rooted = stage.clone().with("ARCHIVE_ROOT", "public");
    let event = rooted.upload("wrapped.zip", &wrapped);
    let (error_type, message) = refusal_without_effect(&rooted, "root", &event).await;
    assert_eq!(error_type, "ArchiveRejected");
    assert!(message.contains("ARCHIVE_ROOT `public/`"), "{message}");

    let allowed = json!({
        "Records": stage.upload("other.zip", &other)["Records"],
        "options": {"allowLargeDelete": true},
    });
    let report = stage.deploy("allowed", &allowed).await;
    assert_eq!((report.deleted, report.new, report.changed), (499, 1, 1));
    stage.assert_live(&other);
}

#[tokio::test]
async fn the_wrong_archive_is_refused_even_if_the_removed_assets_would_be_retained() {
    let stage =
        Stage::new().await.with("RETAIN_REMOVED_DAYS", "7").with("CACHE_CONTROL_ASSETS", "max-age=31536000, immutable");
    let mut site: Files = (0..499).map(|n| (format!("assets/{n}.js"), b"asset".to_vec())).collect();
    site.insert("index.html".to_owned(), b"home".to_vec());
    stage.deploy("site", &stage.upload("site.zip", &site)).await;
    stage.cloud.clear_calls();
    let other = files([("index.html", "another project")]);
    let event = stage.upload("other.zip", &other);
    let (error_type, message) = refusal_without_effect(&stage, "other", &event).await;
    assert_eq!(error_type, "LargeDelete");
    assert!(message.contains("499 of the 500"), "{message}");
}

#[tokio::test]
async fn prune_decides_whose_objects_may_be_deleted() {
    let old = files([("index.html", "1"), ("old.html", "1"), ("touched.html", "1")]);
    let new = files([("index.html", "2")]);
    for (prune, left) in [
        ("all", vec!["index.html"]),
        ("owned", vec!["index.html", "theirs.html", "touched.html"]),
        ("off", vec!["index.html", "old.html", "theirs.html", "touched.html"]),
    ] {
        let stage = Stage::new().await.with("PRUNE", prune);
        put_foreign(&stage, "theirs.html");
        let first = stage.deploy("old", &stage.upload("old.zip", &old)).await;
        // With `all`, the first deployment deletes it; put it back.
        assert_eq!(first.deleted, usize::from(prune == "all"));
        put_foreign(&stage, "theirs.html");
        put_foreign(&stage, "touched.html");
        let report = stage.deploy("new", &stage.upload("new.zip", &new)).await;
        let keys: Vec<String> = stage.cloud.objects(LIVE).into_keys().collect();
        assert_eq!(keys, left, "PRUNE={prune}");
        assert_eq!(report.deleted, 4 - left.len(), "PRUNE={prune}");
    }
}

#[tokio::test]
async fn every_key_that_a_run_wrote_before_it_died_may_be_deleted_by_the_next_one() {
    let old = files([("index.html", "1"), ("changed.html", "1"), ("copied.txt", "1")]);
    let rules = "/copied.txt\n  Cache-Control: no-cache\n";
    let died =
        files([("index.html", "2"), ("changed.html", "22"), ("copied.txt", "1"), ("new.js", "2"), ("_headers", rules)]);
    let next = files([("index.html", "3")]);
    let mut crash = 1;
    loop {
        let stage = Stage::new().await.with("PRUNE", "owned");
        put_foreign(&stage, "theirs.html");
        stage.deploy("old", &stage.upload("old.zip", &old)).await;
        let event = stage.upload("died.zip", &died);
        stage.cloud.fault(Fault { client: Some("victim".to_owned()), first: crash, ..Fault::any(Does::DieAfter) });
        let is_dead = tokio::select! {
            handled = stage.invoke_as("victim", "died", &event, TimeDelta::minutes(5)) => {
                handled.into_answer().unwrap();
                false
            }
            () = stage.cloud.death("victim") => true,
        };
        if !is_dead {
            break;
        }
        stage.cloud.clear_faults();
        stage.pass(TimeDelta::minutes(10));
        stage.deploy("next", &stage.upload("next.zip", &next)).await;
        let keys: Vec<String> = stage.cloud.objects(LIVE).into_keys().collect();
        assert_eq!(keys, ["index.html", "theirs.html"], "after a crash at call {crash}");
        crash += 1;
    }
    assert!(crash > 15, "only {crash} calls");
}

fn put_foreign(stage: &Stage, key: &str) {
    stage.cloud.put_object(LIVE, key, "theirs", Headers::of_type("text/html"));
}

#[tokio::test]
async fn a_key_that_cannot_be_deleted_is_retried_and_then_named() {
    let old = files([("index.html", "1"), ("locked.html", "1"), ("old.html", "1")]);
    let new = files([("index.html", "1")]);
    let refuse = |times| Fault {
        key: Some("locked.html".to_owned()),
        times,
        ..Fault::on("DeleteObjects", Does::RefuseKeys { code: "AccessDenied".to_owned() })
    };
    let stage = Stage::new().await;
    stage.deploy("old", &stage.upload("old.zip", &old)).await;
    let event = stage.upload("new.zip", &new);
    stage.cloud.fault(refuse(usize::MAX));
    stage.cloud.clear_calls();
    let failure = stage.invoke("new", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws");
    assert!(failure.error_message.contains("locked.html (AccessDenied"), "{}", failure.error_message);
    assert_eq!(stage.count("DeleteObjects"), 4, "only the refused key is retried");
    let keys: Vec<String> = stage.cloud.objects(LIVE).into_keys().collect();
    assert_eq!(keys, ["index.html", "locked.html"], "the other keys must be gone");

    stage.cloud.clear_faults();
    stage.cloud.fault(refuse(2));
    let report = stage.deploy("new", &event).await;
    assert_eq!(report.deleted, 1);
    stage.assert_live(&new);
}

/// Keys that XML cannot carry, or not as they are.
const ODD_KEYS: [&str; 6] =
    ["upload\u{10}.jpg", "line\nbreak.txt", "carriage\rreturn.txt", "nul\u{1}.txt", "noncharacter\u{fffe}", "\u{ffff}"];

#[tokio::test]
async fn keys_that_xml_cannot_carry_are_deleted_and_hold_no_other_key_up() {
    let stage = Stage::new().await;
    let both = files([("index.html", "1"), ("old.html", "1")]);
    stage.deploy("one", &stage.upload("1.zip", &both)).await;
    let put_odd = || ODD_KEYS.into_iter().for_each(|key| put_foreign(&stage, key));
    put_odd();
    let next = files([("index.html", "1")]);
    let event = stage.upload("2.zip", &next);
    let odd = |does| Fault { key: Some(ODD_KEYS[0].to_owned()), times: usize::MAX, ..Fault::on("DeleteObject", does) };
    stage.cloud.fault(odd(Does::Refuse { status: 403, code: "AccessDenied".to_owned(), message: "locked".to_owned() }));
    let failure = stage.invoke("two", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws");
    assert!(failure.error_message.contains(r"upload\u0010.jpg (AccessDenied: locked)"), "{}", failure.error_message);
    assert!(stage.cloud.objects(LIVE).into_keys().eq(["index.html", ODD_KEYS[0]]), "only the refused key stays");

    stage.cloud.clear_faults();
    put_odd();
    let report = stage.deploy("two", &event).await;
    assert_eq!(report.deleted, ODD_KEYS.len());
    stage.assert_live(&next);
    assert_eq!(stage.cloud.edge(DISTRIBUTION).stale(), [] as [String; 0]);
}

/// The SDK takes a key of white space alone for none, and a parser may drop such a key.
#[tokio::test]
async fn keys_of_white_space_alone_are_deleted() {
    const BLANK: [&str; 5] = [" ", "  ", "\u{85}", "\n\t", "\u{2028}"];
    let stage = Stage::new().await;
    let next = files([("index.html", "1")]);
    stage.deploy("one", &stage.upload("1.zip", &next)).await;
    BLANK.into_iter().for_each(|key| put_foreign(&stage, key));
    // Without a manifest, a HEAD tells whether an object that the archive lacks is immutable.
    stage.manifests().iter().for_each(|key| stage.cloud.delete_object(STAGING, key));
    let stage = stage.with("RETAIN_REMOVED_DAYS", "1");
    let event = stage.upload("2.zip", &next);
    let locked = Fault {
        key: Some(" ".to_owned()),
        times: usize::MAX,
        ..Fault::on("DeleteObject", Does::refuse(403, "AccessDenied"))
    };
    stage.cloud.fault(locked);
    let failure = stage.invoke("two", &event).await.into_answer().unwrap_err();
    assert!(failure.error_message.contains("deleting 1 of 5 objects failed:   (403"), "{}", failure.error_message);
    assert!(stage.cloud.objects(LIVE).into_keys().eq([" ", "index.html"]), "only the refused key stays");
    stage.cloud.clear_faults();
    assert_eq!(stage.deploy("two", &event).await.deleted, 1);
    stage.assert_live(&next);
}

#[tokio::test]
async fn an_odd_key_that_others_write_meanwhile_is_looked_at_again() {
    let stage = Stage::new().await;
    let next = files([("index.html", "1")]);
    stage.deploy("one", &stage.upload("1.zip", &next)).await;
    put_foreign(&stage, ODD_KEYS[0]);
    let mut is_written = false;
    let others = |waiting: &[Waiting]| {
        if !is_written && waiting[0].call.operation == "DeleteObject" {
            stage.cloud.put_object(LIVE, ODD_KEYS[0], "again", Headers::of_type("text/html"));
            is_written = true;
        }
        0
    };
    let report = stage.deploy_by_call("two", &stage.upload("2.zip", &next), others).await;
    assert_eq!((report.deleted, report.drift), (1, 2));
    stage.assert_live(&next);
}

#[tokio::test]
async fn a_plan_that_deletes_nearly_everything_is_refused_unless_it_is_allowed() {
    let stage = Stage::new().await;
    let many: Files = (0..200).map(|n| (format!("{n}.html"), format!("page {n}").into_bytes())).collect();
    stage.deploy("one", &stage.upload("1.zip", &many)).await;
    let mut event = stage.upload("2.zip", &first());
    stage.cloud.clear_calls();
    let failure = stage.invoke("two", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "LargeDelete");
    for part in ["200 of the 200", "allowLargeDelete", "MAX_DELETE_PERCENT"] {
        assert!(failure.error_message.contains(part), "{}", failure.error_message);
    }
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    event["options"] = json!({"allowLargeDelete": true});
    let report = stage.deploy("three", &event).await;
    assert_eq!((report.new, report.deleted), (4, 200));
    stage.assert_live(&first());
}

/// Returns a build of a page, with a script that caches may keep for a year.
fn with_script(script: Option<&str>) -> Files {
    let script = script.map(|script| ("app.js".to_owned(), script.as_bytes().to_vec()));
    files([("index.html", "page"), ("_headers", "/*\n  Cache-Control: public, max-age=31536000, immutable\n")])
        .into_iter()
        .chain(script)
        .collect()
}

#[tokio::test]
async fn an_immutable_asset_that_comes_back_with_other_contents_is_never_stale() {
    for days in ["0", "1"] {
        for is_swept in [false, true] {
            let stage = Stage::new().await.with("RETAIN_REMOVED_DAYS", days);
            let edge = stage.cloud.edge(DISTRIBUTION);
            stage.deploy("one", &stage.upload("1.zip", &with_script(Some("one")))).await;
            assert_eq!(edge.get("/app.js").body, "one");
            stage.deploy("two", &stage.upload("2.zip", &with_script(None))).await;
            stage.pass(TimeDelta::days(2));
            if is_swept {
                stage.deploy("sweep", &json!({"sweep": true})).await;
            } else {
                stage.deploy("again", &stage.upload("2.zip", &with_script(None))).await;
            }
            assert!(stage.cloud.object(LIVE, "app.js").is_none());
            let is_cached = edge.get("/app.js").from_cache;
            assert_eq!(is_cached, days == "1", "with retention it leaves without an invalidation");
            // The first run that would bring it back dies just before it.
            let three = stage.upload("3.zip", &with_script(Some("three")));
            stage.cloud.fault(Fault { key: Some("app.js".to_owned()), ..Fault::on("PutObject", Does::DieBefore) });
            tokio::select! {
                () = stage.cloud.death("victim") => {}
                _ = stage.invoke_as("victim", "three", &three, SHORT) => panic!("the process must die"),
            }
            stage.pass(LEASE_EXPIRED);
            stage.deploy("sweep it", &json!({"sweep": true})).await;
            edge.get("/app.js");
            let report = stage.deploy("four", &stage.upload("4.zip", &with_script(Some("four")))).await;
            assert_eq!(report.drift, 0);
            assert_eq!(edge.get("/app.js").body, "four", "{days} days, swept: {is_swept}");
            let again = stage.deploy("five", &stage.upload("5.zip", &with_script(Some("four")))).await;
            assert_eq!((again.outcome, again.retained, again.drift), (Outcome::Unchanged, 0, 0));
        }
    }
}

#[tokio::test]
async fn a_removed_page_is_invalidated_even_if_it_is_immutable_and_retention_is_on() {
    let stage = Stage::new().await.with("RETAIN_REMOVED_DAYS", "30");
    let mut build = with_script(Some("one"));
    build.insert("old.html".to_owned(), b"old".to_vec());
    stage.deploy("one", &stage.upload("1.zip", &build)).await;
    let edge = stage.cloud.edge(DISTRIBUTION);
    edge.warm_all(["/old.html", "/app.js"]);
    let report = stage.deploy("two", &stage.upload("2.zip", &with_script(None))).await;
    assert_eq!((report.deleted, report.retained), (1, 1));
    assert_ne!(edge.get("/old.html").status, 200);
    assert!(edge.get("/app.js").from_cache);
}

#[tokio::test]
async fn a_departed_asset_stays_known_while_a_foreign_object_has_its_key() {
    let stage = Stage::new().await.with("RETAIN_REMOVED_DAYS", "1").with("PRUNE", "owned");
    let edge = stage.cloud.edge(DISTRIBUTION);
    stage.deploy("one", &stage.upload("1.zip", &with_script(Some("one")))).await;
    assert_eq!(edge.get("/app.js").body, "one");
    stage.deploy("two", &stage.upload("2.zip", &with_script(None))).await;
    stage.pass(TimeDelta::days(2));
    stage.deploy("sweep", &json!({"sweep": true})).await;
    assert!(stage.cloud.object(LIVE, "app.js").is_none());
    stage.cloud.put_object(LIVE, "app.js", "foreign", Headers::of_type("text/javascript"));
    let mut other = with_script(None);
    other.insert("other.html".to_owned(), b"other".to_vec());
    stage.deploy("three", &stage.upload("3.zip", &other)).await;
    stage.cloud.delete_object(LIVE, "app.js");
    stage.deploy("four", &stage.upload("4.zip", &with_script(Some("four")))).await;
    assert_eq!(edge.get("/app.js").body, "four");
}

#[tokio::test]
async fn an_asset_that_others_delete_while_it_departs_is_never_stale_when_it_comes_back() {
    let stage = Stage::new().await.with("RETAIN_REMOVED_DAYS", "1");
    let edge = stage.cloud.edge(DISTRIBUTION);
    stage.deploy("one", &stage.upload("1.zip", &with_script(Some("one")))).await;
    assert_eq!(edge.get("/app.js").body, "one");
    stage.deploy("two", &stage.upload("2.zip", &with_script(None))).await;
    stage.pass(TimeDelta::days(2));
    let mut operations = Vec::new();
    let others = |waiting: &[Waiting]| {
        let operation = waiting[0].call.operation.clone();
        match (operation.as_str(), operations.contains(&operation)) {
            ("DeleteObjects", false) => {
                stage.cloud.put_object(LIVE, "app.js", "foreign", Headers::of_type("text/javascript"));
            }
            ("HeadObject", false) if operations.contains(&"DeleteObjects".to_owned()) => {
                stage.cloud.delete_object(LIVE, "app.js");
            }
            _ => {}
        }
        operations.push(operation);
        0
    };
    let report = stage.deploy_by_call("again", &stage.upload("2.zip", &with_script(None)), others).await;
    assert_eq!(report.drift, 1);
    stage.deploy("three", &stage.upload("3.zip", &with_script(Some("three")))).await;
    assert_eq!(edge.get("/app.js").body, "three");
}
