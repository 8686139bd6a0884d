//! Lists of patterns that select files by their names, in the syntax of `.gitignore`.

#[cfg(test)]
mod tests;

use std::fmt;

use globset::{Glob, GlobBuilder, GlobSet};
use thiserror::Error;

/// A list of patterns. As in Git, the last one that matches a name decides, and nothing below a folder that is
/// selected can be brought back.
#[derive(Clone, Default)]
pub struct Patterns {
    lines: Vec<Line>,
    globs: GlobSet,
}

/// One pattern of the list, without the part that its glob stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Line {
    text: String,
    /// Whether the pattern selects names; with `!` in front it brings them back.
    selects: bool,
    is_for_folders: bool,
}

/// A pattern that is not valid.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("the pattern `{pattern}`: {problem}")]
pub struct BadPattern {
    pub pattern: String,
    pub problem: String,
}

impl Patterns {
    /// Reads patterns that are separated by commas or line breaks. White space around them, empty lines and lines that
    /// begin with `#` do not count.
    ///
    /// # Errors
    /// The first pattern that is not valid.
    pub fn parse(list: &str) -> Result<Self, BadPattern> {
        let (mut lines, mut globs) = (Vec::new(), GlobSet::builder());
        // A comment may have commas.
        let rows = list.lines().filter(|row| !row.trim_start().starts_with('#'));
        for pattern in rows.flat_map(|row| row.split(',')).map(str::trim).filter(|pattern| !pattern.is_empty()) {
            let (line, glob) = Line::parse(pattern)?;
            lines.push(line);
            globs.add(glob);
        }
        let globs = globs.build().map_err(|error| BadPattern {
            pattern: error.glob().unwrap_or(list).to_owned(),
            problem: error.kind().to_string(),
        })?;
        Ok(Self { lines, globs })
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the position of the pattern that selects a file, itself or by one of its folders.
    ///
    /// `name` is `/`-separated, without a leading slash; the name of a folder ends with a slash.
    pub fn selecting(&self, name: &str) -> Option<usize> {
        // The folder that everything is in has no name, and no pattern is about it.
        if self.is_empty() || name.is_empty() {
            return None;
        }
        let folders = name.match_indices('/').map(|(at, _)| (&name[..at], true));
        let file = (!name.ends_with('/')).then_some((name, false));
        folders.chain(file).find_map(|(path, is_folder)| self.selecting_path(path, is_folder))
    }

    /// Returns the pattern that selects a path, whatever its folders are.
    fn selecting_path(&self, path: &str, is_folder: bool) -> Option<usize> {
        let matching = self.globs.matches(path);
        let counts = |at: &usize| is_folder || !self.lines[*at].is_for_folders;
        matching.into_iter().rev().find(counts).filter(|&at| self.lines[at].selects)
    }
}

impl Line {
    /// Reads a pattern as `gitignore(5)` describes it, and returns the glob that it stands for.
    fn parse(pattern: &str) -> Result<(Self, Glob), BadPattern> {
        let (selects, rest) = match pattern.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, pattern),
        };
        let (is_for_folders, rest) = match rest.strip_suffix('/') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let bad = |problem: String| BadPattern { pattern: pattern.to_owned(), problem };
        let path = rest.strip_prefix('/').unwrap_or(rest);
        if path.is_empty() {
            return Err(bad("it names no file".to_owned()));
        }
        if path.split('/').any(|component| matches!(component, "" | "." | "..")) {
            let problem = "no name has an empty component, `.` or `..`; write `/drafts/` for the folder at the root";
            return Err(bad(problem.to_owned()));
        }
        if has_brace(path) {
            let problem =
                "braces do not stand for alternatives; write one pattern for each, or `\\{` for the brace itself";
            return Err(bad(problem.to_owned()));
        }
        // A pattern without a slash matches at any depth, others from the root on.
        let is_anywhere = !rest.contains('/');
        let any_depth = if is_anywhere { "**/" } else { "" };
        // `a/**` means what is in `a`, and not `a`.
        let contents = if path.ends_with("/**") { "/*" } else { "" };
        let glob = GlobBuilder::new(&format!("{any_depth}{path}{contents}"))
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| bad(error.kind().to_string()))?;
        Ok((Self { text: pattern.to_owned(), selects, is_for_folders }, glob))
    }
}

/// Whether a pattern has a brace that is neither escaped nor the first character of a class.
///
/// To Git it is a character like any other, and to the glob it would begin a list of alternatives.
fn has_brace(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    let mut before = None;
    while let Some(char) = chars.next() {
        if matches!(char, '{' | '}') && before != Some('[') {
            return true;
        }
        before = Some(char);
        if char == '\\' {
            before = chars.next();
        }
    }
    false
}

// The globs follow from the lines.
impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.lines == other.lines
    }
}

impl Eq for Patterns {}

impl fmt::Debug for Patterns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.lines.iter().map(|line| &line.text)).finish()
    }
}
