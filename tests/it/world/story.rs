//! A failing world in words, after everything was left out that it fails without.

use super::contents::Flaw;
use super::plan::{Aws, Deed, Plan, Trouble, TroubleKind, Upload, What};

/// Returns the smallest plan that still fails in the same way, as far as leaving things out one by one finds it.
pub fn shrink(plan: Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut smallest = plan;
    loop {
        let Some(smaller) = candidates(&smallest).into_iter().find(|candidate| fails(candidate)) else {
            return smallest;
        };
        smallest = smaller;
    }
}

/// Returns plans that are a little smaller, the most promising first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut candidates = Vec::new();
    for index in (0..plan.deeds.len()).rev() {
        let mut smaller = plan.clone();
        smaller.deeds.remove(index);
        candidates.push(smaller);
    }
    for aws in kinder(&plan.aws) {
        candidates.push(Plan { aws, ..plan.clone() });
    }
    for (index, deed) in plan.deeds.iter().enumerate() {
        for what in simpler(&deed.what) {
            let mut smaller = plan.clone();
            smaller.deeds[index].what = what;
            candidates.push(smaller);
        }
    }
    candidates.retain(|candidate| !candidate.deeds.is_empty());
    candidates
}

/// Returns AWS's behaviour with one trait of the kindest AWS each.
fn kinder(aws: &Aws) -> Vec<Aws> {
    let kind = aws.kind();
    let one = |change: &dyn Fn(&mut Aws)| {
        let mut kinder = aws.clone();
        change(&mut kinder);
        kinder
    };
    let all = [
        kind.clone(),
        one(&|it| it.deaths_every = kind.deaths_every),
        one(&|it| it.doubles_every = kind.doubles_every),
        one(&|it| it.slow_every = kind.slow_every),
        one(&|it| it.quota = kind.quota),
        one(&|it| it.conflict = kind.conflict),
        one(&|it| it.memory_hours = kind.memory_hours),
        one(&|it| it.spread_seconds = kind.spread_seconds),
        one(&|it| it.invalidation_seconds = kind.invalidation_seconds),
        one(&|it| it.has_two_distributions = kind.has_two_distributions),
        one(&|it| it.has_opaque_etags = kind.has_opaque_etags),
        one(&|it| it.retain_days = kind.retain_days),
        one(&|it| it.max_items = kind.max_items),
        one(&|it| it.history_days = kind.history_days),
        one(&|it| it.concurrency = kind.concurrency),
        one(&|it| it.latency_ms = kind.latency_ms),
        one(&|it| it.timeout_seconds = kind.timeout_seconds),
        one(&|it| it.pause_seconds = kind.pause_seconds),
    ];
    all.into_iter().filter(|it| it != aws).collect()
}

fn simpler(what: &What) -> Vec<What> {
    let What::Upload(upload) = what else { return Vec::new() };
    let mut simpler = Vec::new();
    for index in 0..upload.notifications.len() {
        if upload.notifications.len() > 1 {
            let mut fewer = upload.clone();
            fewer.notifications.remove(index);
            simpler.push(fewer);
        }
        if upload.notifications[index].is_from_event_bridge {
            let mut plain = upload.clone();
            plain.notifications[index].is_from_event_bridge = false;
            simpler.push(plain);
        }
    }
    if upload.initiated_before > 0 {
        simpler.push(Upload { initiated_before: 0, ..upload.clone() });
    }
    if upload.build.has_hour {
        let mut plain = upload.clone();
        plain.build.has_hour = false;
        simpler.push(plain);
    }
    let is_needed =
        |key: &str| key == "index.html" || matches!(upload.build.flaw, Some(Flaw::Corrupt(it)) if it == key);
    for key in upload.build.files.keys().filter(|key| !is_needed(key)) {
        let mut smaller = upload.clone();
        smaller.build.files.remove(key);
        if !smaller.build.files.is_empty() {
            simpler.push(smaller);
        }
    }
    simpler.into_iter().map(What::Upload).collect()
}

