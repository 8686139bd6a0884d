//! Distributions and invalidations.

use aws_sdk_cloudfront::types::EventType;
use standins::{CustomError, Distribution, Domain, IndexFunction, Origin, QueryStrings, ReferenceConflict};

use crate::account::{account, cloudfront_of, offer, refusal};

fn invalid(code: &str) -> Result<String, (String, u16)> {
    Err((code.to_owned(), 400))
}

#[tokio::test]
async fn a_caller_reference_names_one_invalidation() {
    let (cloud, _) = account().await;
    cloud.create_distribution(Distribution::of("E1", "site"));
    let cloudfront = cloudfront_of(&cloud).await;
    let first = offer(&cloudfront, "r1", &["/a&b", "/c*"]).await.unwrap();
    let again = offer(&cloudfront, "r1", &["/c*", "/a&b"]).await;
    assert_eq!(again, Ok(first.clone()));
    let exists = invalid("InvalidationBatchAlreadyExists");
    assert_eq!(offer(&cloudfront, "r1", &["/d"]).await, exists);
    cloud.set_reference_conflict("E1", ReferenceConflict::InvalidArgument);
    assert_eq!(offer(&cloudfront, "r1", &["/d"]).await, invalid("InvalidArgument"));
    assert_eq!(offer(&cloudfront, "r1", &["/c*", "/a&b"]).await, Ok(first.clone()));
    cloud.set_reference_conflict("E1", ReferenceConflict::AlwaysInvalidArgument);
    let refused = offer(&cloudfront, "r1", &["/c*", "/a&b"]).await;
    assert_eq!(refused, invalid("InvalidArgument"));

    let accepted = cloud.invalidations("E1");
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0].items, ["/a&b", "/c*"]);
    assert_eq!(accepted[0].accepted_at_sequence, 1);
    let get = cloudfront.get_invalidation().distribution_id("E1").id(&first);
    let get = get.send().await.unwrap().invalidation.unwrap();
    assert_eq!(get.status(), "Completed");
    assert_eq!(get.invalidation_batch().unwrap().caller_reference(), "r1");
    let list = cloudfront.list_invalidations().distribution_id("E1").send().await.unwrap();
    assert_eq!(list.invalidation_list().unwrap().items()[0].id(), first);
}

#[tokio::test]
async fn invalid_paths_and_full_quotas_are_refused() {
    let (cloud, _) = account().await;
    cloud.create_distribution(Distribution::of("E1", "site"));
    let cloudfront = cloudfront_of(&cloud).await;
    let long = format!("/{}", "x".repeat(4000));
    for bad in ["a", "/a b", "/~a", "/é", "/a*b", "/a**", long.as_str(), ""] {
        let refused = offer(&cloudfront, bad, &["/good", bad]).await;
        assert_eq!(refused, invalid("InvalidArgument"), "{bad}");
    }
    offer(&cloudfront, "fits", &[&long[..4000]]).await.unwrap();

    cloud.hold_invalidations("E1");
    let wildcards: Vec<String> = (0..15).map(|number| format!("/{number}/*")).collect();
    let wildcards: Vec<&str> = wildcards.iter().map(String::as_str).collect();
    let id = offer(&cloudfront, "wildcards", &wildcards).await.unwrap();
    let full = invalid("TooManyInvalidationsInProgress");
    assert_eq!(offer(&cloudfront, "more", &["/x*"]).await, full);
    offer(&cloudfront, "path", &["/x"]).await.unwrap();
    cloud.occupy_invalidations("E1", 2999, 0);
    assert_eq!(offer(&cloudfront, "path2", &["/y"]).await, full);
    let status = || async {
        let get = cloudfront.get_invalidation().distribution_id("E1").id(&id);
        get.send().await.unwrap().invalidation.unwrap().status
    };
    assert_eq!(status().await, "InProgress");
    cloud.complete_invalidations("E1");
    assert_eq!(status().await, "Completed");
    offer(&cloudfront, "more", &["/x*"]).await.unwrap();
    let missing = cloudfront.get_distribution().id("E2").send().await;
    assert_eq!(refusal(missing), ("NoSuchDistribution".to_owned(), 404));
}

