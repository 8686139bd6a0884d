//! Tests of the benchmark: each deployment takes exactly as many requests and bytes as before.
//!
//! No clock is read. It needs Linux, as the benchmark does. The function is the executable of the test's profile, in a
//! process of its own.

#![cfg(target_os = "linux")]
#![allow(dead_code, reason = "the benchmark uses the rest")]

mod bomb;
mod builds;
mod counts;
mod function;
mod minimum;
mod process;
mod processor;
mod release;
mod services;
mod site;
mod timeline;
mod workload;

use std::time::Duration;

use serde_json::Value;

use bomb::BOMBS;
use builds::Builds;
use counts::Count;
use function::Invocation;
use services::Account;
use workload::{DEFAULT_MEMORY_MIB, Workload};

/// Sends the function an event. It has a day for its answer, because it looks for waiting uploads only if enough time is
/// left, and the test's profile is slow.
async fn invoke(environment: &[(String, String)], event: &Value) -> Invocation {
    let day = Duration::from_secs(86_400);
    function::invoke(environment, DEFAULT_MEMORY_MIB, None, day, event).await.unwrap()
}

/// Deploys a site in all scenarios, and compares the traffic of each with the numbers that are known.
async fn check(name: &str) {
    let workload = Workload::named(name).unwrap();
    if !workload.is_available() {
        println!("SKIPPED: DROPSHIP_SHARED has no such site");
        return;
    }
    let mut builds = Builds::new(workload).unwrap();
    let mut account = Account::new(false).await.unwrap();
    account.reset(Duration::ZERO).await.unwrap();
    let mut problems = Vec::new();
    for scenario in workload.scenarios {
        let task = account.upload(builds.next(*scenario).unwrap(), Some(*scenario)).unwrap();
        let mut environment = account.environment();
        environment.extend(scenario.settings());
        let invocation = invoke(&environment, &task.event).await;
        invocation.answer.unwrap();
        problems.extend(Count::check(name, scenario.name(), &account.observe()).err());
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tiny_many() {
    check("tiny-many").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed() {
    check("mixed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_few() {
    check("large-few").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_deflated() {
    check("large-deflated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docs_site() {
    check("docs-site").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streamlit() {
    check("streamlit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs() {
    let mut account = Account::new(false).await.unwrap();
    let mut problems = Vec::new();
    for bomb in BOMBS {
        account.reset(Duration::ZERO).await.unwrap();
        let task = account.upload(bomb.archive().unwrap().into(), None).unwrap();
        let environment = account.environment();
        let invocation = invoke(&environment, &task.event).await;
        assert!(invocation.answer.is_err_and(|error| error.starts_with("ArchiveRejected")), "{}", bomb.name);
        problems.extend(Count::check("bombs", bomb.name, &account.observe()).err());
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

// The large sites take minutes: `cargo test --test counts -- --ignored`.

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn huge_site() {
    check("huge-site").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn million() {
    check("million").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn giant() {
    check("giant").await;
}
