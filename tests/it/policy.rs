//! The function's policy allows what the program asks for, and nothing else.
//!
//! Every call of every test on a [`Stage`](crate::stage::Stage) is held against the template's policy: the
//! stand-ins refuse what it does not allow. The other way round, a run through everything that the program can do
//! needs all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use serde_json::{Value, json};
use standins::{Authorizer, CLIENT, Call, Distribution, Does, Fault, Headers, Service};

use crate::build::{Files, files, noise};
use crate::stage::{DISTRIBUTION, LIVE, STAGING, Stage, TABLE};
use crate::template::{ACCOUNT, Template};

/// What Lambda does with the function's role, by the developer guide's pages "Sending Lambda function logs to
/// CloudWatch Logs", "Using dead-letter queues", "Capturing records of asynchronous invocations" and "Visualize
/// Lambda function invocations using AWS X-Ray".
const DONE_BY_LAMBDA: &[(&str, &str)] = &[
    ("WriteLog", "logs:CreateLogStream"),
    ("WriteLog", "logs:PutLogEvents"),
    ("KeepFailedEvents", "sqs:SendMessage"),
    ("TellResults", "events:PutEvents"),
    ("Trace", "xray:PutTraceSegments"),
    ("Trace", "xray:PutTelemetryRecords"),
];

/// The policy of a function's role. It is strict: what it does not understand, it does not take.
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
            panic!("the role has one policy");
        };
        let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
        Self { statements: statements.iter().map(Statement::of).collect() }
    }

    /// The statement that allows an action on a resource.
    fn allows(&self, action: &str, resource: &str) -> Option<&str> {
        let is_allowed = |it: &&Statement| {
            let allows = |pattern: &String| matches(pattern, resource);
            it.actions.iter().any(|it| it == action) && it.resources.iter().any(allows)
        };
        let statement = self.statements.iter().find(is_allowed);
        statement.map(|statement| statement.sid.as_str())
    }

    /// Every statement's every action.
    fn granted(&self) -> BTreeSet<(String, String)> {
        let of = |it: &Statement| {
            let sid = it.sid.clone();
            let actions = it.actions.clone().into_iter();
            actions.map(move |action| (sid.clone(), action))
        };
        self.statements.iter().flat_map(of).collect()
    }
}

impl Statement {
    fn of(value: &Value) -> Self {
        let members: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(members, ["Action", "Effect", "Resource", "Sid"], "{value}");
        assert_eq!(value["Effect"], "Allow");
        let texts = |value: &Value| match value {
            Value::Array(texts) => texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
            one => vec![one.as_str().unwrap().to_owned()],
        };
        let statement = Self {
            sid: value["Sid"].as_str().unwrap().to_owned(),
            actions: texts(&value["Action"]),
            resources: texts(&value["Resource"]),
        };
        for action in &statement.actions {
            assert!(!action.contains(['*', '?']), "{action} is not one action");
        }
        for resource in &statement.resources {
            let is_named = resource != "*" || statement.sid == "Trace";
            assert!(is_named, "{} is for every resource", statement.sid);
            assert!(!resource.contains('?'), "{resource}");
        }
        statement
    }
}

/// Whether a resource is one of those that a pattern with `*` stands for.
fn matches(pattern: &str, resource: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == resource;
    };
    let Some(rest) = resource.strip_prefix(before) else {
        return false;
    };
    (0..=rest.len()).filter(|&at| rest.is_char_boundary(at)).any(|at| matches(after, &rest[at..]))
}

