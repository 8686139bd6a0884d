//! Whole deployments against the embedded services: counts, bytes, calls.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use dropship::deploy::Invocation;
use dropship::handler::{handle, owed_seconds};
use dropship::metrics::Moment;
use dropship::report::{Outcome, Progress};
use serde_json::{Value, json};

use crate::stage::{DISTRIBUTION, Files, LIVE, STAGING, Stage, TABLE, files, shared, unzipped, zipped};
use crate::support::{CLIENT, Call, Does, Etags, Fault, Headers, Service, Waiting};

/// What the live bucket may be asked for without being changed.
const READS: [&str; 3] = ["GetObject", "HeadObject", "ListObjectsV2"];

fn first() -> Files {
    files([
        ("index.html", "<script src=/app.1.js></script>"),
        ("docs/index.html", "docs"),
        ("app.1.js", "one"),
        ("logo.svg", "<svg/>"),
    ])
}

fn second() -> Files {
    files([
        ("index.html", "<script src=/app.2.js></script>"),
        ("docs/index.html", "docs"),
        ("app.2.js", "two"),
        ("logo.svg", "<svg/>"),
    ])
}

fn items(stage: &Stage) -> BTreeSet<String> {
    stage.cloud.invalidations(DISTRIBUTION).into_iter().flat_map(|it| it.items).collect()
}

pub fn writes_to_live(stage: &Stage) -> Vec<String> {
    let calls = stage.cloud.calls().into_iter();
    calls
        .filter(|call| call.bucket.as_deref() == Some(LIVE) && !READS.contains(&call.operation.as_str()))
        .map(|call| format!("{} {}", call.operation, call.key.unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn a_first_deployment_puts_everything_and_invalidates_nothing() {
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &first());
    let report = stage.deploy("request", &event).await;
    assert_eq!(report.outcome, Outcome::Deployed);
    assert_eq!((report.run, report.new, report.changed, report.deleted, report.kept), (1, 4, 0, 0, 0));
    assert_eq!(report.invalidations, []);
    stage.assert_live(&first());
}

#[tokio::test]
async fn an_update_puts_pages_last_and_deletes_after_the_invalidation() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("site.zip", &first())).await;
    let event = stage.upload("site.zip", &second());
    stage.cloud.clear_calls();
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.new, report.changed, report.deleted, report.kept, report.drift), (1, 1, 1, 2, 0));
    stage.assert_live(&second());
    assert_eq!(items(&stage), ["/", "/app.1.js", "/index.html"].map(str::to_owned).into());

    let calls = stage.cloud.calls();
    let order: Vec<&str> = calls
        .iter()
        .filter_map(|call| match (call.operation.as_str(), call.key.as_deref()) {
            ("PutObject", Some("app.2.js")) => Some("asset"),
            ("PutObject", Some("index.html")) => Some("page"),
            ("CreateInvalidation", _) => Some("invalidation"),
            ("DeleteObjects", _) => Some("delete"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["asset", "page", "invalidation", "delete", "invalidation"]);
    let first_put = calls.iter().position(|call| call.key.as_deref() == Some("app.2.js"));
    let recorded = calls.iter().filter(|call| call.operation == "TransactWriteItems").nth(1);
    assert!(recorded.map(|call| call.sequence) < first_put.map(|at| calls[at].sequence), "owed before written");
}

#[tokio::test]
async fn the_same_event_again_reads_no_entry_and_writes_nothing() {
    let stage = Stage::new().await;
    let large = files([("index.html", "page")])
        .into_iter()
        .chain([("noise.bin".to_owned(), std::iter::repeat_with(|| fastrand::u8(..)).take(1 << 20).collect())]);
    let event = stage.upload("site.zip", &large.collect());
    stage.deploy("one", &event).await;
    stage.cloud.clear_calls();
    let report = stage.deploy("two", &event).await;
    assert_eq!(report.outcome, Outcome::Unchanged);
    assert_eq!(report.kept, 2);
    assert_eq!(writes_to_live(&stage), [] as [String; 0]);
    assert_eq!(stage.count("HeadObject"), 0, "the manifest settles every object");
    assert_eq!(stage.cloud.invalidations(DISTRIBUTION), []);
    assert!(report.bytes_read <= 256 << 10, "{} bytes read", report.bytes_read);
}

#[tokio::test]
async fn a_rebuild_with_the_same_contents_is_unchanged() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let report = stage.deploy("two", &stage.upload("2.zip", &first())).await;
    assert_eq!((report.outcome, report.run), (Outcome::Unchanged, 2));
}

