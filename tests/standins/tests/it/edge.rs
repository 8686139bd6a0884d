//! The edge cache.

use standins::{CustomError, Distribution, Domain, EdgeAnswer, Headers, IndexFunction, QueryStrings};

use crate::account::{account, cloudfront_of, offer, raw_http};

fn text(answer: &EdgeAnswer) -> (u16, &str) {
    (answer.status, std::str::from_utf8(&answer.body).unwrap())
}

#[tokio::test]
async fn the_edge_serves_stale_pages_until_an_item_matches() {
    let (cloud, _) = account().await;
    cloud.create_distribution(Distribution::of("E1", "site").with_origin_path("/www"));
    let cloudfront = cloudfront_of(&cloud).await;
    let edge = cloud.edge("E1");
    let put = |text: &'static str| {
        for key in ["index.html", "docs/index.html", "a b~.html", "[x].html", "it's.html"] {
            let headers = Headers::of_type("text/html");
            cloud.put_object("site", &format!("www/{key}"), text, headers);
        }
    };
    let urls = [
        "/",
        "/index.html",
        "/docs",
        "/docs/",
        "/docs/index.html",
        "/docs/?q=1",
        "/a%20b~.html",
        "/[x].html",
        "/it's.html",
        "/it%27s.html",
    ];
    put("old");
    edge.warm_all(urls);
    put("new");
    let stale = || -> Vec<&str> {
        let stale = |url: &&str| text(&edge.get(url)) == (200, "old");
        urls.into_iter().filter(stale).collect()
    };
    assert_eq!(stale(), urls);

    let mut count = 0;
    let mut send = async |items: &[&str]| {
        count += 1;
        offer(&cloudfront, &count.to_string(), items).await.unwrap();
    };
    // None of these matches: viewers send other spellings, the case differs, or CloudFront ignores the item.
    send(&["/it%27S.html", "/Docs/", "/a%20b%7E.html", "/[x].html", "/a%20b", "/www/*"]).await;
    assert_eq!(stale(), urls);
    send(&["/", "/docs/"]).await;
    let left = ["/index.html", "/docs", "/docs/index.html"];
    let rest = ["/a%20b~.html", "/[x].html", "/it's.html", "/it%27s.html"];
    assert_eq!(stale(), [&left[..], &rest].concat());
    send(&["/docs*", "/index.html", "/it's.html", "/%5Bx%5D.html"]).await;
    assert_eq!(stale(), ["/a%20b~.html", "/it%27s.html"]);
    send(&["/a%20b*", "/it*"]).await;
    assert!(stale().is_empty());
    assert!(edge.get("/docs").from_cache);
    assert_eq!(edge.get("/docs").headers["content-type"], "text/html");
}

#[tokio::test]
async fn the_edge_caches_variants_errors_and_tags_as_configured() {
    let (cloud, _) = account().await;
    let plain = Distribution::of("E1", "site");
    cloud.create_distribution(plain.clone());
    let cloudfront = cloudfront_of(&cloud).await;
    let edge = cloud.edge("E1");
    let page = |cache_control: Option<&str>, tags: Option<&str>| Headers {
        cache_control: cache_control.map(str::to_owned),
        metadata: tags.map(|tags| ("cache-tag".to_owned(), tags.to_owned())).into_iter().collect(),
        ..Headers::of_type("text/html")
    };

    // By default, errors expire within seconds, so the edge caches none.
    assert_eq!(edge.get("/a.html").status, 404);
    cloud.put_object("site", "a.html", "a", page(Some("no-store"), None));
    assert_eq!(text(&edge.get("/a.html")), (200, "a"));
    assert!(edge.cached().is_empty());

    cloud.create_distribution(Distribution {
        custom_errors: vec![CustomError { code: 404, page: Some(("/404.html".to_owned(), 404)), min_ttl_seconds: 300 }],
        query_strings: QueryStrings::Forwarded(true),
        clean_urls: true,
        cache_tag_header: Some("x-amz-meta-cache-tag".to_owned()),
        ..plain
    });
    cloud.put_object("site", "404.html", "gone", page(None, None));
    edge.warm_all(["/b.html", "/b.html?x=1", "/b"]);
    cloud.put_object("site", "b.html", "b", page(None, Some("Page,b")));
    assert_eq!(text(&edge.get("/b.html")), (404, "gone"));
    offer(&cloudfront, "1", &["/b.html", "/b"]).await.unwrap();
    assert_eq!(text(&edge.get("/b.html")), (200, "b"));
    assert_eq!(text(&edge.get("/b")), (200, "b"));
    assert_eq!(text(&edge.get("/b.html?x=1")), (404, "gone"));
    offer(&cloudfront, "2", &["/b.html*"]).await.unwrap();
    assert_eq!(text(&edge.get("/b.html?x=1")), (200, "b"));
    offer(&cloudfront, "3", &["#page"]).await.unwrap();
    assert!(edge.cached().is_empty());

    edge.get("/b.html");
    let url = edge.serve().await;
    let answer = raw_http(&url, "GET /b.html HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = answer.await;
    assert!(answer.contains("x-cache: Hit from cloudfront"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nb"), "{answer}");
}

#[tokio::test]
async fn each_kind_of_origin_answers_for_a_folder_in_its_own_way() {
    let (cloud, _) = account().await;
    for key in ["www/docs/index.html", "www/docs/page.html", "www/index.html", "www/file"] {
        cloud.put_object("site", key, key.to_owned(), Headers::of_type("text/html"));
    }
    let behind = |domain: Domain, index_function| {
        let mut distribution = Distribution::of("E1", "site").with_origin_path("/www");
        distribution.origins[0].domain = domain;
        distribution.default_root_object = String::new();
        cloud.create_distribution(Distribution { index_function, ..distribution });
        let edge = cloud.edge("E1");
        let answers = ["/", "/docs/", "/docs", "/file", "/none/"].map(|url| {
            let answer = edge.get(url);
            answer.headers.get("location").cloned().unwrap_or_else(|| match answer.status {
                200 => String::from_utf8(answer.body.to_vec()).unwrap(),
                status => status.to_string(),
            })
        });
        (answers, edge.cached().into_keys().collect::<Vec<_>>())
    };
    let (answers, cached) = behind(Domain::Regional, IndexFunction::None);
    assert_eq!(answers, ["404", "404", "404", "www/file", "404"]);
    assert_eq!(cached, ["/file"]);
    let (answers, cached) = behind(Domain::Website, IndexFunction::None);
    assert_eq!(answers, ["www/index.html", "www/docs/index.html", "/www/docs/", "www/file", "404"]);
    assert_eq!(cached, ["/", "/docs", "/docs/", "/file"]);
    for function in [IndexFunction::ViewerRequest, IndexFunction::LambdaOnOriginRequest] {
        let (answers, cached) = behind(Domain::Regional, function);
        assert_eq!(answers, ["www/index.html", "www/docs/index.html", "www/docs/index.html", "www/file", "404"]);
        assert_eq!(cached, ["/", "/docs", "/docs/", "/file"]);
    }
    let (answers, cached) = behind(Domain::Regional, IndexFunction::RewritingKey);
    assert_eq!(answers, ["www/index.html", "www/docs/index.html", "www/docs/index.html", "404", "404"]);
    assert_eq!(cached, ["/docs/index.html", "/index.html"]);
}
