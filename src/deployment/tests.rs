mod history;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

use super::record::MAX_REQUESTS;
use super::*;

/// The moment `seconds` after these tests begin.
fn at(seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 10, 15, 0).unwrap() + TimeDelta::seconds(seconds)
}

/// The deployment of the upload made at `seconds`.
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

/// A head after `sequence` runs, with the newest upload and the last run to finish.
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

/// One event, as the decision table sees it.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    request: &'a str,
    uploaded: i64,
    now: i64,
    replay: bool,
}

/// The event of the upload made at `uploaded`, which the request `second` delivers two seconds later.
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
        let request = Request {
            id: self.request,
            deployment: &id(self.uploaded),
            uploaded_at: at(self.uploaded),
            replay: self.replay,
            now: at(self.now),
        };
        decide(head, record, &request)
    }
}

const START: Decision = Decision::Start { rollback: false };
const ROLLBACK: Decision = Decision::Start { rollback: true };

#[test]
fn an_upload_newer_than_every_claimed_one_starts() {
    assert_eq!(event(0).decide(&Head::default(), None), START);
    assert_eq!(event(9).decide(&head(1, 5, Some(run(5, 1))), None), START);
}

#[test]
fn an_upload_older_than_one_that_claimed_is_superseded_unless_it_is_replayed() {
    // It makes no difference whether the newer upload has finished.
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
fn of_two_uploads_at_the_same_time_the_greater_id_is_newer() {
    let mut head = head(1, 5, Some(run(5, 1)));
    assert_eq!(event(5).decide(&head, None), START, "the upload is the newest itself");
    if let Some(newest) = &mut head.newest {
        newest.deployment = DeploymentId::named("20261122T101505Z-bbbbbbbbbbbb");
    }
    assert_eq!(event(5).decide(&head, None), Decision::Superseded);
    if let Some(newest) = &mut head.newest {
        newest.deployment = DeploymentId::named("20261122T101505Z-000000000000");
    }
    assert_eq!(event(5).decide(&head, None), START);
}

#[test]
fn a_duplicate_of_a_running_deployment_is_in_progress() {
    let head = held(head(1, 0, None), "first", 0, 900);
    let record = record(0, Status::Unfinished, 1);
    for event in [event(0), event(0).replay(), event(0).now(800)] {
        assert_eq!(event.decide(&head, Some(&record)), Decision::InProgress);
    }
}

#[test]
fn a_request_retakes_its_lease_immediately_and_others_wait_until_it_lapses() {
    let head = held(head(1, 0, None), "first", 0, 900);
    let record = record(0, Status::Unfinished, 1);
    assert_eq!(event(0).retry().decide(&head, Some(&record)), Decision::Resume);
    for (now, decision) in [(899, Decision::InProgress), (900, Decision::Resume), (901, Decision::Resume)] {
        assert_eq!(event(0).now(now).decide(&head, Some(&record)), decision);
    }
}

#[test]
fn an_upload_waits_for_a_site_that_another_deployment_holds() {
    let head = held(head(1, 0, None), "first", 0, 900);
    assert_eq!(event(9).decide(&head, None), Decision::Wait);
    assert_eq!(event(9).decide(&head, Some(&record(9, Status::Unfinished, 1))), Decision::Wait);
    assert_eq!(event(9).now(900).decide(&head, None), START);
    // A superseded upload changes nothing, so it does not wait.
    assert_eq!(event(-9).decide(&head, None), Decision::Superseded);
}

#[test]
fn any_event_resumes_an_unfinished_run_until_a_later_run_has_finished() {
    let record = record(0, Status::Unfinished, 2);
    // A newer upload has claimed and died, and an older one is live: neither overtakes the run.
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
fn only_an_explicit_replay_revives_an_overtaken_run_and_only_once() {
    let head = head(3, 9, Some(run(9, 3)));
    for status in [Status::Unfinished, Status::Superseded] {
        let record = record(0, status, 2);
        assert_eq!(event(0).replay().decide(&head, Some(&record)), ROLLBACK);
        assert_eq!(event(0).replay().retry().decide(&head, Some(&record)), Decision::Superseded);
        assert_eq!(event(0).now(9_999).decide(&head, Some(&record)), Decision::Superseded);
    }
}

#[test]
fn a_replay_brings_back_a_deployment_that_was_live_even_if_its_latest_run_was_overtaken() {
    let head = head(4, 9, Some(run(9, 4)));
    for status in [Status::Unfinished, Status::Superseded] {
        let record = Record { answer: Some("{}".to_owned()), ..record(0, status, 3) };
        assert_eq!(event(0).replay().decide(&head, Some(&record)), ROLLBACK);
        for event in [event(0), event(0).now(9_999), event(0).now(9_999).retry()] {
            assert_eq!(event.decide(&head, Some(&record)), Decision::Superseded);
        }
    }
}

#[test]
fn any_event_of_the_live_deployment_starts_a_new_run() {
    let head = head(1, 0, Some(run(0, 1)));
    let record = record(0, Status::Finished, 1);
    for event in [event(0), event(0).retry(), event(0).now(9_999), event(0).replay()] {
        assert_eq!(event.decide(&head, Some(&record)), START);
    }
}

#[test]
fn a_duplicate_of_the_live_build_does_not_finish_before_a_run_that_waits_for_its_retry() {
    let record = record(0, Status::Finished, 1);
    let mut head = head(2, 9, Some(run(0, 1)));
    // The later run has begun to write, or it failed before its first write.
    for unfinished in [Some(run(9, 2)), None] {
        head.unfinished = unfinished;
        assert_eq!(event(0).decide(&head, Some(&record)), Decision::Duplicate);
        assert_eq!(event(0).retry().now(9_999).decide(&head, Some(&record)), Decision::Duplicate);
        assert_eq!(event(0).replay().decide(&head, Some(&record)), START);
        assert_eq!(event(0).now(9_999).decide(&head, Some(&record)), Decision::Duplicate);
    }
}

#[test]
fn a_finished_deployment_rolls_back_on_a_replay_and_on_no_other_event_of_any_age() {
    let head = head(2, 9, Some(run(9, 2)));
    let record = record(0, Status::Finished, 1);
    assert_eq!(event(0).replay().decide(&head, Some(&record)), ROLLBACK);
    for now in [2, 300, 301, 86_400, 400 * 86_400] {
        assert_eq!(event(0).now(now).decide(&head, Some(&record)), Decision::Duplicate);
    }
}

#[test]
fn a_replay_is_spent_by_the_request_that_claimed_it() {
    let record = record(0, Status::Finished, 3).claimed_by("second");
    // A newer upload has gone live since the replay.
    let head = head(4, 9, Some(run(9, 4)));
    assert_eq!(event(0).replay().decide(&head, Some(&record)), Decision::Duplicate);
    let again = Arrival { request: "third", ..event(0).replay() };
    assert_eq!(again.decide(&head, Some(&record)), ROLLBACK);
}

#[test]
fn a_retry_of_a_finished_run_is_a_duplicate_after_a_newer_one_however_late_it_comes() {
    let head = head(2, 9, Some(run(9, 2)));
    let mut record = record(0, Status::Finished, 1);
    // Another request has resumed the run since; the first request's retry still counts as a retry.
    record = record.claimed_by("third");
    for event in [event(0), event(0).now(9_999), event(0).replay()] {
        assert_eq!(event.retry().decide(&head, Some(&record)), Decision::Duplicate);
    }
}

#[test]
fn a_refused_archive_is_refused_again_by_every_event() {
    let record = record(0, Status::Rejected, 0);
    let held = held(head(1, 9, None), "other", 9, 900);
    for head in [Head::default(), held] {
        for event in [event(0), event(0).retry(), event(0).replay(), event(0).now(9_999)] {
            assert_eq!(event.decide(&head, Some(&record)), Decision::Rejected("no zip".to_owned()));
        }
    }
}

#[test]
fn a_record_remembers_each_of_its_latest_requests_once() {
    let mut record = record(0, Status::Unfinished, 1);
    for number in 0..MAX_REQUESTS {
        record = record.claimed_by(&number.to_string()).claimed_by("0");
    }
    assert_eq!(record.requests.len(), MAX_REQUESTS);
    assert!(record.was_claimed_by("0") && record.was_claimed_by("1"));
    assert!(!record.was_claimed_by("first"));
}

fn claim<'a>(request: &'a str, deployment: &'a DeploymentId, uploaded: i64) -> Request<'a> {
    Request { id: request, deployment, uploaded_at: at(uploaded), replay: false, now: at(uploaded) }
}

#[test]
fn a_claim_takes_the_lease_and_keeps_the_newest_upload_and_the_highest_run() {
    let (old, new) = (id(0), id(9));
    let claimed = head(1, 0, None).claimed(&claim("a", &new, 9), 2, at(900));
    assert_eq!((claimed.version, claimed.sequence), (2, 2));
    assert_eq!(claimed.newest.as_ref().map(|it| &it.deployment), Some(&new));
    assert_eq!(claimed.unfinished, Some(run(9, 2)));
    assert_eq!(claimed.lease.as_ref().map(|it| it.until), Some(at(905)), "five seconds after the deadline");
    // The retry of the older upload takes the lease, but does not become the newest.
    let resumed = claimed.claimed(&claim("b", &old, 0), 1, at(1_800));
    assert_eq!((resumed.version, resumed.sequence), (3, 2));
    assert_eq!(resumed.newest, claimed.newest);
    assert_eq!(resumed.unfinished, Some(run(9, 2)));
    assert_eq!(resumed.lease.map(|it| it.deployment), Some(old));
}

#[test]
fn a_run_that_finishes_clears_the_runs_it_overtook_and_no_later_one() {
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
fn a_refused_run_restores_the_unfinished_run_before_it() {
    for unfinished in [None, Some(run(0, 1))] {
        let mut before = head(1, 0, None);
        before.unfinished = unfinished.clone();
        let claimed = before.claimed(&claim("a", &id(9), 9), 2, at(900));
        let refused = claimed.next_version().withdrawn(&run(9, 2), &before);
        assert_eq!((refused.unfinished, refused.lease, refused.version), (unfinished, None, 4));
    }
}

#[test]
fn a_refused_retry_stays_unfinished_because_its_first_attempt_may_have_written() {
    let mut before = head(2, 9, None);
    before.unfinished = Some(run(9, 2));
    let claimed = before.claimed(&claim("a", &id(9), 9), 2, at(900));
    assert_eq!(claimed.withdrawn(&run(9, 2), &before).unfinished, Some(run(9, 2)));
    assert_eq!(claimed.released().unfinished, Some(run(9, 2)));
}

#[test]
fn a_newest_upload_in_the_future_shuts_out_no_other() {
    let shut = head(1, 86_400, Some(run(86_400, 1)));
    assert_eq!(event(0).now(2).decide(&shut, None), START);
    let claimed = shut.claimed(&claim("a", &id(0), 0), 2, at(900));
    assert_eq!(claimed.newest.map(|newest| newest.deployment), Some(id(0)), "it is forgotten, also for later");
    // The clocks of AWS may differ by minutes.
    let slightly_ahead = head(1, 300, Some(run(300, 1)));
    assert_eq!(event(0).now(2).decide(&slightly_ahead, None), Decision::Superseded);
}
