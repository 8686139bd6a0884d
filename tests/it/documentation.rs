//! The pages that say where things are name files and functions that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

const PAGES: [&str; 3] = ["docs/architecture.md", "docs/aws.md", "CONTRIBUTING.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the text of every Rust file under a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

/// Returns what stands between backticks in a page's paragraphs and tables.
fn quoted(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    let quotes = Regex::new("`([^`\n]+)`").unwrap();
    quotes.captures_iter(&prose.join("\n")).map(|quote| quote[1].to_owned()).collect()
}

#[test]
fn every_file_that_the_pages_name_exists() {
    let is_file = Regex::new(r"^[\w.-]+(/[\w.-]+)+\.(rs|sh|py|yaml|toml|md)$").unwrap();
    let mut seen = 0;
    for page in PAGES {
        for file in quoted(page).into_iter().filter(|quote| is_file.is_match(quote)) {
            seen += 1;
            let exists = ["", "src", "tests", "docs"].iter().any(|folder| root().join(folder).join(&file).exists());
            assert!(exists, "{page} names {file}, which does not exist");
        }
    }
    assert!(seen > 20, "only {seen} files were found in the pages");
}

#[test]
fn every_test_and_function_that_the_pages_name_exists() {
    let is_function = Regex::new(r"^([a-z0-9_]+::)*[a-z0-9]+(_[a-z0-9]+){2,}(\(\))?$").unwrap();
    let code = ["src", "tests", "benches", "examples"].map(|folder| sources(&root().join(folder))).join("\n");
    let mut seen = 0;
    for page in PAGES {
        for quote in quoted(page).into_iter().filter(|quote| is_function.is_match(quote)) {
            seen += 1;
            let name = quote.rsplit("::").next().unwrap().trim_end_matches("()");
            let defined = Regex::new(&format!(r"\b(fn {name}\b|{name}:)")).unwrap();
            assert!(defined.is_match(&code), "{page} names `{name}`, which does not exist");
        }
    }
    assert!(seen > 20, "only {seen} functions were found in the pages");
}

/// A name such as `Ledger::commit` or `Condition::Etag`.
#[test]
fn every_method_field_and_variant_that_the_pages_name_exists() {
    let is_member = Regex::new(r"^[A-Z]\w+::(\w+)$").unwrap();
    let code = sources(&root().join("src")) + &sources(&root().join("tests"));
    let definition = Regex::new(r"(?m)\bfn (\w+)|^ +([A-Z]\w+)\b|^ +(?:pub\S* )?(\w+):").unwrap();
    let defined = definition.captures_iter(&code).filter_map(|it| it.get(1).or(it.get(2)).or(it.get(3)));
    let defined: BTreeSet<&str> = defined.map(|name| name.as_str()).collect();
    let mut seen = 0;
    for page in PAGES {
        for quote in quoted(page) {
            let Some(member) = is_member.captures(&quote) else { continue };
            seen += 1;
            assert!(defined.contains(&member[1]), "{page} names `{quote}`, which does not exist");
        }
    }
    assert!(seen > 20, "only {seen} methods, fields and variants were found in the pages");
}

/// The second column of a table in docs/aws.md has the names under which tests/aws.sh tries a belief.
#[test]
fn the_beliefs_about_aws_are_those_that_are_tried() {
    let page = fs::read_to_string(root().join("docs/aws.md")).unwrap();
    let names = Regex::new("`([^`]+)`").unwrap();
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    let documented: BTreeSet<String> =
        cells.flat_map(|cell| names.captures_iter(cell).map(|name| name[1].to_owned()).collect::<Vec<_>>()).collect();

    // A belief is a function in the list of its file, or a name in the file of the edge.
    let listed = Regex::new(r"(?m)^            ([a-z0-9_]+),$").unwrap();
    let named = Regex::new(r#"(?m)^(?:    Case\(|[A-Z_]+ = )"([a-z0-9]+(?:-[a-z0-9]+)+)""#).unwrap();
    let files = fs::read_dir(root().join("tests/aws")).unwrap().map(|entry| entry.unwrap().path());
    let code: String = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "py"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let functions = listed.captures_iter(&code).map(|belief| belief[1].replace('_', "-"));
    let tried: BTreeSet<String> =
        functions.chain(named.captures_iter(&code).map(|belief| belief[1].to_owned())).collect();
    assert!(tried.len() > 50, "only {} beliefs were found in tests/aws", tried.len());
    assert_eq!(documented, tried);
}
