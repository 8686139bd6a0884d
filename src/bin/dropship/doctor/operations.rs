//! The failure queue and the alarms.

use dropship::aws::operator::Alarm;
use dropship::error::Error;

use super::finding::Finding;
use crate::print::count;
use crate::stack::Stack;

const QUEUE: &str = "failure queue";
const ALARMS: &str = "alarms";

pub async fn check(stack: &Stack) -> Vec<Finding> {
    // CloudFormation begins the names of a stack's alarms with the stack's own.
    let prefix = format!("{}-", stack.name);
    let (failed, alarms) = tokio::join!(failed_events(stack), stack.operator.alarms(&prefix));
    let mut findings = super::findings(QUEUE, failed.map(judge_queue));
    findings.extend(super::findings(
        ALARMS,
        alarms.map(|mut alarms| {
            alarms.retain(|alarm| is_own(&prefix, &alarm.name));
            judge_alarms(&alarms)
        }),
    ));
    findings
}

async fn failed_events(stack: &Stack) -> Result<u64, Error> {
    match stack.function.dead_letter_queue.as_deref() {
        Some(queue) => stack.operator.failed_event_count(queue).await,
        // The function's own check tells it.
        None => Ok(0),
    }
}

fn judge_queue(failed: u64) -> Vec<Finding> {
    if failed == 0 {
        return Vec::new();
    }
    let problem = format!("{} failed for good", count(failed, "event"));
    vec![Finding::problem(QUEUE, problem, "`dropship redrive` lists them, and sends or deletes them")]
}

/// Whether an alarm is the stack's own, and not that of another one whose name continues this one's. CloudFormation's
/// names have one hyphen after the stack's.
fn is_own(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.matches('-').count() <= 1)
}

fn judge_alarms(alarms: &[Alarm]) -> Vec<Finding> {
    if alarms.is_empty() {
        return vec![Finding::advice(ALARMS, "the stack has none", "run `sam deploy`, which makes five")];
    }
    let on = alarms.iter().filter(|alarm| alarm.is_on);
    let mut findings: Vec<Finding> =
        on.map(|alarm| Finding::problem(ALARMS, format!("{} is on", alarm.name), &*alarm.description)).collect();
    let silent: Vec<&str> = alarms.iter().filter(|alarm| !alarm.is_told).map(|alarm| alarm.name.as_str()).collect();
    if !silent.is_empty() {
        findings.push(Finding::advice(
            ALARMS,
            format!("{} of {} tell nobody: {}", silent.len(), alarms.len(), silent.join(", ")),
            "set AlarmTopicArn to an SNS topic",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn the_alarms_of_a_stack_with_a_longer_name_are_not_its_own() {
        assert!(is_own("dropship-", "dropship-ErrorsAlarm-1ABCDEF"));
        assert!(!is_own("dropship-", "dropship-prod-ErrorsAlarm-1ABCDEF"));
    }

    #[test]
    fn an_alarm_that_is_on_is_a_problem_and_one_without_a_topic_is_advice() {
        let alarm = |name: &str, is_on, is_told| Alarm {
            name: name.to_owned(),
            description: "See the runbook.".to_owned(),
            is_on,
            is_told,
        };
        assert_eq!(judge_alarms(&[alarm("s-Errors", false, true)]), []);
        let findings = judge_alarms(&[alarm("s-Errors", true, true), alarm("s-Owed", false, false)]);
        assert_eq!(findings[0], Finding::problem(ALARMS, "s-Errors is on", "See the runbook."));
        assert_eq!(findings[1].problem, "1 of 2 tell nobody: s-Owed");
        assert_eq!(judge_alarms(&[])[0].severity, Severity::Advice);
    }
}
