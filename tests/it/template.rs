//! The template agrees with the program that it deploys.

use std::collections::{BTreeMap, BTreeSet};

use dropship::config::VARIABLES;
use serde_json::{Value, json};

use crate::cloudformation::{Template, array, object};

const TEMPLATE: &str = include_str!("../../template.yaml");

const SAMCONFIG: &str = include_str!("../../samconfig.toml");

/// Variables for endpoints other than AWS's own, which no stack sets.
const FOR_OTHER_ENDPOINTS: [&str; 2] = ["MAX_WRITES_PER_SECOND", "S3_FORCE_PATH_STYLE"];

#[test]
fn the_template_sets_every_variable_and_no_other() {
    let template = Template::with(&[]);
    let function = template.resource("Function");
    let set: BTreeSet<&str> =
        object(&function["Properties"]["Environment"]["Variables"]).keys().map(String::as_str).collect();
    let read: BTreeSet<&str> = VARIABLES
        .iter()
        .copied()
        .filter(|name| !FOR_OTHER_ENDPOINTS.contains(name))
        // The C library reads this one.
        .chain(["GLIBC_TUNABLES"])
        .collect();
    assert_eq!(set, read);
}

/// Messages name settings by the parameters that set them.
#[test]
fn every_variable_is_named_by_the_parameters_that_set_it() {
    let template = Template::with(&[]);
    let function = template.unresolved("Function");
    for (variable, value) in object(&function["Properties"]["Environment"]["Variables"]) {
        let is_setting = VARIABLES.contains(&variable.as_str());
        for parameter in dropship::config::parameters(variable).into_iter().filter(|_| is_setting) {
            // The distributions are named in a condition that leads to the parameters.
            let reference = value.to_string();
            let is_used = [format!("\"{parameter}\""), format!("${{{parameter}}}")];
            assert!(is_used.iter().any(|it| reference.contains(it)), "{variable} is not set by {parameter}: {value}");
        }
    }
    template.parameter("MemorySize");
}

#[test]
fn the_functions_description_names_the_release() {
    let function = Template::with(&[]).resource("Function");
    assert_eq!(function["Properties"]["Description"], concat!("dropship ", env!("CARGO_PKG_VERSION")));
}

/// A client that knows the stack's name finds everything by the function's environment.
#[test]
fn the_function_the_log_and_the_dashboard_have_the_stacks_name() {
    let template = Template::with(&[]);
    let name = |resource: &str, property: &str| template.resource(resource)["Properties"][property].clone();
    assert_eq!(name("Function", "FunctionName"), "dropship");
    assert_eq!(name("LogGroup", "LogGroupName"), "/aws/lambda/dropship");
    assert_eq!(name("Dashboard", "DashboardName"), "dropship");
    assert_eq!(template.output("FunctionName"), "Function");
    assert_eq!(
        (template.output("SiteName"), Template::with(&[("Site", "docs")]).output("SiteName")),
        ("dropship".into(), "docs".into())
    );
}

#[test]
fn the_placeholders_of_samconfig_are_refused_in_words() {
    let lines = SAMCONFIG.lines().filter(|line| line.contains("CHANGE-ME")).collect::<Vec<_>>();
    let placeholders = r#"parameter_overrides = ["LiveBucketName=CHANGE-ME", "DistributionIds=CHANGE-ME"]"#;
    assert_eq!(lines[1..], [placeholders; 2], "staging and prod");
    let template = Template::with(&[("LiveBucketName", "CHANGE-ME"), ("DistributionIds", "E1EXAMPLE,CHANGE-ME")]);
    assert_eq!(template.broken_rules().len(), 2);
    for name in ["LiveBucketName", "DistributionIds"] {
        assert!(template.broken_rules().iter().any(|broken| broken.contains(&format!("placeholder {name}=CHANGE-ME"))));
        let parameter = template.parameter(name);
        let pattern = regex::Regex::new(parameter["AllowedPattern"].as_str().unwrap()).unwrap();
        assert!(!pattern.is_match("CHANGE-ME"), "CloudFormation checks patterns before it checks rules");
        assert!(parameter["ConstraintDescription"].as_str().unwrap().contains("the placeholder CHANGE-ME"), "{name}");
    }
    assert_eq!(Template::with(&[("LiveBucketName", "my-site")]).broken_rules(), [""; 0]);
}

