//! The distributions: whether each serves this bucket, and caches as our headers say.

use dropship::aws::operator::{CachePolicy, DistributionSettings, OriginAccess, OriginSettings};
use dropship::config::Config;
use dropship::error::Error;
use serde_json::Value;

use super::bucket_policy::{Reader, admits};
use super::finding::Finding;
use crate::stack::Stack;

/// CloudFront's own time for an error, in seconds.
const USUAL_ERROR_SECONDS: i64 = 10;

pub async fn check(stack: &Stack) -> Vec<Finding> {
    let config = &stack.config;
    let policy = stack.operator.policy(&config.live_bucket).await;
    // The faults that a deployment would tell, too.
    let mut findings = match stack.cdn.discover().await {
        Ok(known) => {
            let warnings = known.iter().flat_map(|it| it.warnings.iter().map(|warning| (&it.id, warning)));
            warnings.map(|(id, warning)| Finding::advice(subject(id), warning, "see the warning")).collect()
        }
        Err(error) => vec![undiscovered(&error)],
    };
    for id in config.distributions.iter().map(|distribution| &distribution.id) {
        let settings = stack.operator.distribution(id, &config.live_bucket).await;
        findings.extend(super::findings(&subject(id), settings.map(|settings| judge(config, id, &settings, &policy))));
    }
    if let Err(error) = policy.as_ref().map_err(|error| Finding::unchecked(bucket_subject(config), error)) {
        findings.push(error);
    }
    findings
}

fn undiscovered(error: &Error) -> Finding {
    match error.kind() {
        "WrongDistribution" => {
            let fix = "correct DistributionIds or OriginPaths; docs/runbook.md, \"Wrong distribution\", has the cases";
            Finding::problem("distributions", error.message(), fix)
        }
        _ => Finding::unchecked("distributions", error),
    }
}

fn subject(id: &str) -> String {
    format!("distribution {id}")
}

fn bucket_subject(config: &Config) -> String {
    format!("live bucket {}", config.live_bucket)
}

/// Judges one distribution. A policy that could not be read says nothing.
fn judge(
    config: &Config,
    id: &str,
    settings: &DistributionSettings,
    policy: &Result<Option<Value>, Error>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !settings.is_enabled {
        findings.push(Finding::problem(
            subject(id),
            "it is disabled, so it answers no viewer",
            "enable it in CloudFront",
        ));
    }
    if !settings.is_deployed {
        let problem = "its last change is still on its way to the edge";
        findings.push(Finding::advice(subject(id), problem, "wait some minutes, and run the doctor again"));
    }
    findings.extend(root(config, id, settings));
    if let Ok(policy) = policy {
        findings
            .extend(settings.origins.iter().filter_map(|origin| access(config, id, settings, origin, policy.as_ref())));
    }
    let long = settings.errors.iter().filter(|(_, seconds)| *seconds > USUAL_ERROR_SECONDS);
    findings.extend(long.map(|(status, seconds)| {
        Finding::advice(
            subject(id),
            format!(
                "it caches answers with status {status} for {seconds} seconds or more, so a new page can stay missing for \
                 viewers who asked for it too early, and each new object costs an invalidation"
            ),
            format!("set ErrorCachingMinTTL of {status} to {USUAL_ERROR_SECONDS}"),
        )
    }));
    findings.extend(settings.cache_policies.iter().flat_map(|policy| cache_policy(config, id, policy)));
    findings
}

/// Judges the answer to `/`.
fn root(config: &Config, id: &str, settings: &DistributionSettings) -> Option<Finding> {
    let index = &config.index_document;
    let is_website = settings.origins.iter().all(|origin| origin.domain.contains(".s3-website"));
    // A folder of the bucket may be the site, and the distribution's `/` something else.
    let is_in_site =
        |origin: &OriginSettings| format!("{}/", origin.path).trim_start_matches('/').starts_with(&config.live_prefix);
    let shows_site = settings.origins.iter().any(is_in_site);
    if settings.root_object == *index || settings.has_function || is_website || !shows_site {
        return None;
    }
    let problem = match settings.root_object.as_str() {
        "" => format!("it has no default root object, so viewers of / get an error instead of {index}"),
        other => format!("it answers / with {other}, and IndexDocument is {index}"),
    };
    Some(Finding::problem(subject(id), problem, format!("set its DefaultRootObject to {index}")))
}

