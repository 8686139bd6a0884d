//! The watcher, who sees every call when it has taken effect: which deployment is live, and what viewers may cache.

use std::rc::Rc;

use serde_json::Value;
use standins::{Call, Service};
use tokio::sync::mpsc::UnboundedReceiver;

use super::history::{Request, Sent, Take};
use super::{SITE, World};
use crate::stage::{LIVE, TABLE};

impl World {
    /// Watches all calls, until the world ends.
    pub async fn watch(self: Rc<Self>, mut calls: UnboundedReceiver<Call>) {
        while let Some(call) = calls.recv().await {
            if self.tells_calls {
                let what = [call.key.clone().unwrap_or_default(), call.keys.join(" ")].concat();
                let bucket = call.bucket.as_deref().or(call.distribution.as_deref()).unwrap_or_default();
                let status = call.status.unwrap_or_default();
                self.tell(format!("  {}: {} {bucket} {what}: {status}", call.client, call.operation));
            }
            self.check_reach(&call);
            let has_succeeded = call.status.is_some_and(|status| status < 300);
            if call.service == Service::DynamoDb && has_succeeded && !["Query", "GetItem"].contains(&&*call.operation) {
                self.watch_head(Some(&call.client)).await;
            }
            if call.bucket.as_deref() == Some(LIVE) && call.operation != "ListObjectsV2" {
                self.check_bodies();
            }
            self.visit();
        }
    }

    /// Notes whether another deployment is live, by the work of `client`.
    pub async fn watch_head(&self, client: Option<&str>) {
        let head = self.cloud.item(TABLE, SITE, "head").unwrap_or_default();
        let live = &head["live"]["M"];
        let id = live["deployment"]["S"].as_str();
        let run = live["number"]["N"].as_str().and_then(|number| number.parse().ok());
        let (Some(id), Some(run)) = (id, run) else { return self.seen_live.set(None) };
        let Some(upload) = self.history().upload_of(id).map(|upload| upload.number) else {
            return self.wrong(format!("unknown deployment: {id} is live"));
        };
        let before = self.seen_live.replace(Some((upload, run)));
        if before == Some((upload, run)) {
            return;
        }
        let claimants = self.claimants(id, run).await;
        let (request, began) = {
            let queue = self.queue();
            let at_work = |claimant: &String| {
                let is_its = |(_, request, _): &&(String, String, _)| claimant.split('/').next() == Some(request);
                queue.at_work.iter().find(is_its).map(|(name, _, began)| (claimant.clone(), name, *began))
            };
            let mut at_work: Vec<_> = claimants.iter().rev().filter_map(at_work).collect();
            // Another instance's call may be the first to show what one did whose answer was lost.
            at_work.sort_by_key(|(_, name, _)| Some(name.as_str()) != client);
            match at_work.into_iter().next() {
                Some((request, _, began)) => (request, began),
                // A call of an instance that is dead by now.
                None if client.is_some() => (claimants.last().cloned().unwrap_or_default(), self.now()),
                // A restored ledger writes no object.
                None => ("the restored ledger".to_owned(), self.live().map_or(self.start, |(_, began)| began)),
            }
        };
        let take = Take { at: self.now(), upload, run, request, claimants, began };
        self.tell(format!("upload {upload} is live, by run {run} of request {}", take.request));
        if client.is_some() {
            self.check_take(&take, before.map(|(upload, _)| upload));
            self.check_objects_of(&take);
        }
        self.history().takes.push(take);
    }

    /// Returns the requests that have claimed a run, the latest last.
    async fn claimants(&self, deployment: &str, run: u64) -> Vec<String> {
        let record = self.cloud.item(TABLE, SITE, &format!("deployment#{deployment}")).unwrap_or_default();
        let claimants = record["requests"]["L"].as_array().cloned().unwrap_or_default();
        let run = run.to_string();
        let of_run = claimants.iter().map(|it| &it["M"]).filter(|it| it["run"]["N"] == run.as_str());
        of_run.filter_map(|it| it["request"]["S"].as_str().map(str::to_owned)).collect()
    }

    /// Checks that nothing corrupt is live.
    fn check_bodies(&self) {
        for (key, object) in self.cloud.objects(LIVE) {
            if super::contents::is_corrupt(&object.body) {
                self.wrong(format!("corrupt object: {key} is live"));
            }
        }
    }

    /// Checks that nothing but a person's word brings an old build back.
    fn check_take(&self, take: &Take, before: Option<u64>) {
        let history = self.history();
        let restored = history.restored.last().copied();
        let takes = || history.takes.iter().filter(|it| restored.is_none_or(|at| it.at >= at));
        let Some(before) = before else { return };
        let was_live = takes().any(|it| it.upload == take.upload);
        let is_forward = history.upload(take.upload).is_newer_than(history.upload(before));
        let is_backward = history.upload(before).is_newer_than(history.upload(take.upload));
        // A multipart upload counts as made when it was initiated, until an event tells its time.
        let was_known = |upload: u64| history.is_time_known(upload, take.began);
        let is_excused = is_backward && !was_live && !was_known(before) || is_forward && !was_known(take.upload);
        if before == take.upload || !(was_live || is_backward) || is_excused {
            return;
        }
        let request = history.request(&take.request);
        let spent = |request: &Request| takes().any(|it| it.request == request.id && it.upload == take.upload);
        let means_it = |request: &Request| match (&request.sent, request.invoked_at) {
            (Sent::Word(upload), Some(_)) => *upload == take.upload,
            (Sent::Previous, Some(asked_at)) => {
                restored.is_some() || self.may_be_previous(&history.takes, take, asked_at)
            }
            _ => false,
        };
        // Any event of the upload may finish a run that a person has begun.
        let is_meant = history.requests.iter().any(|request| means_it(request) && !spent(request));
        let is_spent = request.is_some_and(|request| means_it(request) && spent(request));
        let sent = request.map_or_else(|| take.request.clone(), |request| request.sent.to_string());
        drop(history);
        if is_spent {
            self.wrong(format!("spent twice: {sent} brings upload {} back a second time", take.upload));
        } else if !is_meant && matches!(&*sent, "a person's rollback to the previous deployment") {
            self.wrong(format!("wrong previous: {sent} brings upload {} back over {before}", take.upload));
        } else if !is_meant {
            let how = if was_live { "a build that had been live" } else { "an older build" };
            self.wrong(format!("brought back: {sent} brings upload {} back over {before}, {how}", take.upload));
        }
    }

    /// Whether a rollback to the previous deployment, said at `asked_at`, may have meant this one.
    fn may_be_previous(&self, takes: &[Take], take: &Take, asked_at: chrono::DateTime<chrono::Utc>) -> bool {
        let first_of = |upload: u64| takes.iter().position(|it| it.upload == upload);
        let replaced = |upload: u64| first_of(upload)?.checked_sub(1).map(|before| takes[before].upload);
        let since = takes.iter().rposition(|it| it.at <= asked_at).unwrap_or(0);
        takes[since..].iter().any(|live| live.upload == take.upload || replaced(live.upload) == Some(take.upload))
    }

    /// Returns the head's field, if it has one that is not empty.
    pub async fn head_field(&self, name: &str) -> Option<Value> {
        let mut head = self.cloud.item(TABLE, SITE, "head")?;
        let value = head[name].take();
        let is_empty = value.is_null() || value["L"].as_array().is_some_and(Vec::is_empty) || value["NULL"] == true;
        (!is_empty).then_some(value)
    }
}
