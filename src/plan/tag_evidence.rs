//! The evidence that every cached copy of an object has its cache tags.

use super::known::valid_row;
use super::rules::Rules;
use crate::headers::Headers;
use crate::invalidation::{StaleKeys, Tags};
use crate::listing::Listing;
use crate::manifest::{Manifest, Row};

/// What tells of which objects no copy without tags can be in a cache.
pub struct TagEvidence<'s> {
    pub listing: &'s Listing,
    pub manifest: &'s Manifest,
    pub rules: &'s Rules<'s>,
}

impl TagEvidence<'_> {
    /// The tags by key: of every object that is kept, and of each stale one of which no copy without
    /// them can be in a cache.
    ///
    /// The latter is certain of an object that is the one we wrote last, under the very headers that it
    /// would get today, and later than `since` (epoch seconds), from when on the distribution has
    /// cached nothing without its tags. What was cached of the key before that was stale once, and has
    /// had an invalidation of its own, or is owed it.
    pub fn tags<'k>(&self, stale: &StaleKeys<'k>, since: i64) -> Tags<'k> {
        let Self { listing, manifest, rules } = self;
        let mut tags = Tags::default();
        let mut insert = |key: &'k str, is_certain: &dyn Fn(Headers) -> bool| {
            let name = key.strip_prefix(rules.live_prefix).unwrap_or(key);
            let headers = rules.headers_of(name);
            let of_key = rules.tags.of(name, headers.is_page());
            if is_certain(headers) {
                tags.insert(key, of_key);
            }
        };
        for key in stale.changed.iter().chain(&stale.deleted) {
            let object = listing.get(key).filter(|it| it.modified_at > Some(since));
            let row = object.and_then(|object| valid_row(manifest, key, &object));
            insert(key, &|headers| row.as_ref().is_some_and(|row| is_under(row, headers)));
        }
        for key in &stale.kept {
            insert(key, &|_| true);
        }
        tags
    }
}

/// Whether a row was written under these headers, but for the compression that it was stored with.
fn is_under(row: &Row, mut headers: Headers) -> bool {
    if row.gzip_of.is_some() {
        headers.content_encoding = Some("gzip".to_owned());
    }
    row.headers == headers.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache_tag::CacheTags;
    use crate::config::{CacheControl, Compare, Prune};
    use crate::headers::{HeaderRules, HeadersDigest};
    use crate::invalidation::{Distribution, Tagging};
    use crate::listing::Object;

    fn distribution(metadata: &str) -> Distribution {
        Distribution {
            tags: Some(Tagging { metadata: metadata.to_owned(), since: Some(0), version: String::new() }),
            ..Distribution::plain()
        }
    }

    fn header_rules() -> HeaderRules {
        let cache_control = CacheControl { pages: String::new(), assets: String::new() };
        HeaderRules::new(cache_control, &[], None)
    }

    #[test]
    fn a_stale_object_has_tags_only_where_each_copy_must_have_them() {
        let tags = CacheTags::new("my-site", &[distribution("cache-tag")]);
        let headers = header_rules();
        let rules = Rules {
            live_prefix: "live/",
            headers: &headers,
            tags: &tags,
            gzip: true,
            compare: Compare::Crc32,
            prune: Prune::All,
            max_delete_percent: 90,
            allow_large_delete: false,
            retain_removed_days: 0,
            now: 0,
        };
        let marked = rules.headers_of("a.js").digest();
        let plain = headers.headers("a.js").digest();
        let is_known = |modified_at, etag: &str, saved_at, digest: HeadersDigest| {
            let key = "live/a.js";
            let object = Object { size_bytes: 1, etag: "e".into(), modified_at: Some(modified_at) };
            let row = Row {
                size_bytes: 1,
                crc32: 0,
                etag: etag.into(),
                headers: digest,
                immutable: false,
                removed_at: None,
                gzip_of: None,
            };
            let evidence = TagEvidence {
                listing: &Listing::from_iter([(key, object)]),
                manifest: &Manifest::from_iter([(key.to_owned(), row)]).saved_at(Some(saved_at)),
                rules: &rules,
            };
            let [changed, deleted] = [
                StaleKeys { changed: vec![key], ..StaleKeys::default() },
                StaleKeys { deleted: vec![key], ..StaleKeys::default() },
            ]
            .map(|stale| evidence.tags(&stale, 1_000).has(key));
            assert_eq!(changed, deleted);
            changed
        };
        assert!(is_known(1_001, "e", 1_001, marked));
        assert!(!is_known(1_000, "e", 1_001, marked), "older than the configuration");
        assert!(!is_known(1_001, "f", 1_001, marked), "someone else's");
        assert!(!is_known(1_010, "e", 1_001, marked), "written again since");
        assert!(!is_known(1_001, "e", 1_001, plain), "written without tags, or with others");
        let nothing = TagEvidence { listing: &Listing::default(), manifest: &Manifest::default(), rules: &rules };
        let stale = StaleKeys { changed: vec!["live/gone.js"], kept: vec!["live/kept.js"], ..StaleKeys::default() };
        let tags = nothing.tags(&stale, 1_000);
        assert!(!tags.has("live/gone.js") && tags.has("live/kept.js"));
    }
}
