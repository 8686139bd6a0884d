//! Patterns with `*`, for keys in faults and for the path patterns of behaviours.

/// Returns whether a pattern matches a whole text. `*` matches any characters, including `/`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|index| rest.is_char_boundary(*index)).any(|index| matches(after, &rest[index..]))
        }),
    }
}
