//! Entry points: a browser that learns from one of them that there is a new build gets the pages of that build.

use std::collections::BTreeSet;
use std::future::ready;

use dropship::handler::Handled;
use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use standins::{CLIENT, Distribution, Does, Edge, Fault, Headers, Waiting};

use crate::build::{Files, files};
use crate::crash::{LEASE_EXPIRED, SHORT};
use crate::edge::quota::too_many;
use crate::edge::{QUOTAS, assert_fresh};
use crate::stage::observe::READS;
use crate::stage::{DISTRIBUTION, LIVE, Stage, report};

/// The pages of the site, as browsers request them.
const PAGES: [&str; 4] = ["/", "/index.html", "/docs/index.html", "/about.html"];

/// The entry points of the site.
const ENTRY_POINTS: [&str; 2] = ["/sw.js", "/_app/version.json"];

/// Browsers fetch the script of a worker past their own caches. Sites say that no other cache may keep it either.
const NO_STORE: &str = "/sw.js\n  Cache-Control: no-store\n/_app/version.json\n  Cache-Control: no-store\n";

/// How many crashed deployments are watched concurrently.
const CONCURRENT_CASES: usize = 6;

/// Returns a build in which page, script, worker and version file change together.
fn build(number: u8, headers: &str) -> Files {
    let script = format!("main.{number}.js");
    let page = format!("{number}: <script src=/{script}>");
    let worker = format!("{number}: precache([\"/\", \"/{script}\"])");
    let mut build = files([
        ("index.html", &page),
        ("docs/index.html", &page),
        ("about.html", &page),
        (&script, &page),
        ("sw.js", &worker),
        ("_app/version.json", &format!("{number}: version")),
        ("logo.svg", "kept"),
    ]);
    if !headers.is_empty() {
        build.insert("_headers".to_owned(), headers.as_bytes().to_vec());
    }
    build
}

/// Returns what is live of a build.
fn live(mut build: Files) -> Files {
    build.remove("_headers");
    build
}

/// Browsers that look for a new build between any two calls, each at an edge location of its own. There every page is
/// cached that was live in the beginning, but no entry point.
struct Browsers {
    edge: Edge,
    locations: std::ops::RangeInclusive<u8>,
    wrong: Vec<String>,
    /// The builds that the entry points have named.
    seen: BTreeSet<u8>,
}

impl Browsers {
    fn new(stage: &Stage) -> Self {
        let edge = stage.cloud.edge(DISTRIBUTION);
        (0..=u8::MAX).for_each(|location| edge.at(location).warm_all(PAGES));
        Self { edge, locations: 0..=u8::MAX, wrong: Vec::new(), seen: BTreeSet::new() }
    }

    /// Lets the next browser look for a new build, and load every page if there is one. A browser that has the entry
    /// points in its location's cache looks too.
    fn look(&mut self) {
        let location = self.locations.next().expect("there are more locations than calls");
        for location in [location, u8::MAX] {
            let edge = self.edge.at(location);
            for entry_point in ENTRY_POINTS {
                let Some(told) = number(&edge, entry_point) else { continue };
                self.seen.insert(told);
                for page in PAGES {
                    let got = number(&edge, page);
                    if got.is_none_or(|got| got < told) {
                        self.wrong.push(format!("{entry_point} tells of build {told}, and {page} is of {got:?}"));
                    }
                }
            }
        }
    }
}

/// Returns the build whose file answers; `None` if there is none.
fn number(edge: &Edge, url: &str) -> Option<u8> {
    let answer = edge.get(url);
    let first = (answer.status == 200).then(|| answer.body[0])?;
    Some(first - b'0')
}

/// Invokes a function with its calls taking effect one by one, and a look of a browser before each of them. Returns
/// `None` if the function crashes.
async fn watched(
    stage: &Stage,
    browsers: &mut Browsers,
    client: &str,
    request_id: &str,
    event: &Value,
) -> Option<Handled> {
    let gate = stage.cloud.gate();
    let looks = async {
        loop {
            let waiting = gate.wait_until(|waiting| !waiting.is_empty()).await;
            browsers.look();
            gate.let_through(waiting[0].ticket).await;
        }
    };
    tokio::select! {
        biased;
        () = stage.cloud.death(client) => None,
        handled = stage.invoke_as(client, request_id, event, SHORT) => Some(handled),
        never = looks => never,
    }
}

/// Deploys the second build over the first one, and returns what browsers have seen.
async fn deploy_with_browsers(stage: &Stage, headers: &str) -> Browsers {
    stage.deploy("one", &stage.upload("1.zip", &build(1, headers))).await;
    let mut browsers = Browsers::new(stage);
    let event = stage.upload("2.zip", &build(2, headers));
    let handled = watched(stage, &mut browsers, CLIENT, "two", &event).await;
    assert_eq!(report(handled.unwrap()).invalidations.len(), 2);
    browsers.look();
    stage.assert_live(&live(build(2, headers)));
    assert_all_fresh(stage);
    browsers
}