impl Aws {
    /// Tells in words how it differs from the kindest AWS.
    pub fn story(&self) -> String {
        let kind = self.kind();
        let mut story = Vec::new();
        let mut tell = |differs: bool, words: String| story.extend(differs.then_some(words));
        tell(self.quota != kind.quota, format!("CloudFront's quota is {:?}", self.quota));
        tell(self.conflict != kind.conflict, format!("a known caller reference gets {:?}", self.conflict));
        if let Some(hours) = self.memory_hours {
            tell(true, format!("CloudFront forgets references after {hours} h"));
        }
        tell(self.spread_seconds > 0, format!("invalidations reach edge locations {} s later", self.spread_seconds));
        tell(!self.voids_fetches, "invalidations void no answers on their way".to_owned());
        tell(!self.is_regional_first, "invalidations reach edge locations first".to_owned());
        tell(self.invalidation_seconds > 0, format!("they are in progress for {} s", self.invalidation_seconds));
        tell(self.latency_ms != kind.latency_ms, format!("calls take up to {} ms each way", self.latency_ms));
        tell(self.slow_every > 0, format!("one of {} calls takes up to 20 s each way", self.slow_every));
        tell(self.timeout_seconds != kind.timeout_seconds, format!("the timeout is {} s", self.timeout_seconds));
        tell(self.concurrency != kind.concurrency, format!("the concurrency is {}", self.concurrency));
        tell(self.deaths_every > 0, format!("one of {} invocations dies", self.deaths_every));
        tell(self.doubles_every > 0, format!("Lambda delivers one of {} events twice", self.doubles_every));
        tell(self.has_opaque_etags, "ETags are opaque".to_owned());
        tell(self.has_two_distributions, "there are two distributions, E2 caches errors".to_owned());
        tell(self.retain_days > 0, format!("removed assets are retained for {} d", self.retain_days));
        tell(self.max_items != kind.max_items, format!("at most {} items are invalidated", self.max_items));
        tell(self.history_days != kind.history_days, format!("the ledger forgets after {} d", self.history_days));
        if story.is_empty() { "AWS is kind.".to_owned() } else { format!("In this world {}.", story.join("; ")) }
    }
}

impl Deed {
    /// Tells it in words.
    pub fn story(&self) -> String {
        match &self.what {
            What::Upload(upload) => format!("CI uploads {}: upload {}, {}", upload.key, self.number, upload.story()),
            What::Replay { upload, is_bare } => {
                let how = if *is_bare { "by a short event" } else { "by its event" };
                format!("a person replays upload {upload} {how}")
            }
            What::RollBackTo { upload } => format!("a person rolls back to upload {upload}"),
            What::RollBack => "a person rolls back to the previous deployment".to_owned(),
            What::Sweep => "the daily sweep comes".to_owned(),
            What::Redrive => "a person redrives the failure queue".to_owned(),
            What::Throttle { seconds } => format!("the function is throttled for {seconds} s"),
            What::Trouble(trouble) => trouble.story(),
            What::WriteForeign { key } => format!("a foreign hand writes {key}"),
            What::DeleteForeign { key } => format!("a foreign hand deletes {key}"),
            What::EmptyBucket => "a foreign hand empties the live bucket".to_owned(),
            What::DeleteManifest => "a foreign hand deletes the manifests".to_owned(),
            What::RestoreLedger => "a person restores the ledger from an hour ago".to_owned(),
            What::Set { name, value } => format!("a person sets {name} to {value:?}"),
            What::CacheErrors { seconds } => format!("the first distribution caches errors for {seconds} s"),
            What::Exchange { is_deleted: true } => "the first distribution is deleted and replaced".to_owned(),
            What::Exchange { is_deleted: false } => "the site gets another first distribution".to_owned(),
            What::Preview(change) => change.story(self.number),
            What::MoveOrigin { path } => format!("the first distribution's origin path becomes {path:?}"),
        }
    }
}

impl Upload {
    fn story(&self) -> String {
        let mut story = self.build.story();
        if self.initiated_before > 0 {
            story.push_str(&format!(", in a multipart upload begun {} s before", self.initiated_before));
        }
        for notification in &self.notifications {
            let by = if notification.is_from_event_bridge { " by EventBridge" } else { "" };
            story.push_str(&format!("; notified{by} after {:.1} s", notification.delay as f64 / 1_000.0));
        }
        story
    }
}

impl Trouble {
    fn story(self) -> String {
        let what = match self.kind {
            TroubleKind::Refused => "are refused",
            TroubleKind::RefusedAfter => "take effect and are answered by an error",
            TroubleKind::DroppedBefore => "are lost",
            TroubleKind::DroppedAfter => "take effect and get no answer",
            TroubleKind::Throttled => "are throttled",
        };
        format!("the next {} calls of {} {what}", self.times, self.operation)
    }
}
