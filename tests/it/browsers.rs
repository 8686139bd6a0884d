//! Browsers that load the site while it is being deployed: they send their requests between the deployment's calls.

use fastrand::Rng;
use standins::{Edge, Waiting};

use crate::build::{Files, unzipped};
use crate::note::note;
use crate::shared_data::releases;
use crate::stage::{DISTRIBUTION, Stage};

/// Deployments with retention.
const DEPLOYMENTS: u64 = 10;

/// Independent browsers during each deployment: together 500 interleavings.
const BROWSERS: usize = 50;

/// Deployments without retention, which show that the simulation detects missing assets.
const DEPLOYMENTS_WITHOUT: u64 = 3;

/// A release of the site, with the assets that its page needs.
struct Release {
    files: Files,
    assets: Vec<String>,
}

impl Release {
    fn of(archive: &[u8]) -> Self {
        let files = unzipped(archive);
        let assets = assets(&files);
        Self { files, assets }
    }
}

/// A browser that loads the page, then its assets in random order, and starts over.
struct Browser {
    /// Between two calls of the deployment, the browser sends a request once in `pace` times.
    pace: usize,
    /// Whether the browser's edge has nothing cached, so that every request reaches the bucket.
    is_cold: bool,
    state: Loading,
}

enum Loading {
    Nothing,
    /// The index of the release whose page was loaded, and the assets that remain to be requested.
    Assets(usize, Vec<String>),
}

/// Requests for assets that went wrong.
#[derive(Default)]
struct Failures {
    /// Answered without the asset.
    missing: usize,
    /// Answered with the asset of the other release.
    mixed: usize,
}

/// Returns the assets that the page, or one of the release's scripts, names.
fn assets(files: &Files) -> Vec<String> {
    let texts = files.iter().filter(|(name, _)| *name == "index.html" || name.ends_with(".js"));
    let texts: Vec<_> = texts.map(|(_, body)| String::from_utf8_lossy(body)).collect();
    let is_named = |name: &&String| {
        let file_name = name.rsplit('/').next().unwrap_or_default();
        texts.iter().any(|text| text.contains(file_name))
    };
    files.keys().filter(|name| name.starts_with("static/")).filter(is_named).cloned().collect()
}

impl Browser {
    fn new(random: &mut Rng) -> Self {
        Self { pace: random.usize(1..6), is_cold: random.bool(), state: Loading::Nothing }
    }

    /// Sends the next request, or starts over when nothing is left to load.
    fn step(&mut self, edge: &Edge, releases: &[Release; 2], random: &mut Rng, failures: &mut Failures) {
        if self.is_cold {
            edge.clear();
        }
        match &mut self.state {
            Loading::Nothing => {
                let page = edge.get("/");
                let release = releases.iter().position(|release| page.body == release.files["index.html"]);
                let release = release.expect("the page is that of one of the releases");
                let mut assets = releases[release].assets.clone();
                random.shuffle(&mut assets);
                // A visitor sees a part of the site; loading all of it would take the whole deployment.
                assets.truncate(12);
                self.state = Loading::Assets(release, assets);
            }
            Loading::Assets(release, assets) => match assets.pop() {
                Some(name) => {
                    let answer = edge.get(&format!("/{name}"));
                    if answer.status != 200 {
                        failures.missing += 1;
                    } else if answer.body != releases[*release].files[&name] {
                        failures.mixed += 1;
                    }
                }
                None => self.state = Loading::Nothing,
            },
        }
    }
}

/// Deploys the first release, then the second with browsers between its calls, and returns the browsers' failures.
async fn deploy_with_browsers(
    seed: u64,
    archives: &[Vec<u8>; 2],
    releases: &[Release; 2],
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
    let next_call = |waiting: &[Waiting]| {
        for browser in &mut browsers {
            if random.usize(0..browser.pace) == 0 {
                browser.step(&edge, releases, &mut random, &mut failures);
            }
        }
        random.usize(..waiting.len())
    };
    stage.deploy_by_call("two", &event, next_call).await;
    stage.assert_contains(&releases[1].files);
    // Let the browsers finish their page loads.
    for browser in &mut browsers {
        while !matches!(browser.state, Loading::Nothing) {
            browser.step(&edge, releases, &mut random, &mut failures);
        }
    }
    failures
}

#[tokio::test]
async fn a_page_loaded_during_a_deployment_finds_its_assets_if_they_are_retained() {
    let Some(archives) = releases() else {
        return;
    };
    let releases = archives.each_ref().map(|archive| Release::of(archive));
    let [old, new] = &releases;
    let in_both = old.assets.iter().filter(|name| new.files.contains_key(*name)).count();
    assert!(old.assets.len() > in_both + 20, "many of the old page's assets must be gone from the new release");
    for seed in 0..DEPLOYMENTS {
        let failures = deploy_with_browsers(seed, &archives, &releases, "7").await;
        assert_eq!((failures.missing, failures.mixed), (0, 0), "seed {seed}");
    }
    let mut failures = Failures::default();
    for seed in 0..DEPLOYMENTS_WITHOUT {
        let more = deploy_with_browsers(seed, &archives, &releases, "0").await;
        failures.missing += more.missing;
        failures.mixed += more.mixed;
    }
    note(&format!(
        "RETAIN_REMOVED_DAYS=7: no asset missing in {} browsers; RETAIN_REMOVED_DAYS=0: {} assets missing in {}",
        DEPLOYMENTS * BROWSERS as u64,
        failures.missing,
        DEPLOYMENTS_WITHOUT * BROWSERS as u64,
    ));
    assert_eq!(failures.mixed, 0);
    assert!(failures.missing > 0, "the simulation must detect missing assets");
}
