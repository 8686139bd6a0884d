//! Cuts texts and lists that an uploader may have chosen, so that no answer, record or error is too long to be carried.
//!
//! The texts are made printable, too. Lengths are those of JSON text, in which some characters take two bytes.

use crate::printable::printable;

/// The longest text: S3's keys have at most 1,024 bytes, and CloudFront's paths 4,000 characters.
pub const MAX_TEXT_BYTES: usize = 4_096;

/// How many elements of a list a sentence names, and how long each of them may be.
pub const NAMED: usize = 10;
const MAX_NAME_BYTES: usize = 256;

/// More than the quotes and the comma around an element, or around the text that ends a cut list or text.
const QUOTES_BYTES: usize = 3;
const END_BYTES: usize = 40;

/// Returns a [`printable`] text, or its beginning and how much was cut.
pub fn text(text: &str) -> String {
    text_to(text, MAX_TEXT_BYTES)
}

/// Returns the elements of a list that a sentence names: the first ones, and how many more there are.
pub fn named<T: AsRef<str>>(list: &[T]) -> Vec<String> {
    named_of(list, list.len())
}

/// Returns the [named] elements of a list as a part of a sentence.
pub fn sentence<T: AsRef<str>>(list: &[T]) -> String {
    sentence_of(list, list.len())
}

/// Returns the same as [`sentence`], for a list of `count` elements of which the first are given.
pub fn sentence_of<T: AsRef<str>>(first: &[T], count: usize) -> String {
    named_of(first, count).join(", ")
}

/// Returns the same as [`named`], for a list of `count` elements of which the first are given.
pub fn named_of<T: AsRef<str>>(first: &[T], count: usize) -> Vec<String> {
    let first = first.iter().take(NAMED).map(|element| text_to(element.as_ref(), MAX_NAME_BYTES));
    with_rest(first.collect(), count)
}

/// Returns the first elements of a list that together take at most `max_bytes`, and how many more there are.
pub fn list(list: &[String], max_bytes: usize) -> Vec<String> {
    let sizes = || list.iter().map(|element| text_bytes(element) + QUOTES_BYTES);
    let fits = fitting(sizes(), max_bytes);
    let count = if fits == list.len() { fits } else { fitting(sizes(), max_bytes.saturating_sub(END_BYTES)) };
    with_rest(list[..count].iter().map(|element| text(element)).collect(), list.len())
}

/// Returns how many bytes a list takes if it is not cut, but at most `max_bytes`.
pub fn list_bytes(list: &[String], max_bytes: usize) -> usize {
    let mut bytes = 0;
    for element in list {
        bytes += text_bytes(element) + QUOTES_BYTES;
        if bytes > max_bytes {
            return max_bytes;
        }
    }
    bytes
}

/// Returns how many of the first elements, of these sizes, fit into `max_bytes`.
pub fn fitting(sizes: impl Iterator<Item = usize>, max_bytes: usize) -> usize {
    let mut left_bytes = max_bytes;
    sizes.take_while(|size| left_bytes.checked_sub(*size).inspect(|left| left_bytes = *left).is_some()).count()
}

/// Divides `room` fairly: what the small ones do not need goes to the large ones.
pub fn shares(needs: &[usize], room: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|&index| needs[index]);
    let mut shares = vec![0; needs.len()];
    let mut left = room;
    for (done, index) in order.into_iter().enumerate() {
        shares[index] = needs[index].min(left / (needs.len() - done));
        left -= shares[index];
    }
    shares
}

fn with_rest(mut first: Vec<String>, count: usize) -> Vec<String> {
    let more = count - first.len();
    if more > 0 {
        first.push(format!("and {more} more"));
    }
    first
}

fn text_to(text: &str, max_bytes: usize) -> String {
    let text = &*printable(text);
    let sizes = || text.chars().map(char_bytes);
    if fitting(sizes(), max_bytes) == text.chars().count() {
        return text.to_owned();
    }
    let kept = fitting(sizes(), max_bytes - END_BYTES);
    let more = text.chars().count() - kept;
    let kept: String = text.chars().take(kept).collect();
    format!("{kept}… and {more} more characters")
}

/// Returns how many bytes [`text`] takes as JSON, without quotes.
fn text_bytes(text: &str) -> usize {
    let bytes: usize = printable(text).chars().map(char_bytes).sum();
    bytes.min(MAX_TEXT_BYTES)
}

fn char_bytes(char: char) -> usize {
    match char {
        '"' | '\\' => 2,
        _ => char.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sentence_names_the_first_elements_and_counts_the_rest() {
        let names = |count: usize| -> Vec<String> { (1..=count).map(|number| number.to_string()).collect() };
        assert_eq!(sentence(&names(0)), "");
        assert_snapshot!(sentence(&names(10)), @"1, 2, 3, 4, 5, 6, 7, 8, 9, 10");
        assert_snapshot!(sentence(&names(1_010)), @"1, 2, 3, 4, 5, 6, 7, 8, 9, 10, and 1000 more");
        assert_snapshot!(sentence(&["é".repeat(1_000).as_str(), "b"]).replace('é', ""), @"… and 892 more characters, b");
    }

    #[test]
    fn the_small_get_what_they_need_and_the_large_share_the_rest() {
        assert_eq!(shares(&[10, 1_000, 20, 2_000], 630), [10, 300, 20, 300]);
        assert_eq!(shares(&[10, 20], 630), [10, 20]);
        assert_eq!(shares(&[], 630), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn lengths_are_those_of_json(text in any::<String>()) {
            prop_assert_eq!(text_bytes(&text) + 2, serde_json::to_string(&super::text(&text)).unwrap().len());
        }

        #[test]
        fn a_list_fits_and_says_how_much_was_cut(
            list in prop::collection::vec("[a\u{1}é\"]{0,30}", 0..30),
            max_bytes in 2 * END_BYTES..1_000,
        ) {
            let cut = super::list(&list, max_bytes);
            prop_assert!(serde_json::to_string(&cut).unwrap().len() <= max_bytes + 1);
            if cut.len() != list.len() || list.iter().any(|text| !cut.contains(&printable(text).into_owned())) {
                let kept = cut.len() - 1;
                let printable: Vec<_> = list[..kept].iter().map(|text| printable(text)).collect();
                prop_assert_eq!(&cut[..kept], &printable[..]);
                prop_assert_eq!(&cut[kept], &format!("and {} more", list.len() - kept));
            }
        }
    }
}
