//! People, and others who do something to the site.

use std::rc::Rc;

use chrono::TimeDelta;
use serde_json::{Value, json};
use standins::{CustomError, Distribution, Does, Fault, Headers, Origin};

use super::World;
use super::contents::KEYS;
use super::history::{Sent, Uploaded};
use super::notifications;
use super::plan::{Deed, Trouble, TroubleKind, What};
use crate::stage::{LIVE, STAGING, TABLE};

/// Does a deed at its time.
pub async fn perform(world: Rc<World>, deed: Deed) {
    let at = world.start + TimeDelta::milliseconds(deed.at as i64);
    if deed.what == What::RestoreLedger {
        return restore_ledger(&world, &deed).await;
    }
    world.clock.turn(at, deed.number).await;
    world.cloud.expire_items(TABLE);
    world.tell(deed.story());
    match &deed.what {
        What::Upload(upload) => notifications::upload(&world, &deed, upload).await,
        What::Replay { upload, is_bare } => replay(&world, &deed, *upload as u64, *is_bare),
        What::RollBackTo { upload } => roll_back_to(&world, &deed, *upload as u64).await,
        What::RollBack => {
            world.send(format!("{}-rollback", deed.number), json!({"rollback": "previous"}), Sent::Previous);
        }
        What::Sweep => world.send(format!("{}-sweep", deed.number), json!({"sweep": true}), Sent::Sweep),
        What::Redrive => redrive(&world, deed.number, 2),
        What::Throttle { seconds } => {
            world.queue().throttled_until = Some(world.now() + TimeDelta::seconds(*seconds as i64));
        }
        What::Trouble(trouble) => world.cloud.fault(trouble.fault()),
        What::WriteForeign { key } => {
            let body = format!("foreign {}", deed.number);
            world.cloud.put_object(LIVE, key, body, Headers::of_type("text/html"));
            world.touch(key);
        }
        What::DeleteForeign { key } => {
            world.cloud.delete_object(LIVE, key);
            world.touch(key);
        }
        What::EmptyBucket => {
            for key in KEYS {
                world.cloud.delete_object(LIVE, key);
                world.touch(key);
            }
        }
        What::DeleteManifest => {
            for key in world.cloud.objects(STAGING).into_keys().filter(|key| key.starts_with(".dropship/")) {
                world.cloud.delete_object(STAGING, &key);
            }
        }
        What::Set { name, value } => world.set(name, value),
        What::CacheErrors { seconds } => {
            let id = &world.visited()[0];
            let error = CustomError { code: 404, page: None, min_ttl_seconds: *seconds };
            world.reconfigure(Distribution { custom_errors: vec![error], ..world.cloud.distribution(id) });
        }
        What::MoveOrigin { path } => {
            let id = &world.visited()[0];
            let config = world.cloud.distribution(id);
            let origins = config.origins.iter().map(|it| Origin { path: (*path).to_owned(), ..it.clone() }).collect();
            world.reconfigure(Distribution { origins, ..config });
        }
        What::Exchange { is_deleted } => exchange(&world, &deed, *is_deleted).await,
        What::Preview(change) => change.perform(&world, &deed),
        What::RestoreLedger => {}
    }
}

/// A person sends events of the failure queue again, in any order. One of `every` stays where it is.
pub fn redrive(world: &Rc<World>, number: u64, every: u64) {
    let mut draws = world.plan.salt(number, 2);
    let mut failed = std::mem::take(&mut world.queue().failed);
    draws.shuffle(&mut failed);
    for (nth, failed) in failed.into_iter().enumerate() {
        if every > 1 && draws.u64(..every) == 0 {
            world.queue().failed.push(failed);
            continue;
        }
        // The runbook sends the record as it is; people also send the event inside.
        let is_record = draws.bool() || !matches!(failed.sent, Sent::Delivery(_));
        let event = if is_record { failed.record } else { failed.record["requestPayload"].clone() };
        let request = format!("{number}-redrive-{nth}");
        world.tell(format!("a person redrives request {}", failed.request));
        let sent = match failed.sent {
            sent @ Sent::Redrive(_) => sent,
            sent => Sent::Redrive(Box::new(sent)),
        };
        world.send(request, event, sent);
    }
}

