//! The settings of a CloudFront distribution that decide what it caches under which path.

use percent_encoding::{AsciiSet, CONTROLS};
use sha2::{Digest, Sha256};

/// The characters that a URL's path must escape (WHATWG URL standard, "path percent-encode set").
const IN_A_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// A CloudFront distribution in front of the live bucket, as far as invalidations depend on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Distribution {
    pub id: String,
    /// The host under which viewers reach it: its first domain name, or CloudFront's own. It plays no part in
    /// invalidations.
    pub host: String,
    /// The origins that show the live bucket. There must be at least one, since a distribution without any shows no key
    /// under any path.
    pub origins: Vec<Origin>,
    /// The object that answers `/`, relative to the origin path and without a leading slash.
    pub default_root_object: Option<String>,
    /// Whether the distribution caches some error for over 10 seconds. Then viewers who asked for a key before it
    /// existed may still get the error.
    pub caches_errors: bool,
    /// Pages that the distribution serves with a success status in place of any missing key, and caches there for over
    /// 10 seconds, such as a single-page application's `/index.html`. They are viewer paths, decoded.
    pub fallbacks: Vec<String>,
    /// Whether query strings are part of the cache key; then each path has unknown variants.
    pub query_strings: bool,
    /// How the distribution learns cache tags, if it accepts them.
    pub tags: Option<Tagging>,
    /// Sentences for the report: settings that keep invalidations from being exact or complete.
    pub warnings: Vec<String>,
}

/// A view of the live bucket.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// `""`, or like `/prod`, without a trailing slash.
    pub path: String,
    pub folders: Folders,
}

/// The answers under a folder's own paths, `/docs/` and `/docs`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Folders {
    /// S3 takes them for keys, and has none of these names.
    Keys,
    /// The bucket's website endpoint answers `/docs/` with the folder's index document, and `/docs` with a redirect to
    /// `/docs/` (S3 User Guide, "Configuring an index document").
    Website,
    /// A function may rewrite both to the index document. It does not know whether there is one, so where it answers
    /// with a redirect instead, this never goes stale.
    Function,
    /// Another server answers, with the index document or with a redirect to it.
    Server,
}

impl Distribution {
    /// Returns what decides the items of an invalidation. A batch with cache tags is checked when it is offered.
    fn without_tags(&self) -> Self {
        Self { host: String::new(), tags: None, warnings: Vec::new(), ..self.clone() }
    }

    /// Returns the URL under which the distribution shows what is under a prefix of the live bucket. It ends in a slash.
    pub fn url(&self, live_prefix: &str) -> Option<String> {
        let shown = self.origins.iter().find_map(|origin| {
            let origin_path = origin.path.trim_start_matches('/');
            let folder = live_prefix.strip_prefix(origin_path)?;
            Some(folder.trim_start_matches('/'))
        });
        // An origin path that is deeper than the prefix shows a part of the site as its root.
        let folder = percent_encoding::utf8_percent_encode(shown.unwrap_or_default(), IN_A_PATH);
        (!self.host.is_empty()).then(|| format!("https://{}/{folder}", self.host))
    }

    /// Adds the view of a folder as a root: a function on viewer requests maps its host to it, before the cache.
    ///
    /// An answer is cached under the path after the function. "If the function changes the URI of the requested file, we
    /// recommend that you invalidate both URIs" (CloudFront Developer Guide, "What you need to know when invalidating
    /// files"), so the path before it counts as well.
    pub fn show_as_root(&mut self, folder: &str) {
        let path = format!("/{}", folder.trim_end_matches('/'));
        self.origins.insert(0, Origin { path, folders: Folders::Function });
    }

    /// Whether it is configured in the same way as another one, as far as invalidations without tags depend on it.
    pub fn is_configured_like(&self, other: &Self) -> bool {
        self.without_tags() == other.without_tags()
    }
}

/// Returns a text that differs if one of the distributions is [configured](Distribution::is_configured_like) otherwise.
/// It may also differ from that of another release.
pub fn fingerprint(distributions: &[Distribution]) -> String {
    let configured: Vec<Distribution> = distributions.iter().map(Distribution::without_tags).collect();
    hex::encode(&Sha256::digest(format!("{configured:?}"))[..16])
}

#[cfg(test)]
impl Distribution {
    /// Returns a distribution that shows a whole bucket, and index documents under their folders too.
    pub fn plain() -> Self {
        Self {
            id: "E1".to_owned(),
            host: "e1.cloudfront.net".to_owned(),
            origins: vec![Origin { path: String::new(), folders: Folders::Function }],
            default_root_object: None,
            caches_errors: false,
            fallbacks: Vec::new(),
            query_strings: false,
            tags: None,
            warnings: Vec::new(),
        }
    }

    /// Returns one that has always read cache tags from this user metadata.
    pub fn tagged(metadata: &str) -> Self {
        let tagging = Tagging { metadata: metadata.to_owned(), since: Some(0), version: String::new() };
        Self { tags: Some(tagging), ..Self::plain() }
    }

    /// Returns the same distribution with these origins.
    pub fn with_origins(self, origins: &[(&str, Folders)]) -> Self {
        let origin = |&(path, folders): &(&str, Folders)| Origin { path: path.to_owned(), folders };
        Self { origins: origins.iter().map(origin).collect(), ..self }
    }
}

/// How a distribution learns the cache tags of the objects that it caches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tagging {
    /// The name of the user metadata that holds the tags, in lower case and without `x-amz-meta-`.
    pub metadata: String,
    /// When the tags took effect, in epoch seconds: everything that the distribution cached since then has its tags.
    /// `None` while the configuration is still on its way to the edge.
    pub since: Option<i64>,
    /// The version of the distribution's configuration that turns the tags on.
    pub version: String,
}
