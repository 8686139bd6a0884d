//! Sites with several distributions, origins and domains.

use std::collections::BTreeSet;

use dropship::invalidation::matches;
use dropship::report::{Outcome, Progress};
use serde_json::json;
use standins::{Call, CustomError, Distribution, Does, Domain, Edge, Fault, IndexFunction, Origin, QueryStrings};

use super::{assert_fresh, evicted, first, second, set, urls};
use crate::build::files;
use crate::stage::interruption::interrupted;
use crate::stage::{DISTRIBUTION, LIVE, Stage, report};

#[tokio::test]
async fn each_distribution_gets_its_own_paths() {
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", "E1WHOLE,E2WWW");
    let whole = Distribution::of("E1WHOLE", LIVE);
    let www = Distribution::of("E2WWW", LIVE).with_origin_path("/www");
    stage.cloud.create_distribution(whole.clone());
    stage.cloud.create_distribution(www.clone());
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let of_whole: Vec<String> = first().keys().flat_map(|key| urls(key, false)).collect();
    let of_www: Vec<String> = ["index.html", "kept.css", "old.html"].iter().flat_map(|key| urls(key, false)).collect();
    let edges = [stage.cloud.edge("E1WHOLE"), stage.cloud.edge("E2WWW")];
    edges[0].warm_all(&of_whole);
    edges[1].warm_all(&of_www);
    let before = edges.each_ref().map(Edge::cached);

    let report = stage.deploy("two", &stage.upload("2.zip", &second())).await;
    let sent = &report.invalidations;
    assert_eq!(
        stage.items_sent(&report, "E1WHOLE"),
        set(["/", "/index.html", "/www", "/www/", "/www/index.html", "/www/old.html"])
    );
    assert_eq!(stage.items_sent(&report, "E2WWW"), set(["/", "/index.html", "/old.html"]));
    let references: BTreeSet<&String> = sent.iter().map(|sent| &sent.caller_reference).collect();
    assert_eq!((sent.len(), references.len()), (4, 4), "two batches per distribution, each with its own reference");
    for (edge, before) in edges.iter().zip(&before) {
        assert_eq!(evicted(edge, before).needlessly, [""; 0]);
    }
    assert_fresh(&stage, whole, &of_whole);
    assert_fresh(&stage, www, &of_www);
}

#[tokio::test]
async fn both_origins_of_one_distribution_are_invalidated() {
    let stage = Stage::new().await;
    let both = Distribution {
        origins: vec![origin("", None), origin("/next", Some("/beta/*"))],
        ..Distribution::of(DISTRIBUTION, LIVE)
    };
    stage.cloud.create_distribution(both.clone());
    let version =
        |text| files([("a.html", text), ("next/beta/b.html", text), ("next/beta/index.html", text), ("kept", "")]);
    stage.deploy("one", &stage.upload("1.zip", &version("one"))).await;
    let urls =
        ["/a.html", "/beta/b.html", "/beta/", "/beta/index.html", "/next/beta/b.html", "/kept"].map(str::to_owned);
    let edge = stage.cloud.edge(DISTRIBUTION);
    edge.warm_all(&urls);
    assert_eq!(edge.get("/beta/b.html").body, "one");
    let report = stage.deploy("two", &stage.upload("2.zip", &version("two"))).await;
    let sent = stage.items_sent(&report, DISTRIBUTION);
    assert!(sent.is_superset(&set(["/a.html", "/beta/b.html", "/next/beta/b.html", "/beta/"])), "{sent:?}");
    assert_eq!(edge.get("/beta/b.html").body, "two");
    assert!(edge.get("/kept").from_cache);
    assert_fresh(&stage, both, &urls);
}

/// Returns an origin of the live bucket.
fn origin(path: &str, path_pattern: Option<&str>) -> Origin {
    Origin {
        bucket: LIVE.to_owned(),
        path: path.to_owned(),
        domain: Domain::Regional,
        path_pattern: path_pattern.map(str::to_owned),
    }
}

