//! Two previews beside the live site, in the same bucket and behind the same distributions: pushes and removals, and the
//! checks that nobody touches what is another's.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use chrono::{DateTime, Utc};
use fastrand::Rng;
use serde_json::Value;
use standins::{Call, Headers, Service};

use super::contents::{Build, IMMUTABLE};
use super::history::Sent;
use super::notifications::{Notice, notify};
use super::plan::{Deed, Notification, Plan, What};
use super::{SITE, World};
use crate::stage::{LIVE, STAGING, TABLE};

pub const NAMES: [&str; 2] = ["a", "ab"];

/// The numbers of their deeds begin here.
const FIRST: u64 = 1_000;

/// What somebody does to a preview.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub preview: &'static str,
    /// The build of a push; `None` for a removal.
    pub build: Option<Build>,
    pub notifications: Vec<Notification>,
}

/// A push to a preview, or its removal.
#[derive(Clone, Debug)]
pub struct Pushed {
    preview: &'static str,
    at: DateTime<Utc>,
    key: String,
    /// `None` for a removal.
    build: Option<Build>,
}

/// The history of the previews.
#[derive(Default)]
pub struct Previews {
    pushed: Vec<Pushed>,
    /// The keys of archives that were refused, and of those that went live.
    refused: BTreeSet<String>,
    deployed: BTreeSet<String>,
    /// The request that each instance has worked on last.
    requests: BTreeMap<String, String>,
}

/// Returns what happens to the previews of a plan's world. Where the site's folder at the distribution changes, they are
/// not behind it any more; and a restored ledger has forgotten what was removed.
pub fn deeds(plan: &Plan, span: u64) -> Vec<Deed> {
    let is_odd = |deed: &Deed| matches!(deed.what, What::MoveOrigin { .. } | What::RestoreLedger);
    if plan.deeds.iter().any(is_odd) {
        return Vec::new();
    }
    let mut rng = Rng::with_seed(plan.seed ^ 0x0070_7265_7669_6577);
    let mut deeds: Vec<Deed> = Vec::new();
    for number in FIRST..FIRST + rng.u64(0..7) {
        let at = match deeds.last() {
            Some(last) if rng.bool() => last.at + rng.u64(..20_000),
            _ => rng.u64(..span),
        };
        let mut build = Build::random(&mut rng, false);
        // No build of theirs is refused for what it takes away.
        build.files.insert("index.html", ["0", "1", "22"][rng.usize(..3)]);
        let mut notifications = Vec::new();
        for _ in 0..rng.usize(1..3) {
            let delay = [rng.u64(100..3_000), rng.u64(..120_000), rng.u64(..span)][rng.usize(..3)];
            notifications.push(Notification { delay, is_from_event_bridge: rng.u8(..5) == 0 });
        }
        let build = (number == FIRST || rng.u8(..3) > 0).then_some(build);
        let preview = NAMES[rng.usize(..NAMES.len())];
        deeds.push(Deed { number, at, what: What::Preview(Change { preview, build, notifications }) });
    }
    deeds
}

impl Change {
    pub fn story(&self, number: u64) -> String {
        match &self.build {
            Some(build) => format!("CI pushes {number} to the preview {}: {}", self.preview, build.story()),
            None => format!("somebody removes the preview {}", self.preview),
        }
    }

    /// CI uploads to the folder of the preview, and S3 notifies the function.
    pub fn perform(&self, world: &Rc<World>, deed: &Deed) {
        let now = world.now();
        let file = self.build.as_ref().map_or_else(|| "remove".to_owned(), |_| format!("{}.zip", deed.number));
        let key = format!("uploads/previews/{}/{file}", self.preview);
        let archive = self.build.as_ref().map(Build::archive).unwrap_or_default();
        let object = world.cloud.put_object(STAGING, &key, archive, Headers::of_type("application/zip"));
        let pushed = Pushed { preview: self.preview, at: now, key, build: self.build.clone() };
        let notice = Notice {
            at: now,
            key: &pushed.key,
            size: object.body.len(),
            etag: object.etag.trim_matches('"'),
            version: object.version_id.as_deref().unwrap_or_default(),
        };
        let event =
            |is_from_event_bridge| if is_from_event_bridge { notice.event_bridge_event() } else { notice.event() };
        notify(world, deed.number, &self.notifications, event, &Sent::Preview(self.preview));
        world.history().previews.pushed.push(pushed);
    }
}

/// Returns the folder of a preview in the live bucket.
pub fn folder(preview: &str) -> String {
    format!("previews/{preview}/")
}

/// Returns the site that a key of the live bucket, or a part of the ledger, belongs to; "" is the live site.
fn site_of(path: &str) -> &str {
    path.strip_prefix("previews/").map_or("", |rest| rest.split('/').next().unwrap_or_default())
}

impl World {
    /// Notes which request an instance works on.
    pub fn note_work(&self, instance: &str, request: &str) {
        self.history().previews.requests.insert(instance.to_owned(), request.to_owned());
    }

    /// Notes what an answer says of previews.
    pub fn note_previews(&self, answer: &dropship::report::Answer) {
        let mut history = self.history();
        let is_refused = |kind| matches!(kind, "ArchiveRejected" | "LargeDelete" | "BadEvent" | "ArchiveGone");
        for failed in answer.failed.iter().filter(|failed| failed.of_preview && is_refused(failed.error_type)) {
            history.previews.refused.extend(failed.key.clone());
        }
        for report in answer.deployments.iter().filter(|report| report.preview.is_some()) {
            use dropship::report::Outcome::{Deployed, RolledBack, Unchanged};
            if matches!(report.outcome, Deployed | RolledBack | Unchanged) {
                let key = report.archive.as_ref().map(|archive| archive.key.clone());
                history.previews.deployed.extend(key);
            }
        }
    }

