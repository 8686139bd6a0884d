//! `promote`: brings live what a preview shows, byte for byte.
//!
//! S3 copies the archive that the preview was deployed from to the live site's key, which is an upload like any other.

use std::time::Instant;

use dropship::deployment::{Record, SOURCE_METADATA, Source};

use crate::arguments::Promote;
use crate::failure::Failure;
use crate::history;
use crate::print::Printer;
use crate::push::follow_upload;
use crate::stack::Stack;

pub async fn promote(printer: &Printer, stack: &Stack, given: Promote) -> Result<u8, Failure> {
    let started = Instant::now();
    let record = shown(stack, &given).await?;
    let bucket = &stack.config.staging_bucket;
    let upload = record.upload(bucket).map_err(dropship::error::Error::from)?;
    printer.tell(&format!("{} gets {}{}", stack.config.site, record.deployment, history::from(&record)));
    let source = Source { preview: given.name.to_string(), ..record.source.unwrap_or_default() };
    let source = source.encode().map_err(Failure::local)?;
    let key = format!("{}{}", stack.uploads(), given.archive);
    let from = (upload.key.as_str(), upload.version_id.as_deref());
    let uploaded = stack.operator.copy(bucket, from, &key, (SOURCE_METADATA, source)).await?;
    printer.tell(&format!("copied s3://{bucket}/{} to {key}", upload.key));
    follow_upload(printer, stack, &key, &uploaded, (started, given.wait.timeout), given.allow_large_delete).await
}

/// Returns the record of the build that the preview shows.
///
/// # Errors
/// `Usage` if that is not one whole build, or not the one that was looked at.
async fn shown(stack: &Stack, given: &Promote) -> Result<Record, Failure> {
    let name = &given.name;
    let ledger = stack.ledger.of_site(&stack.config_of_preview(name)?);
    let head = ledger.head().await?;
    let is_between_builds = head.is_between_builds();
    let record = match head.live {
        Some(live) => ledger.record(&live.deployment).await?,
        None => None,
    };
    let record = record.ok_or_else(|| {
        Failure::Usage(format!("there is no preview {name}, or nothing is live there; `dropship previews` lists them"))
    })?;
    if let Some(expected) = given.deployment.as_ref().filter(|id| id.as_str() != record.deployment.as_str()) {
        return Err(Failure::Usage(format!(
            "{name} shows {} by now, and not {expected}: look at it again, or promote `{}`",
            record.deployment, record.deployment
        )));
    }
    if is_between_builds {
        return Err(Failure::Usage(format!(
            "a deployment to {name} has begun and not finished, so viewers see parts of two builds: \
             `dropship status --preview {name}` tells more"
        )));
    }
    Ok(record)
}
