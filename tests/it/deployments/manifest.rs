//! The manifest and the recorded page boundaries of the listing: the requests they save, and the cost of losing them.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use chrono::TimeDelta;
use dropship::report::Outcome;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;
use standins::{Does, Etags, Fault, Headers};

use super::{first, second};
use crate::build::{Files, files, noise};
use crate::stage::{DISTRIBUTION, LIVE, STAGING, Stage};

#[tokio::test]
async fn repeating_an_event_reads_no_entry_and_writes_nothing() {
    let stage = Stage::new().await;
    let mut build = files([("index.html", "page")]);
    build.insert("noise.bin".to_owned(), noise(1 << 20, 1));
    let event = stage.upload("site.zip", &build);
    stage.deploy("one", &event).await;
    stage.cloud.clear_calls();
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.outcome, &report.invalidations), (Outcome::Unchanged, &vec![]));
    assert_eq!(report.kept, 2);
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    assert_eq!(stage.count("HeadObject"), 0, "the manifest answers for every object");
    assert!(report.bytes_read <= 256 << 10, "read {} bytes, more than the central directory", report.bytes_read);
}

#[tokio::test]
async fn a_lost_manifest_costs_one_request_per_object_and_changes_nothing() {
    for etags in [Etags::Md5, Etags::Opaque] {
        let stage = Stage::with_etags(etags).await;
        let event = stage.upload("site.zip", &first());
        stage.deploy("one", &event).await;
        let manifests = stage.manifests();
        assert_eq!(manifests.len(), 1, "{manifests:?}");
        stage.cloud.delete_object(STAGING, &manifests[0]);
        stage.cloud.clear_calls();
        let report = stage.deploy("two", &event).await;
        assert_eq!((report.outcome, report.kept), (Outcome::Unchanged, 4));
        assert_eq!(stage.count("HeadObject"), 4);
        assert_eq!(stage.writes_to_live(), [] as [String; 0]);
        assert_eq!(
            stage.items_sent(&report, DISTRIBUTION),
            ["/*".to_owned()].into(),
            "objects may have left unnoticed"
        );
    }
}

/// Deletes the site's manifest.
fn lose_manifest(stage: &Stage) {
    for key in stage.manifests() {
        stage.cloud.delete_object(STAGING, &key);
    }
}

#[tokio::test]
async fn without_a_manifest_the_sites_prefix_is_evicted_once() {
    let damage = |stage: &Stage| {
        for key in stage.manifests() {
            stage.cloud.put_object(STAGING, &key, "no gzip", Headers::of_type("application/gzip"));
        }
    };
    for (prefix, wildcard) in [("", "/*"), ("site", "/site*")] {
        for lose in [lose_manifest, damage] {
            let stage = Stage::new().await.with("LIVE_PREFIX", prefix);
            stage.deploy("one", &stage.upload("1.zip", &first())).await;
            lose(&stage);
            let two = stage.upload("2.zip", &second());
            let mut dry = two.clone();
            dry["options"] = json!({"dryRun": true});
            let planned = stage.deploy("dry", &dry).await;
            let report = stage.deploy("two", &two).await;
            assert_eq!(report.outcome, Outcome::Deployed);
            let deleted = if prefix.is_empty() { "/app.1.js" } else { "/site/app.1.js" };
            let items: BTreeSet<String> = [wildcard, deleted].map(str::to_owned).into();
            assert_eq!(stage.items_sent(&report, DISTRIBUTION), items);
            assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
            assert!(report.warnings[0].contains("manifest"), "{:?}", report.warnings);
            assert_eq!(planned.warnings, report.warnings);
            assert_eq!(BTreeSet::from_iter(planned.plan.unwrap().items[0].items.clone()), items);

            let again = stage.deploy("three", &stage.upload("3.zip", &first())).await;
            assert_eq!(again.warnings, [] as [String; 0]);
            assert!(!stage.items_sent(&again, DISTRIBUTION).iter().any(|item| item.ends_with('*')));
        }
    }
}

#[tokio::test]
async fn the_first_deployment_over_other_objects_evicts_the_sites_prefix() {
    let stage = Stage::new().await;
    stage.cloud.put_object(LIVE, "old.html", "old", Headers::of_type("text/html"));
    let report = stage.deploy("one", &stage.upload("1.zip", &first())).await;
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), ["/*", "/old.html"].map(str::to_owned).into());
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
}

#[tokio::test]
async fn without_a_manifest_nothing_is_deleted_that_a_rule_protects() {
    let assets = "public, max-age=31536000, immutable";
    for prune in ["all", "owned"] {
        let stage = Stage::new().await.with("PRUNE", prune).with("RETAIN_REMOVED_DAYS", "7");
        let stage = stage.with("CACHE_CONTROL_ASSETS", assets);
        let mut old = first();
        old.insert("gone.html".to_owned(), b"gone".to_vec());
        stage.deploy("one", &stage.upload("1.zip", &old)).await;
        stage.deploy("two", &stage.upload("2.zip", &files([("index.html", "2"), ("logo.svg", "<svg/>")]))).await;
        stage.pass(TimeDelta::days(6));
        lose_manifest(&stage);
        stage.cloud.clear_calls();
        let report = stage.deploy("three", &stage.upload("3.zip", &files([("index.html", "3rd")]))).await;
        let keys = |stage: &Stage| -> Vec<String> { stage.cloud.objects(LIVE).into_keys().collect() };
        assert_eq!(keys(&stage), ["app.1.js", "index.html", "logo.svg"], "PRUNE={prune}");
        assert_eq!(report.retained, if prune == "all" { 2 } else { 0 });
        assert_eq!(stage.count("HeadObject"), report.retained, "the page has another size, and is not inspected");
        // The days begin at the deployment that found no manifest.
        stage.pass(TimeDelta::days(6));
        stage.deploy("sweep 1", &json!({"sweep": true})).await;
        assert_eq!(keys(&stage), ["app.1.js", "index.html", "logo.svg"], "PRUNE={prune}");
        stage.pass(TimeDelta::days(2));
        stage.deploy("sweep 2", &json!({"sweep": true})).await;
        let left = if prune == "all" { vec!["index.html"] } else { vec!["app.1.js", "index.html", "logo.svg"] };
        assert_eq!(keys(&stage), left, "PRUNE={prune}");
    }
}

