//! How many requests and bytes each deployment of the benchmark takes, exactly.
//!
//! A change of these numbers is a change of what a deployment costs, unless the crates that pack the archives pack them
//! differently. The benchmark and the tests compare them with their own counts. The tests of the three large sites run only
//! on request.

use crate::services::Traffic;
use crate::workload::Scenario;

use Scenario::{Cold, Headers, NoOp, Update};

/// The traffic of one deployment: requests to all services, bytes read of the archive, and bytes written to the live
/// bucket. `UpdateItem` does not count: a run tells the ledger every few seconds how far it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Count {
    pub requests: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

/// The deployments of each workload with the default settings, each scenario for the first time and in the order of
/// [`Scenario::ALL`].
const COUNTS: &[(&str, Scenario, [u64; 3])] = &[
    ("tiny-many", Cold, [10_019, 21_281_944, 43_419_261]),
    ("tiny-many", NoOp, [19, 726_618, 0]),
    ("tiny-many", Update, [276, 1_032_143, 637_785]),
    ("tiny-many", Headers, [10_027, 726_421, 0]),
    ("mixed", Cold, [2_521, 259_118_226, 314_571_798]),
    ("mixed", NoOp, [10, 262_144, 0]),
    ("mixed", Update, [68, 3_595_351, 4_182_109]),
    ("mixed", Headers, [2_018, 262_144, 0]),
    ("large-few", Cold, [63, 265_065, 5_000]),
    ("large-few", NoOp, [9, 262_144, 0]),
    ("large-few", Update, [24, 262_244, 0]),
    ("large-few", Headers, [30, 262_144, 0]),
    ("large-deflated", Cold, [51, 169_571_135, 503_321_480]),
    ("large-deflated", NoOp, [9, 262_144, 0]),
    ("large-deflated", Update, [22, 28_481_151, 83_886_080]),
    ("large-deflated", Headers, [30, 262_144, 0]),
    ("docs-site", Cold, [5_028, 53_010_679, 125_835_639]),
    ("docs-site", NoOp, [15, 412_174, 0]),
    ("docs-site", Update, [148, 1_337_608, 2_117_880]),
    ("docs-site", Headers, [5_024, 411_870, 0]),
    ("streamlit", Cold, [172, 9_165_417, 22_825_585]),
    ("streamlit", NoOp, [9, 262_144, 0]),
    ("streamlit", Update, [87, 6_243_409, 19_568_620]),
    ("streamlit", Headers, [174, 262_144, 0]),
    ("huge-site", Cold, [200_072, 248_298_247, 220_032_043]),
    ("huge-site", NoOp, [209, 15_204_174, 0]),
    ("huge-site", Update, [612, 15_334_763, 227_319]),
    ("huge-site", Headers, [200_217, 15_204_174, 0]),
    ("million", Cold, [1_000_077, 261_209_383, 31_496_622]),
    ("million", NoOp, [1_009, 76_004_174, 0]),
    ("giant", Cold, [633, 20_494_243, 3_221_230_472]),
    ("giant", NoOp, [9, 262_144, 0]),
];

impl Count {
    pub fn of(traffic: &Traffic) -> Self {
        Self {
            requests: traffic.calls.iter().filter(|(name, _)| *name != "UpdateItem").map(|(_, count)| count).sum(),
            bytes_read: traffic.bytes_read,
            bytes_written: traffic.bytes_written,
        }
    }

    /// Returns the numbers of a deployment that was counted before.
    fn known(workload: &str, scenario: Scenario) -> Option<Self> {
        let known = COUNTS.iter().find(|(name, of, _)| *name == workload && *of == scenario)?;
        let [requests, bytes_read, bytes_written] = known.2;
        Some(Self { requests, bytes_read, bytes_written })
    }

    /// Compares the traffic of a deployment with the numbers that are known.
    ///
    /// # Errors
    /// What differs.
    pub fn check(workload: &str, scenario: Scenario, traffic: &Traffic) -> Result<(), String> {
        let (counted, known) = (Self::of(traffic), Self::known(workload, scenario));
        if known.as_ref() == Some(&counted) {
            return Ok(());
        }
        let name = scenario.name();
        Err(format!(
            "{workload} {name}: counted {counted:?}, not {known:?} (benches/deploy/counts.rs): {:?}",
            traffic.calls
        ))
    }
}
