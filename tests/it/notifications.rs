//! The stack tells people about results: the template's rules, applied to what the function answers.

use chrono::TimeDelta;
use dropship::handler::Handled;
use dropship::preview::PreviewName;
use dropship::report::{Answer, Failed, Outcome, Report};
use serde_json::{Value, json};

use crate::build::files;
use crate::cloudformation::{Template, array, object};
use crate::stage::Stage;

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:site";

fn template(parameters: &[(&str, &str)]) -> Template {
    Template::with(&[&[("CreateSite", "true")], parameters].concat())
}

/// Returns the result that Lambda sends to EventBridge (Developer Guide, "Capturing records of Lambda asynchronous
/// invocations").
fn result_of(event: &Value, handled: Handled) -> Value {
    let (condition, kind, response) = match handled.into_answer() {
        Ok(answer) => ("Success", "Success", serde_json::to_value(answer).unwrap()),
        Err(failure) => (
            "RetriesExhausted",
            "Failure",
            json!({"errorType": failure.error_type, "errorMessage": failure.error_message}),
        ),
    };
    let context =
        json!({"functionArn": "arn:of:Function:$LATEST", "condition": condition, "approximateInvokeCount": 3});
    json!({
        "source": "lambda",
        "detail-type": format!("Lambda Function Invocation Result - {kind}"),
        "detail": {"requestContext": context, "requestPayload": event, "responsePayload": response}
    })
}

/// Whether some of these values match a pattern (EventBridge User Guide, "Creating event patterns"; "Arrays": a pattern
/// matches if it does so for any element).
fn matches(pattern: &Value, values: &[&Value]) -> bool {
    match pattern {
        Value::Object(members) => members.iter().all(|(name, pattern)| {
            let inner = values.iter().filter_map(|value| value.get(name)).flat_map(|value| match value {
                Value::Array(elements) => elements.iter().collect(),
                one => vec![one],
            });
            matches(pattern, &inner.collect::<Vec<_>>())
        }),
        Value::Array(rules) => rules.iter().any(|rule| match rule {
            Value::Object(rule) => {
                let prefix = rule["prefix"].as_str().expect("no other rule is in use");
                values.iter().any(|value| value.as_str().is_some_and(|text| text.starts_with(prefix)))
            }
            literal => values.contains(&literal),
        }),
        other => panic!("{other} is no pattern"),
    }
}

/// Returns the text of each target that a result reaches.
fn told(template: &Template, result: &Value) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for rule in ["SuccessRule", "FailureRule"] {
        let rule = &template.resource(rule)["Properties"];
        if !matches(&rule["EventPattern"], &[result]) {
            continue;
        }
        for target in array(&rule["Targets"]) {
            let transformer = &target["InputTransformer"];
            let mut text = transformer["InputTemplate"].as_str().unwrap().to_owned();
            for (variable, path) in object(&transformer["InputPathsMap"]) {
                let path = path.as_str().unwrap().trim_start_matches('$').replace('[', ".").replace(']', "");
                let value = result.pointer(&path.replace('.', "/")).unwrap_or(&Value::Null);
                let value = value.as_str().map_or_else(|| value.to_string().replace("null", ""), str::to_owned);
                text = text.replace(&format!("<{variable}>"), &value);
            }
            assert!(!text.contains(['<', '>']), "a variable has no path: {text}");
            told.push((target["Arn"].as_str().unwrap().to_owned(), text));
        }
    }
    told
}

#[tokio::test]
async fn people_hear_of_every_deployment_and_failure_and_of_nothing_else() {
    let template = template(&[("NotifyEmail", "web@example.com"), ("NotifyTopicArn", TOPIC)]);
    let stage = Stage::new().await;
    let old = stage.upload("1.zip", &files([("index.html", "one")]));
    let new = stage.upload("2.zip", &files([("index.html", "two")]));
    let mut dry_run = new.clone();
    dry_run["options"] = json!({"dryRun": true});
    let broken = stage.upload_bytes("3.zip", b"this is no zip".to_vec());
    let mut heard = Vec::new();
    for (name, event) in [
        ("deployed", &new),
        ("superseded", &old),
        ("deployed again", &new),
        ("planned", &dry_run),
        ("swept", &json!({"sweep": true})),
        ("ignored", &json!({"Service": "Amazon S3", "Event": "s3:TestEvent"})),
        ("rolled back", &json!({"rollback": "20000101T000000Z-000000000000"})),
        ("refused", &broken),
    ] {
        let handled = stage.invoke(name, event).await;
        let told = told(&template, &result_of(event, handled));
        assert!(told.is_empty() || told.iter().map(|(topic, _)| &**topic).eq(["NotifyTopic", TOPIC]), "{told:?}");
        heard.extend(told.into_iter().take(1).map(|(_, text)| (name, text)));
    }
    let names: Vec<_> = heard.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["deployed", "deployed again", "rolled back", "refused"]);
    let text = |index: usize| heard[index].1.as_str();
    assert!(text(0).starts_with("\"dropship: deployed 2"), "{}", text(0));
    assert!(text(0).contains("(2.zip, run 1): 1 new, 0 changed, ") && text(0).contains("; 1 item"), "{}", text(0));
    assert!(text(0).ends_with("; https://e1example.cloudfront.net/\""), "{}", text(0));
    assert!(text(1).starts_with("\"dropship: unchanged 2"), "{}", text(1));
    assert!(text(2).starts_with("\"dropship: FAILED \"\n\"BadEvent: the ledger of "), "{}", text(2));
    let refusal = text(3);
    assert!(
        refusal.starts_with("\"dropship: FAILED 3.zip\"\n\"ArchiveRejected: the archive was refused: "),
        "{refusal}"
    );
    assert!(refusal.contains("\"(RetriesExhausted after 3 attempts. "), "{refusal}");
}

