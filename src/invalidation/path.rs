//! The URL paths under which viewers ask for a key.

use super::{Distribution, Folders, InvalidationRules, Origin};

/// A path under which a cache may hold an answer that depends on a key.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ViewerPath {
    /// Decoded.
    pub(super) path: String,
    pub(super) answer: Answer,
}

/// What a cache may hold under a path while the key exists.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Answer {
    /// The object, with its cache tags.
    Object,
    /// The object, or a redirect to it.
    ObjectOrRedirect,
    /// A redirect. It has no cache tags, and changes only when the key comes or goes.
    Redirect,
}

/// Returns the viewer paths of `key` on `distribution`, decoded: its own path first, then its aliases.
///
/// There are none when the key is outside every origin path, where no viewer reaches it. Every alias is a prefix of the
/// path.
pub fn paths(key: &str, distribution: &Distribution, rules: &InvalidationRules<'_>) -> Vec<String> {
    viewer_paths(key, distribution, rules).into_iter().map(|path| path.path).collect()
}

/// Returns [`paths`] with their answers. No path is repeated; where origins differ in its answer, it has the one of
/// which the least is known.
pub(super) fn viewer_paths(key: &str, distribution: &Distribution, rules: &InvalidationRules<'_>) -> Vec<ViewerPath> {
    let mut paths: Vec<ViewerPath> = Vec::new();
    for origin in &distribution.origins {
        let Some(path) = own_path(key, origin) else {
            continue;
        };
        let aliases = aliases(&path, origin.folders, distribution, rules);
        for path in std::iter::once(ViewerPath { path, answer: Answer::Object }).chain(aliases) {
            match paths.iter_mut().find(|known| known.path == path.path) {
                Some(known) if known.answer != path.answer => known.answer = Answer::ObjectOrRedirect,
                Some(_) => {}
                None => paths.push(path),
            }
        }
    }
    paths
}

/// Returns the paths of `key` without aliases, one for each origin path that contains it.
pub(super) fn own_paths(key: &str, distribution: &Distribution) -> impl Iterator<Item = String> {
    distribution.origins.iter().filter_map(move |origin| own_path(key, origin))
}

fn own_path(key: &str, origin: &Origin) -> Option<String> {
    // CloudFront puts the origin path in front of the viewer's path, and S3 drops the first slash.
    match origin.path.strip_prefix('/') {
        Some(folder) => {
            let path = key.strip_prefix(folder)?;
            path.starts_with('/').then(|| path.to_owned())
        }
        None => Some(format!("/{key}")),
    }
}

/// Returns the folders, each with a slash at its end, in which a distribution shows the keys under a live prefix.
pub(super) fn folders(live_prefix: &str, distribution: &Distribution) -> Vec<String> {
    distribution.origins.iter().filter_map(|origin| folder(live_prefix, origin)).collect()
}

fn folder(live_prefix: &str, origin: &Origin) -> Option<String> {
    let shown = origin.path.strip_prefix('/').map(|path| format!("{path}/")).unwrap_or_default();
    match live_prefix.strip_prefix(&shown) {
        Some(rest) => Some(format!("/{rest}")),
        // The origin shows only a part of what is under the prefix.
        None => shown.starts_with(live_prefix).then(|| "/".to_owned()),
    }
}

/// Returns the aliases outside the [`folders`] of a live prefix that keys under it may have.
pub(super) fn outer_aliases(live_prefix: &str, distribution: &Distribution) -> Vec<String> {
    let mut aliases = Vec::new();
    for origin in &distribution.origins {
        let Some(folder) = folder(live_prefix, origin) else {
            continue;
        };
        let bare = folder.strip_suffix('/').filter(|bare| !bare.is_empty() && origin.folders != Folders::Keys);
        aliases.extend(bare.map(str::to_owned));
        let root_object = distribution.default_root_object.as_deref();
        if root_object.is_some_and(|object| format!("/{object}").starts_with(&folder)) {
            aliases.push("/".to_owned());
        }
    }
    aliases
}

