//! What is refused or wrong, in words, with its exit code.

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use standins::{Does, Fault};

use super::desk::{Desk, STACK, Said};
use crate::build::{files, zipped};

#[tokio::test]
async fn what_the_function_would_refuse_is_not_uploaded() {
    let desk = Desk::new().await;
    for (name, bytes) in [
        ("text.zip", b"no zip".to_vec()),
        ("out.zip", zipped(&files([("../index.html", "out")]))),
        ("headers.zip", zipped(&files([("index.html", "a"), ("_headers", "no path\n")]))),
    ] {
        std::fs::write(desk.path().join(name), bytes).unwrap();
        let said = desk.run(&["push", name]).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.starts_with(&format!("error: {name}: the archive was refused: ")), "{said:?}");
    }
    assert_eq!(desk.stage.count("PutObject"), 0);
}

#[tokio::test]
async fn a_folder_that_is_not_the_site_asks_for_the_right_one() {
    let desk = Desk::new().await;
    desk.write(&files([("browser/index.html", "one"), ("browser/en/index.html", "en"), ("stats.json", "{}")]));
    let said = desk.run(&["push", "site"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("is site/browser the site?"), "{said:?}");
    let said = desk.run(&["push", "site/browser"]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test]
async fn a_link_out_of_the_folder_is_refused_and_one_inside_is_followed() {
    let desk = Desk::new().await;
    desk.write(&files([("index.html", "one"), ("a/b.txt", "text")]));
    symlink("a", desk.path().join("site/c")).unwrap();
    assert_eq!(desk.run(&["push", "site"]).await.code, 0);
    desk.stage.assert_live(&files([("index.html", "one"), ("a/b.txt", "text"), ("c/b.txt", "text")]));
    symlink("/etc/hostname", desk.path().join("site/d")).unwrap();
    let said = desk.run(&["push", "site"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("d is a link out of the folder"), "{said:?}");
}

#[tokio::test]
async fn a_deployment_that_fails_prints_the_functions_sentence() {
    let desk = Desk::new().await;
    let refused = Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) };
    desk.stage.cloud.fault(refused);
    desk.write(&files([("index.html", "one")]));
    let said = desk.run(&["push", "site"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("error: CloudFront has not accepted 1 invalidation batches yet"), "{said:?}");
    assert!(!said.err.contains("panicked"), "{said:?}");
}

#[tokio::test]
async fn wrong_arguments_end_with_2_and_say_what_to_do() {
    let desk = Desk::new().await;
    let run = async |arguments: &[&str]| Said::from(desk.command(arguments).output().await.unwrap());
    for (arguments, words) in [
        (&["status"][..], "--stack NAME"),
        (&["status", "--stack", "other"], "there is no stack other"),
        (&["push", "--stack", STACK, "missing"], "missing does not exist"),
        (&["push", "--stack", STACK, "site", "--name", "site.tar"], "ends in `.zip`"),
        (&["rollback", "--stack", STACK, "--yes"], "nothing was live before"),
        (&["rollback", "--stack", STACK, "other", "--yes"], "there is no such deployment (other)"),
        (&["history", "--stack", STACK, "-n", "0"], "invalid value '0'"),
        (&["push", "--stack", STACK, "site", "--name", "a\nb.zip"], "ends in `.zip`"),
        (&["show", "--stack", STACK, "20261122T101500Z-0123456789ab"], "there is no deployment"),
        (&["frobnicate"], "unrecognized subcommand"),
    ] {
        let said = run(arguments).await;
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(said.err.contains(words), "{arguments:?}: {said:?}");
    }
    std::fs::write(desk.path().join("dropship.toml"), format!("stack = \"{STACK}\"\n")).unwrap();
    assert_eq!(run(&["status"]).await.code, 0);
    std::fs::write(desk.path().join("dropship.toml"), "stak = \"a\"\n").unwrap();
    let said = run(&["status"]).await;
    assert!(said.code == 2 && said.err.contains("line 1: unknown field `stak`"), "{said:?}");
    assert!(!said.err.contains("\\u000a"), "{said:?}");
    let said = run(&["push", "--json"]).await;
    assert!(said.code == 2 && said.err.is_empty(), "{said:?}");
    let value = said.json();
    assert_eq!(value["errorType"], "Usage");
    assert!(value["errorMessage"].as_str().unwrap().starts_with("the following required"), "{value}");
}

#[tokio::test]
async fn every_command_has_a_help_page_with_an_example() {
    let desk = Desk::new().await;
    for command in
        ["push", "plan", "status", "history", "show", "logs", "rollback", "redrive", "doctor", "completions", "man"]
    {
        let said = Said::from(desk.command(&[command, "--help"]).output().await.unwrap());
        assert!(said.code == 0 && said.out.contains("Example") && said.out.contains("Usage:"), "{command}: {said:?}");
    }
    let pages = desk.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    let said = Said::from(desk.command(&["man", "pages"]).output().await.unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(std::fs::read_to_string(pages.join("dropship.1")).unwrap().contains("rollback"));
    assert!(std::fs::read_to_string(pages.join("dropship-push.1")).unwrap().contains("without following"));
    let said = Said::from(desk.command(&["man", "missing"]).output().await.unwrap());
    assert!(said.code == 1 && said.err.contains("writing into missing: "), "{said:?}");
    for arguments in [&["man"][..], &["completions", "bash"], &["completions", "zsh"], &["completions", "fish"]] {
        let said = Said::from(desk.command(arguments).output().await.unwrap());
        assert!(said.code == 0 && said.out.contains("rollback"), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_printed_is_an_error_and_a_closed_pipe_is_none() {
    let desk = Desk::new().await;
    for arguments in [&["man"][..], &["completions", "bash"]] {
        let print_into = async |out: Stdio| {
            let child = desk.command(arguments).stdout(out).stderr(Stdio::piped()).spawn().unwrap();
            Said::from(child.wait_with_output().await.unwrap())
        };
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let said = print_into(full.into()).await;
        assert!(said.code == 1 && said.err.starts_with("error: ") && !said.err.contains("panicked"), "{said:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = print_into(writer.into()).await;
        assert!(said.code == 0 && said.err.is_empty(), "{said:?}");
    }
}

#[tokio::test]
async fn a_failed_request_is_told_in_one_sentence() {
    let desk = Desk::new().await;
    let run = async |variable: &str, value: &str| {
        let mut command = desk.command(&["status", "--stack", STACK]);
        Said::from(command.env(variable, value).env("AWS_MAX_ATTEMPTS", "1").output().await.unwrap())
    };
    let said = run("AWS_ENDPOINT_URL", "http://127.0.0.1:1").await;
    assert!(said.code == 1 && said.err.contains("Connection refused"), "{said:?}");
    assert!(!said.err.contains("DispatchFailure"), "{said:?}");
    let said = run("AWS_ACCESS_KEY_ID", "").await;
    assert!(
        said.code == 1 && said.err.starts_with("error: there are no AWS credentials: say --profile NAME"),
        "{said:?}"
    );
    assert!(!said.err.contains("CredentialsNotLoaded") && !said.err.contains("\\u000a"), "{said:?}");
}

#[tokio::test]
async fn a_profile_on_the_command_line_wins_over_keys_in_the_environment() {
    let desk = Desk::new().await;
    let variables: HashMap<String, String> = desk.stage.cloud.environment().into_iter().collect();
    let (key, secret) = (&variables["AWS_ACCESS_KEY_ID"], &variables["AWS_SECRET_ACCESS_KEY"]);
    let profile = format!("[profile mine]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    std::fs::create_dir(desk.path().join(".aws")).unwrap();
    std::fs::write(desk.path().join(".aws/config"), profile).unwrap();
    let run = async |profile: &str, secret: &str| {
        let mut command = desk.command(&["status", "--stack", STACK, "--profile", profile]);
        Said::from(command.env("AWS_SECRET_ACCESS_KEY", secret).output().await.unwrap())
    };
    let said = run("mine", "of another account").await;
    assert_eq!(said.code, 0, "{said:?}");
    let said = run("missing", secret).await;
    assert!(said.code == 1 && said.err.starts_with("error: profile missing has no credentials"), "{said:?}");
}

/// The tests cannot see it: a dependency of the stand-ins turns these features of `aws-config` on.
#[test]
fn the_executable_is_built_with_the_credentials_of_a_person() {
    let manifest: toml::Table = toml::from_str(include_str!("../../../Cargo.toml")).unwrap();
    let features = manifest["features"]["cli"].as_array().unwrap();
    for feature in ["aws-config/credentials-process", "aws-config/sso"] {
        assert!(features.iter().any(|given| given.as_str() == Some(feature)), "{feature}");
    }
}
