//! Folders that are zipped and uploaded at the same time.

use std::fs::{self, File};
use std::future::pending;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use dropship::aws::operator::{LocalArchive, Operator, Written};
use dropship::config::Config;
use standins::{Does, Fault, Gate};
use tokio::sync::{mpsc, watch};

use super::desk::{Desk, STACK, Said};
use crate::build::{Files, files, noise, unzipped};
use crate::stage::{LIVE, STAGING, Stage};

const MIB: usize = 1 << 20;

/// A build whose zip has three parts and a short one.
fn large() -> Files {
    let mut site = files([("index.html", "one")]);
    site.insert("a.png".to_owned(), noise(25 * MIB, 1));
    site
}

/// The operations of all calls that change the staging bucket.
fn writes(stage: &Stage) -> Vec<String> {
    let calls = stage.cloud.calls().into_iter().filter(|call| call.bucket.as_deref() == Some(STAGING));
    calls.map(|call| call.operation).filter(|operation| !["HeadObject", "GetObject"].contains(&&**operation)).collect()
}

fn assert_empty(stage: &Stage) {
    assert!(stage.cloud.objects(STAGING).is_empty());
    assert_eq!(stage.cloud.multipart_uploads(STAGING).len(), 0);
}

async fn operator(stage: &Stage) -> Operator {
    let config = Config::from_variables(|name| stage.variables().get(name).cloned()).unwrap();
    Operator::new(&stage.cloud.sdk_config_for("operator").await, &config)
}

fn growing<'a>(path: &'a Path, written: &watch::Sender<Written>) -> LocalArchive<'a> {
    LocalArchive { path, digest: "0123", max_bytes: 64 << 20, written: written.subscribe() }
}

#[tokio::test]
async fn parts_are_uploaded_while_the_rest_is_still_being_written() {
    let stage = Stage::new().await;
    let operator = operator(&stage).await;
    let archive = noise(25 * MIB, 1);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&archive[..20 * MIB]).unwrap();
    let written = watch::Sender::new(Written::UpTo(20 << 20));
    let (sent, mut arrived) = mpsc::unbounded_channel();
    let path = file.path().to_owned();
    let sent = move |bytes| sent.send(bytes).unwrap();
    let uploading = operator.upload((STAGING, "a.zip"), growing(&path, &written), None, &sent, pending());
    let writing = async {
        assert_eq!((arrived.recv().await, arrived.recv().await), (Some(8 << 20), Some(8 << 20)));
        assert!(stage.cloud.objects(STAGING).is_empty());
        file.write_all(&archive[20 * MIB..]).unwrap();
        written.send_replace(Written::Whole(25 << 20));
    };
    let (uploaded, ()) = tokio::join!(uploading, writing);
    let uploaded = uploaded.unwrap().unwrap();
    let object = stage.cloud.object(STAGING, "a.zip").unwrap();
    assert!(object.body == archive, "the object has other bytes");
    assert_eq!(uploaded.version_id, object.version_id);
    assert_eq!(stage.count("UploadPart"), 4);
    let newest = operator.newest(STAGING, "a.zip").await.unwrap().unwrap();
    assert_eq!((newest.version_id, newest.digest.as_deref()), (object.version_id, Some("0123")));
}

#[tokio::test]
async fn an_archive_that_is_withdrawn_leaves_nothing() {
    let stage = Stage::new().await;
    let operator = operator(&stage).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&noise(20 * MIB, 1)).unwrap();
    for (bytes, parts) in [(0, 0), (16 << 20, 0), (20 << 20, 2)] {
        let written = watch::Sender::new(Written::UpTo(bytes));
        let (sent, mut arrived) = mpsc::unbounded_channel();
        let sent = move |bytes| sent.send(bytes).unwrap();
        let uploading = operator.upload((STAGING, "a.zip"), growing(file.path(), &written), None, &sent, pending());
        let withdrawing = async move {
            for _ in 0..parts {
                arrived.recv().await;
            }
            drop(written);
        };
        let (uploaded, ()) = tokio::join!(uploading, withdrawing);
        assert!(uploaded.unwrap().is_none());
        assert_eq!(stage.count("UploadPart"), parts);
        assert_empty(&stage);
    }
}

