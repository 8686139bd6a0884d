//! The `bootstrap` binary as Lambda runs it, against the stand-ins for AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{SecondsFormat, TimeDelta, Utc};
use dropship::aws::Clients;
use dropship::config::Config;
use serde_json::{Value, json};
use standins::{CLIENT, Cloud, Distribution, Does, Etags, Fault, Function, Gate, Headers, InvocationError, Versioning};

use crate::build::zipped;
use crate::stage::put_event;

const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap");

const STAGING: &str = "staging-bucket";
const LIVE: &str = "live-bucket";
const TABLE: &str = "ledger";
const DISTRIBUTION: &str = "E1EXAMPLE";

/// The time left for an invocation: far more than any of these events needs.
const TIME_LEFT: Duration = Duration::from_secs(120);

const FIRST: &[(&str, &str)] = &[
    ("index.html", "<h1>one</h1>"),
    ("docs/index.html", "<h1>docs</h1>"),
    ("app.js", "console.log(1)"),
    ("logo.svg", "<svg/>"),
];

const SECOND: &[(&str, &str)] = &[
    ("index.html", "<h1>two</h1>"),
    ("docs/index.html", "<h1>docs</h1>"),
    ("app.2.js", "console.log(2)"),
    ("logo.svg", "<svg/>"),
];

const URLS: [&str; 7] = ["/", "/index.html", "/docs/index.html", "/docs/", "/app.js", "/app.2.js", "/logo.svg"];

#[tokio::test]
async fn an_upload_goes_live_and_is_reported_in_the_answer_and_the_log() {
    let cloud = cloud().await;
    let function = Function::start(BOOTSTRAP, environment(&cloud)).await;

    let event = upload(&cloud, FIRST, "site.zip", "2026-11-22T10:15:00.000Z");
    let answer = deployment(&function, "request-1", &event).await;
    assert_eq!(answer["outcome"], "deployed", "{answer}");
    assert_eq!(answer["new"], FIRST.len(), "{answer}");
    assert_eq!(answer["archive"]["key"], "site.zip", "{answer}");
    assert_live(&cloud, FIRST);

    // The same process handles the next event, as a warm function does.
    let first = cloud.invalidations(DISTRIBUTION).len();
    let event = upload(&cloud, SECOND, "site.zip", "2026-11-22T10:16:00.000Z");
    let answer = deployment(&function, "request-2", &event).await;
    assert_eq!(answer["outcome"], "deployed", "{answer}");
    for (count, expected) in [("new", 1), ("changed", 1), ("deleted", 1), ("kept", 2)] {
        assert_eq!(answer[count], expected, "{count} of {answer}");
    }
    assert_live(&cloud, SECOND);
    let accepted = cloud.invalidations(DISTRIBUTION).into_iter().skip(first);
    let items: Vec<String> = accepted.flat_map(|it| it.items).collect();
    assert_eq!(items, ["/", "/index.html", "/app.js"]);

    let line = function.logged(|line| line["id"] == answer["id"]).await;
    assert_eq!(line["outcome"], "deployed", "{line}");
    assert_eq!(line["deleted"], 1, "{line}");
}

#[tokio::test]
async fn a_duplicate_after_a_newer_deployment_changes_nothing_but_a_replay_restores_its_build() {
    let cloud = cloud().await;
    let function = Function::start(BOOTSTRAP, environment(&cloud)).await;
    // Within the five minutes in which S3 may deliver an event again.
    let mut first = upload(&cloud, FIRST, "site.zip", &ago(TimeDelta::seconds(20)));
    let second = upload(&cloud, SECOND, "site.zip", &ago(TimeDelta::seconds(10)));
    deployment(&function, "first", &first).await;
    deployment(&function, "second", &second).await;
    let accepted = cloud.invalidations(DISTRIBUTION).len();

    cloud.clear_calls();
    let answer = deployment(&function, "first-again", &first).await;
    assert_eq!(answer["outcome"], "duplicate", "{answer}");
    let operations: BTreeSet<String> = cloud.calls().into_iter().map(|it| it.operation).collect();
    let reads = ["TransactGetItems", "GetObject", "Query"].map(str::to_owned);
    assert!(operations.is_subset(&reads.into()), "a duplicate must only read: {operations:?}");
    assert_live(&cloud, SECOND);

    cloud.edge(DISTRIBUTION).warm_all(URLS);
    first["options"] = json!({"replay": true});
    let answer = deployment(&function, "first-replayed", &first).await;
    assert_eq!(answer["outcome"], "rolledBack", "{answer}");
    assert_eq!(cloud.invalidations(DISTRIBUTION).len(), accepted + 2);
    assert_settled(&cloud, FIRST).await;
}

