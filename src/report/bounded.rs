//! The longest answer that everything between the function and its reader can carry.

use serde::Serialize;

use super::folders::PlannedFolder;
use super::{Answer, ArchiveName, Failed, Planned, PlannedItems, Report, sentence};
use crate::cut;

/// SNS and EventBridge carry messages of up to 256 KB, which hold the event and more beside the answer. An item of
/// DynamoDB has at most 400 KB; a deployment's record holds both too.
pub(super) const MAX_BYTES: usize = 100_000;

/// More than what an answer has around its reports, and more than a sentence about what is left out.
const FRAME_BYTES: usize = 200;

/// The room for the answer's failures, each of which names a key and an error. The log reports the others.
const FAILED_BYTES: usize = 3 * cut::MAX_TEXT_BYTES;

impl Answer {
    /// Creates the answer from its reports. They are bounded together; the first ones are kept if there are too many.
    pub fn of(reports: &[Report], failed: Vec<Failed>) -> Self {
        let sentences: Vec<String> =
            reports.iter().map(sentence::of_report).chain(failed.iter().map(sentence::of_failure)).collect();
        let text = cut::text(&sentences.join(" | "));
        let mut failed: Vec<Failed> = failed.into_iter().map(Failed::bounded).collect();
        failed.truncate(cut::fitting(failed.iter().map(json_bytes), FAILED_BYTES));
        let room = MAX_BYTES - FRAME_BYTES - cut::MAX_TEXT_BYTES - FAILED_BYTES;
        let bytes = |report: &Report| json_bytes(report) + 1;
        let mut deployments: Vec<Report> = reports.iter().map(Report::bounded).collect();
        let needs: Vec<usize> = deployments.iter().map(bytes).collect();
        for (index, share) in cut::shares(&needs, room).into_iter().enumerate() {
            if share < needs[index] {
                deployments[index] = reports[index].within(share.saturating_sub(1));
            }
        }
        deployments.truncate(cut::fitting(deployments.iter().map(bytes), room));
        let more = reports.len() - deployments.len();
        let more = (more > 0).then(|| format!("and {more} more deployments, which the log reports"));
        let is_news = reports.iter().any(|report| report.preview.is_none() && report.outcome.is_live_now())
            || failed.iter().any(|failed| !failed.of_preview);
        Self { deployments, more, failed, is_news, text }
    }
}

impl Failed {
    fn bounded(self) -> Self {
        Self { key: self.key.as_deref().map(cut::text), error_message: cut::text(&self.error_message), ..self }
    }
}

impl Report {
    /// Returns the report as answer, log and ledger carry it: its texts and lists are cut where it is too long.
    #[must_use]
    pub fn bounded(&self) -> Self {
        self.within(MAX_BYTES)
    }

    /// Bounds the report's JSON, unless everything except the lists is longer.
    fn within(&self, max_bytes: usize) -> Self {
        let mut bounded = self.without_lists();
        let room = max_bytes.saturating_sub(json_bytes(&bounded) + FRAME_BYTES);
        let invalidations = || self.invalidations.iter().map(|sent| json_bytes(sent) + 1);
        let lists = self.lists();
        let needs: Vec<usize> = lists.iter().map(|list| cut::list_bytes(list, room)).collect();
        let shares = cut::shares(&[needs, vec![invalidations().sum()]].concat(), room);
        for ((to, from), share) in bounded.lists_mut().into_iter().zip(lists).zip(&shares) {
            *to = cut::list(from, *share);
        }
        let kept = cut::fitting(invalidations(), shares.last().copied().unwrap_or_default());
        bounded.invalidations = self.invalidations[..kept].to_vec();
        let left_out = self.invalidations.len() - kept;
        if left_out > 0 {
            bounded
                .warnings
                .insert(0, format!("`invalidations` lists only some of them, and {left_out} more were accepted"));
        }
        bounded
    }

