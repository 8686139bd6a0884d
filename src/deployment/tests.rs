mod history;
mod removal;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

use super::record::MAX_REQUESTS;
use super::*;
use crate::invalidation::Batch;

/// The moment `seconds` after these tests begin.
fn at(seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 10, 15, 0).unwrap() + TimeDelta::seconds(seconds)
}

/// The deployment of the upload made at `seconds`.
fn id(seconds: i64) -> DeploymentId {
    DeploymentId::named(&at(seconds).format("%Y%m%dT%H%M%SZ-aaaaaaaaaaaa").to_string())
}

/// The place of the upload made at `seconds`, each under a key of its own.
fn place(seconds: i64) -> Place {
    Place { uploaded_at: at(seconds), deployment: id(seconds), key: Some(format!("{seconds}.zip")), sequencer: None }
}

fn run(seconds: i64, number: u64) -> RunId {
    RunId { deployment: id(seconds), number }
}

fn unfinished(seconds: i64, number: u64) -> UnfinishedRun {
    UnfinishedRun { number, upload: place(seconds), has_begun: false }
}

/// The record of the upload made at `seconds`, last claimed by the request `first`.
fn record(seconds: i64, status: Status, run: u64) -> Record {
    Record {
        source: None,
        deployment: id(seconds),
        uploaded_at: at(seconds),
        is_time_estimated: false,
        status,
        run,
        rollback: false,
        requests: vec![Claimant { request: "first".to_owned(), run }],
        batches: 0,
        rejection: (status == Status::Rejected).then(|| "no zip".to_owned()),
        is_corrupt: false,
        replaced: None,
        version_id: None,
        etag: None,
        sequencer: None,
        event: String::new(),
        answer: None,
        expires_at: None,
    }
}

/// A head after `sequence` runs, with the newest upload that has finished and the last run to finish.
fn head(sequence: u64, newest: i64, live: Option<RunId>) -> Head {
    Head { version: 1, sequence, newest: Some(place(newest)), live, ..Head::default() }
}

