//! `dropship push --allow-large-delete`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use standins::{Answer, Does, Fault};
use tokio::sync::Semaphore;

use super::desk::{Desk, STACK, invoke};
use crate::build::{Files, files};
use crate::stage::{STAGING, Stage};

fn site() -> Files {
    files([("index.html", "home"), ("app.js", "app")])
}

/// A build that would take the root's index document away.
fn page() -> Files {
    files([("other.html", "a page in place of the site")])
}

/// Makes a desk on which the site is live, and the folder is the page.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.write(&site());
    assert_eq!(desk.run(&["push", "site"]).await.code, 0);
    desk.write(&page());
    desk
}

fn is_allowed(event: &Value) -> bool {
    event["options"]["allowLargeDelete"] == true
}

/// Exchanges the desk's function for one that answers the event that allows the deployment as `allowed` does.
fn answer_allowed(desk: &Desk, allowed: impl Fn(Stage, String, Value) -> Answer + Send + Sync + 'static) {
    let stage = desk.stage.clone();
    let variables = stage.variables().clone().into_iter().collect();
    let attempts = Arc::new(AtomicUsize::new(0));
    let handler: standins::Handler = Arc::new(move |request_id, event: Value| {
        if is_allowed(&event) {
            return allowed(stage.clone(), request_id, event);
        }
        // Lambda's retries of S3's event come a minute later.
        if attempts.fetch_add(1, Ordering::SeqCst) > 0 {
            return Box::pin(std::future::pending());
        }
        Box::pin(invoke(stage.clone(), request_id, event))
    });
    desk.stage.cloud.create_function(STACK, variables, (STAGING, "uploads/"), handler);
}

async fn history(desk: &Desk) -> Vec<(u64, String, bool)> {
    let (_, runs) = desk.run_json(&["history"]).await;
    let told = runs.as_array().unwrap().iter().map(|run| {
        let end = run["answer"]["outcome"].as_str().or(run["failure"]["error_type"].as_str()).unwrap();
        (run["number"].as_u64().unwrap(), end.to_owned(), run["isLive"] == true)
    });
    told.collect()
}

#[tokio::test]
async fn without_the_option_the_refusal_is_followed_by_a_hint() {
    let desk = desk().await;
    let said = desk.run(&["push", "site"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("would remove the site's index document `index.html`"), "{said:?}");
    assert!(
        said.err.ends_with("hint: if the build is right, repeat the command with --allow-large-delete\n"),
        "{said:?}"
    );
    desk.stage.assert_live(&site());
}

#[tokio::test]
async fn with_the_option_the_same_version_goes_live_and_the_history_has_both_runs() {
    let desk = desk().await;
    answer_allowed(&desk, |stage, request_id, event| Box::pin(invoke(stage, request_id, event)));
    let name = "a b+c%.zip";
    let said = desk.run(&["push", "site", "--allow-large-delete", "--name", name]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("refused as LargeDelete; sending the upload again"), "{said:?}");
    assert!(said.out.starts_with("deployed  "), "{said:?}");
    desk.stage.assert_live(&page());
    let expected = [(3, "deployed", true), (2, "LargeDelete", false), (1, "deployed", false)];
    assert_eq!(history(&desk).await, expected.map(|(run, end, is_live)| (run, end.to_owned(), is_live)));
}

#[tokio::test]
async fn a_retry_of_the_first_event_that_is_refused_again_is_not_the_end() {
    let desk = desk().await;
    let stage = desk.stage.clone();
    let variables = stage.variables().clone().into_iter().collect();
    let (sent, attempts) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let handler: standins::Handler = Arc::new(move |request_id, event: Value| {
        let (stage, sent, attempts) = (stage.clone(), sent.clone(), attempts.clone());
        Box::pin(async move {
            if !is_allowed(&event) {
                // The retries come when the upload has been sent again, and before that event is handled.
                if attempts.load(Ordering::SeqCst) > 0 {
                    sent.acquire().await.unwrap().forget();
                }
                let answer = invoke(stage, request_id, event).await;
                attempts.fetch_add(1, Ordering::SeqCst);
                return answer;
            }
            sent.add_permits(2);
            while attempts.load(Ordering::SeqCst) < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The command looks at the ledger twice.
            stage.cloud.clear_calls();
            stage.wait_for_calls("TransactGetItems", 5).await;
            invoke(stage, request_id, event).await
        }) as Answer
    });
    desk.stage.cloud.create_function(STACK, variables, (STAGING, "uploads/"), handler);
    let said = desk.run(&["push", "site", "--allow-large-delete"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    desk.stage.assert_live(&page());
    assert_eq!(history(&desk).await.len(), 5);
}

#[tokio::test]
async fn a_newer_upload_that_comes_first_supersedes_it() {
    let desk = desk().await;
    answer_allowed(&desk, |stage, request_id, event| {
        Box::pin(async move {
            let mut newer = stage.upload("uploads/newer.zip", &site());
            newer["Records"][0]["eventTime"] = json!(Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true));
            invoke(stage.clone(), "newer".to_owned(), newer).await?;
            invoke(stage, request_id, event).await
        })
    });
    let said = desk.run(&["push", "site", "--allow-large-delete"]).await;
    assert_eq!(said.code, 4, "{said:?}");
    desk.stage.assert_live(&site());
}

#[tokio::test]
async fn without_the_right_to_invoke_the_function_the_error_says_so() {
    let desk = desk().await;
    desk.stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("Invoke", Does::refuse(403, "AccessDeniedException")) });
    let said = desk.run(&["push", "site", "--allow-large-delete"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("refused as LargeDelete, and you have no right to allow it"), "{said:?}");
    assert!(said.err.contains("lambda:InvokeFunction") && !said.err.contains("hint:"), "{said:?}");
    desk.stage.assert_live(&site());
}