/// Judges whether an origin may read the bucket.
fn access(
    config: &Config,
    id: &str,
    settings: &DistributionSettings,
    origin: &OriginSettings,
    policy: Option<&Value>,
) -> Option<Finding> {
    let Config { live_bucket, live_prefix, index_document, .. } = config;
    let reader = match origin.access {
        OriginAccess::Control { signs: true } => Reader::Distribution(&settings.arn),
        OriginAccess::Control { signs: false } => {
            let problem = format!("its origin access control for {} does not sign every request", origin.domain);
            return Some(Finding::problem(subject(id), problem, "set its signing behavior to `always`"));
        }
        OriginAccess::Identity => Reader::Identity,
        OriginAccess::Anyone => Reader::Anyone,
    };
    let partition = settings.arn.split(':').nth(1).filter(|partition| !partition.is_empty()).unwrap_or("aws");
    let object = format!("arn:{partition}:s3:::{live_bucket}/{live_prefix}{index_document}");
    if admits(policy, reader, &object) {
        return None;
    }
    let (problem, fix) = match reader {
        Reader::Distribution(_) => (
            format!("the policy of {live_bucket} does not let it read the site through origin access control"),
            "add the statement of the stack's output LiveBucketPolicyStatement to the policy; with CreateSite=true, run \
             `sam deploy`"
                .to_owned(),
        ),
        Reader::Identity => (
            format!("the policy of {live_bucket} names no origin access identity that may read the site"),
            "let the policy allow the identity s3:GetObject, or move the origin to origin access control".to_owned(),
        ),
        Reader::Anyone => (
            format!("it reads {} without a signature, and the policy of {live_bucket} is not public", origin.domain),
            "give the origin an origin access control, and add the statement of the output LiveBucketPolicyStatement to \
             the policy"
                .to_owned(),
        ),
    };
    Some(Finding::problem(subject(id), problem, fix))
}

/// Judges a cache policy against the Cache-Control values of the stack.
fn cache_policy(config: &Config, id: &str, policy: &CachePolicy) -> Option<Finding> {
    let CachePolicy { name, min_seconds, max_seconds } = policy;
    if *max_seconds == 0 {
        return Some(Finding::advice(
            subject(id),
            format!("its cache policy {name} caches nothing, so invalidations are paid for needlessly"),
            "use CachingOptimized, or take the distribution out of DistributionIds",
        ));
    }
    let shortest =
        [&config.cache_control.pages, &config.cache_control.assets].into_iter().map(|it| edge_seconds(it)).min();
    let shortest = shortest.flatten()?;
    if *min_seconds > shortest {
        return Some(Finding::advice(
            subject(id),
            format!(
                "its cache policy {name} keeps objects for {min_seconds} seconds at least, and their Cache-Control says \
                 {shortest}: between deployments that holds for files that others change too"
            ),
            format!("lower its minimum TTL to {shortest}"),
        ));
    }
    (*max_seconds < shortest).then(|| {
        Finding::advice(
            subject(id),
            format!("its cache policy {name} keeps objects for {max_seconds} seconds at most, and their Cache-Control says {shortest}"),
            format!("raise its maximum TTL to {shortest}, which saves requests to S3"),
        )
    })
}

