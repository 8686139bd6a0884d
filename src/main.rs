//! The Lambda function.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dropship::aws::Clients;
use dropship::config::{Config, ONE_VCPU_MIB};
use dropship::deploy::{Invocation, Site};
use dropship::error::Error;
use dropship::handler::{handle, owed_seconds};
use dropship::log::PrintableLines;
use dropship::metrics::Moment;
use dropship::printable::printable;
use dropship::report::{Answer, Progress};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::runtime::Builder;

/// Lambda's longest timeout.
const LONGEST_INVOCATION: TimeDelta = TimeDelta::minutes(15);

fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_variables(|name| std::env::var(name).ok());
    let has_several_vcpus = config.as_ref().is_ok_and(|config| config.memory_mib > ONE_VCPU_MIB);
    // On one vCPU a second thread for the connections gains nothing, and must be woken for every request.
    let mut runtime = if has_several_vcpus { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    runtime
        .enable_all()
        // The blocking threads inflate. More threads than vCPUs would only hold more memory.
        .max_blocking_threads(std::thread::available_parallelism()?.get())
        .build()?
        .block_on(serve(config.map_err(Error::from)))
}

async fn serve(config: Result<Config, Error>) -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber_with_writer(PrintableLines(std::io::stdout));
    let site = match config {
        Ok(config) => {
            let clients = Clients::load(&config).await;
            Ok(Site { config, clients })
        }
        // Every event is answered with the error, because a failed start would not reach the failure destination.
        Err(error) => Err((error.kind().to_owned(), error.message())),
    };
    let site = &site;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| match site {
        Ok(site) => answer(site, event).await,
        Err((error_type, error_message)) => {
            tracing::error!("{error_message}");
            Err(Diagnostic { error_type: error_type.clone(), error_message: error_message.clone() })
        }
    }))
    .await
}

async fn answer(site: &Site, event: LambdaEvent<Value>) -> Result<Answer, Diagnostic> {
    let deadline = DateTime::<Utc>::from(event.context.deadline());
    let began = Utc::now();
    let invocation = Invocation {
        request_id: &event.context.request_id,
        // Local runners send a deadline in the past.
        deadline: if deadline > began { deadline } else { began + LONGEST_INVOCATION },
        clock: &Utc::now,
        progress: &Progress::default(),
        pause: Duration::from_secs(1),
        waits: true,
    };
    let handled = handle(site, &event.payload, &invocation).await;
    let now = Utc::now();
    let owed_seconds =
        if handled.concerns_live_site() { owed_seconds(site, invocation.progress, now).await } else { None };
    let moment = Moment { now, began, owed_seconds };
    for line in handled.plain_lines().into_iter().chain(handled.log_lines(moment)) {
        println!("{}", printable(&line));
    }
    handled.into_answer()
}
