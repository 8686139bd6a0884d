//! The staging bucket: whether an upload starts the function, and how long archives are kept.

use dropship::aws::operator::{Expiry, Notifications, Trigger};
use dropship::config::Config;
use dropship::error::Error;
use dropship::key::PLANS_FOLDER;

use super::finding::Finding;
use crate::stack::Stack;

const SUBJECT: &str = "staging bucket";

pub async fn check(stack: &Stack) -> Vec<Finding> {
    let bucket = &stack.config.staging_bucket;
    let (is_versioned, expiries, notifications) = tokio::join!(
        stack.operator.is_versioned(bucket),
        stack.operator.expiries(bucket),
        stack.operator.notifications(bucket)
    );
    let judged = |found: Result<Vec<Finding>, Error>| super::findings(SUBJECT, found);
    let mut findings = judged(is_versioned.map(|is_versioned| judge_versioning(bucket, is_versioned)));
    findings.extend(judged(expiries.map(|expiries| judge_expiries(&stack.config, &expiries))));
    let judge = |it: Notifications| judge_notifications(&stack.config, &stack.function.arn, &it);
    findings.extend(judged(notifications.map(judge)));
    findings
}

fn judge_versioning(bucket: &str, is_versioned: bool) -> Vec<Finding> {
    if is_versioned {
        return Vec::new();
    }
    let problem = format!(
        "{bucket} keeps no versions, so the next push under the same name overwrites the archive that a \
                           rollback needs"
    );
    vec![Finding::problem(SUBJECT, problem, "turn its versioning on, or run `sam deploy`")]
}

/// Judges the lifecycle rules. An archive is gone when its version is, and a version is deleted only when it has been
/// noncurrent for its days.
fn judge_expiries(config: &Config, expiries: &[Expiry]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let overlaps = |rule: &Expiry, folder: &str| rule.prefix.starts_with(folder) || folder.starts_with(&*rule.prefix);
    let history_days = config.history_days;
    let deletes = expiries.iter().filter(|rule| overlaps(rule, &config.upload_prefix));
    if let Some(days) = deletes.clone().filter_map(|rule| rule.noncurrent_days).min() {
        if i64::from(days) < i64::from(history_days) {
            findings.push(Finding::problem(
                SUBJECT,
                format!(
                    "a lifecycle rule deletes archives {days} days after the next upload under their name, and the history \
                     goes back {history_days}: a rollback to an older one fails as ArchiveGone"
                ),
                format!("raise the rule to {history_days} days, or set HistoryDays to {days}"),
            ));
        }
    } else {
        findings.push(Finding::advice(
            SUBJECT,
            "no lifecycle rule ever deletes an archive, and each is paid for",
            "run `sam deploy`, which makes a rule for HistoryDays",
        ));
    }
    if !expiries.iter().any(|rule| overlaps(rule, PLANS_FOLDER) && rule.days.is_some()) {
        findings.push(Finding::advice(
            SUBJECT,
            "the archives of plans, under plans/, never expire",
            "run `sam deploy`, which makes a rule for them",
        ));
    }
    findings
}

fn judge_notifications(config: &Config, function_arn: &str, notifications: &Notifications) -> Vec<Finding> {
    let folder = &config.upload_prefix;
    let starts = |trigger: &&Trigger| {
        trigger.function_arn == function_arn
            && folder.starts_with(&*trigger.prefix)
            && ".zip".ends_with(&*trigger.suffix)
    };
    let events: Vec<&str> =
        notifications.triggers.iter().filter(starts).flat_map(|it| &it.events).map(String::as_str).collect();
    let has = |event: &str| events.contains(&"s3:ObjectCreated:*") || events.contains(&event);
    let missing: Vec<&str> = ["Put", "CompleteMultipartUpload", "Copy"]
        .into_iter()
        .filter(|event| !has(&format!("s3:ObjectCreated:{event}")))
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    if notifications.has_event_bridge {
        let problem =
            "it sends its events to EventBridge, and whether a rule there starts the function was not checked";
        let fix = "push a build: if nothing happens, run `sam deploy`, which sets the bucket's own notification";
        return vec![Finding::advice(SUBJECT, problem, fix)];
    }
    let what = if missing.len() == 3 { String::new() } else { format!(" by {}", missing.join(" or ")) };
    vec![Finding::problem(
        SUBJECT,
        format!("an upload{what} under {folder} does not start the function"),
        "run `sam deploy`, which sets the bucket's notification",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::config_with;
    use crate::doctor::finding::Severity;

    fn config() -> Config {
        config_with(&[])
    }

    fn rule(prefix: &str, days: Option<i32>, noncurrent_days: Option<i32>) -> Expiry {
        Expiry { prefix: prefix.to_owned(), days, noncurrent_days }
    }

    #[test]
    fn the_template_s_rules_are_in_order() {
        let rules = [
            rule("uploads/", Some(365), Some(365)),
            rule("plans/", Some(1), Some(1)),
            rule(".dropship/", None, Some(7)),
        ];
        assert_eq!(judge_expiries(&config(), &rules), []);
    }

    #[test]
    fn a_rule_that_ends_before_the_history_is_a_problem() {
        for prefix in ["", "uploads/", "uploads/site", "up"] {
            let rules = [rule(prefix, None, Some(30)), rule("plans/", Some(1), None)];
            let [finding] = &judge_expiries(&config(), &rules)[..] else { panic!("{prefix}") };
            assert!(finding.problem.contains("30 days") && finding.fix.contains("HistoryDays to 30"), "{finding:?}");
        }
        // An object that expires only becomes a noncurrent version.
        let rules = [rule("uploads/", Some(30), Some(365)), rule("plans/", Some(1), None)];
        assert_eq!(judge_expiries(&config(), &rules), []);
    }

    #[test]
    fn archives_that_never_expire_cost_money() {
        let problems: Vec<String> = judge_expiries(&config(), &[]).into_iter().map(|it| it.problem).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn every_way_of_uploading_must_start_the_function() {
        let trigger = |events: &[&str], prefix: &str, suffix: &str| Trigger {
            function_arn: "arn:f".to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        };
        let notifications =
            |trigger: &Trigger| Notifications { triggers: vec![trigger.clone()], has_event_bridge: false };
        let judge = |trigger: &Trigger| judge_notifications(&config(), "arn:f", &notifications(trigger));
        let all = ["s3:ObjectCreated:*"];
        for good in [trigger(&all, "uploads/", ""), trigger(&all, "", ".zip")] {
            assert_eq!(judge(&good), []);
        }
        let elsewhere = Trigger { function_arn: "arn:g".to_owned(), ..trigger(&all, "", "") };
        for bad in [trigger(&all, "other/", ""), trigger(&all, "uploads/", ".tar"), elsewhere] {
            assert_eq!(judge(&bad)[0].problem, "an upload under uploads/ does not start the function");
        }
        let bridge = Notifications { triggers: Vec::new(), has_event_bridge: true };
        assert_eq!(judge_notifications(&config(), "arn:f", &bridge)[0].severity, Severity::Advice);
        let put = judge(&trigger(&["s3:ObjectCreated:Put"], "", ""));
        assert!(put[0].problem.starts_with("an upload by CompleteMultipartUpload or Copy under"), "{put:?}");
    }
}
