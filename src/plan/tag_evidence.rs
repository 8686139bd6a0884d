//! The evidence that every cached copy of an object has its cache tags.

use super::known::valid_row;
use super::rules::Rules;
use crate::headers::Headers;
use crate::invalidation::{StaleKeys, Tags};
use crate::listing::Listing;
use crate::manifest::{Manifest, Row};

/// The sources that show whether every cached copy of an object has tags.
pub struct TagEvidence<'s> {
    pub listing: &'s Listing,
    pub manifest: &'s Manifest,
    pub rules: &'s Rules<'s>,
}

impl TagEvidence<'_> {
    /// Returns the tags by key: of every kept object, and of each stale object whose cached copies all have them.
    ///
    /// That is certain of an object if a deployment wrote it last, with the very headers that it would get today, and
    /// after `since` (epoch seconds). Since then the distribution has cached nothing without its tags. Older copies do
    /// not matter: when the object replaced them they went stale, and their invalidation was sent or is owed.
    pub fn tags<'k>(&self, stale: &StaleKeys<'k>, since: i64) -> Tags<'k> {
        let mut tags = Tags::default();
        for key in stale.changed.iter().chain(&stale.changed_entry_points).chain(&stale.deleted) {
            let headers = self.headers(key);
            if self.was_written_with(key, &headers, since) {
                tags.insert(key, self.rules.tags.of(self.name(key), headers.is_page()));
            }
        }
        for key in &stale.kept {
            tags.insert(key, self.rules.tags.of(self.name(key), self.headers(key).is_page()));
        }
        tags
    }

    fn name<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(self.rules.live_prefix).unwrap_or(key)
    }

    fn headers(&self, key: &str) -> Headers {
        self.rules.headers_of(self.name(key))
    }

    /// Whether the listed object was written by a deployment, with these headers and after `since`.
    fn was_written_with(&self, key: &str, headers: &Headers, since: i64) -> bool {
        let object = self.listing.get(key).filter(|object| object.modified_at > Some(since));
        let row = object.and_then(|object| valid_row(self.manifest, key, &object));
        row.is_some_and(|row| has_headers(&row, headers))
    }
}

/// Whether a row was written with these headers, except for the compression that it was stored with.
fn has_headers(row: &Row, headers: &Headers) -> bool {
    let content_encoding = match row.gzip_of {
        Some(_) => Some("gzip".to_owned()),
        None => headers.content_encoding.clone(),
    };
    row.headers == Headers { content_encoding, ..headers.clone() }.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache_tag::CacheTags;
    use crate::config::{EntryPoints, Prune};
    use crate::headers::{HeaderRules, HeadersDigest};
    use crate::invalidation::Distribution;
    use crate::listing::Object;

    #[test]
    fn a_stale_object_has_tags_only_if_every_copy_must_have_them() {
        let tags = CacheTags::new("my-site", &[Distribution::tagged("cache-tag")]);
        let headers = HeaderRules::without_file();
        let rules = Rules {
            live_prefix: "live/",
            headers: &headers,
            tags: &tags,
            entry_points: &EntryPoints::default(),
            gzip: true,
            prune: Prune::All,
            max_delete_percent: 90,
            allow_large_delete: false,
            archive_root: None,
            index_document: "index.html",
            retain_removed_days: 0,
            now: 0,
        };
        let marked = rules.headers_of("a.js").digest();
        let plain = headers.headers("a.js").digest();
        let has_tags = |modified_at, etag: &str, saved_at, digest: HeadersDigest| {
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
                manifest: &Manifest::from_iter([(key.to_owned(), row)]).with_saved_at(Some(saved_at)),
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
        assert!(has_tags(1_001, "e", 1_001, marked));
        assert!(!has_tags(1_000, "e", 1_001, marked), "older than the configuration");
        assert!(!has_tags(1_001, "f", 1_001, marked), "someone else's");
        assert!(!has_tags(1_010, "e", 1_001, marked), "written again since");
        assert!(!has_tags(1_001, "e", 1_001, plain), "written without tags, or with others");
        let nothing = TagEvidence { listing: &Listing::default(), manifest: &Manifest::default(), rules: &rules };
        let stale = StaleKeys { changed: vec!["live/gone.js"], kept: vec!["live/kept.js"], ..StaleKeys::default() };
        let tags = nothing.tags(&stale, 1_000);
        assert!(!tags.has("live/gone.js") && tags.has("live/kept.js"));
    }
}
