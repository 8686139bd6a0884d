//! The items that each distribution needs for the stale keys of a plan, under the site's settings.

use crate::config::Config;
use crate::invalidation::{self, Distribution, Invalidation, InvalidationRules, Items, StaleKeys, is_tag, matches};
use crate::plan::TagEvidence;

/// Finds what goes stale on each distribution. Without evidence, no tag is relied on.
pub(super) fn invalidations<'d>(
    config: &Config,
    distributions: &'d [Distribution],
    stale: &StaleKeys,
    evidence: Option<&TagEvidence>,
) -> Vec<(&'d Distribution, Invalidation)> {
    let rules = InvalidationRules {
        max_items: config.max_invalidation_paths,
        clean_urls: config.clean_urls,
        index_document: &config.index_document,
        ..InvalidationRules::default()
    };
    let of_one = |distribution: &'d Distribution| {
        let tagging = distribution.tags.as_ref();
        let mut invalidation = match evidence.zip(tagging.and_then(|tagging| tagging.since)) {
            None => invalidation::invalidation(distribution, stale, &rules),
            Some((evidence, since)) => {
                let tags = || evidence.tags(stale, since);
                invalidation::tagged_invalidation(distribution, stale, &rules, tags)
            }
        };
        if config.is_preview() {
            confine(&mut invalidation, distribution, stale, config);
        }
        (distribution, invalidation)
    };
    distributions.iter().map(of_one).collect()
}

/// Keeps the wildcards of a preview in its folder. One that was merged further up, such as `/previews/a*`, would evict
/// other previews: the preview's own folder is evicted instead.
fn confine(invalidation: &mut Invalidation, distribution: &Distribution, stale: &StaleKeys, config: &Config) {
    let everything = invalidation::folder_alone(distribution, &config.live_prefix);
    let is_inside =
        |item: &String| !item.ends_with('*') || everything.list.iter().any(|covering| matches(covering, item));
    let mut is_confined = false;
    for items in [&mut invalidation.first, &mut invalidation.last] {
        if !items.list.iter().all(is_inside) {
            *items = Items { collateral: stale.kept.len(), ..everything.clone() };
            is_confined = true;
        }
    }
    if is_confined {
        invalidation.collateral = stale.kept.len();
    }
}

/// Returns what the site's owner may want to change, if unchanged objects are evicted.
pub(super) fn warning(config: &Config, distribution: &Distribution, invalidation: &Invalidation) -> Option<String> {
    let (id, evicted) = (&distribution.id, invalidation.collateral);
    if let Some(page) = &invalidation.fallback {
        return Some(format!(
            "{id} serves {page} under any path and caches it for over 10 seconds: when it changes, everything is \
             evicted ({evicted} unchanged objects); an error caching minimum TTL of 10 avoids that"
        ));
    }
    let mut items = invalidation.first.list.iter().chain(&invalidation.last.list);
    let evicting = if items.any(|item| is_tag(item)) { "wildcards and cache tags" } else { "wildcards" };
    (evicted > 0).then(|| {
        format!(
            "{evicting} evict {evicted} unchanged objects from {id}: without them the deployment would need more than \
             MaxInvalidationPaths ({}) items, or a stale path has characters that CloudFront cannot name",
            config.max_invalidation_paths
        )
    })
}