fn replay(world: &Rc<World>, deed: &Deed, upload: u64, is_bare: bool) {
    let uploaded = world.history().uploads.iter().find(|it| it.number == upload).cloned();
    // Nobody can mean an upload that is still to come.
    let Some(uploaded) = uploaded else { return };
    let mut event = if is_bare { uploaded.bare_event() } else { uploaded.event() };
    event["options"] = json!({"replay": true});
    world.send(format!("{}-replay", deed.number), event, Sent::Word(upload));
}

async fn roll_back_to(world: &Rc<World>, deed: &Deed, upload: u64) {
    let digest = world.history().uploads.iter().find(|it| it.number == upload).map(Uploaded::digest);
    let Some(digest) = digest else { return };
    let items = world.cloud.table(TABLE);
    let mut ids = items.iter().filter_map(|item| item["item"]["S"].as_str()?.strip_prefix("deployment#"));
    let Some(id) = ids.find(|id| id.ends_with(&digest)) else { return };
    world.send(format!("{}-rollback", deed.number), json!({"rollback": id}), Sent::Word(upload));
}

/// Restores the ledger as it was an hour before, while no invocation runs.
async fn restore_ledger(world: &Rc<World>, deed: &Deed) {
    let at = world.start + TimeDelta::milliseconds(deed.at as i64);
    world.clock.turn(at - TimeDelta::hours(1), deed.number).await;
    let backup = world.cloud.table(TABLE);
    world.clock.turn(at, deed.number).await;
    world.stop(deed.number).await;
    let is_owed = |item: &Value| item["item"]["S"].as_str().is_some_and(|name| name.starts_with("owed#"));
    let owes = world.cloud.table(TABLE).iter().any(is_owed);
    // What is owed would be forgotten, so that a person restores the ledger only while nothing is.
    if !owes {
        world.cloud.restore_table(TABLE, &backup);
        let now = world.now();
        world.history().restored.push(now);
        world.tell(deed.story());
        world.watch_head(None).await;
    }
    world.queue().throttled_until = None;
}

async fn exchange(world: &Rc<World>, deed: &Deed, is_deleted: bool) {
    // An invocation with the old settings would not know of the new distribution, whose viewers come immediately.
    world.stop(deed.number).await;
    let (old, new) = (world.visited().remove(0), format!("E{}", 10 + deed.number));
    world.create_distribution(&new);
    world.distributions.borrow_mut()[0].clone_from(&new);
    let ids = world.visited().join(",");
    world.set("DISTRIBUTION_IDS", &ids);
    if is_deleted {
        world.cloud.delete_distribution(&old);
    }
    world.queue().throttled_until = None;
}

impl World {
    fn touch(&self, key: &'static str) {
        let now = self.now();
        self.history().foreign.push((now, key));
    }

    /// Changes a setting of the function, which ends its warm instances.
    pub fn set(&self, name: &str, value: &str) {
        self.variables.borrow_mut().insert(name.to_owned(), value.to_owned());
        self.restart();
    }

    /// Changes a distribution. Whoever does that invalidates everything by hand.
    fn reconfigure(&self, config: Distribution) {
        let id = config.id.clone();
        self.cloud.change_distribution(config);
        self.cloud.edge(&id).clear();
    }
}

impl Trouble {
    fn fault(self) -> Fault {
        let (status, code) = match self.operation {
            "CreateInvalidation" => (503, "ServiceUnavailable"),
            "TransactWriteItems" | "Query" | "UpdateItem" => (500, "InternalServerError"),
            _ => (503, "SlowDown"),
        };
        let does = match self.kind {
            TroubleKind::Refused => Does::refuse(status, code),
            TroubleKind::RefusedAfter => Does::refuse_after(status, code),
            TroubleKind::DroppedBefore => Does::DropBefore,
            TroubleKind::DroppedAfter => Does::DropAfter,
            TroubleKind::Throttled if self.operation == "CreateInvalidation" => {
                Does::refuse(400, "TooManyInvalidationsInProgress")
            }
            TroubleKind::Throttled => Does::refuse(400, "ThrottlingException"),
        };
        Fault { times: self.times, ..Fault::on(self.operation, does) }
    }
}
