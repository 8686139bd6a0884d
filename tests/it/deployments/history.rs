//! How long the ledger keeps its items.

use std::collections::BTreeMap;

use dropship::report::Outcome;
use standins::{Does, Fault};

use super::{first, second};
use crate::stage::Stage;

#[tokio::test]
async fn runs_expire_and_so_do_uploads_that_have_not_been_live() {
    let stage = Stage::new().await.with("HISTORY_DAYS", "30");
    let early = stage.upload("0.zip", &second());
    let one = stage.deploy("one", &stage.upload("1.zip", &first())).await;
    assert_eq!(stage.deploy("late", &early).await.outcome, Outcome::Superseded);
    let broken = stage.upload_bytes("2.zip", b"no zip".to_vec());
    stage.invoke("two", &broken).await;
    stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) });
    let event = stage.upload("3.zip", &second());
    let failure = stage.invoke("three", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "InvalidationOwed");

    let live = one.id.unwrap();
    let (mut kept, mut expiring) = (BTreeMap::new(), BTreeMap::new());
    let month = 30 * 24 * 60 * 60;
    for item in stage.ledger_items().await {
        let name = item["item"].as_s().unwrap();
        let kind = if *name == format!("deployment#{live}") { "live" } else { name.split('#').next().unwrap() };
        match item.get("expires_at") {
            None => *kept.entry(kind.to_owned()).or_insert(0) += 1,
            Some(at) => {
                let at: i64 = at.as_n().unwrap().parse().unwrap();
                assert!((0..=5).contains(&(stage.now().timestamp() - (at - month))), "{name}");
                *expiring.entry(kind.to_owned()).or_insert(0) += 1;
            }
        }
    }
    assert!(kept["owed"] >= 1);
    kept.remove("owed");
    assert_eq!(kept, BTreeMap::from([("head".to_owned(), 1), ("live".to_owned(), 1), ("version".to_owned(), 1)]));
    let expected = [("deployment", 3), ("run", 2), ("version", 3)];
    assert_eq!(expiring, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
}
