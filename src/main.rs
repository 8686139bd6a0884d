//! The Lambda function.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dropship::aws::{self, Clients};
use dropship::config::Config;
use dropship::deploy::{Invocation, Site};
use dropship::error::Error;
use dropship::handler::{handle, owed_seconds};
use dropship::metrics::Moment;
use dropship::report::{Answer, Progress};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;

/// Lambda's longest timeout.
const LONGEST_INVOCATION: TimeDelta = TimeDelta::minutes(15);

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let site = match Config::from_variables(|name| std::env::var(name).ok()) {
        Ok(config) => {
            let clients = Clients::new(&aws::load().await, &config);
            Ok(Site { config, clients })
        }
        // Told to every event instead of at start-up: so it reaches the caller and the failure destination.
        Err(errors) => {
            let error = Error::from(errors);
            Err((error.kind().to_owned(), error.to_string()))
        }
    };
    let site = &site;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| match site {
        Ok(site) => answer(site, event).await,
        Err((error_type, error_message)) => {
            tracing::error!("{error_message}");
            Err(Diagnostic {
                error_type: error_type.clone(),
                error_message: error_message.clone(),
            })
        }
    }))
    .await
}

async fn answer(site: &Site, event: LambdaEvent<Value>) -> Result<Answer, Diagnostic> {
    let deadline = DateTime::<Utc>::from(event.context.deadline());
    let now = Utc::now();
    let invocation = Invocation {
        request_id: &event.context.request_id,
        // Local runners give a time that has passed.
        deadline: if deadline > now {
            deadline
        } else {
            now + LONGEST_INVOCATION
        },
        clock: &Utc::now,
        progress: &Progress::default(),
        pause: Duration::from_secs(1),
    };
    let handled = handle(site, &event.payload, &invocation).await;
    let now = Utc::now();
    let moment = Moment {
        now,
        owed_seconds: owed_seconds(site, invocation.progress, now).await,
    };
    for line in handled.log_lines(moment) {
        println!("{line}");
    }
    handled.into_answer()
}
