//! How many requests and bytes each deployment of the benchmark takes, exactly.
//!
//! A change of these numbers is a change of what a deployment costs, unless the crates that pack the archives pack them
//! differently. The benchmark and the tests compare them with their own counts. The tests of the three large sites run only
//! on request.

use crate::services::Traffic;

/// The traffic of one deployment: requests to all services, bytes read of the archive, and bytes written to the live
/// bucket. `UpdateItem` does not count: a run tells the ledger every few seconds how far it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Count {
    pub requests: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

/// The deployments of each workload with the default settings, each scenario for the first time and in the order of
/// [`Scenario::ALL`](crate::workload::Scenario::ALL), and the archives that must be refused.
const COUNTS: &[(&str, &str, [u64; 3])] = &[
    ("tiny-many", "cold", [10_019, 21_281_944, 43_419_261]),
    ("tiny-many", "no-op", [19, 726_618, 0]),
    ("tiny-many", "update", [276, 1_032_143, 637_785]),
    ("tiny-many", "headers", [10_027, 726_421, 0]),
    ("mixed", "cold", [2_521, 259_118_226, 314_571_798]),
    ("mixed", "no-op", [10, 262_144, 0]),
    ("mixed", "update", [68, 3_595_351, 4_182_109]),
    ("mixed", "headers", [2_018, 262_144, 0]),
    ("large-few", "cold", [63, 265_065, 5_000]),
    ("large-few", "no-op", [9, 262_144, 0]),
    ("large-few", "update", [24, 262_244, 0]),
    ("large-few", "headers", [30, 262_144, 0]),
    ("large-deflated", "cold", [51, 169_571_135, 503_321_480]),
    ("large-deflated", "no-op", [9, 262_144, 0]),
    ("large-deflated", "update", [22, 28_481_151, 83_886_080]),
    ("large-deflated", "headers", [30, 262_144, 0]),
    ("docs-site", "cold", [5_028, 53_010_679, 125_835_639]),
    ("docs-site", "no-op", [15, 412_174, 0]),
    ("docs-site", "update", [148, 1_337_608, 2_117_880]),
    ("docs-site", "headers", [5_024, 411_870, 0]),
    ("streamlit", "cold", [172, 9_165_417, 22_825_585]),
    ("streamlit", "no-op", [9, 262_144, 0]),
    ("streamlit", "update", [87, 6_243_409, 19_568_620]),
    ("streamlit", "headers", [174, 262_144, 0]),
    ("huge-site", "cold", [200_072, 248_298_247, 220_032_043]),
    ("huge-site", "no-op", [209, 15_204_174, 0]),
    ("huge-site", "update", [612, 15_334_763, 227_319]),
    ("huge-site", "headers", [200_217, 15_204_174, 0]),
    ("million", "cold", [1_000_077, 261_209_383, 31_496_622]),
    ("million", "no-op", [1_009, 76_004_174, 0]),
    ("giant", "cold", [633, 20_494_243, 3_221_230_472]),
    ("giant", "no-op", [9, 262_144, 0]),
    ("bombs", "overlap", [6, 2_554_194, 0]),
    ("bombs", "nested", [5, 262_144, 0]),
    ("bombs", "ratio", [5, 261_100, 0]),
    ("bombs", "expansion", [5, 262_144, 0]),
    ("bombs", "count", [5, 262_144, 0]),
    ("bombs", "directory", [5, 262_144, 0]),
    ("bombs", "understated", [5, 261_108, 0]),
    ("bombs", "quine", [5, 464, 0]),
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
    fn known(workload: &str, scenario: &str) -> Option<Self> {
        let known = COUNTS.iter().find(|(name, of, _)| *name == workload && *of == scenario)?;
        let [requests, bytes_read, bytes_written] = known.2;
        Some(Self { requests, bytes_read, bytes_written })
    }

    /// Compares the traffic of a deployment with the numbers that are known.
    ///
    /// # Errors
    /// What differs.
    pub fn check(workload: &str, scenario: &str, traffic: &Traffic) -> Result<(), String> {
        let (counted, known) = (Self::of(traffic), Self::known(workload, scenario));
        if known.as_ref() == Some(&counted) {
            return Ok(());
        }
        Err(format!(
            "{workload} {scenario}: counted {counted:?}, not {known:?} (benches/deploy/counts.rs): {:?}",
            traffic.calls
        ))
    }
}
