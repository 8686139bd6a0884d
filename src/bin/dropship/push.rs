//! `push`: uploads a build, and follows its deployment.

use std::time::{Duration, Instant};

use chrono::Utc;
use dropship::aws::ledger::Known;
use dropship::aws::operator::Uploaded;
use dropship::deployment::{DeploymentId, SOURCE_METADATA};
use dropship::error::Error;
use dropship::event::Upload;
use dropship::printable::printable;
use dropship::report::sentence::words;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::archive::Archive;
use crate::arguments::Push;
use crate::failure::Failure;
use crate::follow::{self, Asked, Ended, Followed, LARGE_DELETE};
use crate::print::{GOOD, Printer, bytes};
use crate::report;
use crate::source;
use crate::stack::Stack;

pub async fn push(printer: &Printer, stack: &Stack, given: Push) -> Result<u8, Failure> {
    let pushed = upload_and_follow(printer, stack, given).await;
    if let Err(failure) = &pushed {
        summarize(&format!("**{}**: {failure}", failure.error_type()));
    }
    pushed
}

async fn upload_and_follow(printer: &Printer, stack: &Stack, given: Push) -> Result<u8, Failure> {
    let started = Instant::now();
    let archive = Archive::prepare(printer, stack, &given.build)?;
    for warning in &archive.warnings {
        printer.tell(&format!("warning: {}", printable(warning)));
    }
    let key = format!("{}{}", stack.uploads(), given.name);
    // A push of an unchanged preview starts its days again.
    let live = if stack.config.is_preview() { None } else { is_live(stack, &key, &archive.digest).await? };
    if let Some(live) = live {
        let value = json!({"outcome": "unchanged", "id": live, "uploaded": false});
        printer.result(
            &value,
            &format!("{GOOD}unchanged{GOOD:#}  {live} is live and has these files; nothing was uploaded\n"),
        );
        summarize(&format!("**unchanged** `{}`: {live} is live and has these files", stack.name));
        return Ok(0);
    }
    let source = source::find(given.message).encode().map_err(Failure::local)?;
    let (uploaded, size_bytes) = archive.upload(printer, stack, &key, Some((SOURCE_METADATA, source))).await?;
    let version = uploaded.version_id.clone().unwrap_or_default();
    printer.tell(&format!("uploaded s3://{}/{key} ({})", stack.config.staging_bucket, bytes(size_bytes)));
    if given.no_wait {
        let value =
            json!({"outcome": "uploaded", "bucket": stack.config.staging_bucket, "key": key, "versionId": version});
        printer.result(&value, "the function deploys it now; `dropship status` shows how far it is\n");
        summarize(&format!("**uploaded** `{}`; the deployment was not followed", stack.name));
        return Ok(0);
    }
    follow_upload(printer, stack, &key, &uploaded, (started, given.wait.timeout), given.allow_large_delete).await
}

/// Follows an upload from its start, for at most this long, and returns the exit code.
pub async fn follow_upload(
    printer: &Printer,
    stack: &Stack,
    key: &str,
    uploaded: &Uploaded,
    (started, timeout): (Instant, Duration),
    allow_large_delete: bool,
) -> Result<u8, Failure> {
    let upload = DeploymentId::of(&upload_of(stack, key, uploaded), Utc::now());
    let followed = Followed { upload, asked: Asked::Upload, started, timeout, printer };
    let mut ended = follow_until_ctrl_c(&followed, stack).await?;
    let is_large_delete = matches!(&ended, Ended::Failed { error_type, .. } if error_type == LARGE_DELETE);
    if is_large_delete && allow_large_delete {
        printer.tell("the deployment was refused as LargeDelete; sending the upload again with that allowed");
        ended = match send_allowing(stack, key, uploaded).await {
            Ok(()) => {
                let followed = Followed { asked: Asked::AllowingLargeDelete, ..followed };
                follow_until_ctrl_c(&followed, stack).await?
            }
            Err(Error::Aws { reason, .. }) if reason.starts_with("AccessDenied") => Ended::Failed {
                error_type: LARGE_DELETE.to_owned(),
                message: format!(
                    "the deployment was refused as LargeDelete, and you have no right to allow it: that takes \
                     lambda:InvokeFunction, which a CI's role does not have ({reason})"
                ),
            },
            Err(error) => return Err(error.into()),
        };
    }
    show_end(printer, stack, &ended);
    if is_large_delete && !allow_large_delete {
        printer.tell("hint: if the build is right, repeat the command with --allow-large-delete");
    }
    Ok(follow::code(&ended))
}

