//! What previews cost the live site.

use std::collections::BTreeMap;

use standins::Headers;

use super::{build, deployed, stage};
use crate::stage::{LIVE, Stage};

/// Returns the requests of a live deployment by their operations.
async fn requests(stage: &Stage, request_id: &str, text: &str) -> BTreeMap<String, usize> {
    let event = stage.upload("uploads/site.zip", &build(text));
    stage.cloud.clear_calls();
    stage.deploy(request_id, &event).await;
    let mut requests = BTreeMap::new();
    for call in stage.cloud.calls() {
        *requests.entry(call.operation).or_default() += 1;
    }
    requests
}

#[tokio::test]
async fn a_hundred_previews_cost_a_live_deployment_no_request() {
    let none = stage().await;
    requests(&none, "first", "one").await;
    let against_none = requests(&none, "second", "two").await;

    let hundred = stage().await;
    requests(&hundred, "first", "one").await;
    deployed(&hundred, "pr-0", "pr-0", "preview").await;
    for number in 1..100 {
        for file in 0..100 {
            let key = format!("previews/pr-{number}/{file}.html");
            hundred.cloud.put_object(LIVE, &key, "preview", Headers::of_type("text/html"));
        }
    }
    let against_hundred = requests(&hundred, "second", "two").await;
    assert_eq!(against_hundred, against_none, "9,903 objects of previews would take ten more pages");
    assert_eq!(against_none["ListObjectsV2"], 2, "before the folder of previews, and behind it");
    assert_eq!(against_none.values().sum::<usize>(), Stage::REQUESTS_WITH_PREVIEWS, "{against_none:?}");

    // A site that has no previews lists its bucket in one piece.
    let without = stage().await.with("PREVIEWS", "false");
    requests(&without, "first", "one").await;
    let without = requests(&without, "second", "two").await;
    assert_eq!(without["ListObjectsV2"], 1);
    assert_eq!(without.values().sum::<usize>() + 1, against_none.values().sum::<usize>());
}

impl Stage {
    /// The requests of a deployment of three files, of which two change and one has another name.
    const REQUESTS_WITH_PREVIEWS: usize = 22;
}