/// Returns for how long a shared cache keeps an object, in seconds: `s-maxage`, or `max-age` where there is none.
fn edge_seconds(cache_control: &str) -> Option<i64> {
    let value = |name: &str| {
        let arguments = cache_control.split(',').filter_map(|directive| directive.trim().split_once('='));
        let mut named = arguments.filter(|(directive, _)| directive.eq_ignore_ascii_case(name));
        named.next().and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok())
    };
    value("s-maxage").or_else(|| value("max-age"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::config_with;
    use crate::doctor::finding::Severity;

    fn config() -> Config {
        config_with(&[("DISTRIBUTION_IDS", "E1")])
    }

    /// Returns the settings of the distribution that the template creates.
    fn settings() -> DistributionSettings {
        DistributionSettings {
            arn: "arn:aws:cloudfront::123456789012:distribution/E1".to_owned(),
            is_enabled: true,
            is_deployed: true,
            root_object: "index.html".to_owned(),
            has_function: true,
            origins: vec![OriginSettings {
                domain: "live.s3.us-east-1.amazonaws.com".to_owned(),
                path: String::new(),
                access: OriginAccess::Control { signs: true },
            }],
            errors: vec![(403, 10), (404, 10)],
            cache_policies: vec![optimized()],
        }
    }

    fn optimized() -> CachePolicy {
        CachePolicy { name: "Managed-CachingOptimized".to_owned(), min_seconds: 1, max_seconds: 31_536_000 }
    }

    fn policy() -> Option<Value> {
        Some(json!({"Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "cloudfront.amazonaws.com"},
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::live/*",
            "Condition": {"StringEquals": {"AWS:SourceArn": "arn:aws:cloudfront::123456789012:distribution/E1"}},
        }}))
    }

    fn problems(settings: &DistributionSettings, policy: Option<Value>) -> Vec<(Severity, String)> {
        let findings = judge(&config(), "E1", settings, &Ok(policy));
        findings.into_iter().map(|finding| (finding.severity, finding.problem)).collect()
    }

    #[test]
    fn the_template_s_distribution_is_in_order() {
        assert_eq!(problems(&settings(), policy()), []);
    }

    #[test]
    fn each_way_to_the_bucket_needs_its_permission() {
        let with = |access| {
            let mut settings = settings();
            settings.origins[0].access = access;
            settings
        };
        let public = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]});
        for (access, policy, wanted) in [
            (
                OriginAccess::Control { signs: true },
                None,
                "does not let it read the site through origin access control",
            ),
            (OriginAccess::Control { signs: false }, policy(), "does not sign every request"),
            (OriginAccess::Identity, policy(), "names no origin access identity"),
            (OriginAccess::Anyone, policy(), "is not public"),
        ] {
            let found = problems(&with(access), policy);
            assert!(matches!(&found[..], [(Severity::Problem, problem)] if problem.contains(wanted)), "{found:?}");
        }
        for access in [OriginAccess::Control { signs: true }, OriginAccess::Identity, OriginAccess::Anyone] {
            assert_eq!(problems(&with(access), Some(public.clone())), []);
        }
    }

    #[test]
    fn a_disabled_distribution_and_a_wrong_root_are_problems() {
        let broken =
            DistributionSettings { is_enabled: false, root_object: String::new(), has_function: false, ..settings() };
        let found = problems(&broken, policy());
        assert!(found.iter().all(|(severity, _)| *severity == Severity::Problem) && found.len() == 2, "{found:?}");
        let mut website = broken;
        website.is_enabled = true;
        website.origins[0].domain = "live.s3-website-us-east-1.amazonaws.com".to_owned();
        assert_eq!(problems(&website, policy()), []);
    }

    #[test]
    fn the_root_is_judged_only_where_it_is_in_the_site() {
        let mut config = config();
        config.live_prefix = "docs/".to_owned();
        let settings = DistributionSettings { root_object: "home.html".to_owned(), has_function: false, ..settings() };
        assert_eq!(root(&config, "E1", &settings), None);
        let mut of_folder = settings;
        of_folder.origins[0].path = "/docs".to_owned();
        assert!(root(&config, "E1", &of_folder).unwrap().problem.contains("answers / with home.html"));
    }

    #[test]
    fn errors_that_are_cached_for_long_are_named() {
        let found = problems(&DistributionSettings { errors: vec![(404, 300)], ..settings() }, policy());
        assert!(matches!(&found[..], [(Severity::Advice, problem)] if problem.contains("404 for 300 seconds")));
    }

    #[test]
    fn a_cache_policy_is_compared_with_the_headers() {
        for (min_seconds, max_seconds, wanted) in [
            (0, 0, Some("caches nothing")),
            (100_000, 31_536_000, Some("for 100000 seconds at least, and their Cache-Control says 86400")),
            (0, 60, Some("for 60 seconds at most, and their Cache-Control says 86400")),
            (1, 86_400, None),
        ] {
            let policy = CachePolicy { min_seconds, max_seconds, ..optimized() };
            let finding = cache_policy(&config(), "E1", &policy);
            match wanted {
                Some(wanted) => assert!(finding.clone().unwrap().problem.contains(wanted), "{finding:?}"),
                None => assert_eq!(finding, None),
            }
        }
        assert_eq!(edge_seconds("public, max-age=60, S-MaxAge=\"5\""), Some(5));
        assert_eq!(edge_seconds("no-store"), None);
    }
}
