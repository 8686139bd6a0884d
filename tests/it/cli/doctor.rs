//! `doctor`: each fault of a stack is found, with its fix.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use standins::{Alarm, BucketSettings, Cloud, CustomError, Distribution, Does, Etags, Expiry, Fault, Versioning};

use super::desk::{Desk, STACK};
use crate::build::files;
use crate::stage::{DISTRIBUTION, LIVE, STAGING};

fn statement(principal: &Value) -> String {
    let resource = format!("arn:aws:s3:::{LIVE}/*");
    let statement = json!({"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": resource});
    json!({"Statement": [statement]}).to_string()
}

fn rules(archives: i32) -> Vec<Expiry> {
    let rule = |prefix: &str, days| Expiry { prefix: prefix.to_owned(), days: Some(days), noncurrent_days: Some(days) };
    vec![rule("uploads/", archives), rule("plans/", 1)]
}

fn alarm(name: &str) -> Alarm {
    let topic = Some("arn:aws:sns:us-east-1:123456789012:operators".to_owned());
    Alarm { name: format!("{STACK}-{name}"), is_on: false, topic }
}

/// Returns a desk whose stack is as the template makes it, with a topic for its alarms.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    let cloud = &desk.stage.cloud;
    cloud.describe_function(STACK, concat!("dropship ", env!("CARGO_PKG_VERSION")));
    let policy = statement(&json!({"Service": "cloudfront.amazonaws.com"}));
    cloud.change_bucket(LIVE, |settings| settings.policy = Some(policy));
    cloud.change_bucket(STAGING, |settings| settings.expiries = rules(365));
    cloud.set_alarms(vec![alarm("ErrorsAlarm"), alarm("OwedAlarm")]);
    desk
}

