//! The command line at a terminal: a pseudo-terminal that `script` makes.

use std::process::Stdio;

use insta::assert_snapshot;
use regex::Regex;

use super::desk::{Desk, STACK, Said};
use crate::build::files;

/// Runs a command at a terminal with this many columns.
async fn at_terminal(desk: &Desk, columns: u16, no_color: bool, command: &str) -> String {
    let executable = env!("CARGO_BIN_EXE_dropship");
    let line = format!("stty cols {columns}; '{executable}' {command}");
    let environment = desk.command(&[]);
    let mut script = tokio::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(desk.path()).stdin(Stdio::null()).env_clear();
    let variables =
        environment.as_std().get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    script.envs(variables).env("DROPSHIP_STACK", STACK).env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
    if no_color {
        script.env("NO_COLOR", "1");
    }
    let said = Said::from(script.output().await.unwrap());
    said.out.replace("\r\n", "\n")
}

#[tokio::test]
async fn colours_are_for_terminals_alone_and_no_color_turns_them_off() {
    let desk = Desk::new().await;
    desk.write(&files([("index.html", "one")]));
    assert_eq!(desk.run(&["push", "site"]).await.code, 0);
    for command in ["status", "history", "show"] {
        let coloured = at_terminal(&desk, 200, false, command).await;
        assert!(coloured.contains("\u{1b}["), "{command}: {coloured:?}");
        let plain = at_terminal(&desk, 200, true, command).await;
        assert!(!plain.contains('\u{1b}'), "{command}: {plain:?}");
        let piped = desk.run(&[command]).await.out;
        assert_eq!(
            piped.split_whitespace().collect::<Vec<_>>(),
            plain.split_whitespace().collect::<Vec<_>>(),
            "{command}"
        );
    }
}

#[tokio::test]
async fn the_history_fits_the_terminal() {
    let desk = Desk::new().await;
    desk.write(&files([("index.html", "one")]));
    assert_eq!(desk.run(&["push", "site", "--message", "Short"]).await.code, 0);
    desk.write(&files([("index.html", "two"), ("app.js", "app")]));
    let mut push = desk.command(&["push", "site", "--stack", STACK, "--message", "Größer"]);
    let pushed = push.env("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567").output().await.unwrap();
    assert_eq!(Said::from(pushed).code, 0);
    assert_eq!(desk.run(&["rollback", "--yes"]).await.code, 0);
    let history = async |columns| redacted(&at_terminal(&desk, columns, true, "history").await);
    assert_snapshot!(history(40).await, @r"
    *3  rolled back, by a person
        2026-11-22 10:15:00 UTC
        20261122T101500Z-0123456789ab
        Short
        0 new, 1 changed, 1 deleted, 0 kept
        0.1 s
    2   deployed, by upload
        2026-11-22 10:15:00 UTC
        20261122T101500Z-0123456789ab
        0123456 Größer
        1 new, 1 changed, 0 deleted, 0 kept
        0.1 s
    1   deployed, by upload
        2026-11-22 10:15:00 UTC
        20261122T101500Z-0123456789ab
        Short
        1 new, 0 changed, 0 deleted, 0 kept
        0.1 s
    * is live
    ");
    assert_snapshot!(history(200).await, @r"
     run  when                     outcome      by        deployment                     commit          changes                              took
     *3   2026-11-22 10:15:00 UTC  rolled back  a person  20261122T101500Z-0123456789ab  Short           0 new, 1 changed, 1 deleted, 0 kept  0.1 s
     2    2026-11-22 10:15:00 UTC  deployed     upload    20261122T101500Z-0123456789ab  0123456 Größer  1 new, 1 changed, 0 deleted, 0 kept  0.1 s
     1    2026-11-22 10:15:00 UTC  deployed     upload    20261122T101500Z-0123456789ab  Short           1 new, 0 changed, 0 deleted, 0 kept  0.1 s
    * is live
    ");
}

/// Replaces ids and times by others of the same width, and durations. Removes spaces at the ends of lines.
fn redacted(text: &str) -> String {
    let redactions = [
        (r"\d{8}T\d{6}Z-[0-9a-f]{12}", "20261122T101500Z-0123456789ab"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "2026-11-22 10:15:00 UTC"),
        (r"\d+\.\d s", "0.1 s"),
        (r"(?m) +$", ""),
    ];
    redactions.iter().fold(text.to_owned(), |text, (pattern, replacement)| {
        Regex::new(pattern).unwrap().replace_all(&text, *replacement).into_owned()
    })
}

#[tokio::test]
async fn a_push_shows_a_bar_at_a_terminal_and_one_line_a_step_in_a_pipe() {
    let desk = Desk::new().await;
    let mut site = files([("index.html", "one")]);
    site.insert("large.png".to_owned(), crate::build::noise(20 << 20, 1));
    desk.write(&site);
    let shown = at_terminal(&desk, 80, false, "push site").await;
    assert!(shown.contains("uploading") && shown.contains("zipping"), "{shown:?}");
    assert!(shown.contains("deployed"), "{shown:?}");
    desk.write(&files([("index.html", "two")]));
    let said = desk.run(&["push", "site"]).await;
    let steps: Vec<&str> = said.err.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(steps, ["zipped", "uploaded"], "{said:?}");
    assert!(!said.err.contains('\u{1b}'), "{said:?}");
}

#[tokio::test]
async fn a_rollback_that_is_declined_changes_nothing() {
    let desk = Desk::new().await;
    for text in ["one", "two"] {
        desk.write(&files([("index.html", text)]));
        assert_eq!(desk.run(&["push", "site"]).await.code, 0);
    }
    // The end of the input is no consent.
    let said = at_terminal(&desk, 80, true, "rollback").await;
    assert!(said.contains("Roll back? [y/N]") && said.contains("nothing was changed"), "{said:?}");
    assert!(!said.contains("error:"), "{said:?}");
    desk.stage.assert_live(&files([("index.html", "two")]));
}