#[tokio::test]
async fn every_spelling_of_the_bucket_domain_is_discovered() {
    let spellings = [
        Domain::Regional,
        Domain::Global,
        Domain::DualStack,
        Domain::Website,
        Domain::WebsiteDotted,
        Domain::Accelerate,
        Domain::Other("live.s3-accelerate.dualstack.amazonaws.com".to_owned()),
        Domain::Other("live.s3-eu-west-1.amazonaws.com".to_owned()),
    ];
    let ids: Vec<String> = (1..=spellings.len()).map(|number| format!("E{number}SPELT")).collect();
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", &ids.join(","));
    for (id, domain) in ids.iter().zip(spellings) {
        let mut distribution = Distribution::of(id, LIVE);
        distribution.origins[0].domain = domain;
        // The distribution also has an origin that is not a bucket.
        let api = Origin {
            bucket: "none".to_owned(),
            path: "/prod".to_owned(),
            domain: Domain::Other("abc.execute-api.eu-west-1.amazonaws.com".to_owned()),
            path_pattern: Some("/api/*".to_owned()),
        };
        distribution.origins.push(api);
        stage.cloud.create_distribution(distribution);
    }
    let site = stage.site("warm").await;
    for text in ["one", "two", "three"] {
        let event = stage.upload("site.zip", &files([("a.html", text)]));
        let report = report(stage.invoke_on(&site, text, &event, &Progress::default()).await);
        let sent: Vec<_> = report.invalidations.iter().map(|sent| (sent.distribution_id.clone(), sent.items)).collect();
        // The first is the wildcard that evicts what was cached before the first deployment.
        assert_eq!(sent, ids.iter().map(|id| (id.clone(), 1)).collect::<Vec<_>>());
    }
    let reads = 2 * 3 * ids.len();
    assert_eq!(stage.count("GetDistribution"), reads, "a warm function reads them again, before and after its writes");
}

#[tokio::test]
async fn a_warm_function_sees_that_an_origin_path_has_changed() {
    let stage = Stage::new().await;
    let build = |text| files([("index.html", "root"), ("docs/a.html", text)]);
    let site = stage.site("warm").await;
    report(stage.invoke_on(&site, "one", &stage.upload("site.zip", &build("one")), &Progress::default()).await);
    stage.cloud.change_distribution(Distribution::of(DISTRIBUTION, LIVE).with_origin_path("/docs"));
    let edge = stage.cloud.edge(DISTRIBUTION);
    assert_eq!(edge.get("/a.html").body, "one");
    report(stage.invoke_on(&site, "two", &stage.upload("site.zip", &build("two")), &Progress::default()).await);
    assert_eq!(edge.get("/a.html").body, "two");
}

#[tokio::test]
async fn a_distribution_that_is_reconfigured_during_a_run_is_evicted_at_its_end() {
    let errors_for = |min_ttl_seconds| Distribution {
        custom_errors: vec![CustomError { code: 404, page: None, min_ttl_seconds }],
        ..Distribution::of(DISTRIBUTION, LIVE)
    };
    for (now, url) in [(errors_for(300), "/new.js"), (errors_for(0).with_origin_path("/docs"), "/new.html")] {
        let stage = Stage::new().await;
        stage.cloud.create_distribution(errors_for(0));
        stage.deploy("one", &stage.upload("site.zip", &files([("index.html", "one")]))).await;
        let build = files([("index.html", "one"), ("new.js", "new"), ("docs/new.html", "new")]);
        let event = stage.upload("site.zip", &build);
        let edge = stage.cloud.edge(DISTRIBUTION);
        // Whoever changes a distribution invalidates everything by hand.
        let reconfiguring = async {
            stage.cloud.change_distribution(now);
            edge.clear();
            edge.get(url);
        };
        let is_write = |call: &Call| call.operation == "PutObject" && call.bucket.as_deref() == Some(LIVE);
        let report = interrupted(&stage.cloud, stage.deploy("two", &event), is_write, reconfiguring).await;
        assert_eq!(stage.items_sent(&report, DISTRIBUTION), set(["/*"]));
        assert_eq!(edge.get(url).body, "new");
    }
}

