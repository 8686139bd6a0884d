//! The function's policy grants the permissions that the program needs, and no others.
//!
//! The stand-ins check every call of every test on a [`Stage`](crate::stage::Stage) against the template's policy, and
//! refuse calls that it does not allow. In turn, a run through everything that the program can do must need every
//! permission that the policy grants.

mod needs;
mod previews;
mod push;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use needs::{needs, real_bucket};
use serde_json::{Value, json};
use standins::{Authorizer, CLIENT, Distribution, Does, Fault, Headers, QueryStrings, Service};

use crate::build::{Files, files, noise};
use crate::cloudformation::{ACCOUNT, Template};
use crate::stage::{DISTRIBUTION, LIVE, STAGING, Stage, TABLE};

/// The statements and actions that Lambda itself uses with the function's role.
///
/// See the developer guide's pages "Sending Lambda function logs to CloudWatch Logs", "Using dead-letter queues",
/// "Capturing records of asynchronous invocations" and "Visualize Lambda function invocations using AWS X-Ray".
const USED_BY_LAMBDA: &[(&str, &str)] = &[
    ("WriteLog", "logs:CreateLogStream"),
    ("WriteLog", "logs:PutLogEvents"),
    ("KeepFailedEvents", "sqs:SendMessage"),
    ("TellResults", "events:PutEvents"),
    ("Trace", "xray:PutTraceSegments"),
    ("Trace", "xray:PutTelemetryRecords"),
];

/// The policy of a function's role. Reading one panics at every element that this type does not support.
struct Policy {
    statements: Vec<Statement>,
}

struct Statement {
    sid: String,
    actions: Vec<String>,
    resources: Vec<String>,
}

impl Policy {
    fn of(template: &Template) -> Self {
        let role = template.resource("FunctionRole");
        let policies = role["Properties"]["Policies"].as_array().unwrap();
        let [policy] = &policies[..] else {
            panic!("the role must have one policy");
        };
        let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
        Self { statements: statements.iter().map(Statement::of).collect() }
    }

    /// Returns the name of the statement that allows an action on a resource.
    fn allows(&self, action: &str, resource: &str) -> Option<&str> {
        let statement = self.statements.iter().find(|statement| statement.allows(action, resource));
        statement.map(|statement| statement.sid.as_str())
    }

    /// Returns the name of each statement with each of its actions.
    fn granted(&self) -> BTreeSet<(String, String)> {
        let mut granted = BTreeSet::new();
        for statement in &self.statements {
            granted.extend(statement.actions.iter().map(|action| (statement.sid.clone(), action.clone())));
        }
        granted
    }
}

impl Statement {
    fn of(value: &Value) -> Self {
        let members: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(members, ["Action", "Effect", "Resource", "Sid"], "{value}");
        assert_eq!(value["Effect"], "Allow");
        let statement = Self {
            sid: value["Sid"].as_str().unwrap().to_owned(),
            actions: texts(&value["Action"]),
            resources: texts(&value["Resource"]),
        };
        for action in &statement.actions {
            assert!(!action.contains(['*', '?']), "{action} is more than one action");
        }
        for resource in &statement.resources {
            let is_named = resource != "*" || statement.sid == "Trace";
            assert!(is_named, "{} applies to every resource", statement.sid);
            assert!(!resource.contains('?'), "{resource}");
        }
        statement
    }

    fn allows(&self, action: &str, resource: &str) -> bool {
        self.actions.iter().any(|allowed| allowed == action)
            && self.resources.iter().any(|pattern| matches(pattern, resource))
    }
}

/// Returns the texts of a list, or a text alone.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(texts) => texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
        text => vec![text.as_str().unwrap().to_owned()],
    }
}

/// Returns whether a resource matches a pattern, in which `*` stands for any text.
fn matches(pattern: &str, resource: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == resource;
    };
    let Some(rest) = resource.strip_prefix(before) else {
        return false;
    };
    (0..=rest.len()).filter(|&at| rest.is_char_boundary(at)).any(|at| matches(after, &rest[at..]))
}

/// Returns the policy of a stack that sets these variables of its function.
fn policy_for(variables: &BTreeMap<String, String>) -> Policy {
    let text = |name: &str| variables.get(name).map(String::as_str).unwrap_or_default();
    let live = text("LIVE_BUCKET");
    let prefix = text("LIVE_PREFIX").trim_end_matches('/');
    let mut ids: Vec<&str> =
        text("DISTRIBUTION_IDS").split(',').map(|it| it.split('=').next().unwrap_or_default().trim()).collect();
    // The distribution of previews belongs to created sites, whose policy names both by their resources.
    ids.extend(Some(text("PREVIEW_DISTRIBUTION_ID")).filter(|id| !id.is_empty()));
    let default_site = match prefix {
        "" => live.to_owned(),
        prefix => format!("{live}/{prefix}"),
    };
    let kms_key = text("SSE").strip_prefix("aws:kms:").unwrap_or_default();
    let site = match text("SITE") {
        "" => &default_site,
        site => site,
    };
    Policy::of(&Template::with(&[
        ("LiveBucketName", live),
        ("LivePrefix", prefix),
        ("DistributionIds", &ids.join(",")),
        ("Site", site),
        ("KmsKeyArn", kms_key),
    ]))
}

