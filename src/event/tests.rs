use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(payload: &Value) -> Result<Event, BadEvent> {
    Event::parse(payload, "staging")
}

fn uploads(payload: &Value) -> Vec<Upload> {
    match parse(payload).unwrap() {
        Event::Uploads { uploads, .. } => uploads,
        other => panic!("uploads were expected: {other:?}"),
    }
}

fn options(payload: &Value) -> Options {
    match parse(payload).unwrap() {
        Event::Test => panic!("a test event has no options"),
        event => event.options(),
    }
}

fn refusal(payload: &Value) -> String {
    parse(payload).unwrap_err().to_string()
}

/// Returns a minimal record, as a person would write it.
fn record(key: &str) -> Value {
    json!({"s3": {"bucket": {"name": "staging"}, "object": {"key": key}}})
}

fn record_of(key: &str, time: &str, sequencer: &str) -> Value {
    let mut record = record(key);
    record["eventTime"] = time.into();
    record["s3"]["object"]["sequencer"] = sequencer.into();
    record
}

fn event_bridge(key: &str) -> Value {
    json!({
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-11-22T10:15:00Z",
        "detail": {"bucket": {"name": "staging"}, "object": {"key": key}},
    })
}

/// Returns an event whose only record has one field replaced.
fn record_with(pointer: &str, value: Value) -> Value {
    let mut record = json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventTime": null,
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": "staging"},
            "object": {"key": "a.zip", "size": 1, "versionId": null, "eTag": null, "sequencer": null},
        },
    });
    *record.pointer_mut(pointer).unwrap() = value;
    json!({ "Records": [record] })
}

#[test]
fn bucket_and_key_are_enough() {
    let event = json!({"Records": [record("a.zip")]});
    assert_eq!(
        uploads(&event),
        [Upload {
            bucket: "staging".to_owned(),
            key: "a.zip".to_owned(),
            version_id: None,
            etag: None,
            sequencer: None,
            uploaded_at: None,
            event: event.clone(),
        }]
    );
}

#[test]
fn every_minor_version_and_unknown_fields_are_read() {
    for version in ["2.0", "2.1", "2.3", "2.6", "2.17", "2"] {
        let mut event = record_with("/eventVersion", version.into());
        event["Records"][0]["s3"]["object"]["annotations"] = json!({"new": [1]});
        event["Records"][0]["lifecycleEventData"] = json!({"new": true});
        event["somethingElse"] = json!(1);
        assert_eq!(uploads(&event).len(), 1, "{version}");
    }
}

#[test]
fn every_way_of_creating_an_object_is_an_upload() {
    for name in [
        "ObjectCreated:Put",
        "ObjectCreated:Post",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
        "s3:ObjectCreated:Put",
    ] {
        assert_eq!(uploads(&record_with("/eventName", name.into())).len(), 1, "{name}");
    }
}

#[test]
fn an_empty_or_null_version_id_counts_as_none() {
    for version in [json!(null), json!(""), json!("null")] {
        let event = record_with("/s3/object/versionId", version);
        assert_eq!(uploads(&event)[0].version_id, None);
    }
    let event = record_with("/s3/object/versionId", "v1".into());
    assert_eq!(uploads(&event)[0].version_id.as_deref(), Some("v1"));
}

#[test]
fn an_etag_loses_its_quotes() {
    let event = record_with("/s3/object/eTag", "\"abc-2\"".into());
    assert_eq!(uploads(&event)[0].etag.as_deref(), Some("abc-2"));
}

#[test]
fn a_key_is_decoded_in_a_notification_and_not_in_eventbridge() {
    let event = json!({"Records": [record("red+flower%2B%28caf%C3%A9%29.zip")]});
    assert_eq!(uploads(&event)[0].key, "red flower+(café).zip");
    assert_eq!(uploads(&event_bridge("a+b%20c.zip"))[0].key, "a+b%20c.zip");
}

