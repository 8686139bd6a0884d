//! The XML of CloudFront's answers.

use chrono::SecondsFormat;

use super::{Distribution, IndexFunction, Invalidation, Origin, QueryStrings};
use crate::xml::escaped;

/// The id of Managed-CachingOptimized, which is the same in every account.
pub(super) const CACHING_OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";

const XMLNS: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";

pub(super) fn distribution(config: &Distribution, in_progress: usize) -> String {
    let id = &config.id;
    format!(
        "<?xml version=\"1.0\"?>\n<Distribution xmlns=\"{XMLNS}\"><Id>{id}</Id><ARN>arn:aws:cloudfront::123456789012:distribution/{id}</ARN><Status>{}</Status><LastModifiedTime>{}</LastModifiedTime><InProgressInvalidationBatches>{in_progress}</InProgressInvalidationBatches><DomainName>{}.cloudfront.net</DomainName><ActiveTrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></ActiveTrustedSigners><DistributionConfig><CallerReference>{id}</CallerReference>{}</DistributionConfig></Distribution>",
        status(config),
        modified_at(config),
        id.to_lowercase(),
        settings(config),
    )
}

pub(super) fn distribution_config(config: &Distribution) -> String {
    let (id, settings) = (&config.id, settings(config));
    format!(
        "<?xml version=\"1.0\"?>\n<DistributionConfig xmlns=\"{XMLNS}\"><CallerReference>{id}</CallerReference>{settings}</DistributionConfig>"
    )
}