    /// Returns everything except the elements of the lists. It has one line for each distribution, of which
    /// `DISTRIBUTION_IDS` has room for some hundreds.
    fn without_lists(&self) -> Self {
        let without_items = |of: &PlannedItems| PlannedItems {
            distribution_id: cut::text(&of.distribution_id),
            items: Vec::new(),
            ..*of
        };
        let plan = self.plan.as_ref();
        let folder = |of: &PlannedFolder| PlannedFolder { folder: cut::text(&of.folder), ..of.clone() };
        Self {
            id: self.id.clone(),
            run: self.run,
            site: cut::text(&self.site),
            preview: self.preview.clone(),
            outcome: self.outcome,
            archive: self.archive.as_ref().map(|archive| ArchiveName {
                bucket: cut::text(&archive.bucket),
                key: cut::text(&archive.key),
                version_id: archive.version_id.as_deref().map(cut::text),
            }),
            url: self.url.as_deref().map(cut::text),
            new: self.new,
            changed: self.changed,
            headers: self.headers,
            deleted: self.deleted,
            kept: self.kept,
            retained: self.retained,
            left_out: self.left_out,
            drift: self.drift,
            bytes_read: self.bytes_read,
            bytes_written: self.bytes_written,
            invalidations: Vec::new(),
            warnings: Vec::new(),
            duration_ms: self.duration_ms,
            plan: plan.map(|plan| Planned {
                folders: plan.folders.iter().map(folder).collect(),
                items: plan.items.iter().map(without_items).collect(),
                ..Planned::default()
            }),
        }
    }

    fn lists(&self) -> Vec<&Vec<String>> {
        let plan = self.plan.iter().flat_map(|Planned { new, changed, headers, last, deleted, items, .. }| {
            [new, changed, headers, last, deleted].into_iter().chain(items.iter().map(|of_one| &of_one.items))
        });
        [&self.warnings].into_iter().chain(plan).collect()
    }

    /// Returns the lists in the order of [`Self::lists`].
    fn lists_mut(&mut self) -> Vec<&mut Vec<String>> {
        let plan = self.plan.iter_mut().flat_map(|Planned { new, changed, headers, last, deleted, items, .. }| {
            [new, changed, headers, last, deleted].into_iter().chain(items.iter_mut().map(|of_one| &mut of_one.items))
        });
        [&mut self.warnings].into_iter().chain(plan).collect()
    }
}

