//! The batches in which items are recorded and sent.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{Distribution, Invalidation, Items, is_tag, validate};

/// How many items a batch has at most. CloudFront is said to take 150 paths or tags and one wildcard a second of an
/// account, and before that 3,000 paths and 15 wildcards in progress on a distribution (CloudFront Developer Guide,
/// "Quotas"). A batch with one wildcard fits under both, however the wildcard counts.
const MAX_ITEMS: usize = 100;

/// A DynamoDB item may have 400 KB. This leaves room for the other attributes and for the names of all of them.
const MAX_TEXT_BYTES: usize = 256 * 1024;

static EVERYTHING: LazyLock<[String; 1]> = LazyLock::new(|| ["/*".to_owned()]);

/// 128 bits of a SHA-256: enough that two batches of one run never share them by chance.
const DIGEST_BYTES: usize = 16;

/// One `CreateInvalidation` request, and one item in the ledger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// The `CallerReference`.
    pub reference: String,
    /// The id of the distribution.
    pub distribution: String,
    /// Sorted, unique, never empty.
    pub items: Vec<String>,
    /// Whether the batch covers entry points or deletes, and may therefore only be sent after the deletes, which are last.
    pub after_deletes: bool,
    /// The version of the distribution's configuration that the tags among the items rely on. Under another version
    /// they may evict nothing.
    pub relies_on: Option<String>,
}

impl Batch {
    /// Returns the batch to send instead of this one and of those with the references `others`, when its items can have
    /// no effect any more. `everything` are the items that evict the whole site; without any, `/*` does.
    ///
    /// Its reference follows from all of theirs and from its items, so that every offer repeats it. Where another batch
    /// has become due since, which may cover later writes, CloudFront takes it for a new one.
    pub fn of_everything<'r>(&self, everything: Vec<String>, others: impl Iterator<Item = &'r str>) -> Self {
        let items = if everything.is_empty() { EVERYTHING.to_vec() } else { everything };
        let mut others: Vec<&str> = others.collect();
        others.sort_unstable();
        let contents = items.iter().map(String::as_str).chain(others);
        Self { reference: self.derived("everything", contents), items, relies_on: None, ..self.clone() }
    }

    /// Returns the batches to send instead of one that an earlier release made larger than [`batches`] does. Returns
    /// none for a batch that fits.
    ///
    /// Their references follow from this one's and from their items, so that every split makes the same ones.
    pub fn split(&self) -> Vec<Self> {
        let portions = portions(&self.items);
        if portions.len() <= 1 {
            return Vec::new();
        }
        let portion = |items: Vec<String>| Self {
            reference: self.derived("portion", items.iter().map(String::as_str)),
            relies_on: self.relies_on.clone().filter(|_| items.iter().any(|item| is_tag(item))),
            items,
            ..self.clone()
        };
        portions.into_iter().map(portion).collect()
    }

    /// Returns this batch's reference with another digest.
    fn derived<'t>(&'t self, reason: &'t str, contents: impl Iterator<Item = &'t str>) -> String {
        let digest = digest([self.reference.as_str(), reason].into_iter().chain(contents));
        let prefix = self.reference.rsplit_once('-').map_or(self.reference.as_str(), |(prefix, _)| prefix);
        format!("{prefix}-{digest}")
    }
}

/// The origin of batches, as their references name it.
#[derive(Clone, Copy, Debug)]
pub struct References<'a> {
    pub site: &'a str,
    pub deployment: &'a str,
    pub run: u64,
    /// When the batches are recorded.
    pub recorded_at: DateTime<Utc>,
}

impl References<'_> {
    /// Returns the `CallerReference` of a batch: `<deployment id>.<run>.<number>-<digest>`.
    ///
    /// The digest covers site, distribution, items and time. So equal references mean equal requests: CloudFront refuses
    /// a reference that it knows with other items, and does nothing for one that it knows with the same. After the table
    /// was restored from a backup, a run has a number again that another one had before; the time tells their batches
    /// apart. 63 of the 128 characters of a reference (the limit that AWS states for other caller references) are left
    /// for the deployment id.
    pub fn of(&self, number: u32, distribution: &str, items: &[String]) -> String {
        let Self { site, deployment, run, recorded_at } = self;
        let mut sorted: Vec<&str> = items.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        let recorded_at = recorded_at.to_rfc3339();
        let digest = digest([site, distribution, &recorded_at].into_iter().chain(sorted));
        format!("{deployment}.{run}.{number}-{digest}")
    }
}

