//! What viewers get of previews, through the edge emulation with the template's own functions.

use chrono::TimeDelta;
use dropship::report::Outcome;
use serde_json::json;
use standins::{Distribution, Edge, EdgeFunctions, Spelling};

use super::{build, deployed, removal, stage};
use crate::build::files;
use crate::cloudformation::Template;
use crate::stage::{DISTRIBUTION, LIVE, Stage};

const PREVIEWS: &str = "E9PREVIEWS";
const DOMAIN: &str = "preview.example.com";
const CERTIFICATE: &str = "arn:aws:acm:us-east-1:123456789012:certificate/1a2b3c";

/// The template's parameters of a created site with previews, and with a domain for them.
const WITH_DOMAIN: &[(&str, &str)] =
    &[("CreateSite", "true"), ("Previews", "true"), ("PreviewDomain", DOMAIN), ("PreviewCertificateArn", CERTIFICATE)];

/// The same without a domain.
const WITHOUT_DOMAIN: &[(&str, &str)] = &[("CreateSite", "true"), ("Previews", "true")];

/// Returns whether to skip a test because no Node can run the functions, and says so.
fn is_skipped() -> bool {
    let can_run = EdgeFunctions::can_run();
    if !can_run {
        println!("skipped: there is no `node` in the PATH, which runs the functions of the template");
    }
    !can_run
}

/// Returns the source of a function of the template.
fn source(parameters: &[(&str, &str)], function: &str) -> String {
    let function = Template::with(parameters).resource(function);
    function["Properties"]["FunctionCode"].as_str().unwrap().to_owned()
}

/// Returns the functions of the site's own distribution, with the function on viewer responses where the template has one.
fn of_site(parameters: &[(&str, &str)]) -> EdgeFunctions {
    let distribution = Template::with(parameters).resource("Distribution");
    let behaviour = &distribution["Properties"]["DistributionConfig"]["CacheBehaviors"][0];
    let response = behaviour["FunctionAssociations"][1]["FunctionARN"].as_str().map(|arn| {
        assert_eq!(arn, "FunctionMetadata.FunctionARN of NoIndexFunction");
        (behaviour["PathPattern"].as_str().unwrap().to_owned(), source(parameters, "NoIndexFunction"))
    });
    EdgeFunctions { request: source(parameters, "IndexFunction"), response, evicted_by: Spelling::Rewritten }
}

/// Returns the functions of the previews' distribution.
fn of_previews(evicted_by: Spelling) -> EdgeFunctions {
    let response = Some(("*".to_owned(), source(WITH_DOMAIN, "NoIndexFunction")));
    EdgeFunctions { request: source(WITH_DOMAIN, "PreviewFunction"), response, evicted_by }
}

/// Returns a stage with a distribution for previews.
async fn with_domain(evicted_by: Spelling) -> Stage {
    let stage = stage().await.with("PREVIEW_DISTRIBUTION_ID", PREVIEWS).with("PREVIEW_DOMAIN", DOMAIN);
    stage.cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE).with_functions(of_site(WITH_DOMAIN)));
    let previews = Distribution { default_root_object: String::new(), ..Distribution::of(PREVIEWS, LIVE) };
    stage.cloud.create_distribution(previews.with_functions(of_previews(evicted_by)));
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    stage
}

/// Returns the edge for viewers of a preview.
fn of(stage: &Stage, preview: &str) -> Edge {
    stage.cloud.edge(PREVIEWS).on_host(&format!("{preview}.{DOMAIN}"))
}