/// What a call needs, by the Service Authorization Reference and the API pages of the services.
fn needs(call: &Call, status: Option<u16>) -> Vec<(String, String)> {
    let bucket = call.bucket.as_deref().unwrap_or_default();
    let bucket_arn = format!("arn:aws:s3:::{}", real_bucket(bucket));
    let object = |key: &str| format!("arn:aws:s3:::{}/{}", real_bucket(bucket), real_key(bucket, key));
    let key = call.key.as_deref().unwrap_or_default();
    let table = |_: &str| format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Ledger");
    let need = |action: &str, resource: String| (action.to_owned(), resource);
    if status == Some(404) {
        // S3 API, GetObject and HeadObject, "Permissions": without s3:ListBucket it is a 403.
        return vec![need("s3:ListBucket", bucket_arn)];
    }
    let mut needs = match (call.service, call.operation.as_str()) {
        (Service::S3, "GetObject" | "HeadObject") if call.version_id.is_some() => {
            vec![need("s3:GetObjectVersion", object(key))]
        }
        (Service::S3, "GetObject" | "HeadObject") => vec![need("s3:GetObject", object(key))],
        (Service::S3, "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload") => {
            vec![need("s3:PutObject", object(key))]
        }
        (Service::S3, "CopyObject") => {
            let source = call.copy_source.as_deref().unwrap_or_default();
            let (from, source) = source.trim_start_matches('/').split_once('/').unwrap();
            assert_eq!(from, bucket, "an object is only copied onto itself");
            vec![need("s3:GetObject", object(source)), need("s3:PutObject", object(key))]
        }
        // S3 API, UploadPartCopy, "Permissions": to read the source, in its version, and to write.
        (Service::S3, "UploadPartCopy") => {
            let source = call.copy_source.as_deref().unwrap_or_default();
            let (from, source) = source.trim_start_matches('/').split_once('/').unwrap();
            let (source, action) = match source.split_once("?versionId=") {
                Some((source, _)) => (source, "s3:GetObjectVersion"),
                None => (source, "s3:GetObject"),
            };
            let source = real_key(from, source);
            vec![
                need(action, format!("arn:aws:s3:::{}/{source}", real_bucket(from))),
                need("s3:PutObject", object(key)),
            ]
        }
        (Service::S3, "AbortMultipartUpload") => vec![need("s3:AbortMultipartUpload", object(key))],
        (Service::S3, "DeleteObject") => vec![need("s3:DeleteObject", object(key))],
        (Service::S3, "DeleteObjects") => {
            let keys = call.keys.iter();
            keys.map(|key| need("s3:DeleteObject", object(key))).collect()
        }
        (Service::S3, "ListObjectsV2") => vec![need("s3:ListBucket", bucket_arn)],
        (Service::CloudFront, "CreateInvalidation" | "GetDistribution" | "GetInvalidation") => {
            let id = call.distribution.as_deref().unwrap_or_default();
            let arn = format!("arn:aws:cloudfront::{ACCOUNT}:distribution/{id}");
            vec![need(&format!("cloudfront:{}", call.operation), arn)]
        }
        (Service::DynamoDb, "TransactGetItems" | "TransactWriteItems") => {
            call.items.iter().map(|(operation, name)| need(&format!("dynamodb:{operation}"), table(name))).collect()
        }
        (Service::DynamoDb, "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "Query") => {
            let name = call.table.as_deref().unwrap_or_default();
            vec![need(&format!("dynamodb:{}", call.operation), table(name))]
        }
        other => panic!("no rule says what {other:?} needs"),
    };
    if call.is_etag_required {
        // S3 user guide, "Conditional writes": If-Match also needs s3:GetObject.
        let keys = call.keys.iter().map(String::as_str);
        needs.extend(keys.chain(call.key.as_deref()).map(|key| need("s3:GetObject", object(key))));
    }
    needs
}

/// The tests' staging bucket under the name that the stack gives it.
fn real_bucket(name: &str) -> String {
    match name {
        STAGING => format!("dropship-staging-{ACCOUNT}-us-east-1"),
        other => other.to_owned(),
    }
}

/// The tests upload to the root of their staging bucket, users to the template's folder.
fn real_key(bucket: &str, key: &str) -> String {
    if bucket == STAGING && !key.starts_with(".dropship/") { format!("uploads/{key}") } else { key.to_owned() }
}

/// The policy of a stack that gives its function these variables.
fn policy_for(variables: &BTreeMap<String, String>) -> Policy {
    let text = |name: &str| variables.get(name).map(String::as_str).unwrap_or_default();
    let live = text("LIVE_BUCKET");
    let prefix = text("LIVE_PREFIX").trim_end_matches('/');
    let ids: Vec<&str> =
        text("DISTRIBUTION_IDS").split(',').map(|it| it.split('=').next().unwrap_or_default().trim()).collect();
    let default_site = match prefix {
        "" => live.to_owned(),
        prefix => format!("{live}/{prefix}"),
    };
    let site = match text("SITE") {
        "" => &default_site,
        site => site,
    };
    Policy::of(&Template::with(&[
        ("LiveBucketName", live),
        ("LivePrefix", prefix),
        ("DistributionIds", &ids.join(",")),
        ("Site", site),
    ]))
}

