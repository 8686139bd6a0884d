//! Runs that are refused after their claim: they end, and shut no other upload out.

use dropship::deployment::Status;
use dropship::report::Outcome;
use serde_json::json;
use standins::{Does, Fault, Headers};

use super::first;
use crate::build::{Files, files};
use crate::crash::SHORT;
use crate::stage::{DISTRIBUTION, LIVE, Stage};

/// Returns a site that is too large to lose all but one of its objects.
fn large() -> Files {
    (0..200).map(|number| (format!("{number}.html"), b"page".to_vec())).chain(small()).collect()
}

fn small() -> Files {
    files([("index.html", "small")])
}

#[tokio::test]
async fn a_refusal_after_the_claim_is_final_for_its_run_and_shuts_no_older_upload_out() {
    let stage = Stage::new().await;
    stage.deploy("large", &stage.upload("site.zip", &large())).await;
    let older = Files::from_iter(large().into_iter().chain(first()));
    let late = stage.upload("site.zip", &older);
    let refused = stage.upload("site.zip", &small());
    let failure = stage.invoke("small", &refused).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "LargeDelete");

    let ledger = stage.ledger().await;
    let head = ledger.head().await.unwrap();
    assert_eq!((head.lease, head.unfinished, head.is_torn), (None, Vec::new(), false));
    let record = ledger.started_by("small").await.unwrap().unwrap();
    assert_eq!(record.status, Status::Rejected);
    assert!(record.rejection.unwrap().contains("200 of the 201"));

    assert_eq!(stage.deploy("late", &late).await.outcome, Outcome::Deployed);
    stage.assert_live(&older);
}

#[tokio::test]
async fn the_option_lets_the_second_try_through_and_the_newest_upload_wins_again() {
    let stage = Stage::new().await;
    stage.deploy("large", &stage.upload("site.zip", &large())).await;
    let mut event = stage.upload("site.zip", &small());
    for request_id in ["first", "first", "second"] {
        let failure = stage.invoke(request_id, &event).await.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "LargeDelete", "it is judged again each time");
    }
    event["options"] = json!({"allowLargeDelete": true});
    assert_eq!(stage.deploy("allowed", &event).await.outcome, Outcome::Deployed);
    stage.assert_live(&small());
}

#[tokio::test]
async fn a_corrected_setting_lets_a_refused_upload_through_unless_a_newer_build_has_overtaken_it() {
    let stage = Stage::new().await;
    let wrong = stage.clone().with("ARCHIVE_ROOT", "build/");
    let build = files([("dist/index.html", "site")]);
    let event = stage.upload("site.zip", &build);
    wrong.refusal("one", &event).await;
    let corrected = stage.clone().with("ARCHIVE_ROOT", "dist/");
    assert_eq!(corrected.deploy("one", &event).await.outcome, Outcome::Deployed);
    stage.assert_live(&files([("index.html", "site")]));

    let overtaken = stage.upload("site.zip", &build);
    wrong.refusal("two", &overtaken).await;
    let newest = files([("dist/index.html", "newest")]);
    corrected.deploy("three", &stage.upload("site.zip", &newest)).await;
    assert_eq!(corrected.deploy("two", &overtaken).await.outcome, Outcome::Superseded);
    stage.assert_live(&files([("index.html", "newest")]));
}

#[tokio::test]
async fn a_refusal_leaves_the_status_of_a_deployment_that_has_been_live() {
    let stage = Stage::new().await;
    let delivery = stage.upload("site.zip", &small());
    let id = stage.deploy("small", &delivery).await.id.unwrap();
    let refuse = async |site: &Stage, event: &serde_json::Value, error_type: &str| {
        for request_id in ["first", "first", "second"] {
            let request_id = format!("{error_type} {request_id}");
            let failure = site.invoke(&request_id, event).await.into_answer().unwrap_err();
            assert_eq!(failure.error_type, error_type, "Lambda's retry is refused as well");
        }
        let record = stage.ledger().await.record(&id).await.unwrap().unwrap();
        assert_eq!((record.status, record.rejection), (Status::Finished, None));
    };
    // Its event would repair what others have done to the live site, and is refused after the claim.
    for key in large().into_keys() {
        stage.cloud.put_object(LIVE, &key, "foreign", Headers::of_type("text/html"));
    }
    refuse(&stage, &delivery, "LargeDelete").await;
    stage.deploy("large", &stage.upload("site.zip", &large())).await;
    // A rollback is refused before the claim.
    let wrong = stage.clone().with("ARCHIVE_ROOT", "build/");
    refuse(&wrong, &json!({"rollback": id.as_str()}), "ArchiveRejected").await;
    // A late duplicate of the upload does not go on with the refused rollback.
    let record = stage.ledger().await.record(&id).await.unwrap().unwrap();
    let mut delivery: serde_json::Value = serde_json::from_str(&record.event).unwrap();
    delivery["options"] = json!({"allowLargeDelete": true});
    assert_eq!(stage.deploy("duplicate", &delivery).await.outcome, Outcome::Duplicate);
    stage.assert_live(&large());
}