#[tokio::test]
async fn a_lost_manifest_costs_one_request_an_object_and_changes_nothing() {
    for etags in [Etags::Md5, Etags::Opaque] {
        let stage = Stage::with_etags(etags).await;
        let event = stage.upload("site.zip", &first());
        stage.deploy("one", &event).await;
        let manifests: Vec<String> =
            stage.cloud.objects(STAGING).into_keys().filter(|key| key.starts_with(".dropship/")).collect();
        assert_eq!(manifests.len(), 1, "{manifests:?}");
        stage.cloud.delete_object(STAGING, &manifests[0]);
        stage.cloud.clear_calls();
        let report = stage.deploy("two", &event).await;
        assert_eq!((report.outcome, report.kept), (Outcome::Unchanged, 4));
        assert_eq!(stage.count("HeadObject"), 4);
        assert_eq!(writes_to_live(&stage), [] as [String; 0]);
    }
}

#[tokio::test]
async fn objects_put_by_other_tools_are_compared_by_their_md5_and_get_their_headers() {
    let stage = Stage::new().await;
    let typed = Headers { content_type: Some("text/html".to_owned()), ..Headers::default() };
    stage.cloud.put_object(LIVE, "index.html", "<script src=/app.1.js></script>", typed.clone());
    stage.cloud.put_object(LIVE, "docs/index.html", "DOCS", typed);
    let report = stage.deploy("one", &stage.upload("site.zip", &first())).await;
    assert_eq!((report.new, report.changed, report.headers, report.kept), (2, 1, 1, 0));
    stage.assert_live(&first());
    let index = &stage.cloud.objects(LIVE)["index.html"];
    assert_eq!(index.headers.content_type.as_deref(), Some("text/html; charset=utf-8"));
    assert!(index.headers.cache_control.as_deref().is_some_and(|value| value.contains("s-maxage=86400")));
}

#[tokio::test]
async fn another_cache_control_copies_exactly_the_objects_it_concerns() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let event = stage.upload("2.zip", &first());
    stage.cloud.clear_calls();
    let stage = stage.with("CACHE_CONTROL_ASSETS", "public, max-age=31536000, immutable");
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.headers, report.kept, report.bytes_written), (2, 2, 0));
    assert_eq!((stage.count("CopyObject"), stage.count("PutObject")), (2, 2), "two manifests are put");
    assert_eq!(items(&stage), ["/app.1.js", "/logo.svg"].map(str::to_owned).into());
    let again = stage.deploy("three", &stage.upload("3.zip", &first())).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn what_others_changed_added_and_removed_is_repaired_and_counted() {
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &first());
    stage.deploy("one", &event).await;
    stage.cloud.put_object(LIVE, "logo.svg", "<SVG/>", Headers::default());
    stage.cloud.put_object(LIVE, "stray.txt", "stray", Headers::default());
    stage.cloud.delete_object(LIVE, "app.1.js");
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.outcome, report.drift), (Outcome::Deployed, 3));
    assert_eq!((report.new, report.changed, report.deleted), (1, 1, 1));
    stage.assert_live(&first());
    assert_eq!(items(&stage), ["/app.1.js", "/logo.svg", "/stray.txt"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_rejected_archive_changes_nothing_and_is_refused_again_without_being_read() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let mut archive = zipped(&first());
    let at = archive.windows(8).rposition(|window| window == b"logo.svg").unwrap();
    archive[at..at + 8].copy_from_slice(b"../o.svg");
    let event = stage.upload_bytes("2.zip", archive);
    for _ in 0..2 {
        stage.cloud.clear_calls();
        let failure = stage.invoke("two", &event).await.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "ArchiveRejected");
        assert!(failure.error_message.contains("../o.svg"), "{}", failure.error_message);
        assert_eq!(writes_to_live(&stage), [] as [String; 0]);
    }
    assert!(
        stage.count("GetObject") <= 1,
        "the second time nothing is waited for but the ledger: the index is begun beside it at most"
    );
    stage.assert_live(&first());
}

#[tokio::test]
async fn an_archive_whose_version_is_gone_says_what_to_do() {
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &first());
    let version = event["Records"][0]["s3"]["object"]["versionId"].as_str().unwrap().to_owned();
    stage.cloud.expire_version(STAGING, "site.zip", &version);
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "ArchiveGone");
    assert!(failure.error_message.contains("upload it again"), "{}", failure.error_message);
}

