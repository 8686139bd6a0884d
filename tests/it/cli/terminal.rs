//! The command line at a terminal: a pseudo-terminal that `script` makes.

use std::process::Stdio;

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
    for columns in [40, 200] {
        let history = at_terminal(&desk, columns, true, "history").await;
        let widest = history.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
        assert!(widest <= usize::from(columns), "{columns}: {history}");
        assert!(history.contains("*1") && history.contains("Short"), "{history}");
    }
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
