//! `promote`: brings live what a preview shows, byte for byte.
//!
//! S3 copies the archive that the preview was deployed from to the live site's key, which is an upload like any other.

use std::time::Instant;

use chrono::Utc;
use dropship::deployment::{Preview, SOURCE_METADATA, Source};

use crate::arguments::Promote;
use crate::failure::Failure;
use crate::follow;
use crate::history;
use crate::previews;
use crate::print::Printer;
use crate::push::{follow_until_ctrl_c, followed, show_end};
use crate::stack::Stack;

pub async fn promote(printer: &Printer, stack: &Stack, given: Promote) -> Result<u8, Failure> {
    let started = Instant::now();
    let preview = Preview { name: given.name, pushed_at: Utc::now() };
    let record = previews::live(stack, &preview).await?;
    let Preview { name, .. } = preview;
    let record = record.ok_or_else(|| {
        Failure::Usage(format!("there is no preview {name}, or nothing is live there; `dropship previews` lists them"))
    })?;
    let bucket = &stack.config.staging_bucket;
    let upload = record.upload(bucket).map_err(dropship::error::Error::from)?;
    printer.tell(&format!("{} gets {}{}", stack.config.site, record.deployment, history::from(&record)));
    let source = Source { preview: name.to_string(), ..record.source.unwrap_or_default() };
    let source = source.encode().map_err(Failure::local)?;
    let key = format!("{}{}", stack.uploads(), given.archive);
    let from = (upload.key.as_str(), upload.version_id.as_deref());
    let uploaded = stack.operator.copy(bucket, from, &key, (SOURCE_METADATA, source)).await?;
    printer.tell(&format!("copied s3://{bucket}/{} to {key}", upload.key));
    let followed = followed(printer, stack, &key, &uploaded, (started, given.wait.timeout));
    let ended = follow_until_ctrl_c(&followed, stack).await?;
    show_end(printer, stack, &ended);
    Ok(follow::code(&ended))
}
