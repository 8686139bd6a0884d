//! `dropship plan`.

use serde_json::json;

use super::desk::Desk;
use crate::build::files;
use crate::stage::{LIVE, STAGING};

#[tokio::test]
async fn a_plan_changes_nothing_and_says_what_a_push_would_do() {
    let desk = Desk::new().await;
    desk.write(&files([("index.html", "one"), ("gone.txt", "gone")]));
    desk.run(&["push", "site"]).await;
    let before = desk.stage.cloud.objects(LIVE).len();

    desk.write(&files([("index.html", "two"), ("new.txt", "new")]));
    let said = desk.run(&["plan", "site", "--exit-code"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    for line in ["planned  1 new, 1 changed, 1 deleted, 0 kept", "+ new.txt", "~ index.html", "- gone.txt"] {
        assert!(said.out.contains(line), "{line}: {said:?}");
    }
    let (code, value) = desk.run_json(&["plan", "site"]).await;
    assert_eq!((code, &value["outcome"], &value["plan"]["new"]), (0, &json!("planned"), &json!(["new.txt"])));
    assert_eq!(desk.stage.cloud.objects(LIVE).len(), before);
    let uploads = desk.stage.cloud.objects(STAGING).into_keys().filter(|key| key.starts_with("uploads/"));
    assert_eq!(uploads.count(), 1);

    desk.run(&["push", "site"]).await;
    let said = desk.run(&["plan", "site", "--exit-code"]).await;
    assert_eq!(said.code, 0, "{said:?}");
}