#[tokio::test]
async fn an_asset_of_a_run_that_died_is_retained_like_any_other() {
    for prune in ["all", "owned"] {
        let stage = Stage::new().await.with("PRUNE", prune).with("RETAIN_REMOVED_DAYS", "7");
        let stage = stage.with("CACHE_CONTROL_ASSETS", "public, max-age=31536000, immutable");
        stage.deploy("one", &stage.upload("1.zip", &first())).await;
        let two = stage.upload("2.zip", &second());
        let page = Some("index.html".to_owned());
        stage.cloud.fault(Fault { key: page, client: Some("victim".to_owned()), ..Fault::any(Does::DieAfter) });
        tokio::select! {
            _ = stage.invoke_as("victim", "two", &two, TimeDelta::minutes(5)) => panic!("it must die"),
            () = stage.cloud.death("victim") => {}
        }
        stage.cloud.clear_faults();
        stage.pass(TimeDelta::minutes(10));
        stage.deploy("three", &stage.upload("3.zip", &files([("index.html", "3")]))).await;
        let keys: Vec<String> = stage.cloud.objects(LIVE).into_keys().collect();
        assert_eq!(keys, ["app.1.js", "app.2.js", "index.html", "logo.svg"], "PRUNE={prune}");
    }
}

#[tokio::test]
async fn a_manifest_of_the_first_format_is_read() {
    let stage = Stage::new().await;
    let event = stage.upload("1.zip", &first());
    stage.deploy("one", &event).await;
    let key = stage.manifests().remove(0);
    let mut text = String::new();
    GzDecoder::new(&stage.cloud.objects(STAGING)[&key].body[..]).read_to_string(&mut text).unwrap();
    let lines = text.lines().skip(1).map(|line| line.strip_suffix('\t').unwrap());
    let old: Vec<&str> = std::iter::once("dropship manifest 1").chain(lines).collect();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(format!("{}\n", old.join("\n")).as_bytes()).unwrap();
    stage.cloud.put_object(STAGING, &key, gzip.finish().unwrap(), Headers::of_type("application/gzip"));
    stage.cloud.clear_calls();
    let again = stage.deploy("two", &event).await;
    assert_eq!((again.outcome, again.warnings), (Outcome::Unchanged, vec![]));
    assert_eq!(stage.count("HeadObject"), 0);
}

#[tokio::test]
async fn a_run_deletes_the_manifest_that_it_replaces() {
    let stage = Stage::new().await;
    let ledger = stage.ledger().await;
    let builds = [first(), second(), first(), second()];
    for (number, build) in builds.iter().enumerate() {
        let event = stage.upload(&format!("{number}.zip"), build);
        stage.deploy(&format!("run {number}"), &event).await;
        let head = ledger.head().await.unwrap();
        assert_eq!(stage.manifests(), Vec::from_iter(head.manifest), "a restored head must find none");
    }
    // A manifest that cannot be deleted is left behind and not retried forever.
    stage.cloud.fault(Fault { times: usize::MAX, ..Fault::on("DeleteObject", Does::refuse(403, "AccessDenied")) });
    let event = stage.upload("refused.zip", &first());
    stage.deploy("refused", &event).await;
    assert_eq!(ledger.head().await.unwrap().outdated, [""; 0]);
    assert_eq!(stage.manifests().len(), 2);
}

#[tokio::test]
async fn the_next_listing_is_split_at_the_page_boundaries_of_a_plain_listing() {
    let stage = Stage::new().await;
    let build: Files = (0..1_001).map(|n| (format!("{n:04}.txt"), b"text".to_vec())).collect();
    let event = stage.upload("site.zip", &build);
    stage.deploy("one", &event).await;
    let ledger = stage.ledger().await;
    assert_eq!(ledger.head().await.unwrap().list_at, ["0999.txt"]);
    stage.cloud.clear_calls();
    let again = stage.deploy("again", &event).await;
    assert_eq!((again.outcome, again.kept), (Outcome::Unchanged, 1_001));
    assert_eq!(stage.count("ListObjectsV2"), 2, "one request per page");
}

#[tokio::test]
async fn a_run_that_cannot_save_its_manifest_releases_the_site() {
    let stage = Stage::new().await;
    stage.cloud.fault(Fault {
        key: Some(".dropship/*".to_owned()),
        times: usize::MAX,
        ..Fault::on("PutObject", Does::refuse(403, "AccessDenied"))
    });
    let event = stage.upload("site.zip", &first());
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws");
    assert_eq!(stage.ledger().await.head().await.unwrap().lease, None);

    stage.cloud.clear_faults();
    let second = second();
    let report = stage.deploy("two", &stage.upload("site.zip", &second)).await;
    assert_eq!(report.outcome, Outcome::Deployed);
    stage.assert_live(&second);
}
