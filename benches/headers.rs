//! Measures how long it takes to apply `_headers` files to 100,000 names, or to refuse them: a usual file, and files that
//! make the work as expensive as it gets.
//!
//! `cargo bench --bench headers -- 20000` takes 20,000 names instead.

use std::time::Instant;

use dropship::headers::HeadersFile;

/// What a file is like, its rules, and the name with a given number.
type Case = (&'static str, fn() -> String, fn(usize) -> String);

const CASES: [Case; 12] = [
    ("30 usual rules", usual, |n| format!("section-{:02}/page-{n:06}.html", n % 40)),
    ("2,000 paths", || rules(2_000, |n| format!("/page-{n}/*")), |n| format!("page-{n}/index.html")),
    ("2,000 rules for all", || rules(2_000, |_| "/*".to_owned()), |n| format!("assets/{n:06}.js")),
    ("2,000 heads", || rules(2_000, |n| format!("/{}*", "a".repeat(n / 20))), |n| format!("{}{n}", "a".repeat(90))),
    ("2,000 tails", || rules(2_000, |n| format!("/*{}", "a".repeat(n / 20))), |n| format!("{n}{}", "a".repeat(90))),
    ("2,000 choices", || rules(2_000, choices), |n| format!("{}{n}", "aaaa/".repeat(10))),
    (
        "2,000 choices, index",
        || rules(2_000, |n| choices(n) + "/*"),
        |n| format!("{}{n}/index.html", "aaaa/".repeat(10)),
    ),
    (
        "100 one by one",
        || rules(100, |n| format!("/:a-:b/*{}", "x".repeat(n % 2))),
        |n| format!("2026-{}/{n}/x", n % 12),
    ),
    ("25 headers a file", || headers(25), |n| format!("assets/{n:06}.js")),
    ("90 headers a file", || headers(90), |n| format!("assets/{n:06}.js")),
    (
        "100 with long names",
        || rules(100, |n| format!("/:a.{}:b-:c", "-".repeat(10 + n))),
        |n| format!(".{}{n}", "-".repeat(900)),
    ),
    ("50 with placeholders", placeholders, |n| format!("a/b/c/{n:06}.js")),
];

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    println!("{count} names");
    for (case, rules, name) in CASES {
        let names: Vec<String> = (0..count).map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = rules();
        let began = Instant::now();
        let file = HeadersFile::parse(text.as_bytes()).expect("the file keeps the limits");
        let parsed = began.elapsed();
        let outcome = if file.check(&names).is_ok() { "applied" } else { "refused" };
        let checked = began.elapsed() - parsed;
        println!(
            "{case:22} {:6} KB: read in {:3} ms, {outcome} in {:4} ms, {:5} ns a name",
            text.len() / 1_000,
            parsed.as_millis(),
            checked.as_millis(),
            checked.as_nanos() / count as u128,
        );
    }
}

/// Each rule gives a file a value that the last rule takes away, so that no file gets too many.
fn rules(count: usize, path: impl Fn(usize) -> String) -> String {
    let rules = (0..count - 1).map(|n| format!("{}\n  X-Amz-Meta-A: b\n", path(n)));
    rules.collect::<String>() + "/*\n  ! X-Amz-Meta-A\n"
}

/// Each bit of a number chooses a literal or a placeholder.
fn choices(number: usize) -> String {
    let choice = |bit: usize| if number >> bit & 1 == 1 { format!("/:p{bit}") } else { "/aaaa".to_owned() };
    (0..10).map(choice).chain(["/:last".to_owned()]).collect()
}

fn headers(count: usize) -> String {
    (0..count).fold("/*\n".to_owned(), |rule, n| rule + &format!("  X-Amz-Meta-{n}: b\n"))
}

fn placeholders() -> String {
    "/:a/*\n  X-Amz-Meta-A: :splat\n".repeat(50)
}

fn usual() -> String {
    let sections = |n: usize| format!("/section-{n:02}/*\n  X-Frame-Options: DENY\n  Cache-Control: max-age=60\n");
    let sections: String = (0..28).map(sections).collect();
    format!(
        "/*.js\n  Cache-Control: max-age=31536000, immutable\n/download/:version/*\n  X-Amz-Meta-V: :version\n{sections}"
    )
}