/// Lists all distributions in one page.
pub(super) fn distribution_list(configs: &[&Distribution]) -> String {
    let quantity = configs.len();
    let summaries: String = configs
        .iter()
        .map(|config| {
            let id = &config.id;
            format!(
                "<DistributionSummary><Id>{id}</Id><ARN>arn:aws:cloudfront::123456789012:distribution/{id}</ARN><Status>{}</Status><LastModifiedTime>{}</LastModifiedTime><DomainName>{}.cloudfront.net</DomainName>{}</DistributionSummary>",
                status(config),
                modified_at(config),
                id.to_lowercase(),
                settings(config),
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?>\n<DistributionList xmlns=\"{XMLNS}\"><Marker></Marker><MaxItems>100</MaxItems><IsTruncated>false</IsTruncated><Quantity>{quantity}</Quantity><Items>{summaries}</Items></DistributionList>"
    )
}

fn status(config: &Distribution) -> &'static str {
    if config.is_deployed { "Deployed" } else { "InProgress" }
}

fn modified_at(config: &Distribution) -> String {
    config.modified_at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Returns the elements that a `DistributionConfig` and a `DistributionSummary` share.
fn settings(config: &Distribution) -> String {
    let control = config.signing.map(|_| config.id.as_str()).unwrap_or_default();
    let origins: String = config.origins.iter().enumerate().map(|(index, it)| origin(index, it, control)).collect();
    let behaviours: Vec<String> = config
        .origins
        .iter()
        .enumerate()
        .filter_map(|(index, origin)| {
            let pattern = escaped(origin.path_pattern.as_ref()?);
            let behaviour = behaviour(config, index);
            Some(format!("<CacheBehavior><PathPattern>{pattern}</PathPattern>{behaviour}</CacheBehavior>"))
        })
        .collect();
    let errors: String = config
        .custom_errors
        .iter()
        .map(|error| {
            let page = error.page.as_ref().map_or_else(String::new, |(path, status)| {
                let path = escaped(path);
                format!("<ResponsePagePath>{path}</ResponsePagePath><ResponseCode>{status}</ResponseCode>")
            });
            format!(
                "<CustomErrorResponse><ErrorCode>{}</ErrorCode>{page}<ErrorCachingMinTTL>{}</ErrorCachingMinTTL></CustomErrorResponse>",
                error.code, error.min_ttl_seconds
            )
        })
        .collect();
    let tags = config.cache_tag_header.as_ref().map_or_else(String::new, |name| {
        format!("<CacheTagConfig><HeaderName>{}</HeaderName></CacheTagConfig>", escaped(name))
    });
    format!(
        "<Aliases><Quantity>0</Quantity></Aliases><DefaultRootObject>{}</DefaultRootObject><Origins><Quantity>{}</Quantity><Items>{origins}</Items></Origins><DefaultCacheBehavior>{}</DefaultCacheBehavior><CacheBehaviors><Quantity>{}</Quantity><Items>{}</Items></CacheBehaviors><CustomErrorResponses><Quantity>{}</Quantity><Items>{errors}</Items></CustomErrorResponses><Comment></Comment><PriceClass>PriceClass_All</PriceClass><Enabled>{}</Enabled><ContinuousDeploymentPolicyId>{}</ContinuousDeploymentPolicyId><Staging>{}</Staging>{tags}",
        escaped(&config.default_root_object),
        config.origins.len(),
        behaviour(config, 0),
        behaviours.len(),
        behaviours.concat(),
        config.custom_errors.len(),
        config.is_enabled,
        escaped(config.continuous_deployment_policy.as_deref().unwrap_or_default()),
        config.is_staging,
    )
}

/// Returns the elements that all behaviours have.
fn behaviour(config: &Distribution, origin_index: usize) -> String {
    let (functions, query_strings) = (functions(config), query_strings(config));
    format!(
        "<TargetOriginId>origin-{origin_index}</TargetOriginId><TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners><ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy><Compress>true</Compress>{functions}{query_strings}"
    )
}

/// Returns the associations of functions with a behaviour.
fn functions(config: &Distribution) -> String {
    let (lambda, function) = match config.index_function {
        _ if config.functions.is_some() => (None, Some("viewer-request")),
        IndexFunction::None => (None, config.clean_urls.then_some("viewer-request")),
        IndexFunction::ViewerRequest | IndexFunction::RewritingKey => (None, Some("viewer-request")),
        IndexFunction::LambdaOnViewerRequest => (Some("viewer-request"), None),
        IndexFunction::LambdaOnOriginRequest => (Some("origin-request"), None),
    };
    let lambda = lambda.map_or_else(
        || "<Quantity>0</Quantity>".to_owned(),
        |event| format!("<Quantity>1</Quantity><Items><LambdaFunctionAssociation><LambdaFunctionARN>arn:aws:lambda:us-east-1:123456789012:function:index:1</LambdaFunctionARN><EventType>{event}</EventType></LambdaFunctionAssociation></Items>"),
    );
    let function = function.map_or_else(
        || "<Quantity>0</Quantity>".to_owned(),
        |event| format!("<Quantity>1</Quantity><Items><FunctionAssociation><FunctionARN>arn:aws:cloudfront::123456789012:function/index</FunctionARN><EventType>{event}</EventType></FunctionAssociation></Items>"),
    );
    format!(
        "<LambdaFunctionAssociations>{lambda}</LambdaFunctionAssociations><FunctionAssociations>{function}</FunctionAssociations>"
    )
}

fn query_strings(config: &Distribution) -> String {
    match &config.query_strings {
        QueryStrings::Ignored => format!("<CachePolicyId>{CACHING_OPTIMIZED}</CachePolicyId>"),
        QueryStrings::Policy { id, .. } => format!("<CachePolicyId>{}</CachePolicyId>", escaped(id)),
        QueryStrings::Forwarded(in_key) => format!(
            "<ForwardedValues><QueryString>{in_key}</QueryString><Cookies><Forward>none</Forward></Cookies></ForwardedValues>"
        ),
    }
}

pub(super) fn origin_access_control(id: &str, signing: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<OriginAccessControl xmlns=\"{XMLNS}\"><Id>{id}</Id><OriginAccessControlConfig><Name>{id}</Name><SigningProtocol>sigv4</SigningProtocol><SigningBehavior>{signing}</SigningBehavior><OriginAccessControlOriginType>s3</OriginAccessControlOriginType></OriginAccessControlConfig></OriginAccessControl>",
        id = escaped(id),
    )
}

pub(super) fn cache_policy(id: &str, query_string_behavior: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<CachePolicy xmlns=\"{XMLNS}\"><Id>{id}</Id><LastModifiedTime>1970-01-01T00:00:00Z</LastModifiedTime><CachePolicyConfig><Name>{id}</Name><MinTTL>1</MinTTL><MaxTTL>31536000</MaxTTL><ParametersInCacheKeyAndForwardedToOrigin><EnableAcceptEncodingGzip>true</EnableAcceptEncodingGzip><HeadersConfig><HeaderBehavior>none</HeaderBehavior></HeadersConfig><CookiesConfig><CookieBehavior>none</CookieBehavior></CookiesConfig><QueryStringsConfig><QueryStringBehavior>{query_string_behavior}</QueryStringBehavior></QueryStringsConfig></ParametersInCacheKeyAndForwardedToOrigin></CachePolicyConfig></CachePolicy>",
        id = escaped(id),
    )
}

