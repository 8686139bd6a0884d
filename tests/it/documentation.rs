//! The pages that say where things are name files and functions that exist.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

const PAGES: [&str; 2] = ["docs/architecture.md", "CONTRIBUTING.md"];

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
