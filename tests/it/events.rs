//! The sample files in `events/` do what their names say.

use dropship::event::{Event, Options, Rollback, Upload};
use serde_json::Value;

const STAGING_BUCKET: &str = "example-staging";

fn parse(text: &str) -> Event {
    let payload: Value = serde_json::from_str(text).unwrap();
    Event::parse(&payload, STAGING_BUCKET).unwrap()
}

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/events/", $name))
    };
}

/// Returns the only upload of an event, and the options.
fn upload(text: &str) -> (Upload, Options) {
    match parse(text) {
        Event::Uploads { uploads, options } => match <[Upload; 1]>::try_from(uploads) {
            Ok([upload]) => (upload, options),
            Err(uploads) => panic!("expected one upload: {uploads:?}"),
        },
        other => panic!("expected an upload: {other:?}"),
    }
}

fn version_of_build_42() -> Option<String> {
    Some("L4kqtJlcpXroDTDmpUMLUo.HzwkRqvMn".to_owned())
}

#[test]
fn put_is_an_upload_with_its_key_decoded() {
    let (upload, options) = upload(sample!("put.json"));
    assert_eq!(upload.bucket, STAGING_BUCKET);
    assert_eq!(upload.key, "uploads/site build 42.zip");
    assert_eq!(upload.version_id, version_of_build_42());
    assert_eq!(upload.etag.as_deref(), Some("6f5902ac237024bdd0c176cb93063dc4"));
    assert_eq!(upload.sequencer.as_deref(), Some("0055AED6DCD90281E5"));
    let uploaded_at = upload.uploaded_at.unwrap();
    assert_eq!(uploaded_at.to_rfc3339(), "2026-11-22T10:15:00.318+00:00");
    assert_eq!(options, Options::default());
}

#[test]
fn put_overwritten_version_names_the_exact_version() {
    let (upload, options) = upload(sample!("put-overwritten-version.json"));
    assert_eq!(upload.key, "uploads/site.zip");
    assert_eq!(upload.version_id.as_deref(), Some("096fKKXTRTtl3on89fVO.nfljtsv6qko"));
    assert_eq!(options, Options::default());
}

#[test]
fn eventbridge_describes_the_same_upload_as_put() {
    let (from_s3, _) = upload(sample!("put.json"));
    let (from_event_bridge, options) = upload(sample!("eventbridge.json"));
    assert_eq!(from_event_bridge.bucket, from_s3.bucket);
    assert_eq!(from_event_bridge.key, from_s3.key);
    assert_eq!(from_event_bridge.version_id, from_s3.version_id);
    assert_eq!(from_event_bridge.etag, from_s3.etag);
    assert_eq!(from_event_bridge.sequencer, from_s3.sequencer);
    // EventBridge sends the time in whole seconds.
    assert_eq!(from_event_bridge.uploaded_at.unwrap().timestamp(), from_s3.uploaded_at.unwrap().timestamp());
    assert_eq!(options, Options::default());
}

#[test]
fn test_event_requests_nothing() {
    assert_eq!(parse(sample!("test-event.json")), Event::Test);
}

#[test]
fn replay_is_the_saved_event_with_an_option() {
    let (saved, _) = upload(sample!("put-overwritten-version.json"));
    let (replayed, options) = upload(sample!("replay.json"));
    assert_eq!(replayed, saved);
    assert_eq!(options, Options { replay: true, ..Options::default() });
}

#[test]
fn rollback_previous_goes_to_the_previous_deployment() {
    assert_eq!(
        parse(sample!("rollback-previous.json")),
        Event::Rollback { of: None, to: Rollback::Previous, options: Options::default() }
    );
}

#[test]
fn remove_takes_a_preview_away() {
    let Event::Remove { preview, options } = parse(sample!("remove.json")) else { panic!("expected a removal") };
    assert_eq!((preview.as_str(), options), ("pr-7", Options::default()));
}

#[test]
fn rollback_deployment_goes_to_the_named_deployment() {
    assert_eq!(
        parse(sample!("rollback-deployment.json")),
        Event::Rollback {
            of: None,
            to: Rollback::To("20261121T160241Z-9f86d081884c".to_owned()),
            options: Options::default()
        }
    );
}

#[test]
fn dry_run_is_handwritten_and_omits_what_the_function_looks_up() {
    let (upload, options) = upload(sample!("dry-run.json"));
    assert_eq!(upload.key, "uploads/site build 42.zip");
    assert_eq!((upload.version_id, upload.etag, upload.uploaded_at), (None, None, None));
    assert_eq!(options, Options { dry_run: true, ..Options::default() });
}

#[test]
fn failure_destination_contains_the_failed_event() {
    assert_eq!(upload(sample!("failure-destination.json")), upload(sample!("put.json")));
}

#[test]
fn every_sample_is_read_by_a_test() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
    let this_file = include_str!("events.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        assert!(this_file.contains(&format!("sample!(\"{name}\")")), "no test reads events/{name}");
    }
}

#[test]
fn sweep_requests_no_deployment() {
    let options = Options::default();
    assert_eq!(parse(sample!("sweep.json")), Event::Sweep { options });
}
