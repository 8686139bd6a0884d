//! The fault matrix: each AWS call in turn fails, once or persistently, and a retry repairs the site.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::stream::{self, StreamExt};
use standins::{Does, Fault, Service};

use crate::note::note;
use crate::scene::{AN_HOUR, Scene, first, second};

/// How many rows run concurrently.
const CONCURRENT_ROWS: usize = 12;

/// The errors with which an invocation may fail if AWS does.
const CLEAN_FAILURES: [&str; 6] = ["Aws", "Busy", "InvalidationOwed", "LeaseLost", "Unfinished", "WrongDistribution"];

/// Far longer than the slowest case takes: a case that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Times {
    Once,
    /// More often than any call is retried.
    Persistently,
}

/// How an invocation ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Success,
    Failure,
}

/// A row of the matrix: which calls fail, how, and how often.
#[derive(Clone, Debug)]
struct Row {
    service: Option<Service>,
    operation: Option<&'static str>,
    does: Does,
    times: Times,
}

impl Row {
    fn fault(&self, n: usize) -> Fault {
        Fault {
            service: self.service,
            operation: self.operation.map(str::to_owned),
            client: Some("victim".to_owned()),
            first: n,
            times: match self.times {
                Times::Once => 1,
                Times::Persistently => usize::MAX,
            },
            ..Fault::any(self.does.clone())
        }
    }

    /// Lets the `n`-th call of an update fail, and checks that the site settles.
    ///
    /// Returns how the invocation ended, or `None` if it makes fewer calls.
    async fn strike(&self, n: usize) -> Option<Result<End, String>> {
        let scene = Scene::new().await;
        let base = scene.stage.clone();
        let stage = base.clone().with("CACHE_CONTROL_ASSETS", AN_HOUR);
        let one = base.upload("site.zip", &first());
        scene.deliver(&base, "one", &one).await.unwrap();
        let two = base.upload("site.zip", &second());
        base.cloud.fault(self.fault(n));
        let work = scene.watched(stage.invoke_as("victim", "two", &two, TimeDelta::minutes(15)));
        let clock = async {
            // Only an invocation that waits for CloudFront until its deadline needs the clock to advance.
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let waits = self.operation == Some("CreateInvalidation");
                if waits && self.times == Times::Persistently {
                    base.pass(TimeDelta::minutes(2));
                }
            }
        };
        let handled = tokio::select! {
            handled = tokio::time::timeout(PATIENCE, work) => handled,
            never = clock => never,
        };
        base.cloud.clear_faults();
        let Ok(handled) = handled else {
            return Some(Err(format!("no answer after {PATIENCE:?}")));
        };
        if base.cloud.faults_struck() == 0 {
            return None;
        }
        let end = match handled.into_answer() {
            Ok(_) => End::Success,
            Err(failure) if CLEAN_FAILURES.contains(&failure.error_type.as_str()) => End::Failure,
            Err(failure) => return Some(Err(format!("{failure:?}"))),
        };
        let settled = async {
            if end == End::Failure {
                scene.deliver(&stage, "two", &two).await?;
            }
            scene.has_settled(&second(), &two, Some(AN_HOUR)).await
        };
        Some(settled.await.map(|()| end))
    }

    /// Lets every call in turn fail.
    ///
    /// Returns the number of calls, the number of failed invocations, and the errors after them.
    async fn strike_everywhere(self) -> (usize, usize, Vec<String>) {
        let (mut failed, mut wrong) = (0, Vec::new());
        for n in 1.. {
            match self.strike(n).await {
                None => return (n - 1, failed, wrong),
                Some(Ok(end)) => failed += usize::from(end == End::Failure),
                Some(Err(error)) => wrong.push(format!("{self:?} {n}: {error}")),
            }
        }
        unreachable!("the range has no end");
    }
}

fn rows(times: Times) -> Vec<Row> {
    let row = |service, operation, does| Row { service, operation, does, times };
    let everything = [
        Does::refuse(503, "ServiceUnavailable"),
        Does::refuse_after(503, "ServiceUnavailable"),
        Does::DropBefore,
        Does::DropAfter,
    ];
    let mut rows: Vec<Row> = everything.map(|does| row(None, None, does)).into();
    rows.push(row(Some(Service::S3), None, Does::refuse(503, "SlowDown")));
    for code in ["ProvisionedThroughputExceededException", "ThrottlingException"] {
        rows.push(row(Some(Service::DynamoDb), None, Does::refuse(400, code)));
    }
    let refused = [
        ("TransactGetItems", 400, "TransactionCanceledException"),
        ("TransactWriteItems", 400, "TransactionCanceledException"),
        ("CreateInvalidation", 400, "TooManyInvalidationsInProgress"),
        ("CreateInvalidation", 400, "Throttling"),
        ("GetDistribution", 404, "NoSuchDistribution"),
        ("GetDistribution", 403, "AccessDenied"),
        ("PutObject", 412, "PreconditionFailed"),
        ("PutObject", 409, "ConditionalRequestConflict"),
        ("CopyObject", 412, "PreconditionFailed"),
        ("CopyObject", 409, "ConditionalRequestConflict"),
    ];
    rows.extend(refused.map(|(operation, status, code)| row(None, Some(operation), Does::refuse(status, code))));
    for code in ["AccessDenied", "InternalError", "PreconditionFailed"] {
        let code = code.to_owned();
        rows.push(row(None, Some("DeleteObjects"), Does::RefuseKeys { code }));
    }
    rows
}

async fn matrix(times: Times) {
    let results: Vec<(usize, usize, Vec<String>)> =
        stream::iter(rows(times)).map(Row::strike_everywhere).buffer_unordered(CONCURRENT_ROWS).collect().await;
    let faults: usize = results.iter().map(|(faults, ..)| faults).sum();
    let failed: usize = results.iter().map(|(_, failed, _)| failed).sum();
    let wrong: Vec<String> = results.into_iter().flat_map(|(.., wrong)| wrong).collect();
    note(&format!("fault matrix {times:?}: {faults} faults tried, {failed} of them made the invocation fail"));
    assert!(faults > 100, "only {faults} faults");
    assert!(wrong.is_empty(), "{} of {faults} faults were not repaired:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_once_loses_nothing() {
    matrix(Times::Once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_keeps_failing_fails_the_invocation_and_the_retry_repairs_the_site() {
    matrix(Times::Persistently).await;
}
