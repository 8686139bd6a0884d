//! The cache tags that objects carry, so that CloudFront can evict them by what they are.
//!
//! A distribution whose `CacheTagConfig` names a header `x-amz-meta-<name>` reads tags from the user
//! metadata of what it caches, and takes `#<tag>` for an item of an invalidation (CloudFront
//! Developer Guide, "Invalidating content by cache tags"). Each object gets one tag for its class and
//! one for its folder.
//!
//! A tag finds only what was cached *with* it. So it counts for a stale object only where no copy
//! without it can exist: see [`Evidence::tags`].

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::headers::Headers;
use crate::invalidation::{Distribution, Tags};
use crate::listing::Listing;
use crate::manifest::{Manifest, Row};
use crate::plan::{Rules, Stale, valid_row};

/// The hex digits by which two sites that share a distribution tell their tags apart.
const SITE_DIGITS: usize = 12;

/// 64 bits: two folders of one site never share them by chance.
const FOLDER_DIGITS: usize = 16;

/// The tags of a site's objects, and the user metadata that carries them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CacheTags {
    site: String,
    /// Names of user metadata; none where no distribution wants tags.
    metadata: BTreeSet<String>,
}

impl CacheTags {
    pub fn new(site: &str, distributions: &[Distribution]) -> Self {
        let tagging = distributions.iter().filter_map(|it| it.tags.as_ref());
        Self { site: digits(site, SITE_DIGITS), metadata: tagging.map(|tagging| tagging.metadata.clone()).collect() }
    }

    /// The tags of a file: of its class, and of the folder that it lies in (not of those above).
    ///
    /// Tags know no case and no character beyond ASCII, so a folder is told by digits of its hash.
    /// The site's are in front: whoever else is behind the distribution has tags of their own.
    pub fn of(&self, name: &str, is_page: bool) -> [String; 2] {
        let class = if is_page { "page" } else { "asset" };
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        [class.to_owned(), digits(folder, FOLDER_DIGITS)].map(|tag| format!("{}.{tag}", self.site))
    }

    /// Adds the tags to the headers that a file is written with.
    pub fn mark(&self, name: &str, mut headers: Headers) -> Headers {
        if self.metadata.is_empty() {
            return headers;
        }
        let tags = self.of(name, headers.is_page()).join(",");
        for name in &self.metadata {
            let value = headers.metadata.entry(name.clone()).or_default();
            // The site's own tags stay, behind these: CloudFront reads the first 50 only.
            *value = match value.as_str() {
                "" => tags.clone(),
                own => format!("{tags},{own}"),
            };
        }
        headers
    }
}

/// What tells of which objects no copy without tags can be in a cache.
pub struct Evidence<'s> {
    pub listing: &'s Listing,
    pub manifest: &'s Manifest,
    pub rules: &'s Rules<'s>,
}

impl Evidence<'_> {
    /// The tags by key: of every object that is kept, and of each stale one of which no copy without
    /// them can be in a cache.
    ///
    /// The latter is certain of an object that is the one we wrote last, under the very headers that it
    /// would get today, and later than `since` (epoch seconds), from when on the distribution has
    /// cached nothing without its tags. What was cached of the key before that was stale once, and has
    /// had an invalidation of its own, or is owed it.
    pub fn tags<'k>(&self, stale: &Stale<'k>, since: i64) -> Tags<'k> {
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

fn digits(text: &str, digits: usize) -> String {
    let mut hex = hex::encode(Sha256::digest(text));
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{CacheControl, Compare, Prune};
    use crate::headers::{HeaderRules, HeadersDigest};
    use crate::invalidation::Tagging;
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
    fn tags_are_of_the_class_and_of_the_folder_itself() {
        let tags = CacheTags::new("my-site", &[]);
        let [page, docs] = tags.of("docs/index.html", true);
        assert_eq!(page, "ea5b092837a9.page");
        assert_eq!(tags.of("docs/app.js", false), ["ea5b092837a9.asset".to_owned(), docs.clone()]);
        for other in ["index.html", "docs/a/index.html", "Docs/index.html", "döcs/index.html", "doc s/x"] {
            let [_, folder] = tags.of(other, true);
            assert!(!folder.eq_ignore_ascii_case(&docs), "{other}");
            assert_eq!(crate::invalidation::validate(&format!("#{folder}")), Ok(()));
        }
        let elsewhere = CacheTags::new("my-site/beta", &[]);
        assert!(elsewhere.of("docs/index.html", true).iter().all(|tag| *tag != page && *tag != docs));
    }

    #[test]
    fn each_distributions_metadata_carries_them_in_front_of_the_sites_own() {
        let tags = CacheTags::new("my-site", &[distribution("cache-tag"), distribution("edge"), distribution("edge")]);
        let mut headers = header_rules().headers("index.html");
        headers.metadata.insert("edge".to_owned(), "news".to_owned());
        let marked = tags.mark("index.html", headers.clone());
        let ours = tags.of("index.html", true).join(",");
        assert_eq!(
            marked.metadata,
            BTreeMap::from([("cache-tag".to_owned(), ours.clone()), ("edge".to_owned(), format!("{ours},news")),])
        );
        assert_ne!(marked.digest(), headers.digest());
        assert_eq!(CacheTags::new("my-site", &[]).mark("index.html", headers.clone()), headers);
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
            let evidence = Evidence {
                listing: &Listing::from_iter([(key, object)]),
                manifest: &Manifest::from_iter([(key.to_owned(), row)]).saved_at(Some(saved_at)),
                rules: &rules,
            };
            let [changed, deleted] =
                [Stale { changed: vec![key], ..Stale::default() }, Stale { deleted: vec![key], ..Stale::default() }]
                    .map(|stale| evidence.tags(&stale, 1_000).has(key));
            assert_eq!(changed, deleted);
            changed
        };
        assert!(is_known(1_001, "e", 1_001, marked));
        assert!(!is_known(1_000, "e", 1_001, marked), "older than the configuration");
        assert!(!is_known(1_001, "f", 1_001, marked), "someone else's");
        assert!(!is_known(1_010, "e", 1_001, marked), "written again since");
        assert!(!is_known(1_001, "e", 1_001, plain), "written without tags, or with others");
        let nothing = Evidence { listing: &Listing::default(), manifest: &Manifest::default(), rules: &rules };
        let stale = Stale { changed: vec!["live/gone.js"], kept: vec!["live/kept.js"], ..Stale::default() };
        let tags = nothing.tags(&stale, 1_000);
        assert!(!tags.has("live/gone.js") && tags.has("live/kept.js"));
    }
}