#[tokio::test]
async fn a_distribution_that_is_reconfigured_is_evicted_by_the_retry_of_the_run_that_did_not_see_it() {
    let errors_for = |min_ttl_seconds| Distribution {
        custom_errors: vec![CustomError { code: 404, page: None, min_ttl_seconds }],
        ..Distribution::of(DISTRIBUTION, LIVE)
    };
    let stage = Stage::new().await;
    stage.cloud.create_distribution(errors_for(0));
    stage.deploy("one", &stage.upload("site.zip", &files([("index.html", "one")]))).await;
    let event = stage.upload("site.zip", &files([("index.html", "one"), ("new.js", "new")]));
    let edge = stage.cloud.edge(DISTRIBUTION);
    let reconfiguring = async {
        stage.cloud.change_distribution(errors_for(300));
        edge.clear();
        edge.get("/new.js");
    };
    stage.cloud.fault(Fault { first: 2, ..Fault::on("GetDistribution", Does::refuse(403, "AccessDenied")) });
    let is_write = |call: &Call| call.operation == "PutObject" && call.bucket.as_deref() == Some(LIVE);
    let failed = interrupted(&stage.cloud, stage.invoke("two", &event), is_write, reconfiguring).await;
    assert!(failed.into_answer().is_err());
    stage.deploy("two", &event).await;
    assert_eq!(edge.get("/new.js").body, "new");
}

#[tokio::test]
async fn a_distribution_that_does_not_reach_the_prefix_is_refused() {
    let stage = Stage::new().await.with("LIVE_PREFIX", "docs").with("DISTRIBUTION_IDS", "E2OTHER");
    stage.cloud.create_distribution(Distribution::of("E2OTHER", LIVE).with_origin_path("/blog"));
    let event = stage.upload("site.zip", &files([("index.html", "docs")]));
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "WrongDistribution");
    for part in ["E2OTHER", "s3://live/docs/", "DISTRIBUTION_IDS"] {
        assert!(failure.error_message.contains(part), "{}", failure.error_message);
    }
    assert!(stage.cloud.objects(LIVE).is_empty());
    // An origin inside the prefix shows a part of the site, and gets the paths of that part.
    stage.cloud.create_distribution(Distribution::of("E2OTHER", LIVE).with_origin_path("/docs/v2"));
    assert_eq!(stage.deploy("two", &event).await.outcome, Outcome::Deployed);
}

#[tokio::test]
async fn a_distribution_that_does_not_exist_is_refused_before_the_first_write() {
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", "E1EXAMPLE,E2GONE");
    refuses(&stage, "E2GONE", "this account has no distribution E2GONE: ").await;
    // The settings were right, and the distribution has come.
    stage.cloud.create_distribution(Distribution::of("E2GONE", LIVE));
    let event = stage.upload("site.zip", &files([("index.html", "two")]));
    assert_eq!(stage.deploy("two", &event).await.outcome, Outcome::Deployed);
}

#[tokio::test]
async fn a_distribution_that_may_not_be_read_is_refused_before_the_first_write() {
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", "E1EXAMPLE,E2OTHER");
    stage.cloud.create_distribution(Distribution::of("E2OTHER", LIVE));
    stage.cloud.fault(Fault {
        distribution: Some("E2OTHER".to_owned()),
        times: usize::MAX,
        ..Fault::on("GetDistribution", Does::refuse(403, "AccessDenied"))
    });
    refuses(&stage, "E2OTHER", "the function may not read distribution E2OTHER (").await;
}