/// Splits `invalidation` into batches and numbers them from `first`.
///
/// The batches of the first phase come first. The numbers of a run must not repeat, over all distributions:
/// `first` is the number of batches that the run already has.
pub fn batches(
    references: &References<'_>,
    first: u32,
    distribution: &Distribution,
    invalidation: &Invalidation,
) -> Vec<Batch> {
    let phases = [(sendable(&invalidation.first), false), (sendable(&invalidation.last), true)];
    let mut batches = Vec::new();
    let mut numbers = first..;
    for (items, after_deletes) in phases {
        for (items, number) in portions(items).into_iter().zip(&mut numbers) {
            batches.push(Batch {
                reference: references.of(number, &distribution.id, &items),
                distribution: distribution.id.clone(),
                relies_on: relied_on(distribution, &items),
                items,
                after_deletes,
            });
        }
    }
    batches
}

/// Returns the version of the distribution's configuration that the items rely on, if there are tags among them.
fn relied_on(distribution: &Distribution, items: &[String]) -> Option<String> {
    let tagging = distribution.tags.as_ref().filter(|_| items.iter().any(|item| is_tag(item)));
    tagging.map(|tagging| tagging.version.clone())
}

fn digest<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        // With its length in front, ["a", "b"] differs from ["ab"].
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    hex::encode(&digest.finalize()[..DIGEST_BYTES])
}

/// Returns the items, or `/*` if one of them is not [valid](validate).
///
/// CloudFront would either refuse the batch every time, or accept it and ignore the invalid item. But a batch that is
/// recorded must go through.
fn sendable(items: &Items) -> &[String] {
    match items.list.iter().find_map(|item| validate(item).err()) {
        None => &items.list,
        Some(invalid) => {
            tracing::error!("invalidating `/*` instead of the stale paths, since one item is invalid: {invalid}");
            &*EVERYTHING
        }
    }
}