#[tokio::test]
async fn a_replay_of_a_rejected_archive_reads_nothing_and_changes_nothing() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let mut event = stage.upload_bytes("2.zip", b"no zip".to_vec());
    let failure = stage.invoke("two", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "ArchiveRejected");
    let records = records(&stage).await;
    let id = records.iter().find(|it| it.contains_key("rejection")).unwrap()["item"]
        .as_s()
        .unwrap()
        .trim_start_matches("deployment#")
        .to_owned();

    stage.cloud.clear_calls();
    event["options"] = json!({"replay": true});
    for event in [event, json!({"rollback": id})] {
        let again = stage.invoke("three", &event).await.into_answer();
        assert_eq!(again.unwrap_err().error_message, failure.error_message);
    }
    let calls = stage.cloud.calls();
    // The index is read beside the ledger, whatever it then says.
    let is_reading = |call: &Call| {
        call.service == Service::DynamoDb || call.operation == "GetObject" && call.bucket.as_deref() == Some(STAGING)
    };
    assert!(calls.iter().all(is_reading), "{calls:?}");
    assert_eq!((stage.count("TransactWriteItems"), stage.count("PutItem")), (0, 0));
}

#[tokio::test]
async fn a_rollback_to_an_expired_archive_says_what_to_do_and_changes_nothing() {
    let stage = Stage::new().await;
    let one = stage.upload("site.zip", &first());
    stage.deploy("one", &one).await;
    stage.deploy("two", &stage.upload("site.zip", &second())).await;
    let version = one["Records"][0]["s3"]["object"]["versionId"].as_str().unwrap();
    stage.cloud.expire_version(STAGING, "site.zip", version);
    stage.pass(TimeDelta::minutes(6));
    let before = items_of_ledger(&stage).await;
    stage.cloud.clear_calls();
    for event in [&json!({"rollback": "previous"}), &one] {
        let failure = stage.invoke("back", event).await.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "ArchiveGone");
        for part in ["site.zip", version, "upload it again"] {
            assert!(failure.error_message.contains(part), "{}", failure.error_message);
        }
    }
    assert_eq!(items_of_ledger(&stage).await, before);
    assert_eq!(writes_to_live(&stage), [] as [String; 0]);
    stage.assert_live(&second());
    let third = stage.upload("site.zip", &first());
    assert_eq!(stage.deploy("three", &third).await.outcome, Outcome::Deployed);
}

#[tokio::test]
async fn what_is_owed_is_told_with_its_age_until_it_is_sent() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let owed = async || owed_seconds(&stage.site(CLIENT).await, &Progress::default(), stage.now()).await;
    assert_eq!(owed().await, Some(0));
    stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) });
    let event = stage.upload("2.zip", &second());
    let failed = stage.invoke("two", &event).await.into_answer();
    assert_eq!(failed.unwrap_err().error_type, "InvalidationOwed");
    stage.pass(TimeDelta::minutes(16));
    assert_eq!(owed().await, Some(960));
    stage.cloud.clear_faults();
    stage.deploy("two", &event).await;
    assert_eq!(owed().await, Some(0));
}

/// Invokes a cold function that says what it has come to know.
async fn told(stage: &Stage, request_id: &str, event: &Value) -> Progress {
    let progress = Progress::default();
    let invocation = Invocation {
        request_id,
        deadline: stage.now() + TimeDelta::minutes(15),
        clock: &|| stage.now(),
        progress: &progress,
        pause: std::time::Duration::from_millis(5),
    };
    handle(&stage.site(CLIENT).await, event, &invocation).await;
    progress
}

#[tokio::test]
async fn the_ledger_is_asked_for_the_age_of_what_is_owed_only_where_no_run_knows() {
    let stage = Stage::new().await;
    let one = stage.upload("1.zip", &first());
    stage.deploy("one", &one).await;
    let two = stage.upload("2.zip", &second());
    let recorded_at = stage.now();
    let refused = Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) };
    stage.cloud.fault(refused);
    let failed = told(&stage, "two", &two).await;
    assert_eq!(failed.oldest_owed(), Some(Some(recorded_at)));
    stage.pass(TimeDelta::minutes(16));
    let swept = told(&stage, "sweep", &json!({"sweep": true})).await;
    assert_eq!(swept.oldest_owed(), Some(Some(recorded_at)));
    // Nobody tells a distribution that is not configured any more: it stays owed, and is not forgotten.
    let without = stage.clone().with("DISTRIBUTION_IDS", "");
    let elsewhere = told(&without, "two", &two).await;
    assert_eq!(elsewhere.oldest_owed(), Some(Some(recorded_at)));

    stage.cloud.clear_faults();
    let sent = told(&stage, "again", &two).await;
    assert_eq!(sent.oldest_owed(), Some(None));
    stage.cloud.clear_calls();
    let site = stage.site(CLIENT).await;
    for (progress, age) in [(&failed, 960), (&sent, 0)] {
        let told = owed_seconds(&site, progress, stage.now()).await;
        assert_eq!(told, Some(age));
    }
    assert_eq!(stage.count("Query"), 0);

    let duplicate = told(&stage, "one", &one).await;
    assert_eq!(duplicate.oldest_owed(), None);
    stage.cloud.clear_calls();
    assert_eq!(owed_seconds(&site, &duplicate, stage.now()).await, Some(0));
    assert_eq!(stage.count("Query"), 1);
}

