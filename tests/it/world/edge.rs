//! The site's distributions, and viewers whose answers are on their way for a while.

use std::rc::Rc;
use std::time::Duration;

use chrono::TimeDelta;
use standins::{Begun, CustomError, Distribution, Spread};

use super::World;
use super::contents::URLS;
use super::plan::Plan;
use super::previews::NAMES;
use crate::stage::LIVE;

/// The distributions that a site begins with.
const FIRST: [&str; 2] = ["E1", "E2"];

/// How many edge locations of a distribution viewers use.
const LOCATIONS: u8 = 2;

/// Returns the ids of the distributions that a plan's site begins with.
pub fn distributions(plan: &Plan) -> Vec<String> {
    let count = if plan.aws.has_two_distributions { 2 } else { 1 };
    FIRST[..count].iter().map(|id| (*id).to_owned()).collect()
}

/// Returns the URLs that viewers request, of the live site and of its previews.
fn urls() -> Vec<String> {
    let of = |folder: String| URLS.map(|url| format!("{folder}{url}"));
    let previews = NAMES.map(|name| of(format!("/previews/{name}"))).concat();
    of(String::new()).into_iter().chain(previews).collect()
}

impl World {
    /// Creates a distribution of the site. The second one caches errors.
    pub fn create_distribution(&self, id: &str) {
        let min_ttl_seconds = if id == FIRST[1] { 300 } else { 10 };
        self.cloud.create_distribution(Distribution {
            custom_errors: vec![CustomError { code: 404, page: None, min_ttl_seconds }],
            ..Distribution::of(id, LIVE)
        });
        let aws = &self.plan.aws;
        self.cloud.set_reference_conflict(id, aws.conflict);
        self.cloud.set_reference_memory(id, aws.memory_hours.map(TimeDelta::hours));
        self.cloud.set_invalidation_time(id, TimeDelta::seconds(aws.invalidation_seconds));
        let delay = TimeDelta::seconds(aws.spread_seconds);
        let spread = Spread { delay, is_regional_first: aws.is_regional_first, voids_fetches: aws.voids_fetches };
        self.cloud.set_spread(id, spread);
    }

    /// Returns the ids of the distributions that viewers use.
    pub fn visited(&self) -> Vec<String> {
        self.distributions.borrow().clone()
    }

    /// Lets a viewer come by, soon after a call has taken effect.
    pub fn visit(self: &Rc<Self>) {
        let number = self.visits.get();
        self.visits.set(number + 1);
        let mut draws = self.plan.salt(number, 1);
        if draws.bool() {
            return;
        }
        let visited = self.visited();
        let edge = self.cloud.edge(&visited[draws.usize(..visited.len())]).at(draws.u8(..LOCATIONS));
        let urls = urls();
        let url = urls[draws.usize(..urls.len())].clone();
        let latency_ms = self.plan.aws.latency_ms;
        let delay = Duration::from_millis(draws.u64(..=latency_ms));
        let lingers = match draws.u8(..8) {
            0 => Duration::from_millis(draws.u64(..60_000)),
            1..=3 => Duration::ZERO,
            _ => Duration::from_millis(draws.u64(..=4 * latency_ms)),
        };
        let world = self.clone();
        self.spawn(async move {
            world.clock.turn_in(delay, draws.u64(..)).await;
            // The distribution may be gone by now.
            if !world.visited().contains(&edge.distribution().to_owned()) {
                return;
            }
            if let Begun::Miss(fetch) = edge.begin(&url) {
                world.clock.turn_in(lingers, draws.u64(..)).await;
                if world.visited().contains(&edge.distribution().to_owned()) {
                    edge.store(fetch);
                }
            }
        });
    }

    /// Lets viewers request everything, everywhere.
    pub fn visit_everything(&self) {
        for id in self.visited() {
            for location in 0..LOCATIONS {
                self.cloud.edge(&id).at(location).warm_all(urls());
            }
        }
    }
}
