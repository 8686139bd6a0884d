use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use proptest::prelude::*;

use super::decision::DUPLICATE_WINDOW;
use super::record::MAX_REQUESTS;
use super::*;

/// A moment that is `seconds` after the start of these tests.
fn at(seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 10, 15, 0).unwrap() + TimeDelta::seconds(seconds)
}

/// The deployment of the upload that was made at `seconds`.
fn id(seconds: i64) -> DeploymentId {
    DeploymentId::named(&at(seconds).format("%Y%m%dT%H%M%SZ-aaaaaaaaaaaa").to_string())
}

fn run(seconds: i64, number: u64) -> RunId {
    RunId { deployment: id(seconds), number }
}

/// The record of the upload made at `seconds`, last claimed by the request `first`.
fn record(seconds: i64, status: Status, run: u64) -> Record {
    Record {
        deployment: id(seconds),
        uploaded_at: at(seconds),
        status,
        run,
        rollback: false,
        requests: vec!["first".to_owned()],
        batches: 0,
        rejection: (status == Status::Rejected).then(|| "no zip".to_owned()),
        version_id: None,
        etag: None,
        sequencer: None,
        event: String::new(),
        answer: None,
        expires_at: 0,
    }
}

/// A head after `sequence` runs, of which `live` was the last to finish.
fn head(sequence: u64, newest: i64, live: Option<RunId>) -> Head {
    Head {
        version: 1,
        sequence,
        newest: Some(Newest { uploaded_at: at(newest), deployment: id(newest) }),
        live,
        ..Head::default()
    }
}

fn held(head: Head, holder: &str, seconds: i64, until: i64) -> Head {
    let lease = Some(Lease { holder: holder.to_owned(), deployment: id(seconds), until: at(until) });
    Head { lease, ..head }
}

/// One event, as the table sees it.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    request: &'a str,
    uploaded: i64,
    now: i64,
    replay: bool,
}

/// The event of the upload made at `uploaded`, delivered two seconds later by the request `second`.
fn event(uploaded: i64) -> Arrival<'static> {
    Arrival { request: "second", uploaded, now: uploaded + 2, replay: false }
}

impl Arrival<'_> {
    fn replay(self) -> Self {
        Self { replay: true, ..self }
    }

    fn now(self, now: i64) -> Self {
        Self { now, ..self }
    }

    fn retry(self) -> Self {
        Self { request: "first", ..self }
    }

    fn decide(self, head: &Head, record: Option<&Record>) -> Decision {
        self.decide_at(self.now, head, record)
    }

    /// Decides when the event has waited in its invocation until `now`.
    fn decide_at(self, now: i64, head: &Head, record: Option<&Record>) -> Decision {
        let request = Request {
            id: self.request,
            deployment: &id(self.uploaded),
            uploaded_at: at(self.uploaded),
            replay: self.replay,
            arrived_at: at(self.now),
            now: at(now),
        };
        decide(head, record, &request)
    }
}

const RUN: Decision = Decision::Start { rollback: false };
const ROLLBACK: Decision = Decision::Start { rollback: true };

#[test]
fn an_upload_newer_than_all_that_claimed_runs() {
    assert_eq!(event(0).decide(&Head::default(), None), RUN);
    assert_eq!(event(9).decide(&head(1, 5, Some(run(5, 1))), None), RUN);
}

#[test]
fn an_upload_older_than_one_that_claimed_is_superseded_unless_it_is_replayed() {
    // Whether the newer one has finished makes no difference.
    for live in [None, Some(run(5, 1))] {
        let head = head(1, 5, live);
        assert_eq!(event(0).decide(&head, None), Decision::Superseded);
        assert_eq!(event(0).replay().decide(&head, None), ROLLBACK);
    }
}

#[test]
fn a_saved_event_without_a_record_needs_the_option_to_go_back() {
    let late = event(0).now(86_400);
    assert_eq!(late.decide(&head(1, 5, Some(run(5, 1))), None), Decision::Superseded);
}

#[test]
fn of_two_uploads_at_one_moment_the_greater_id_is_the_newer() {
    let mut head = head(1, 5, Some(run(5, 1)));
    assert_eq!(event(5).decide(&head, None), RUN, "it is the newest itself");
    if let Some(newest) = &mut head.newest {
        newest.deployment = DeploymentId::named("20261122T101505Z-bbbbbbbbbbbb");
    }
    assert_eq!(event(5).decide(&head, None), Decision::Superseded);
    if let Some(newest) = &mut head.newest {
        newest.deployment = DeploymentId::named("20261122T101505Z-000000000000");
    }
    assert_eq!(event(5).decide(&head, None), RUN);
}

