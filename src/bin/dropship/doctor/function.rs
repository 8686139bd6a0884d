//! The function: whether it runs, and which release it is.

use dropship::aws::operator::Function;

use super::finding::Finding;

const SUBJECT: &str = "function";

/// Judges a function's configuration. `release` is that of this command line, such as `0.1.0`.
pub fn judge(function: &Function, release: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(reason) = &function.trouble {
        let fix = "correct the reason, and run `sam build && sam deploy`";
        findings.push(Finding::problem(SUBJECT, format!("Lambda cannot run it: {reason}"), fix));
    }
    if function.dead_letter_queue.is_none() {
        let problem = "it has no queue for events whose last attempt failed, so they are lost";
        findings.push(Finding::problem(SUBJECT, problem, "run `sam deploy`, which gives it one"));
    }
    let deployed = function.description.strip_prefix("dropship ").and_then(number);
    match (deployed, number(release)) {
        (None, _) => findings.push(Finding::advice(
            SUBJECT,
            format!("its description names no release, so it is older than this command line ({release})"),
            "run `sam build && sam deploy` from a current checkout",
        )),
        (Some(deployed), Some(own)) if deployed < own => findings.push(Finding::advice(
            SUBJECT,
            format!("it is {}, older than this command line ({release})", function.description),
            "run `sam build && sam deploy` from a current checkout",
        )),
        (Some(deployed), Some(own)) if deployed > own => findings.push(Finding::advice(
            SUBJECT,
            format!("it is {}, newer than this command line ({release})", function.description),
            "run `cargo install --path . --features cli` from a current checkout",
        )),
        _ => {}
    }
    findings
}

/// Returns a release's numbers, which have an order.
fn number(release: &str) -> Option<[u64; 3]> {
    let parts: Option<Vec<u64>> = release.split('.').map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    fn function(description: &str) -> Function {
        let dead_letter_queue = Some("arn:aws:sqs:us-east-1:123456789012:failed".to_owned());
        Function { description: description.to_owned(), dead_letter_queue, ..Function::default() }
    }

    #[test]
    fn the_releases_of_function_and_command_line_are_compared() {
        let about = |description: &str| judge(&function(description), "0.10.0").pop().map(|it| it.problem);
        assert_eq!(about("dropship 0.10.0"), None);
        assert_eq!(about("dropship 0.9.9").unwrap(), "it is dropship 0.9.9, older than this command line (0.10.0)");
        assert_eq!(about("dropship 1.0.0").unwrap(), "it is dropship 1.0.0, newer than this command line (0.10.0)");
        assert!(about("").unwrap().contains("names no release"));
    }

    #[test]
    fn a_function_that_cannot_run_or_loses_events_is_a_problem() {
        let broken = Function { trouble: Some("no image".to_owned()), ..function("dropship 0.1.0") };
        assert_eq!(judge(&broken, "0.1.0")[0].problem, "Lambda cannot run it: no image");
        let lossy = Function { dead_letter_queue: None, ..function("dropship 0.1.0") };
        assert_eq!(judge(&lossy, "0.1.0")[0].severity, Severity::Problem);
    }
}