#[tokio::test]
async fn a_stack_as_the_template_makes_it_is_in_order_and_only_read() {
    let desk = desk().await;
    let (code, value) = desk.run_json(&["doctor"]).await;
    assert_eq!((code, &value["findings"]), (0, &json!([])));
    let operations: BTreeSet<String> = desk.stage.cloud.calls().into_iter().map(|call| call.operation).collect();
    let operations: Vec<String> = operations.into_iter().collect();
    insta::assert_snapshot!(operations.join("\n"), @"
    DescribeAlarms
    GetBucketLifecycleConfiguration
    GetBucketNotificationConfiguration
    GetBucketPolicy
    GetBucketVersioning
    GetCachePolicy
    GetDistribution
    GetFunctionConfiguration
    GetItem
    GetOriginAccessControl
    GetQueueAttributes
    GetQueueUrl
    Query
    SimulatePrincipalPolicy
    ");
    let said = desk.run(&["doctor"]).await;
    assert_eq!((said.code, &*said.out), (0, "dropship-test is in order\n"));
}

/// Breaks a part of the stack.
type Break = fn(&Cloud);

#[tokio::test]
async fn each_fault_is_found_with_its_fix() {
    let cases: [(&str, Break, &str, &str); 17] = [
        (
            "problem",
            |cloud| cloud.create_bucket(STAGING, Versioning::Off, Etags::Md5),
            "staging bucket",
            "keeps no versions",
        ),
        ("problem", |cloud| staging(cloud, |it| it.expiries = rules(30)), "staging bucket", "deletes archives 30 days"),
        ("advice", |cloud| staging(cloud, |it| it.expiries.clear()), "staging bucket", "no lifecycle rule"),
        ("problem", |cloud| staging(cloud, |it| it.triggers.clear()), "staging bucket", "does not start the function"),
        ("problem", |cloud| live(cloud, None), "distribution", "does not let it read the site"),
        ("problem", |cloud| cloud.delete_distribution(DISTRIBUTION), "distributions", "no distribution"),
        (
            "problem",
            |cloud| edge(cloud, |it| it.origins[0].bucket = "other".to_owned()),
            "distributions",
            "has no origin that serves",
        ),
        ("problem", |cloud| edge(cloud, |it| it.is_enabled = false), "distribution", "it is disabled"),
        ("advice", |cloud| edge(cloud, |it| it.is_deployed = false), "distribution", "on its way"),
        ("problem", |cloud| edge(cloud, |it| it.signing = None), "distribution", "without a signature"),
        ("problem", |cloud| edge(cloud, |it| it.signing = Some("no-override")), "distribution", "does not sign"),
        ("advice", |cloud| edge(cloud, caching_errors), "distribution", "status 404 for 300 seconds"),
        (
            "advice",
            |cloud| cloud.describe_function(STACK, "dropship 0.0.9"),
            "function",
            "older than this command line",
        ),
        ("advice", |cloud| cloud.set_alarms(Vec::new()), "alarms", "the stack has none"),
        ("advice", |cloud| cloud.set_alarms(vec![Alarm { topic: None, ..alarm("A") }]), "alarms", "tell nobody"),
        ("problem", |cloud| cloud.set_alarms(vec![Alarm { is_on: true, ..alarm("A") }]), "alarms", "is on"),
        ("problem", |cloud| cloud.deny("s3:PutObject"), "function's role", "may not do s3:PutObject"),
    ];
    for (severity, breaks, subject, words) in cases {
        let desk = desk().await;
        breaks(&desk.stage.cloud);
        let (code, value) = desk.run_json(&["doctor"]).await;
        let findings = value["findings"].as_array().unwrap();
        let is_it = |finding: &&Value| {
            finding["severity"] == severity
                && finding["subject"].as_str().unwrap().starts_with(subject)
                && finding["problem"].as_str().unwrap().contains(words)
                && !finding["fix"].as_str().unwrap().is_empty()
        };
        assert!(findings.iter().any(|finding| is_it(&finding)), "{words}: {value}");
        assert_eq!(code, i32::from(severity == "problem"), "{words}: {value}");
    }
}

fn staging(cloud: &Cloud, change: fn(&mut BucketSettings)) {
    cloud.change_bucket(STAGING, change);
}

fn live(cloud: &Cloud, policy: Option<String>) {
    cloud.change_bucket(LIVE, |settings| settings.policy = policy);
}

fn edge(cloud: &Cloud, change: fn(&mut Distribution)) {
    let mut distribution = cloud.distribution(DISTRIBUTION);
    change(&mut distribution);
    cloud.change_distribution(distribution);
}

fn caching_errors(distribution: &mut Distribution) {
    distribution.custom_errors = vec![CustomError { code: 404, page: None, min_ttl_seconds: 300 }];
}

#[tokio::test]
async fn failed_events_and_stopped_runs_are_found() {
    let desk = desk().await;
    let denied = Fault { times: 100, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) };
    desk.stage.cloud.fault(denied);
    desk.write(&files([("index.html", "one")]));
    assert_eq!(desk.run(&["push", "site"]).await.code, 1);
    let said = desk.run(&["doctor"]).await;
    assert_eq!(said.code, 1);
    assert!(said.out.contains("failure queue: 1 event failed for good"), "{said:?}");
    assert!(said.out.contains("run 1 (") && said.out.contains("has not finished, and nothing is at work"), "{said:?}");
    assert!(said.out.contains("    fix: `dropship redrive` lists them"), "{said:?}");
}

#[tokio::test]
async fn a_check_that_is_not_allowed_is_told_and_the_others_are_made() {
    let operations = [
        ("GetBucketVersioning", "staging bucket"),
        ("GetBucketLifecycleConfiguration", "staging bucket"),
        ("GetBucketNotificationConfiguration", "staging bucket"),
        ("GetBucketPolicy", "live bucket"),
        ("GetOriginAccessControl", "distribution"),
        ("GetCachePolicy", "distribution"),
        ("GetQueueAttributes", "failure queue"),
        ("DescribeAlarms", "alarms"),
        ("SimulatePrincipalPolicy", "function's role"),
        ("Query", "ledger"),
    ];
    for (operation, subject) in operations {
        let desk = desk().await;
        desk.stage.cloud.deny("dynamodb:Query");
        desk.stage.cloud.fault(Fault { times: 100, ..Fault::on(operation, Does::refuse(403, "AccessDenied")) });
        let (code, value) = desk.run_json(&["doctor"]).await;
        let findings = value["findings"].as_array().unwrap();
        let unchecked: Vec<&Value> = findings.iter().filter(|finding| finding["severity"] == "unchecked").collect();
        assert_eq!(code, 1, "{operation}: {value}");
        assert!(
            matches!(unchecked[..], [it] if it["subject"].as_str().unwrap().starts_with(subject)),
            "{operation}: {value}"
        );
        assert!(unchecked[0]["problem"].as_str().unwrap().contains("AccessDenied"), "{operation}: {value}");
        let is_denied = findings.iter().any(|finding| finding["subject"] == "function's role");
        assert!(is_denied, "{operation}: {value}");
    }
}