fn json_bytes(value: &impl Serialize) -> usize {
    // Strings and numbers always serialise.
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::deployment::DeploymentId;
    use crate::report::{Invalidated, Outcome};

    /// Short and long texts, some of whose characters take seven bytes when they are printable JSON.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec!["a", "é", "\u{1}", "\"", "😀"]);
        (piece, prop::sample::select(vec![0_usize, 1, 20, 1_024, 5_000, 100_000]))
            .prop_map(|(piece, times)| piece.repeat(times))
    }

    fn list() -> impl Strategy<Value = Vec<String>> {
        (text(), 0..4_usize, prop::sample::select(vec![1_usize, 30, 3_000])).prop_map(|(text, others, times)| {
            let times = match text.len() {
                0..100 => times,
                100..10_000 => times.min(60),
                _ => 1,
            };
            let others = (0..others).map(|number| number.to_string());
            others.chain(std::iter::repeat_n(text, times)).collect()
        })
    }

    prop_compose! {
        fn planned()(
            new in list(), changed in list(), headers in list(), last in list(), deleted in list(),
            folders in prop::collection::vec(text(), 0..20), items in prop::collection::vec(list(), 0..5),
        ) -> Planned {
            let folders = folders.into_iter().map(|folder| PlannedFolder { folder, ..PlannedFolder::default() });
            let items = items.into_iter().map(|items| PlannedItems { distribution_id: "E1EXAMPLE".to_owned(), items, ..Default::default() });
            Planned { new, changed, headers, last, deleted, folders: folders.collect(), items: items.collect() }
        }
    }

    prop_compose! {
        fn any_report()(
            texts in prop::collection::vec(text(), 4),
            warnings in list(),
            invalidations in prop::sample::select(vec![0_usize, 2, 1_000]),
            plan in prop::option::of(planned()),
        ) -> Report {
            let [site, bucket, key, version_id] = &texts[..] else { unreachable!() };
            let archive = ArchiveName { bucket: bucket.clone(), key: key.clone(), version_id: Some(version_id.clone()) };
            let id = DeploymentId::named("20261122T101500Z-0123456789ab");
            let sent = Invalidated {
                distribution_id: "E1EXAMPLE".to_owned(),
                id: Some("I1EXAMPLE".to_owned()),
                caller_reference: "x".repeat(128),
                items: 100,
                wildcards: 1,
                completed: Some(true),
            };
            Report {
                warnings,
                invalidations: vec![sent; invalidations],
                plan,
                ..Report::new(id, 1, site.clone(), Outcome::Deployed, archive)
            }
        }
    }

    fn is_short(report: &Report) -> bool {
        let archive = report.archive.iter().flat_map(|it| [&it.bucket, &it.key].into_iter().chain(&it.version_id));
        let texts = report.lists().into_iter().flatten().chain(archive).chain([&report.site]);
        json_bytes(report) <= MAX_BYTES / 2
            && texts.into_iter().all(|text| json_bytes(text) <= 4_000 && !text.contains('\u{1}'))
    }

    /// Returns how many elements a cut list says it had.
    fn said(list: &[String]) -> usize {
        let more = list.last().and_then(|last| last.strip_prefix("and ")?.strip_suffix(" more"));
        more.map_or(list.len(), |more| list.len() - 1 + more.parse::<usize>().unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_the_report_its_json_is_short_and_says_how_much_was_cut(report in any_report()) {
            let bounded = report.bounded();
            prop_assert!(json_bytes(&bounded) <= MAX_BYTES, "{} bytes", json_bytes(&bounded));
            let left_out = report.invalidations.len() - bounded.invalidations.len();
            let warnings = &bounded.warnings[usize::from(left_out > 0)..];
            prop_assert!(left_out == 0 || bounded.warnings[0].contains(&left_out.to_string()));
            prop_assert_eq!(said(warnings), report.warnings.len());
            for (bounded, list) in bounded.lists().into_iter().zip(report.lists()).skip(1) {
                prop_assert_eq!(said(bounded), list.len());
            }
            if is_short(&report) {
                prop_assert!(bounded == report, "a short report must not be cut");
            }
        }

        #[test]
        fn whatever_the_reports_their_answer_is_short_and_says_how_many_were_left_out(
            reports in prop::collection::vec(any_report(), 0..4),
            times in prop::sample::select(vec![1_usize, 100]),
            key in text(),
            failures in 0..9_usize,
        ) {
            let small = Report::ignored("site".to_owned());
            let reports: Vec<Report> = reports.into_iter().chain(std::iter::repeat_n(small, 4 * times)).collect();
            let failure = Failed { of_preview: false, key: Some(key), error_type: "Aws", error_message: "é".repeat(100_000) };
            let answer = Answer::of(&reports, vec![failure.clone(); failures]);
            prop_assert!(json_bytes(&answer) <= MAX_BYTES, "{} bytes", json_bytes(&answer));
            prop_assert!(answer.failed.len() >= failures.min(1));
            let left_out = reports.len() - answer.deployments.len();
            prop_assert_eq!(answer.more.is_some(), left_out > 0);
            if json_bytes(&reports) <= MAX_BYTES / 2 && reports.iter().all(is_short) {
                prop_assert!(answer.deployments == reports, "short reports must not be cut");
            }
            prop_assert!(answer.more.is_none_or(|more| more.contains(&left_out.to_string())));
        }
    }

    #[test]
    fn the_longest_list_is_cut_first() {
        let mut report = Report::ignored("site".to_owned());
        report.warnings = vec!["a warning".to_owned()];
        let new = (0..100_000).map(|number| format!("assets/{number}.js")).collect();
        report.plan = Some(Planned { new, deleted: vec!["old.js".to_owned()], ..Planned::default() });
        let bounded = report.bounded();
        let plan = bounded.plan.as_ref().unwrap();
        let (shown, last) = (plan.new.len() - 1, plan.new.last().unwrap());
        assert_eq!((&bounded.warnings, &plan.deleted), (&report.warnings, &vec!["old.js".to_owned()]));
        assert_snapshot!(format!("{shown}, {last}; {} bytes", json_bytes(&bounded)), @"5913, and 94087 more; 99772 bytes");
    }
}
