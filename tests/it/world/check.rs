//! The checks: of every answer, of every build that goes live, and of the site when everything has settled.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use standins::EdgeAnswer;

use super::contents::IMMUTABLE;
use super::history::{Answer, History, Outcome, Request, Sent, Take, Uploaded};
use super::plan::{Deed, What};
use super::{LAST, World};
use crate::stage::{LIVE, TABLE};

impl World {
    /// Checks that an answer is true.
    pub fn check_answer(&self, answer: &Answer) {
        let outcomes = match &answer.result {
            Ok(outcomes) => outcomes,
            Err((kind, message)) => return self.check_failure(answer, kind, message),
        };
        for outcome in outcomes.iter().filter(|outcome| !outcome.of_preview) {
            if let Err(wrong) = self.check_outcome(answer, outcome) {
                self.wrong(format!("untrue answer: request {} is {}, {wrong}", answer.request, outcome.outcome));
            }
        }
    }

    fn check_outcome(&self, answer: &Answer, outcome: &Outcome) -> Result<(), String> {
        let history = self.history();
        let Some(id) = &outcome.id else { return Ok(()) };
        let upload = history.upload_of(id).ok_or("of an unknown upload")?;
        match outcome.outcome.as_str() {
            "deployed" | "unchanged" | "rolledBack" => {
                let mut takes = history.takes.iter().rev().take_while(|take| take.at >= answer.began);
                let is_true = takes.any(|take| take.upload == upload.number && take.run == outcome.run);
                is_true.then_some(()).ok_or_else(|| format!("but upload {} did not go live", upload.number))
            }
            "superseded" => {
                let was_restored = !history.restored.is_empty();
                let newer = history.uploads.iter().any(|it| !upload.is_newer_than(it) && it.number != upload.number);
                let overtaken = history.takes.iter().any(|take| take.upload != upload.number);
                (newer || overtaken || was_restored).then_some(()).ok_or_else(|| "but nothing is newer".to_owned())
            }
            "duplicate" => {
                let was_live = history.takes.iter().any(|take| take.upload == upload.number);
                was_live.then_some(()).ok_or_else(|| "but it has never been live".to_owned())
            }
            "inProgress" => {
                let queue = self.queue();
                let mut at_work = queue.at_work.iter().map(|(_, request, _)| request);
                let mut answered = history.answers.iter().filter(|it| it.at >= answer.began).map(|it| &it.request);
                let is_other = |request: &String| *request != answer.request;
                let is_leased = history.deaths > 0 || at_work.any(is_other) || answered.any(is_other);
                is_leased.then_some(()).ok_or_else(|| "but no other request is at work".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Checks that a refusal has a reason.
    fn check_failure(&self, answer: &Answer, kind: &str, message: &str) {
        let history = self.history();
        let Some(request) = history.request(&answer.request) else { return };
        let Some(upload) = request.sent.upload().map(|number| history.upload(number)) else { return };
        let has_odd_settings = self.has_odd_settings();
        let is_right = match kind {
            "ArchiveRejected" => upload.build.flaw.is_some() || has_odd_settings,
            // A restored ledger may not know that a build has been live.
            "LargeDelete" => {
                upload.build.lacks_index() && (!is_way_back(&history, request, answer) || !history.restored.is_empty())
            }
            "BadEvent" => matches!(request.sent, Sent::Redrive(_)) || matches!(request.sent, Sent::Word(_)),
            "BadConfig" => false,
            _ => true,
        };
        let number = upload.number;
        drop(history);
        if !is_right {
            self.wrong(format!("groundless refusal: upload {number} is refused as {kind}: {message}"));
        }
    }

    /// Whether the settings of the moment refuse builds that are right.
    fn has_odd_settings(&self) -> bool {
        let variables = self.variables.borrow();
        let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
        // An instance with the old settings may still be at work shortly after they were changed.
        is_set("ARCHIVE_ROOT") || is_set("MAX_ENTRIES") || {
            let names = ["ARCHIVE_ROOT", "MAX_ENTRIES"];
            self.plan.deeds.iter().any(|deed| match &deed.what {
                What::Set { name, .. } => names.contains(name),
                _ => false,
            })
        }
    }

    /// Checks the bucket at the moment at which a run makes its deployment the live one.
    pub fn check_objects_of(&self, take: &Take) {
        let upload = self.history().upload(take.upload).clone();
        if upload.build.flaw.is_some() {
            self.wrong(format!("flawed build: upload {} is live", take.upload));
        }
        if self.has_lost_index(&upload) {
            self.wrong(format!("lost index: upload {} took the index document off the site", take.upload));
        }
        for wrong in self.differences(&upload, take.began) {
            self.wrong(format!("live objects: upload {} went live, but {wrong}", take.upload));
        }
    }

    /// Whether a build that nobody has meant goes live without the index document that the site had.
    fn has_lost_index(&self, upload: &Uploaded) -> bool {
        let history = self.history();
        let Some(before) = history.takes.last() else { return false };
        let since = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at >= before.began);
        let is_meant = |request: &Request| matches!(request.sent.root(), Sent::Word(_) | Sent::Previous);
        let others = history.foreign.iter().any(|(at, key)| *key == "index.html" && since(Some(*at)))
            || history.requests.iter().any(|request| is_meant(request) && since(request.invoked_at))
            || !history.restored.is_empty();
        let was_live = history.takes.iter().any(|take| take.upload == upload.number);
        let had_index = !history.upload(before.upload).build.lacks_index();
        had_index && upload.build.lacks_index() && !(others || was_live || self.may_have_more())
    }

    /// Returns how the bucket differs from a build, except for what foreign hands touched since.
    fn differences(&self, upload: &Uploaded, since: DateTime<Utc>) -> Vec<String> {
        let history = self.history();
        let touched: BTreeSet<&str> =
            history.foreign.iter().filter(|(at, _)| *at >= since).map(|(_, key)| *key).collect();
        let mut objects = self.cloud.objects(LIVE);
        objects.retain(|key, _| !key.starts_with("previews/"));
        let expected = upload.build.expected();
        let mut differences = Vec::new();
        for (key, expected) in expected.iter().filter(|(key, _)| !touched.contains(key.as_str())) {
            match objects.get(key) {
                None => differences.push(format!("{key} is missing")),
                Some(object) if object.body != expected.body => {
                    differences.push(format!("{key} is {:?}", object.body));
                }
                Some(object) if object.headers.cache_control.as_deref() != Some(expected.cache_control) => {
                    differences.push(format!("{key} has {:?}", object.headers.cache_control));
                }
                Some(_) => {}
            }
        }
        let may_have_more = self.may_have_more();
        for (key, object) in &objects {
            let is_retained = object.headers.cache_control.as_deref() == Some(IMMUTABLE);
            let is_touched = touched.contains(key.as_str());
            if !(expected.contains_key(key) || is_touched || may_have_more || is_retained && self.retains()) {
                differences.push(format!("{key} is still there"));
            }
        }
        differences
    }

    /// Whether the settings, now or before, keep objects that the archive lacks.
    pub fn may_have_more(&self) -> bool {
        let keeps = |deed: &Deed| matches!(&deed.what, What::Set { name: "PRUNE", value } if *value != "all");
        self.plan.deeds.iter().any(keeps)
    }

    /// Whether the settings, now or before, retain removed assets.
    pub fn retains(&self) -> bool {
        let retains =
            |deed: &Deed| matches!(&deed.what, What::Set { name: "RETAIN_REMOVED_DAYS", value } if *value != "0");
        self.plan.aws.retain_days > 0 || self.plan.deeds.iter().any(retains)
    }

    /// Checks the site when everything has settled.
    pub async fn check_settled(&self) -> Result<(), String> {
        self.check_failures_left()?;
        self.check_newest()?;
        self.check_ledger(false).await?;
        let live = self.live();
        if let Some((upload, since)) = live {
            let upload = self.history().upload(upload).clone();
            if let Some(wrong) = self.differences(&upload, since).first()
                && self.history().restored.is_empty()
                && !self.is_half_done().await
            {
                let unfinished = self.head_field("unfinished").await;
                return Err(format!(
                    "settled objects: of upload {}, {wrong}; the unfinished runs are {unfinished:?}",
                    upload.number
                ));
            }
            self.check_caches(since)?;
        }
        Ok(())
    }

    /// Whether the site is left between two builds, of which an event in the failure queue tells.
    async fn is_half_done(&self) -> bool {
        let is_half_done = self.head_field("unfinished").await.is_some() || self.head_field("is_torn").await.is_some();
        is_half_done && !self.queue().failed.is_empty()
    }

    /// Checks the site after a deployment that has put right what foreign hands did.
    pub async fn check_last(&self) -> Result<(), String> {
        self.check_failures_left()?;
        let Some((upload, since)) = self.live() else { return Err("last: nothing is live".to_owned()) };
        if upload != LAST {
            return Err(format!("last: upload {upload} is live instead of the last one"));
        }
        let upload = self.history().upload(upload).clone();
        if let Some(wrong) = self.differences(&upload, since).first() {
            return Err(format!("last objects: {wrong}"));
        }
        self.check_ledger(true).await?;
        self.check_caches(self.now())
    }

    /// Returns what is live, and when the work of the run that brought it live began.
    pub fn live(&self) -> Option<(u64, DateTime<Utc>)> {
        self.history().takes.last().map(|take| (take.upload, take.began))
    }

    /// Checks that nothing is left in the failure queue, except events that are refused for what they say.
    fn check_failures_left(&self) -> Result<(), String> {
        let failed = self.queue().failed.clone();
        let history = self.history();
        for failed in failed {
            let last = history.answers.iter().rev().find(|answer| answer.request == failed.request);
            match last.map(|answer| &answer.result) {
                Some(Err(_)) if history.is_refused(&failed.request) => {}
                Some(Err((kind, message))) => {
                    return Err(format!("keeps failing as {kind}: {} fails: {message}", failed.sent));
                }
                other => return Err(format!("keeps failing: {} ends as {other:?}", failed.sent)),
            }
        }
        Ok(())
    }

    /// Checks that the newest upload is live, unless a person has meant another one since.
    fn check_newest(&self) -> Result<(), String> {
        let history = self.history();
        let deployable = |upload: &&Uploaded| {
            let was_invoked = invoked_at(&history, upload.number).is_some();
            // A build without an index document may be refused; but one that went live counts.
            let was_live = history.takes.iter().any(|take| take.upload == upload.number);
            upload.build.flaw.is_none() && (was_live || !upload.build.lacks_index()) && was_invoked
        };
        let Some(newest) =
            history.uploads.iter().filter(deployable).max_by_key(|upload| (upload.at.timestamp(), upload.at))
        else {
            return Ok(());
        };
        let Some(last) = history.takes.last() else {
            return Err(format!(
                "{}: nothing is live, although upload {} could be",
                self.why(&history, newest),
                newest.number
            ));
        };
        let live = history.upload(last.upload);
        if !newest.is_newer_than(live) || !history.restored.is_empty() {
            return Ok(());
        }
        // A person has meant the live build, and has said so after the newest upload came to the function.
        let is_persons = |id: &String| {
            let request = history.request(id).filter(|request| request.id == *id);
            request.is_some_and(|request| matches!(request.sent, Sent::Word(_) | Sent::Previous))
        };
        // Any event of the upload may finish a run that a person has begun.
        let is_word = |take: &&Take| is_persons(&take.request) || take.claimants.iter().any(is_persons);
        // Any event may finish a run that a person has begun: every way back was checked when it was taken.
        let is_way_back = |index: usize| {
            let before = index.checked_sub(1).map(|before| history.upload(history.takes[before].upload));
            before.is_some_and(|before| before.is_newer_than(live))
        };
        let takes = history.takes.iter().enumerate().rev().take_while(|(_, take)| take.upload == last.upload);
        let said = takes.into_iter().find(|(index, take)| is_word(take) || is_way_back(*index)).map(|(_, take)| take);
        let came = invoked_at(&history, newest.number);
        if said.is_some_and(|said| came.is_some_and(|came| came < said.at)) {
            return Ok(());
        }
        let why = self.why(&history, newest);
        Err(format!("{why}: upload {} is live, and not the newer upload {}", live.number, newest.number))
    }

    /// Returns a word on why the newest upload may not be live.
    fn why(&self, history: &History, newest: &Uploaded) -> &'static str {
        let outcomes = history.answers.iter().flat_map(|answer| answer.result.iter().flatten());
        let is_newest = |outcome: &&Outcome| outcome.id.as_ref().is_some_and(|id| id.ends_with(&newest.digest()));
        let outcomes: BTreeSet<&str> = outcomes.filter(is_newest).map(|outcome| outcome.outcome.as_str()).collect();
        match () {
            () if outcomes.contains("superseded") => "newest superseded",
            () if outcomes.contains("inProgress") => "newest in progress",
            () if self.has_odd_settings() => "newest refused",
            () => "newest",
        }
    }

    /// Checks that the site is free, and that no invalidation is owed.
    async fn check_ledger(&self, is_last: bool) -> Result<(), String> {
        // The lease of an invocation that died lapses by itself.
        if is_last && let Some(lease) = self.head_field("lease").await {
            return Err(format!("lease: it is held: {lease}"));
        }
        if is_last && let Some(unfinished) = self.head_field("unfinished").await {
            return Err(format!("unfinished run: one is left: {unfinished}"));
        }
        for item in self.cloud.table(TABLE) {
            let name = item["item"]["S"].as_str().unwrap_or_default();
            if name.starts_with("owed#") {
                return Err(format!("owed: {item} is owed for ever"));
            }
        }
        Ok(())
    }

    /// Checks that no cache has a page that has changed, except by foreign hands since.
    fn check_caches(&self, since: DateTime<Utc>) -> Result<(), String> {
        // Nobody hears of changes through a distribution that the site has no longer; what was owed to it is in the
        // ledger.
        for id in self.visited() {
            for (url, [cached, fresh]) in self.cloud.edge(&id).stale_answers() {
                if same(&cached, &fresh) || self.is_excused(&url, &cached, &fresh, since) {
                    continue;
                }
                let show = |answer: &EdgeAnswer| format!("{} {:?}", answer.status, answer.body);
                let has = |is: fn(&What) -> bool| self.plan.deeds.iter().any(|deed| is(&deed.what));
                let kind = match cached.headers.get("cache-control") {
                    Some(value) if value == IMMUTABLE => "stale immutable",
                    _ if has(What::reconfigures) => "stale reconfigured",
                    _ if has(|what| *what == What::DeleteManifest) => "stale without manifest",
                    _ if has(|what| *what == What::RestoreLedger) => "stale restored",
                    _ => "stale",
                };
                return Err(format!("{kind}: {id}{url} answers {} instead of {}", show(&cached), show(&fresh)));
            }
        }
        Ok(())
    }

    /// Whether there is no promise that a cached answer is up to date.
    fn is_excused(&self, url: &str, cached: &EdgeAnswer, fresh: &EdgeAnswer, since: DateTime<Utc>) -> bool {
        let history = self.history();
        let key = url.trim_start_matches('/');
        let touched = |(at, touched): &(DateTime<Utc>, &str)| {
            let is_index = touched.strip_suffix("index.html").is_some_and(|it| it.trim_end_matches('/') == key);
            *at >= since && (*touched == key || is_index || touched.strip_prefix("d/") == Some(key) || key.is_empty())
        };
        // A foreign object that was gone again before any deployment saw it.
        let is_foreign = cached.body.starts_with(b"foreign");
        let is_immutable = cached.headers.get("cache-control").is_some_and(|value| value == IMMUTABLE);
        let has_left = is_immutable && fresh.status == 404 && self.retains();
        // An object that the site has had no more, and was kept only for others.
        let is_others = |answer: &EdgeAnswer| answer.status == 404 || answer.body.starts_with(b"foreign");
        let was_others = is_others(fresh) && self.may_have_more() && !history.foreign.is_empty();
        is_foreign || has_left || was_others || history.foreign.iter().any(touched)
    }
}

/// Whether a request brings back a build that has been live.
fn is_way_back(history: &History, request: &Request, answer: &Answer) -> bool {
    let Sent::Word(upload) = request.sent.root() else { return false };
    history.takes.iter().any(|take| take.upload == *upload && take.at < answer.began)
}

/// Whether viewers see no difference.
fn same(cached: &EdgeAnswer, fresh: &EdgeAnswer) -> bool {
    let without_etag = |answer: &EdgeAnswer| {
        let mut headers = answer.headers.clone();
        headers.remove("etag");
        (answer.status, headers, answer.body.clone())
    };
    without_etag(cached) == without_etag(fresh)
}

/// Returns when an event of an upload was first invoked.
fn invoked_at(history: &History, upload: u64) -> Option<DateTime<Utc>> {
    let of_upload = history.requests.iter().filter(|request| request.sent.upload() == Some(upload));
    of_upload.filter_map(|request| request.invoked_at).min()
}
