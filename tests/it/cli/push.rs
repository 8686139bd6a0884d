//! `dropship push`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use standins::Answer;
use tokio::sync::Notify;

use super::desk::{Desk, STACK, function, invoke};
use crate::build::{files, noise};
use crate::stage::{LIVE, STAGING, Stage};

fn first() -> crate::build::Files {
    files([("index.html", "one"), ("a/b.txt", "text"), (".well-known/security.txt", "Contact:")])
}

#[tokio::test]
async fn a_folder_goes_live_and_the_same_folder_is_not_uploaded_again() {
    let desk = Desk::new().await;
    let mut site = first();
    desk.write(&site);
    let said = desk.run(&["push", "site"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("deployed  "), "{said:?}");
    assert!(said.out.contains("3 new, 0 changed, 0 deleted, 0 kept"), "{said:?}");
    desk.stage.assert_live(&site);

    desk.stage.cloud.clear_calls();
    let (code, value) = desk.run_json(&["push", "site"]).await;
    assert_eq!((code, &value["outcome"], &value["uploaded"]), (0, &json!("unchanged"), &json!(false)));
    assert_eq!(desk.stage.count("PutObject"), 0);

    site.insert("index.html".to_owned(), b"two".to_vec());
    desk.write(&site);
    let (code, value) = desk.run_json(&["push", "site", "--message", "Größer"]).await;
    assert_eq!((code, &value["outcome"], &value["changed"]), (0, &json!("deployed"), &json!(1)));
    desk.stage.assert_live(&site);
    let (_, shown) = desk.run_json(&["show"]).await;
    assert_eq!(shown["deployment"]["source"]["message"], "Größer");
}

#[tokio::test]
async fn after_a_rollback_the_same_push_uploads_again() {
    let desk = Desk::new().await;
    desk.write(&first());
    desk.run(&["push", "site"]).await;
    desk.write(&files([("index.html", "two")]));
    assert_eq!(desk.run(&["push", "site"]).await.code, 0);
    let said = desk.run(&["rollback", "--yes"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    desk.stage.assert_live(&first());
    let (code, value) = desk.run_json(&["push", "site"]).await;
    assert_eq!((code, &value["outcome"]), (0, &json!("deployed")));
    desk.stage.assert_live(&files([("index.html", "two")]));
}

#[tokio::test]
async fn equal_folders_become_equal_bytes_without_what_is_left_out() {
    let desk = Desk::over(Stage::new().await.with("EXCLUDE", "*.map"));
    let mut site = first();
    site.insert("photo.jpg".to_owned(), noise(100_000, 1));
    let mut littered = site.clone();
    for name in [".git/config", "a/.env", "app.js.map", "__MACOSX/a", ".DS_Store"] {
        littered.insert(name.to_owned(), b"private".to_vec());
    }
    let mut bodies = Vec::new();
    for (name, files) in [("1.zip", &site), ("2.zip", &littered)] {
        desk.write(files);
        assert_eq!(desk.run(&["push", "site", "--no-wait", "--name", name]).await.code, 0);
        bodies.push(desk.stage.cloud.object(STAGING, &format!("uploads/{name}")).unwrap().body);
    }
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn a_large_archive_is_uploaded_in_parts() {
    let desk = Desk::new().await;
    let mut site = first();
    site.insert("large.png".to_owned(), noise(40 << 20, 2));
    desk.write(&site);
    let said = desk.run(&["push", "site"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let parts = desk
        .stage
        .cloud
        .calls()
        .into_iter()
        .filter(|call| call.operation == "UploadPart" && call.bucket.as_deref() == Some(STAGING));
    assert_eq!(parts.count(), 6);
    assert_eq!(desk.stage.cloud.object(LIVE, "large.png").unwrap().body.len(), 40 << 20);
}

#[tokio::test]
async fn a_push_that_a_newer_one_overtakes_ends_with_4() {
    let stage = Stage::new().await;
    let arrived = Arc::new(Notify::new());
    let go = Arc::new(Notify::new());
    let held = {
        let (stage, arrived, go) = (stage.clone(), arrived.clone(), go.clone());
        Arc::new(move |request_id: String, event| {
            let (stage, arrived, go) = (stage.clone(), arrived.clone(), go.clone());
            Box::pin(async move {
                arrived.notify_one();
                go.notified().await;
                invoke(stage, request_id, event).await
            }) as Answer
        })
    };
    let desk = Desk::with_function(stage.clone(), held);
    desk.write(&first());
    let pushing = desk.command(&["push", "site", "--stack", STACK, "--name", "older.zip"]).output();
    let overtaking = async {
        arrived.notified().await;
        // The newer push is not held up.
        let variables = stage.variables().clone().into_iter().collect();
        stage.cloud.create_function(STACK, variables, (STAGING, "uploads/"), function(&stage));
        let newer = Desk::over(stage.clone());
        newer.write(&files([("index.html", "newer")]));
        assert_eq!(newer.run(&["push", "site"]).await.code, 0);
        go.notify_one();
    };
    let (pushed, ()) = tokio::join!(pushing, overtaking);
    let said = super::desk::Said::from(pushed.unwrap());
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.out.contains("superseded"), "{said:?}");
    stage.assert_live(&files([("index.html", "newer")]));
}

#[tokio::test]
async fn a_push_that_is_not_live_in_time_ends_with_3_and_the_deployment_goes_on() {
    let stage = Stage::new().await;
    let never: standins::Handler = Arc::new(|_, _| Box::pin(std::future::pending()) as Answer);
    let desk = Desk::with_function(stage, never);
    desk.write(&first());
    let said = desk.run(&["push", "site", "--timeout", "1"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.out.contains("dropship status"), "{said:?}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_deployment_running_and_says_how_to_look_again() {
    let (desk, arrived) = Desk::without_answers().await;
    desk.write(&first());
    let mut command = desk.command(&["push", "site", "--stack", STACK]);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    arrived.notified().await;
    // The upload has been answered when the command says so; it follows from then on.
    let id = child.id().unwrap().to_string();
    let interrupting = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tokio::process::Command::new("kill").args(["-INT", &id]).status().await.unwrap();
        }
    };
    let output = tokio::select! {
        output = child.wait_with_output() => output.unwrap(),
        never = interrupting => never,
    };
    let said = super::desk::Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(said.code == 3 && said.out.contains("dropship status"), "{said:?}");
}

#[tokio::test]
async fn the_summary_of_a_job_has_a_line_for_each_push_that_ends_early_too() {
    let desk = Desk::new().await;
    let summary = desk.path().join("summary");
    let push = async |arguments: &[&str]| {
        let mut command = desk.command(&[&["push", "site", "--stack", STACK], arguments].concat());
        command.env("GITHUB_STEP_SUMMARY", &summary).output().await.unwrap();
    };
    desk.write(&files([("index.html", "one")]));
    push(&[]).await;
    push(&[]).await;
    desk.write(&files([("index.html", "one"), ("_headers", "no path\n")]));
    push(&[]).await;
    desk.write(&files([("index.html", "two")]));
    push(&["--no-wait"]).await;
    let lines = std::fs::read_to_string(summary).unwrap();
    let words: Vec<&str> = lines.lines().filter_map(|line| line.split("**").nth(1)).collect();
    assert_eq!(words, ["deployed", "unchanged", "ArchiveRejected", "uploaded"], "{lines}");
}
