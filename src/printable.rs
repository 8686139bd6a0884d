//! Texts that an uploader may have chosen, in the form in which they are printed.
//!
//! A line break in a key could otherwise begin a log line of its own, which CloudWatch takes for a metric, and an escape
//! sequence could change what a terminal shows.

use std::borrow::Cow;
use std::io::{self, Write};

use lambda_runtime::tracing::subscriber::fmt::MakeWriter;

/// Returns a text with its unprintable characters escaped as in JSON, such as `\u000a`.
///
/// These are control characters, and those that break a line or change the direction of text. The result is as valid
/// inside of a JSON string as the text was.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut printable = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_unprintable(char) {
            printable.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            printable.push(char);
        }
    }
    Cow::Owned(printable)
}

fn is_unprintable(char: char) -> bool {
    let breaks_line = matches!(char, '\u{2028}' | '\u{2029}');
    // Unicode Standard Annex #9, section 2: marks, embeddings, overrides and isolates.
    let turns_text =
        matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || breaks_line || turns_text
}

/// A writer of log lines that makes each line [`printable`]. The formatter of log lines writes each of them at once.
#[derive(Clone, Debug)]
pub struct PrintableLines<W>(pub W);

impl<W: Write> Write for PrintableLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = printable(text.trim_end_matches('\n'));
        let end = if text.ends_with('\n') { "\n" } else { "" };
        self.0.write_all(format!("{line}{end}").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for PrintableLines<W> {
    type Writer = PrintableLines<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        PrintableLines(self.0.make_writer())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn line_breaks_escape_sequences_and_turned_text_are_escaped() {
        assert_eq!(printable("a\n\u{1b}[31mb\u{85}\u{2028}\u{202e}"), r"a\u000a\u001b[31mb\u0085\u2028\u202e");
        assert_eq!(printable("größe \\ \"🎉\""), "größe \\ \"🎉\"");
    }

    proptest! {
        #[test]
        fn json_stays_the_same_json(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let read: String = serde_json::from_str(&printable(&json)).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn a_line_stays_one_line(text in "(?s:.){0,20}") {
            let mut written = Vec::new();
            PrintableLines(&mut written).write_all(format!("{text}\n").as_bytes()).unwrap();
            let written = String::from_utf8(written).unwrap();
            prop_assert!(!written.strip_suffix('\n').unwrap().contains(is_unprintable));
        }
    }
}