#[tokio::test]
async fn a_replay_rolls_back_but_a_late_retry_does_not() {
    let cloud = cloud().await;
    let function = Function::start(BOOTSTRAP, environment(&cloud)).await;
    let first = upload(&cloud, FIRST, "site.zip", &ago(TimeDelta::minutes(10)));
    let second = upload(&cloud, SECOND, "site.zip", &ago(TimeDelta::minutes(9)));
    deployment(&function, "first", &first).await;
    deployment(&function, "second", &second).await;

    for late in ["first", "another"] {
        let answer = deployment(&function, late, &first).await;
        assert_eq!(answer["outcome"], "duplicate", "{answer}");
        assert_live(&cloud, SECOND);
    }

    cloud.edge(DISTRIBUTION).warm_all(URLS);
    let mut replay = first;
    replay["options"] = json!({"replay": true});
    let answer = deployment(&function, "replay", &replay).await;
    assert_eq!(answer["outcome"], "rolledBack", "{answer}");
    assert_settled(&cloud, FIRST).await;

    // The next upload goes live as usual.
    let third = upload(&cloud, SECOND, "site.zip", &ago(TimeDelta::minutes(1)));
    let answer = deployment(&function, "third", &third).await;
    assert_eq!(answer["outcome"], "deployed", "{answer}");
    assert_settled(&cloud, SECOND).await;
}

#[tokio::test]
async fn a_late_event_is_superseded_but_a_replay_restores_its_build() {
    let cloud = cloud().await;
    let function = Function::start(BOOTSTRAP, environment(&cloud)).await;
    let mut first = upload(&cloud, FIRST, "site.zip", "2026-11-22T10:15:00.000Z");
    let second = upload(&cloud, SECOND, "site.zip", "2026-11-22T10:16:00.000Z");
    let second_id = deployment(&function, "second", &second).await["id"].clone();
    let accepted = cloud.invalidations(DISTRIBUTION);

    let answer = deployment(&function, "first-late", &first).await;
    assert_eq!(answer["outcome"], "superseded", "{answer}");
    assert_live(&cloud, SECOND);
    assert_eq!(cloud.invalidations(DISTRIBUTION), accepted);

    first["options"] = json!({"replay": true});
    let answer = deployment(&function, "first-replayed", &first).await;
    assert_eq!(answer["outcome"], "rolledBack", "{answer}");
    let first_id = answer["id"].clone();
    assert_live(&cloud, FIRST);

    let back = json!({"rollback": "previous"});
    let answer = deployment(&function, "to-the-second", &back).await;
    assert_eq!((&answer["outcome"], &answer["id"]), (&json!("rolledBack"), &second_id), "{answer}");
    assert_live(&cloud, SECOND);

    let back = json!({"rollback": first_id});
    let answer = deployment(&function, "to-the-first", &back).await;
    assert_eq!(answer["outcome"], "rolledBack", "{answer}");
    assert_live(&cloud, FIRST);

    // The first run has sent one batch, and each of the three later ones one for the changes and one for the deletions.
    assert_eq!(unique_references(&cloud).len(), 1 + 6);
}

#[tokio::test]
async fn the_next_process_finishes_the_run_of_a_killed_one() {
    // The update puts an asset and a page, invalidates, deletes, invalidates, and ends with its third transaction.
    let points = [
        ("PutObject", 1),
        ("PutObject", 2),
        ("CreateInvalidation", 1),
        ("DeleteObjects", 1),
        ("CreateInvalidation", 2),
        ("TransactWriteItems", 3),
    ];
    for (operation, nth) in points {
        for keeps_its_id in [true, false] {
            eprintln!("kill before {operation} {nth}; same request id: {keeps_its_id}");
            kill_and_redeliver(operation, nth, keeps_its_id).await;
        }
    }
}