async fn follow_until_ctrl_c(followed: &Followed<'_>, stack: &Stack) -> Result<Ended, Failure> {
    tokio::select! {
        ended = followed.to_its_end(stack) => ended,
        _ = tokio::signal::ctrl_c() => Ok(Ended::StillRunning(None)),
    }
}

/// Sends the function the event of an upload, with the option that allows a large delete.
async fn send_allowing(stack: &Stack, key: &str, uploaded: &Uploaded) -> Result<(), Error> {
    // Keys in notifications are form-encoded.
    let key = utf8_percent_encode(key, NON_ALPHANUMERIC).to_string();
    let object = json!({"key": key, "versionId": uploaded.version_id});
    let record = json!({"s3": {"bucket": {"name": stack.config.staging_bucket}, "object": object}});
    let event = json!({"Records": [record], "options": {"allowLargeDelete": true}});
    stack.operator.send(&stack.function.name, &event).await.map(drop)
}

/// Prints how a deployment has ended.
pub fn show_end(printer: &Printer, stack: &Stack, ended: &Ended) {
    match ended {
        Ended::Live(live) => {
            printer.result(live, &report::text(live));
            let url = live.url.as_deref().map(|url| format!(", {url}")).unwrap_or_default();
            summarize(&format!("**{}** `{}`: {}{url}", words(live.outcome), stack.name, report::changes(live)));
        }
        Ended::Superseded(id) => {
            let text = format!(
                "superseded: a newer upload has taken the site; `dropship rollback {id}{}` brings this build live\n",
                of_preview(stack)
            );
            printer.result(&json!({"outcome": "superseded", "id": id}), &text);
            summarize("**superseded** by a newer upload");
        }
        Ended::Failed { error_type, message } => {
            printer.failure(&Failure::Refused { error_type: error_type.clone(), message: message.clone() });
            summarize(&format!("**{error_type}**: {message}"));
        }
        Ended::StillRunning(id) => {
            let look = match id {
                Some(id) => format!("dropship show {id}{}", of_preview(stack)),
                None => format!("dropship status{}", of_preview(stack)),
            };
            let text = format!("not live yet: the deployment goes on without this command; look again with `{look}`\n");
            printer.result(&json!({"outcome": "inProgress", "id": id}), &text);
            summarize("**not live yet**; the deployment goes on");
        }
    }
}

/// Returns the option by which another command means the same preview.
fn of_preview(stack: &Stack) -> String {
    stack.config.preview.as_ref().map(|name| format!(" --preview {name}")).unwrap_or_default()
}

/// Adds a line to the summary of a GitHub Actions job (GitHub docs, "Workflow commands", "Adding a job summary").
fn summarize(line: &str) {
    use std::io::Write;
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return;
    };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    let _ = file.and_then(|mut file| writeln!(file, "{}", printable(line)));
}

/// Returns the live deployment if the newest upload under the key is live and has this digest, and nothing is at work.
async fn is_live(stack: &Stack, key: &str, digest: &str) -> Result<Option<DeploymentId>, Failure> {
    let bucket = &stack.config.staging_bucket;
    let newest = stack.operator.newest(bucket, key).await?;
    let Some(newest) = newest.filter(|newest| newest.digest.as_deref() == Some(digest)) else {
        return Ok(None);
    };
    let uploaded = Uploaded { version_id: newest.version_id, etag: None };
    let upload = DeploymentId::of(&upload_of(stack, key, &uploaded), Utc::now());
    let Known { head, identity, .. } = stack.ledger.read(&upload).await?;
    let is_quiet = !head.has_unfinished();
    let live = head.live.filter(|_| is_quiet).map(|live| live.deployment);
    Ok(live.filter(|live| identity.is_some_and(|identity| identity.deployment == *live)))
}

pub fn upload_of(stack: &Stack, key: &str, uploaded: &Uploaded) -> Upload {
    Upload {
        bucket: stack.config.staging_bucket.clone(),
        key: key.to_owned(),
        version_id: uploaded.version_id.clone(),
        etag: uploaded.etag.as_deref().map(|etag| etag.trim_matches('"').to_owned()),
        sequencer: None,
        uploaded_at: None,
        event: Value::Null,
    }
}
