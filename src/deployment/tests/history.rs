//! Random histories of a site, with the laws that the decision table keeps in all of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{Head, Record, Request, RunId, Status};
use super::{Decision, at, decide, place, record};

/// How many uploads a history has. Upload n is made at second n.
const UPLOADS: usize = 4;

/// An event in the history of a site.
#[derive(Clone, Debug)]
enum Step {
    /// A new request delivers the event of an upload.
    Deliver {
        upload: usize,
        replay: bool,
    },
    /// Lambda retries an earlier request, whatever its result was.
    Retry(usize),
    /// The invocation that holds the lease finishes its run.
    Finish,
    /// Its archive is refused before its first write.
    Refuse,
    /// It fails after a write, and releases the lease.
    GiveUp,
    /// It writes the head during its run.
    WriteHead,
    /// It dies without releasing the lease.
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
        1 => Just(Step::WriteHead),
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
    /// The run that it claimed last.
    claimed: Option<u64>,
}

/// An invocation between its claim and its end.
struct Work {
    run: RunId,
    upload: usize,
}

/// One site: the ledger's items, and the history that the laws are checked against.
#[derive(Default)]
struct Site {
    seconds: i64,
    head: Head,
    records: BTreeMap<usize, Record>,
    deliveries: Vec<Delivery>,
    work: Option<Work>,
    /// The numbers of the runs that a replay started.
    meant: BTreeSet<u64>,
    /// The finished runs in order, each as its number and its upload.
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
                    claimed: None,
                });
                self.invoke(self.deliveries.len() - 1);
            }
            Step::Retry(number) => {
                if let Some(delivery) = self.deliveries.get(number) {
                    // Lambda does not retry an invocation that is still running.
                    let is_at_work =
                        self.work.is_some() && self.head.lease.as_ref().map(|it| &it.holder) == Some(&delivery.request);
                    if !is_at_work {
                        self.invoke(number);
                    }
                }
            }
            Step::Pass { seconds } => {
                self.seconds += seconds;
                // No invocation lives longer than its lease.
                if self.head.lease.as_ref().is_some_and(|it| it.until <= at(self.seconds)) {
                    self.work = None;
                }
            }
            Step::WriteHead if self.work.is_some() => self.head = self.head.next_version(),
            Step::Finish => {
                if let Some(work) = self.work.take() {
                    self.finish(work);
                }
            }
            Step::Refuse => {
                if let Some(work) = self.work.take() {
                    self.head = self.head.refused(&work.run, false);
                    let refused = self.records[&work.upload].clone().refused("no zip", false);
                    self.records.insert(work.upload, refused);
                }
            }
            Step::GiveUp => {
                if self.work.take().is_some() {
                    self.head = self.head.released();
                }
            }
            Step::Die | Step::WriteHead => self.work = None,
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
        let record = self.records[&work.upload].clone();
        self.records.insert(work.upload, record.finished(Some("{}".to_owned()), self.head.live.as_ref()));
        self.head = self.head.finished(&work.run, at(self.seconds));
        self.finished.push((work.run.number, work.upload));
    }

    fn invoke(&mut self, number: usize) {
        let delivery = &self.deliveries[number];
        let (request_id, upload) = (delivery.request.clone(), delivery.upload);
        let uploaded = upload as i64;
        let place = place(uploaded);
        let request = Request { id: &request_id, place: &place, replay: delivery.replay, now: at(self.seconds) };
        let is_meant = request.replay && delivery.claimed.is_none_or(|run| self.head.is_last_and_unfinished(run));
        let known = self.records.get(&upload).cloned();
        let decision = decide(&self.head, known.as_ref(), &request);
        let known = known.unwrap_or_else(|| Record { requests: Vec::new(), ..record(uploaded, Status::Unfinished, 0) });
        let next = match decision {
            Decision::Start { rollback } => {
                let run = self.head.sequence + 1;
                if is_meant {
                    self.meant.insert(run);
                }
                known.started(run, rollback)
            }
            Decision::Resume => known,
            Decision::Superseded => {
                self.assert_overtaken(&known, upload);
                self.records.insert(upload, known.superseded());
                return;
            }
            _ => return,
        };
        assert!(self.work.is_none(), "two invocations at work");
        self.head = self.head.claimed(&request, next.run, at(self.seconds + 900));
        self.work = Some(Work { run: RunId { deployment: next.deployment.clone(), number: next.run }, upload });
        let run = next.run;
        self.records.insert(upload, next.claimed_by(&request_id));
        self.deliveries[number].claimed = Some(run);
    }

    /// Asserts that only a newer upload or a replay has overtaken a run that had begun.
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

    /// The finer laws are asserted in `finish`, `invoke` and `assert_overtaken`.
    #[test]
    fn run_numbers_only_grow_and_no_older_build_comes_back_unasked(steps in steps()) {
        let mut site = Site { seconds: UPLOADS as i64, ..Site::default() };
        for step in &steps {
            let before = site.head.clone();
            site.step(step);
            prop_assert!(site.head.sequence >= before.sequence);
            prop_assert!(site.head.version >= before.version);
            let newest = |head: &Head| head.newest.as_ref().map(|newest| newest.uploaded_at);
            prop_assert!(newest(&site.head) >= newest(&before), "`newest` went back");
            let number = |head: &Head| head.live.as_ref().map(|live| live.number);
            prop_assert!(number(&site.head) >= number(&before), "`live` went back");
            let numbers = site.head.unfinished.iter().map(|run| run.number);
            prop_assert!(numbers.is_sorted_by(|a, b| a < b));
            prop_assert!(site.head.unfinished.iter().all(|run| run.number <= site.head.sequence));
        }
        let runs: Vec<u64> = site.finished.iter().map(|(run, _)| *run).collect();
        prop_assert!(runs.is_sorted_by(|a, b| a < b), "{runs:?}");
    }

    /// At the end of every history, once each request has had its retry, the newest upload is live, or one that a
    /// person replayed after it.
    #[test]
    fn the_newest_upload_is_live_once_every_retry_has_run(steps in steps()) {
        let mut site = Site { seconds: UPLOADS as i64, ..Site::default() };
        for step in &steps {
            site.step(step);
        }
        site.work = None;
        site.step(&Step::Pass { seconds: 1_000 });
        for number in 0..site.deliveries.len() {
            if site.deliveries[number].claimed.is_some() {
                site.invoke(number);
                site.step(&Step::Finish);
            }
        }
        let newest = site.head.newest(at(site.seconds)).map(|newest| newest.deployment.clone());
        if let Some(live) = &site.head.live {
            // A replayed deployment that runs again without a replay still counts as asked for.
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