/// If the template accepts its parameters, the function must not refuse them at the first event.
#[test]
fn the_template_sets_a_valid_configuration() {
    for parameters in [
        &[("CreateSite", "true")][..],
        &[("LiveBucketName", "my-site")],
        &[
            ("LiveBucketName", "my-site"),
            ("LivePrefix", "docs/v2"),
            ("DistributionIds", "E1EXAMPLE,E2EXAMPLE"),
            ("Site", "team/docs"),
        ],
        &[
            ("LiveBucketName", "my-site"),
            ("DistributionIds", "E1EXAMPLE,E2EXAMPLE"),
            ("Exclude", "*.map,/drafts/,!.env.example"),
            ("Last", "/latest.json,!version.json"),
            ("OriginPaths", "E1EXAMPLE=/docs,E2EXAMPLE=/"),
        ],
        &[("LiveBucketName", "my-site"), ("Sse", "AES256")],
        &[("LiveBucketName", "my-site"), ("KmsKeyArn", "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab")],
    ] {
        let template = Template::with(parameters);
        let mut variables = template.resource("Function")["Properties"]["Environment"]["Variables"].clone();
        // CloudFormation generates names like these.
        if variables["LIVE_BUCKET"] == "LiveBucket" {
            variables["LIVE_BUCKET"] = json!("dropship-livebucket-1a2b3c");
            variables["DISTRIBUTION_IDS"] = json!("E1EXAMPLE");
        }
        let text = |name: &str| match &variables[name] {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        if let Err(errors) = dropship::config::Config::from_variables(text) {
            panic!("{parameters:?}: {errors}");
        }
    }
}

/// The function answers for every upload: what is no zip is refused or ignored in words.
#[test]
fn every_upload_to_the_folder_starts_the_function() {
    let function = Template::with(&[]).resource("Function").clone();
    let rules = &function["Properties"]["Events"]["Upload"]["Properties"]["Filter"]["S3Key"]["Rules"];
    assert_eq!(*rules, json!([{"Name": "prefix", "Value": "uploads/"}]));
}

/// Of CloudFront's flat-rate plans, Free has no cache tags, and Free and Pro have no policies of one's own (Developer
/// Guide, "CloudFront flat-rate pricing plans").
#[test]
fn a_created_distribution_fits_every_plan_unless_cache_tags_are_asked_for() {
    let config = |parameters: &[(&str, &str)]| {
        let template = Template::with(&[&[("CreateSite", "true")], parameters].concat());
        template.resource("Distribution")["Properties"]["DistributionConfig"].clone()
    };
    let plain = config(&[]);
    assert_eq!((&plain["CacheTagConfig"], &plain["WebACLId"]), (&Value::Null, &Value::Null));
    for kind in ["CachePolicy", "OriginRequestPolicy", "ResponseHeadersPolicy", "KeyValueStore"] {
        assert!(!TEMPLATE.contains(&format!("AWS::CloudFront::{kind}")), "{kind}");
    }
    let acl = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/site/1a2b3c";
    let full = config(&[("CacheTags", "true"), ("WebAclArn", acl)]);
    assert_eq!(full["CacheTagConfig"], json!({"HeaderName": "x-amz-meta-cache-tag"}));
    assert_eq!(full["WebACLId"], acl);
}

/// A firewall that keeps the public out of a site keeps it out of its branches.
#[test]
fn the_firewall_of_the_site_is_that_of_its_previews() {
    let acl = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/site/1a2b3c";
    let parameters = [
        ("CreateSite", "true"),
        ("Previews", "true"),
        ("PreviewDomain", "preview.example.com"),
        ("PreviewCertificateArn", "arn:aws:acm:us-east-1:123456789012:certificate/1a2b3c"),
        ("WebAclArn", acl),
    ];
    let template = Template::with(&parameters);
    for name in ["Distribution", "PreviewDistribution"] {
        assert_eq!(template.resource(name)["Properties"]["DistributionConfig"]["WebACLId"], acl, "{name}");
    }
}

#[test]
fn the_function_knows_how_often_lambda_tries() {
    let config = Template::with(&[]).resource("FunctionInvokeConfig");
    assert_eq!(config["Properties"]["MaximumRetryAttempts"], dropship::handler::LAMBDA_ATTEMPTS - 1);
}

#[test]
fn no_arn_names_a_partition() {
    let lines = TEMPLATE.lines().filter(|line| line.contains("arn:aws"));
    assert_eq!(lines.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_dashboard_shows_every_outcome() {
    use dropship::report::Outcome::*;
    let all = [Deployed, Unchanged, RolledBack, Superseded, Duplicate, InProgress, Planned, Swept, Removed, Ignored];
    for outcome in all {
        // A new outcome does not compile until it is listed here and above.
        match outcome {
            Deployed | Unchanged | RolledBack | Superseded | Duplicate | InProgress | Planned | Swept | Removed
            | Ignored => {}
        }
    }
    let outcomes = all.map(|outcome| serde_json::to_value(outcome).unwrap());
    let mut expected: BTreeSet<String> = outcomes.iter().map(|outcome| outcome.as_str().unwrap().to_owned()).collect();
    expected.insert("failed".to_owned());
    let dashboard = Template::with(&[]).resource("Dashboard");
    let body = dashboard["Properties"]["DashboardBody"].as_str().unwrap();
    let body: Value = serde_json::from_str(body).expect("the dashboard is JSON");
    let graph = &body["widgets"][0]["properties"]["metrics"];
    let shown = array(graph).iter().map(|row| {
        let mut names = array(row).iter().filter_map(Value::as_str);
        names.next_back().unwrap().to_owned()
    });
    assert_eq!(shown.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn the_duration_alarm_fires_before_the_timeout() {
    let template = Template::with(&[]);
    let timeout_seconds = template.resource("Function")["Properties"]["Timeout"].as_u64().unwrap();
    let threshold_ms = template.resource("DurationAlarm")["Properties"]["Threshold"].as_u64().unwrap();
    assert_eq!(threshold_ms, (timeout_seconds - 120) * 1_000);
}

#[test]
fn every_environment_names_its_stack_and_none_is_the_default() {
    let mut tables = BTreeMap::<&str, Vec<&str>>::new();
    let mut table = "";
    for line in SAMCONFIG.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else {
            tables.entry(table).or_default().push(line);
        }
    }
    for environment in ["dev", "staging", "prod", "local"] {
        for command in ["deploy", "delete", "remote_invoke"] {
            let name = format!("{environment}.{command}.parameters");
            let stack_name = format!("stack_name = \"dropship-{environment}\"");
            let settings = tables.remove(name.as_str());
            let settings = settings.unwrap_or_else(|| panic!("samconfig.toml has no table [{name}]"));
            assert!(settings.contains(&stack_name.as_str()), "[{name}]");
            let is_confirmed = settings.contains(&"confirm_changeset = true");
            assert_eq!(is_confirmed, environment == "prod" && command == "deploy");
        }
    }
    // SAM would ignore a table with a misspelt name and use the default settings.
    let left: Vec<&str> = tables.into_keys().collect();
    assert_eq!(left, ["", "default.validate.parameters"]);
}

#[test]
fn the_domain_of_previews_needs_a_created_site_with_previews_and_a_certificate() {
    let certificate = "arn:aws:acm:us-east-1:123456789012:certificate/1a2b3c";
    let all = [
        ("CreateSite", "true"),
        ("Previews", "true"),
        ("PreviewDomain", "preview.example.com"),
        ("PreviewCertificateArn", certificate),
    ];
    let template = Template::with(&all);
    assert_eq!(template.broken_rules(), [""; 0]);
    for missing in ["Previews", "PreviewDomain", "PreviewCertificateArn"] {
        let rest: Vec<_> = all.iter().copied().filter(|(name, _)| *name != missing).collect();
        assert_eq!(Template::with(&rest).broken_rules().len(), 1, "{missing}");
    }
    let variables = template.resource("Function")["Properties"]["Environment"]["Variables"].clone();
    assert_eq!(
        (&variables["PREVIEW_DISTRIBUTION_ID"], &variables["PREVIEW_DOMAIN"]),
        (&json!("PreviewDistribution"), &json!("preview.example.com"))
    );
    let config = template.resource("PreviewDistribution")["Properties"]["DistributionConfig"].clone();
    assert_eq!(config["Aliases"], json!(["*.preview.example.com"]));
    // The bucket's policy lets both distributions read it, and the function may invalidate both.
    let policy = template.resource("LiveBucketPolicy").to_string() + &template.resource("FunctionRole").to_string();
    assert_eq!(policy.matches(":distribution/PreviewDistribution").count(), 2, "{policy}");
    let without = Template::with(&[("CreateSite", "true"), ("Previews", "true")]);
    assert!(!without.has("PreviewDistribution") && !without.has("PreviewFunction"));
    assert!(!without.resource("FunctionRole").to_string().contains("PreviewDistribution"));
    let pattern = template.parameter("PreviewDomain")["AllowedPattern"].as_str().unwrap().to_owned();
    let pattern = regex::Regex::new(&pattern).unwrap();
    for good in ["", "preview.example.com", "p.example-site.dev"] {
        assert!(pattern.is_match(good), "{good}");
    }
    for bad in ["*.example.com", "example", "Preview.example.com", "preview.example.com.", "-a.example.com"] {
        assert!(!pattern.is_match(bad), "{bad}");
    }
}

/// The failures of previews count for Lambda, too, and only their own metric tells them from the live site's.
#[test]
fn no_alarm_of_the_live_site_counts_previews() {
    let alarm = |parameters: &[(&str, &str)]| Template::with(parameters).resource("ErrorsAlarm")["Properties"].clone();
    let plain = alarm(&[("LiveBucketName", "my-site")]);
    assert_eq!((&plain["MetricName"], &plain["Metrics"]), (&json!("Errors"), &Value::Null));
    let with = alarm(&[("LiveBucketName", "my-site"), ("Previews", "true")]);
    assert_eq!(
        (&with["MetricName"], &with["Dimensions"], &with["Statistic"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let metrics = array(&with["Metrics"]);
    let named = |id: &str| metrics.iter().find(|metric| metric["Id"] == id).unwrap_or_else(|| panic!("{id}"));
    assert_eq!(named("failures")["Expression"], "MAX([FILL(site, 0), FILL(errors, 0) - FILL(previews, 0)])");
    let dimensions = |id: &str| named(id)["MetricStat"]["Metric"]["Dimensions"].clone();
    let failed = json!({"Name": "outcome", "Value": "failed"});
    assert_eq!(dimensions("site"), json!([{"Name": "site", "Value": "dropship"}, failed]));
    // A refused preview fails no invocation, so the alarm subtracts only attempts that fail one.
    assert_eq!(named("previews")["MetricStat"]["Metric"]["MetricName"], "failedAttempts");
    assert_eq!(dimensions("previews"), json!([{"Name": "previewsOf", "Value": "dropship"}]));
    assert_eq!(dimensions("errors"), json!([{"Name": "FunctionName", "Value": "Function"}]));
    // Lambda dates an error at the beginning of its invocation.
    let (periods, seconds) = (with["EvaluationPeriods"].as_u64().unwrap(), 300);
    let timeout = Template::with(&[]).resource("Function")["Properties"]["Timeout"].as_u64().unwrap();
    assert!((periods - 1) * seconds >= timeout && with["DatapointsToAlarm"] == 1, "{with}");
    for alarm in ["OwedAlarm", "DurationAlarm"] {
        let alarm = Template::with(&[("LiveBucketName", "my-site"), ("Previews", "true")]).resource(alarm);
        assert_eq!(alarm["Properties"]["Dimensions"], json!([{"Name": "site", "Value": "dropship"}]));
    }
}