/// Returns an authorizer that allows what the policy of a stack with these variables allows.
pub fn authorizer(variables: &BTreeMap<String, String>) -> Authorizer {
    // Tests start thousands of functions, but with few different environments.
    static KNOWN: Mutex<BTreeMap<BTreeMap<String, String>, Authorizer>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.entry(variables.clone());
    known.or_insert_with(|| enforcing(policy_for(variables))).clone()
}

fn enforcing(policy: Policy) -> Authorizer {
    Arc::new(move |call, status| {
        let mut needs = needs(call, status).into_iter();
        needs.all(|(action, resource)| {
            let is_allowed = policy.allows(&action, &resource).is_some();
            if !is_allowed {
                eprintln!("the policy does not allow {action} on {resource}");
            }
            is_allowed
        })
    })
}

/// Returns the statements and actions that a stage's calls have needed so far.
fn used(stage: &Stage, policy: &Policy) -> BTreeSet<(String, String)> {
    let mut used = BTreeSet::new();
    for call in stage.cloud.calls() {
        let mut needed = needs(&call, None);
        if call.service == Service::S3 && call.status == Some(404) {
            needed.extend(needs(&call, call.status));
        }
        for (action, resource) in needed {
            let sid = policy.allows(&action, &resource);
            let sid = sid.unwrap_or_else(|| panic!("the policy does not allow {action} on {resource}"));
            used.insert((sid.to_owned(), action));
        }
    }
    used
}

#[tokio::test]
async fn every_granted_permission_is_needed() {
    let stage = Stage::new().await.with("WAIT_FOR_INVALIDATION", "true");
    let own_policy = QueryStrings::Policy { id: "own".to_owned(), behavior: "none" };
    let distribution = Distribution::of(DISTRIBUTION, LIVE);
    stage.cloud.create_distribution(Distribution { query_strings: own_policy, ..distribution });
    let large: Files =
        [("large.bin".to_owned(), noise(17 << 20, 3)), ("index.html".to_owned(), b"one".to_vec())].into();
    let small = files([("index.html", "one"), ("gone.txt", "gone tomorrow"), ("kept.txt", "kept")]);
    stage.deploy("one", &stage.upload("1.zip", &small)).await;
    let mut second = small.clone();
    second.insert("index.html".to_owned(), b"two".to_vec());
    second.remove("gone.txt");
    let second = stage.upload("2.zip", &second);
    stage.deploy("two", &second).await;
    // Someone else has written: the function reads the object's headers, and corrects them with a copy.
    stage.cloud.put_object(LIVE, "kept.txt", "kept", Headers::of_type("text/plain"));
    stage.deploy("three", &stage.upload("3.zip", &small)).await;
    // A part fails persistently: its upload is aborted. It is a part because one request did not write the object.
    let refused = Does::refuse(500, "InternalError");
    stage.cloud.fault(Fault { key: Some("large.bin".to_owned()), ..Fault::on("PutObject", refused) });
    stage.cloud.fault(Fault { times: usize::MAX, ..Fault::on("UploadPart", Does::refuse(400, "InvalidRequest")) });
    let event = stage.upload("4.zip", &large);
    stage.invoke("four", &event).await.into_answer().unwrap_err();
    stage.cloud.clear_faults();
    stage.deploy("four", &event).await;
    // The archive is gone.
    let mut gone = stage.upload("5.zip", &small);
    gone["Records"][0]["s3"]["object"]["versionId"] = json!("gone");
    let error = stage.invoke("five", &gone).await.into_answer().unwrap_err();
    assert_eq!(error.error_type, "ArchiveGone", "{}", error.error_message);
    stage.pass(TimeDelta::minutes(6));
    stage.deploy("six", &second).await;
    // A handwritten event names no version.
    let handwritten = json!({"Records": [{"s3": {"bucket": {"name": STAGING}, "object": {"key": "3.zip"}}}]});
    stage.deploy("seven", &handwritten).await;

    let policy = policy_for(stage.variables());
    let mut needed = used(&stage, &policy);
    needed.extend(USED_BY_LAMBDA.iter().map(|(sid, action)| ((*sid).to_owned(), (*action).to_owned())));
    assert_eq!(needed, policy.granted());
}

#[test]
fn lambdas_own_actions_are_allowed_on_their_resources() {
    let template = Template::with(&[("CreateSite", "true")]);
    let policy = Policy::of(&template);
    let function = &template.resource("Function")["Properties"];
    let queue = function["DeadLetterQueue"]["TargetArn"].as_str().unwrap();
    assert!(policy.allows("sqs:SendMessage", queue).is_some());
    let invoke = &template.resource("FunctionInvokeConfig")["Properties"];
    for result in ["OnSuccess", "OnFailure"] {
        let bus = invoke["DestinationConfig"][result]["Destination"].as_str().unwrap();
        assert!(policy.allows("events:PutEvents", bus).is_some(), "{bus}");
    }
    assert_eq!(function["LoggingConfig"]["LogGroup"], "LogGroup");
    for action in ["logs:CreateLogStream", "logs:PutLogEvents"] {
        assert!(policy.allows(action, "arn:of:LogGroup").is_some());
    }
    assert_eq!(function["Tracing"], "Active");
    assert!(policy.allows("xray:PutTraceSegments", "*").is_some());
    // Without an event bus, no result is sent, and the policy allows none.
    let quiet = Template::with(&[("CreateSite", "true"), ("EventBusName", "none")]);
    assert!(!Policy::of(&quiet).granted().iter().any(|(sid, _)| sid == "TellResults"));
}