/// Checks that a deployment fails as `WrongDistribution` with a message that begins like this and names the setting, and
/// that it reads the distribution once and writes nothing.
async fn refuses(stage: &Stage, id: &str, message: &str) {
    let event = stage.upload("site.zip", &files([("index.html", "one")]));
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "WrongDistribution", "{}", failure.error_message);
    assert!(failure.error_message.starts_with(message), "{}", failure.error_message);
    assert!(failure.error_message.contains("DISTRIBUTION_IDS"), "{}", failure.error_message);
    assert!(stage.cloud.objects(LIVE).is_empty());
    let reads = stage.cloud.calls().into_iter().filter(|call| call.distribution.as_deref() == Some(id));
    assert_eq!(reads.count(), 1, "settings do not become right by asking again");
}

#[tokio::test]
async fn another_index_document_answers_for_its_folder() {
    let stage = Stage::new().await.with("INDEX_DOCUMENT", "home.htm");
    let distribution = Distribution {
        index_document: "home.htm".to_owned(),
        default_root_object: String::new(),
        ..Distribution::of(DISTRIBUTION, LIVE)
    };
    stage.cloud.create_distribution(distribution.clone());
    let build = |text| files([("home.htm", text), ("docs/home.htm", text), ("docs/index.html", text)]);
    stage.deploy("one", &stage.upload("1.zip", &build("one"))).await;
    let urls = ["/", "/home.htm", "/docs/", "/docs", "/docs/home.htm", "/docs/index.html"].map(str::to_owned);
    stage.cloud.edge(DISTRIBUTION).warm_all(&urls);
    let report = stage.deploy("two", &stage.upload("2.zip", &build("two"))).await;
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), BTreeSet::from(urls.clone()));
    assert_fresh(&stage, distribution, &urls);
}

#[tokio::test]
async fn a_stated_origin_path_replaces_only_the_search_for_the_origin() {
    let stage = Stage::new().await.with("ARCHIVE_ROOT", ".").with("DISTRIBUTION_IDS", "E2PROXY=/www");
    let mut proxied = Distribution {
        default_root_object: "home.html".to_owned(),
        index_function: IndexFunction::None,
        query_strings: QueryStrings::Forwarded(true),
        custom_errors: vec![CustomError { code: 404, page: None, min_ttl_seconds: 300 }],
        ..Distribution::of("E2PROXY", LIVE).with_origin_path("/www")
    };
    // The emulated proxy hands everything on to the bucket.
    proxied.origins[0].domain = Domain::Other("proxy.example.com".to_owned());
    stage.cloud.create_distribution(proxied.clone());
    let build = |text| files([("www/home.html", text), ("www/docs/index.html", text), ("www/docs/kept.css", "kept")]);
    stage.deploy("one", &stage.upload("1.zip", &build("one"))).await;
    let urls = ["/", "/?x=1", "/home.html", "/docs/index.html?x=1", "/new.html"].map(str::to_owned);
    stage.cloud.edge("E2PROXY").warm_all(&urls);
    let mut second = build("two");
    second.insert("www/new.html".to_owned(), b"new".to_vec());
    let report = stage.deploy("two", &stage.upload("2.zip", &second)).await;
    let sent = stage.items_sent(&report, "E2PROXY");
    // Nobody knows what the proxy makes of a folder's paths.
    for path in ["/docs", "/docs/"] {
        assert!(sent.iter().any(|item| matches(item, path)), "{path} by {sent:?}");
    }
    assert!(!sent.iter().any(|item| matches(item, "/docs/kept.css")), "{sent:?}");
    assert_fresh(&stage, proxied, &urls);
}

