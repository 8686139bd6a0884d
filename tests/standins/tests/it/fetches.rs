//! Answers on their way into the edge's caches, and invalidations that meet them.

use chrono::{DateTime, TimeDelta, Utc};
use standins::{Begun, Cloud, Distribution, Edge, Etags, Fetch, Headers, Spread, Versioning, VirtualClock};

const KEY: &str = "a.html";
const URL: &str = "/a.html";

/// An account whose time the test moves, with one cached page.
struct Scene {
    clock: VirtualClock,
    cloud: Cloud,
    edge: Edge,
}

impl Scene {
    fn new(spread: Spread) -> Self {
        let start: DateTime<Utc> = "2026-11-22T10:15:00Z".parse().unwrap();
        let clock = VirtualClock::starting_at(start);
        let cloud = Cloud::in_process(clock.clone(), crate::virtual_time::latency(1, 1), "fetches-1");
        cloud.create_bucket("site", Versioning::Off, Etags::Md5);
        cloud.create_distribution(Distribution::of("E1", "site"));
        cloud.set_spread("E1", spread);
        let scene = Self { clock, edge: cloud.edge("E1"), cloud };
        scene.write("old");
        scene
    }

    fn write(&self, text: &'static str) {
        self.cloud.put_object("site", KEY, text, Headers::of_type("text/html"));
    }

    async fn invalidate(&self) {
        let cloudfront = crate::virtual_time::cloudfront(&self.cloud).await;
        let reference = self.cloud.latest_sequence().to_string();
        crate::account::offer(&cloudfront, &reference, &[URL]).await.unwrap();
    }

    async fn pass(&self, time: TimeDelta) {
        self.clock.turn_in(time.to_std().unwrap(), 0).await;
    }
}

/// Begins a request that no cache can answer.
fn begin(edge: &Edge) -> Fetch {
    match edge.begin(URL) {
        Begun::Miss(fetch) => fetch,
        Begun::Hit(answer) => panic!("{answer:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_stored_as_it_was_when_its_request_began() {
    let scene = Scene::new(Spread::default());
    let fetch = begin(&scene.edge);
    scene.write("new");
    assert_eq!(scene.edge.store(fetch).body, "old");
    assert_eq!(scene.edge.get(URL).body, "old");
    assert_eq!(scene.edge.stale(), [URL]);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_voids_the_answers_on_their_way() {
    let scene = Scene::new(Spread::default());
    let fetch = begin(&scene.edge);
    scene.write("new");
    scene.invalidate().await;
    assert_eq!(scene.edge.store(fetch).body, "old", "the viewer gets it nevertheless");
    assert_eq!(scene.edge.get(URL).body, "new");
    // One that begins after the invalidation is stored.
    assert!(scene.edge.get(URL).from_cache);
}

#[tokio::test(start_paused = true)]
async fn if_it_voided_none_an_old_page_would_survive_it() {
    let scene = Scene::new(Spread { voids_fetches: false, ..Spread::default() });
    let fetch = begin(&scene.edge);
    scene.write("new");
    scene.invalidate().await;
    scene.edge.store(fetch);
    assert_eq!(scene.edge.stale(), [URL]);
}

#[tokio::test(start_paused = true)]
async fn other_locations_are_answered_by_the_regional_tier() {
    let scene = Scene::new(Spread::default());
    scene.edge.get(URL);
    scene.write("new");
    assert_eq!(scene.edge.at(1).get(URL).body, "old");
    assert_eq!(scene.edge.at(1).cached()[URL].body, "old");
    scene.invalidate().await;
    assert_eq!(scene.edge.at(1).get(URL).body, "new");
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_reaches_the_edge_locations_after_the_regional_tier() {
    let scene = Scene::new(Spread { delay: TimeDelta::seconds(30), ..Spread::default() });
    scene.edge.get(URL);
    scene.write("new");
    scene.invalidate().await;
    assert_eq!(scene.edge.get(URL).body, "old");
    assert_eq!(scene.edge.at(1).get(URL).body, "new");
    scene.pass(TimeDelta::seconds(30)).await;
    assert_eq!(scene.edge.get(URL).body, "new");
    assert!(scene.edge.stale().is_empty());
}

#[tokio::test(start_paused = true)]
async fn if_it_reached_them_first_they_would_fetch_the_old_page_again() {
    let spread = Spread { delay: TimeDelta::seconds(30), is_regional_first: false, ..Spread::default() };
    let scene = Scene::new(spread);
    scene.edge.get(URL);
    scene.write("new");
    scene.invalidate().await;
    assert_eq!(scene.edge.get(URL).body, "old");
    scene.pass(TimeDelta::seconds(30)).await;
    assert_eq!(scene.edge.stale(), [URL]);
}

#[tokio::test(start_paused = true)]
async fn emptied_caches_store_nothing_that_was_on_its_way() {
    let scene = Scene::new(Spread::default());
    let fetch = begin(&scene.edge);
    scene.edge.clear();
    scene.edge.store(fetch);
    assert!(scene.edge.cached().is_empty());
}
