//! The path patterns of `_headers`.
//!
//! A pattern may have one splat (`*`, any characters) and several placeholders (`:name`, one or more characters of one
//! segment). They capture the same as in the regular expression that Cloudflare Pages makes of the pattern:
//! the first of them gets as much as it can, then the next.

mod segment;

use std::ops::Range;

use percent_encoding::percent_decode_str;

use segment::{Anchors, Segment};

pub(super) use segment::Constraint;

/// Neither Netlify nor Cloudflare Pages states a limit. Sites need at most three.
const MAX_PLACEHOLDERS: usize = 20;

/// Bounds the memory that the index of the rules takes. Sites rarely have ten folders in one another.
pub(super) const MAX_SEGMENTS: usize = 32;

/// How many segments of a pattern the index may take by their beginnings and ends, which takes memory. Sites need one.
const MAX_PARTIAL_SEGMENTS: usize = 2;

/// A path pattern, divided into the segments between its slashes.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// The segments up to the splat, the last of which ends at it; all segments of a pattern without a splat.
    front: Vec<Segment>,
    /// The segments from the splat on, the first of which begins at it.
    back: Option<Vec<Segment>>,
    /// The names of the captures, in the order in which [`Self::captures`] finds it.
    names: Vec<String>,
}

/// The conditions under which a pattern matches a path.
pub(super) struct Shape<'a> {
    /// How many segments the path must have; more are possible if `is_open`.
    pub segments: usize,
    pub is_open: bool,
    /// The constraints on the first segments of the path, and on its last ones, the last one first.
    pub front: Vec<Constraint<'a>>,
    pub back: Vec<Constraint<'a>>,
}

impl Pattern {
    /// Parses a pattern. Its percent-escapes are decoded, since it is matched with the names of files, which are not
    /// encoded.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the pattern, as the end of a sentence.
    pub(super) fn parse(pattern: &str) -> Result<Self, &'static str> {
        let mut rest = pattern.strip_prefix('/').unwrap_or(pattern);
        let mut segments = vec![Segment::default()];
        let mut front = None;
        let mut names: Vec<&str> = Vec::new();
        while !rest.is_empty() {
            let (literal, wildcard) = rest.split_at(wildcard_start(rest));
            push_literal(&mut segments, &decoded(literal));
            if let Some(after) = wildcard.strip_prefix('*') {
                if front.is_some() {
                    return Err(
                        "has more than one `*`; write a name such as `:folder` for each segment that another one stands for",
                    );
                }
                front = Some(std::mem::replace(&mut segments, vec![Segment::default()]));
                names.push("splat");
                rest = after;
            } else if let Some(after) = wildcard.strip_prefix(':') {
                let (name, after) = after.split_at(placeholder_bytes(after));
                push_placeholder(&mut segments, name);
                names.push(name);
                rest = after;
            } else {
                break;
            }
        }
        check_names(names)?;
        let (front, back) = match front {
            Some(front) => (front, Some(segments)),
            None => (segments, None),
        };
        // The splat is within a segment, whose parts are in both lists.
        if front.len() + back.as_ref().map_or(0, |back| back.len() - 1) > MAX_SEGMENTS {
            return Err("has over 32 segments; let `*` stand for the last ones");
        }
        let mut pattern = Self { front, back, names: Vec::new() };
        pattern.names = pattern.names_in_order();
        Ok(pattern)
    }

    /// Returns the index of a capture by its name.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Whether a path can meet the constraints of a shape and yet not match.
    pub(super) fn has_inexact_shapes(&self) -> bool {
        let around_splat = self.around_splat();
        self.segments().any(|segment| segment.placeholders() > 1)
            || around_splat.is_some_and(|(head, tail, ..)| head.placeholders() + tail.placeholders() > 0)
            || self.has_relaxed_shapes()
    }

    /// Whether the shapes do not tell how segments begin and end.
    fn has_relaxed_shapes(&self) -> bool {
        self.segments().filter(|segment| segment.is_partial()).count() > MAX_PARTIAL_SEGMENTS
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.front.iter().chain(self.back.iter().flatten())
    }

    /// Returns the shapes of the paths that match.
    pub(super) fn shapes(&self) -> Vec<Shape<'_>> {
        let mut shapes = self.exact_shapes();
        if self.has_relaxed_shapes() {
            let constraints = shapes.iter_mut().flat_map(|shape| shape.front.iter_mut().chain(&mut shape.back));
            constraints.for_each(Constraint::relax);
        }
        shapes
    }

    fn exact_shapes(&self) -> Vec<Shape<'_>> {
        let Some((head, tail, whole_front, whole_back)) = self.around_splat() else {
            let front = constraints(&self.front);
            return vec![Shape { segments: front.len(), is_open: false, front, back: Vec::new() }];
        };
        let segments = whole_front.len() + whole_back.len();
        let (front, back) = (constraints(whole_front), constraints(whole_back));
        // The splat stands for characters of a single segment, or reaches over a slash.
        let within = front.iter().cloned().chain([head.joined(tail)]).chain(back.iter().cloned()).collect();
        vec![
            Shape { segments: segments + 1, is_open: false, front: within, back: Vec::new() },
            Shape {
                segments: segments + 2,
                is_open: true,
                front: front.into_iter().chain([head.beginning()]).collect(),
                back: [tail.ending()].into_iter().chain(back).rev().collect(),
            },
        ]
    }

    /// Finds what the splat and the placeholders stand for in a path, as ranges of its bytes, and returns whether the
    /// path matches. Counts the steps.
    pub(super) fn captures(&self, path: &str, ranges: &mut Vec<Range<usize>>, steps: &mut usize) -> bool {
        ranges.clear();
        self.try_captures(path, ranges, steps).is_some()
    }

    fn try_captures(&self, path: &str, ranges: &mut Vec<Range<usize>>, steps: &mut usize) -> Option<()> {
        let (mut start, mut end) = (1, path.len());
        let Some((head, tail, whole_front, whole_back)) = self.around_splat() else {
            let (last, others) = self.front.split_last()?;
            for segment in others {
                let length = path[start..].find('/')?;
                segment.place(path, start..start + length, Anchors::Both, ranges, steps)?;
                start += length + 1;
            }
            let is_last = !path[start..].contains('/');
            return is_last.then(|| last.place(path, start..end, Anchors::Both, ranges, steps)).flatten().map(|_| ());
        };
        for segment in whole_front {
            let length = path[start..].find('/')?;
            segment.place(path, start..start + length, Anchors::Both, ranges, steps)?;
            start += length + 1;
        }
        for segment in whole_back.iter().rev() {
            let slash = start + path[start..end].rfind('/')?;
            segment.place(path, slash + 1..end, Anchors::Both, ranges, steps)?;
            end = slash;
        }
        let last = path[start..end].rfind('/').map_or(start, |slash| start + slash + 1);
        let splat_end = tail.place(path, last..end, Anchors::End, ranges, steps)?.start;
        let first = path[start..splat_end].find('/').map_or(splat_end, |slash| start + slash);
        let splat_start = head.place(path, start..first, Anchors::Start, ranges, steps)?.end;
        ranges.push(splat_start..splat_end);
        Some(())
    }

    /// Returns the parts of segments at both sides of the splat, and the whole segments before and behind these.
    fn around_splat(&self) -> Option<(&Segment, &Segment, &[Segment], &[Segment])> {
        let (tail, whole_back) = self.back.as_ref()?.split_first()?;
        let (head, whole_front) = self.front.split_last()?;
        Some((head, tail, whole_front, whole_back))
    }

    fn names_in_order(&self) -> Vec<String> {
        let names = |segment: &Segment| segment.names.iter().rev().cloned().collect::<Vec<_>>();
        match self.around_splat() {
            None => self.front.iter().flat_map(names).collect(),
            Some((head, tail, whole_front, whole_back)) => {
                let segments = whole_front.iter().chain(whole_back.iter().rev()).chain([tail, head]);
                segments.flat_map(names).chain(["splat".to_owned()]).collect()
            }
        }
    }
}