/// The calls so far to DynamoDB and CloudFront, counted by operation.
fn protocol(stage: &Stage) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for call in stage.cloud.calls() {
        if call.service != Service::S3 {
            *counts.entry(call.operation).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}

#[tokio::test]
async fn a_run_asks_ledger_and_distribution_for_no_more_than_it_must_and_nothing_after_its_end() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let two = stage.upload("2.zip", &second());
    stage.cloud.clear_calls();
    stage.deploy("two", &two).await;
    let counted = |counts: &[(&str, usize)]| -> Vec<(String, usize)> {
        let owned = counts.iter();
        owned.map(|(name, n)| ((*name).to_owned(), *n)).collect()
    };
    assert_eq!(
        protocol(&stage),
        counted(&[
            ("CreateInvalidation", 2),
            ("GetDistribution", 1),
            ("Query", 1),
            ("TransactGetItems", 1),
            ("TransactWriteItems", 3),
            ("UpdateItem", 2),
        ])
    );
    let calls = stage.cloud.calls();
    let last = calls.last().unwrap();
    assert_eq!(last.operation, "TransactWriteItems");
    assert!(
        calls.iter().all(|call| call.sequence == last.sequence || call.ended_at < Some(last.sequence)),
        "the end waits for everything"
    );
    let all = |operation: &str| {
        let of = calls.iter().filter(|call| call.operation == operation);
        of.cloned().collect::<Vec<Call>>()
    };
    for (marked, sent) in all("UpdateItem").iter().zip(all("CreateInvalidation")) {
        assert!(marked.ended_at < Some(sent.sequence), "a batch is marked before it is offered");
    }
    let ledger = stage.site("judge").await.clients.ledger;
    assert_eq!(ledger.owed().await.unwrap(), []);

    stage.cloud.clear_calls();
    let again = stage.deploy("again", &two).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(
        protocol(&stage),
        counted(&[("GetDistribution", 1), ("Query", 1), ("TransactGetItems", 1), ("TransactWriteItems", 2),])
    );
    let of_s3 = stage.cloud.calls().into_iter();
    let of_s3 = of_s3.filter(|call| call.service == Service::S3).count();
    assert_eq!(of_s3, 3, "index, manifest and listing");
}

#[tokio::test]
async fn a_conflict_in_the_last_wave_is_covered_by_the_batches_that_are_marked_beside_it() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let event = stage.upload("2.zip", &second());
    let mut is_written = false;
    let foreign_write = |waiting: &[Waiting]| {
        let call = &waiting[0].call;
        let is_page = call.operation == "PutObject" && call.key.as_deref() == Some("index.html");
        if !is_written && is_page {
            let headers = Headers::of_type("text/plain");
            stage.cloud.put_object(LIVE, "index.html", "foreign", headers);
            is_written = true;
        }
        0
    };
    let report = stage.deploy_by_call("two", &event, foreign_write).await;
    assert_eq!((report.drift, report.invalidations.len()), (1, 2));
    stage.assert_live(&second());
}

#[tokio::test]
async fn an_outdated_manifest_is_removed_by_the_next_run_that_writes_one() {
    let stage = Stage::new().await;
    let manifests = || -> Vec<String> {
        let keys = stage.cloud.objects(STAGING).into_keys();
        keys.filter(|key| key.starts_with(".dropship/")).collect()
    };
    let ledger = stage.site("judge").await.clients.ledger;
    let builds = [first(), second(), first(), second()];
    for (number, build) in builds.iter().enumerate() {
        let event = stage.upload(&format!("{number}.zip"), build);
        stage.deploy(&format!("run {number}"), &event).await;
        let head = ledger.head().await.unwrap();
        let mut known = [head.outdated, head.manifest.into_iter().collect()].concat();
        known.sort();
        assert_eq!(manifests(), known, "no manifest is out of sight");
        assert_eq!(known.len(), 2.min(number + 1));
    }
    // One that cannot be removed is left, and not tried for ever.
    stage.cloud.fault(Fault { times: usize::MAX, ..Fault::on("DeleteObject", Does::refuse(403, "AccessDenied")) });
    let event = stage.upload("refused.zip", &first());
    stage.deploy("refused", &event).await;
    assert_eq!(ledger.head().await.unwrap().outdated.len(), 1);
    assert_eq!(manifests().len(), 3);
}