/// Splits items so that each portion has at most one wildcard, and fits into one request and one ledger item.
fn portions(items: &[String]) -> Vec<Vec<String>> {
    let (wildcards, others): (Vec<_>, Vec<_>) = items.iter().partition(|item| item.ends_with('*'));
    let (mut wildcards, mut others) = (wildcards.into_iter(), others.into_iter().peekable());
    let mut portions = Vec::new();
    while wildcards.len() > 0 || others.peek().is_some() {
        let mut portion: Vec<String> = wildcards.next().cloned().into_iter().collect();
        let mut text_bytes: usize = portion.iter().map(String::len).sum();
        // At least one fits, since no item has more than 4,000 characters.
        while portion.len() < MAX_ITEMS
            && let Some(item) = others.next_if(|item| text_bytes + item.len() <= MAX_TEXT_BYTES)
        {
            text_bytes += item.len();
            portion.push(item.clone());
        }
        portion.sort_unstable();
        portions.push(portion);
    }
    portions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::Tagging;

    const DEPLOYMENT: &str = "20261122T101500Z-0123456789ab";

    fn distribution(tags: Option<Tagging>) -> Distribution {
        Distribution { tags, ..Distribution::plain() }
    }

    fn items(list: Vec<String>) -> Items {
        Items { list, ..Items::default() }
    }

    fn owned(items: &[&str]) -> Vec<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    fn references(seconds: i64) -> References<'static> {
        let recorded_at = DateTime::from_timestamp(1_795_342_500 + seconds, 0).unwrap();
        References { site: "my-site", deployment: DEPLOYMENT, run: 7, recorded_at }
    }

    #[test]
    fn a_reference_consists_of_deployment_run_number_and_digest() {
        insta::assert_snapshot!(references(0).of(2, "E1", &owned(&["/a", "/b"])), @"20261122T101500Z-0123456789ab.7.2-e21dffdad2853a64c27e9e595c18da53");
        let long = "x".repeat(63);
        let longest = References { deployment: &long, run: u64::MAX, ..references(0) };
        assert_eq!(longest.of(u32::MAX, "E1", &[]).len(), 128);
    }

    #[test]
    fn the_digest_depends_on_site_distribution_items_and_time_but_not_on_the_order_of_items() {
        let digest = |distribution, items: &[&str]| references(0).of(0, distribution, &owned(items));
        assert_eq!(digest("E1", &["/b", "/a"]), digest("E1", &["/a", "/b"]));
        let different = [
            digest("E1", &["/a", "/b"]),
            digest("E2", &["/a", "/b"]),
            digest("E1", &["/a/b"]),
            digest("E1/a", &["/b"]),
            digest("E1", &["/a", "/b", "/b"]),
            digest("E1", &[]),
            references(1).of(0, "E1", &owned(&["/a", "/b"])),
            References { site: "another", ..references(0) }.of(0, "E1", &owned(&["/a", "/b"])),
        ];
        for (index, reference) in different.iter().enumerate() {
            assert!(!different[..index].contains(reference), "{reference}");
        }
    }

    #[test]
    fn a_batch_that_cloudfront_would_refuse_evicts_everything_instead() {
        let invalidation = Invalidation {
            first: items(owned(&["/a", "/b~"])),
            last: items(owned(&["/c"])),
            ..Invalidation::default()
        };
        let batches = batches(&references(0), 0, &distribution(None), &invalidation);
        assert_eq!(batches[0].items, ["/*"]);
        assert_eq!(batches[1].items, ["/c"]);
    }

    #[test]
    fn a_batch_has_at_most_100_items_and_one_wildcard_and_fits_into_a_ledger_item() {
        let short: Vec<String> = (0..250).map(|n| format!("/{n:04}")).collect();
        let wildcards: Vec<String> = (0..5).map(|n| format!("/w{n}/*")).collect();
        let long: Vec<String> = (0..100).map(|n| format!("/{n:03996}")).collect();
        let invalidation = Invalidation {
            first: items([short.clone(), wildcards.clone()].concat()),
            last: items(long.clone()),
            ..Invalidation::default()
        };
        let batches = batches(&references(0), 5, &distribution(None), &invalidation);
        let sizes: Vec<_> = batches.iter().map(|batch| (batch.after_deletes, batch.items.len())).collect();
        assert_eq!(sizes, [(false, 100), (false, 100), (false, 53), (false, 1), (false, 1), (true, 65), (true, 35)]);
        let mut all: Vec<_> = batches.iter().flat_map(|batch| batch.items.clone()).collect();
        let mut expected = [short, wildcards, long].concat();
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
        for (batch, n) in batches.iter().zip(5..) {
            assert_eq!(batch.distribution, "E1");
            assert_eq!(batch.reference, references(0).of(n, "E1", &batch.items));
            assert!(batch.items.iter().map(String::len).sum::<usize>() <= 256 * 1024);
            assert!(batch.items.iter().filter(|item| item.ends_with('*')).count() <= 1);
        }
    }

    #[test]
    fn a_batch_of_an_older_shape_is_split_in_the_same_way_every_time() {
        let paths = (0..250).map(|n| format!("/{n:04}"));
        let items: Vec<String> = paths.chain(owned(&["#tag", "/a/*", "/b/*"])).collect();
        let old = Batch {
            reference: references(0).of(2, "E1", &items),
            distribution: "E1".to_owned(),
            items,
            after_deletes: true,
            relies_on: Some("version".to_owned()),
        };
        let split = old.split();
        let sizes: Vec<usize> = split.iter().map(|batch| batch.items.len()).collect();
        assert_eq!(sizes, [100, 100, 53]);
        let mut all = split.iter().flat_map(|batch| batch.items.clone()).collect::<Vec<_>>();
        let mut expected = old.items.clone();
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
        for (n, batch) in split.iter().enumerate() {
            assert!(batch.items.iter().filter(|item| item.ends_with('*')).count() <= 1);
            assert!(batch.after_deletes && batch.reference.starts_with(&format!("{DEPLOYMENT}.7.2-")));
            assert_eq!(batch.relies_on.is_some(), batch.items.iter().any(|item| is_tag(item)));
            assert!(split[..n].iter().all(|other| other.reference != batch.reference));
            assert_eq!(batch.split(), [], "a portion fits");
        }
        assert_eq!(old.split(), split);
    }

    #[test]
    fn an_empty_invalidation_has_no_batch() {
        assert_eq!(batches(&references(0), 0, &distribution(None), &Invalidation::default()), []);
    }
}