#[test]
fn a_duplicate_of_a_run_at_work_is_in_progress() {
    let head = held(head(1, 0, None), "first", 0, 900);
    let record = record(0, Status::Unfinished, 1);
    for event in [event(0), event(0).replay(), event(0).now(800)] {
        assert_eq!(event.decide(&head, Some(&record)), Decision::InProgress);
    }
}

#[test]
fn the_same_request_retakes_its_lease_at_once_and_others_when_it_has_lapsed() {
    let head = held(head(1, 0, None), "first", 0, 900);
    let record = record(0, Status::Unfinished, 1);
    assert_eq!(event(0).retry().decide(&head, Some(&record)), Decision::Resume);
    for (now, decision) in [(899, Decision::InProgress), (900, Decision::Resume), (901, Decision::Resume)] {
        assert_eq!(event(0).now(now).decide(&head, Some(&record)), decision);
    }
}

#[test]
fn a_site_that_another_deployment_holds_is_waited_for() {
    let head = held(head(1, 0, None), "first", 0, 900);
    assert_eq!(event(9).decide(&head, None), Decision::Wait);
    assert_eq!(event(9).decide(&head, Some(&record(9, Status::Unfinished, 1))), Decision::Wait);
    assert_eq!(event(9).now(900).decide(&head, None), RUN);
    // What will change nothing does not wait.
    assert_eq!(event(-9).decide(&head, None), Decision::Superseded);
}

#[test]
fn an_unfinished_run_is_resumed_by_any_event_for_it_until_a_higher_one_has_finished() {
    let record = record(0, Status::Unfinished, 2);
    // A newer upload has claimed and died, and an older one is live: nothing to give way to.
    for live in [None, Some(run(-9, 1))] {
        let head = head(3, 9, live);
        for event in [event(0), event(0).retry(), event(0).now(9_999)] {
            assert_eq!(event.decide(&head, Some(&record)), Decision::Resume);
        }
    }
    let head = head(3, 9, Some(run(9, 3)));
    for event in [event(0), event(0).retry(), event(0).now(9_999)] {
        assert_eq!(event.decide(&head, Some(&record)), Decision::Superseded);
    }
}

#[test]
fn only_an_explicit_replay_revives_an_overtaken_run_and_its_retry_does_not() {
    let head = head(3, 9, Some(run(9, 3)));
    for status in [Status::Unfinished, Status::Superseded] {
        let record = record(0, status, 2);
        assert_eq!(event(0).replay().decide(&head, Some(&record)), ROLLBACK);
        assert_eq!(event(0).replay().retry().decide(&head, Some(&record)), Decision::Superseded);
        assert_eq!(event(0).now(9_999).decide(&head, Some(&record)), Decision::Superseded);
    }
}

#[test]
fn what_was_live_comes_back_by_its_saved_event_even_when_a_later_run_of_it_was_overtaken() {
    let head = head(4, 9, Some(run(9, 4)));
    for status in [Status::Unfinished, Status::Superseded] {
        let record = Record { answer: Some("{}".to_owned()), ..record(0, status, 3) };
        assert_eq!(event(0).now(9_999).decide(&head, Some(&record)), ROLLBACK);
        for event in [event(0), event(0).now(9_999).retry()] {
            assert_eq!(event.decide(&head, Some(&record)), Decision::Superseded);
        }
    }
}

#[test]
fn what_is_live_runs_again_on_any_event() {
    let head = head(1, 0, Some(run(0, 1)));
    let record = record(0, Status::Finished, 1);
    for event in [event(0), event(0).retry(), event(0).now(9_999), event(0).replay()] {
        assert_eq!(event.decide(&head, Some(&record)), RUN);
    }
}

#[test]
fn a_duplicate_of_the_live_build_does_not_finish_ahead_of_a_run_that_waits_for_its_retry() {
    let record = record(0, Status::Finished, 1);
    let mut head = head(2, 9, Some(run(0, 1)));
    // Whether that run has begun to write, or failed before its first write.
    for unfinished in [Some(run(9, 2)), None] {
        head.unfinished = unfinished;
        assert_eq!(event(0).decide(&head, Some(&record)), Decision::Duplicate);
        // Lambda may retry for hours: a retry is never meant as a replay.
        assert_eq!(event(0).retry().now(9_999).decide(&head, Some(&record)), Decision::Duplicate);
        assert_eq!(event(0).replay().decide(&head, Some(&record)), RUN);
        assert_eq!(event(0).now(9_999).decide(&head, Some(&record)), RUN);
    }
}

