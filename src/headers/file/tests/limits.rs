//! Files that are long, and the limits that bound them.

use insta::assert_snapshot;

use super::*;

#[test]
fn headers_that_s3_does_not_store_count_towards_no_limit() {
    let links: String = (0..5_000).map(|n| format!("/page-{n}/*/*\n  Link: </{n}.css>; rel=preload\n")).collect();
    let long = format!("/*\n  Content-Security-Policy: {}\n  Link:\n  Feature-Policy: ü\n", "x".repeat(10_000));
    let names: String = (0..5_000).map(|n| format!("  X-{n}: 1\n")).collect();
    let path = format!("/{}\n  Link: a\n", "y/".repeat(5_000));
    let file = format!("{links}{long}{names}{path}/a\n  Content-Language: de\n");
    assert_snapshot!(applied(&file, "a"), @"a: [language de]");
    let warnings = warnings(&file, &["a"]);
    assert!(warnings.contains("Content-Security-Policy (line 10002), Feature-Policy (line 10004), Link (lines 2, 4, "));
    assert!(
        warnings.contains(" and 4992 more)") && warnings.contains("and 4993 more; ") && warnings.len() < 1_000,
        "{warnings}"
    );
}

#[test]
fn a_file_has_limits_of_its_own() {
    let rules = |count: usize| "/*\nX-Amz-Meta-A: b\n! X-Amz-Meta-A\n".repeat(count);
    assert!(HeadersFile::parse(rules(2_000).as_bytes()).is_ok());
    assert_snapshot!(refused(&rules(2_001)), @"`_headers`: line 6001: begins rule 2001 for headers that S3 stores, and at most 2000 are allowed; let one `*` stand for several paths");
    let line = |length: usize| format!("/*\nContent-Language: {}", "x".repeat(length - 18));
    assert!(HeadersFile::parse(line(2_000).as_bytes()).is_ok());
    assert_snapshot!(refused(&line(2_001)), @"`_headers`: line 2: has over 2000 characters, more than S3 stores with an object; shorten it");
    let names = |count: usize| (0..count).map(|n| format!("X-Amz-Meta-{n}: b\n")).collect::<String>();
    assert!(HeadersFile::parse(format!("/*\n{}", names(100)).as_bytes()).is_ok());
    assert_snapshot!(refused(&format!("/*\n{}", names(101))), @"`_headers`: line 102: names `100`, and at most 100 different names of metadata are allowed");
    let segments = |count: usize| format!("{}\nX-Amz-Meta-A: b\n", "/a".repeat(count));
    assert!(HeadersFile::parse(segments(32).as_bytes()).is_ok());
    assert_snapshot!(refused(&segments(33)), @"`_headers`: line 1: the path `/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a` has over 32 segments; let `*` stand for the last ones");
}