    /// Checks that a call touches nothing but what is the site's that its event is about.
    pub fn check_reach(&self, call: &Call) {
        let Some(own) = self.own_site(&call.client) else { return };
        let mut foreign = Vec::new();
        let is_write = !matches!(&*call.operation, "GetObject" | "HeadObject" | "ListObjectsV2");
        if call.bucket.as_deref() == Some(LIVE) && is_write {
            foreign.extend(call.key.iter().chain(&call.keys).filter(|key| site_of(key) != own).cloned());
        }
        for (site, item) in call.service.eq(&Service::DynamoDb).then_some(&call.written).into_iter().flatten() {
            let part = site.strip_prefix(SITE).unwrap_or_default().trim_start_matches('/');
            // The live site's part lists the previews.
            let is_listing = part.is_empty() && *item == format!("preview#{own}");
            foreign.extend((site_of(part) != own && !is_listing).then(|| format!("{site} {item}")));
        }
        // A wildcard of the live site may evict previews, which costs them a fetch.
        let folder = format!("/{}", folder(own));
        let is_own = |path: &&String| match own {
            "" => path.ends_with('*') || !path.starts_with("/previews/"),
            _ => path.starts_with(&folder) || **path == folder.trim_end_matches('/'),
        };
        foreign.extend(call.paths.iter().filter(|path| !is_own(path)).cloned());
        if let Some(foreign) = foreign.first() {
            self.wrong(format!("foreign touch: an event of {own:?} does {} on {foreign}", call.operation));
        }
    }

    /// Returns the site that the event of an instance is about; `None` for a sweep, which is about all.
    fn own_site(&self, instance: &str) -> Option<&'static str> {
        let history = self.history();
        let request = history.previews.requests.get(instance)?;
        match history.request(request)?.sent.root() {
            Sent::Sweep => None,
            Sent::Preview(name) => Some(name),
            _ => Some(""),
        }
    }

    /// Checks the previews when everything has settled: each is what the later of the newest push and the last removal
    /// makes of it.
    pub fn check_previews(&self) -> Result<(), String> {
        let history = self.history();
        let objects = self.cloud.objects(LIVE);
        for name in NAMES {
            let all = history.previews.pushed.iter().filter(|pushed| pushed.preview == name);
            let (pushes, removals): (Vec<&Pushed>, Vec<&Pushed>) = all.partition(|pushed| pushed.build.is_some());
            let previews = &history.previews;
            let could_go_live =
                |push: &&&Pushed| !previews.refused.contains(&push.key) || previews.deployed.contains(&push.key);
            let mut pushes: Vec<&&Pushed> = pushes.iter().filter(could_go_live).collect();
            pushes.sort_by_key(|push| push.at);
            let newest = pushes.last();
            let removed_at = removals.iter().map(|removal| removal.at).max();
            let second = |at: DateTime<Utc>| at.timestamp();
            let are_equal = pushes.iter().rev().nth(1).zip(newest).is_some_and(|(a, b)| second(a.at) == second(b.at))
                || newest.zip(removed_at).is_some_and(|(push, at)| second(push.at) == second(at));
            if are_equal {
                // EventBridge tells only the second, and nobody knows which came first.
                continue;
            }
            let live = newest.filter(|push| removed_at.is_none_or(|at| push.at > at));
            let expected = live.and_then(|push| push.build.as_ref()).map(Build::expected).unwrap_or_default();
            let folder = folder(name);
            for (key, wanted) in &expected {
                let object = objects.get(&format!("{folder}{key}"));
                let is_right = object.is_some_and(|it| {
                    it.body == wanted.body && it.headers.cache_control.as_deref() == Some(wanted.cache_control)
                });
                if !is_right {
                    return Err(format!("preview objects: {folder}{key} is {object:?} instead of {wanted:?}"));
                }
            }
            for (key, object) in objects.iter().filter_map(|(key, it)| Some((key.strip_prefix(&folder)?, it))) {
                let is_retained = self.retains() && object.headers.cache_control.as_deref() == Some(IMMUTABLE);
                let is_spared = live.is_some() && (is_retained || self.may_have_more());
                if !expected.contains_key(key) && !is_spared {
                    return Err(format!("preview objects: {folder}{key} is still there"));
                }
            }
        }
        Ok(())
    }

    /// Checks that the ledger has nothing of a removed preview but its tombstone.
    pub async fn check_tombstones(&self) -> Result<(), String> {
        let items = self.cloud.table(TABLE);
        let text = |item: &Value, name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
        for item in items.iter().filter(|item| text(item, "item") == "head" && item["expires_at"]["N"].is_string()) {
            let site = text(item, "site");
            let is_left = |other: &&Value| text(other, "site") == site && text(other, "item").starts_with("run#");
            if let Some(left) = items.iter().find(is_left) {
                return Err(format!("tombstone: {} of {site} is left", text(left, "item")));
            }
            let name = site.rsplit('/').next().unwrap_or_default();
            let listed = format!("preview#{name}");
            if items.iter().any(|other| text(other, "site") == SITE && text(other, "item") == listed) {
                return Err(format!("tombstone: {site} is still listed"));
            }
        }
        Ok(())
    }
}
