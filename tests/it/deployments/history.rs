//! How long the ledger keeps its items.

use dropship::report::Outcome;
use standins::{Does, Fault};

use super::{first, second};
use crate::stage::Stage;

#[tokio::test]
async fn records_expire_after_history_days_but_head_and_owed_batches_never_do() {
    let stage = Stage::new().await.with("HISTORY_DAYS", "30");
    let early = stage.upload("0.zip", &second());
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    assert_eq!(stage.deploy("late", &early).await.outcome, Outcome::Superseded);
    let broken = stage.upload_bytes("2.zip", b"no zip".to_vec());
    stage.invoke("two", &broken).await;
    stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) });
    let event = stage.upload("3.zip", &second());
    let failure = stage.invoke("three", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "InvalidationOwed");

    let (mut head, mut owed) = (0, 0);
    for item in stage.ledger_items().await {
        let name = item["item"].as_s().unwrap().clone();
        head += usize::from(name == "head");
        owed += usize::from(name.starts_with("owed#"));
        if !name.starts_with("deployment#") {
            assert!(!item.contains_key("expires_at"), "{name}");
        }
    }
    assert!((head, owed) >= (1, 1), "{head} heads, {owed} owed batches");
    let expiries: Vec<i64> =
        stage.deployment_records().await.iter().map(|it| it["expires_at"].as_n().unwrap().parse().unwrap()).collect();
    assert_eq!(expiries.len(), 4);
    let now = stage.now().timestamp();
    let days = 30 * 24 * 60 * 60;
    assert!(expiries.iter().all(|at| (now - 5..=now).contains(&(at - days))), "{expiries:?}");
}
