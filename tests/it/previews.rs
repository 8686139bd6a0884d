//! Previews: sites of their own in folders of the live bucket.

mod cost;
mod removal;
mod viewers;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use dropship::aws::ledger::Ledger;
use dropship::deploy::Site;
use dropship::preview::PreviewName;
use dropship::report::{Outcome, Report};
use serde_json::{Value, json};
use standins::{CLIENT, Distribution, Does, Fault, Service};

use crate::build::{Files, files};
use crate::stage::{DISTRIBUTION, LIVE, STAGING, Stage};

/// Returns a stage whose site has previews.
async fn stage() -> Stage {
    Stage::new().await.with("PREVIEWS", "true").with("SITE", "site")
}

fn name(text: &str) -> PreviewName {
    PreviewName::parse(text).unwrap()
}

/// Returns a build of which every file says where it belongs.
fn build(text: &str) -> Files {
    files([("index.html", text), ("docs/index.html", text), (&format!("{text}.js"), text)])
}

/// Uploads a build to a preview, and returns the event that S3 sends.
fn push(stage: &Stage, preview: &str, build: &Files) -> Value {
    stage.upload(&format!("uploads/previews/{preview}/site.zip"), build)
}

fn removal(preview: &str) -> Value {
    json!({"remove": format!("previews/{preview}")})
}

async fn preview(stage: &Stage, text: &str) -> Site {
    stage.site(CLIENT).await.preview(&name(text))
}

async fn ledger_of(stage: &Stage, text: &str) -> Ledger {
    preview(stage, text).await.clients.ledger
}

/// Returns the live objects with a prefix, each with its body, without the prefix.
fn live_under(stage: &Stage, prefix: &str) -> Files {
    let objects = stage.cloud.objects(LIVE).into_iter();
    objects.filter_map(|(key, it)| Some((key.strip_prefix(prefix)?.to_owned(), it.body.to_vec()))).collect()
}

/// Returns the objects of the live site alone.
fn live_site(stage: &Stage) -> Files {
    live_under(stage, "").into_iter().filter(|(key, _)| !key.starts_with("previews/")).collect()
}

/// Returns the parts of the table with an item whose name begins like this.
async fn sites_with(stage: &Stage, prefix: &str) -> BTreeSet<String> {
    let items = stage.ledger_items().await.into_iter();
    let items = items.filter(|item| item["item"].as_s().unwrap().starts_with(prefix));
    items.map(|item| item["site"].as_s().unwrap().clone()).collect()
}

/// Returns what a preview has refused, which fails no invocation.
async fn refused(stage: &Stage, request_id: &str, event: &Value) -> (&'static str, String) {
    let answer = stage.invoke(request_id, event).await.into_answer().expect("a preview fails no invocation");
    assert!(answer.deployments.is_empty(), "{answer:?}");
    let [failed] = &answer.failed[..] else { panic!("{answer:?}") };
    assert!(failed.of_preview);
    (failed.error_type, failed.error_message.clone())
}