#[test]
fn rules_that_are_matched_one_by_one_are_bounded_by_the_number_of_files() {
    let rules =
        |count: usize| (0..count).map(|n| format!("/:a-:b/{n}*\nX-Amz-Meta-{}: b\n", n % 9)).collect::<String>();
    let check = |rules: String, names: usize| {
        let names: Vec<String> = (0..names).map(|n| format!("{}/{n}x", "a".repeat(40))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        HeadersFile::parse(rules.as_bytes()).unwrap().check(&names)
    };
    assert!(check(rules(2_000), 4_000).is_ok(), "the index excludes most of them");
    let placeholders = (0..18).map(|n| format!(":a{n}")).collect::<Vec<_>>().join("-");
    let any = format!("/{placeholders}/*\nX-Amz-Meta-A: b\n").repeat(1_999) + "/*\n! X-Amz-Meta-A\n";
    assert!(check(any.clone(), 100).is_ok());
    let message = check(any, 2_500).unwrap_err().to_string();
    for part in ["apply to 2500 files", "(line 1), ", " and 1989 more"] {
        assert!(message.contains(part), "{message}");
    }
}

/// Whatever takes the time: patterns, long names, many headers, or values.
#[test]
fn the_work_for_all_files_is_bounded() {
    for (case, name, text) in expensive() {
        let file = HeadersFile::parse(text.as_bytes()).unwrap();
        let steps = file.applied(&name).steps;
        assert!(steps > 0 && file.check_within(&[&name], 4 * steps).is_ok(), "{case}");
        let message = file.check_within(&[&name], steps - 1).unwrap_err().to_string();
        assert!(message.contains("takes too long to apply to 1 files"), "{case}: {message}");
    }
}

#[test]
fn at_most_20_000_lines_set_or_remove_a_header() {
    let lines = |count: usize| "/*\n".to_owned() + &"! Cache-Control\nContent-Language: de\n".repeat(count / 2);
    assert!(HeadersFile::parse(lines(20_000).as_bytes()).is_ok());
    assert_snapshot!(refused(&lines(20_002)), @"`_headers`: line 20002: is one of over 20000 lines with a header that S3 stores; set fewer headers; line 20003: is one of over 20000 lines with a header that S3 stores; set fewer headers");
}

#[test]
fn headers_that_s3_would_refuse_are_refused() {
    let value = "x".repeat(1_500);
    for (header, what) in [("X-Amz-Meta-A", "user metadata"), ("Cache-Control", "headers")] {
        let file = format!("/*\n{header}: {value}\n/a/*\n{header}: {value}");
        let file = HeadersFile::parse(file.as_bytes()).unwrap();
        assert_eq!(file.check(&["b", "c/a"]), Ok(Vec::new()));
        let error = file.check(&["a/x", "b"]).unwrap_err().to_string();
        for part in ["`a/x`", what, "`/*` (line 1), `/a/*` (line 3)"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn a_file_gets_at_most_a_hundred_values() {
    let rules = |count: usize, value: &str| format!("/*\nX-Amz-Meta-A: {value}\n").repeat(count);
    let check = |text: String| HeadersFile::parse(text.as_bytes()).unwrap().check(&["a"]);
    assert!(check(rules(100, "b")).is_ok());
    assert_snapshot!(check(rules(101, "b")).unwrap_err(), @"`_headers` gives `a` over 100 values and placeholders in them; let fewer rules match it, such as `/*` (line 1), `/*` (line 3), `/*` (line 5), `/*` (line 7), `/*` (line 9), `/*` (line 11), `/*` (line 13), `/*` (line 15), `/*` (line 17), `/*` (line 19), and 91 more");
    assert!(check(rules(25, ":splat:splat:splat")).is_ok());
    assert!(check(rules(26, ":splat:splat:splat")).is_err());
    assert!(check(rules(101, "b") + "/*\n! X-Amz-Meta-A\n").is_ok(), "only values that count are counted");
    assert!(check("/*\nContent-Type: a/b\n".repeat(2_000)).is_ok());
}

#[test]
fn a_value_that_grows_with_the_path_is_cut_at_the_limit() {
    let line = format!("  X-Amz-Meta-A: {}\n", ":splat".repeat(80));
    let file = HeadersFile::parse(format!("/*\n{line}").as_bytes()).unwrap();
    let name = "é".repeat(500);
    let applied = file.applied(&name);
    let value = applied.fields[0].1.as_ref().unwrap();
    assert!((MAX_METADATA_BYTES..3 * MAX_METADATA_BYTES).contains(&value.len()));
    assert!(file.check(&[&name]).is_err());
}

/// Names and files that make matching as expensive as it gets: each case has a name, the rules, and how many rules.
fn expensive() -> Vec<(&'static str, String, String)> {
    let rule = |path: String| format!("{path}\n  X-Amz-Meta-A: b\n");
    let rules =
        |count: usize, path: &dyn Fn(usize) -> String| -> String { (0..count).map(|n| rule(path(n))).collect() };
    // Each bit of a number chooses a literal or a placeholder.
    let choices = |n: usize| {
        let choice = |bit: usize| if n >> bit & 1 == 1 { format!("/:p{bit}") } else { "/aaaa".to_owned() };
        (0..11).map(choice).collect::<String>()
    };
    let names = 0..90;
    let keep_last = "/*\n  ! X-Amz-Meta-A\n";
    vec![
        ("all match", "a/b.js".to_owned(), rules(1_999, &|_| "/*".to_owned()) + keep_last),
        ("heads", "a".repeat(1_000), rules(1_999, &|n| format!("/{}*", "a".repeat(n / 2))) + keep_last),
        ("tails", "a".repeat(1_000), rules(1_999, &|n| format!("/*{}", "a".repeat(n / 2))) + keep_last),
        ("heads too long", "a".repeat(500) + "b", rules(1_999, &|n| format!("/{}*", "a".repeat(n))) + keep_last),
        ("literal or placeholder", "aaaa/".repeat(10) + "aaaa", rules(1_999, &choices) + keep_last),
        ("segments", "a/".repeat(511) + "a", rules(1_999, &|n| "/a".repeat(n % 31) + "/*") + keep_last),
        ("index documents", "aaaa/".repeat(10) + "index.html", rules(1_999, &|n| choices(n) + "/*") + keep_last),
        ("one by one", "a-".repeat(40), rules(20, &|n| format!("/:a{}:b-:c*", "-a".repeat(n / 2))) + keep_last),
        ("long names", format!(".{}", "-".repeat(900)), rules(100, &|n| format!("/:a.{}:b-:c", "-".repeat(10 + n)))),
        (
            "many headers",
            "a".to_owned(),
            format!("/*\n{}", names.map(|n| format!("X-Amz-Meta-{n}: b\n")).collect::<String>()),
        ),
        (
            "filled in",
            "a".repeat(30),
            rules(40, &|_| "/*".to_owned()).replace("X-Amz-Meta-A: b", "Cache-Control: a=:splat"),
        ),
        ("placeholders", "a/".repeat(20), rules(50, &|_| "/:a/*".to_owned()).replace(": b", ": :a")),
    ]
}

/// A step takes about 5 ns.
#[test]
fn the_steps_for_a_name_are_bounded_whatever_the_file_says() {
    let steps: Vec<(&str, usize)> = expensive()
        .into_iter()
        .map(|(case, name, text)| {
            let file = HeadersFile::parse(text.as_bytes()).unwrap();
            let applied = file.applied(&name);
            (case, applied.steps)
        })
        .collect();
    let shown: Vec<String> = steps.iter().map(|(case, steps)| format!("{case}: {steps}")).collect();
    assert_snapshot!(shown.join("\n"), @r"
    all match: 51
    heads: 499
    tails: 499
    heads too long: 1778
    literal or placeholder: 247
    segments: 1071
    index documents: 662
    one by one: 424
    long names: 48675
    many headers: 3168
    filled in: 869
    placeholders: 920
    ");
}