#[tokio::test]
async fn the_next_listing_is_split_where_the_pages_of_a_plain_one_would_end() {
    let stage = Stage::new().await;
    let build: Files = (0..1_001).map(|n| (format!("{n:04}.txt"), b"text".to_vec())).collect();
    let event = stage.upload("site.zip", &build);
    stage.deploy("one", &event).await;
    let ledger = stage.site("judge").await.clients.ledger;
    assert_eq!(ledger.head().await.unwrap().list_at, ["0999.txt"]);
    stage.cloud.clear_calls();
    let again = stage.deploy("again", &event).await;
    assert_eq!((again.outcome, again.kept), (Outcome::Unchanged, 1_001));
    assert_eq!(stage.count("ListObjectsV2"), 2, "one for each page");
}

#[tokio::test]
async fn records_expire_after_history_days_and_head_and_owed_batches_never() {
    let stage = Stage::new().await.with("HISTORY_DAYS", "30");
    let early = stage.upload("0.zip", &second());
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    assert_eq!(stage.deploy("late", &early).await.outcome, Outcome::Superseded);
    let broken = stage.upload_bytes("2.zip", b"no zip".to_vec());
    stage.invoke("two", &broken).await;
    stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) });
    let event = stage.upload("3.zip", &second());
    let failure = stage.invoke("three", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "InvalidationOwed");

    let (mut head, mut owed) = (0, 0);
    for item in items_of_ledger(&stage).await {
        let name = item["item"].as_s().unwrap().clone();
        head += usize::from(name == "head");
        owed += usize::from(name.starts_with("owed#"));
        if !name.starts_with("deployment#") {
            assert!(!item.contains_key("expires_at"), "{name}");
        }
    }
    assert!((head, owed) >= (1, 1), "{head} heads, {owed} owed batches");
    let expiries: Vec<i64> =
        records(&stage).await.iter().map(|it| it["expires_at"].as_n().unwrap().parse().unwrap()).collect();
    assert_eq!(expiries.len(), 4);
    let now = stage.now().timestamp();
    let days = 30 * 24 * 60 * 60;
    assert!(expiries.iter().all(|at| (now - 5..=now).contains(&(at - days))), "{expiries:?}");
}

type Item = HashMap<String, AttributeValue>;

/// Everything in the ledger, by the items' names.
async fn items_of_ledger(stage: &Stage) -> Vec<Item> {
    let sdk = stage.cloud.sdk_config_for("reader").await;
    let scan = aws_sdk_dynamodb::Client::new(&sdk).scan().table_name(TABLE);
    let mut items = scan.send().await.unwrap().items.unwrap();
    items.sort_by_key(|item| item["item"].as_s().unwrap().clone());
    items
}

/// The items of the deployments.
async fn records(stage: &Stage) -> Vec<Item> {
    let mut items = items_of_ledger(stage).await;
    items.retain(|item| item["item"].as_s().unwrap().starts_with("deployment#"));
    items
}

#[tokio::test]
async fn a_plan_that_deletes_nearly_everything_is_refused_until_it_is_allowed() {
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
    assert_eq!(writes_to_live(&stage), [] as [String; 0]);
    event["options"] = json!({"allowLargeDelete": true});
    let report = stage.deploy("three", &event).await;
    assert_eq!((report.new, report.deleted), (4, 200));
    stage.assert_live(&first());
}

#[tokio::test]
async fn a_dry_run_names_keys_and_items_and_changes_nothing() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let mut event = stage.upload("2.zip", &second());
    event["options"] = json!({"dryRun": true});
    stage.cloud.clear_calls();
    let report = stage.deploy("two", &event).await;
    assert_eq!(report.outcome, Outcome::Planned);
    let plan = serde_json::to_string_pretty(&report.plan.unwrap()).unwrap();
    insta::assert_snapshot!(plan, @r#"
    {
      "new": [
        "app.2.js"
      ],
      "changed": [
        "index.html"
      ],
      "headers": [],
      "deleted": [
        "app.1.js"
      ],
      "items": [
        {
          "distributionId": "E1EXAMPLE",
          "items": [
            "/",
            "/index.html",
            "/app.1.js"
          ]
        }
      ]
    }
    "#);
    let changes: Vec<_> = stage
        .cloud
        .calls()
        .into_iter()
        .map(|call| call.operation)
        .filter(|operation| {
            !READS.contains(&operation.as_str())
                && !["GetItem", "Query", "GetDistribution"].contains(&operation.as_str())
        })
        .collect();
    assert_eq!(changes, [] as [String; 0]);
    stage.assert_live(&first());
}

