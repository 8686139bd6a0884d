//! One segment of a path pattern.

use std::ops::Range;

use memchr::memmem;

/// The text of a pattern between two slashes, or between a slash and the splat.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// The texts around the placeholders, one more than there are placeholders; some may be empty.
    literals: Vec<String>,
    pub(super) names: Vec<String>,
}

/// The ends of a text that a segment must reach.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Anchors {
    Start,
    End,
    Both,
}

/// A condition on one segment of a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::headers) enum Constraint<'a> {
    Literal(&'a str),
    Around { head: &'a str, tail: &'a str, min_bytes: usize },
}

impl Constraint<'_> {
    /// Accepts any segment, if the segment need not be a literal.
    pub(super) fn relax(&mut self) {
        if let Self::Around { .. } = self {
            *self = Self::Around { head: "", tail: "", min_bytes: 0 };
        }
    }
}

impl Default for Segment {
    fn default() -> Self {
        Self { literals: vec![String::new()], names: Vec::new() }
    }
}

impl Segment {
    pub(super) fn push_literal(&mut self, text: &str) {
        if let Some(last) = self.literals.last_mut() {
            last.push_str(text);
        }
    }

    pub(super) fn push_placeholder(&mut self, name: &str) {
        self.names.push(name.to_owned());
        self.literals.push(String::new());
    }

    pub(super) fn placeholders(&self) -> usize {
        self.names.len()
    }

    /// Whether the segment has both a placeholder and other characters.
    pub(super) fn is_partial(&self) -> bool {
        self.placeholders() > 0 && self.min_bytes() > self.placeholders()
    }

    /// Returns the constraint on a segment of a path that this one is to match as a whole.
    pub(super) fn constraint(&self) -> Constraint<'_> {
        match &self.literals[..] {
            [literal] => Constraint::Literal(literal),
            _ => Constraint::Around { head: self.first(), tail: self.last(), min_bytes: self.min_bytes() },
        }
    }

    /// Returns the constraint on a segment in which the splat stands between this one and `tail`.
    pub(super) fn joined<'a>(&'a self, tail: &'a Self) -> Constraint<'a> {
        Constraint::Around { head: self.first(), tail: tail.last(), min_bytes: self.min_bytes() + tail.min_bytes() }
    }

    /// Returns the constraint on a segment that begins with this one.
    pub(super) fn beginning(&self) -> Constraint<'_> {
        Constraint::Around { head: self.first(), tail: "", min_bytes: self.min_bytes() }
    }

    /// Returns the constraint on a segment that ends with this one.
    pub(super) fn ending(&self) -> Constraint<'_> {
        Constraint::Around { head: "", tail: self.last(), min_bytes: self.min_bytes() }
    }

    /// Places the segment in a range of a path, with each literal as far right as it can be, so that each placeholder
    /// gets as much as it can.
    ///
    /// Appends what the placeholders stand for, the last one first, and returns where the segment is. Counts the steps.
    pub(super) fn place(
        &self,
        path: &str,
        range: Range<usize>,
        anchors: Anchors,
        ranges: &mut Vec<Range<usize>>,
        steps: &mut usize,
    ) -> Option<Range<usize>> {
        let text = &path[range.clone()];
        let last = self.literals.len() - 1;
        let (mut limit, mut next, mut end) = (text.len(), text.len(), text.len());
        for (number, literal) in self.literals.iter().enumerate().rev() {
            *steps += 2;
            let is_at_start = number == 0 && anchors != Anchors::End;
            let is_at_end = number == last && anchors != Anchors::Start;
            let found = match (is_at_start, is_at_end) {
                (true, false) if literal.is_empty() => Some(0),
                (false, _) if literal.is_empty() => Some(limit),
                (true, true) => (text == literal).then_some(0),
                (true, false) => text[..limit].starts_with(literal).then_some(0),
                (false, true) => text.ends_with(literal).then(|| text.len() - literal.len()),
                (false, false) => last_place(&text[..limit], literal, steps),
            }?;
            let literal_end = found + literal.len();
            if number == last {
                end = literal_end;
            } else {
                ranges.push(range.start + literal_end..range.start + next);
            }
            next = found;
            if number > 0 {
                // A placeholder stands for at least one character.
                limit = text[..found].char_indices().next_back()?.0;
            }
        }
        Some(range.start + next..range.start + end)
    }

    fn first(&self) -> &str {
        self.literals.first().map_or("", String::as_str)
    }

    fn last(&self) -> &str {
        self.literals.last().map_or("", String::as_str)
    }

    fn min_bytes(&self) -> usize {
        self.literals.iter().map(String::len).sum::<usize>() + self.placeholders()
    }
}

/// Returns where a text contains another one for the last time. Counts a step for two bytes that are read.
fn last_place(text: &str, sought: &str, steps: &mut usize) -> Option<usize> {
    let found = memmem::rfind(text.as_bytes(), sought.as_bytes());
    *steps += (text.len() - found.unwrap_or(0) + sought.len()) / 2;
    found
}
