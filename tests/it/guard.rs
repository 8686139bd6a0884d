//! The guard: archives that would take the site away are refused before the first write.

use dropship::report::Outcome;
use insta::assert_snapshot;
use serde_json::{Value, json};
use standins::Headers;

use crate::build::{Files, files};
use crate::stage::{LIVE, Stage, allowing};

/// Returns the message of the guard's refusal, which must come before the first write.
async fn refusal(stage: &Stage, request: &str, event: &Value) -> String {
    stage.cloud.clear_calls();
    let failure = stage.invoke(request, event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "LargeDelete", "{}", failure.error_message);
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    failure.error_message
}

fn site() -> Files {
    files([("index.html", "home"), ("docs/index.html", "docs"), ("app.js", "app")])
}

fn in_folder(folder: &str, files: &Files) -> Files {
    files.iter().map(|(name, body)| (format!("{folder}{name}"), body.clone())).collect()
}

#[tokio::test]
async fn a_zip_of_the_folder_is_refused_and_the_sentence_has_the_ways_out() {
    let wrapped = in_folder("site/", &site());
    for is_empty in [false, true] {
        let stage = Stage::new().await;
        if !is_empty {
            stage.deploy("one", &stage.upload("1.zip", &site())).await;
        }
        let event = stage.upload("2.zip", &wrapped);
        let message = refusal(&stage, "two", &event).await;
        if is_empty {
            assert_snapshot!(message, @r#"all files of the archive are in the folder `site/`, and the live site has no such folder, so nothing was changed: to deploy the folder's contents, set ArchiveRoot=site/ (the variable ARCHIVE_ROOT=site/); if the site should have that folder, set ArchiveRoot=. (ARCHIVE_ROOT=.) once and for all, or send the event again with "options":{"allowLargeDelete":true}"#);
        } else {
            assert_snapshot!(message, @r#"all files of the archive are in the folder `site/`, and the live site would lose its index document `index.html`, so nothing was changed: to deploy the folder's contents, set ArchiveRoot=site/ (the variable ARCHIVE_ROOT=site/); if the site should have that folder, set ArchiveRoot=. (ARCHIVE_ROOT=.) once and for all, or send the event again with "options":{"allowLargeDelete":true}"#);
        }
        let dry_run = json!({"Records": event["Records"], "options": {"dryRun": true}});
        assert_eq!(refusal(&stage, "rehearsal", &dry_run).await, message);

        let unwrapping = stage.clone().with("ARCHIVE_ROOT", "site/");
        unwrapping.deploy("three", &event).await;
        stage.assert_live(&site());
        stage.clone().with("ARCHIVE_ROOT", ".").deploy("four", &stage.upload("4.zip", &wrapped)).await;
        stage.assert_live(&wrapped);
        // The site has the folder now, so that it needs no setting.
        stage.deploy("five", &stage.upload("5.zip", &wrapped)).await;
    }
}

#[tokio::test]
async fn allow_large_delete_lets_every_guarded_plan_through() {
    let stage = Stage::new().await;
    let wrapped = in_folder("en/", &site());
    stage.deploy("one", &allowing(stage.upload("1.zip", &wrapped))).await;
    stage.assert_live(&wrapped);
    stage.deploy("two", &stage.upload("2.zip", &site())).await;
    refusal(&stage, "three", &stage.upload("3.zip", &wrapped)).await;
    stage.deploy("four", &allowing(stage.upload("3.zip", &wrapped))).await;
    stage.assert_live(&wrapped);
}

#[tokio::test]
async fn the_roots_index_document_leaves_the_site_only_on_purpose() {
    let broken = files([("docs/index.html", "docs"), ("app.js", "app"), ("404.html", "none")]);
    let stage = Stage::new().await.with("LIVE_PREFIX", "www");
    stage.cloud.put_object(LIVE, "index.html", "another site's", Headers::of_type("text/html"));
    stage.deploy("broken", &stage.upload("0.zip", &broken)).await;
    stage.deploy("one", &stage.upload("1.zip", &site())).await;
    let event = stage.upload("2.zip", &broken);
    assert_snapshot!(refusal(&stage, "two", &event).await, @r#"the deployment would remove the site's index document `www/index.html`, so nothing was changed: check that this is the right archive for ArchiveRoot (ARCHIVE_ROOT) and LivePrefix (LIVE_PREFIX); if the site should lose it, send the event again with "options":{"allowLargeDelete":true}"#);
    let meant = stage.clone().with("ARCHIVE_ROOT", ".");
    refusal(&meant, "three", &event).await;
    // With another index document, or if nothing is deleted, the site keeps it.
    for (name, value) in [("INDEX_DOCUMENT", "home.html"), ("PRUNE", "off")] {
        let event = stage.upload("3.zip", &broken);
        stage.deploy("one again", &stage.upload("4.zip", &site())).await;
        let dry_run = json!({"Records": event["Records"], "options": {"dryRun": true, "replay": true}});
        stage.clone().with(name, value).deploy(name, &dry_run).await;
    }
    stage.deploy("five", &allowing(stage.upload("5.zip", &broken))).await;
    assert!(stage.cloud.object(LIVE, "www/index.html").is_none());
}

#[tokio::test]
async fn a_rollback_to_a_build_that_has_been_live_is_never_refused() {
    let stage = Stage::new().await;
    let small = in_folder("en/", &files([("index.html", "one"), ("a.js", "one")]));
    let large: Files = (0..1_000).map(|n| (format!("{n}.html"), b"page".to_vec())).chain(site()).collect();
    let one = stage.deploy("one", &allowing(stage.upload("1.zip", &small))).await;
    stage.deploy("two", &stage.upload("2.zip", &large)).await;
    let rollback = |options: Value| json!({"rollback": one.id, "options": options});
    let planned = stage.deploy("rehearsal", &rollback(json!({"dryRun": true}))).await;
    assert_eq!(planned.deleted, 1_003);
    let report = stage.deploy("back", &rollback(json!({}))).await;
    assert_eq!((report.outcome, report.deleted), (Outcome::RolledBack, 1_003));
    stage.assert_live(&small);
    // A build that has never been live is checked, whoever sends its event.
    stage.deploy("three", &stage.upload("3.zip", &large)).await;
    let mut event = stage.upload("4.zip", &in_folder("other/", &small));
    event["options"] = json!({"replay": true});
    refusal(&stage, "four", &event).await;
}

#[tokio::test]
async fn the_sentence_names_the_folder_that_holds_the_site() {
    for (inner, named) in [("dist/app/browser/", "dist/app/browser/"), ("dist/", "dist/")] {
        let stage = Stage::new().await;
        let wrapped = in_folder(inner, &site());
        let event = stage.upload("1.zip", &wrapped);
        let message = refusal(&stage, "one", &event).await;
        assert!(message.contains(&format!("set ArchiveRoot={named} (the variable ARCHIVE_ROOT={named})")), "{message}");
        stage.clone().with("ARCHIVE_ROOT", named).deploy("two", &event).await;
        stage.assert_live(&site());
    }
    // Without an index document, any of the folders may be the site.
    let stage = Stage::new().await;
    let event = stage.upload("1.zip", &files([("a/b/c.js", "c"), ("a/b/d.js", "d")]));
    let message = refusal(&stage, "one", &event).await;
    assert!(message.contains("in the folder `a/`"), "{message}");
}
