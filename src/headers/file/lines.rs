//! Numbers of lines, of which warnings name the first.

use std::fmt;

use crate::cut;

/// Lines in ascending order. Only those that a sentence names are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    first: Vec<usize>,
    count: usize,
}

impl Lines {
    pub(super) fn push(&mut self, line: usize) {
        if self.count < cut::NAMED {
            self.first.push(line);
        }
        self.count += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Writes a phrase, such as `lines 3, 7`.
impl fmt::Display for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.count == 1 { "line" } else { "lines" };
        let first: Vec<String> = self.first.iter().map(usize::to_string).collect();
        write!(formatter, "{word} {}", cut::sentence_of(&first, self.count))
    }
}