/// Checks that the edge serves nothing stale.
fn assert_all_fresh(stage: &Stage) {
    let urls: Vec<String> = PAGES.iter().chain(&ENTRY_POINTS).map(|url| (*url).to_owned()).collect();
    assert_fresh(stage, Distribution::of(DISTRIBUTION, LIVE), &urls);
}

#[tokio::test]
async fn at_every_call_a_browser_that_gets_the_new_worker_gets_the_new_pages() {
    for (headers, max_items) in [("", "200"), (NO_STORE, "200"), ("", "1"), (NO_STORE, "1")] {
        let stage = Stage::new().await.with("MAX_INVALIDATION_PATHS", max_items);
        let browsers = deploy_with_browsers(&stage, headers).await;
        assert_eq!(browsers.wrong, [""; 0], "{max_items}");
        assert_eq!(browsers.seen, BTreeSet::from([1, 2]));
    }
}

#[tokio::test]
async fn browsers_notice_an_entry_point_that_the_setting_takes_back() {
    let stage = Stage::new().await.with("LAST", "!version.json");
    let browsers = deploy_with_browsers(&stage, NO_STORE).await;
    assert!(!browsers.wrong.is_empty());
    assert!(browsers.wrong.iter().all(|wrong| wrong.starts_with("/_app/version.json tells of build 2")));
}

/// What comes after a crash.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    Retry,
    NewerUpload,
}

/// Deploys the second build up to a crash at the `n`-th call, and continues. Returns what browsers have seen, or `None`
/// if there is no such call.
async fn crash_at(n: usize, after: After) -> Option<Vec<String>> {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("site.zip", &build(1, NO_STORE))).await;
    let mut browsers = Browsers::new(&stage);
    let two = stage.upload("site.zip", &build(2, NO_STORE));
    stage.cloud.fault(Fault { client: Some("victim".to_owned()), first: n, ..Fault::any(Does::DieAfter) });
    let crashed = watched(&stage, &mut browsers, "victim", "two", &two).await.is_none();
    stage.cloud.clear_faults();
    let (handled, newest) = match after {
        After::Retry => (watched(&stage, &mut browsers, "healthy", "two", &two).await, 2),
        After::NewerUpload => {
            stage.pass(LEASE_EXPIRED);
            let three = stage.upload("site.zip", &build(3, NO_STORE));
            (watched(&stage, &mut browsers, "healthy", "three", &three).await, 3)
        }
    };
    report(handled.unwrap());
    browsers.look();
    stage.assert_live(&live(build(newest, NO_STORE)));
    assert!(browsers.seen.contains(&newest));
    assert_all_fresh(&stage);
    crashed.then(|| browsers.wrong.into_iter().map(|wrong| format!("{after:?} {n}: {wrong}")).collect())
}

#[tokio::test]
async fn after_a_crash_at_any_call_a_browser_that_gets_the_new_worker_gets_the_new_pages() {
    for after in [After::Retry, After::NewerUpload] {
        let cases = stream::iter(1..).map(|n| crash_at(n, after)).buffered(CONCURRENT_CASES);
        let cases = cases.take_while(|case| ready(case.is_some()));
        let results: Vec<Vec<String>> = cases.filter_map(ready).collect().await;
        assert!(results.len() > 15, "only {} crash points", results.len());
        assert_eq!(results.concat(), [""; 0]);
    }
}

/// Returns what the function has done to the live bucket and the distributions so far, in order.
fn course(stage: &Stage) -> Vec<String> {
    let calls = stage.cloud.calls().into_iter().filter(|call| {
        let is_write = call.bucket.as_deref() == Some(LIVE) && !READS.contains(&call.operation.as_str());
        call.client == CLIENT && (is_write || call.operation == "CreateInvalidation")
    });
    let mut invalidations = stage.cloud.invalidations(DISTRIBUTION).into_iter();
    let described = calls.map(|call| match call.operation.as_str() {
        "CreateInvalidation" => invalidations.next().map(|sent| sent.items.join(" ")).unwrap_or_default(),
        operation => format!("{operation} {}", call.key.unwrap_or_else(|| call.keys.join(" "))),
    });
    described.collect()
}

/// A build with one file for each wave.
fn small(number: u8) -> Files {
    let (script, body) = (format!("main.{number}.js"), number.to_string());
    files([("index.html", &body), (&script, &body), ("sw.js", &body)])
}

#[tokio::test]
async fn entry_points_follow_the_first_invalidation_and_share_the_last_one_with_the_deletes() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &small(1))).await;
    let first = ["PutObject main.1.js", "PutObject index.html", "/*", "PutObject sw.js"];
    assert_eq!(course(&stage), first, "nothing is cached of a new worker");
    stage.deploy("two", &stage.upload("2.zip", &small(2))).await;
    assert_eq!(
        course(&stage)[first.len()..],
        [
            "PutObject main.2.js",
            "PutObject index.html",
            "/ /index.html",
            "PutObject sw.js",
            "DeleteObjects main.1.js",
            "/main.1.js /sw.js"
        ]
    );
}