fn aliases(
    path: &str,
    folders: Folders,
    distribution: &Distribution,
    rules: &InvalidationRules<'_>,
) -> Vec<ViewerPath> {
    let object = |path: &str| ViewerPath { path: path.to_owned(), answer: Answer::Object };
    let mut aliases = Vec::new();
    // AWS does not say whether invalidating `/index.html` also drops `/`, so both are paths.
    let root_object = distribution.default_root_object.as_deref();
    if root_object == Some(&path[1..]) {
        aliases.push(object("/"));
    }
    let folder = path.strip_suffix(rules.index_document).filter(|folder| folder.ends_with('/'));
    match (folder, folders) {
        (None, _) | (Some(_), Folders::Keys) => {}
        // CloudFront asks the website for the default root object where there is one.
        (Some("/"), Folders::Website) if root_object.is_some() => {}
        (Some(folder), _) => {
            aliases.push(object(folder));
            // Caches hold the folder separately with and without the slash (AWS: "Invalidation paths").
            if let Some(bare) = folder.strip_suffix('/').filter(|bare| !bare.is_empty()) {
                let answer = match folders {
                    Folders::Keys | Folders::Function => Answer::Object,
                    Folders::Website => Answer::Redirect,
                    Folders::Server => Answer::ObjectOrRedirect,
                };
                aliases.push(ViewerPath { path: bare.to_owned(), answer });
            }
        }
    }
    let stem = path.strip_suffix(".html").filter(|stem| rules.clean_urls && !stem.ends_with('/'));
    aliases.extend(stem.map(object));
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(origins: &[(&str, Folders)], default_root_object: Option<&str>) -> Distribution {
        let default_root_object = default_root_object.map(str::to_owned);
        Distribution { default_root_object, ..Distribution::plain() }.with_origins(origins)
    }

    fn paths(key: &str, distribution: &Distribution) -> Vec<String> {
        super::paths(key, distribution, &InvalidationRules::default())
    }

    #[test]
    fn behind_a_function_an_index_document_answers_for_its_folder_with_and_without_the_slash() {
        let function = distribution(&[("", Folders::Function)], None);
        assert_eq!(paths("a/b/index.html", &function), ["/a/b/index.html", "/a/b/", "/a/b"]);
        assert_eq!(paths("index.html", &function), ["/index.html", "/"]);
        assert_eq!(paths("myindex.html", &function), ["/myindex.html"]);
        assert_eq!(paths("a/index.htm", &function), ["/a/index.htm"]);
    }

    #[test]
    fn behind_s3_itself_an_index_document_has_no_alias_except_the_default_root_objects() {
        let keys = distribution(&[("", Folders::Keys)], None);
        assert_eq!(paths("a/b/index.html", &keys), ["/a/b/index.html"]);
        assert_eq!(paths("index.html", &keys), ["/index.html"]);
        let rooted = distribution(&[("", Folders::Keys)], Some("index.html"));
        assert_eq!(paths("a/index.html", &rooted), ["/a/index.html"]);
        assert_eq!(paths("index.html", &rooted), ["/index.html", "/"]);
    }

    #[test]
    fn a_website_endpoint_answers_for_a_folder_without_the_slash_with_a_redirect() {
        let website = distribution(&[("", Folders::Website)], None);
        let found = viewer_paths("a/index.html", &website, &InvalidationRules::default());
        let answers: Vec<_> = found.iter().map(|path| (path.path.as_str(), path.answer)).collect();
        assert_eq!(answers, [("/a/index.html", Answer::Object), ("/a/", Answer::Object), ("/a", Answer::Redirect)]);
        assert_eq!(paths("index.html", &website), ["/index.html", "/"]);
        let rooted = distribution(&[("", Folders::Website)], Some("home.html"));
        assert_eq!(paths("index.html", &rooted), ["/index.html"]);
        assert_eq!(paths("home.html", &rooted), ["/home.html", "/"]);
    }

    #[test]
    fn another_index_document_takes_the_place_of_index_html() {
        let rules = InvalidationRules { index_document: "home.htm", ..InvalidationRules::default() };
        let function = distribution(&[("", Folders::Function)], None);
        assert_eq!(super::paths("a/home.htm", &function, &rules), ["/a/home.htm", "/a/", "/a"]);
        assert_eq!(super::paths("a/index.html", &function, &rules), ["/a/index.html"]);
    }

    #[test]
    fn a_default_root_object_answers_for_the_root_alone() {
        let home = distribution(&[("", Folders::Keys)], Some("app/home.html"));
        assert_eq!(paths("app/home.html", &home), ["/app/home.html", "/"]);
        assert_eq!(paths("x/app/home.html", &home), ["/x/app/home.html"]);
        let index = distribution(&[("/prod", Folders::Keys)], Some("index.html"));
        assert_eq!(paths("prod/index.html", &index), ["/index.html", "/"]);
    }

    #[test]
    fn a_clean_url_is_the_page_without_its_extension() {
        let plain = Distribution::plain();
        let clean = InvalidationRules { clean_urls: true, ..InvalidationRules::default() };
        assert_eq!(super::paths("a/about.html", &plain, &clean), ["/a/about.html", "/a/about"]);
        assert_eq!(super::paths("a/index.html", &plain, &clean), ["/a/index.html", "/a/", "/a", "/a/index"]);
        assert_eq!(super::paths("a/.html", &plain, &clean), ["/a/.html"]);
    }

    #[test]
    fn a_live_prefix_is_a_folder_in_every_origin_that_shows_some_of_it() {
        let shown =
            |live_prefix, origin_path| folders(live_prefix, &distribution(&[(origin_path, Folders::Keys)], None));
        assert_eq!(shown("", ""), ["/"]);
        assert_eq!(shown("site/", ""), ["/site/"]);
        assert_eq!(shown("site/", "/site"), ["/"]);
        assert_eq!(shown("site/docs/", "/site"), ["/docs/"]);
        assert_eq!(shown("", "/site"), ["/"]);
        assert_eq!(shown("site/", "/site/docs"), ["/"]);
        assert_eq!(shown("site/", "/sites"), [""; 0]);
    }

    #[test]
    fn keys_under_a_live_prefix_may_have_aliases_outside_of_its_folder() {
        let outside = |folders, root_object| outer_aliases("site/", &distribution(&[("", folders)], root_object));
        assert_eq!(outside(Folders::Keys, Some("index.html")), [""; 0]);
        assert_eq!(outside(Folders::Keys, Some("site/index.html")), ["/"]);
        assert_eq!(outside(Folders::Website, None), ["/site"]);
        assert_eq!(outside(Folders::Function, None), ["/site"]);
    }

    #[test]
    fn a_key_outside_every_origin_path_has_no_path() {
        let prod = distribution(&[("/prod", Folders::Function)], None);
        assert_eq!(paths("prod/a.css", &prod), ["/a.css"]);
        assert_eq!(paths("product/a.css", &prod), [""; 0]);
        assert_eq!(paths("prod", &prod), [""; 0]);
        assert_eq!(paths("staging/prod/a.css", &prod), [""; 0]);
    }

    #[test]
    fn two_origins_on_one_bucket_show_a_key_twice() {
        let both = distribution(&[("", Folders::Function), ("/prod", Folders::Keys)], None);
        assert_eq!(paths("prod/a.css", &both), ["/prod/a.css", "/a.css"]);
        assert_eq!(paths("a.css", &both), ["/a.css"]);
        assert_eq!(paths("prod/a/index.html", &both), ["/prod/a/index.html", "/prod/a/", "/prod/a", "/a/index.html"]);
    }
}