/// `control` is the id of the origin access control; empty for none.
fn origin(index: usize, origin: &Origin, control: &str) -> String {
    // To CloudFront, a website endpoint is not an S3 origin but a custom one over HTTP.
    let config = if origin.is_website() {
        "<CustomOriginConfig><HTTPPort>80</HTTPPort><HTTPSPort>443</HTTPSPort><OriginProtocolPolicy>http-only</OriginProtocolPolicy></CustomOriginConfig>"
    } else {
        "<S3OriginConfig><OriginAccessIdentity></OriginAccessIdentity></S3OriginConfig>"
    };
    format!(
        "<Origin><Id>origin-{index}</Id><DomainName>{}</DomainName><OriginPath>{}</OriginPath><CustomHeaders><Quantity>0</Quantity></CustomHeaders>{config}<ConnectionAttempts>3</ConnectionAttempts><ConnectionTimeout>10</ConnectionTimeout><OriginAccessControlId>{}</OriginAccessControlId></Origin>",
        escaped(&origin.domain_name()),
        escaped(&origin.path),
        if origin.is_website() { "" } else { control },
    )
}

pub(super) fn invalidation(invalidation: &Invalidation) -> String {
    let items: String = invalidation.items.iter().map(|item| format!("<Path>{}</Path>", escaped(item))).collect();
    format!(
        "<?xml version=\"1.0\"?>\n<Invalidation xmlns=\"{XMLNS}\"><Id>{}</Id><Status>{}</Status><CreateTime>{}</CreateTime><InvalidationBatch><Paths><Quantity>{}</Quantity><Items>{items}</Items></Paths><CallerReference>{}</CallerReference></InvalidationBatch></Invalidation>",
        invalidation.id,
        invalidation.status(),
        invalidation.create_time(),
        invalidation.items.len(),
        escaped(&invalidation.caller_reference),
    )
}

/// Lists all invalidations in one page, the newest first.
pub(super) fn invalidation_list(invalidations: &[Invalidation]) -> String {
    let quantity = invalidations.len();
    let summaries: String = invalidations
        .iter()
        .rev()
        .map(|it| {
            format!(
                "<InvalidationSummary><Id>{}</Id><CreateTime>{}</CreateTime><Status>{}</Status></InvalidationSummary>",
                it.id,
                it.create_time(),
                it.status()
            )
        })
        .collect();
    format!(
        "<InvalidationList xmlns=\"{XMLNS}\"><Marker></Marker><MaxItems>{quantity}</MaxItems><IsTruncated>false</IsTruncated><Quantity>{quantity}</Quantity><Items>{summaries}</Items></InvalidationList>"
    )
}
