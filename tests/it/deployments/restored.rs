//! A ledger that was restored from a backup.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use dropship::report::Outcome;
use standins::{Does, Fault, Headers};

use super::{first, second};
use crate::build::files;
use crate::stage::observe::Item;
use crate::stage::{DISTRIBUTION, LIVE, Stage, TABLE};

/// Replaces everything in the table.
async fn restore(stage: &Stage, backup: Vec<Item>) {
    let sdk = stage.cloud.sdk_config_for("backup").await;
    let client = aws_sdk_dynamodb::Client::new(&sdk);
    for item in stage.ledger_items().await {
        let delete = client.delete_item().table_name(TABLE).key("site", item["site"].clone());
        delete.key("item", item["item"].clone()).send().await.unwrap();
    }
    for item in backup {
        client.put_item().table_name(TABLE).set_item(Some(item)).send().await.unwrap();
    }
}

#[tokio::test]
async fn a_restored_ledger_never_repeats_a_caller_reference() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("site.zip", &first())).await;
    let backup = stage.ledger_items().await;
    let two = stage.upload("site.zip", &second());
    stage.deploy("two", &two).await;
    let accepted = stage.cloud.invalidations(DISTRIBUTION).len();
    assert!(accepted >= 2);

    stage.pass(TimeDelta::hours(1));
    restore(&stage, backup).await;
    // The live bucket has changed since in the same places, so that the same run owes the same items once more.
    stage.cloud.put_object(LIVE, "index.html", "foreign", Headers::of_type("text/html"));
    stage.cloud.put_object(LIVE, "app.1.js", "one", Headers::of_type("text/javascript"));
    stage.cloud.edge(DISTRIBUTION).warm_all(["/", "/index.html", "/app.1.js"]);
    assert_eq!(stage.deploy("two again", &two).await.outcome, Outcome::Deployed);
    stage.assert_live(&second());
    let stale = stage.cloud.edge(DISTRIBUTION).stale();
    assert!(stale.is_empty(), "{stale:?}");
    let references = stage.cloud.invalidations(DISTRIBUTION).into_iter().map(|it| it.caller_reference);
    let references: Vec<String> = references.collect();
    assert!(references.len() > accepted, "{references:?}");
    assert_eq!(references.iter().collect::<BTreeSet<_>>().len(), references.len());
}

#[tokio::test]
async fn a_restored_ledger_knows_that_keys_may_have_come_and_gone_since() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("site.zip", &first())).await;
    let backup = stage.ledger_items().await;
    let mut build = first();
    build.insert("late.html".to_owned(), b"late".to_vec());
    stage.deploy("two", &stage.upload("site.zip", &build)).await;
    let edge = stage.cloud.edge(DISTRIBUTION);
    assert_eq!(edge.get("/late.html").status, 200);

    stage.pass(TimeDelta::hours(1));
    stage.cloud.delete_object(LIVE, "late.html");
    restore(&stage, backup).await;
    stage.deploy("three", &stage.upload("site.zip", &second())).await;
    assert_eq!(edge.get("/late.html").status, 404);
}

#[tokio::test]
async fn a_ledger_that_is_restored_twice_finds_no_manifest_of_another_past() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("site.zip", &first())).await;
    let backup = stage.ledger_items().await;
    // From before the first deployment, whose manifest no head names then.
    restore(&stage, Vec::new()).await;
    let mut build = first();
    build.insert("late.html".to_owned(), b"late".to_vec());
    // After a refused run, the manifest is saved under a later version of the head than the first deployment's.
    let folder = files([("dist/index.html", "folder")]);
    let refused = stage.invoke("folder", &stage.upload("site.zip", &folder)).await.into_answer().unwrap_err();
    assert_eq!(refused.error_type, "LargeDelete");
    stage.deploy("two", &stage.upload("site.zip", &build)).await;
    assert_eq!(stage.manifests().len(), 1);
    let edge = stage.cloud.edge(DISTRIBUTION);
    assert_eq!(edge.get("/late.html").status, 200);

    stage.pass(TimeDelta::hours(1));
    stage.cloud.delete_object(LIVE, "late.html");
    restore(&stage, backup).await;
    stage.deploy("three", &stage.upload("site.zip", &second())).await;
    assert_eq!(edge.get("/late.html").status, 404);
    assert_eq!(stage.manifests().len(), 1);
}

#[tokio::test]
async fn a_restore_that_loses_an_owed_batch_leaves_no_stale_page() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("site.zip", &first())).await;
    let backup = stage.ledger_items().await;
    stage.cloud.edge(DISTRIBUTION).warm_all(["/", "/index.html", "/app.1.js"]);
    let two = stage.upload("site.zip", &second());
    let refusal = Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied"));
    stage.cloud.fault(Fault { times: usize::MAX, ..refusal });
    assert_eq!(stage.invoke("two", &two).await.into_answer().unwrap_err().error_type, "InvalidationOwed");
    stage.cloud.clear_faults();
    restore(&stage, backup).await;
    stage.deploy("two", &two).await;
    stage.assert_live(&second());
    let stale = stage.cloud.edge(DISTRIBUTION).stale();
    assert!(stale.is_empty(), "{stale:?}");
}
