//! Errors in the edge's cache.

use std::collections::BTreeSet;

use standins::{CustomError, Distribution};

use super::{assert_fresh, set};
use crate::build::files;
use crate::stage::{DISTRIBUTION, LIVE, Stage};

#[tokio::test]
async fn a_new_key_is_invalidated_if_the_edge_caches_its_absence() {
    for (code, min_ttl_seconds, expected) in [
        (404, 300, set(["/docs", "/docs/", "/docs/index.html", "/new.js"])),
        (404, 10, BTreeSet::new()),
        (404, 0, BTreeSet::new()),
    ] {
        let stage = Stage::new().await;
        let distribution = Distribution {
            custom_errors: vec![CustomError { code, page: None, min_ttl_seconds }],
            ..Distribution::of(DISTRIBUTION, LIVE)
        };
        stage.cloud.create_distribution(distribution.clone());
        let mut site = files([("index.html", "home")]);
        stage.deploy("one", &stage.upload("1.zip", &site)).await;
        let urls = ["/", "/new.js", "/docs", "/docs/", "/docs/index.html"].map(str::to_owned);
        stage.cloud.edge(DISTRIBUTION).warm_all(&urls);
        site.extend(files([("new.js", "new"), ("docs/index.html", "docs")]));
        let report = stage.deploy("two", &stage.upload("2.zip", &site)).await;
        assert_eq!(stage.items_sent(&report, DISTRIBUTION), expected, "minimum TTL of {min_ttl_seconds} s");
        assert_fresh(&stage, distribution, &urls);
    }
}

#[tokio::test]
async fn a_single_page_application_is_fresh_under_every_route() {
    let stage = Stage::new().await;
    let distribution = Distribution {
        custom_errors: vec![CustomError {
            code: 404,
            page: Some(("/index.html".to_owned(), 200)),
            min_ttl_seconds: 300,
        }],
        ..Distribution::of(DISTRIBUTION, LIVE)
    };
    stage.cloud.create_distribution(distribution.clone());
    let version = |index| files([("index.html", index), ("kept.js", "kept")]);
    stage.deploy("one", &stage.upload("1.zip", &version("one"))).await;
    let edge = stage.cloud.edge(DISTRIBUTION);
    let urls = ["/", "/users/42", "/kept.js"].map(str::to_owned);
    edge.warm_all(&urls);
    assert_eq!(edge.get("/users/42").body, "one");
    let report = stage.deploy("two", &stage.upload("2.zip", &version("two"))).await;
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), set(["/*"]));
    insta::assert_snapshot!(report.warnings.join("\n"), @"E1EXAMPLE serves /index.html under any path and caches it for over 10 seconds: when it changes, everything is evicted (1 unchanged objects); an error caching minimum TTL of 10 avoids that");
    assert_fresh(&stage, distribution, &urls);

    // As long as the page is kept, so are the routes.
    edge.warm_all(&urls);
    let mut third = version("two");
    third.extend(files([("new.js", "new")]));
    let report = stage.deploy("three", &stage.upload("3.zip", &third)).await;
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), set(["/new.js"]));
    assert!(edge.get("/users/42").from_cache);
}