#[tokio::test]
async fn equal_folders_become_equal_bytes_whatever_their_files_sizes() {
    let desk = Desk::new().await;
    let mut site = files([("index.html", "one"), ("größe/ä.txt", "text"), ("empty.txt", "")]);
    site.insert("a/9.png".to_owned(), noise(9 * MIB, 1));
    site.insert("b/17.png".to_owned(), noise(17 * MIB, 2));
    site.insert("c/17.txt".to_owned(), noise(4 * MIB, 3).iter().flat_map(|byte| [*byte, 0, 1, 2, 3]).collect());
    let mut bodies = Vec::new();
    for name in ["1.zip", "2.zip"] {
        desk.write(&site);
        let said = desk.run(&["push", "site", "--no-wait", "--name", name]).await;
        assert_eq!(said.code, 0, "{said:?}");
        bodies.push(desk.stage.cloud.object(STAGING, &format!("uploads/{name}")).unwrap().body);
    }
    assert!(bodies[0] == bodies[1], "the zips differ");
    assert!(unzipped(&bodies[0]) == site, "the zip has other files");
    assert!(bodies[0].len() < 48 * MIB, "{}", bodies[0].len());
}

#[tokio::test]
async fn names_and_rules_that_are_refused_cost_no_write() {
    for (name, contents, words) in
        [("b\\c.txt", "text", "`b\\c.txt`"), ("_headers", "no path\n", "_headers"), ("d\u{1b}.txt", "", "d\\u001b.txt")]
    {
        let desk = Desk::new().await;
        let mut site = large();
        site.insert(name.to_owned(), contents.into());
        desk.write(&site);
        let said = desk.run(&["push", "site"]).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.starts_with("error: site: the archive was refused: ") && said.err.contains(words), "{said:?}");
        assert_eq!(writes(&desk.stage), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn an_archive_that_is_refused_as_a_whole_is_withdrawn() {
    let desk = Desk::over(Stage::new().await.with("MAX_RATIO", "40"));
    let mut site = large();
    site.insert("z.txt".to_owned(), vec![0; 2 * MIB]);
    desk.write(&site);
    let said = desk.run(&["push", "site"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("error: site: the archive was refused: ") && said.err.contains("z.txt"), "{said:?}");
    let writes = writes(&desk.stage);
    assert_eq!(writes.first().map(String::as_str), Some("CreateMultipartUpload"), "{writes:?}");
    assert_eq!(writes.last().map(String::as_str), Some("AbortMultipartUpload"), "{writes:?}");
    assert_empty(&desk.stage);
}

#[tokio::test]
async fn a_folder_that_is_live_costs_three_requests_and_no_write() {
    let desk = Desk::new().await;
    desk.write(&large());
    assert_eq!(desk.run(&["push", "site"]).await.code, 0);
    desk.stage.cloud.clear_calls();
    desk.write(&large());
    let said = desk.run(&["push", "site"]).await;
    assert!(said.code == 0 && said.out.starts_with("unchanged  "), "{said:?}");
    assert_eq!(said.err, "");
    let operations: Vec<String> = desk.stage.cloud.calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(operations, ["GetFunctionConfiguration", "HeadObject", "TransactGetItems"]);
}

#[tokio::test]
async fn whichever_request_of_an_upload_fails_nothing_remains_and_the_failure_is_told() {
    let requests = [("CreateMultipartUpload", 1), ("UploadPart", 1), ("UploadPart", 4), ("CompleteMultipartUpload", 1)];
    for (operation, first) in requests {
        let desk = Desk::new().await;
        desk.write(&large());
        desk.stage.cloud.fault(Fault { first, ..Fault::on(operation, Does::refuse(403, "AccessDenied")) });
        let said = desk.run(&["push", "site"]).await;
        assert_eq!(said.code, 1, "{operation} {first}: {said:?}");
        assert!(said.err.contains("of uploads/site.zip failed: AccessDenied"), "{operation} {first}: {said:?}");
        assert!(!said.err.contains("panicked") && !said.err.contains("ZipWriter"), "{said:?}");
        assert_empty(&desk.stage);
        // Nothing is in the way of the next push.
        assert_eq!(desk.run(&["push", "site"]).await.code, 0);
        assert_eq!(desk.stage.cloud.object(LIVE, "a.png").unwrap().body.len(), 25 * MIB);
    }
}

#[tokio::test]
async fn a_file_that_changes_before_it_is_zipped_ends_the_push() {
    let changes: [fn(&Path); 3] = [
        |file| fs::write(file, "two").unwrap(),
        |file| File::options().append(true).open(file).unwrap().write_all(b"more").unwrap(),
        |file| fs::remove_file(file).unwrap(),
    ];
    for change in changes {
        let desk = Desk::new().await;
        let mut site = large();
        site.insert("z.html".to_owned(), b"one".to_vec());
        desk.write(&site);
        let gate = desk.stage.cloud.gate();
        let pushing = desk.command(&["push", "site", "--stack", STACK]).output();
        let changing = async {
            // The folder's digest is known when the newest upload is looked up.
            let_through_until(&gate, "HeadObject").await;
            change(&desk.path().join("site/z.html"));
            drop(gate);
        };
        let (pushed, ()) = tokio::join!(pushing, changing);
        let said = Said::from(pushed.unwrap());
        assert_eq!(said.code, 1, "{said:?}");
        let is_clear = said.err.contains("changed while it was being pushed") || said.err.contains("No such file");
        assert!(is_clear && said.err.contains("z.html"), "{said:?}");
        assert_empty(&desk.stage);
    }
}

#[tokio::test]
async fn ctrl_c_while_an_archive_is_uploaded_leaves_nothing_in_the_bucket_and_on_this_machine() {
    let desk = Desk::new().await;
    desk.write(&large());
    let temporary = desk.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let gate = desk.stage.cloud.gate();
    let mut command = desk.command(&["push", "site", "--stack", STACK]);
    let child = command.env("TMPDIR", &temporary).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id().unwrap().to_string();
    let interrupting = async {
        let_through_until(&gate, "UploadPart").await;
        tokio::process::Command::new("kill").args(["-INT", &id]).status().await.unwrap();
        gate.wait_until(|waiting| waiting.iter().any(|it| it.call.operation == "AbortMultipartUpload")).await;
        drop(gate);
        pending().await
    };
    let output = tokio::select! {
        output = child.wait_with_output() => output.unwrap(),
        never = interrupting => never,
    };
    let said = Said::from(output);
    assert!(said.code == 1 && said.err.contains("error: site was not uploaded"), "{said:?}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    assert!(desk.stage.cloud.objects(STAGING).is_empty());
}

#[tokio::test]
async fn a_folder_for_the_zip_that_cannot_be_written_is_named() {
    let desk = Desk::new().await;
    desk.write(&files([("index.html", "one")]));
    let mut command = desk.command(&["push", "site", "--stack", STACK]);
    let said = Said::from(command.env("TMPDIR", "/nonexistent").output().await.unwrap());
    assert!(
        said.code == 1 && said.err.contains("zipping into /nonexistent: ") && said.err.contains("TMPDIR"),
        "{said:?}"
    );
}

/// Lets calls through until one of this operation waits.
async fn let_through_until(gate: &Gate, operation: &str) {
    loop {
        let waiting = gate.wait_until(|waiting| !waiting.is_empty()).await;
        if waiting[0].call.operation == operation {
            break;
        }
        gate.let_through(waiting[0].ticket).await;
    }
}
