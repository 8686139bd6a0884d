//! `dropship status`, `history`, `show` and `rollback`.

use chrono::{SecondsFormat, TimeDelta, Utc};
use dropship::deployment::{DeploymentId, Place, Status, Waiting};
use serde_json::json;

use super::desk::Desk;
use crate::build::files;
use crate::stage::STAGING;

#[tokio::test]
async fn the_history_tells_every_run_and_which_one_is_live() {
    let desk = Desk::new().await;
    assert!(desk.run(&["history"]).await.out.contains("nothing has been deployed yet"));
    assert!(desk.run(&["status"]).await.out.contains("nothing has been deployed yet"));
    for (text, message) in [("one", "First"), ("two", "Second")] {
        desk.write(&files([("index.html", text)]));
        assert_eq!(desk.run(&["push", "site", "--message", message]).await.code, 0);
    }
    let said = desk.run(&["rollback", "previous", "--yes"]).await;
    assert!(said.code == 0 && said.out.contains("rolled back"), "{said:?}");
    for words in ["First", "planned  0 new, 1 changed", "~ index.html", "invalidates 2 items on E1EXAMPLE"] {
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
    desk.stage.assert_live(&files([("index.html", "one")]));

    let (_, runs) = desk.run_json(&["history"]).await;
    let told: Vec<_> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["number"].as_u64(), run["answer"]["outcome"].clone(), run["isLive"].clone()))
        .collect();
    let expected = [(3, "rolledBack", true), (2, "deployed", false), (1, "deployed", false)];
    assert_eq!(told, expected.map(|(number, outcome, live)| (Some(number), json!(outcome), json!(live))));
    let said = desk.run(&["history", "-n", "2"]).await;
    assert_eq!(said.out.lines().filter(|line| line.contains("2026") || line.contains("20")).count(), 2, "{said:?}");
    assert!(said.out.contains("*3"), "{said:?}");

    let (_, status) = desk.run_json(&["status"]).await;
    assert_eq!((&status["live"], &status["unfinished"]), (&runs[0]["deployment"], &json!([])));
    let said = desk.run(&["show", runs[1]["deployment"].as_str().unwrap()]).await;
    assert!(said.out.contains("Second") && said.out.contains("run 2"), "{said:?}");
    let said = desk.run(&["logs", runs[0]["deployment"].as_str().unwrap()]).await;
    assert!(
        said.out.contains("run 1") && said.out.contains("run 3") && said.out.contains("\"replay\":true"),
        "{said:?}"
    );
}

#[tokio::test]
async fn without_a_terminal_a_rollback_needs_the_option() {
    let desk = Desk::new().await;
    for text in ["one", "two"] {
        desk.write(&files([("index.html", text)]));
        desk.run(&["push", "site"]).await;
    }
    let said = desk.run(&["rollback"]).await;
    assert!(said.code == 2 && said.err.contains("--yes"), "{said:?}");
    desk.stage.assert_live(&files([("index.html", "two")]));
}

#[tokio::test]
async fn a_rollback_that_would_be_refused_says_so_and_sends_nothing() {
    let desk = Desk::new().await;
    for text in ["one", "two"] {
        desk.write(&files([("index.html", text)]));
        desk.run(&["push", "site"]).await;
    }
    let gone = desk.stage.cloud.versions(STAGING, "uploads/site.zip")[0].id.clone();
    desk.stage.cloud.expire_version(STAGING, "uploads/site.zip", &gone);
    let (code, value) = desk.run_json(&["rollback", "--yes"]).await;
    assert_eq!((code, &value["errorType"]), (1, &json!("ArchiveGone")), "{value}");
    assert_eq!(desk.run_json(&["redrive"]).await.1, json!([]));
    assert_eq!(desk.run_json(&["history"]).await.1.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_history_tells_of_uploads_that_were_refused_before_a_run() {
    let desk = Desk::new().await;
    desk.write(&files([("index.html", "one")]));
    desk.run(&["push", "site"]).await;
    let mut broken = desk.stage.upload_bytes("uploads/broken.zip", b"no zip".to_vec());
    broken["Records"][0]["eventTime"] = json!(Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true));
    super::desk::invoke(desk.stage.clone(), "broken".to_owned(), broken).await.unwrap_err();
    let (_, rows) = desk.run_json(&["history"]).await;
    assert_eq!(
        (&rows[0]["status"], &rows[0]["number"], &rows[1]["number"]),
        (&json!("rejected"), &json!(0), &json!(1))
    );
    assert!(rows[0]["failure"].as_str().unwrap().contains("zip"), "{rows}");
    let said = desk.run(&["history"]).await;
    assert!(said.out.contains("refused") && said.out.contains("*1"), "{said:?}");
}

#[tokio::test]
async fn a_rollback_brings_back_an_upload_that_was_superseded() {
    let desk = Desk::new().await;
    let older = files([("index.html", "older")]);
    let mut late = desk.stage.upload("uploads/older.zip", &older);
    late["Records"][0]["eventTime"] = json!("2026-01-01T10:15:00.500Z");
    desk.write(&files([("index.html", "newer")]));
    desk.run(&["push", "site"]).await;
    let answer = super::desk::invoke(desk.stage.clone(), "late".to_owned(), late).await.unwrap();
    assert_eq!(answer["deployments"][0]["outcome"], "superseded");
    let said = desk.run(&["rollback", answer["deployments"][0]["id"].as_str().unwrap(), "--yes"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    desk.stage.assert_live(&older);
}

#[tokio::test]
async fn an_upload_that_waits_for_the_site_is_told() {
    let desk = Desk::new().await;
    desk.write(&files([("index.html", "one")]));
    desk.run(&["push", "site", "--message", "Live"]).await;
    let ledger = desk.stage.site("other").await.clients.ledger;
    let live = ledger.head().await.unwrap().live.unwrap().deployment;
    let mut record = ledger.record(&live).await.unwrap().unwrap();
    record.deployment = DeploymentId::named("20991122T101500Z-0123456789ab");
    (record.run, record.status, record.uploaded_at) = (0, Status::Unfinished, Utc::now() + TimeDelta::days(1));
    let place = Place {
        uploaded_at: record.uploaded_at,
        deployment: record.deployment.clone(),
        key: Some("uploads/site.zip".to_owned()),
        sequencer: None,
    };
    ledger.write_waiting(&Waiting { record, place, allow_large_delete: false, expires_at: i64::MAX }).await.unwrap();

    let (_, rows) = desk.run_json(&["history"]).await;
    let told: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["status"].clone()).collect();
    assert_eq!(told, [json!("waits"), json!("finished")]);
    let said = desk.run(&["status"]).await;
    assert!(said.out.contains("waits    20991122T101500Z-0123456789ab"), "{said:?}");
}