#[tokio::test]
async fn the_wrong_distribution_is_refused_before_anything_is_written() {
    let stage = Stage::new().await;
    stage.cloud.create_distribution(crate::support::Distribution::of("E2OTHER", "another-bucket"));
    let event = stage.upload("site.zip", &first());
    let failure =
        stage.clone().with("DISTRIBUTION_IDS", "E2OTHER").invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "WrongDistribution");
    assert!(stage.cloud.objects(LIVE).is_empty());
    // The lease was given back: with the right distribution the same event goes through at once.
    assert_eq!(stage.deploy("two", &event).await.outcome, Outcome::Deployed);
}

#[tokio::test]
async fn a_site_under_a_prefix_leaves_its_neighbours_alone() {
    let stage = Stage::new().await.with("LIVE_PREFIX", "www").with("DISTRIBUTION_IDS", "E2PREFIX");
    let behind_www = crate::support::Distribution::of("E2PREFIX", LIVE).with_origin_path("/www");
    stage.cloud.create_distribution(behind_www);
    stage.cloud.put_object(LIVE, "neighbour.html", "neighbour", Headers::default());
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    stage.deploy("two", &stage.upload("2.zip", &second())).await;
    let keys: Vec<String> = stage.cloud.objects(LIVE).into_keys().collect();
    assert_eq!(keys, ["neighbour.html", "www/app.2.js", "www/docs/index.html", "www/index.html", "www/logo.svg"]);
    let items: BTreeSet<String> = stage.cloud.invalidations("E2PREFIX").into_iter().flat_map(|it| it.items).collect();
    assert_eq!(items, ["/", "/app.1.js", "/index.html"].map(str::to_owned).into());
}

#[tokio::test]
async fn large_entries_go_up_in_parts_with_the_archives_own_checksum() {
    let stage = Stage::new().await;
    let mut noise = vec![0; 20 << 20];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    let lines: Vec<u8> = (0..2_000_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let build: Files = [("noise.bin".to_owned(), noise), ("lines.txt".to_owned(), lines)].into();
    let report = stage.deploy("one", &stage.upload("site.zip", &build)).await;
    assert_eq!(report.new, 2);
    stage.assert_live(&build);
    assert_eq!(stage.count("CreateMultipartUpload"), 2);
    assert!(stage.cloud.uploads(LIVE).is_empty(), "no upload is left open");
    let crc32 = stage.cloud.objects(LIVE)["noise.bin"].checksum.crc32.clone();
    assert!(crc32.is_some_and(|crc32| crc32.ends_with('=')), "S3 keeps the CRC-32 of the whole");
    // Their ETags are no MD5, and the manifest settles them all the same.
    let again = stage.deploy("two", &stage.upload("again.zip", &build)).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
}

/// A site with one stored file of 9 MiB.
fn with_a_video() -> (Files, Vec<u8>) {
    let mut video = vec![0; 9 << 20];
    fastrand::Rng::with_seed(9).fill(&mut video);
    let files: Files =
        [("index.html".to_owned(), b"<video src=tour.mp4>".to_vec()), ("tour.mp4".to_owned(), video)].into();
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, body) in &files {
        archive.start_file(&**name, stored).unwrap();
        std::io::Write::write_all(&mut archive, body).unwrap();
    }
    (files, archive.finish().unwrap().into_inner())
}

#[tokio::test]
async fn s3_copies_a_large_stored_entry_without_its_bytes_being_read() {
    let stage = Stage::new().await;
    let (files, archive) = with_a_video();
    let report = stage.deploy("one", &stage.upload_bytes("1.zip", archive)).await;
    stage.assert_live(&files);
    assert_eq!(stage.count("UploadPartCopy"), 1);
    assert_eq!(stage.count("UploadPart"), 0);
    assert!(report.bytes_read < 1 << 20, "{}", report.bytes_read);
    assert_eq!(report.bytes_written, files["index.html"].len() as u64);
}

