//! The ledger's records of runs: who asked for each, and how it ended.

use std::time::Duration;

use chrono::TimeDelta;
use dropship::deployment::{AskedBy, RunRecord, SOURCE_METADATA, Source, Status, Step};
use dropship::report::{Outcome, Report};
use serde_json::json;
use standins::{Does, Fault, Headers};

use super::{first, second};
use crate::build::{Files, files};
use crate::stage::{Stage, TABLE};

/// Returns the runs, the latest first.
async fn runs(stage: &Stage) -> Vec<RunRecord> {
    stage.ledger().await.runs(100).await.unwrap()
}

fn report(run: &RunRecord) -> Report {
    serde_json::from_str(run.answer.as_ref().unwrap()).unwrap()
}

#[tokio::test]
async fn a_rollback_does_not_overwrite_what_the_first_run_was() {
    let stage = Stage::new().await;
    let one = stage.deploy("one", &stage.upload("1.zip", &first())).await;
    stage.pass(TimeDelta::hours(1));
    let two = stage.deploy("two", &stage.upload("2.zip", &second())).await;
    stage.pass(TimeDelta::hours(1));
    let back = stage.deploy("back", &json!({"rollback": "previous"})).await;

    let runs = runs(&stage).await;
    let told: Vec<_> = runs.iter().map(|run| (run.number, &run.request[..], run.asked_by, run.status)).collect();
    assert_eq!(
        told,
        [
            (3, "back", AskedBy::Person, Status::Finished),
            (2, "two", AskedBy::Upload, Status::Finished),
            (1, "one", AskedBy::Upload, Status::Finished),
        ]
    );
    assert_eq!(runs.iter().map(report).collect::<Vec<_>>(), [back, two, one]);
    assert_eq!(report(&runs[0]).outcome, Outcome::RolledBack);
    assert_eq!(runs[0].deployment, runs[2].deployment);
    assert!(runs[1].started_at - runs[2].ended_at.unwrap() >= TimeDelta::hours(1));
}

#[tokio::test]
async fn every_refusal_after_the_claim_is_the_final_state_of_its_run() {
    let stage = Stage::new().await;
    let large: Files = (0..200).map(|number| (format!("{number}.html"), b"page".to_vec())).collect();
    stage.deploy("large", &stage.upload("1.zip", &large)).await;
    let event = stage.upload("2.zip", &files([("index.html", "small")]));
    for request_id in ["small", "small"] {
        stage.invoke(request_id, &event).await.into_answer().unwrap_err();
    }
    let runs = runs(&stage).await;
    assert_eq!(runs.len(), 3, "a retry is refused by a run of its own");
    for run in &runs[..2] {
        let failure = run.failure.as_ref().unwrap();
        assert_eq!((run.status, &failure.error_type[..]), (Status::Rejected, "LargeDelete"));
        assert!(failure.error_message.contains("200 of the 200"), "{}", failure.error_message);
        assert!(run.ended_at.is_some() && run.answer.is_none());
    }
}

#[tokio::test]
async fn a_retry_goes_on_with_the_record_of_its_run() {
    let stage = Stage::new().await;
    let event = stage.upload("1.zip", &first());
    stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) });
    stage.invoke("one", &event).await.into_answer().unwrap_err();
    let [failed] = &runs(&stage).await[..] else { panic!("one run") };
    assert_eq!(failed.status, Status::Unfinished);
    assert_eq!(failed.failure.as_ref().unwrap().error_type, "InvalidationOwed");
    assert_eq!(failed.ended_at, Some(stage.now()));

    stage.cloud.clear_faults();
    stage.pass(TimeDelta::minutes(1));
    stage.deploy("one", &event).await;
    let [finished] = &runs(&stage).await[..] else { panic!("one run") };
    assert_eq!((finished.number, finished.started_at), (1, failed.started_at));
    assert_eq!((finished.status, &finished.failure), (Status::Finished, &None));
    assert_eq!(finished.ended_at, Some(stage.now()));
}

#[tokio::test]
async fn a_run_that_an_earlier_release_started_gets_its_record_when_it_is_resumed() {
    let stage = Stage::new().await;
    let event = stage.upload("1.zip", &first());
    stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) });
    stage.invoke("one", &event).await.into_answer().unwrap_err();
    stage.cloud.clear_faults();
    let client = aws_sdk_dynamodb::Client::new(&stage.cloud.sdk_config_for("earlier").await);
    for item in stage.ledger_items().await {
        if item["item"].as_s().unwrap().starts_with("run#") {
            let delete = client.delete_item().table_name(TABLE).key("site", item["site"].clone());
            delete.key("item", item["item"].clone()).send().await.unwrap();
        }
    }
    assert_eq!(runs(&stage).await, []);
    let one = stage.deploy("one", &event).await;
    let [run] = &runs(&stage).await[..] else { panic!("one run") };
    assert_eq!((run.number, report(run)), (one.run, one));
}

#[tokio::test(start_paused = true)]
async fn only_a_run_that_takes_seconds_tells_its_progress_and_never_after_its_end() {
    let site: Files = (0..1_000).map(|number| (format!("{number}.txt"), b"text".to_vec())).collect();
    let stage = Stage::in_virtual_time().await.with("MAX_WRITES_PER_SECOND", "100");
    let ledger = stage.ledger().await;
    let event = stage.upload("1.zip", &site);
    let mut seen = Vec::new();
    let watching = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let runs = ledger.runs(1).await.unwrap();
            seen.extend(runs.first().and_then(|run| run.progress));
        }
    };
    tokio::select! {
        biased;
        _ = stage.deploy("one", &event) => {}
        () = watching => {}
    }
    assert!(seen.is_sorted_by_key(|progress| progress.done), "{seen:?}");
    let halfway = seen.iter().find(|progress| progress.done >= 400).unwrap();
    assert_eq!((halfway.step, halfway.total), (Step::Writing, 1_000));
    assert_eq!(runs(&stage).await[0].progress, None);

    let told = |stage: &Stage| {
        let calls = stage.cloud.calls().into_iter().filter(|call| call.operation == "UpdateItem");
        calls.filter(|call| call.key.as_deref().is_some_and(|key| key.starts_with("run#"))).count()
    };
    assert!((3..=6).contains(&told(&stage)), "{} in ten seconds", told(&stage));
    stage.cloud.clear_calls();
    stage.deploy("two", &stage.upload("2.zip", &site)).await;
    assert_eq!(told(&stage), 0);
}

#[tokio::test]
async fn a_record_says_where_the_build_comes_from() {
    let stage = Stage::new().await;
    let source = Source { commit: "4f2a9c1".to_owned(), message: "größer".to_owned(), ..Source::default() };
    let mut headers = Headers::of_type("application/zip");
    headers.metadata.insert(SOURCE_METADATA.to_owned(), source.encode().unwrap());
    let mut event = stage.upload("1.zip", &first());
    let archive = stage.cloud.object(crate::stage::STAGING, "1.zip").unwrap();
    let object = stage.cloud.put_object(crate::stage::STAGING, "1.zip", archive.body, headers);
    event["Records"][0]["s3"]["object"]["versionId"] = json!(object.version_id);
    let one = stage.deploy("one", &event).await;
    let other = stage.deploy("two", &stage.upload("2.zip", &second())).await;
    let ledger = stage.ledger().await;
    assert_eq!(ledger.record(&one.id.unwrap()).await.unwrap().unwrap().source, Some(source));
    assert_eq!(ledger.record(&other.id.unwrap()).await.unwrap().unwrap().source, None);
}