#[tokio::test]
async fn a_rollback_and_an_upload_that_waited_in_vain_are_told_too() {
    let template = template(&[("NotifyTopicArn", TOPIC)]);
    let stage = Stage::new().await;
    for (name, page) in [("1.zip", "one"), ("2.zip", "two")] {
        stage.deploy(name, &stage.upload(name, &files([("index.html", page)]))).await;
    }
    let back = json!({"rollback": "previous"});
    let texts = told(&template, &result_of(&back, stage.invoke("back", &back).await));
    let [(topic, text)] = &texts[..] else { panic!("{texts:?}") };
    assert!(topic == TOPIC && text.starts_with("\"dropship: rolled back to 2"), "{text}");
    stage.pass(TimeDelta::minutes(1));

    let sweep = json!({"sweep": true});
    let mut quiet = result_of(&sweep, stage.invoke("sweep", &sweep).await);
    assert_eq!(told(&template, &quiet), []);
    let failed = |of_preview| {
        let message = "no".to_owned();
        Failed { of_preview, key: Some("4.zip".to_owned()), error_type: "LargeDelete", error_message: message }
    };
    quiet["detail"]["responsePayload"] = json!(Answer::of(&[], vec![failed(false)]));
    assert_eq!(told(&template, &quiet).len(), 1, "{quiet}");

    // Previews in the same answer neither send a notification nor suppress one.
    let preview = PreviewName::parse("pr-7");
    let of = |outcome, preview| Report { outcome, preview, ..Report::ignored("site".to_owned()) };
    let live = of(Outcome::Deployed, None);
    let removed = of(Outcome::Removed, preview.clone());
    for (reports, failures, is_told) in [
        (vec![of(Outcome::Deployed, preview), removed.clone()], vec![failed(true)], 0),
        (vec![of(Outcome::Swept, None), removed.clone()], vec![failed(true), failed(false)], 1),
        (vec![live, removed], vec![failed(true)], 1),
    ] {
        quiet["detail"]["responsePayload"] = json!(Answer::of(&reports, failures));
        assert_eq!(told(&template, &quiet).len(), is_told, "{quiet}");
    }
}

#[test]
fn results_of_other_functions_are_not_told() {
    let template = template(&[("NotifyEmail", "web@example.com")]);
    let result = |arn: &str| {
        json!({
            "source": "lambda",
            "detail-type": "Lambda Function Invocation Result - Failure",
            "detail": {"requestContext": {"functionArn": arn}}
        })
    };
    assert_eq!(told(&template, &result("arn:of:Function:$LATEST")).len(), 1, "a function that was throttled for hours");
    assert_eq!(told(&template, &result("arn:of:Function2:$LATEST")), []);
}

/// Neither policy may have a condition on the rule or the account, which EventBridge does not support here.
#[test]
fn eventbridge_may_publish_to_the_encrypted_topic_and_nobody_else_may() {
    let template = template(&[("NotifyEmail", "web@example.com")]);
    let properties = |name: &str| template.resource(name)["Properties"].clone();
    let publishes = json!({
        "Sid": "PublishResults", "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish", "Resource": "NotifyTopic"
    });
    let policy = properties("NotifyTopicPolicy");
    assert_eq!(policy["Topics"], json!(["NotifyTopic"]));
    assert_eq!(policy["PolicyDocument"]["Statement"], json!([publishes]));
    assert_eq!(properties("NotifyTopic")["KmsMasterKeyId"], "NotifyKey");
    let key = properties("NotifyKey")["KeyPolicy"]["Statement"].clone();
    let [administer, encrypt] = &array(&key)[..] else { panic!("{key}") };
    assert_eq!(administer["Principal"], json!({"AWS": "arn:aws:iam::123456789012:root"}));
    let encrypts = json!({
        "Sid": "PublishEncrypted", "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
        "Action": ["kms:GenerateDataKey*", "kms:Decrypt"], "Resource": "*"
    });
    assert_eq!(*encrypt, encrypts);
    let subscription = properties("NotifySubscription");
    assert_eq!((&subscription["Protocol"], &subscription["Endpoint"]), (&json!("email"), &json!("web@example.com")));
}

#[test]
fn a_stack_that_tells_nobody_has_nothing_for_it() {
    let all = ["NotifyKey", "NotifyTopic", "NotifySubscription", "NotifyTopicPolicy", "SuccessRule", "FailureRule"];
    let made = |parameters: &[(&str, &str)]| {
        let template = template(parameters);
        all.into_iter().filter(|name| template.has(name)).collect::<Vec<_>>()
    };
    assert_eq!(made(&[]), [""; 0]);
    assert_eq!(made(&[("NotifyTopicArn", TOPIC)]), ["SuccessRule", "FailureRule"]);
    assert_eq!(made(&[("NotifyEmail", "web@example.com")]), all);
    let statement = template(&[("NotifyTopicArn", TOPIC)]).output("NotifyTopicPolicyStatement");
    let statement: Value = serde_json::from_str(statement.as_str().unwrap()).unwrap();
    assert_eq!(statement["Resource"], TOPIC);
    for parameter in [("NotifyTopicArn", TOPIC), ("NotifyEmail", "web@example.com")] {
        let [broken] = &template(&[parameter, ("EventBusName", "none")]).broken_rules()[..] else {
            panic!("results come by a bus");
        };
        assert!(broken.contains("EventBusName"), "{broken}");
    }
}
