//! `dropship plan`.

use std::process::Stdio;

use serde_json::json;

use super::desk::{Desk, STACK, Said};
use crate::build::files;
use crate::stage::{LIVE, STAGING, Stage};

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

#[tokio::test]
async fn a_plan_tells_sizes_by_folder_and_what_the_invalidations_cost() {
    let desk = Desk::over(Stage::new().await.with("MAX_INVALIDATION_PATHS", "2"));
    let mut site = files([("index.html", "one"), ("a/same.css", "same"), ("a/1.css", "1"), ("a/2.css", "2")]);
    site.insert("gone/old.txt".to_owned(), vec![b'x'; 2_048]);
    desk.write(&site);
    desk.run(&["push", "site"]).await;
    site.remove("gone/old.txt");
    for name in ["index.html", "a/1.css", "a/2.css", "b/new.txt"] {
        site.insert(name.to_owned(), b"changed".to_vec());
    }
    desk.write(&site);
    let said = desk.run(&["plan", "site"]).await;
    insta::assert_snapshot!(said.out, @"
    planned  1 new, 3 changed, 1 deleted, 1 kept
      + b/new.txt
      ~ a/1.css
      ~ a/2.css
      ~ index.html
      - gone/old.txt
    by folder
      ./  1 changed (7 B)
      a/  2 changed (14 B)
      b/  1 new (7 B)
      gone/  1 deleted (2.00 KiB)
    invalidates 2 items on E1EXAMPLE: $0.010, or nothing within the account's 1,000 free ones a month
      they also evict 1 unchanged object
        /*
        /gone/old.txt
      warning: wildcards evict 1 unchanged objects from E1EXAMPLE: without them the deployment would need more than MaxInvalidationPaths (2) items, or a stale path has characters that CloudFront cannot name
    ");
    let (_, value) = desk.run_json(&["plan", "site"]).await;
    let folder = |name: &str| {
        let folders = value["plan"]["folders"].as_array().unwrap();
        folders.iter().find(|folder| folder["folder"] == name).unwrap().clone()
    };
    assert_eq!(folder("gone/")["deleted"], json!({"count": 1, "bytes": 2_048}));
    assert_eq!(folder("b/")["new"], json!({"count": 1, "bytes": 7}));
    assert_eq!(value["plan"]["items"][0]["evicted"], json!(1));
}

#[tokio::test]
async fn ctrl_c_ends_a_plan() {
    let (desk, arrived) = Desk::without_answers().await;
    desk.write(&files([("index.html", "one")]));
    let mut command = desk.command(&["plan", "site", "--stack", STACK]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    arrived.notified().await;
    let id = child.id().unwrap().to_string();
    tokio::process::Command::new("kill").args(["-INT", &id]).status().await.unwrap();
    let said = Said::from(child.wait_with_output().await.unwrap());
    assert!(said.code == 1 && said.err.contains("error: stopped; a plan changes nothing"), "{said:?}");
}