#[test]
fn records_are_sorted_by_upload_time_and_those_without_come_last() {
    let event = json!({"Records": [
        record("by-hand.zip"),
        record_of("b.zip", "2026-11-22T10:15:02.000Z", "01"),
        record_of("a.zip", "2026-11-22T10:15:01.500Z", "FF"),
        record_of("c.zip", "2026-11-22T12:15:01.000+02:00", "02"),
    ]});
    let keys: Vec<String> = uploads(&event).into_iter().map(|upload| upload.key).collect();
    assert_eq!(keys, ["c.zip", "a.zip", "b.zip", "by-hand.zip"]);
}

#[test]
fn the_sequencer_orders_uploads_of_one_key_within_a_millisecond() {
    let time = "2026-11-22T10:15:00.000Z";
    let sequencers = ["0055AED6", "0055AED601", "0055aed7", "0055AED700A"];
    for (first, second) in [(0, 1), (1, 0), (2, 3), (3, 2), (0, 3), (3, 0)] {
        let event = json!({"Records": [
            record_of("a.zip", time, sequencers[first]),
            record_of("a.zip", time, sequencers[second]),
        ]});
        let found: Vec<String> = uploads(&event).into_iter().filter_map(|upload| upload.sequencer).collect();
        let older = sequencers[first.min(second)];
        assert_eq!(found, [older, sequencers[first.max(second)]]);
    }
}

#[test]
fn an_upload_with_several_records_counts_once() {
    let time = "2026-11-22T10:15:00.000Z";
    let mut versioned = record_of("a.zip", time, "01");
    versioned["s3"]["object"]["versionId"] = "v1".into();
    let mut later = versioned.clone();
    later["eventTime"] = "2026-11-22T10:15:09.000Z".into();
    let mut other_version = versioned.clone();
    other_version["s3"]["object"]["versionId"] = "v2".into();
    let event = json!({"Records": [
        later, versioned, other_version, versioned,
        record_of("b.zip", time, "01"), record_of("b.zip", time, "01"), record_of("b.zip", time, "02"),
    ]});
    let found: Vec<_> = uploads(&event)
        .into_iter()
        .map(|upload| (upload.key, upload.version_id, upload.sequencer, upload.uploaded_at))
        .map(|(key, version, sequencer, at)| {
            format!("{key} {version:?} {sequencer:?} {}", at.unwrap().timestamp() % 10)
        })
        .collect();
    assert_eq!(
        found,
        [
            r#"a.zip Some("v1") Some("01") 0"#,
            r#"a.zip Some("v2") Some("01") 0"#,
            r#"b.zip None Some("01") 0"#,
            r#"b.zip None Some("02") 0"#,
        ]
    );
}

#[test]
fn a_stored_event_has_one_upload_and_no_options() {
    let mut several = json!({"Records": [
        record_of("a+b.zip", "2026-11-22T10:15:00.000Z", "01"),
        record_of("c.zip", "2026-11-22T10:15:01.000Z", "02"),
    ]});
    several["options"] = json!({"replay": true, "dryRun": true});
    let mut from_event_bridge = event_bridge("a+b.zip");
    from_event_bridge["options"] = json!({"replay": true});
    for event in [several, from_event_bridge] {
        for upload in uploads(&event) {
            assert_eq!(options(&upload.event), Options::default());
            assert_eq!(uploads(&upload.event.clone()), [upload]);
        }
    }
}

#[test]
fn every_envelope_may_carry_options() {
    let expected = Options { replay: true, dry_run: true, allow_large_delete: true };
    for mut event in [
        json!({"Records": [record("a.zip")]}),
        event_bridge("a.zip"),
        json!({"rollback": "previous"}),
        json!({"requestPayload": {"Records": [record("a.zip")]}}),
    ] {
        event["options"] = json!({"replay": true, "dryRun": true, "allowLargeDelete": true});
        assert_eq!(options(&event), expected, "{event}");
    }
    assert_eq!(options(&json!({"rollback": "previous", "options": null})), Options::default());
}

#[test]
fn the_options_of_a_failure_record_override_those_inside_it() {
    let event = json!({
        "options": {"dryRun": false},
        "requestPayload": {
            "options": {"replay": true, "dryRun": true},
            "Records": [record("a.zip")],
        },
    });
    assert_eq!(options(&event), Options::default(), "an event in a failure record is no replay");
    let event = json!({
        "options": {"replay": true},
        "requestPayload": {"options": {"dryRun": true}, "Records": [record("a.zip")]},
    });
    assert_eq!(options(&event), Options { replay: true, dry_run: true, ..Options::default() });
}