/// Kills a process before the `nth` call of an operation, and sends its event to another process.
async fn kill_and_redeliver(operation: &str, nth: usize, keeps_its_id: bool) {
    let cloud = cloud().await;
    let function = Function::start(BOOTSTRAP, environment(&cloud)).await;
    let first = upload(&cloud, FIRST, "site.zip", "2026-11-22T10:15:00.000Z");
    deployment(&function, "first", &first).await;
    cloud.edge(DISTRIBUTION).warm_all(URLS);

    let event = upload(&cloud, SECOND, "site.zip", "2026-11-22T10:16:00.000Z");
    {
        let gate = cloud.gate();
        let invocation = function.invoke("second", TIME_LEFT, &event);
        tokio::pin!(invocation);
        tokio::select! {
            answer = &mut invocation => panic!("the function must not answer before it is killed: {answer:?}"),
            () = let_through_before(&gate, operation, nth) => function.kill().await,
        }
        let error = invocation.await.expect_err("a killed process answers nothing");
        assert_eq!(error.error_type, "Runtime.ExitError", "{error}");
        // The killed process's waiting calls are lost, and must not take effect when the gate opens.
        cloud.kill(CLIENT);
    }
    let mut environment = environment(&cloud);
    environment.push(("AWS_ACCESS_KEY_ID".to_owned(), "redelivery".to_owned()));
    let function = Function::start(BOOTSTRAP, environment).await;
    let request_id = if keeps_its_id {
        // Lambda's retry keeps the request id, and may therefore retake the lease immediately.
        "second"
    } else {
        let error = function.invoke("duplicate", Duration::from_secs(15), &event).await.unwrap_err();
        assert_eq!(error.error_type, "Busy", "{error}");
        expire_lease(&cloud).await;
        "another"
    };
    let answer = deployment(&function, request_id, &event).await;
    assert_eq!(answer["run"], 2, "the run must be resumed: {answer}");
    assert_settled(&cloud, SECOND).await;
}

#[tokio::test]
async fn a_bucket_that_throttles_is_written_nevertheless() {
    let cloud = cloud().await;
    let names: Vec<String> = (0..40).map(|number| format!("{number}.txt")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "text")).collect();
    cloud.fault(Fault { times: 30, ..Fault::on("PutObject", Does::refuse(503, "SlowDown")) });
    let event = upload(&cloud, &files, "site.zip", "2026-11-22T10:15:00.000Z");
    let function = Function::start(BOOTSTRAP, environment(&cloud)).await;
    let answer = deployment(&function, "request-1", &event).await;
    assert_eq!(answer["new"], 40, "{answer}");
    assert_live(&cloud, &files);
    function.logged(|line| line["id"] == answer["id"]).await;
    let log = function.log();
    let plain = format!("deployed {} (site.zip, run 1): 40 new, ", answer["id"].as_str().unwrap());
    assert_eq!(log.iter().filter(|line| line.starts_with(&plain)).count(), 1, "{log:#?}");
    let warnings = log.iter().filter(|line| line.contains("asks to slow down"));
    assert!(warnings.count() >= 1, "{log:#?}");
}

#[tokio::test]
async fn one_error_names_every_wrong_variable() {
    let function = Function::start(
        BOOTSTRAP,
        [
            ("LIVE_BUCKET", "s3://not-a-name"),
            ("TABLE_NAME", TABLE),
            ("PRUNE", "some"),
            ("MAX_INVALIDATION_PATHS", "many"),
        ],
    )
    .await;
    let error = failure(&function, &json!({"rollback": "previous"})).await;
    assert_eq!(error.error_type, "BadConfig", "{error}");
    for variable in ["STAGING_BUCKET", "LIVE_BUCKET", "PRUNE", "MAX_INVALIDATION_PATHS"] {
        assert!(error.error_message.contains(variable), "{variable}: {error}");
    }
    assert!(!error.error_message.contains("TABLE_NAME"), "{error}");
}

#[tokio::test]
async fn an_unknown_event_fails_as_a_bad_event_and_the_next_one_is_served() {
    let cloud = cloud().await;
    let function = Function::start(BOOTSTRAP, environment(&cloud)).await;
    let error = failure(&function, &json!({"hello": "world"})).await;
    assert_eq!(error.error_type, "BadEvent", "{error}");
    assert!(error.error_message.contains("Records"), "{error}");

    let event = upload(&cloud, FIRST, "site.zip", "2026-11-22T10:15:00.000Z");
    deployment(&function, "request-2", &event).await;
    assert_live(&cloud, FIRST);
}

#[tokio::test]
async fn the_s3_test_event_does_nothing() {
    let cloud = cloud().await;
    let function = Function::start(BOOTSTRAP, environment(&cloud)).await;
    let event = json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2026-11-22T10:15:00.000Z",
        "Bucket": STAGING,
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "example",
    });
    function.invoke("request-1", TIME_LEFT, &event).await.expect("a test event succeeds");
    let operations: Vec<String> = cloud.calls().into_iter().map(|it| it.operation).collect();
    assert_eq!(operations, ["Query"], "the query for the metric of owed batches");
}

/// Lets calls through one by one until the `nth` call of an operation waits. S3 calls count on the live bucket only.
async fn let_through_before(gate: &Gate, operation: &str, nth: usize) {
    let mut count = 0;
    loop {
        let waiting = gate.wait_until(|waiting| !waiting.is_empty()).await;
        let next = &waiting[0];
        let is_elsewhere = next.call.bucket.as_deref().is_some_and(|it| it != LIVE);
        if next.call.operation == operation && !is_elsewhere {
            count += 1;
        }
        if count == nth {
            return;
        }
        gate.let_through(next.ticket).await;
    }
}

