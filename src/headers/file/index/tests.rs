use proptest::prelude::*;

use super::*;

/// Returns the rules that match a path according to the index, and one by one.
fn found(patterns: &[Pattern], path: &str) -> (Vec<usize>, Vec<usize>) {
    let index = Index::new(patterns.iter());
    let matches = |rule: &usize| patterns[*rule].captures(path, &mut Vec::new(), &mut 0);
    let candidates = index.candidates(path, &mut 0);
    let undecided = index.undecided(&candidates, &Bits::none(patterns.len()));
    let decided = candidates.numbers().filter(|rule| !undecided.contains(rule) || matches(rule)).collect();
    (decided, (0..patterns.len()).filter(matches).collect())
}

#[test]
fn only_patterns_with_several_wildcards_in_a_segment_are_left_undecided() {
    for (pattern, is_undecided) in [
        ("/a", false),
        ("/:a/:b/x*y/:c/z", false),
        ("/a:b.html", false),
        ("/*", false),
        ("/:a-/:b-/*.js", false),
        ("/:a-/:b-/:c-", true),
        ("/:a-/:b/:c-/d/:e", false),
        ("/:a-:b", true),
        ("/a/:b*", true),
        ("/*:b", true),
    ] {
        let index = Index::new([Pattern::parse(pattern).unwrap()].iter());
        assert_eq!(!index.inexact.is_empty(), is_undecided, "{pattern}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn the_index_finds_the_rules_that_match(
        patterns in prop::collection::vec("(/(a|b|ab|é|:x|a:x|:xb|a:xb|:x-:y)?){1,3}(/?a?\\*b?(/(a|:z|:zb))?)?", 1..100),
        path in "(/[abé-]{0,3}){1,4}",
    ) {
        let patterns: Vec<Pattern> = patterns.iter().filter_map(|pattern| Pattern::parse(pattern).ok()).collect();
        let (found, expected) = found(&patterns, &path);
        prop_assert_eq!(found, expected);
    }
}