#[test]
fn a_finished_deployment_rolls_back_when_asked_to_or_when_its_event_is_old() {
    let head = head(2, 9, Some(run(9, 2)));
    let record = record(0, Status::Finished, 1);
    assert_eq!(event(0).replay().decide(&head, Some(&record)), ROLLBACK);
    for (now, decision) in [(2, Decision::Duplicate), (300, Decision::Duplicate), (301, ROLLBACK)] {
        assert_eq!(event(0).now(now).decide(&head, Some(&record)), decision);
    }
}

#[test]
fn a_retry_of_a_finished_run_after_a_newer_one_does_nothing_however_late() {
    let head = head(2, 9, Some(run(9, 2)));
    let mut record = record(0, Status::Finished, 1);
    // Another request has resumed the run since; the first one's retry is a retry all the same.
    record = record.claimed_by("third");
    for event in [event(0), event(0).now(9_999), event(0).replay()] {
        assert_eq!(event.retry().decide(&head, Some(&record)), Decision::Duplicate);
    }
}

#[test]
fn a_duplicate_that_waited_for_the_site_is_a_duplicate() {
    let head = head(2, 9, Some(run(9, 2)));
    let record = record(0, Status::Finished, 1);
    assert_eq!(event(0).decide_at(9_999, &head, Some(&record)), Decision::Duplicate);
}

#[test]
fn a_refused_archive_is_refused_again_whatever_asks_for_it() {
    let record = record(0, Status::Rejected, 0);
    let held = held(head(1, 9, None), "other", 9, 900);
    for head in [Head::default(), held] {
        for event in [event(0), event(0).retry(), event(0).replay(), event(0).now(9_999)] {
            assert_eq!(event.decide(&head, Some(&record)), Decision::Rejected("no zip".to_owned()));
        }
    }
}

#[test]
fn a_record_remembers_its_latest_requests_once_each() {
    let mut record = record(0, Status::Unfinished, 1);
    for number in 0..MAX_REQUESTS {
        record = record.claimed_by(&number.to_string()).claimed_by("0");
    }
    assert_eq!(record.requests.len(), MAX_REQUESTS);
    assert!(record.was_claimed_by("0") && record.was_claimed_by("1"));
    assert!(!record.was_claimed_by("first"));
}

fn claim<'a>(request: &'a str, deployment: &'a DeploymentId, uploaded: i64) -> Request<'a> {
    Request {
        id: request,
        deployment,
        uploaded_at: at(uploaded),
        replay: false,
        arrived_at: at(uploaded),
        now: at(uploaded),
    }
}

#[test]
fn a_claim_takes_the_lease_and_keeps_the_newest_and_the_highest() {
    let (old, new) = (id(0), id(9));
    let claimed = head(1, 0, None).claimed(&claim("a", &new, 9), 2, at(900));
    assert_eq!((claimed.version, claimed.sequence), (2, 2));
    assert_eq!(claimed.newest.as_ref().map(|it| &it.deployment), Some(&new));
    assert_eq!(claimed.unfinished, Some(run(9, 2)));
    assert_eq!(claimed.lease.as_ref().map(|it| it.until), Some(at(905)), "five seconds after the deadline");
    // The older one's retry takes the site, not the newer one's place.
    let resumed = claimed.claimed(&claim("b", &old, 0), 1, at(1_800));
    assert_eq!((resumed.version, resumed.sequence), (3, 2));
    assert_eq!(resumed.newest, claimed.newest);
    assert_eq!(resumed.unfinished, Some(run(9, 2)));
    assert_eq!(resumed.lease.map(|it| it.deployment), Some(old));
}

#[test]
fn a_run_that_finishes_clears_what_it_overtook_and_nothing_higher() {
    let mut before = head(2, 9, None);
    before.unfinished = Some(run(9, 2));
    let lower = before.finished(&run(0, 1));
    assert_eq!((lower.live, lower.lease), (Some(run(0, 1)), None));
    assert_eq!(lower.unfinished, Some(run(9, 2)));
    for higher in [run(9, 2), run(12, 3)] {
        assert_eq!(before.finished(&higher).unfinished, None);
    }
}

#[test]
fn a_refused_run_leaves_unfinished_what_was_so_before() {
    for unfinished in [None, Some(run(0, 1))] {
        let mut before = head(1, 0, None);
        before.unfinished = unfinished.clone();
        let claimed = before.claimed(&claim("a", &id(9), 9), 2, at(900));
        let refused = claimed.next_version().refused(&run(9, 2), &before);
        assert_eq!((refused.unfinished, refused.lease, refused.version), (unfinished, None, 4));
    }
}

