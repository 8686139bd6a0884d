//! The URL paths under which viewers ask for a key.

use super::Distribution;

const INDEX: &str = "index.html";

/// Returns the viewer paths of `key` on `distribution`, decoded: its own path first, then its aliases.
///
/// There are none when the key is outside every origin path, where no viewer reaches it. Every alias is a prefix of the
/// path.
pub fn paths(key: &str, distribution: &Distribution, clean_urls: bool) -> Vec<String> {
    let mut paths = Vec::new();
    for path in own_paths(key, distribution) {
        let aliases = aliases(&path, distribution, clean_urls);
        for path in std::iter::once(path).chain(aliases) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
}

/// Returns the paths of `key` without aliases, one for each origin path that contains it.
pub(super) fn own_paths(key: &str, distribution: &Distribution) -> impl Iterator<Item = String> {
    (distribution.origin_paths.iter()).filter_map(move |origin_path| {
        // CloudFront puts the origin path in front of the viewer's path, and S3 drops the first slash.
        match origin_path.strip_prefix('/') {
            Some(folder) => {
                let path = key.strip_prefix(folder)?;
                path.starts_with('/').then(|| path.to_owned())
            }
            None => Some(format!("/{key}")),
        }
    })
}

/// Returns the folders, each with a slash at its end, in which a distribution shows the keys under a live prefix.
pub(super) fn folders(live_prefix: &str, distribution: &Distribution) -> Vec<String> {
    let folder = |origin_path: &String| {
        let origin = origin_path.strip_prefix('/').map(|path| format!("{path}/")).unwrap_or_default();
        match live_prefix.strip_prefix(&origin) {
            Some(rest) => Some(format!("/{rest}")),
            // The origin shows only a part of what is under the prefix.
            None => origin.starts_with(live_prefix).then(|| "/".to_owned()),
        }
    };
    distribution.origin_paths.iter().filter_map(folder).collect()
}

fn aliases(path: &str, distribution: &Distribution, clean_urls: bool) -> Vec<String> {
    let mut aliases = Vec::new();
    // AWS does not say whether invalidating `/index.html` also drops `/`, so both are paths.
    let root_object = distribution.default_root_object.as_deref();
    if root_object.is_some_and(|object| path[1..] == *object.trim_start_matches('/')) {
        aliases.push("/".to_owned());
    }
    if let Some(folder) = path.strip_suffix(INDEX).filter(|folder| folder.ends_with('/')) {
        aliases.push(folder.to_owned());
        // The folder is cached separately with and without the slash (AWS: "Invalidation paths").
        if let Some(bare) = folder.strip_suffix('/').filter(|bare| !bare.is_empty()) {
            aliases.push(bare.to_owned());
        }
    }
    let stem = path.strip_suffix(".html").filter(|stem| clean_urls && !stem.ends_with('/'));
    aliases.extend(stem.map(str::to_owned));
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(origin_paths: &[&str], default_root_object: Option<&str>) -> Distribution {
        Distribution {
            origin_paths: origin_paths.iter().map(|&path| path.to_owned()).collect(),
            default_root_object: default_root_object.map(str::to_owned),
            ..Distribution::plain()
        }
    }

    #[test]
    fn an_index_document_answers_for_its_folder_with_and_without_the_slash() {
        let plain = distribution(&[""], None);
        assert_eq!(paths("a/b/index.html", &plain, false), ["/a/b/index.html", "/a/b/", "/a/b"]);
        assert_eq!(paths("index.html", &plain, false), ["/index.html", "/"]);
        assert_eq!(paths("myindex.html", &plain, false), ["/myindex.html"]);
        assert_eq!(paths("a/index.htm", &plain, false), ["/a/index.htm"]);
    }

    #[test]
    fn a_default_root_object_answers_for_the_root_alone() {
        let home = distribution(&[""], Some("app/home.html"));
        assert_eq!(paths("app/home.html", &home, false), ["/app/home.html", "/"]);
        assert_eq!(paths("x/app/home.html", &home, false), ["/x/app/home.html"]);
        let index = distribution(&["/prod"], Some("index.html"));
        assert_eq!(paths("prod/index.html", &index, false), ["/index.html", "/"]);
    }

    #[test]
    fn a_clean_url_is_the_page_without_its_extension() {
        let plain = distribution(&[""], None);
        assert_eq!(paths("a/about.html", &plain, true), ["/a/about.html", "/a/about"]);
        assert_eq!(paths("a/index.html", &plain, true), ["/a/index.html", "/a/", "/a", "/a/index"]);
        assert_eq!(paths("a/.html", &plain, true), ["/a/.html"]);
    }

    #[test]
    fn a_live_prefix_is_a_folder_in_every_origin_that_shows_some_of_it() {
        let shown = |live_prefix, origin_path| folders(live_prefix, &distribution(&[origin_path], None));
        assert_eq!(shown("", ""), ["/"]);
        assert_eq!(shown("site/", ""), ["/site/"]);
        assert_eq!(shown("site/", "/site"), ["/"]);
        assert_eq!(shown("site/docs/", "/site"), ["/docs/"]);
        assert_eq!(shown("", "/site"), ["/"]);
        assert_eq!(shown("site/", "/site/docs"), ["/"]);
        assert_eq!(shown("site/", "/sites"), [""; 0]);
    }

    #[test]
    fn a_key_outside_every_origin_path_has_no_path() {
        let prod = distribution(&["/prod"], None);
        assert_eq!(paths("prod/a.css", &prod, false), ["/a.css"]);
        assert_eq!(paths("product/a.css", &prod, false), [""; 0]);
        assert_eq!(paths("prod", &prod, false), [""; 0]);
        assert_eq!(paths("staging/prod/a.css", &prod, false), [""; 0]);
    }

    #[test]
    fn two_origins_on_one_bucket_show_a_key_twice() {
        let both = distribution(&["", "/prod"], None);
        assert_eq!(paths("prod/a.css", &both, false), ["/prod/a.css", "/a.css"]);
        assert_eq!(paths("a.css", &both, false), ["/a.css"]);
    }
}
