//! `plan`: the function's dry run of a build.

use dropship::aws::operator::Invoked;
use dropship::preview::PreviewName;
use dropship::report::Report;
use serde_json::{Value, json};

use crate::archive::Archive;
use crate::arguments::Plan;
use crate::failure::Failure;
use crate::print::Printer;
use crate::report;
use crate::stack::Stack;

/// The folder of the staging bucket from which nothing is deployed.
const FOLDER: &str = "plans/";

pub async fn plan(printer: &Printer, stack: &Stack, given: Plan) -> Result<u8, Failure> {
    let archive = Archive::prepare(printer, stack, &given.build)?;
    let folder = stack.config.preview.as_ref().map(PreviewName::folder).unwrap_or_default();
    let key = format!("{FOLDER}{folder}{}.zip", &archive.digest[..16]);
    let (uploaded, _) = archive.upload(printer, stack, &key, None).await?;
    let object = json!({"key": key, "versionId": uploaded.version_id});
    let record = json!({"s3": {"bucket": {"name": stack.config.staging_bucket}, "object": object}});
    let event = json!({"Records": [record], "options": {"dryRun": true}});
    // The upload has taken Ctrl-C over from the system.
    let report = tokio::select! {
        report = rehearse(stack, &event) => report?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Local("stopped; a plan changes nothing".to_owned())),
    };
    printer.result(&report, &report::plan(&report));
    let is_changed = report.new + report.changed + report.headers + report.deleted > 0;
    Ok(u8::from(given.exit_code && is_changed))
}

/// Sends the function an event that is a dry run, and returns its report.
pub async fn rehearse(stack: &Stack, event: &Value) -> Result<Report, Failure> {
    let report = match stack.operator.invoke(&stack.function.name, event).await? {
        Invoked::Answer(mut answer) => serde_json::from_value(answer["deployments"][0].take()),
        Invoked::Failed { error_type, error_message } => {
            return Err(Failure::Refused { error_type, message: error_message });
        }
    };
    report.map_err(|error| Failure::Local(format!("the function's answer cannot be read: {error}")))
}
