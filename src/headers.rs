//! The headers that an object is stored with.
//!
//! They follow from the archive and the stack's settings alone, so that two deployments of one archive agree on them.
//! An ETag does not cover headers. [`Headers::digest`] does, and a later deployment compares it to find the objects of
//! which only the headers have changed.

mod cache_control;
mod content_type;
mod digest;
mod file;
mod pattern;

use std::collections::{BTreeMap, HashMap};

use crate::config::CacheControl;
use crate::key;

use cache_control::Directives;
use content_type::{content_type, is_loaded_by_pages, is_page_type, is_text_type};

pub use digest::{BadHeadersDigest, HeadersDigest};
pub use file::{BadHeadersFile, HeadersFile};

/// The rules that decide which headers the files of a build get.
#[derive(Clone, Debug)]
pub struct HeaderRules {
    cache_control: CacheControl,
    file: Option<HeadersFile>,
    /// The live prefix, if the site is within `.well-known/`, where types follow from the key; otherwise "".
    well_known_prefix: String,
    /// The names of files that are a compressed form of another file of the build, which pages load, with the types of
    /// these files.
    precompressed: HashMap<String, String>,
}

impl HeaderRules {
    /// Takes the live prefix, the names of a build's files, sorted by their bytes, and its `_headers` file.
    pub fn new(cache_control: CacheControl, live_prefix: &str, names: &[&str], file: Option<HeadersFile>) -> Self {
        let is_well_known = live_prefix.split('/').any(|folder| folder == ".well-known");
        let well_known_prefix = if is_well_known { live_prefix.to_owned() } else { String::new() };
        let mut rules = Self { cache_control, file, well_known_prefix, precompressed: HashMap::new() };
        let type_of_original = |name: &str| {
            let (stem, _) = encoding(name)?;
            names.binary_search(&stem).is_ok().then(|| rules.type_loaded_by_pages(stem)).flatten()
        };
        let precompressed = names.iter().filter_map(|&name| Some((name.to_owned(), type_of_original(name)?)));
        rules.precompressed = precompressed.collect();
        rules
    }

    /// Returns the headers of a file by its name, which is relative to the archive's root.
    pub fn headers(&self, name: &str) -> Headers {
        let headers = match (encoding(name), self.precompressed.get(name)) {
            (Some((stem, encoding)), Some(content_type)) => Headers {
                content_type: content_type.clone(),
                content_encoding: Some(encoding.to_owned()),
                ..self.by_default(stem)
            },
            _ => self.by_default(name),
        };
        self.ruled(name, headers)
    }

    /// Returns the type of a file if pages load it with these rules, so that a compressed form beside it is an encoding
    /// of it. A file with an encoding of its own is compressed already, and the other file contains something else.
    fn type_loaded_by_pages(&self, name: &str) -> Option<String> {
        let headers = self.ruled(name, self.by_default(name));
        let disposition = headers.content_disposition.unwrap_or_default().trim_start().to_ascii_lowercase();
        let is_loaded = is_loaded_by_pages(name, &headers.content_type)
            && headers.content_encoding.is_none()
            && !disposition.starts_with("attachment");
        is_loaded.then_some(headers.content_type)
    }

    fn by_default(&self, name: &str) -> Headers {
        if self.well_known_prefix.is_empty() {
            return Headers::for_key(name, &self.cache_control);
        }
        Headers::for_key(&format!("{}{name}", self.well_known_prefix), &self.cache_control)
    }

    /// Returns the headers of a file after the rules of `_headers`.
    fn ruled(&self, name: &str, mut headers: Headers) -> Headers {
        if let Some(file) = &self.file {
            file.apply(name, &mut headers);
        }
        headers
    }
}

/// Returns the name of the file that a compressed file contains, and its content coding (RFC 9110, section 8.4.1; RFC
/// 7932).
fn encoding(name: &str) -> Option<(&str, &'static str)> {
    let (stem, extension) = name.rsplit_once('.')?;
    let encodings = [("gz", "gzip"), ("br", "br")];
    let (_, encoding) = encodings.into_iter().find(|(known, _)| extension.eq_ignore_ascii_case(known))?;
    Some((stem, encoding))
}

/// The headers of one object, as S3 stores them.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Headers {
    pub content_type: String,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_language: Option<String>,
    pub content_encoding: Option<String>,
    /// User metadata. The names are in lower case and without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
}

impl Headers {
    /// Returns the headers that a key gets by default.
    fn for_key(key: &str, cache_control: &CacheControl) -> Headers {
        let content_type = content_type(key);
        let cache_control = if is_page_type(&content_type) { &cache_control.pages } else { &cache_control.assets };
        // A viewer must not show a compressed `.svgz` that comes without its Content-Encoding (SVG 1.1, appendix G,
        // "Conforming SVG Viewers").
        let is_svgz = key::extension(key).is_some_and(|extension| extension.eq_ignore_ascii_case("svgz"));
        Headers {
            content_type,
            cache_control: Some(cache_control.clone()),
            content_disposition: None,
            content_language: None,
            content_encoding: is_svgz.then(|| "gzip".to_owned()),
            metadata: BTreeMap::new(),
        }
    }

    /// Returns whether the object is a page: a document that names other objects of its build.
    pub fn is_page(&self) -> bool {
        is_page_type(&self.content_type)
    }

    /// Returns whether the object is text, which compresses well.
    pub fn is_text(&self) -> bool {
        is_text_type(&self.content_type)
    }

    /// Returns whether Cache-Control promises that the object never changes (RFC 8246), and the promise can be kept.
    ///
    /// A page is never immutable: people ask for it by its URL, so it must be gone immediately when it is removed.
    pub fn is_immutable(&self) -> bool {
        let directives = self.cache_control.as_deref().map(Directives::parse);
        directives.is_some_and(Directives::is_immutable) && !self.is_page()
    }
}

#[cfg(test)]
impl HeaderRules {
    /// Returns the rules of a build without a `_headers` file, on a stack that sets no Cache-Control.
    pub fn without_file() -> Self {
        Self::new(CacheControl { pages: String::new(), assets: String::new() }, "", &[], None)
    }
}

#[cfg(test)]
mod tests;