#[test]
fn a_failure_record_is_unwrapped_whether_a_queue_or_an_event_bus_delivered_it() {
    let event = json!({"Records": [record("a.zip")]});
    let record = json!({"version": "1.0", "requestPayload": event, "responsePayload": null});
    let by_event_bus = json!({"source": "lambda", "detail": record});
    let failed_twice = json!({"requestPayload": by_event_bus});
    for wrapped in [&record, &by_event_bus, &failed_twice] {
        assert_eq!(uploads(wrapped), uploads(&event), "{wrapped}");
    }
    assert_eq!(uploads(&record)[0].event, event);
}

#[test]
fn a_rollback_goes_to_the_previous_deployment_or_to_an_id() {
    let to = |value: Value| match parse(&json!({ "rollback": value })) {
        Ok(Event::Rollback { to, .. }) => to,
        other => panic!("a rollback was expected: {other:?}"),
    };
    assert_eq!(to(json!("previous")), Rollback::Previous);
    let id = "20261122T101500Z-9f86d081884c";
    assert_eq!(to(json!(id)), Rollback::To(id.to_owned()));
}

#[test]
fn a_rollback_of_a_preview_names_it_before_the_target() {
    let of = |target: &str| match parse(&json!({ "rollback": target })) {
        Ok(Event::Rollback { of, to, .. }) => (of.map(|name| name.to_string()), to),
        other => panic!("a rollback was expected: {other:?}"),
    };
    assert_eq!(of("previews/pr-7/previous"), (Some("pr-7".to_owned()), Rollback::Previous));
    let id = "20261122T101500Z-3fb1c65a90d2";
    assert_eq!(of(&format!("previews/pr-7/{id}")), (Some("pr-7".to_owned()), Rollback::To(id.to_owned())));
    for wrong in ["pr-7/previous", "previews/previous", "previews/PR/previous", "previews/a/", "previews/a/b/previous"]
    {
        assert!(parse(&json!({ "rollback": wrong })).is_err(), "{wrong}");
    }
}

#[test]
fn a_removal_names_a_preview_and_is_refused_in_a_failure_record_unless_it_is_said_again() {
    let removal = json!({"remove": "previews/pr-7"});
    assert!(matches!(parse(&removal), Ok(Event::Remove { preview, .. }) if preview.as_str() == "pr-7"));
    for wrong in ["", "pr-7", "previews/", "previews/PR", "previews/a/b", "previews/a/"] {
        assert!(parse(&json!({ "remove": wrong })).is_err(), "{wrong}");
    }
    assert_snapshot!(refusal(&json!({"remove": true})), @r#"`remove` of the event is true; it must be "previews/<name>", in which the name is a DNS label (lower-case letters, digits and hyphens)"#);
    let failed = json!({"requestPayload": removal});
    assert!(matches!(parse(&failed), Err(BadEvent::RemovalNotMeant)));
    let said_again = json!({"requestPayload": removal, "options": {"replay": true}});
    assert!(matches!(parse(&said_again), Ok(Event::Remove { .. })));
}

#[test]
fn a_rollback_in_a_failure_record_is_refused_unless_it_is_said_again() {
    let failed = json!({"requestPayload": {"rollback": "previous", "options": {"replay": true}}});
    let by_event_bus = json!({"source": "lambda", "detail": failed});
    for event in [&failed, &by_event_bus, &json!({"requestPayload": by_event_bus})] {
        assert!(matches!(parse(event), Err(BadEvent::RollbackNotMeant)), "{event}");
    }
    let mut said_again = failed.clone();
    said_again["options"] = json!({"replay": true});
    assert!(matches!(parse(&said_again), Ok(Event::Rollback { to: Rollback::Previous, .. })));
    let plain = json!({"rollback": "previous", "options": {"replay": false}});
    assert!(matches!(parse(&plain), Ok(Event::Rollback { .. })), "a rollback needs no option");
}

#[test]
fn only_true_asks_for_a_sweep_also_inside_a_failure_record() {
    let event = json!({"sweep": true, "options": {"dryRun": true}});
    let failed = json!({"requestPayload": event, "options": {"dryRun": false}});
    for (event, dry_run) in [(event, true), (failed, false)] {
        let options = Options { dry_run, ..Options::default() };
        assert_eq!(parse(&event).unwrap(), Event::Sweep { options });
    }
    for value in [json!(false), json!("true"), json!({})] {
        assert!(refusal(&json!({"sweep": value})).contains("it must be true"));
    }
}

#[test]
fn a_test_event_is_recognised_also_inside_a_failure_record() {
    let event = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "other"});
    assert_eq!(parse(&event).unwrap(), Event::Test);
    assert_eq!(parse(&json!({"requestPayload": event})).unwrap(), Event::Test);
}