#[tokio::test]
async fn a_stated_origin_path_of_the_bucket_itself_names_no_needless_paths() {
    let stage = Stage::new().await.with("ARCHIVE_ROOT", ".").with("DISTRIBUTION_IDS", &format!("{DISTRIBUTION}=/www"));
    let www = Distribution {
        index_function: IndexFunction::None,
        ..Distribution::of(DISTRIBUTION, LIVE).with_origin_path("/www")
    };
    stage.cloud.create_distribution(www);
    let build = |text| files([("www/docs/index.html", text)]);
    stage.deploy("one", &stage.upload("1.zip", &build("one"))).await;
    let report = stage.deploy("two", &stage.upload("2.zip", &build("two"))).await;
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), set(["/docs/index.html"]));
}

#[tokio::test]
async fn a_cache_policy_is_read_once_for_all_distributions_and_a_well_known_one_never() {
    let ids = ["E1OWN", "E2OWN", "E3KNOWN"];
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", &ids.join(","));
    let own = QueryStrings::Policy { id: "own".to_owned(), behavior: "all" };
    for id in ids {
        let query_strings = if id == "E3KNOWN" { QueryStrings::Ignored } else { own.clone() };
        stage.cloud.create_distribution(Distribution { query_strings, ..Distribution::of(id, LIVE) });
    }
    stage.deploy("one", &stage.upload("1.zip", &files([("a.css", "one")]))).await;
    let report = stage.deploy("two", &stage.upload("2.zip", &files([("a.css", "two")]))).await;
    assert_eq!(ids.len() * stage.count("GetCachePolicy"), stage.count("GetDistribution"));
    let sent = ids.map(|id| stage.items_sent(&report, id));
    assert_eq!(sent, [set(["/a.css*"]), set(["/a.css*"]), set(["/a.css"])]);
    assert_eq!(report.warnings, [""; 0]);
}

#[tokio::test]
async fn a_cache_policy_that_may_not_be_read_counts_as_one_with_query_strings() {
    let stage = Stage::new().await;
    let own = QueryStrings::Policy { id: "own".to_owned(), behavior: "none" };
    stage.cloud.create_distribution(Distribution { query_strings: own, ..Distribution::of(DISTRIBUTION, LIVE) });
    stage.deploy("one", &stage.upload("1.zip", &files([("a.css", "one")]))).await;
    stage.cloud.fault(Fault { times: usize::MAX, ..Fault::on("GetCachePolicy", Does::refuse(403, "AccessDenied")) });
    let event = stage.upload("2.zip", &files([("a.css", "two")]));
    let mut rehearsal = event.clone();
    rehearsal["options"] = json!({"dryRun": true});
    let planned = stage.deploy("two", &rehearsal).await;
    let report = stage.deploy("two", &event).await;
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), set(["/a.css*"]));
    for warnings in [planned.warnings, report.warnings] {
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        for part in [DISTRIBUTION, "cache policy own", "cloudfront:GetCachePolicy"] {
            assert!(warning.contains(part), "{warning}");
        }
    }
    let unchanged = stage.deploy("three", &event).await;
    assert_eq!((unchanged.outcome, unchanged.warnings.len()), (Outcome::Unchanged, 1));
}

#[tokio::test]
async fn a_staging_distribution_that_is_not_listed_is_warned_of() {
    let stage = Stage::new().await;
    let policy = Some("P1".to_owned());
    let primary = Distribution { continuous_deployment_policy: policy, ..Distribution::of(DISTRIBUTION, LIVE) };
    stage.cloud.create_distribution(primary);
    let event = stage.upload("site.zip", &files([("a.css", "one")]));
    let report = stage.deploy("one", &event).await;
    let warnings: Vec<_> = report.warnings.iter().filter(|it| it.contains("continuous deployment policy")).collect();
    let [warning] = &warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.contains(DISTRIBUTION) && warning.contains("DISTRIBUTION_IDS"), "{warning}");
    stage.cloud.create_distribution(Distribution { is_staging: true, ..Distribution::of("E2STAGING", LIVE) });
    let stage = stage.with("DISTRIBUTION_IDS", &format!("{DISTRIBUTION},E2STAGING"));
    assert_eq!(stage.deploy("two", &event).await.warnings, [""; 0]);
}