#[tokio::test]
async fn a_retry_that_is_refused_sends_what_its_first_attempt_owes() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("site.zip", &first())).await;
    stage.cloud.edge(DISTRIBUTION).warm_all(["/", "/index.html", "/app.1.js"]);
    let event = stage.upload("site.zip", &files([("index.html", "two"), ("logo.svg", "<svg/>")]));
    stage.cloud.fault(Fault { key: Some("index.html".to_owned()), ..Fault::on("PutObject", Does::DieAfter) });
    tokio::select! {
        () = stage.cloud.death("victim") => {}
        _ = stage.invoke_as("victim", "two", &event, SHORT) => panic!("the process must die"),
    }
    assert!(!stage.cloud.edge(DISTRIBUTION).stale().is_empty());
    // The archive is refused under settings that have changed since.
    let wrong = stage.clone().with("ARCHIVE_ROOT", "build/");
    let message = wrong.refusal("two", &event).await;
    assert!(message.contains("{\"rollback\":\""), "{message}");
    let stale = stage.cloud.edge(DISTRIBUTION).stale();
    assert!(stale.is_empty(), "{stale:?}");
    let head = stage.ledger().await.head().await.unwrap();
    assert_eq!((head.lease, head.unfinished, head.is_torn), (None, Vec::new(), true));
    // Corrected, the same event goes live.
    assert_eq!(stage.deploy("two", &event).await.outcome, Outcome::Deployed);
    assert!(!stage.ledger().await.head().await.unwrap().is_torn);
}

#[tokio::test]
async fn a_run_whose_commits_answers_are_all_lost_gives_the_site_back() {
    for nth in 1..=3 {
        let stage = Stage::new().await;
        stage.deploy("one", &stage.upload("site.zip", &first())).await;
        let lost = Does::refuse_after(403, "AnswerLost");
        stage.cloud.fault(Fault { first: nth, ..Fault::on("TransactWriteItems", lost) });
        let two = stage.upload("site.zip", &files([("index.html", "two")]));
        let _ = stage.invoke("two", &two).await;
        assert_eq!(stage.cloud.faults_struck(), 1);
        let head = stage.ledger().await.head().await.unwrap();
        assert_eq!(head.lease, None, "the {nth}. transaction");
    }
}

#[tokio::test]
async fn while_the_site_is_between_two_builds_every_refusal_says_so() {
    let stage = Stage::new().await;
    let one = stage.deploy("one", &stage.upload("site.zip", &first())).await;
    // The run writes one file of two.
    let event = stage.upload("site.zip", &files([("index.html", "two"), ("a.txt", "two")]));
    let denied = Fault { times: usize::MAX, ..Fault::on("PutObject", Does::refuse(403, "AccessDenied")) };
    stage.cloud.fault(Fault { key: Some("index.html".to_owned()), ..denied });
    stage.invoke("two", &event).await.into_answer().unwrap_err();
    stage.cloud.clear_faults();

    let wrong = stage.clone().with("ARCHIVE_ROOT", "wrong/");
    for (request_id, event) in
        [("two", &event), ("two", &event), ("three", &stage.upload("site.zip", &files([("index.html", "three")])))]
    {
        let failure = wrong.invoke(request_id, event).await.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "ArchiveRejected");
        let way_back = format!("between two builds: send {{\"rollback\":\"{}\"}}", one.id.as_ref().unwrap());
        assert!(failure.error_message.contains(&way_back), "{request_id}: {}", failure.error_message);
    }
}
