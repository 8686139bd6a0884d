//! Browsers that load the site while it is being deployed, one request at a time between the deployment's calls.

use fastrand::Rng;
use standins::{Edge, Waiting};

use crate::build::{Files, unzipped};
use crate::note::note;
use crate::shared_data::shared;
use crate::stage::{DISTRIBUTION, Stage};

const DEPLOYMENTS: u64 = 10;

/// Browsers in each deployment, each on its own between its calls: together 500 interleavings.
const BROWSERS: usize = 50;

/// Deployments that show what retention is for.
const DEPLOYMENTS_WITHOUT: u64 = 3;

/// One page load: the page, then what it names, in some order.
struct Browser {
    /// Between which of the deployment's calls it sends its next request, by a draw of so many.
    pace: usize,
    /// Whether its edge has nothing cached, so that it meets the bucket itself.
    is_cold: bool,
    state: Loading,
}

enum Loading {
    Nothing,
    /// The number of the release whose page it has, and the assets still to load.
    Assets(usize, Vec<String>),
}

/// What went wrong with a page load.
#[derive(Default)]
struct Failures {
    missing: usize,
    mixed: usize,
}

/// The assets that a page, and the scripts that it loads, name: those of its release.
fn assets(files: &Files) -> Vec<String> {
    let page = String::from_utf8_lossy(&files["index.html"]);
    let named = |text: &str, name: &str| {
        let file_name = name.rsplit('/').next().unwrap_or_default();
        text.contains(file_name)
    };
    let scripts: Vec<_> =
        files.iter().filter(|(name, _)| name.ends_with(".js")).map(|(_, body)| String::from_utf8_lossy(body)).collect();
    files
        .keys()
        .filter(|name| name.starts_with("static/"))
        .filter(|name| named(&page, name) || scripts.iter().any(|script| named(script, name)))
        .cloned()
        .collect()
}

impl Browser {
    fn new(random: &mut Rng) -> Self {
        Self { pace: random.usize(1..6), is_cold: random.bool(), state: Loading::Nothing }
    }

    /// Sends its next request; starts over when it has everything.
    fn step(&mut self, edge: &Edge, releases: &[(Files, Vec<String>)], random: &mut Rng, failures: &mut Failures) {
        if self.is_cold {
            edge.clear();
        }
        match &mut self.state {
            Loading::Nothing => {
                let page = edge.get("/");
                let release = releases.iter().position(|(files, _)| page.body == files["index.html"]);
                let release = release.expect("a page is one of the two");
                let mut assets = releases[release].1.clone();
                random.shuffle(&mut assets);
                // A visitor sees some of the site, and all of it would take a whole deployment.
                assets.truncate(12);
                self.state = Loading::Assets(release, assets);
            }
            Loading::Assets(release, assets) => match assets.pop() {
                Some(name) => {
                    let answer = edge.get(&format!("/{name}"));
                    if answer.status != 200 {
                        failures.missing += 1;
                    } else if answer.body != releases[*release].0[&name] {
                        failures.mixed += 1;
                    }
                }
                None => self.state = Loading::Nothing,
            },
        }
    }
}

/// Deploys the first release, then the second with browsers between its calls; what failed.
async fn deployed_under(
    seed: u64,
    archives: &[Vec<u8>; 2],
    releases: &[(Files, Vec<String>)],
    retain_days: &str,
) -> Failures {
    let mut random = Rng::with_seed(seed);
    let stage = Stage::new()
        .await
        .with("RETAIN_REMOVED_DAYS", retain_days)
        .with("CACHE_CONTROL_ASSETS", "public, max-age=31536000, immutable");
    let event = stage.upload_bytes("1.zip", archives[0].clone());
    stage.deploy("one", &event).await;
    let event = stage.upload_bytes("2.zip", archives[1].clone());

    let edge = stage.cloud.edge(DISTRIBUTION);
    let mut browsers: Vec<Browser> = (0..BROWSERS).map(|_| Browser::new(&mut random)).collect();
    let mut failures = Failures::default();
    let between = |waiting: &[Waiting]| {
        for browser in &mut browsers {
            if random.usize(0..browser.pace) == 0 {
                browser.step(&edge, releases, &mut random, &mut failures);
            }
        }
        random.usize(..waiting.len())
    };
    stage.deploy_by_call("two", &event, between).await;
    stage.assert_contains(&releases[1].0);
    // Those that are not through yet finish.
    for browser in &mut browsers {
        while !matches!(browser.state, Loading::Nothing) {
            browser.step(&edge, releases, &mut random, &mut failures);
        }
    }
    failures
}

#[tokio::test]
async fn a_page_loaded_during_a_deployment_finds_its_assets_if_they_are_retained() {
    let Some(folder) = shared("sites") else {
        return;
    };
    let archives =
        ["streamlit-1.48.0.zip", "streamlit-1.48.1.zip"].map(|name| std::fs::read(folder.join(name)).unwrap());
    let releases = archives.each_ref().map(|archive| {
        let files = unzipped(archive);
        let assets = assets(&files);
        (files, assets)
    });
    let in_both = releases[0].1.iter().filter(|name| releases[1].0.contains_key(*name)).count();
    assert!(releases[0].1.len() > in_both + 20, "many of the old page's assets are gone");
    for seed in 0..DEPLOYMENTS {
        let found = deployed_under(seed, &archives, &releases, "7").await;
        assert_eq!((found.missing, found.mixed), (0, 0), "seed {seed}");
    }
    let mut found = Failures::default();
    for seed in 0..DEPLOYMENTS_WITHOUT {
        let more = deployed_under(seed, &archives, &releases, "0").await;
        found.missing += more.missing;
        found.mixed += more.mixed;
    }
    note(&format!(
        "RETAIN_REMOVED_DAYS=7: nothing missing in {} browsers; 0: {} assets missing in {}",
        DEPLOYMENTS * BROWSERS as u64,
        found.missing,
        DEPLOYMENTS_WITHOUT * BROWSERS as u64,
    ));
    assert_eq!(found.mixed, 0);
    assert!(found.missing > 0, "the simulation would show what is missing");
}
