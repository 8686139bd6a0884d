//! Uploads that give up waiting for the site, and are deployed by whoever is done with it next.

use chrono::{DateTime, TimeDelta};
use dropship::aws::ledger::{Change, Committed, Ledger};
use dropship::deployment::Head;
use dropship::handler::Handled;
use dropship::metrics::Moment;
use dropship::report::Outcome;
use serde_json::{Value, json};
use standins::{Call, Does, Fault};

use super::{first, second};
use crate::build::files;
use crate::crash::{LEASE_EXPIRED, SHORT};
use crate::stage::Stage;
use crate::stage::interruption::interrupted;

/// A stage on which the first upload holds the site, and the second has given up waiting for it.
struct Scene {
    stage: Stage,
    events: [Value; 2],
}

impl Scene {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let events = [stage.upload("1.zip", &first()), stage.upload("2.zip", &second())];
        Self { stage, events }
    }

    /// Deploys the first upload. Meanwhile the second gives up waiting.
    async fn deploy_while_waiting(&self) -> Handled {
        let deploying = self.stage.invoke_as("holder", "holder", &self.events[0], TimeDelta::minutes(15));
        interrupted(&self.stage.cloud, deploying, is_write, self.give_up()).await
    }

    /// Invokes the function with the second upload, shortly before its deadline.
    async fn give_up(&self) {
        let handled = self.stage.invoke_as("waiter", "waiter", &self.events[1], TimeDelta::seconds(15)).await;
        let failure = handled.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "Busy", "{}", failure.error_message);
        assert!(failure.error_message.contains("whoever is done"), "{}", failure.error_message);
    }
}

fn is_write(call: &Call) -> bool {
    call.operation == "PutObject"
}

fn outcomes(handled: Handled) -> Vec<Outcome> {
    handled.into_answer().unwrap().deployments.iter().map(|report| report.outcome).collect()
}

