//! The rules of the crate, as they are or with one of them broken.

use dropship::deployment::{self, Decision, Head, Owed, Record, Request, RunId};

use super::state::now;

/// A rule that a model breaks, to see that the properties notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// An event whose upload was superseded or is over counts as a replay, as if by its age.
    AgeMakesAReplay,
    /// A retry of a replay counts as a replay even after its run is over.
    ReplayIsNeverSpent,
    /// A refused run stays among the unfinished, and so keeps its place as the newest.
    RefusalKeepsItsPlace,
    /// A duplicate of the live build finishes ahead of a later unfinished run.
    DuplicateOvertakes,
    /// A finished run leaves the unfinished runs below it.
    FinishKeepsLowerRuns,
    /// A run claims the site though another one holds the lease.
    LeaseExcludesNobody,
    /// An upload that had waited is deployed again when it is live.
    WaitingUploadRunsAgain,
    /// A resumed run relies on batches that were offered.
    OfferedBatchIsReliedOn,
    /// Batches are recorded after the writes that they cover.
    BatchesFollowWrites,
    /// A batch leaves the ledger when it is offered, and not when it is accepted.
    OfferSettles,
    /// A run's count of batches is not kept with the batches.
    BatchesAreNotCounted,
    /// A request that is done with the site does not look for uploads that wait.
    NobodyLooksForWaiting,
}

impl Mutant {
    pub(super) const ALL: [Self; 12] = [
        Self::AgeMakesAReplay,
        Self::ReplayIsNeverSpent,
        Self::RefusalKeepsItsPlace,
        Self::DuplicateOvertakes,
        Self::FinishKeepsLowerRuns,
        Self::LeaseExcludesNobody,
        Self::WaitingUploadRunsAgain,
        Self::OfferedBatchIsReliedOn,
        Self::BatchesFollowWrites,
        Self::OfferSettles,
        Self::BatchesAreNotCounted,
        Self::NobodyLooksForWaiting,
    ];
}

/// The crate's rules, with at most one of them broken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub broken: Option<Mutant>,
}

impl Rules {
    fn breaks(self, mutant: Mutant) -> bool {
        self.broken == Some(mutant)
    }

    pub(super) fn decide(self, head: &Head, record: Option<&Record>, request: &Request<'_>) -> Decision {
        let decision = deployment::decide(head, record, request);
        match self.broken {
            Some(Mutant::AgeMakesAReplay) if matches!(decision, Decision::Superseded | Decision::Duplicate) => {
                deployment::decide(head, record, &Request { replay: true, ..request.clone() })
            }
            Some(Mutant::ReplayIsNeverSpent) if request.replay => {
                let unclaimed = record.map(|record| Record { requests: Vec::new(), ..record.clone() });
                deployment::decide(head, unclaimed.as_ref(), request)
            }
            Some(Mutant::DuplicateOvertakes) if decision == Decision::Duplicate => {
                deployment::decide(&Head { unfinished: Vec::new(), ..head.clone() }, record, request)
            }
            Some(Mutant::WaitingUploadRunsAgain) if decision == Decision::Duplicate => {
                let (id, _) = request.id.split_once('/').unwrap_or((request.id, ""));
                deployment::decide(head, record, &Request { id, ..request.clone() })
            }
            Some(Mutant::LeaseExcludesNobody) => {
                deployment::decide(&Head { lease: None, ..head.clone() }, record, request)
            }
            _ => decision,
        }
    }

    pub(super) fn refused(self, head: &Head, run: &RunId, has_begun: bool) -> Head {
        let refused = head.refused(run, has_begun);
        if self.breaks(Mutant::RefusalKeepsItsPlace) {
            return Head { unfinished: head.unfinished.clone(), ..refused };
        }
        refused
    }

    pub(super) fn finished(self, head: &Head, run: &RunId) -> Head {
        let finished = head.finished(run, now());
        if self.breaks(Mutant::FinishKeepsLowerRuns) {
            let others = head.unfinished.iter().filter(|other| other.number != run.number);
            return Head { unfinished: others.cloned().collect(), ..finished };
        }
        finished
    }

    pub(super) fn owing(self, record: &Record, batches: usize) -> Record {
        record.clone().owing(if self.breaks(Mutant::BatchesAreNotCounted) { 0 } else { batches })
    }

    pub(super) fn covers_changes_of(self, owed: &Owed, run: &RunId) -> bool {
        if self.breaks(Mutant::OfferedBatchIsReliedOn) {
            return Owed { offered: false, ..owed.clone() }.covers_changes_of(run);
        }
        owed.covers_changes_of(run)
    }

    pub(super) fn records_before_writing(self) -> bool {
        !self.breaks(Mutant::BatchesFollowWrites)
    }

    pub(super) fn settles_when_offered(self) -> bool {
        self.breaks(Mutant::OfferSettles)
    }

    pub(super) fn looks_for_waiting(self) -> bool {
        !self.breaks(Mutant::NobodyLooksForWaiting)
    }
}