#[test]
fn other_payloads_are_refused() {
    let by_sqs = json!({"Records": [{"eventSource": "aws:sqs", "body": "{}"}]});
    let by_sns = json!({"Records": [{"EventSource": "aws:sns", "Sns": {}}]});
    let mut other_bus = event_bridge("a.zip");
    other_bus["source"] = "aws.ec2".into();
    let both = json!({"rollback": "previous", "Records": [record("a.zip")]});
    let refusals = [
        json!({}),
        json!([1]),
        both,
        json!({"Records": []}),
        json!({"Records": [null]}),
        json!({"Records": [{"s3": {"bucket": {}, "object": {"key": "a.zip"}}}]}),
        json!({"Records": [record("")]}),
        json!({"detail": {"bucket": {"name": "staging"}, "object": {}}}),
        by_sqs,
        by_sns,
        other_bus,
        json!({"rollback": true}),
        json!({"rollback": " "}),
    ]
    .map(|event| refusal(&event))
    .join("\n");
    assert_snapshot!(refusals, @r#"
    the event has none of `Records`, `detail`, `remove`, `requestPayload`, `rollback` and `sweep`; send an S3 notification, an EventBridge event, a failure record from Lambda, `{"rollback":"previous"}`, `{"rollback":"<deployment id>"}`, `{"remove":"previews/<name>"}` or `{"sweep":true}`
    the event has none of `Records`, `detail`, `remove`, `requestPayload`, `rollback` and `sweep`; send an S3 notification, an EventBridge event, a failure record from Lambda, `{"rollback":"previous"}`, `{"rollback":"<deployment id>"}`, `{"remove":"previews/<name>"}` or `{"sweep":true}`
    the event has both `Records` and `rollback`; send two events instead
    `Records` of the event is []; it must be a list of at least one record
    could not read `Records[0].s3` of the event (invalid type: null, expected struct S3Entity); it needs at least a bucket's `name` and an object's `key`, as S3 sends them
    `Records[0].s3.bucket.name` of the event is null; it must be a text that is not empty
    `Records[0].s3.object.key` of the event is ""; it must be a text that is not empty
    could not read `detail` of the event (missing field `key`); it needs at least a bucket's `name` and an object's `key`, as S3 sends them
    `Records[0].eventSource` of the event is `aws:sqs`, not S3; send only the S3 event that is inside it
    `Records[0].EventSource` of the event is `aws:sns`, not S3; send only the S3 event that is inside it
    `source` of the event is `aws.ec2`, not S3; send only the S3 event that is inside it
    `rollback` of the event is true; it must be "previous" or a deployment's id; for a preview, "previews/<name>/previous" or "previews/<name>/<deployment id>"
    `rollback` of the event is " "; it must be "previous" or a deployment's id; for a preview, "previews/<name>/previous" or "previews/<name>/<deployment id>"
    "#);
}

#[test]
fn anything_but_an_upload_to_the_staging_bucket_is_refused() {
    let mut deleted = event_bridge("a.zip");
    deleted["detail-type"] = "Object Deleted".into();
    let refusals = [
        record_with("/eventName", "ObjectRemoved:Delete".into()),
        record_with("/eventName", "ObjectRestore:Completed".into()),
        deleted,
        record_with("/eventVersion", "3.0".into()),
        record_with("/eventVersion", json!(2)),
        record_with("/eventTime", "yesterday".into()),
        record_with("/s3/object/key", "caf%E9.zip".into()),
        record_with("/s3/bucket/name", "live".into()),
        record_with("/s3/object/key", ".dropship/site/manifest".into()),
        record_with("/s3/object/key", "%2Edropship%2Fx.zip".into()),
    ]
    .map(|event| refusal(&event))
    .join("\n");
    assert_snapshot!(refusals, @r#"
    `Records[0].eventName` of the event is `ObjectRemoved:Delete`, which is not an upload; only `s3:ObjectCreated:*` (in EventBridge `Object Created`) should start this function
    `Records[0].eventName` of the event is `ObjectRestore:Completed`, which is not an upload; only `s3:ObjectCreated:*` (in EventBridge `Object Created`) should start this function
    `detail-type` of the event is `Object Deleted`, which is not an upload; only `s3:ObjectCreated:*` (in EventBridge `Object Created`) should start this function
    `Records[0].eventVersion` of the event is `3.0`; this release of dropship reads version 2
    `Records[0].eventVersion` of the event is 2; it must be a text
    `Records[0].eventTime` of the event is "yesterday"; it must be a time such as 2026-11-22T10:15:00.000Z
    the key `caf%E9.zip` does not decode to UTF-8; keys in `Records` are form-encoded, with `+` for a space and `%2B` for a plus sign
    the archive `a.zip` is in the bucket `live`, but this stack deploys from `staging` (the output StagingBucketName, STAGING_BUCKET); upload it there, or send the event to the stack of that bucket
    `.dropship/site/manifest` is in `.dropship/`, which holds dropship's own objects; upload archives to another folder, and restrict the notification to that one
    `.dropship/x.zip` is in `.dropship/`, which holds dropship's own objects; upload archives to another folder, and restrict the notification to that one
    "#);
}

#[test]
fn one_bad_record_refuses_the_event() {
    let mut foreign = record("a.zip");
    foreign["s3"]["bucket"]["name"] = "live".into();
    let event = json!({"Records": [record("a.zip"), foreign]});
    assert!(matches!(parse(&event), Err(BadEvent::ForeignBucket { .. })));
}

#[test]
fn unknown_and_invalid_options_are_refused() {
    let refusals = [json!({"dryrun": true}), json!({"replay": "true"}), json!({"replay": null}), json!(["replay"])]
        .map(|options| refusal(&json!({"rollback": "previous", "options": options})))
        .join("\n");
    assert_snapshot!(refusals, @r#"
    unknown option `dryrun`; the options are `replay`, `dryRun` and `allowLargeDelete`
    `options.replay` of the event is "true"; it must be true or false
    `options.replay` of the event is null; it must be true or false
    `options` of the event is ["replay"]; it must be an object such as {"replay":true}
    "#);
}

proptest! {
    #[test]
    fn the_upload_order_does_not_depend_on_the_order_of_the_records(
        mut records in prop::collection::vec(("[ab]", 0..3, "[0A]{0,3}", "[vw]?"), 1..6),
    ) {
        let event = |records: &[(String, i32, String, String)]| {
            let records: Vec<Value> = records
                .iter()
                .map(|(key, second, sequencer, version)| {
                    let time = format!("2026-11-22T10:15:0{second}Z");
                    let mut record = record_of(key, &time, sequencer);
                    record["s3"]["object"]["versionId"] = version.as_str().into();
                    record
                })
                .collect();
            json!({ "Records": records })
        };
        // Uploads that compare as equal may come in either order.
        let ordered = |uploads: Vec<Upload>| -> Vec<_> {
            uploads.into_iter().map(|upload| (upload.uploaded_at, upload.key)).collect()
        };
        let forward = ordered(uploads(&event(&records)));
        records.reverse();
        prop_assert_eq!(ordered(uploads(&event(&records))), forward);
    }

    #[test]
    fn no_event_makes_the_parser_panic(event in json_like()) {
        let _ = parse(&event);
    }
}

/// Generates events in which any part may have any type.
fn json_like() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        "(staging|a\\.zip|%2|2\\.1|previous|aws:s3)".prop_map(Value::from),
    ];
    let name = "(Records|s3|bucket|name|object|key|detail|requestPayload|options|rollback|eventTime)";
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}
