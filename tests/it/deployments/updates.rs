//! Undisturbed deployments: what they write, delete and invalidate.

use dropship::metrics::Moment;
use dropship::report::Outcome;
use serde_json::{Value, json};
use standins::{Distribution, Headers};

use super::{first, second};
use crate::build::unzipped;
use crate::shared_data::releases;
use crate::stage::observe::READS;
use crate::stage::{DISTRIBUTION, LIVE, Stage};

#[tokio::test]
async fn a_first_deployment_puts_everything_and_evicts_what_was_cached_before() {
    let stage = Stage::new().await;
    // The distribution is older than the site: it has cached what the bucket had before.
    stage.cloud.put_object(LIVE, "index.html", "before", Headers::of_type("text/html"));
    stage.cloud.edge(DISTRIBUTION).warm_all(["/", "/index.html"]);
    stage.cloud.delete_object(LIVE, "index.html");
    let event = stage.upload("site.zip", &first());
    let report = stage.deploy("request", &event).await;
    assert_eq!(report.outcome, Outcome::Deployed);
    assert_eq!((report.run, report.new, report.changed, report.deleted, report.kept), (1, 4, 0, 0, 0));
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), ["/*".to_owned()].into());
    assert_eq!(report.warnings, [""; 0], "a first deployment is nothing to warn of");
    assert_eq!(stage.cloud.edge(DISTRIBUTION).stale(), [""; 0]);
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
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), ["/", "/app.1.js", "/index.html"].map(str::to_owned).into());

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
    assert!(
        recorded.map(|call| call.sequence) < first_put.map(|at| calls[at].sequence),
        "the owed batches must be recorded before the first write"
    );
}

#[tokio::test]
async fn a_rebuild_with_the_same_contents_is_unchanged() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let report = stage.deploy("two", &stage.upload("2.zip", &first())).await;
    assert_eq!((report.outcome, report.run), (Outcome::Unchanged, 2));
}

#[tokio::test]
async fn a_new_cache_control_copies_only_the_objects_it_applies_to() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let event = stage.upload("2.zip", &first());
    stage.cloud.clear_calls();
    let stage = stage.with("CACHE_CONTROL_ASSETS", "public, max-age=31536000, immutable");
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.headers, report.kept, report.bytes_written), (2, 2, 0));
    assert_eq!((stage.count("CopyObject"), stage.count("PutObject")), (2, 2), "both puts are manifests");
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), ["/app.1.js", "/logo.svg"].map(str::to_owned).into());
    let again = stage.deploy("three", &stage.upload("3.zip", &first())).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn a_dry_run_lists_keys_and_items_and_changes_nothing() {
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
      "last": [],
      "deleted": [
        "app.1.js"
      ],
      "folders": [
        {
          "folder": "",
          "new": {
            "count": 1,
            "bytes": 3
          },
          "changed": {
            "count": 1,
            "bytes": 31
          },
          "headers": {
            "count": 0,
            "bytes": 0
          },
          "deleted": {
            "count": 1,
            "bytes": 3
          }
        }
      ],
      "items": [
        {
          "distributionId": "E1EXAMPLE",
          "count": 3,
          "evicted": 0,
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
                && !["TransactGetItems", "GetItem", "Query", "GetDistribution"].contains(&operation.as_str())
        })
        .collect();
    assert_eq!(changes, [] as [String; 0]);
    stage.assert_live(&first());
}

#[tokio::test]
async fn a_site_under_a_prefix_leaves_other_keys_alone() {
    let stage = Stage::new().await.with("LIVE_PREFIX", "www").with("DISTRIBUTION_IDS", "E2PREFIX");
    let behind_www = Distribution::of("E2PREFIX", LIVE).with_origin_path("/www");
    stage.cloud.create_distribution(behind_www);
    stage.cloud.put_object(LIVE, "neighbour.html", "neighbour", Headers::default());
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let report = stage.deploy("two", &stage.upload("2.zip", &second())).await;
    let keys: Vec<String> = stage.cloud.objects(LIVE).into_keys().collect();
    assert_eq!(keys, ["neighbour.html", "www/app.2.js", "www/docs/index.html", "www/index.html", "www/logo.svg"]);
    let items = stage.items_sent(&report, "E2PREFIX");
    assert_eq!(items, ["/", "/app.1.js", "/index.html"].map(str::to_owned).into());
}

#[tokio::test]
async fn records_are_deployed_in_upload_order_and_a_failure_does_not_stop_the_rest() {
    let stage = Stage::new().await;
    let one = stage.upload("1.zip", &first());
    let broken = stage.upload_bytes("2.zip", b"no zip".to_vec());
    let three = stage.upload("3.zip", &second());
    let record = |event: &Value| event["Records"][0].clone();
    let event = json!({"Records": [record(&three), record(&broken), record(&one)]});
    let handled = stage.invoke("all", &event).await;
    let moment = Moment { now: stage.now(), began: stage.now(), owed_seconds: Some(0) };
    let lines: Vec<Value> = handled.log_lines(moment).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes: Vec<&str> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["deployed", "failed", "deployed"]);
    let failure = handled.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "ArchiveRejected");
    assert!(failure.error_message.starts_with("2.zip: "), "{}", failure.error_message);
    stage.assert_live(&second());
}

#[tokio::test]
async fn the_cost_of_a_real_release_follows_what_changed() {
    let Some([old, new]) = releases() else {
        return;
    };
    let (old_files, new_files) = (unzipped(&old), unzipped(&new));
    let stage = Stage::new().await;

    let report = stage.deploy("old", &stage.upload_bytes("old.zip", old)).await;
    assert_eq!((report.new, report.invalidations.len()), (156, 1));
    stage.assert_live(&old_files);

    let directory_bytes = directory_bytes(&new);
    let event = stage.upload_bytes("new.zip", new);
    stage.cloud.clear_calls();
    let report = stage.deploy("new", &event).await;
    assert_eq!((report.new, report.changed, report.deleted, report.kept), (66, 2, 66, 88));
    stage.assert_live(&new_files);
    let limit = 5_974_977 * 11 / 10 + directory_bytes;
    assert!(report.bytes_read <= limit, "read {} bytes, over the limit of {limit}", report.bytes_read);
    assert_eq!(stage.writes_to_live().len(), 68 + 1, "one PUT per object and one DELETE");
    let deleted = old_files.keys().filter(|key| !new_files.contains_key(*key)).map(|key| format!("/{key}"));
    let changed = ["/", "/index.html", "/manifest.json"].map(str::to_owned);
    assert_eq!(
        stage.items_sent(&report, DISTRIBUTION),
        deleted.chain(changed).collect(),
        "only stale paths are invalidated"
    );

    let invalidations = stage.cloud.invalidations(DISTRIBUTION).len();
    stage.cloud.clear_calls();
    let again = stage.deploy("again", &event).await;
    assert_eq!((again.outcome, again.kept), (Outcome::Unchanged, 156));
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    assert_eq!(stage.cloud.invalidations(DISTRIBUTION).len(), invalidations);
    assert!(again.bytes_read <= 256 << 10, "read {} bytes, more than the central directory", again.bytes_read);
}

/// Returns the size of an archive's central directory.
fn directory_bytes(archive: &[u8]) -> u64 {
    let end = archive.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap();
    u64::from(u32::from_le_bytes(archive[end + 12..end + 16].try_into().unwrap()))
}