/// Lets the lease expire, as it does by itself five seconds after its holder's deadline.
async fn expire_lease(cloud: &Cloud) {
    let past = ago(TimeDelta::seconds(1));
    aws_sdk_dynamodb::Client::new(&cloud.sdk_config_for("clock").await)
        .update_item()
        .table_name(TABLE)
        .key("site", AttributeValue::S(LIVE.to_owned()))
        .key("item", AttributeValue::S("head".to_owned()))
        .update_expression("SET #lease.#until = :past")
        .condition_expression("attribute_exists(#lease)")
        .expression_attribute_names("#lease", "lease")
        .expression_attribute_names("#until", "until")
        .expression_attribute_values(":past", AttributeValue::S(past))
        .send()
        .await
        .expect("the head has a lease");
}

/// Returns the time this long ago, as S3 writes it.
fn ago(time: TimeDelta) -> String {
    (Utc::now() - time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Creates an account with the buckets, the table and the distribution of a stack.
async fn cloud() -> Cloud {
    let cloud = Cloud::start().await;
    cloud.create_bucket(STAGING, Versioning::On, Etags::Md5);
    cloud.create_bucket(LIVE, Versioning::Off, Etags::Md5);
    cloud.create_table(TABLE);
    cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE));
    cloud
}

/// Returns the function's environment variables.
fn environment(cloud: &Cloud) -> Vec<(String, String)> {
    let settings =
        [("STAGING_BUCKET", STAGING), ("LIVE_BUCKET", LIVE), ("TABLE_NAME", TABLE), ("DISTRIBUTION_IDS", DISTRIBUTION)];
    let mut environment = cloud.environment();
    environment.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment
}

/// Uploads an archive and returns the event that S3 sends.
fn upload(cloud: &Cloud, files: &[(&str, &str)], key: &str, event_time: &str) -> Value {
    let object = cloud.put_object(STAGING, key, zipped(files.iter().copied()), Headers::default());
    put_event(STAGING, key, &object, event_time)
}

/// Sends the event of one upload, and returns the report of its deployment.
async fn deployment(function: &Function, request_id: &str, event: &Value) -> Value {
    let answer =
        function.invoke(request_id, TIME_LEFT, event).await.unwrap_or_else(|error| panic!("{request_id}: {error}"));
    assert_eq!(answer["deployments"].as_array().map(Vec::len), Some(1), "{answer}");
    answer["deployments"][0].clone()
}

/// Sends an event that must fail, and returns the error.
async fn failure(function: &Function, event: &Value) -> InvocationError {
    function.invoke("request-1", TIME_LEFT, event).await.expect_err("the invocation must fail")
}

/// Checks that the live bucket holds these files and nothing else.
#[track_caller]
fn assert_live(cloud: &Cloud, files: &[(&str, &str)]) {
    let live = cloud.objects(LIVE);
    let live: Vec<(&str, &[u8])> = live.iter().map(|(key, object)| (key.as_str(), object.body.as_ref())).collect();
    let mut expected: Vec<(&str, &[u8])> = files.iter().map(|(key, body)| (*key, body.as_bytes())).collect();
    expected.sort_unstable();
    assert_eq!(live, expected);
}

/// Checks that these files are live, that the edge serves nothing stale, and that nothing is left to do.
async fn assert_settled(cloud: &Cloud, files: &[(&str, &str)]) {
    assert_live(cloud, files);
    assert_eq!(cloud.edge(DISTRIBUTION).stale(), [] as [String; 0]);
    unique_references(cloud);

    let environment: BTreeMap<String, String> = environment(cloud).into_iter().collect();
    let config = Config::from_variables(|name| environment.get(name).cloned()).unwrap();
    let ledger = Clients::new(&cloud.sdk_config_for("check").await, &config).ledger;
    assert_eq!(ledger.owed().await.unwrap(), []);
    let head = ledger.head().await.unwrap();
    assert_eq!((head.lease, head.unfinished), (None, Vec::new()));
}

/// Returns the caller references of all accepted invalidations, each of which must be unique.
#[track_caller]
fn unique_references(cloud: &Cloud) -> BTreeSet<String> {
    let references: Vec<String> =
        cloud.invalidations(DISTRIBUTION).into_iter().map(|invalidation| invalidation.caller_reference).collect();
    let unique: BTreeSet<String> = references.iter().cloned().collect();
    assert_eq!(unique.len(), references.len(), "{references:?}");
    unique
}
