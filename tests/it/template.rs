//! The template agrees with the program that it deploys.

use std::collections::BTreeSet;

use dropship::config::VARIABLES;

const TEMPLATE: &str = include_str!("../../template.yaml");

/// Meant for endpoints other than AWS's own.
const NOT_OF_A_STACK: [&str; 2] = ["MAX_WRITES_PER_SECOND", "S3_FORCE_PATH_STYLE"];

#[test]
fn the_template_sets_every_variable_and_no_other() {
    let (_, rest) = TEMPLATE
        .split_once("        Variables:\n")
        .expect("the function has an environment");
    let set: BTreeSet<&str> = rest
        .lines()
        .map_while(|line| line.strip_prefix("          "))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let read: BTreeSet<&str> = VARIABLES
        .iter()
        .copied()
        .filter(|name| !NOT_OF_A_STACK.contains(name))
        .collect();
    assert_eq!(set, read);
}
