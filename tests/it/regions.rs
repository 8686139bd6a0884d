//! Buckets in another region than the function.

use chrono::TimeDelta;
use dropship::report::{Outcome, Progress};
use serde_json::json;
use standins::{Does, Fault, Headers, Misdirected};

use crate::build::{Files, files, noise};
use crate::stage::{DISTRIBUTION, LIVE, STAGING, Stage, report};

/// Returns a site with objects that are written in all the ways that there are.
fn site(text: &str) -> Files {
    let rules = "/assets/*\n  Cache-Control: public, max-age=31536000, immutable\n/copied.txt\n  X-Amz-Meta-Text: ";
    let mut files = files([
        ("_headers", &format!("{rules}{text}\n")),
        ("copied.txt", "only its headers change"),
        (&format!("assets/{text}.js"), "script"),
        ("index.html", text),
        ("kept.txt", "kept"),
    ]);
    files.insert("large.bin".to_owned(), noise(17 << 20, text.len() as u64));
    files
}

/// Returns how many calls were sent to a wrong region.
fn misdirected(stage: &Stage) -> usize {
    stage.cloud.calls().iter().filter(|call| matches!(call.status, Some(301 | 400))).count()
}

#[tokio::test]
async fn a_live_bucket_in_another_region_is_found() {
    for answer in [Misdirected::Redirect, Misdirected::Malformed, Misdirected::Illegal] {
        let stage = Stage::new().await.with("RETAIN_REMOVED_DAYS", "7");
        stage.cloud.set_region(LIVE, "eu-west-1", answer);
        let warm = stage.site("warm").await;
        // What one request cannot write goes up in parts.
        let refused = Does::refuse(500, "InternalError");
        stage.cloud.fault(Fault { key: Some("large.bin".to_owned()), ..Fault::on("PutObject", refused) });
        let event = stage.upload("1.zip", &site("one"));
        report(stage.invoke_on(&warm, "one", &event, &Progress::default()).await);
        assert_eq!((stage.count("HeadBucket"), misdirected(&stage)), (1, 3), "{answer:?}");

        // A warm function knows the region.
        stage.cloud.clear_calls();
        // Someone else has written, so the object is inspected.
        stage.cloud.put_object(LIVE, "kept.txt", "foreign", Headers::of_type("text/plain"));
        let event = stage.upload("2.zip", &site("second"));
        let second = report(stage.invoke_on(&warm, "two", &event, &Progress::default()).await);
        assert_eq!((second.changed, second.new, second.headers, second.retained, second.drift), (3, 1, 1, 1, 1));
        assert_eq!((stage.count("HeadBucket"), misdirected(&stage)), (0, 0), "{answer:?}");
        assert_eq!(stage.cloud.edge(DISTRIBUTION).get("/index.html").body, "second");

        // The first call of a sweep to the bucket is a delete.
        stage.cloud.clear_calls();
        stage.pass(TimeDelta::days(8));
        let swept = stage.deploy("sweep", &json!({"sweep": true})).await;
        assert_eq!((swept.outcome, swept.deleted), (Outcome::Swept, 1), "{answer:?}");
        assert_eq!((stage.count("HeadBucket"), misdirected(&stage)), (1, 2), "{answer:?}");
    }
}

#[tokio::test]
async fn a_bucket_in_the_functions_region_costs_no_request_to_find() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &site("one"))).await;
    // A first deployment also looks for manifests in the staging bucket.
    assert_eq!((stage.count("HeadBucket"), stage.count("ListObjectsV2")), (0, 2));
}

#[tokio::test]
async fn a_region_that_s3_does_not_tell_is_refused_in_plain_words() {
    let stage = Stage::new().await;
    stage.cloud.set_region(LIVE, "af-south-1", Misdirected::Untold);
    let event = stage.upload("1.zip", &site("one"));
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws");
    insta::assert_snapshot!(failure.error_message, @"listing s3://live/ failed: IllegalLocationConstraintException: The af-south-1 location constraint is incompatible for the region specific endpoint this request was sent to. (the bucket is in another region than the function: install the stack in the bucket's)");
}

#[tokio::test]
async fn a_staging_bucket_in_another_region_is_refused_in_plain_words() {
    let stage = Stage::new().await;
    let event = stage.upload("1.zip", &site("one"));
    stage.cloud.set_region(STAGING, "eu-west-1", Misdirected::Redirect);
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws");
    insta::assert_snapshot!(failure.error_message, @"reading s3://staging/1.zip failed: PermanentRedirect: The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint. (the bucket is in another region than the function: install the stack in the bucket's)");
    let handwritten = json!({"Records": [{"s3": {"bucket": {"name": STAGING}, "object": {"key": "1.zip"}}}]});
    let failure = stage.invoke("two", &handwritten).await.into_answer().unwrap_err();
    insta::assert_snapshot!(failure.error_message, @"reading s3://staging/1.zip failed: the answer has status 301 (the bucket is in another region than the function: install the stack in the bucket's)");
}