/// Lets a function with these variables do what its stack's policy lets it do.
pub fn authorizer(variables: &BTreeMap<String, String>) -> Authorizer {
    // Tests start thousands of functions, with few different environments among them.
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
                eprintln!("denied: {action} on {resource}");
            }
            is_allowed
        })
    })
}

/// The statements and actions that a stage's calls so far have needed.
fn used(stage: &Stage, policy: &Policy) -> BTreeSet<(String, String)> {
    let mut used = BTreeSet::new();
    for call in stage.cloud.calls() {
        let missed = call.status.filter(|status| *status == 404);
        let of_miss = match (call.service, missed) {
            (Service::S3, Some(_)) => needs(&call, missed),
            _ => Vec::new(),
        };
        for (action, resource) in needs(&call, None).into_iter().chain(of_miss) {
            let sid = policy.allows(&action, &resource);
            let sid = sid.unwrap_or_else(|| panic!("{action} on {resource} is not allowed"));
            used.insert((sid.to_owned(), action));
        }
    }
    used
}

#[tokio::test]
async fn every_granted_permission_is_needed() {
    let stage = Stage::new().await.with("WAIT_FOR_INVALIDATION", "true");
    let large: Files = [("large.bin".to_owned(), noise(17 << 20, 3))].into();
    let small = files([("index.html", "one"), ("gone.txt", "gone tomorrow"), ("kept.txt", "kept")]);
    stage.deploy("one", &stage.upload("1.zip", &small)).await;
    let mut second = small.clone();
    second.insert("index.html".to_owned(), b"two".to_vec());
    second.remove("gone.txt");
    let second = stage.upload("2.zip", &second);
    stage.deploy("two", &second).await;
    // Someone else has written: the object is asked for, and its headers are set right by a copy.
    stage.cloud.put_object(LIVE, "kept.txt", "kept", Headers::of_type("text/plain"));
    stage.deploy("three", &stage.upload("3.zip", &small)).await;
    // A part fails for good: its upload is given up.
    stage.cloud.fault(Fault { times: usize::MAX, ..Fault::on("UploadPart", Does::refuse(400, "InvalidRequest")) });
    let event = stage.upload("4.zip", &large);
    stage.invoke("four", &event).await.into_answer().unwrap_err();
    stage.cloud.clear_faults();
    stage.deploy("four", &event).await;
    // An archive that is gone, and a manifest that is.
    let mut gone = stage.upload("5.zip", &small);
    gone["Records"][0]["s3"]["object"]["versionId"] = json!("gone");
    let error = stage.invoke("five", &gone).await.into_answer().unwrap_err();
    assert_eq!(error.error_type, "ArchiveGone", "{}", error.error_message);
    stage.pass(TimeDelta::minutes(6));
    stage.deploy("six", &second).await;

    // An event written by hand names no version.
    let by_hand = json!({"Records": [{"s3": {"bucket": {"name": STAGING}, "object": {"key": "3.zip"}}}]});
    stage.deploy("seven", &by_hand).await;

    let policy = policy_for(stage.variables());
    let mut needed = used(&stage, &policy);
    let by_lambda = DONE_BY_LAMBDA.iter();
    needed.extend(by_lambda.map(|(sid, action)| ((*sid).to_owned(), (*action).to_owned())));
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
    // Without a bus nothing is told, and nothing allowed.
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
    assert!(!allows("cloudfront:CreateInvalidation", &distribution("E3EXAMPLE")));
    assert!(!allows("cloudfront:CreateInvalidation", &distribution(DISTRIBUTION).replace('1', "11")));
    assert!(!allows("dynamodb:Scan", &format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Ledger")));
    assert!(!allows("dynamodb:PutItem", &format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Other")));
}

#[test]
fn a_site_without_distributions_may_invalidate_nothing() {
    let policy = Policy::of(&Template::with(&[("LiveBucketName", LIVE)]));
    assert!(!policy.granted().iter().any(|(sid, _)| sid == "Invalidate"));
}

#[tokio::test]
async fn a_call_that_the_policy_does_not_allow_is_denied() {
    let stage = Stage::new().await;
    let other = stage.cloud.clone();
    other.create_distribution(Distribution::of("E2EXAMPLE", LIVE));
    let site = stage.clone().with("DISTRIBUTION_IDS", "E2EXAMPLE").site(CLIENT).await;
    stage.cloud.authorize(CLIENT, authorizer(stage.variables()));
    let error = site.clients.cdn.discover().await.unwrap_err();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
}
