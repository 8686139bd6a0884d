//! Drift: objects that someone else has written or deleted.

use dropship::report::Outcome;
use standins::{Does, Fault, Headers, Object, Waiting};

use super::{first, second};
use crate::build::files;
use crate::crash::{LEASE_EXPIRED, SHORT};
use crate::scene::{self, Scene};
use crate::stage::{DISTRIBUTION, LIVE, Stage};

#[tokio::test]
async fn objects_from_other_tools_are_compared_by_md5_and_get_our_headers() {
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
async fn foreign_changes_additions_and_deletions_are_repaired_and_counted() {
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &first());
    stage.deploy("one", &event).await;
    stage.cloud.put_object(LIVE, "logo.svg", "<SVG/>", Headers::default());
    stage.cloud.put_object(LIVE, "stray.txt", "stray", Headers::default());
    stage.cloud.delete_object(LIVE, "app.1.js");
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.outcome, report.drift), (Outcome::Deployed, 3));
    assert_eq!((report.new, report.changed, report.deleted), (1, 1, 1));
    assert_eq!(report.warnings, ["objects that something else had changed: app.1.js, logo.svg, stray.txt"]);
    stage.assert_live(&first());
    assert_eq!(
        stage.items_sent(&report, DISTRIBUTION),
        ["/app.1.js", "/logo.svg", "/stray.txt"].map(str::to_owned).into()
    );
}

#[tokio::test]
async fn a_conflict_in_the_last_wave_is_covered_by_the_batches_marked_meanwhile() {
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

/// `data.json` comes back with the second build, `app.1.js` does not.
#[tokio::test]
async fn an_object_deleted_by_someone_else_is_invalidated_whether_it_returns_or_not() {
    let scene = Scene::new().await;
    let stage = scene.stage.clone();
    let one = stage.upload("site.zip", &scene::first());
    scene.deliver(&stage, "one", &one).await.unwrap();
    for key in ["data.json", "app.1.js"] {
        stage.cloud.delete_object(LIVE, key);
    }
    let two = stage.upload("site.zip", &scene::second());
    scene.deliver(&stage, "two", &two).await.unwrap();
    scene.has_settled(&scene::second(), &two, None).await.unwrap();
}

#[tokio::test]
async fn an_immutable_object_overwritten_just_before_its_deletion_is_invalidated() {
    let scene = Scene::new().await;
    let stage = scene.stage.clone().with("CACHE_CONTROL_ASSETS", "max-age=31536000, immutable");
    let both = files([("index.html", "page"), ("app.1.js", "one")]);
    let one = stage.upload("site.zip", &both);
    stage.deploy("one", &one).await;
    let page = files([("index.html", "page")]);
    let two = stage.upload("site.zip", &page);
    let foreign_write = |waiting: &[Waiting]| {
        let is_ours = |it: Object| it.body == "one";
        if waiting[0].call.operation == "DeleteObjects" && stage.cloud.object(LIVE, "app.1.js").is_some_and(is_ours) {
            let headers = Headers::of_type("text/plain");
            stage.cloud.put_object(LIVE, "app.1.js", "foreign", headers);
            scene.request_every_url();
        }
        0
    };
    let report = stage.deploy_by_call("two", &two, foreign_write).await;
    assert_eq!(report.drift, 1);
    scene.has_settled(&page, &two, Some("max-age=31536000, immutable")).await.unwrap();
}

#[tokio::test]
async fn an_object_that_others_changed_to_what_the_next_build_wants_is_evicted() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    stage.cloud.edge(DISTRIBUTION).warm_all(["/logo.svg"]);
    let headers = stage.cloud.objects(LIVE)["logo.svg"].headers.clone();
    stage.cloud.put_object(LIVE, "logo.svg", "<svg>2</svg>", headers);
    let mut next = first();
    next.insert("logo.svg".to_owned(), b"<svg>2</svg>".to_vec());
    stage.deploy("two", &stage.upload("2.zip", &next)).await;
    assert_eq!(stage.cloud.edge(DISTRIBUTION).stale(), [] as [String; 0]);
}

#[tokio::test]
async fn a_new_key_that_a_dead_run_wrote_and_others_deleted_is_evicted() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    stage.cloud.fault(Fault { key: Some("app.2.js".to_owned()), ..Fault::on("PutObject", Does::DieAfter) });
    let two = stage.upload("2.zip", &second());
    tokio::select! {
        () = stage.cloud.death("victim") => {}
        _ = stage.invoke_as("victim", "two", &two, SHORT) => panic!("it must die"),
    }
    stage.cloud.edge(DISTRIBUTION).warm_all(["/app.2.js"]);
    stage.cloud.delete_object(LIVE, "app.2.js");
    stage.pass(LEASE_EXPIRED);
    let mut next = second();
    next.insert("app.2.js".to_owned(), b"three".to_vec());
    stage.deploy("three", &stage.upload("3.zip", &next)).await;
    assert_eq!(stage.cloud.edge(DISTRIBUTION).get("/app.2.js").body, "three");
}

#[tokio::test]
async fn an_object_that_others_have_taken_over_is_evicted_although_it_stays() {
    for prune in ["owned", "off"] {
        let stage = Stage::new().await.with("PRUNE", prune);
        stage.deploy("one", &stage.upload("1.zip", &files([("index.html", "one"), ("a.js", "ours")]))).await;
        let edge = stage.cloud.edge(DISTRIBUTION);
        assert_eq!(edge.get("/a.js").body, "ours");
        stage.cloud.put_object(LIVE, "a.js", "theirs", Headers::of_type("text/javascript"));
        stage.deploy("two", &stage.upload("2.zip", &files([("index.html", "two")]))).await;
        assert_eq!(edge.get("/a.js").body, "theirs", "{prune}");
    }
}