#[tokio::test]
async fn s3_refuses_a_copied_entry_whose_bytes_are_not_what_the_archive_says() {
    let stage = Stage::new().await;
    let (_, mut archive) = with_a_video();
    archive[5 << 20] ^= 1;
    let event = stage.upload_bytes("1.zip", archive);
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "ArchiveRejected");
    assert!(failure.error_message.contains("entry `tour.mp4` is corrupt"), "{}", failure.error_message);
    assert_eq!(stage.cloud.uploads(LIVE).len(), 0);
    assert!(stage.cloud.objects(LIVE).is_empty());
}

#[tokio::test]
async fn several_records_are_deployed_in_upload_order_and_one_failing_hides_none() {
    let stage = Stage::new().await;
    let one = stage.upload("1.zip", &first());
    let broken = stage.upload_bytes("2.zip", b"no zip".to_vec());
    let three = stage.upload("3.zip", &second());
    let record = |event: &Value| event["Records"][0].clone();
    let event = json!({"Records": [record(&three), record(&broken), record(&one)]});
    let handled = stage.invoke("all", &event).await;
    let moment = Moment { now: stage.now(), owed_seconds: Some(0) };
    let lines: Vec<Value> = handled.log_lines(moment).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes: Vec<&str> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["deployed", "failed", "deployed"]);
    let failure = handled.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "ArchiveRejected");
    assert!(failure.error_message.starts_with("2.zip: "), "{}", failure.error_message);
    stage.assert_live(&second());
}

#[tokio::test]
async fn a_saved_event_rolls_back_and_the_next_newer_upload_goes_live() {
    let stage = Stage::new().await;
    let one = stage.upload("site.zip", &first());
    stage.deploy("one", &one).await;
    stage.deploy("two", &stage.upload("site.zip", &second())).await;
    assert_eq!(stage.deploy("duplicate", &one).await.outcome, Outcome::Duplicate);
    stage.assert_live(&second());

    stage.pass(TimeDelta::minutes(6));
    let report = stage.deploy("saved", &one).await;
    assert_eq!((report.outcome, report.run), (Outcome::RolledBack, 3));
    stage.assert_live(&first());

    let third = files([("index.html", "third")]);
    assert_eq!(stage.deploy("three", &stage.upload("site.zip", &third)).await.outcome, Outcome::Deployed);
    stage.assert_live(&third);
}

#[tokio::test]
async fn rollback_to_previous_and_to_an_id_read_the_exact_version() {
    let stage = Stage::new().await;
    // A hand-written event names no version; the ledger remembers which one it was.
    let uploaded = stage.upload("site.zip", &first());
    let by_hand = json!({"Records": [{"s3": {"bucket": {"name": STAGING}, "object": {"key": "site.zip"}}}]});
    let one = stage.deploy("one", &by_hand).await;
    assert_eq!(
        one.archive.unwrap().version_id.as_deref(),
        uploaded["Records"][0]["s3"]["object"]["versionId"].as_str()
    );
    stage.pass(TimeDelta::days(400));
    let two = stage.deploy("two", &stage.upload("site.zip", &second())).await;
    assert_eq!(two.outcome, Outcome::Deployed);

    let report = stage.deploy("back", &json!({"rollback": "previous"})).await;
    assert_eq!(report.outcome, Outcome::RolledBack);
    stage.assert_live(&first());
    // Lambda's retry of the rollback goes nowhere else.
    assert_eq!(stage.deploy("back", &json!({"rollback": "previous"})).await.outcome, Outcome::Unchanged);
    stage.assert_live(&first());

    let report = stage.deploy("forth", &json!({"rollback": two.id.unwrap().as_str()})).await;
    assert_eq!(report.outcome, Outcome::RolledBack);
    stage.assert_live(&second());
    let failure = stage.invoke("nowhere", &json!({"rollback": "20200101T000000Z-000000000000"})).await.into_answer();
    assert_eq!(failure.unwrap_err().error_type, "BadEvent");
}

#[tokio::test]
async fn a_build_whose_repair_was_overtaken_can_still_be_rolled_back_to() {
    let stage = Stage::new().await;
    let one = stage.upload("site.zip", &first());
    stage.deploy("one", &one).await;
    stage.cloud.delete_object(LIVE, "logo.svg");
    let late = stage.invoke_as("client", "again", &one, TimeDelta::seconds(15)).await;
    let failure = late.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Unfinished");
    stage.deploy("two", &stage.upload("site.zip", &second())).await;
    let retried = stage.deploy("again", &one).await;
    assert_eq!(retried.outcome, Outcome::Superseded);

    let report = stage.deploy("back", &json!({"rollback": "previous"})).await;
    assert_eq!(report.outcome, Outcome::RolledBack);
    stage.assert_live(&first());
}

