//! The settings of a CloudFront distribution that decide what it caches under which path.

/// A CloudFront distribution in front of the live bucket, as far as invalidations depend on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Distribution {
    pub id: String,
    /// The origin paths under which the live bucket is an origin: each `""` or like `/prod`, without a trailing slash.
    /// There must be at least one, since a distribution without any shows no key under any path.
    pub origin_paths: Vec<String>,
    /// The object that answers `/`, relative to the origin path and without a leading slash.
    pub default_root_object: Option<String>,
    /// Whether the distribution caches some error for over 10 seconds. Then viewers who asked for a key before it
    /// existed may still get the error.
    pub caches_errors: bool,
    /// Pages that the distribution serves with a success status in place of any missing key, and caches there for over
    /// 10 seconds, such as a single-page application's `/index.html`. They are viewer paths, decoded.
    pub fallbacks: Vec<String>,
    /// How the distribution learns cache tags, if it accepts them.
    pub tags: Option<Tagging>,
}

#[cfg(test)]
impl Distribution {
    /// Returns a distribution that shows a whole bucket as it is.
    pub fn plain() -> Self {
        Self {
            id: "E1".to_owned(),
            origin_paths: vec![String::new()],
            default_root_object: None,
            caches_errors: false,
            fallbacks: Vec::new(),
            tags: None,
        }
    }

    /// Returns one that has always read cache tags from this user metadata.
    pub fn tagged(metadata: &str) -> Self {
        let tagging = Tagging { metadata: metadata.to_owned(), since: Some(0), version: String::new() };
        Self { tags: Some(tagging), ..Self::plain() }
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