#[test]
fn nothing_outside_the_site_is_allowed() {
    let policy = policy_for(&BTreeMap::from(
        [
            ("LIVE_BUCKET", LIVE),
            ("LIVE_PREFIX", "docs"),
            ("DISTRIBUTION_IDS", "E1EXAMPLE,E2EXAMPLE=/docs"),
            ("SITE", "mine"),
            ("TABLE_NAME", TABLE),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    ));
    let staging = format!("arn:aws:s3:::{}", real_bucket(STAGING));
    let allows = |action: &str, resource: &str| policy.allows(action, resource).is_some();
    assert!(allows("s3:PutObject", "arn:aws:s3:::live/docs/a/b.html"));
    assert!(!allows("s3:PutObject", "arn:aws:s3:::live/docs2/a.html"));
    assert!(!allows("s3:PutObject", "arn:aws:s3:::live/a.html"));
    assert!(!allows("s3:PutObject", "arn:aws:s3:::lively/docs/a.html"));
    assert!(!allows("s3:ListBucket", "arn:aws:s3:::lively"));
    assert!(!allows("s3:PutObjectAcl", "arn:aws:s3:::live/docs/a.html"));
    assert!(allows("s3:PutObject", &format!("{staging}/.dropship/mine/manifest-1.gz")));
    assert!(!allows("s3:PutObject", &format!("{staging}/.dropship/other/manifest-1.gz")));
    assert!(!allows("s3:PutObject", &format!("{staging}/uploads/site.zip")));
    assert!(!allows("s3:DeleteObject", &format!("{staging}/uploads/site.zip")));
    assert!(allows("s3:GetObjectVersion", &format!("{staging}/uploads/site.zip")));
    assert!(!allows("s3:GetObjectVersion", &format!("{staging}/private/site.zip")));
    let distribution = |id: &str| format!("arn:aws:cloudfront::{ACCOUNT}:distribution/{id}");
    for id in ["E1EXAMPLE", "E2EXAMPLE"] {
        assert!(allows("cloudfront:CreateInvalidation", &distribution(id)), "{id}");
        assert!(!allows("cloudfront:UpdateDistribution", &distribution(id)));
    }
    assert!(allows("cloudfront:CreateInvalidation", &distribution("E1EXAMPLE").replace("arn:aws:", "arn:aws-cn:")));
    assert!(!allows("cloudfront:CreateInvalidation", &distribution("E3EXAMPLE")));
    assert!(!allows("cloudfront:CreateInvalidation", &distribution(DISTRIBUTION).replace('1', "11")));
    assert!(allows("cloudfront:GetCachePolicy", &format!("arn:aws:cloudfront::{ACCOUNT}:cache-policy/own")));
    assert!(!allows("dynamodb:Scan", &format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Ledger")));
    assert!(!allows("dynamodb:PutItem", &format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Other")));
}

#[test]
fn a_site_without_distributions_may_invalidate_nothing() {
    let policy = Policy::of(&Template::with(&[("LiveBucketName", LIVE)]));
    assert!(!policy.granted().iter().any(|(_, action)| action.starts_with("cloudfront:")));
}

#[test]
fn a_key_in_kms_brings_two_rights_on_that_key_and_no_key_brings_none() {
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab";
    let of_kms = |parameters: &[(&str, &str)]| {
        let policy = Policy::of(&Template::with(&[&[("LiveBucketName", LIVE)], parameters].concat()));
        let statements = policy.statements.into_iter().filter(|it| it.actions.iter().any(|it| it.starts_with("kms:")));
        statements.map(|it| (it.actions, it.resources)).collect::<Vec<_>>()
    };
    let actions = ["kms:GenerateDataKey", "kms:Decrypt"].map(str::to_owned);
    assert_eq!(of_kms(&[("KmsKeyArn", key)]), [(actions.to_vec(), vec![key.to_owned()])]);
    assert_eq!(of_kms(&[("Sse", "AES256")]), []);
    assert_eq!(of_kms(&[]), []);
}

#[tokio::test]
async fn a_call_that_the_policy_does_not_allow_is_denied() {
    let stage = Stage::new().await;
    let other = stage.cloud.clone();
    other.create_distribution(Distribution::of("E2EXAMPLE", LIVE));
    let site = stage.clone().with("DISTRIBUTION_IDS", "E2EXAMPLE").site(CLIENT).await;
    stage.cloud.authorize(CLIENT, authorizer(stage.variables()));
    let error = site.clients.cdn.discover().await.unwrap_err();
    assert!(error.to_string().contains("the template's policy does not allow it"), "{error}");
}
