//! The unfinished runs of a site.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Place, RunId};

/// How many unfinished runs a head remembers. Only uploads that fail one after the other leave so many, and an item
/// of the table has at most 400 KB.
const MAX_RUNS: usize = 100;

/// A run that has claimed the site and was neither finished nor overtaken nor refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnfinishedRun {
    pub number: u64,
    pub upload: Place,
    /// Whether it may have changed or deleted objects.
    pub has_begun: bool,
}

impl UnfinishedRun {
    pub(super) fn new(upload: Place, number: u64) -> Self {
        Self { number, upload, has_begun: false }
    }

    /// Returns the run's name.
    pub fn id(&self) -> RunId {
        RunId { deployment: self.upload.deployment.clone(), number: self.number }
    }
}

/// Returns the runs with another one. If it is among them, its upload's place may have become known more exactly.
pub(super) fn with(runs: &[UnfinishedRun], run: UnfinishedRun) -> Vec<UnfinishedRun> {
    let mut runs = runs.to_vec();
    match runs.binary_search_by_key(&run.number, |known| known.number) {
        Ok(index) => runs[index].upload = run.upload,
        Err(index) => runs.insert(index, run),
    }
    let excess = runs.len().saturating_sub(MAX_RUNS);
    runs.drain(..excess);
    runs
}

/// Reads the runs. An earlier release wrote one without its upload, whose time is that of the deployment's id.
pub(super) fn read<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<UnfinishedRun>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        All(Vec<UnfinishedRun>),
        One(RunId),
    }
    Ok(match Stored::deserialize(deserializer)? {
        Stored::All(runs) => runs,
        Stored::One(run) => {
            let upload = run.deployment.uploaded_at().map(|uploaded_at| Place {
                uploaded_at,
                deployment: run.deployment.clone(),
                key: None,
                sequencer: None,
            });
            let run = upload.map(|upload| UnfinishedRun { has_begun: true, ..UnfinishedRun::new(upload, run.number) });
            run.into_iter().collect()
        }
    })
}
