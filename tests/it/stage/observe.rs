//! Observations of a stage: its live bucket, calls, invalidations, and ledger.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use dropship::aws::ledger::Ledger;
use dropship::report::Report;
use serde_json::Value;

use super::{LIVE, STAGING, Stage, TABLE};
use crate::build::Files;

/// S3 operations that change nothing.
pub const READS: [&str; 3] = ["GetObject", "HeadObject", "ListObjectsV2"];

/// An item of the ledger.
pub type Item = HashMap<String, AttributeValue>;

impl Stage {
    /// Checks that the live bucket holds these files and nothing else.
    #[track_caller]
    pub fn assert_live(&self, files: &Files) {
        let objects = self.cloud.objects(LIVE);
        let live: Vec<&String> = objects.keys().collect();
        assert_eq!(live, files.keys().collect::<Vec<_>>(), "the keys of the live bucket");
        for (key, object) in &objects {
            assert!(object.body == files[key], "the live bytes of {key} differ from the build's");
        }
    }

    /// Checks that the live bucket holds these files, and maybe others.
    #[track_caller]
    pub fn assert_contains(&self, files: &Files) {
        let objects = self.cloud.objects(LIVE);
        for (name, body) in files {
            let is_live = objects.get(name).is_some_and(|object| object.body == *body);
            assert!(is_live, "{name} is missing from the live bucket, or differs from the build's");
        }
    }

    /// Returns how many calls of one operation were made.
    pub fn count(&self, operation: &str) -> usize {
        self.cloud.calls().iter().filter(|call| call.operation == operation).count()
    }

    /// Waits until this many calls of one operation were made.
    pub async fn wait_for_calls(&self, operation: &str, count: usize) {
        while self.count(operation) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the calls that changed the live bucket, as `PutObject index.html`.
    pub fn writes_to_live(&self) -> Vec<String> {
        let calls = self.cloud.calls().into_iter();
        calls
            .filter(|call| call.bucket.as_deref() == Some(LIVE) && !READS.contains(&call.operation.as_str()))
            .map(|call| format!("{} {}", call.operation, call.key.unwrap_or_default()))
            .collect()
    }

    /// Returns the byte ranges that were read of archives in the staging bucket.
    pub fn archive_ranges(&self) -> Vec<String> {
        let calls = self.cloud.calls().into_iter();
        calls
            .filter(|call| call.operation == "GetObject" && call.bucket.as_deref() == Some(STAGING))
            .filter(|call| call.key.as_ref().is_some_and(|key| key.ends_with(".zip")))
            .map(|call| call.range.unwrap())
            .collect()
    }

    /// Returns the items that a deployment has invalidated in a distribution.
    pub fn items_sent(&self, report: &Report, distribution: &str) -> BTreeSet<String> {
        let sent = report.invalidations.iter().filter(|sent| sent.distribution_id == distribution);
        let ids: BTreeSet<&String> = sent.filter_map(|sent| sent.id.as_ref()).collect();
        let accepted = self.cloud.invalidations(distribution).into_iter();
        accepted.filter(|accepted| ids.contains(&accepted.id)).flat_map(|accepted| accepted.items).collect()
    }

    /// Returns the keys of the manifests in the staging bucket.
    pub fn manifests(&self) -> Vec<String> {
        let keys = self.cloud.objects(STAGING).into_keys();
        keys.filter(|key| key.starts_with(".dropship/")).collect()
    }

    /// Returns a client of the ledger whose calls are not the function's.
    pub async fn ledger(&self) -> Ledger {
        self.site("judge").await.clients.ledger
    }

    /// Returns everything in the ledger, sorted by the items' names.
    pub async fn ledger_items(&self) -> Vec<Item> {
        let sdk = self.cloud.sdk_config_for("reader").await;
        let scan = aws_sdk_dynamodb::Client::new(&sdk).scan().table_name(TABLE);
        let mut items = scan.send().await.unwrap().items.unwrap();
        items.sort_by_key(|item| item["item"].as_s().unwrap().clone());
        items
    }

    /// Returns the ledger's records of deployments.
    pub async fn deployment_records(&self) -> Vec<Item> {
        let mut items = self.ledger_items().await;
        items.retain(|item| item["item"].as_s().unwrap().starts_with("deployment#"));
        items
    }

    /// Invokes a function that must refuse the archive, and returns its error message.
    pub async fn refusal(&self, request_id: &str, event: &Value) -> String {
        let handled = self.invoke(request_id, event).await;
        let failure = handled.into_answer().expect_err("the archive must be refused");
        assert_eq!(failure.error_type, "ArchiveRejected", "{}", failure.error_message);
        failure.error_message
    }
}