fn constraints(segments: &[Segment]) -> Vec<Constraint<'_>> {
    segments.iter().map(Segment::constraint).collect()
}

/// Returns the length of the placeholder name at the start of `text`.
pub(super) fn placeholder_bytes(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Returns where the first wildcard of a text begins. Without a letter after it, a colon stands for itself.
fn wildcard_start(text: &str) -> usize {
    let is_wildcard = |at: usize| match text.as_bytes()[at] {
        b'*' => true,
        _ => text.as_bytes().get(at + 1).is_some_and(u8::is_ascii_alphabetic),
    };
    text.match_indices(['*', ':']).map(|(at, _)| at).find(|&at| is_wildcard(at)).unwrap_or(text.len())
}

fn decoded(literal: &str) -> String {
    // No file has a name that is not UTF-8, so escapes of other bytes are not meant as such.
    percent_decode_str(literal).decode_utf8().map_or_else(|_| literal.to_owned(), String::from)
}

fn push_literal(segments: &mut Vec<Segment>, literal: &str) {
    for (number, part) in literal.split('/').enumerate() {
        if number > 0 {
            segments.push(Segment::default());
        }
        if let Some(segment) = segments.last_mut() {
            segment.push_literal(part);
        }
    }
}

fn push_placeholder(segments: &mut [Segment], name: &str) {
    if let Some(segment) = segments.last_mut() {
        segment.push_placeholder(name);
    }
}

fn check_names(mut names: Vec<&str>) -> Result<(), &'static str> {
    if names.len() > MAX_PLACEHOLDERS {
        return Err("has over 20 placeholders; let `*` stand for the last ones");
    }
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("has two placeholders with the same name; rename one of them");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
