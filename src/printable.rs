//! Texts that an uploader may have chosen, in the form in which they are printed.
//!
//! A line break in a key could otherwise begin a log line of its own, which CloudWatch takes for a metric, and an escape
//! sequence could change what a terminal shows.

use std::borrow::Cow;

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
    }
}
