//! The output of a command: text for people, with colours and a bar on a terminal, or JSON for machines.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use dropship::printable::printable;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const DIM: Style = Style::new().dimmed();
pub const BOLD: Style = Style::new().bold();

/// Prints for people, or JSON.
pub struct Printer {
    is_json: bool,
}

impl Printer {
    pub fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Prints a command's result: `text` for people, or `value` as JSON.
    pub fn result(&self, value: &impl Serialize, text: &str) {
        let document = if self.is_json {
            let json = serde_json::to_string_pretty(value).unwrap_or_default();
            json.lines().map(|line| format!("{}\n", printable(line))).collect()
        } else {
            text.to_owned()
        };
        // A closed pipe is no error: its reader has read enough.
        let _ = anstream::stdout().write_all(document.as_bytes());
    }

    /// Tells people what happens. It goes to the standard error, so that the result alone is on the standard output.
    pub fn tell(&self, line: &str) {
        if !self.is_json {
            let _ = writeln!(anstream::stderr(), "{line}");
        }
    }

    pub fn failure(&self, failure: &Failure) {
        if self.is_json {
            let value = json!({"errorType": failure.error_type(), "errorMessage": failure.to_string()});
            self.result(&value, "");
        } else {
            let message = failure.to_string();
            let _ = writeln!(anstream::stderr(), "{BAD}error:{BAD:#} {}", printable(&message));
        }
    }

    /// Returns a bar that shows progress on a terminal, and nothing elsewhere.
    pub fn bar(&self, what: &'static str, total: u64, unit: Unit) -> ProgressBar {
        if self.is_json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let template = match unit {
            Unit::Bytes => "{msg} {wide_bar} {bytes}/{total_bytes}",
            Unit::Objects => "{msg} {wide_bar} {pos}/{len}",
        };
        let bar = ProgressBar::new(total).with_message(what);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// Prints bytes as they are. A closed pipe is no error: its reader has read enough.
pub fn document(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::local(error)),
        _ => Ok(()),
    }
}

/// The unit in which a bar counts.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    Bytes,
    Objects,
}

/// Returns a number of bytes for people.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// Returns a number and its noun, such as `1 file` or `1,000 files`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", indicatif::HumanCount(number))
}
