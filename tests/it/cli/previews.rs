//! Previews by the command line: push, list, promote, remove.

use serde_json::{Value, json};

use super::desk::{Desk, STACK};
use crate::build::{Files, files};
use crate::stage::{LIVE, STAGING, Stage};

fn build(text: &str) -> Files {
    files([("index.html", text), ("docs/index.html", text)])
}

async fn desk() -> Desk {
    Desk::over(Stage::new().await.with("PREVIEWS", "true").with("SITE", "site"))
}

fn live_under(desk: &Desk, prefix: &str) -> Files {
    let objects = desk.stage.cloud.objects(LIVE).into_iter();
    let under = objects.filter_map(|(key, it)| Some((key.strip_prefix(prefix)?.to_owned(), it.body.to_vec())));
    under.filter(|(key, _)| !prefix.is_empty() || !key.starts_with("previews/")).collect()
}

#[tokio::test]
async fn a_preview_is_pushed_listed_promoted_and_removed() {
    let desk = desk().await;
    desk.write(&build("live"));
    assert_eq!(desk.run(&["push", "site"]).await.code, 0);
    desk.write(&build("preview"));
    let (code, pushed) = desk.run_json(&["push", "site", "--preview", "pr-7", "--message", "Menu"]).await;
    assert_eq!((code, &pushed["outcome"], &pushed["preview"]), (0, &json!("deployed"), &json!("pr-7")));
    assert_eq!(pushed["url"], "https://e1example.cloudfront.net/previews/pr-7/");
    assert_eq!((live_under(&desk, "previews/pr-7/"), live_under(&desk, "")), (build("preview"), build("live")));
    // The same folder is uploaded again, which starts the preview's days again.
    let (_, again) = desk.run_json(&["push", "site", "--preview", "pr-7", "--message", "Menu"]).await;
    assert_eq!((&again["outcome"], &again["uploaded"]), (&json!("unchanged"), &Value::Null));

    let (_, listed) = desk.run_json(&["previews"]).await;
    assert_eq!((&listed[0]["name"], &listed[0]["source"]["message"]), (&json!("pr-7"), &json!("Menu")));
    assert_eq!(listed[0]["url"], pushed["url"]);
    let said = desk.run(&["previews"]).await;
    assert!(said.out.contains("pr-7") && said.out.contains("pushed 0 minutes ago"), "{said:?}");
    let (_, status) = desk.run_json(&["status", "--preview", "pr-7"]).await;
    assert_eq!((&status["site"], &status["live"]), (&json!("site/previews/pr-7"), &again["id"]));

    let archive = desk.stage.cloud.object(STAGING, "uploads/previews/pr-7/site.zip").unwrap().body;
    // Somebody has looked at the first one.
    let (code, refused) = desk.run_json(&["promote", "pr-7", pushed["id"].as_str().unwrap()]).await;
    assert_eq!((code, &refused["errorType"]), (2, &json!("Usage")));
    assert_eq!(live_under(&desk, ""), build("live"));
    let (code, promoted) = desk.run_json(&["promote", "pr-7", again["id"].as_str().unwrap()]).await;
    assert_eq!((code, &promoted["outcome"], &promoted["changed"]), (0, &json!("deployed"), &json!(2)));
    assert_eq!(desk.stage.cloud.object(STAGING, "uploads/site.zip").unwrap().body, archive, "the very bytes");
    assert_eq!(live_under(&desk, ""), build("preview"));
    let (_, shown) = desk.run_json(&["show"]).await;
    let source = &shown["deployment"]["source"];
    assert_eq!((&source["preview"], &source["message"]), (&json!("pr-7"), &json!("Menu")));
    let said = desk.run(&["show"]).await;
    assert!(said.out.contains("promoted from the preview pr-7"), "{said:?}");
    let said = desk.run(&["history"]).await;
    assert!(said.out.contains("[pr-7]"), "{said:?}");
    // The digest of a preview's archive is not believed.
    let (_, again) = desk.run_json(&["push", "site"]).await;
    assert_eq!((&again["outcome"], &again["uploaded"]), (&json!("unchanged"), &Value::Null));

    let (code, removed) = desk.run_json(&["remove", "pr-7"]).await;
    assert_eq!((code, &removed["outcome"]), (0, &json!("removed")));
    assert_eq!((live_under(&desk, "previews/"), live_under(&desk, "")), (Files::new(), build("preview")));
    let (code, again) = desk.run_json(&["remove", "pr-7"]).await;
    assert_eq!((code, &again["outcome"]), (0, &json!("removed")));
    let (_, listed) = desk.run_json(&["previews"]).await;
    assert_eq!(listed, json!([]));
    let (code, failed) = desk.run_json(&["promote", "pr-7"]).await;
    assert_eq!((code, &failed["errorType"]), (2, &json!("Usage")));
}

#[tokio::test]
async fn the_branch_names_the_preview() {
    let desk = desk().await;
    desk.write(&build("one"));
    let mut command = desk.command(&["push", "site", "--json", "--preview"]);
    let output = command.env("DROPSHIP_STACK", STACK).env("GITHUB_HEAD_REF", "feature/Menu_2").output().await.unwrap();
    let pushed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(pushed["preview"], "feature-menu-2", "{pushed}");
    assert_eq!(live_under(&desk, "previews/feature-menu-2/"), build("one"));
}

#[tokio::test]
async fn a_rollback_and_a_plan_of_a_preview_stay_in_it() {
    let desk = desk().await;
    for text in ["one", "two"] {
        desk.write(&build(text));
        assert_eq!(desk.run(&["push", "site", "--preview", "a"]).await.code, 0);
    }
    let said = desk.run(&["rollback", "--preview", "a", "--yes"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(live_under(&desk, "previews/a/"), build("one"));
    let (_, plan) = desk.run_json(&["plan", "site", "--preview", "a"]).await;
    assert_eq!(plan["plan"]["changed"], json!(["previews/a/docs/index.html", "previews/a/index.html"]));
    assert_eq!(live_under(&desk, ""), Files::new());
}

#[tokio::test]
async fn wrong_names_and_stacks_without_previews_are_told_before_anything_is_uploaded() {
    let desk = desk().await;
    desk.write(&build("one"));
    for arguments in [&["push", "site", "--preview", "PR_7"][..], &["remove", "PR_7"], &["promote", "-a"]] {
        let said = desk.run(arguments).await;
        assert_eq!(said.code, 2, "{said:?}");
    }
    let mut wrong = build("live");
    wrong.insert("previews/x.html".to_owned(), b"x".to_vec());
    desk.write(&wrong);
    let said = desk.run(&["push", "site"]).await;
    assert!(said.code == 1 && said.err.contains("belongs to the previews of this stack"), "{said:?}");
    assert!(desk.stage.cloud.objects(STAGING).is_empty());

    let without = Desk::new().await;
    without.write(&build("one"));
    for arguments in [&["push", "site", "--preview", "a"][..], &["previews"], &["remove", "a"], &["promote", "a"]] {
        let said = without.run(arguments).await;
        assert!(said.code == 2 && said.err.contains("has no previews"), "{said:?}");
    }
}
