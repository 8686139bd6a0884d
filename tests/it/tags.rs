//! Cache tags: which objects carry them, and when an invalidation relies on them.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use dropship::report::{Outcome, Progress, Report};
use standins::{CLIENT, Distribution, Headers};

use crate::build::Files;
use crate::edge::quota::{QUOTAS, too_many};
use crate::stage::{DISTRIBUTION, LIVE, STAGING, Stage, report};

const HEADER: &str = "x-amz-meta-cache-tag";

fn tagging() -> Distribution {
    Distribution::of(DISTRIBUTION, LIVE).with_cache_tags(HEADER)
}

/// Returns a site of pages and images in the same folders; only the pages contain `text`.
fn site(text: &str) -> Files {
    let mut files = Files::new();
    for folder in ["", "a/", "b/"] {
        for n in 0..4 {
            files.insert(format!("{folder}{n}.html"), text.as_bytes().to_vec());
            files.insert(format!("{folder}{n}.png"), b"image".to_vec());
        }
    }
    files
}

/// Returns a stage whose invalidations may have fewer items than there are pages.
async fn stage() -> Stage {
    tagged(Stage::new().await)
}

fn tagged(stage: Stage) -> Stage {
    let stage = stage.with("MAX_INVALIDATION_PATHS", "8");
    stage.cloud.create_distribution(tagging());
    stage
}

fn warm(stage: &Stage) {
    let edge = stage.cloud.edge(DISTRIBUTION);
    edge.warm_all(site("").keys().map(|key| format!("/{key}")));
}

async fn deploy(stage: &Stage, text: &str) -> Report {
    let report = stage.deploy(text, &stage.upload("site.zip", &site(text))).await;
    assert_eq!(stage.cloud.edge(DISTRIBUTION).stale(), [""; 0], "{text}");
    report
}

fn has_tags(items: &BTreeSet<String>) -> bool {
    items.iter().any(|item| item.starts_with('#'))
}

fn metadata(stage: &Stage, key: &str, name: &str) -> Option<String> {
    let object = stage.cloud.object(LIVE, key).unwrap();
    object.headers.metadata.get(name).cloned()
}

#[tokio::test]
async fn one_tag_evicts_all_pages_and_no_image() {
    let stage = stage().await;
    assert_eq!(deploy(&stage, "one").await.new, 24);
    assert_eq!(
        metadata(&stage, "a/0.html", "cache-tag").as_deref(),
        Some("247610f4dedd.page,247610f4dedd.ca978112ca1bbdca")
    );
    warm(&stage);
    let report = deploy(&stage, "two").await;
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), BTreeSet::from(["#247610f4dedd.page".to_owned()]));
    assert_eq!(report.warnings, [""; 0]);
    let edge = stage.cloud.edge(DISTRIBUTION);
    assert!(edge.get("/a/0.png").from_cache && !edge.get("/a/0.html").from_cache);
    assert_eq!((report.invalidations[0].items, report.invalidations[0].wildcards), (1, 0));
}

#[tokio::test]
async fn objects_get_no_tags_if_the_distribution_reads_none() {
    let stage = stage().await;
    stage.cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE));
    deploy(&stage, "one").await;
    assert_eq!(metadata(&stage, "a/0.html", "cache-tag"), None);
    warm(&stage);
    let report = deploy(&stage, "two").await;
    assert!(!has_tags(&stage.items_sent(&report, DISTRIBUTION)) && report.warnings.len() == 1);
    // S3 cannot send this header, so that the distribution reads no tags.
    stage.cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE).with_cache_tags("Cache-Tag"));
    assert_eq!(deploy(&stage, "two").await.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn new_tags_change_only_headers_and_are_used_from_then_on() {
    let stage = stage().await;
    stage.cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE));
    deploy(&stage, "one").await;
    warm(&stage);
    stage.cloud.change_distribution(tagging());
    let report = deploy(&stage, "one").await;
    assert_eq!((report.headers, report.changed, report.new), (24, 0, 0));
    assert!(!has_tags(&stage.items_sent(&report, DISTRIBUTION)), "the answers cached before have no tags");
    warm(&stage);
    let report = deploy(&stage, "two").await;
    assert!(has_tags(&stage.items_sent(&report, DISTRIBUTION)) && report.warnings.is_empty());
    // When the distribution stops reading tags, the next deployment removes them.
    stage.cloud.change_distribution(Distribution::of(DISTRIBUTION, LIVE));
    assert_eq!(deploy(&stage, "two").await.headers, 24);
    assert_eq!(metadata(&stage, "a/0.html", "cache-tag"), None);
}

#[tokio::test]
async fn tags_are_not_used_soon_after_a_configuration_change() {
    let changed_just_now = Distribution { modified_at: Utc::now(), ..tagging() };
    let in_progress = Distribution { is_deployed: false, ..tagging() };
    for distribution in [changed_just_now, in_progress] {
        let stage = stage().await;
        deploy(&stage, "one").await;
        stage.cloud.change_distribution(Distribution::of(DISTRIBUTION, LIVE));
        warm(&stage);
        stage.cloud.change_distribution(distribution);
        let report = deploy(&stage, "two").await;
        assert!(!has_tags(&stage.items_sent(&report, DISTRIBUTION)));
        assert_eq!(report.headers, 0, "meanwhile the objects' tags must not change");
    }
}