fn body(edge: &Edge, path: &str) -> String {
    let answer = edge.get(path);
    assert_eq!(answer.status, 200, "{path}");
    assert_eq!(answer.headers.get("x-robots-tag").map(String::as_str), Some("noindex"), "{path}");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

const SEEN: [&str; 6] = ["/", "/index.html", "/docs/", "/docs/index.html", "/a.js", "/a2.js"];

#[tokio::test]
async fn a_preview_has_a_host_of_its_own_and_no_stale_page_survives_under_either_spelling() {
    if is_skipped() {
        return;
    }
    for spelling in [Spelling::Rewritten, Spelling::Viewers] {
        let stage = with_domain(spelling).await;
        let live_items = stage.cloud.invalidations(DISTRIBUTION).len();
        let report = deployed(&stage, "a", "a", "a").await;
        assert_eq!(report.url.as_deref(), Some("https://a.preview.example.com/"));
        deployed(&stage, "b", "b", "b").await;
        let (a, b) = (of(&stage, "a"), of(&stage, "b"));
        assert_eq!((body(&a, "/"), body(&b, "/"), body(&a, "/docs/")), ("a".into(), "b".into(), "a".into()));
        let redirect = a.get("/docs?x=1");
        assert_eq!((redirect.status, redirect.headers["location"].as_str()), (302, "/docs/?x=1"));
        for host in ["preview.example.com", "a.b.preview.example.com", "a.example.com", "-.preview.example.com"] {
            assert_eq!(stage.cloud.edge(PREVIEWS).on_host(host).get("/").status, 404, "{host}");
        }
        assert_eq!(of(&stage, "none").get("/").status, 404);

        for edge in [&a, &b] {
            edge.warm_all(SEEN);
        }
        let sent = stage.cloud.invalidations(PREVIEWS).len();
        deployed(&stage, "a2", "a", "a2").await;
        assert_eq!(stage.cloud.edge(PREVIEWS).stale(), [""; 0], "{spelling:?}");
        assert_eq!((body(&a, "/"), body(&a, "/docs/"), body(&b, "/")), ("a2".into(), "a2".into(), "b".into()));
        let items: Vec<String> =
            stage.cloud.invalidations(PREVIEWS).split_off(sent).into_iter().flat_map(|it| it.items).collect();
        for both in ["/", "/index.html", "/docs/", "/docs/index.html", "/a.js"] {
            for item in [both.to_owned(), format!("/previews/a{both}")] {
                assert!(items.contains(&item), "{item}: {items:?}");
            }
        }
        assert!(items.iter().all(|item| !item.starts_with("/previews/b")), "{items:?}");

        a.warm_all(SEEN);
        stage.pass(TimeDelta::seconds(1));
        assert_eq!(stage.deploy("remove", &removal("a")).await.outcome, Outcome::Removed);
        assert_eq!(a.get("/").status, 404);
        assert_eq!(stage.cloud.edge(PREVIEWS).stale(), [""; 0], "{spelling:?}");
        // No item of a preview can evict a page of the live site: none is sent there.
        assert_eq!(stage.cloud.invalidations(DISTRIBUTION).len(), live_items);
        assert_eq!(body(&b, "/"), "b");
    }
}

#[tokio::test]
async fn the_live_site_never_answers_with_noindex_and_hides_previews_that_have_a_domain() {
    if is_skipped() {
        return;
    }
    let stage = with_domain(Spelling::Rewritten).await;
    deployed(&stage, "a", "a", "a").await;
    let live = stage.cloud.edge(DISTRIBUTION);
    for path in ["/", "/docs/", "/live.js", "/docs"] {
        let answer = live.get(path);
        assert!(answer.status < 400, "{path}: {}", answer.status);
        assert!(!answer.headers.contains_key("x-robots-tag"), "{path}");
    }
    for path in ["/previews/a/", "/previews/a/index.html", "/%70reviews/a/", "/previews%2fa/", "/previews/%"] {
        assert_eq!(live.get(path).status, 404, "{path}");
    }
}

#[tokio::test]
async fn without_a_domain_a_preview_is_a_folder_of_the_site_with_noindex() {
    if is_skipped() {
        return;
    }
    let stage = stage().await;
    stage.cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE).with_functions(of_site(WITHOUT_DOMAIN)));
    stage.deploy("live", &stage.upload("uploads/site.zip", &build("live"))).await;
    deployed(&stage, "a", "a", "a").await;
    let edge = stage.cloud.edge(DISTRIBUTION);
    assert_eq!((body(&edge, "/previews/a/"), body(&edge, "/previews/a/docs/")), ("a".into(), "a".into()));
    for path in ["/", "/docs/", "/live.js"] {
        let answer = edge.get(path);
        assert_eq!((answer.status, answer.headers.get("x-robots-tag")), (200, None), "{path}");
    }
    // Other spellings of the folder would reach the behaviour without the header.
    for path in ["/%70reviews/a/", "/previews%2fa/index.html"] {
        assert_eq!(edge.get(path).status, 404, "{path}");
    }
    edge.warm_all(["/previews/a/", "/previews/a/docs/", "/previews/a/index.html", "/"]);
    deployed(&stage, "a2", "a", "a2").await;
    assert_eq!(edge.stale(), [""; 0]);
    assert_eq!(body(&edge, "/previews/a/"), "a2");
    assert!(edge.get("/").from_cache, "a preview evicts no page of the live site");
}

#[tokio::test]
async fn a_site_without_previews_shows_a_folder_of_this_name_like_any_other() {
    if is_skipped() {
        return;
    }
    let parameters: &[(&str, &str)] = &[("CreateSite", "true")];
    let stage = Stage::new().await;
    stage.cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE).with_functions(of_site(parameters)));
    let own = files([("index.html", "live"), ("previews/index.html", "own"), ("previews/a/index.html", "own")]);
    stage.deploy("live", &stage.upload("uploads/site.zip", &own)).await;
    for path in ["/previews/", "/previews/a/"] {
        let answer = stage.cloud.edge(DISTRIBUTION).get(path);
        assert_eq!((answer.status, answer.headers.get("x-robots-tag")), (200, None), "{path}");
    }
    assert!(!Template::with(parameters).has("NoIndexFunction"));
    let distribution = Template::with(parameters).resource("Distribution");
    assert_eq!(distribution["Properties"]["DistributionConfig"]["CacheBehaviors"], json!(null));
}
