//! The fault matrix: each AWS call in turn goes wrong, once or for good, and the retry puts it right.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::stream::{self, StreamExt};
use standins::{Does, Fault, Service};

use crate::note::note;
use crate::scene::{AN_HOUR, Scene, first, second};

/// How many cases are under way at once.
const AT_ONCE: usize = 12;

/// What an invocation may fail with when AWS does.
const CLEAN: [&str; 5] = ["Aws", "Busy", "InvalidationOwed", "LeaseLost", "Unfinished"];

/// Far more than the slowest case takes: whoever takes longer hangs.
const HANGS: Duration = Duration::from_secs(120);

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Times {
    Once,
    /// More often than anyone tries again.
    ForGood,
}

/// Which calls a row of the matrix is about, and what happens to them.
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
                Times::ForGood => usize::MAX,
            },
            ..Fault::any(self.does.clone())
        }
    }

    /// Lets the n-th call of an update go wrong; `None` when there are not so many.
    async fn strike(&self, n: usize) -> Option<Result<&'static str, String>> {
        let scene = Scene::new().await;
        let base = scene.stage.clone();
        let stage = base.clone().with("CACHE_CONTROL_ASSETS", AN_HOUR);
        let one = base.upload("site.zip", &first());
        scene.deliver(&base, "one", &one).await.unwrap();
        let two = base.upload("site.zip", &second());
        base.cloud.fault(self.fault(n));
        let work = scene.watched(stage.invoke_as("victim", "two", &two, TimeDelta::minutes(15)));
        let clock = async {
            // Time flies only for who waits for CloudFront until the deadline.
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let waits = self.operation == Some("CreateInvalidation");
                if waits && self.times == Times::ForGood {
                    base.pass(TimeDelta::minutes(2));
                }
            }
        };
        let handled = tokio::select! {
            handled = tokio::time::timeout(HANGS, work) => handled,
            never = clock => never,
        };
        base.cloud.clear_faults();
        let Ok(handled) = handled else {
            return Some(Err("hangs".to_owned()));
        };
        if base.cloud.faults_struck() == 0 {
            return None;
        }
        let outcome = match handled.into_answer() {
            Ok(_) => "succeeded",
            Err(failure) if CLEAN.contains(&failure.error_type.as_str()) => "failed",
            Err(failure) => return Some(Err(format!("{failure:?}"))),
        };
        let settled = async {
            if outcome == "failed" {
                scene.deliver(&stage, "two", &two).await?;
            }
            scene.has_settled(&second(), &two, Some(AN_HOUR)).await
        };
        Some(settled.await.map(|()| outcome))
    }

    /// Lets every call in turn go wrong: how many there are, how many failed, and what went wrong.
    async fn strike_everywhere(self) -> (usize, usize, Vec<String>) {
        let (mut failed, mut wrong) = (0, Vec::new());
        for n in 1.. {
            match self.strike(n).await {
                None => return (n - 1, failed, wrong),
                Some(Ok(outcome)) => failed += usize::from(outcome == "failed"),
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
        stream::iter(rows(times)).map(Row::strike_everywhere).buffer_unordered(AT_ONCE).collect().await;
    let faults: usize = results.iter().map(|(faults, ..)| faults).sum();
    let failed: usize = results.iter().map(|(_, failed, _)| failed).sum();
    let wrong: Vec<String> = results.into_iter().flat_map(|(.., wrong)| wrong).collect();
    note(&format!("fault matrix {times:?}: {faults} faults tried, {failed} of them failed the invocation"));
    assert!(faults > 100, "only {faults} faults");
    assert!(wrong.is_empty(), "{} of {faults} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_once_loses_nothing() {
    matrix(Times::Once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_keeps_failing_fails_the_invocation_and_the_retry_repairs_the_site() {
    matrix(Times::ForGood).await;
}