#[tokio::test]
async fn without_a_distribution_entry_points_are_still_last() {
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", "");
    stage.deploy("one", &stage.upload("1.zip", &small(1))).await;
    assert_eq!(course(&stage), ["PutObject main.1.js", "PutObject index.html", "PutObject sw.js"]);
}

#[tokio::test]
async fn an_entry_point_that_changes_alone_takes_one_invalidation() {
    let stage = Stage::new().await;
    let mut build = small(1);
    stage.deploy("one", &stage.upload("1.zip", &build)).await;
    let before = course(&stage).len();
    build.insert("sw.js".to_owned(), b"two".to_vec());
    stage.deploy("two", &stage.upload("2.zip", &build)).await;
    assert_eq!(course(&stage)[before..], ["PutObject sw.js", "/sw.js"]);
    // Only its headers change.
    build.insert("_headers".to_owned(), b"/sw.js\n  Cache-Control: no-cache\n".to_vec());
    build.insert("index.html".to_owned(), b"three".to_vec());
    stage.deploy("three", &stage.upload("3.zip", &build)).await;
    assert_eq!(course(&stage)[before + 2..], ["PutObject index.html", "/ /index.html", "CopyObject sw.js", "/sw.js"]);
}

#[tokio::test]
async fn a_page_that_the_setting_names_is_an_entry_point() {
    let stage = Stage::new().await.with("LAST", "/index.html");
    let build = |number: &str| files([("index.html", number), ("a/index.html", number), ("sw.js", "kept")]);
    stage.deploy("one", &stage.upload("1.zip", &build("1"))).await;
    let before = course(&stage).len();
    let two = stage.upload("2.zip", &build("2"));
    let mut rehearsal = two.clone();
    rehearsal["options"] = serde_json::json!({"dryRun": true});
    let plan = stage.deploy("rehearsal", &rehearsal).await.plan.unwrap();
    assert_eq!(
        (plan.changed, plan.last),
        (vec!["a/index.html".to_owned(), "index.html".to_owned()], vec!["index.html".to_owned()])
    );
    stage.deploy("two", &two).await;
    assert_eq!(
        course(&stage)[before..],
        ["PutObject a/index.html", "/a /a/ /a/index.html", "PutObject index.html", "/ /index.html"]
    );
}

#[tokio::test(start_paused = true)]
async fn while_a_quota_is_full_no_entry_point_is_written_and_the_retry_goes_on() {
    for quota in QUOTAS {
        let ids = [DISTRIBUTION, "E2FULL"];
        let stage = Stage::under(quota).await.with("DISTRIBUTION_IDS", &ids.join(","));
        stage.cloud.create_distribution(Distribution::of(ids[1], LIVE));
        stage.deploy("one", &stage.upload("1.zip", &small(1))).await;
        let two = stage.upload("2.zip", &small(2));
        stage.cloud.fault(Fault { distribution: Some(ids[1].to_owned()), ..too_many(usize::MAX) });
        let failure = stage.invoke("two", &two).await.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "InvalidationOwed", "{quota:?}");
        let body = |key| stage.cloud.object(LIVE, key).map(|object| object.body);
        assert_eq!((body("index.html").unwrap(), body("sw.js").unwrap()), ("2".into(), "1".into()), "{quota:?}");
        assert!(body("main.1.js").is_some());
        stage.cloud.clear_faults();
        stage.deploy("two", &two).await;
        stage.assert_live(&small(2));
        for id in ids {
            assert_fresh(&stage, Distribution::of(id, LIVE), &["/", "/sw.js"].map(str::to_owned));
        }
    }
}

#[tokio::test]
async fn an_entry_point_that_another_writer_changes_meanwhile_is_written_again_and_evicted_after_it() {
    for key in ["sw.js", "new-sw.js"] {
        let stage = Stage::new().await;
        stage.deploy("one", &stage.upload("1.zip", &small(1))).await;
        let mut build = small(2);
        build.insert("new-sw.js".to_owned(), b"2".to_vec());
        let event = stage.upload("2.zip", &build);
        let edge = stage.cloud.edge(DISTRIBUTION);
        let mut is_written = false;
        let foreign_write = |waiting: &[Waiting]| {
            let call = &waiting[0].call;
            if !is_written && call.operation == "PutObject" && call.key.as_deref() == Some(key) {
                stage.cloud.put_object(LIVE, key, "foreign", Headers::of_type("text/javascript"));
                is_written = true;
            }
            edge.get(&format!("/{key}"));
            0
        };
        let report = stage.deploy_by_call("two", &event, foreign_write).await;
        assert_eq!(report.drift, 1, "{key}");
        stage.assert_live(&build);
        assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &[format!("/{key}")]);
    }
}