#[tokio::test]
async fn an_object_that_someone_else_rewrote_is_invalidated_by_its_path() {
    let stage = stage().await;
    deploy(&stage, "one").await;
    for bucket in [LIVE, STAGING] {
        stage.cloud.backdate(bucket, Duration::from_secs(3_600));
    }
    // The same bytes, and so the same ETag, but without tags.
    let headers = Headers::of_type("text/html");
    stage.cloud.put_object(LIVE, "a/2.html", "one", headers);
    warm(&stage);
    let report = deploy(&stage, "two").await;
    let sent = stage.items_sent(&report, DISTRIBUTION);
    assert!(has_tags(&sent) && sent.contains("/a/2.html"), "{sent:?}");
    assert_eq!(report.drift, 1);
}

#[tokio::test(start_paused = true)]
async fn an_owed_tag_becomes_a_wildcard_if_the_distribution_no_longer_reads_tags() {
    let tags = [(false, "#247610f4dedd.page"), (true, "/*")];
    for (quota, (is_removed, expected)) in QUOTAS.into_iter().flat_map(|quota| tags.map(|case| (quota, case))) {
        let stage = tagged(Stage::under(quota).await);
        deploy(&stage, "one").await;
        warm(&stage);
        let event = stage.upload("site.zip", &site("two"));
        let accepted = stage.cloud.invalidations(DISTRIBUTION).len();
        stage.cloud.fault(too_many(usize::MAX));
        let handled = stage.invoke_as(CLIENT, "two", &event, TimeDelta::seconds(90)).await;
        assert_eq!(handled.into_answer().unwrap_err().error_type, "InvalidationOwed");
        stage.cloud.clear_faults();
        if is_removed {
            stage.cloud.change_distribution(Distribution::of(DISTRIBUTION, LIVE));
        }
        let report = report(stage.invoke("two", &event).await);
        let sent: Vec<_> = (stage.cloud.invalidations(DISTRIBUTION).iter()).map(|it| it.items.clone()).collect();
        assert_eq!(sent[accepted], [expected]);
        assert_eq!(stage.cloud.edge(DISTRIBUTION).stale(), [""; 0]);
        assert_eq!(report.invalidations[0].items, 1);
    }
}

#[tokio::test]
async fn each_distribution_reads_its_own_header_and_each_site_has_its_own_tags() {
    let stage = stage().await.with("DISTRIBUTION_IDS", "E1EXAMPLE,E2EXAMPLE");
    stage.cloud.create_distribution(Distribution::of("E2EXAMPLE", LIVE).with_cache_tags("X-Amz-Meta-Surrogate"));
    let docs = stage.clone().with("LIVE_PREFIX", "docs");
    docs.deploy("docs", &docs.upload("docs.zip", &site("docs"))).await;
    let blog = stage.clone().with("LIVE_PREFIX", "blog");
    blog.deploy("blog", &blog.upload("blog.zip", &site("blog"))).await;
    let docs_tags = metadata(&stage, "docs/a/0.html", "cache-tag").unwrap();
    assert_eq!(metadata(&stage, "docs/a/0.html", "surrogate"), Some(docs_tags.clone()));

    let blog_tags = metadata(&stage, "blog/a/0.html", "cache-tag").unwrap();
    let docs_tags: BTreeSet<&str> = docs_tags.split(',').collect();
    let blog_tags: BTreeSet<&str> = blog_tags.split(',').collect();
    assert!(docs_tags.is_disjoint(&blog_tags));
    let edges = ["E1EXAMPLE", "E2EXAMPLE"].map(|id| stage.cloud.edge(id));
    for edge in &edges {
        edge.warm_all(site("").keys().flat_map(|key| [format!("/docs/{key}"), format!("/blog/{key}")]));
    }
    let report = docs.deploy("new docs", &docs.upload("docs.zip", &site("new docs"))).await;
    assert_eq!(report.invalidations.len(), 2);
    for edge in &edges {
        assert_eq!(edge.stale(), [""; 0]);
        assert!(edge.get("/blog/a/0.html").from_cache && edge.get("/docs/a/0.png").from_cache);
        assert!(!edge.get("/docs/a/0.html").from_cache);
    }
}

#[tokio::test]
async fn a_warm_function_notices_that_tags_are_gone() {
    let stage = stage().await;
    let function = stage.site("warm").await;
    let mut reports = Vec::new();
    for text in ["one", "two", "three"] {
        if text == "three" {
            stage.cloud.change_distribution(Distribution::of(DISTRIBUTION, LIVE));
        }
        let event = stage.upload("site.zip", &site(text));
        reports.push(report(stage.invoke_on(&function, text, &event, &Progress::default()).await));
        assert_eq!(stage.cloud.edge(DISTRIBUTION).stale(), [""; 0], "{text}");
        warm(&stage);
    }
    let used: Vec<bool> = reports.iter().map(|it| has_tags(&stage.items_sent(it, DISTRIBUTION))).collect();
    assert_eq!(used, [false, true, false]);
}