fn held(head: Head, holder: &str, seconds: i64, until: i64) -> Head {
    let lease = Some(Lease { holder: holder.to_owned(), deployment: Some(id(seconds)), until: at(until) });
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
        let place = place(self.uploaded);
        let request = Request { id: self.request, place: &place, replay: self.replay, now: at(self.now) };
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
fn an_upload_whose_first_time_makes_it_the_newest_runs_once_more() {
    // Its first event told no time, so that it counted as the upload of second 0.
    let told = event(9);
    let head = head(2, 5, Some(run(5, 2)));
    for status in [Status::Unfinished, Status::Finished] {
        assert_eq!(told.decide(&head, Some(&record(9, status, 1))), START);
        assert_ne!(event(3).decide(&head, Some(&record(3, status, 1))), START);
    }
}

#[test]
fn the_first_time_of_an_upload_does_not_bring_it_back_once_a_person_has_gone_back_to_another() {
    // The newest upload, whose event told no time, or the one after it; run 3 rolls back to the upload of second 1.
    let told = event(9);
    for newest in [5, 9] {
        let mut head = head(3, 5, Some(run(1, 3)));
        head.newest = Some(Place { deployment: id(newest), ..place(5) });
        for status in [Status::Finished, Status::Unfinished] {
            assert_eq!(told.decide(&head, Some(&record(9, status, 2))), Decision::Remember);
        }
        // From then on it supersedes what is older.
        let told_head = head.knowing_newest(&place(9));
        assert_eq!(told.decide(&told_head, Some(&record(9, Status::Finished, 2))), Decision::Duplicate);
        assert_eq!(told.decide(&told_head, Some(&record(9, Status::Unfinished, 2))), Decision::Superseded);
        assert_eq!(event(7).decide(&told_head, None), Decision::Superseded);
        assert_eq!(told.decide(&head, None), START, "it has not been live");
    }
}

/// EventBridge cuts times to seconds, S3 does not.
#[test]
fn a_time_without_milliseconds_has_no_order_within_its_second() {
    let upload = |name: &str, milliseconds: i64| Place {
        uploaded_at: at(5) + TimeDelta::milliseconds(milliseconds),
        deployment: DeploymentId::named(name),
        key: Some(name.to_owned()),
        sequencer: None,
    };
    let known = |place: &Place| Head { newest: Some(place.clone()), ..head(1, 5, Some(run(5, 1))) };
    let decide_on =
        |place: &Place, head: &Head| decide(head, None, &Request { id: "request", place, replay: false, now: at(7) });
    let (early, late, cut) = (upload("early", 271), upload("late", 867), upload("cut", 0));
    assert_eq!(decide_on(&cut, &known(&early)), START, "it may be the newer one");
    assert_eq!(decide_on(&early, &known(&cut)), START);
    assert_eq!(decide_on(&early, &known(&late)), Decision::Superseded);
    assert_eq!(decide_on(&upload("before", -1), &known(&cut)), Decision::Superseded);
    // An upload whose time is cut does not let one in that is older than the newest before it.
    let run = RunId { deployment: cut.deployment.clone(), number: 2 };
    let request = Request { id: "request", place: &cut, replay: false, now: at(7) };
    let both = known(&late).claimed(&request, 2, at(900)).finished(&run, at(8));
    assert_eq!(decide_on(&early, &both), Decision::Superseded);
}

#[test]
fn a_saved_event_without_a_record_needs_the_option_to_go_back() {
    let late = event(0).now(86_400);
    assert_eq!(late.decide(&head(1, 5, Some(run(5, 1))), None), Decision::Superseded);
}

#[test]
fn of_two_uploads_at_the_same_time_the_later_to_arrive_is_newer_unless_a_sequencer_orders_them() {
    let newest = |key: &str, sequencer: &str| Head {
        newest: Some(Place {
            key: Some(key.to_owned()),
            sequencer: Some(sequencer.to_owned()),
            deployment: DeploymentId::named("20261122T101505Z-bbbbbbbbbbbb"),
            ..place(5)
        }),
        ..head(1, 5, Some(run(5, 1)))
    };
    let second = Place { key: Some("a".to_owned()), sequencer: Some("0055aed6dcd90281e6".to_owned()), ..place(5) };
    let request = Request { id: "second", place: &second, replay: false, now: at(7) };
    assert_eq!(decide(&newest("a", "0055AED6DCD90281E5"), None, &request), START);
    assert_eq!(decide(&newest("a", "0055AED6DCD90281E7"), None, &request), Decision::Superseded);
    assert_eq!(decide(&newest("a", "0055AED6DCD90281E61"), None, &request), Decision::Superseded);
    assert_eq!(decide(&newest("b", "0055AED6DCD90281E7"), None, &request), START);
    // EventBridge cuts the time of the newer upload to the second.
    let by_s3 = Place { uploaded_at: at(5) + TimeDelta::milliseconds(900), ..second.clone() };
    let by_eventbridge = Place { sequencer: Some("0055AED6DCD90281E7".to_owned()), ..second.clone() };
    assert!(by_s3.is_older_than(&by_eventbridge) && !by_eventbridge.is_older_than(&by_s3));
    let next_second = Place { uploaded_at: at(6), ..second.clone() };
    assert!(by_eventbridge.is_older_than(&next_second), "a second apart, the time decides");
}

#[test]
fn a_duplicate_of_a_running_deployment_waits_for_its_end() {
    let head = held(head(1, 0, None), "first", 0, 900);
    let record = record(0, Status::Unfinished, 1);
    for event in [event(0), event(0).replay(), event(0).now(800)] {
        assert_eq!(event.decide(&head, Some(&record)), Decision::Wait);
    }
}

#[test]
fn an_upload_that_waited_and_is_live_needs_no_run() {
    let (head, record) = (head(1, 0, Some(run(0, 1))), record(0, Status::Finished, 1));
    assert_eq!(event(0).decide(&head, Some(&record)), START);
    let request = request_for_waiting("other");
    assert_eq!(Arrival { request: &request, ..event(0) }.decide(&head, Some(&record)), Decision::Duplicate);
}

#[test]
fn a_batch_covers_only_changes_of_its_own_run_that_precede_its_offer() {
    let batch = Batch {
        reference: "reference".to_owned(),
        distribution: "E1".to_owned(),
        items: vec!["/a".to_owned()],
        after_deletes: false,
        relies_on: None,
    };
    let owed = Owed::new(batch, &run(0, 1), at(0));
    assert!(owed.covers_changes_of(&run(0, 1)));
    assert!(!owed.covers_changes_of(&run(0, 2)) && !owed.covers_changes_of(&run(1, 1)));
    assert!(!Owed { offered: true, ..owed.clone() }.covers_changes_of(&run(0, 1)));
    assert!(!owed.awaits_deletes_of(&run(0, 1)));
    let of_deletes = Owed { after_deletes: true, ..owed };
    assert!(of_deletes.awaits_deletes_of(&run(0, 1)) && !of_deletes.awaits_deletes_of(&run(0, 2)));
    assert!(!Owed { offered: true, ..of_deletes }.awaits_deletes_of(&run(0, 1)));
}

#[test]
fn a_request_retakes_its_lease_immediately_and_others_wait_until_it_lapses() {
    let head = held(head(1, 0, None), "first", 0, 900);
    let record = record(0, Status::Unfinished, 1);
    assert_eq!(event(0).retry().decide(&head, Some(&record)), Decision::Resume);
    for (now, decision) in [(899, Decision::Wait), (900, Decision::Resume), (901, Decision::Resume)] {
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
    let head = Head { unfinished: vec![unfinished(9, 2)], ..head(2, 0, Some(run(0, 1))) };
    assert_eq!(event(0).decide(&head, Some(&record)), Decision::Duplicate);
    assert_eq!(event(0).retry().now(9_999).decide(&head, Some(&record)), Decision::Duplicate);
    assert_eq!(event(0).replay().decide(&head, Some(&record)), START);
    assert_eq!(event(0).now(9_999).decide(&head, Some(&record)), Decision::Duplicate);
    // Once the later run is refused, a duplicate repairs what it has left behind.
    assert_eq!(event(0).decide(&head.refused(&run(9, 2), true), Some(&record)), START);
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
fn a_refused_upload_is_decided_as_if_it_had_no_record() {
    let refused = record(0, Status::Unfinished, 1).refused("no zip", false);
    for head in [Head::default(), head(1, 0, Some(run(-9, 1)))] {
        for event in [event(0), event(0).retry(), event(0).replay(), event(0).now(9_999)] {
            assert_eq!(event.decide(&head, Some(&refused)), START);
        }
    }
    // A newer build has overtaken it.
    let head = head(2, 9, Some(run(9, 2)));
    assert_eq!(event(0).decide(&head, Some(&refused)), Decision::Superseded);
    assert_eq!(event(0).replay().decide(&head, Some(&refused)), ROLLBACK);
    assert_eq!(event(0).replay().retry().decide(&head, Some(&refused)), Decision::Superseded);
}

#[test]
fn a_refused_replay_is_meant_until_another_run_begins() {
    let live = record(0, Status::Unfinished, 1).finished(Some("{}".to_owned()), None);
    let refused = Record { run: 3, ..live }.claimed_by("second").refused("no zip", false);
    // Lambda's retry of the request is refused again, and reaches the failure queue.
    assert_eq!(event(0).replay().decide(&head(3, 9, Some(run(9, 2))), Some(&refused)), ROLLBACK);
    assert_eq!(event(0).replay().decide(&head(4, 9, Some(run(9, 2))), Some(&refused)), Decision::Duplicate);
    // An earlier replay stays spent.
    assert_eq!(event(0).replay().retry().decide(&head(3, 9, Some(run(9, 2))), Some(&refused)), Decision::Duplicate);
}

#[test]
fn the_requests_of_an_earlier_release_are_read() {
    let claimants: Vec<Claimant> = serde_json::from_str(r#"["first", {"request": "second", "run": 2}]"#).unwrap();
    assert_eq!(claimants.iter().map(|it| (&*it.request, it.run)).collect::<Vec<_>>(), [("first", 0), ("second", 2)]);
}

#[test]
fn a_corrupt_archive_is_refused_again_by_every_event() {
    let record = record(0, Status::Unfinished, 1).refused("no zip", true);
    let held = held(head(1, 9, None), "other", 9, 900);
    for head in [Head::default(), held] {
        for event in [event(0), event(0).retry(), event(0).replay(), event(0).now(9_999)] {
            assert_eq!(event.decide(&head, Some(&record)), Decision::Rejected("no zip".to_owned()));
        }
    }
}

#[test]
fn a_refusal_never_changes_the_status_of_a_deployment_that_has_been_live() {
    let live = record(0, Status::Unfinished, 1).finished(Some("{}".to_owned()), None);
    let replayed = Record { status: Status::Unfinished, run: 3, ..live }.claimed_by("replay");
    for is_corrupt in [false, true] {
        let refused = replayed.clone().refused("no zip", is_corrupt);
        assert_eq!((refused.status, refused.is_corrupt), (Status::Finished, false));
        // No later event goes on with the refused replay.
        let head = head(3, 9, Some(run(9, 2)));
        assert_eq!(event(0).decide(&head, Some(&refused)), Decision::Duplicate);
    }
}

#[test]
fn a_superseded_upload_may_run_once_what_was_newer_is_refused() {
    let record = record(0, Status::Superseded, 0);
    let before = Head { unfinished: vec![unfinished(9, 1)], ..Head::default() };
    assert_eq!(event(0).decide(&before, Some(&record)), Decision::Superseded);
    assert_eq!(event(0).decide(&before.refused(&run(9, 1), false), Some(&record)), START);
}

#[test]
fn a_record_remembers_each_of_its_latest_requests_once() {
    let mut record = record(0, Status::Unfinished, 1);
    for number in 0..MAX_REQUESTS {
        record = record.claimed_by(&number.to_string()).claimed_by("0");
    }
    assert_eq!(record.requests.len(), MAX_REQUESTS);
    assert_eq!((record.run_claimed_by("0"), record.run_claimed_by("1")), (Some(1), Some(1)));
    assert_eq!(record.run_claimed_by("first"), None);
}

fn claim<'a>(request: &'a str, place: &'a Place) -> Request<'a> {
    Request { id: request, place, replay: false, now: place.uploaded_at }
}

#[test]
fn a_claim_takes_the_lease_and_keeps_every_unfinished_run() {
    let claimed = head(1, 0, None).claimed(&claim("a", &place(9)), 2, at(900));
    assert_eq!((claimed.version, claimed.sequence), (2, 2));
    assert_eq!(claimed.newest(at(9)), Some(&place(9)));
    assert_eq!(claimed.unfinished, [unfinished(9, 2)]);
    assert_eq!(claimed.lease.as_ref().map(|it| it.until), Some(at(905)), "five seconds after the deadline");
    // The retry of the older upload takes the lease, but does not become the newest.
    let resumed = claimed.claimed(&claim("b", &place(0)), 1, at(1_800));
    assert_eq!((resumed.version, resumed.sequence), (3, 2));
    assert_eq!(resumed.newest(at(9)), Some(&place(9)));
    assert_eq!(resumed.unfinished, [unfinished(0, 1), unfinished(9, 2)]);
    assert_eq!(resumed.claimed(&claim("c", &place(0)), 1, at(1_800)).unfinished, resumed.unfinished);
    assert_eq!(resumed.lease.and_then(|it| it.deployment), Some(id(0)));
}

#[test]
fn a_run_that_finishes_clears_the_runs_it_overtook_and_no_later_one() {
    let before = Head { unfinished: vec![unfinished(3, 1), unfinished(9, 2)], ..head(2, 0, None) };
    let lower = before.finished(&run(3, 1), at(99));
    assert_eq!((&lower.live, &lower.lease), (&Some(run(3, 1)), &None));
    assert_eq!(lower.unfinished, [unfinished(9, 2)]);
    assert_eq!(lower.newest, Some(place(3)));
    for higher in [run(9, 2), run(-9, 3)] {
        let finished = before.finished(&higher, at(99));
        assert_eq!(finished.unfinished, []);
        assert_eq!(finished.newest, Some(place(9)), "an overtaken upload still counts");
    }
}

#[test]
fn a_refused_run_shuts_nobody_out() {
    let before = Head { unfinished: vec![unfinished(0, 1)], ..head(1, -9, None) };
    let claimed = before.claimed(&claim("a", &place(9)), 2, at(900));
    assert_eq!(event(5).decide(&claimed.released(), None), Decision::Superseded);
    let refused = claimed.refused(&run(9, 2), false);
    assert_eq!((&refused.unfinished, &refused.lease), (&before.unfinished, &None));
    assert_eq!(event(5).decide(&refused, None), START);
    assert!(!refused.is_torn && claimed.refused(&run(9, 2), true).is_torn);
}

#[test]
fn a_head_remembers_a_bounded_number_of_unfinished_runs() {
    let mut head = Head::default();
    for number in 1..=150 {
        head = head.claimed(&claim("a", &place(number)), number.unsigned_abs(), at(900)).released();
    }
    assert_eq!(head.unfinished.len(), 100);
    assert_eq!(head.newest(at(150)), Some(&place(150)));
    assert!(serde_json::to_string(&head).unwrap().len() < 40_000);
}

#[test]
fn the_unfinished_run_of_an_earlier_release_is_read() {
    let head = serde_json::json!({
        "version": 3,
        "sequence": 2,
        "newest": {"uploaded_at": at(9), "deployment": id(9)},
        "lease": {"holder": "a", "deployment": "a sweep", "until": at(9)},
        "unfinished": run(9, 2),
    });
    let head: Head = serde_json::from_value(head).unwrap();
    let upload = Place { key: None, ..place(9) };
    assert_eq!(head.unfinished, [UnfinishedRun { number: 2, upload: upload.clone(), has_begun: true }]);
    assert_eq!(head.newest, Some(upload));
}

#[test]
fn previous_is_what_the_live_deployment_replaced_or_the_live_one_while_a_later_run_is_stuck() {
    assert_eq!(Head::default().previous(), Previous::Nothing);
    let live = head(1, 0, Some(run(0, 1)));
    assert_eq!(live.previous(), Previous::ReplacedBy(id(0)));
    let claimed = live.claimed(&claim("a", &place(9)), 2, at(900));
    assert_eq!(claimed.previous(), Previous::ReplacedBy(id(0)), "it has not begun to write");
    let begun = claimed.begun(&run(9, 2));
    assert_eq!(begun.previous(), Previous::Live(id(0)));
    assert_eq!(begun.given_up(&run(9, 2), true).previous(), Previous::Live(id(0)));
    assert_eq!(begun.given_up(&run(9, 2), false).previous(), Previous::ReplacedBy(id(0)));
    let torn = begun.refused(&run(9, 2), true);
    assert_eq!(torn.previous(), Previous::Live(id(0)));
    assert_eq!(torn.finished(&run(12, 3), at(99)).previous(), Previous::ReplacedBy(id(12)));
}

#[test]
fn a_deployment_notes_once_what_it_replaced_and_does_not_expire_then() {
    let expiring = Record { expires_at: Some(1), ..record(9, Status::Unfinished, 2) };
    let finished = expiring.finished(Some("{}".to_owned()), Some(&run(0, 1)));
    assert_eq!((&finished.replaced, finished.expires_at), (&Some(id(0)), None));
    let replayed = Record { run: 4, ..finished }.finished(Some("{}".to_owned()), Some(&run(12, 3)));
    assert_eq!(replayed.replaced, Some(id(0)));
    let first = record(0, Status::Unfinished, 1).finished(Some("{}".to_owned()), None);
    assert_eq!(first.clone().finished(Some("{}".to_owned()), Some(&run(9, 2))).replaced, None);
}

#[test]
fn a_newest_upload_in_the_future_shuts_out_no_other() {
    let shut = head(1, 86_400, Some(run(86_400, 1)));
    assert_eq!(event(0).now(2).decide(&shut, None), START);
    let finished = shut.claimed(&claim("a", &place(0)), 2, at(900)).finished(&run(0, 2), at(1));
    assert_eq!(finished.newest, Some(place(0)), "it is forgotten, also for later");
    // The clocks of AWS may differ by minutes.
    let slightly_ahead = head(1, 300, Some(run(300, 1)));
    assert_eq!(event(0).now(2).decide(&slightly_ahead, None), Decision::Superseded);
}