#[tokio::test]
async fn each_preview_is_a_site_of_its_own_beside_the_live_one() {
    let stage = stage().await;
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    for text in ["a", "b"] {
        let report = stage.deploy(text, &push(&stage, text, &build(text))).await;
        assert_eq!((report.outcome, report.preview.as_ref()), (Outcome::Deployed, Some(&name(text))));
        assert_eq!(report.site, format!("site/previews/{text}"));
        assert_eq!(
            report.url.as_deref(),
            Some(format!("https://{DISTRIBUTION}.cloudfront.net/previews/{text}/").to_lowercase().as_str())
        );
    }
    // A deployment of the live site deletes what its archive lacks, and nothing of a preview.
    let report = stage.deploy("live 2", &stage.upload("uploads/site.zip", &build("live2"))).await;
    assert_eq!((report.new, report.changed, report.deleted, report.drift), (1, 2, 1, 0));
    let report = stage.deploy("a2", &push(&stage, "a", &build("a2"))).await;
    assert_eq!((report.new, report.changed, report.deleted, report.drift), (1, 2, 1, 0));
    assert_eq!(live_site(&stage), build("live2"));
    assert_eq!(live_under(&stage, "previews/a/"), build("a2"));
    assert_eq!(live_under(&stage, "previews/b/"), build("b"));

    let sites = ["site", "site/previews/a", "site/previews/b"].map(str::to_owned);
    for item in ["head", "deployment#", "version#", "run#"] {
        assert_eq!(sites_with(&stage, item).await, sites.clone().into(), "{item}");
    }
    assert_eq!(sites_with(&stage, "preview#").await, ["site".to_owned()].into());
    let manifests: Vec<String> =
        stage.cloud.objects(STAGING).into_keys().filter(|key| key.contains("manifest")).collect();
    let folder = |key: &String| key.rsplit_once('/').unwrap().0.to_owned();
    let folders: Vec<String> = manifests.iter().map(folder).collect();
    assert_eq!(folders, [".dropship/site", ".dropship/site/previews/a", ".dropship/site/previews/b"]);
    let listed = stage.ledger().await.previews().await.unwrap();
    assert_eq!(listed.iter().map(|preview| preview.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn no_item_of_a_preview_leaves_its_folder_whatever_the_budget() {
    for max_items in ["1", "2", "200"] {
        let stage = stage().await.with("MAX_INVALIDATION_PATHS", max_items);
        stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
        stage.deploy("ab", &push(&stage, "ab", &build("ab"))).await;
        let live = stage.cloud.invalidations(DISTRIBUTION).len();
        for number in 0..3 {
            stage.deploy(&format!("a{number}"), &push(&stage, "a", &build(&format!("a{number}")))).await;
        }
        stage.deploy("remove", &removal("a")).await;
        let sent = stage.cloud.invalidations(DISTRIBUTION).split_off(live);
        assert!(!sent.is_empty());
        for item in sent.iter().flat_map(|it| &it.items) {
            assert!(item == "/previews/a" || item.starts_with("/previews/a/"), "{item} with {max_items}");
        }
    }
}

#[tokio::test]
async fn without_previews_their_keys_are_refused_and_the_live_site_is_untouched() {
    let stage = Stage::new().await.with("SITE", "site");
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    let before = live_under(&stage, "");
    let (kind, message) = refused(&stage, "push", &push(&stage, "a", &build("a"))).await;
    assert_eq!(kind, "BadEvent");
    assert!(message.contains("set Previews=true (PREVIEWS)"), "{message}");
    let mut replay = push(&stage, "a", &build("a"));
    replay["options"] = json!({"replay": true});
    refused(&stage, "replay", &replay).await;
    refused(&stage, "remove", &removal("a")).await;
    refused(&stage, "rollback", &json!({"rollback": "previews/a/previous"})).await;
    assert_eq!(live_under(&stage, ""), before);
    // A folder that happens to have this name is the site's own.
    let own = files([("index.html", "live"), ("previews/a.html", "own")]);
    stage.deploy("own", &stage.upload("uploads/site.zip", &own)).await;
    stage.assert_live(&own);
}

#[tokio::test]
async fn a_key_that_names_no_preview_is_refused_with_the_rule() {
    let stage = stage().await;
    for key in ["uploads/previews/site.zip", "uploads/previews/PR-7/site.zip", "uploads/previews/a/b/site.zip"] {
        let (kind, message) = refused(&stage, key, &stage.upload(key, &build("x"))).await;
        assert_eq!(kind, "BadEvent");
        assert!(message.contains("a name is a DNS label"), "{message}");
    }
    assert!(stage.cloud.objects(LIVE).is_empty());
    // What is no archive by its name is ignored there as everywhere.
    let report = stage.deploy("marker", &stage.upload_bytes("uploads/previews/a/", Vec::new())).await;
    assert_eq!(report.outcome, Outcome::Ignored);
}

#[tokio::test]
async fn a_live_archive_with_entries_in_the_folder_of_previews_is_refused() {
    let stage = stage().await;
    let mut wrong = build("live");
    wrong.insert("previews/a/index.html".to_owned(), b"not a preview".to_vec());
    let message = stage.refusal("wrong", &stage.upload("uploads/site.zip", &wrong)).await;
    assert!(
        message.contains("entry `previews/a/index.html` is in `previews/`, which belongs to the previews"),
        "{message}"
    );
    let stage = stage.with("EXCLUDE", "/previews/");
    stage.deploy("excluded", &stage.upload("uploads/site.zip", &wrong)).await;
    stage.assert_live(&build("live"));
}

#[tokio::test]
async fn a_preview_that_could_not_be_promoted_is_refused() {
    let stage = stage().await;
    let mut wrong = build("a");
    wrong.insert("previews/a/index.html".to_owned(), b"not a preview".to_vec());
    let (kind, message) = refused(&stage, "a", &push(&stage, "a", &wrong)).await;
    assert_eq!(kind, "ArchiveRejected");
    assert!(message.contains("is in `previews/`, which belongs to the previews"), "{message}");
}

#[tokio::test]
async fn a_distribution_that_shows_another_folder_keeps_no_preview_from_its_viewers() {
    let stage = stage().await.with("DISTRIBUTION_IDS", &format!("{DISTRIBUTION},E2DOCS"));
    let mut docs = Distribution::of("E2DOCS", LIVE);
    docs.origins[0].path = "/docs".to_owned();
    stage.cloud.create_distribution(docs);
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    let report = deployed(&stage, "a", "a", "a").await;
    assert!(report.invalidations.iter().all(|sent| sent.distribution_id == DISTRIBUTION), "{report:?}");
    // One that shows no preview at all is wrong.
    let stage = stage.with("DISTRIBUTION_IDS", "E2DOCS");
    let failure = stage.invoke("b", &push(&stage, "b", &build("b"))).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "WrongDistribution");
}

#[tokio::test]
async fn what_fails_three_times_of_a_preview_is_left_to_its_sweep_and_not_to_the_failure_queue() {
    let stage = stage().await;
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    let pushed = push(&stage, "a", &build("a"));
    let removed = removal("b");
    for (request, event) in [("push", &pushed), ("remove", &removed)] {
        deployed(&stage, "b", "b", request).await;
        stage.pass(TimeDelta::seconds(1));
        let denied = Does::Refuse { status: 403, code: "AccessDenied".to_owned(), message: "no".to_owned() };
        stage.cloud.fault(Fault { service: Some(Service::S3), times: usize::MAX, ..Fault::any(denied) });
        for _ in 0..2 {
            let failure = stage.invoke(request, event).await.into_answer().unwrap_err();
            assert_eq!(failure.error_type, "Aws", "{failure:?}");
        }
        let answer = stage.invoke(request, event).await.into_answer().unwrap();
        assert!(answer.failed[0].of_preview && !answer.is_news, "{answer:?}");
        stage.cloud.clear_faults();
    }
    let sweep = json!({"sweep": true});
    stage.pass(TimeDelta::minutes(2));
    stage.invoke("sweep", &sweep).await.into_answer().unwrap();
    assert_eq!(live_under(&stage, "previews/a/"), build("a"));
    assert_eq!(live_under(&stage, "previews/b/"), Files::new());
}

#[tokio::test]
async fn what_the_site_had_in_the_folder_of_previews_stays_and_is_told() {
    let stage = Stage::new().await.with("SITE", "site");
    let mut before = build("live");
    before.insert("previews/old.html".to_owned(), b"old".to_vec());
    stage.deploy("before", &stage.upload("uploads/site.zip", &before)).await;
    let stage = stage.with("PREVIEWS", "true");
    let report = stage.deploy("after", &stage.upload("uploads/site.zip", &build("live"))).await;
    let warning = report.warnings.iter().find(|warning| warning.contains("folder of previews"));
    assert!(warning.is_some_and(|warning| warning.contains("previews/old.html")), "{:?}", report.warnings);
    assert_eq!((report.outcome, report.deleted, report.drift), (Outcome::Unchanged, 0, 0));
    stage.assert_live(&before);
    let report = stage.deploy("again", &stage.upload("uploads/site.zip", &build("live"))).await;
    assert_eq!(report.warnings, [""; 0], "it is told once");
}

#[tokio::test]
async fn the_way_back_of_a_preview_is_its_own() {
    let stage = stage().await;
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    let one = push(&stage, "a", &build("one"));
    let first = stage.deploy("one", &one).await.id.unwrap();
    stage.deploy("two", &push(&stage, "a", &build("two"))).await;

    let late = stage.deploy("late", &one).await;
    assert_eq!(late.outcome, Outcome::Duplicate);
    let told = format!("send {{\"rollback\":\"previews/a/{first}\"}}");
    assert!(late.warnings[0].ends_with(&told), "{:?}", late.warnings);
    let back = stage.deploy("back", &json!({"rollback": format!("previews/a/{first}")})).await;
    assert_eq!((back.outcome, back.site.as_str()), (Outcome::RolledBack, "site/previews/a"));
    assert_eq!(live_under(&stage, "previews/a/"), build("one"));
    stage.deploy("three", &push(&stage, "a", &build("three"))).await;
    let undone = stage.deploy("undo", &json!({"rollback": "previews/a/previous"})).await;
    assert_eq!((undone.outcome, undone.id.as_ref()), (Outcome::RolledBack, Some(&first)));
    // The live site does not know the deployment of a preview.
    let error = stage.invoke("wrong", &json!({"rollback": first})).await.into_answer().unwrap_err();
    assert_eq!(error.error_type, "BadEvent");
    // A replay, and an event from the failure queue, belong to the same preview.
    let mut replay = one.clone();
    replay["options"] = json!({"replay": true});
    assert_eq!(stage.deploy("replay", &replay).await.site, "site/previews/a");
    let redriven = json!({"requestPayload": one});
    assert_eq!(stage.deploy("redriven", &redriven).await.site, "site/previews/a");
    assert_eq!(live_site(&stage), build("live"));
}

#[tokio::test]
async fn a_dry_run_of_a_preview_plans_in_its_folder() {
    let stage = stage().await;
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    for folder in ["plans", "uploads"] {
        let mut event = stage.upload(&format!("{folder}/previews/a/site.zip"), &build("a"));
        event["options"] = json!({"dryRun": true});
        let report = stage.deploy(folder, &event).await;
        let plan = report.plan.unwrap();
        assert_eq!((report.outcome, plan.deleted), (Outcome::Planned, Vec::new()));
        assert!(plan.new.iter().all(|key| key.starts_with("previews/a/")), "{:?}", plan.new);
    }
    assert_eq!(live_under(&stage, "previews/"), Files::new());
}

#[tokio::test]
async fn previews_wait_neither_for_the_live_site_nor_for_each_other() {
    let stage = stage().await;
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    deployed(&stage, "before", "a", "before").await;
    // Both are held by invocations that have died.
    let until = stage.now() + TimeDelta::minutes(15);
    for ledger in [stage.ledger().await, ledger_of(&stage, "a").await] {
        let from = ledger.head().await.unwrap();
        let to = from.swept_by("dead", until);
        let change = dropship::aws::ledger::Change::of_head(&from, &to);
        assert_eq!(ledger.commit(change).await.unwrap(), dropship::aws::ledger::Committed::Yes);
    }
    let report = stage.deploy("b", &push(&stage, "b", &build("b"))).await;
    assert_eq!(report.outcome, Outcome::Deployed);
    // An upload that gives up waiting is deployed by whoever is done with its own site.
    let waiting = push(&stage, "a", &build("a"));
    let failure = stage.invoke_as(CLIENT, "a", &waiting, TimeDelta::seconds(15)).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Busy");
    stage.pass(TimeDelta::minutes(16));
    let answer = stage.invoke("sweep", &json!({"sweep": true})).await.into_answer().unwrap();
    let told: Vec<(Outcome, &str)> = answer.deployments.iter().map(|it| (it.outcome, it.site.as_str())).collect();
    assert_eq!(told, [(Outcome::Swept, "site"), (Outcome::Deployed, "site/previews/a")]);
    assert_eq!(live_under(&stage, "previews/a/"), build("a"));
}

#[tokio::test]
async fn what_a_preview_refuses_fails_no_invocation_and_counts_for_previews() {
    let stage = stage().await;
    let event = stage.upload_bytes("uploads/previews/a/site.zip", b"no zip".to_vec());
    let handled = stage.invoke("bad", &event).await;
    assert!(!handled.concerns_live_site());
    let moment = dropship::metrics::Moment { now: stage.now(), began: stage.now(), owed_seconds: Some(0) };
    let lines: Vec<Value> = handled.log_lines(moment).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[0]["previewsOf"].as_str(), lines[0]["outcome"].as_str()), (Some("site"), Some("failed")));
    let (kind, _) = refused(&stage, "bad again", &event).await;
    assert_eq!(kind, "ArchiveRejected");
    let site = stage.stage_failure_of_live().await;
    assert_eq!(site, "ArchiveRejected");
}

impl Stage {
    /// Returns how an invocation fails for the same archive at the live key.
    async fn stage_failure_of_live(&self) -> String {
        let event = self.upload_bytes("uploads/site.zip", b"no zip".to_vec());
        self.invoke("bad live", &event).await.into_answer().unwrap_err().error_type
    }
}

#[tokio::test]
async fn a_preview_may_become_anything() {
    let stage = stage().await;
    let large = (0..200).map(|number| (format!("{number}.html"), b"page".to_vec())).collect();
    stage.deploy("large", &push(&stage, "a", &large)).await;
    let small = files([("folder/index.html", "small")]);
    stage.deploy("small", &push(&stage, "a", &small)).await;
    assert_eq!(live_under(&stage, "previews/a/"), small);
}

/// Returns the report of a push that must succeed.
async fn deployed(stage: &Stage, request_id: &str, preview: &str, text: &str) -> Report {
    let report = stage.deploy(request_id, &push(stage, preview, &build(text))).await;
    assert_eq!(report.outcome, Outcome::Deployed);
    report
}