#[tokio::test]
async fn an_upload_that_gave_up_waiting_goes_live_by_the_one_that_held_the_site() {
    let scene = Scene::new().await;
    let handled = scene.deploy_while_waiting().await;
    assert_eq!(outcomes(handled), [Outcome::Deployed, Outcome::Deployed]);
    scene.stage.assert_live(&second());
    assert_eq!(scene.stage.ledger().await.waiting().await.unwrap(), []);
    // Its own retry comes later.
    assert_eq!(scene.stage.deploy("waiter", &scene.events[1]).await.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn a_refused_upload_that_waited_is_logged_as_its_own_failure_and_the_next_one_goes_live() {
    let scene = Scene::new().await;
    let large = (0..200).map(|number| (format!("{number}.html"), b"page".to_vec()));
    scene.stage.deploy("large", &scene.stage.upload("0.zip", &large.collect())).await;
    let sound = files([("index.html", "sound")]);
    let mut allowed = scene.stage.upload("3.zip", &sound);
    allowed["options"] = json!({"allowLargeDelete": true});
    let refused = scene.stage.upload("4.zip", &files([("index.html", "refused")]));
    let ledger = scene.stage.ledger().await;
    hold(&scene.stage).await;
    for event in [&allowed, &refused] {
        let failure = scene.stage.invoke_as("waiter", "waiter", event, TimeDelta::seconds(15)).await;
        assert_eq!(failure.into_answer().unwrap_err().error_type, "Busy");
    }
    scene.stage.pass(TimeDelta::minutes(16));
    assert_eq!(ledger.waiting().await.unwrap().len(), 2);
    let handled = scene.stage.invoke("sweep", &json!({"sweep": true})).await;
    let results: Vec<_> = handled.log_lines(moment()).iter().map(|line| outcome(line)).collect();
    assert_eq!(results, ["swept", "failed", "deployed"]);
    let answer = handled.into_answer().expect("the sweep itself has not failed");
    let outcomes: Vec<_> = answer.deployments.iter().map(|report| report.outcome).collect();
    assert_eq!(outcomes, [Outcome::Swept, Outcome::Deployed]);
    let [failed] = &answer.failed[..] else { panic!("{answer:?}") };
    assert_eq!((failed.key.as_deref(), failed.error_type), (Some("4.zip"), "LargeDelete"));
    assert!(answer.text.contains(" | failed (4.zip): LargeDelete: the deployment would remove "), "{}", answer.text);
    scene.stage.assert_live(&sound);
    assert_eq!(ledger.waiting().await.unwrap(), []);
}

/// Lets a sweep take the lease and die.
async fn hold(stage: &Stage) {
    let until = stage.now() + TimeDelta::minutes(15);
    change_head(&stage.ledger().await, |head| head.swept_by("dead sweep", until)).await;
}

async fn change_head(ledger: &Ledger, change: impl Fn(&Head) -> Head) {
    let from = ledger.head().await.unwrap();
    let to = change(&from);
    let change = Change::of_head(&from, &to);
    assert_eq!(ledger.commit(change).await.unwrap(), Committed::Yes);
}

fn moment() -> Moment {
    Moment { now: DateTime::UNIX_EPOCH, began: DateTime::UNIX_EPOCH, owed_seconds: Some(0) }
}

fn outcome(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    line["outcome"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_sweep_that_holds_the_site_is_named_and_invents_no_deployment() {
    let scene = Scene::new().await;
    hold(&scene.stage).await;
    let handled = scene.stage.invoke_as("waiter", "waiter", &scene.events[0], TimeDelta::seconds(15)).await;
    let failure = handled.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Busy");
    assert!(failure.error_message.starts_with("a sweep holds the site"), "{}", failure.error_message);
}

#[tokio::test]
async fn an_upload_that_finds_the_site_free_when_it_gives_up_goes_on_by_itself() {
    let scene = Scene::new().await;
    let ledger = scene.stage.ledger().await;
    hold(&scene.stage).await;
    // The holder finishes after the note was written and before the head is read once more.
    let waiting = scene.stage.invoke_as("waiter", "waiter", &scene.events[0], TimeDelta::seconds(15));
    let is_second_look = |call: &Call| call.operation == "GetItem" && call.client == "waiter";
    let releasing = async {
        assert_eq!(scene.stage.count("PutItem"), 1, "the note comes first");
        change_head(&ledger, Head::released).await;
    };
    let handled = interrupted(&scene.stage.cloud, waiting, is_second_look, releasing).await;
    // It is too late for it to write, but it has claimed the site: its retry goes on.
    assert_eq!(handled.into_answer().unwrap_err().error_type, "Unfinished");
    assert_eq!(scene.stage.deploy("waiter", &scene.events[0]).await.outcome, Outcome::Deployed);
    assert_eq!(ledger.waiting().await.unwrap(), []);
}

#[tokio::test]
async fn a_replay_leaves_no_note_and_a_passing_failure_keeps_one() {
    let scene = Scene::new().await;
    hold(&scene.stage).await;
    let mut replay = scene.events[0].clone();
    replay["options"] = json!({"replay": true});
    for (event, notes) in [(&replay, 0), (&scene.events[1], 1)] {
        let handled = scene.stage.invoke_as("waiter", "waiter", event, TimeDelta::seconds(15)).await;
        assert_eq!(handled.into_answer().unwrap_err().error_type, "Busy");
        assert_eq!(scene.stage.ledger().await.waiting().await.unwrap().len(), notes);
    }
    scene.stage.pass(TimeDelta::minutes(16));
    let listing = Fault::on("ListObjectsV2", Does::refuse(403, "AccessDenied"));
    scene.stage.cloud.fault(Fault { times: usize::MAX, ..listing });
    let handled = scene.stage.invoke("sweep", &json!({"sweep": true})).await;
    assert_eq!(handled.log_lines(moment()).len(), 2, "the sweep, and the upload's failure");
    assert_eq!(scene.stage.ledger().await.waiting().await.unwrap().len(), 1);
    scene.stage.cloud.clear_faults();
    scene.stage.invoke("next sweep", &json!({"sweep": true})).await.into_answer().unwrap();
    scene.stage.assert_live(&second());
}

#[tokio::test]
async fn nobody_begins_to_deploy_another_upload_near_the_deadline() {
    let scene = Scene::new().await;
    hold(&scene.stage).await;
    scene.stage.invoke_as("waiter", "waiter", &scene.events[1], TimeDelta::seconds(15)).await;
    scene.stage.pass(TimeDelta::minutes(16));
    let sweep = json!({"sweep": true});
    let sweeping = scene.stage.invoke_as("sweep", "late", &sweep, TimeDelta::minutes(15));
    let passing = async { scene.stage.pass(TimeDelta::minutes(11)) };
    let late = interrupted(&scene.stage.cloud, sweeping, |call| call.client == "sweep", passing).await;
    assert_eq!(outcomes(late), [Outcome::Swept]);
    // A function with a short timeout does it, too.
    let short = scene.stage.invoke_as("client", "short", &sweep, TimeDelta::seconds(60)).await;
    assert_eq!(outcomes(short), [Outcome::Swept, Outcome::Deployed]);
}

#[tokio::test]
async fn an_upload_that_only_an_unfinished_run_has_superseded_goes_live_once_that_run_is_refused() {
    let large = (0..200).map(|number| (format!("{number}.html"), b"page".to_vec()));
    let stage = Stage::new().await;
    stage.deploy("large", &stage.upload("site.zip", &large.clone().collect())).await;
    let older = stage.upload("site.zip", &large.chain(second()).collect());
    let newer = stage.upload("site.zip", &files([("index.html", "newer")]));
    let listing = Fault::on("ListObjectsV2", Does::refuse(403, "AccessDenied"));
    stage.cloud.fault(Fault { times: usize::MAX, ..listing });
    assert_eq!(stage.invoke("newer", &newer).await.into_answer().unwrap_err().error_type, "Aws");
    stage.cloud.clear_faults();
    assert_eq!(stage.deploy("older", &older).await.outcome, Outcome::Superseded);
    assert_eq!(outcomes(stage.invoke("sweep", &json!({"sweep": true})).await), [Outcome::Swept], "it goes on waiting");
    // Lambda's retry of the newer upload is refused.
    let handled = stage.invoke("newer", &newer).await;
    let results: Vec<_> = handled.log_lines(moment()).iter().map(|line| outcome(line)).collect();
    assert_eq!(results, ["failed", "deployed"]);
    assert_eq!(handled.into_answer().unwrap_err().error_type, "LargeDelete");
    stage.assert_contains(&second());
    assert_eq!(stage.ledger().await.waiting().await.unwrap(), []);
}

#[tokio::test]
async fn an_upload_that_a_newer_run_has_superseded_is_forgotten_once_that_run_finishes() {
    let stage = Stage::new().await;
    let older = stage.upload("1.zip", &first());
    let newer = stage.upload("2.zip", &second());
    let listing = Fault::on("ListObjectsV2", Does::refuse(403, "AccessDenied"));
    stage.cloud.fault(Fault { times: usize::MAX, ..listing });
    assert_eq!(stage.invoke("newer", &newer).await.into_answer().unwrap_err().error_type, "Aws");
    stage.cloud.clear_faults();
    assert_eq!(stage.deploy("older", &older).await.outcome, Outcome::Superseded);
    assert_eq!(outcomes(stage.invoke("newer", &newer).await), [Outcome::Deployed, Outcome::Superseded]);
    assert_eq!(stage.ledger().await.waiting().await.unwrap(), []);
    stage.assert_live(&second());
}

#[tokio::test]
async fn a_duplicate_goes_on_with_a_run_whose_process_has_died_as_soon_as_its_lease_lapses() {
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &first());
    stage.cloud.fault(Fault::on("PutObject", Does::DieAfter));
    tokio::select! {
        () = stage.cloud.death("victim") => {}
        _ = stage.invoke_as("victim", "died", &event, SHORT) => panic!("the process must die"),
    }
    let looks = stage.count("TransactGetItems");
    let lapse = async {
        stage.wait_for_calls("TransactGetItems", looks + 2).await;
        stage.pass(LEASE_EXPIRED);
    };
    let (report, ()) = tokio::join!(stage.deploy("redriven", &event), lapse);
    assert_eq!((report.outcome, report.run), (Outcome::Deployed, 1));
    stage.assert_live(&first());
}

#[tokio::test]
async fn a_run_that_has_lost_its_lease_stops_and_leaves_the_site_to_the_one_that_took_it() {
    let scene = Scene::new().await;
    let ledger = scene.stage.ledger().await;
    let deploying = scene.stage.invoke_as("holder", "holder", &scene.events[0], TimeDelta::minutes(15));
    let until = scene.stage.now() + TimeDelta::minutes(30);
    let taking = change_head(&ledger, |head| head.swept_by("another", until));
    let handled = interrupted(&scene.stage.cloud, deploying, is_write, taking).await;
    assert_eq!(handled.into_answer().unwrap_err().error_type, "LeaseLost");
    let head = ledger.head().await.unwrap();
    assert_eq!(head.lease.map(|lease| lease.holder).as_deref(), Some("another"));
    assert_eq!((head.live, head.unfinished.len()), (None, 1));
}