#[tokio::test]
async fn a_distribution_can_be_read() {
    let (cloud, _) = account().await;
    let mut distribution = Distribution::of("E1", "site").with_origin_path("/www");
    distribution.origins.push(Origin {
        bucket: "site".to_owned(),
        path: "/en".to_owned(),
        domain: Domain::Website,
        path_pattern: Some("/en/*".to_owned()),
    });
    distribution.custom_errors.push(CustomError {
        code: 404,
        page: Some(("/404.html".to_owned(), 404)),
        min_ttl_seconds: 300,
    });
    distribution.cache_tag_header = Some("x-amz-meta-cache-tag".to_owned());
    cloud.create_distribution(distribution);
    let get = cloudfront_of(&cloud).await.get_distribution().id("E1").send();
    let config = get.await.unwrap().distribution.unwrap().distribution_config.unwrap();
    assert_eq!(config.default_root_object(), Some("index.html"));
    let origins = config.origins().unwrap().items();
    assert_eq!(origins[0].domain_name(), "site.s3.us-east-1.amazonaws.com");
    assert_eq!(origins[0].origin_path(), Some("/www"));
    assert!(origins[0].s3_origin_config().is_some());
    assert_eq!(origins[1].domain_name(), "site.s3-website-us-east-1.amazonaws.com");
    assert!(origins[1].custom_origin_config().is_some());
    let behaviours = config.cache_behaviors().unwrap().items();
    assert_eq!(behaviours[0].path_pattern(), "/en/*");
    assert_eq!(behaviours[0].target_origin_id(), origins[1].id());
    let errors = config.custom_error_responses().unwrap().items();
    assert_eq!(errors[0].error_caching_min_ttl(), Some(300));
    assert_eq!(errors[0].response_page_path(), Some("/404.html"));
    let tags = config.cache_tag_config().unwrap();
    assert_eq!(tags.header_name(), "x-amz-meta-cache-tag");
    let default = config.default_cache_behavior().unwrap();
    assert_eq!(default.target_origin_id(), origins[0].id());
}

#[tokio::test]
async fn a_distribution_tells_of_functions_query_strings_and_continuous_deployment() {
    let (cloud, _) = account().await;
    let cloudfront = cloudfront_of(&cloud).await;
    let read = async |distribution: Distribution| {
        cloud.create_distribution(distribution);
        let answer = cloudfront.get_distribution().id("E1").send().await.unwrap();
        answer.distribution.unwrap().distribution_config.unwrap()
    };
    let plain = Distribution::of("E1", "site");
    let config = read(plain.clone()).await;
    let behaviour = config.default_cache_behavior().unwrap();
    assert_eq!(*behaviour.function_associations().unwrap().items()[0].event_type(), EventType::ViewerRequest);
    assert_eq!(behaviour.lambda_function_associations().unwrap().quantity(), 0);
    assert_eq!(behaviour.cache_policy_id(), Some("658327ea-f89d-4fab-a63d-7e88639e58f6"));
    assert_eq!((config.continuous_deployment_policy_id(), config.staging()), (Some(""), Some(false)));

    let config = read(Distribution {
        index_function: IndexFunction::LambdaOnOriginRequest,
        query_strings: QueryStrings::Policy { id: "mine".to_owned(), behavior: "whitelist" },
        continuous_deployment_policy: Some("P1".to_owned()),
        is_staging: true,
        ..plain.clone()
    })
    .await;
    let behaviour = config.default_cache_behavior().unwrap();
    assert_eq!(behaviour.function_associations().unwrap().quantity(), 0);
    assert_eq!(*behaviour.lambda_function_associations().unwrap().items()[0].event_type(), EventType::OriginRequest);
    assert_eq!(behaviour.cache_policy_id(), Some("mine"));
    assert_eq!((config.continuous_deployment_policy_id(), config.staging()), (Some("P1"), Some(true)));
    let policy = cloudfront.get_cache_policy().id("mine").send().await.unwrap().cache_policy.unwrap();
    let parameters = policy.cache_policy_config.unwrap().parameters_in_cache_key_and_forwarded_to_origin.unwrap();
    assert_eq!(parameters.query_strings_config().unwrap().query_string_behavior().as_str(), "whitelist");
    let missing = cloudfront.get_cache_policy().id("other").send().await;
    assert_eq!(refusal(missing), ("NoSuchCachePolicy".to_owned(), 404));

    let legacy = Distribution { query_strings: QueryStrings::Forwarded(true), ..plain };
    let config = read(Distribution { index_function: IndexFunction::None, ..legacy }).await;
    let behaviour = config.default_cache_behavior().unwrap();
    assert_eq!(behaviour.function_associations().unwrap().quantity(), 0);
    #[expect(deprecated, reason = "older distributions have it")]
    let forwarded = behaviour.forwarded_values().unwrap();
    assert!(forwarded.query_string() && behaviour.cache_policy_id().is_none());
}
