//! The cache tags that objects carry, by which CloudFront can evict a whole class or folder.
//!
//! A distribution whose `CacheTagConfig` names a header `x-amz-meta-<name>` reads tags from the user metadata of the
//! objects that it caches, and accepts `#<tag>` as an item of an invalidation (CloudFront Developer Guide,
//! "Invalidating content by cache tags"). Each object gets one tag for its class and one for its folder.
//!
//! A tag evicts only copies that were cached *with* it. It is therefore used for a stale object only if no copy without
//! it can exist; the plan's `TagEvidence` decides that.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::headers::Headers;
use crate::invalidation::Distribution;

/// The number of hex digits that distinguish the tags of sites that share a distribution.
const SITE_DIGITS: usize = 12;

/// The number of hex digits that distinguish the folders of a site. At 64 bits two folders never collide by chance.
const FOLDER_DIGITS: usize = 16;

/// The tags of a site's objects, and the user metadata that carries them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CacheTags {
    site: String,
    /// The names of user metadata that distributions read tags from.
    metadata: BTreeSet<String>,
}

impl CacheTags {
    pub fn new(site: &str, distributions: &[Distribution]) -> Self {
        let tagging = distributions.iter().filter_map(|it| it.tags.as_ref());
        Self { site: digits(site, SITE_DIGITS), metadata: tagging.map(|tagging| tagging.metadata.clone()).collect() }
    }

    /// Returns the tags of a file: one for its class, and one for its folder but not the folders above it.
    ///
    /// Tags are ASCII and ignore case, so a folder is represented by a hash. The site's hash comes first, because other
    /// sites behind the same distribution have tags too.
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
            // Tags of the site's own follow these, because CloudFront reads only the first 50.
            *value = match value.as_str() {
                "" => tags.clone(),
                own => format!("{tags},{own}"),
            };
        }
        headers
    }
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
    use crate::headers::HeaderRules;

    #[test]
    fn a_file_has_a_tag_for_its_class_and_one_for_its_folder() {
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
    fn each_distributions_metadata_has_the_tags_before_the_sites_own() {
        let tags = CacheTags::new(
            "my-site",
            &[Distribution::tagged("cache-tag"), Distribution::tagged("edge"), Distribution::tagged("edge")],
        );
        let mut headers = HeaderRules::without_file().headers("index.html");
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
}