#[tokio::test]
async fn at_the_deadline_a_run_keeps_what_it_did_and_the_retry_goes_on() {
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &first());
    let late = stage.invoke_as("client", "one", &event, TimeDelta::seconds(15)).await.into_answer().unwrap_err();
    assert_eq!(late.error_type, "Unfinished");
    assert!(stage.cloud.objects(LIVE).is_empty(), "no transfer begins in the last 20 seconds");
    let report = stage.deploy("one", &event).await;
    assert_eq!((report.outcome, report.run), (Outcome::Deployed, 1));
    stage.assert_live(&first());
}

#[tokio::test]
async fn a_run_cut_short_in_its_midst_is_continued_and_not_started_over() {
    let stage = Stage::new().await;
    let build: Files = (0..600)
        .map(|n| (format!("{n}.bin"), std::iter::repeat_with(|| fastrand::u8(..)).take(8_000).collect()))
        .collect();
    let archive = zipped(&build);
    let size = archive.len() as u64;
    let event = stage.upload_bytes("site.zip", archive);

    let puts = || {
        stage
            .cloud
            .calls()
            .iter()
            .filter(|call| call.operation == "PutObject" && call.bucket.as_deref() == Some(LIVE))
            .count()
    };
    let site = stage.site("client").await;
    let deadline = stage.now() + TimeDelta::minutes(15);
    // The deadline comes near while the run is writing.
    let clock = || {
        if puts() < 100 { stage.now() } else { deadline - TimeDelta::seconds(10) }
    };
    let invocation = Invocation {
        request_id: "one",
        deadline,
        clock: &clock,
        progress: &Progress::default(),
        pause: std::time::Duration::from_millis(5),
    };
    let failure = handle(&site, &event, &invocation).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Unfinished", "{}", failure.error_message);
    let written = puts();
    assert!((100..600).contains(&written), "{written} objects written before the deadline");
    assert_eq!(stage.cloud.objects(LIVE).len(), written);

    stage.cloud.clear_calls();
    let report = stage.deploy("one", &event).await;
    assert_eq!((report.outcome, report.run, report.kept), (Outcome::Deployed, 1, written));
    assert_eq!(puts(), 600 - written, "what was written is not written again");
    assert_eq!(stage.count("HeadObject"), 0, "nor asked for: the manifest was kept");
    let share = (600 - written) as u64 * size / 600;
    assert!(report.bytes_read < share + share / 10 + (512 << 10), "{} bytes read for {share}", report.bytes_read);
    stage.assert_live(&build);
}

#[tokio::test]
async fn two_releases_of_a_real_site_cost_what_changed() {
    let Some(folder) = shared("sites") else {
        return;
    };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let (old, new) = (read("streamlit-1.48.0.zip"), read("streamlit-1.48.1.zip"));
    let (old_files, new_files) = (unzipped(&old), unzipped(&new));
    let stage = Stage::new().await;

    let report = stage.deploy("old", &stage.upload_bytes("old.zip", old)).await;
    assert_eq!((report.new, report.invalidations.len()), (156, 0));
    stage.assert_live(&old_files);

    let directory_bytes = {
        let end = new.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap();
        u64::from(u32::from_le_bytes(new[end + 12..end + 16].try_into().unwrap()))
    };
    let event = stage.upload_bytes("new.zip", new);
    stage.cloud.clear_calls();
    let report = stage.deploy("new", &event).await;
    assert_eq!((report.new, report.changed, report.deleted, report.kept), (66, 2, 66, 88));
    stage.assert_live(&new_files);
    let most = 5_974_977 * 11 / 10 + directory_bytes;
    assert!(report.bytes_read <= most, "{} bytes read of at most {most}", report.bytes_read);
    assert_eq!(writes_to_live(&stage).len(), 68 + 1, "one PUT an object, one DELETE");
    let deleted = old_files.keys().filter(|key| !new_files.contains_key(*key)).map(|key| format!("/{key}"));
    let changed = ["/", "/index.html", "/manifest.json"].map(str::to_owned);
    assert_eq!(items(&stage), deleted.chain(changed).collect(), "only stale paths are invalidated");

    let invalidations = stage.cloud.invalidations(DISTRIBUTION).len();
    stage.cloud.clear_calls();
    let again = stage.deploy("again", &event).await;
    assert_eq!((again.outcome, again.kept), (Outcome::Unchanged, 156));
    assert_eq!(writes_to_live(&stage), [] as [String; 0]);
    assert_eq!(stage.cloud.invalidations(DISTRIBUTION).len(), invalidations);
    assert!(again.bytes_read <= 256 << 10, "no entry is read: {} bytes", again.bytes_read);
}