#[test]
fn a_refused_retry_does_not_forget_what_its_first_attempt_wrote() {
    let mut before = head(2, 9, None);
    before.unfinished = Some(run(9, 2));
    let claimed = before.claimed(&claim("a", &id(9), 9), 2, at(900));
    assert_eq!(claimed.refused(&run(9, 2), &before).unfinished, Some(run(9, 2)));
    assert_eq!(claimed.released().unfinished, Some(run(9, 2)));
}

const UPLOADS: usize = 4;

/// Something that happens to the site.
#[derive(Clone, Debug)]
enum Step {
    /// A request of its own brings the event of an upload.
    Deliver {
        upload: usize,
        replay: bool,
    },
    /// Lambda tries an earlier request again, whatever came of it.
    Retry(usize),
    /// The invocation that holds the site gets to its end.
    Finish,
    /// It fails before its first write.
    Refuse,
    /// It fails later, and gives the lease back.
    GiveUp,
    /// It writes to the ledger on its way.
    Touch,
    /// It dies, and its lease stays.
    Die,
    Pass {
        seconds: i64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..UPLOADS, prop::bool::weighted(0.1))
            .prop_map(|(upload, replay)| Step::Deliver { upload, replay }),
        3 => (0..8_usize).prop_map(Step::Retry),
        4 => Just(Step::Finish),
        1 => Just(Step::Refuse),
        1 => Just(Step::GiveUp),
        1 => Just(Step::Touch),
        1 => Just(Step::Die),
        2 => prop_oneof![Just(1), Just(299), Just(301), Just(1_000)]
            .prop_map(|seconds| Step::Pass { seconds }),
    ];
    prop::collection::vec(step, 1..40)
}

struct Delivery {
    request: String,
    upload: usize,
    replay: bool,
    has_claimed: bool,
}

/// An invocation between its claim and its end.
struct Work {
    before: Head,
    run: RunId,
    upload: usize,
}

/// One site, with what its history has shown beside what the ledger remembers.
#[derive(Default)]
struct Site {
    seconds: i64,
    head: Head,
    records: BTreeMap<usize, Record>,
    deliveries: Vec<Delivery>,
    work: Option<Work>,
    /// The numbers of the runs that a person asked for.
    meant: BTreeSet<u64>,
    /// The finished runs in their order: number and upload.
    finished: Vec<(u64, usize)>,
}

