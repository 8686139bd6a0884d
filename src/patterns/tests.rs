use super::*;

fn selects(list: &str, name: &str) -> bool {
    Patterns::parse(list).unwrap().selecting(name).is_some()
}

#[test]
fn a_pattern_without_a_slash_matches_at_any_depth_and_others_from_the_root() {
    for (pattern, selected, others) in [
        ("*.map", &["a.map", "a/b.map", ".map"][..], &["a.map.js", "a.maps"][..]),
        (".env.*", &[".env.local", "a/.env.local"], &[".env", "x.env.a"]),
        ("drafts/", &["drafts/a", "a/drafts/b/c", "drafts/"], &["drafts", "a/drafts"]),
        ("/drafts/", &["drafts/a"], &["a/drafts/b", "drafts"]),
        ("/*.txt", &["a.txt"], &["a/a.txt"]),
        ("a/*.txt", &["a/b.txt"], &["a/b/c.txt", "b/a/b.txt"]),
        ("a/**/b", &["a/b", "a/x/y/b", "a/b/c"], &["b", "x/a/b"]),
        ("a/**", &["a/b", "a/b/c"], &["a", "b/a"]),
        ("**/a/b", &["a/b", "x/a/b"], &["a/c"]),
        ("[ab]?.js", &["a1.js", "x/b2.js"], &["c1.js", "a/.js"]),
        ("\\!a", &["!a"], &["a"]),
        ("größe", &["größe", "größe/a"], &["grösse"]),
    ] {
        for name in selected {
            assert!(selects(pattern, name), "{pattern} {name}");
        }
        for name in others {
            assert!(!selects(pattern, name), "{pattern} {name}");
        }
    }
}

#[test]
fn the_last_pattern_that_matches_decides() {
    let list = "*.map, !app.js.map, app.js.map2";
    assert!(selects(list, "a.map"));
    assert!(!selects(list, "a/app.js.map"));
    let patterns = Patterns::parse(".git/,*.map,!a.map").unwrap();
    assert_eq!(patterns.selecting(".git/config"), Some(0));
    assert_eq!(patterns.selecting("b.map"), Some(1));
    assert_eq!(patterns.selecting("a.map"), None);
    assert!(!selects(".git/,!.git/", ".git/config"));
    assert!(selects(".git/,!.git/config", ".git/config"), "Git does not look into a folder that is left out");
    assert!(!selects("a/*,!a/b/", "a/b/c"));
}

#[test]
fn patterns_are_separated_by_commas_or_line_breaks() {
    let patterns = Patterns::parse("# source maps, and drafts\n *.map ,\r\n\n/drafts/\n").unwrap();
    insta::assert_debug_snapshot!(patterns, @r#"
    [
        "*.map",
        "/drafts/",
    ]
    "#);
    assert!(Patterns::parse(" \n,").unwrap().is_empty());
    assert_eq!(Patterns::default().selecting("a"), None);
}

#[test]
fn a_pattern_that_is_not_valid_is_named() {
    let errors: Vec<String> =
        ["*.map,[a", "/", "!", "a\\", "[z-a]", "a}"].map(|list| Patterns::parse(list).unwrap_err().to_string()).into();
    insta::assert_snapshot!(errors.join("\n"), @r"
    the pattern `[a`: unclosed character class; missing ']'
    the pattern `/`: it names no file
    the pattern `!`: it names no file
    the pattern `a\`: dangling '\'
    the pattern `[z-a]`: invalid range; 'z' > 'a'
    the pattern `a}`: braces do not stand for alternatives; write one pattern for each, or `\{` for the brace itself
    ");
}

#[test]
fn a_pattern_that_no_name_can_match_is_not_valid() {
    for list in ["./drafts/", "../a", "a/./b", "a//b", "//a", "!./a", "{a}", "*.{map", "a}"] {
        let error = Patterns::parse(list).unwrap_err();
        assert!(error.problem.contains("no name") || error.problem.contains("braces"), "{list}: {error}");
    }
    assert!(selects(r"a\{b\}", "a{b}") && selects("[{]b[}]", "{b}"));
    assert!(!selects("*", ""), "the root is no file");
}