impl Site {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Deliver { upload, replay } => {
                self.deliveries.push(Delivery {
                    request: format!("request {}", self.deliveries.len()),
                    upload,
                    replay,
                    has_claimed: false,
                });
                self.invoke(self.deliveries.len() - 1);
            }
            Step::Retry(number) => {
                if let Some(delivery) = self.deliveries.get(number) {
                    // Of a request that never claimed nothing is known: its late retry counts as new.
                    let is_known =
                        delivery.has_claimed || at(self.seconds) - at(delivery.upload as i64) <= DUPLICATE_WINDOW;
                    // Lambda does not try again what is still at work.
                    let is_at_work =
                        self.work.is_some() && self.head.lease.as_ref().map(|it| &it.holder) == Some(&delivery.request);
                    if is_known && !is_at_work {
                        self.invoke(number);
                    }
                }
            }
            Step::Pass { seconds } => {
                self.seconds += seconds;
                // No invocation outlives its lease.
                if self.head.lease.as_ref().is_some_and(|it| it.until <= at(self.seconds)) {
                    self.work = None;
                }
            }
            Step::Touch if self.work.is_some() => self.head = self.head.next_version(),
            Step::Finish => {
                if let Some(work) = self.work.take() {
                    self.finish(work);
                }
            }
            Step::Refuse => {
                if let Some(work) = self.work.take() {
                    self.head = self.head.refused(&work.run, &work.before);
                }
            }
            Step::GiveUp => {
                if self.work.take().is_some() {
                    self.head = self.head.released();
                }
            }
            Step::Die | Step::Touch => self.work = None,
        }
    }

    fn finish(&mut self, work: Work) {
        let overtaken = self.finished.iter().filter(|(_, upload)| *upload > work.upload);
        if let Some(&(newer, _)) = overtaken.max() {
            let was_live = self.finished.last().map(|(_, upload)| *upload) == Some(work.upload);
            assert!(
                work.run.number > newer && (was_live || self.meant.contains(&work.run.number)),
                "upload {} came back unasked",
                work.upload
            );
        }
        self.head = self.head.finished(&work.run);
        if let Some(record) = self.records.get_mut(&work.upload) {
            record.status = Status::Finished;
            record.answer = Some("{}".to_owned());
        }
        self.finished.push((work.run.number, work.upload));
    }

    fn invoke(&mut self, number: usize) {
        let delivery = &self.deliveries[number];
        let (request_id, upload) = (delivery.request.clone(), delivery.upload);
        let uploaded = upload as i64;
        let deployment = id(uploaded);
        let request = Request {
            id: &request_id,
            deployment: &deployment,
            uploaded_at: at(uploaded),
            replay: delivery.replay,
            arrived_at: at(self.seconds),
            now: at(self.seconds),
        };
        let is_meant = !delivery.has_claimed && request.is_replay();
        let known = self.records.get(&upload).cloned();
        let decision = decide(&self.head, known.as_ref(), &request);
        let known = known.unwrap_or_else(|| Record { requests: Vec::new(), ..record(uploaded, Status::Unfinished, 0) });
        let next = match decision {
            Decision::Start { rollback } => {
                let run = self.head.sequence + 1;
                if is_meant {
                    self.meant.insert(run);
                }
                Record { status: Status::Unfinished, run, rollback, ..known }
            }
            Decision::Resume => known,
            Decision::Superseded => {
                self.assert_overtaken(&known, upload);
                let status = Status::Superseded;
                self.records.insert(upload, Record { status, ..known });
                return;
            }
            _ => return,
        };
        assert!(self.work.is_none(), "two invocations at work");
        let head = self.head.claimed(&request, next.run, at(self.seconds + 900));
        self.work = Some(Work {
            before: std::mem::replace(&mut self.head, head),
            run: RunId { deployment: next.deployment.clone(), number: next.run },
            upload,
        });
        self.records.insert(upload, next.claimed_by(&request_id));
        self.deliveries[number].has_claimed = true;
    }

    /// A run that has begun gives way to a newer upload or to what a person asked for, to nothing else.
    fn assert_overtaken(&self, record: &Record, upload: usize) {
        if record.status == Status::Unfinished && record.run > 0 {
            let mut higher = self.finished.iter().filter(|(run, _)| *run > record.run);
            assert!(
                higher.any(|(run, other)| *other > upload || self.meant.contains(run)),
                "upload {upload} was turned away by an older one"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The finer laws are asserted where they are at stake: in `finish`, `invoke` and `assert_overtaken`.
    #[test]
    fn numbers_only_grow_and_no_older_build_comes_back_unasked(steps in steps()) {
        let mut site = Site { seconds: UPLOADS as i64, ..Site::default() };
        for step in &steps {
            let before = site.head.clone();
            site.step(step);
            prop_assert!(site.head.sequence >= before.sequence);
            prop_assert!(site.head.version >= before.version);
            prop_assert!(site.head.newest >= before.newest, "`newest` went back");
            let number = |head: &Head| head.live.as_ref().map(|live| live.number);
            prop_assert!(number(&site.head) >= number(&before), "`live` went back");
            let unfinished = site.head.unfinished.as_ref().map(|run| run.number);
            prop_assert!(unfinished.is_none_or(|number| number <= site.head.sequence));
        }
        let runs: Vec<u64> = site.finished.iter().map(|(run, _)| *run).collect();
        prop_assert!(runs.is_sorted_by(|a, b| a < b), "{runs:?}");
    }

    /// The last word of every history: once everybody has had their retry, the newest upload is live, or
    /// what a person asked for after it.
    #[test]
    fn when_all_have_settled_the_newest_is_live(steps in steps()) {
        let mut site = Site { seconds: UPLOADS as i64, ..Site::default() };
        for step in &steps {
            site.step(step);
        }
        site.work = None;
        site.step(&Step::Pass { seconds: 1_000 });
        for number in 0..site.deliveries.len() {
            if site.deliveries[number].has_claimed {
                site.invoke(number);
                site.step(&Step::Finish);
            }
        }
        let newest = site.head.newest.as_ref().map(|newest| newest.deployment.clone());
        if let Some(live) = &site.head.live {
            // What was asked for stays so when it is run again.
            let upload = site.finished.last().map(|(_, upload)| *upload);
            let mut streak = site.finished.iter().rev().take_while(|(_, it)| Some(*it) == upload);
            prop_assert!(
                Some(&live.deployment) == newest.as_ref()
                    || streak.any(|(run, _)| site.meant.contains(run)),
                "{live:?} is live, {newest:?} is newest, {:?} were meant", site.meant
            );
        }
    }
}
