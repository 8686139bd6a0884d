//! The headers that an object is stored with.
//!
//! They follow from the archive and the stack's settings alone, so that two deployments of one archive
//! agree on them; [`Headers::digest`] is how a later deployment sees that only they have changed,
//! since an ETag does not cover them.

mod file;
mod pattern;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::config::CacheControl;
use crate::key;

pub use file::{BadHeadersFile, HeadersFile};

/// What decides on the headers of a build's files.
#[derive(Clone, Debug)]
pub struct HeaderRules {
    cache_control: CacheControl,
    file: Option<HeadersFile>,
    /// The files that are another one of the build, compressed.
    precompressed: HashSet<String>,
}

impl HeaderRules {
    /// Takes the names of a build's files in the order of their bytes, and its `_headers` file.
    pub fn new(cache_control: CacheControl, names: &[&str], file: Option<HeadersFile>) -> Self {
        let precompressed =
            names.iter().filter(|name| encoding(name).is_some_and(|(stem, _)| names.binary_search(&stem).is_ok()));
        Self { cache_control, file, precompressed: precompressed.map(|&name| name.to_owned()).collect() }
    }

    /// The headers of the file of this name, which is relative to the archive's root.
    pub fn headers(&self, name: &str) -> Headers {
        let mut headers = match encoding(name) {
            Some((stem, encoding)) if self.precompressed.contains(name) => {
                Headers { content_encoding: Some(encoding.to_owned()), ..Headers::for_key(stem, &self.cache_control) }
            }
            _ => Headers::for_key(name, &self.cache_control),
        };
        if let Some(file) = &self.file {
            file.apply(name, &mut headers);
        }
        headers
    }
}

/// The name of what a compressed file holds, and its coding (RFC 9110, section 8.4.1; RFC 7932).
fn encoding(name: &str) -> Option<(&str, &'static str)> {
    let gzip = name.strip_suffix(".gz").map(|stem| (stem, "gzip"));
    gzip.or_else(|| name.strip_suffix(".br").map(|stem| (stem, "br")))
}

/// The headers of one object, as S3 stores them.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Headers {
    pub content_type: String,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_language: Option<String>,
    pub content_encoding: Option<String>,
    /// User metadata; the names are without `x-amz-meta-` and in lower case.
    pub metadata: BTreeMap<String, String>,
}

impl Headers {
    /// Returns the headers that a key gets when nothing else is said about it.
    fn for_key(key: &str, cache_control: &CacheControl) -> Headers {
        let content_type = content_type(key);
        let cache_control = if is_page_type(&content_type) { &cache_control.pages } else { &cache_control.assets };
        // A viewer must not show a compressed `.svgz` that comes without its Content-Encoding
        // (SVG 1.1, appendix G, "Conforming SVG Viewers").
        let content_encoding =
            key::extension(key).filter(|extension| extension.eq_ignore_ascii_case("svgz")).map(|_| "gzip".to_owned());
        Headers {
            content_type,
            cache_control: Some(cache_control.clone()),
            content_disposition: None,
            content_language: None,
            content_encoding,
            metadata: BTreeMap::new(),
        }
    }

    /// Digests every header, so that two different sets of headers are told apart by 8 bytes.
    ///
    /// A change of this function's framing makes every object look changed once.
    pub fn digest(&self) -> HeadersDigest {
        let mut digest = FramedDigest::default();
        digest.text(&self.content_type);
        digest.option(self.cache_control.as_deref());
        digest.option(self.content_disposition.as_deref());
        digest.option(self.content_language.as_deref());
        digest.option(self.content_encoding.as_deref());
        for (name, value) in &self.metadata {
            digest.text(name);
            digest.text(value);
        }
        digest.finish()
    }

    /// Whether the object is a page: a document that names other objects of its build.
    pub fn is_page(&self) -> bool {
        is_page_type(&self.content_type)
    }

    /// Whether it is text, which compresses well.
    pub fn is_text(&self) -> bool {
        is_text(essence_of(&self.content_type))
    }

    /// Whether Cache-Control promises that the object never changes (RFC 8246).
    pub fn is_immutable(&self) -> bool {
        self.cache_control
            .as_deref()
            .is_some_and(|value| value.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("immutable")))
    }
}

/// The first 8 bytes of a SHA-256 over an object's headers, written as 16 hex digits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize)]
pub struct HeadersDigest([u8; 8]);

/// A text that is no headers digest.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is no headers digest; one is 16 hex digits")]
pub struct BadHeadersDigest(String);

impl fmt::Display for HeadersDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl FromStr for HeadersDigest {
    type Err = BadHeadersDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadHeadersDigest(text.to_owned()))?;
        Ok(HeadersDigest(bytes))
    }
}

/// A SHA-256 in which every text stands behind its length, so that no two sequences of texts
/// run into the same bytes.
#[derive(Default)]
struct FramedDigest(Sha256);

impl FramedDigest {
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn option(&mut self, text: Option<&str>) {
        match text {
            None => self.0.update([0]),
            Some(text) => {
                self.0.update([1]);
                self.text(text);
            }
        }
    }

    fn finish(self) -> HeadersDigest {
        let sha256: [u8; 32] = self.0.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = sha256;
        HeadersDigest([a, b, c, d, e, f, g, h])
    }
}

/// Whether a content type is that of a page: HTML in either of its syntaxes.
fn is_page_type(content_type: &str) -> bool {
    ["text/html", "application/xhtml+xml"].iter().any(|page| essence_of(content_type).eq_ignore_ascii_case(page))
}

/// A content type without its parameters.
fn essence_of(content_type: &str) -> &str {
    let (essence, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    essence.trim()
}

/// Returns the content type of a key, with its charset where it is text.
///
/// S3 never guesses one, and with `X-Content-Type-Options: nosniff` a wrong one keeps a script
/// or a style sheet from loading at all.
fn content_type(key: &str) -> String {
    let essence = essence(key);
    if is_text(essence) { format!("{essence}; charset=utf-8") } else { essence.to_owned() }
}

const UNKNOWN: &str = "application/octet-stream";

fn essence(key: &str) -> &'static str {
    if let Some((_, essence)) = WELL_KNOWN.iter().find(|(name, _)| is_named(key, name)) {
        return essence;
    }
    let Some(extension) = key::extension(key) else {
        return UNKNOWN;
    };
    CORRECTIONS
        .iter()
        .find(|(corrected, _)| extension.eq_ignore_ascii_case(corrected))
        .map(|(_, essence)| *essence)
        .or_else(|| mime_guess::from_ext(extension).first_raw())
        .unwrap_or(UNKNOWN)
}

/// Whether a key's last components are `name`.
fn is_named(key: &str, name: &str) -> bool {
    key.strip_suffix(name).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
}

/// Builds write UTF-8, and without a charset a browser may read text as windows-1252.
///
/// RFC 8259 gives JSON no charset parameter; it is sent all the same, since it does no harm and
/// a JSON file opened by itself is otherwise shown wrong.
fn is_text(essence: &str) -> bool {
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(essence, "application/json" | "application/xml")
}

/// Files that are known by their name, most of them without an extension.
const WELL_KNOWN: &[(&str, &str)] = &[
    // Apple, "Supporting associated domains": served as JSON, at the root or under .well-known.
    ("apple-app-site-association", "application/json"),
    (".well-known/atproto-did", "text/plain"), // AT Protocol, "Handle": text/plain
    (".well-known/host-meta", "application/xrd+xml"), // RFC 6415, section 2
    (".well-known/matrix/client", "application/json"), // Matrix, client-server API
    (".well-known/matrix/server", "application/json"), // Matrix, server-server API
    (
        ".well-known/oauth-authorization-server", // RFC 8414, section 3.2
        "application/json",
    ),
    (
        ".well-known/openid-configuration", // OpenID Connect Discovery 1.0, section 4.2
        "application/json",
    ),
    (".well-known/webfinger", "application/jrd+json"), // RFC 7033, section 10.2
    // Plain text by convention; a browser would offer a download otherwise.
    ("AUTHORS", "text/plain"),
    ("CHANGELOG", "text/plain"),
    ("CNAME", "text/plain"),
    ("COPYING", "text/plain"),
    ("LICENCE", "text/plain"),
    ("LICENSE", "text/plain"),
    ("NOTICE", "text/plain"),
    ("README", "text/plain"),
    ("VERSION", "text/plain"),
];

/// Where `mime_guess` is behind the registry, or right for something else than a web site.
const CORRECTIONS: &[(&str, &str)] = &[
    // Scripts. RFC 9239, section 6: text/javascript is the one type, for `mjs` too. IANA's
    // application/node for `cjs` is no JavaScript type to a browser (WHATWG MIME Sniffing).
    ("cjs", "text/javascript"),
    ("mjs", "text/javascript"),
    ("map", "application/json"), // ECMA-426: a source map is JSON
    // Fonts. RFC 8081, section 4.4, which replaces application/font-*.
    ("otf", "font/otf"),
    ("woff", "font/woff"),
    // Sound and video.
    ("m3u8", "application/vnd.apple.mpegurl"), // RFC 8216, section 4
    ("m4a", "audio/mp4"),                      // RFC 4337: MPEG-4 that is sound only
    ("m4v", "video/mp4"),                      // RFC 4337: MPEG-4 with pictures
    ("ts", "video/mp2t"),                      // RFC 3555: the segments of m3u8 playlists
    // Models and textures. IANA's registry, model/* and image/*.
    ("ktx2", "image/ktx2"),
    ("mtl", "model/mtl"),
    ("obj", "model/obj"),
    ("stl", "model/stl"),
    ("usdz", "model/vnd.usdz+zip"),
    // Data.
    ("toml", "application/toml"), // IANA's registry
    ("vcf", "text/vcard"),        // RFC 6350, section 10.1
    ("yaml", "application/yaml"), // RFC 9512
    ("yml", "application/yaml"),
    ("zst", "application/zstd"), // RFC 8878
    // Packages. The library takes it for a RealPlayer plug-in.
    ("rpm", "application/x-rpm"),
];

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn cache_control() -> CacheControl {
        CacheControl { pages: "pages".to_owned(), assets: "assets".to_owned() }
    }

    fn headers(key: &str) -> Headers {
        Headers::for_key(key, &cache_control())
    }

    /// One line for each key: its extension or name, and its type.
    fn types(keys: &str) -> String {
        keys.split_whitespace().map(|key| format!("{key} {}", headers(key).content_type)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn documents_have_their_types() {
        assert_snapshot!(types(
            "x.html x.htm x.xhtml x.txt x.md x.pdf x.xml x.rss x.atom x.xsl x.csv x.tsv x.ics \
             x.vcf x.epub x.docx x.xlsx x.pptx x.rtf"
        ), @r"
        x.html text/html; charset=utf-8
        x.htm text/html; charset=utf-8
        x.xhtml application/xhtml+xml; charset=utf-8
        x.txt text/plain; charset=utf-8
        x.md text/markdown; charset=utf-8
        x.pdf application/pdf
        x.xml text/xml; charset=utf-8
        x.rss application/rss+xml; charset=utf-8
        x.atom application/atom+xml; charset=utf-8
        x.xsl text/xml; charset=utf-8
        x.csv text/csv; charset=utf-8
        x.tsv text/tab-separated-values; charset=utf-8
        x.ics text/calendar; charset=utf-8
        x.vcf text/vcard; charset=utf-8
        x.epub application/epub+zip
        x.docx application/vnd.openxmlformats-officedocument.wordprocessingml.document
        x.xlsx application/vnd.openxmlformats-officedocument.spreadsheetml.sheet
        x.pptx application/vnd.openxmlformats-officedocument.presentationml.presentation
        x.rtf application/rtf
        ");
    }

    #[test]
    fn what_pages_load_has_its_type() {
        assert_snapshot!(types(
            "x.css x.js x.mjs x.cjs x.map x.wasm x.json x.webmanifest x.jsonld x.geojson x.yaml \
             x.yml x.toml x.woff x.woff2 x.ttf x.otf x.eot x.ttc"
        ), @r"
        x.css text/css; charset=utf-8
        x.js text/javascript; charset=utf-8
        x.mjs text/javascript; charset=utf-8
        x.cjs text/javascript; charset=utf-8
        x.map application/json; charset=utf-8
        x.wasm application/wasm
        x.json application/json; charset=utf-8
        x.webmanifest application/manifest+json; charset=utf-8
        x.jsonld application/ld+json; charset=utf-8
        x.geojson application/geo+json; charset=utf-8
        x.yaml application/yaml
        x.yml application/yaml
        x.toml application/toml
        x.woff font/woff
        x.woff2 font/woff2
        x.ttf font/ttf
        x.otf font/otf
        x.eot application/vnd.ms-fontobject
        x.ttc font/collection
        ");
    }

    #[test]
    fn media_have_their_types() {
        assert_snapshot!(types(
            "x.png x.apng x.jpg x.jpeg x.gif x.svg x.svgz x.ico x.webp x.avif x.jxl x.heic x.bmp \
             x.tif x.ktx2 x.mp3 x.m4a x.ogg x.oga x.opus x.wav x.flac x.aac x.weba x.mp4 x.m4v \
             x.webm x.ogv x.mov x.m3u8 x.ts x.mpd x.vtt x.srt x.glb x.gltf x.usdz x.obj x.mtl \
             x.stl"
        ), @r"
        x.png image/png
        x.apng image/apng
        x.jpg image/jpeg
        x.jpeg image/jpeg
        x.gif image/gif
        x.svg image/svg+xml; charset=utf-8
        x.svgz image/svg+xml; charset=utf-8
        x.ico image/x-icon
        x.webp image/webp
        x.avif image/avif
        x.jxl image/jxl
        x.heic image/heic
        x.bmp image/bmp
        x.tif image/tiff
        x.ktx2 image/ktx2
        x.mp3 audio/mpeg
        x.m4a audio/mp4
        x.ogg audio/ogg
        x.oga audio/ogg
        x.opus audio/ogg
        x.wav audio/wav
        x.flac audio/flac
        x.aac audio/aac
        x.weba audio/webm
        x.mp4 video/mp4
        x.m4v video/mp4
        x.webm video/webm
        x.ogv video/ogg
        x.mov video/quicktime
        x.m3u8 application/vnd.apple.mpegurl
        x.ts video/mp2t
        x.mpd application/dash+xml; charset=utf-8
        x.vtt text/vtt; charset=utf-8
        x.srt application/x-subrip
        x.glb model/gltf-binary
        x.gltf model/gltf+json; charset=utf-8
        x.usdz model/vnd.usdz+zip
        x.obj model/obj
        x.mtl model/mtl
        x.stl model/stl
        ");
    }

    #[test]
    fn packages_have_their_types() {
        assert_snapshot!(types(
            "x.zip x.gz x.br x.zst x.bz2 x.xz x.tar x.tgz x.7z x.jar x.apk x.deb x.rpm x.dmg \
             x.exe x.iso x.bin x.dat x.js.gz x.js.br x.tar.gz"
        ), @r"
        x.zip application/zip
        x.gz application/gzip
        x.br application/octet-stream
        x.zst application/zstd
        x.bz2 application/x-bzip2
        x.xz application/x-xz
        x.tar application/x-tar
        x.tgz application/x-compressed
        x.7z application/x-7z-compressed
        x.jar application/java-archive
        x.apk application/vnd.android.package-archive
        x.deb application/octet-stream
        x.rpm application/x-rpm
        x.dmg application/octet-stream
        x.exe application/octet-stream
        x.iso application/octet-stream
        x.bin application/octet-stream
        x.dat application/octet-stream
        x.js.gz application/gzip
        x.js.br application/octet-stream
        x.tar.gz application/gzip
        ");
    }

    #[test]
    fn files_without_a_telling_extension_have_their_types() {
        assert_snapshot!(types(
            "CNAME LICENSE site/README robots.txt .nojekyll x x. x.unheard-of folder.html/x \
             apple-app-site-association .well-known/apple-app-site-association \
             site/.well-known/openid-configuration .well-known/matrix/server \
             .well-known/webfinger .well-known/security.txt .well-known/assetlinks.json \
             .well-known/acme-challenge/token not-apple-app-site-association UNLICENSE"
        ), @r"
        CNAME text/plain; charset=utf-8
        LICENSE text/plain; charset=utf-8
        site/README text/plain; charset=utf-8
        robots.txt text/plain; charset=utf-8
        .nojekyll application/octet-stream
        x application/octet-stream
        x. application/octet-stream
        x.unheard-of application/octet-stream
        folder.html/x application/octet-stream
        apple-app-site-association application/json; charset=utf-8
        .well-known/apple-app-site-association application/json; charset=utf-8
        site/.well-known/openid-configuration application/json; charset=utf-8
        .well-known/matrix/server application/json; charset=utf-8
        .well-known/webfinger application/jrd+json; charset=utf-8
        .well-known/security.txt text/plain; charset=utf-8
        .well-known/assetlinks.json application/json; charset=utf-8
        .well-known/acme-challenge/token application/octet-stream
        not-apple-app-site-association application/octet-stream
        UNLICENSE application/octet-stream
        ");
    }

    #[test]
    fn the_case_of_an_extension_does_not_matter() {
        for key in ["X.HTML", "x.Js", "x.WOFF2", "x.MJS", "x.JPEG", "x.Map"] {
            let lower_case = headers(&key.to_ascii_lowercase());
            assert_eq!(headers(key), lower_case, "{key}");
        }
    }

    #[test]
    fn every_correction_corrects_something() {
        for (extension, essence) in CORRECTIONS {
            let library = mime_guess::from_ext(extension).first_raw();
            assert_ne!(library, Some(*essence), "{extension} is right by now");
        }
    }

    #[test]
    fn pages_and_assets_have_their_own_cache_control() {
        assert_eq!(headers("a/index.html").cache_control.as_deref(), Some("pages"));
        assert_eq!(headers("a/app.js").cache_control.as_deref(), Some("assets"));
    }

    #[test]
    fn a_compressed_file_beside_its_original_is_that_file_encoded() {
        let names = ["a/app.js", "a/app.js.br", "a/app.js.gz", "data.tar.gz", "index.html", "index.html.gz", "x.br"];
        let rules = HeaderRules::new(cache_control(), &names, None);
        let shown = names.map(|name| {
            let headers = rules.headers(name);
            let encoding = headers.content_encoding.unwrap_or("-".to_owned());
            let cache_control = headers.cache_control.unwrap_or_default();
            format!("{name} {} {encoding} {cache_control}", headers.content_type)
        });
        assert_snapshot!(shown.join("\n"), @r"
        a/app.js text/javascript; charset=utf-8 - assets
        a/app.js.br text/javascript; charset=utf-8 br assets
        a/app.js.gz text/javascript; charset=utf-8 gzip assets
        data.tar.gz application/gzip - assets
        index.html text/html; charset=utf-8 - pages
        index.html.gz text/html; charset=utf-8 gzip pages
        x.br application/octet-stream - assets
        ");
    }

    /// As a documentation site might have it that moves here from another host.
    const HEADERS_FILE: &str = "\
# Security, for everything
/*
  X-Frame-Options: SAMEORIGIN
  X-Content-Type-Options: nosniff
  Referrer-Policy: strict-origin-when-cross-origin

# Hashed by the bundler: never asked for again
/assets/*
  ! Cache-Control
  Cache-Control: public
  Cache-Control: max-age=31536000
  Cache-Control: immutable

# The worker must not linger
/sw.js
  Cache-Control: no-cache
  Service-Worker-Allowed: /

/fonts/*
  Access-Control-Allow-Origin: *
  Cache-Control: public, max-age=604800

/download/:version/*
  Content-Disposition: attachment
  X-Amz-Meta-Version: :version

/de/*
  Content-Language: de

/feed
  Content-Type: application/rss+xml; charset=utf-8

https://:project.pages.dev/*
  X-Robots-Tag: noindex
";

    #[test]
    fn a_real_headers_file_gives_a_real_site_its_headers() {
        let names = [
            "404.html",
            "assets/css/styles.9f2c.css",
            "assets/js/main.1a2b.js",
            "de/index.html",
            "download/2.1/setup.exe",
            "feed",
            "fonts/inter.woff2",
            "index.html",
            "sitemap.xml",
            "sw.js",
        ];
        let file = HeadersFile::parse(HEADERS_FILE.as_bytes()).unwrap();
        assert_snapshot!(file.check(&names).unwrap().join("\n"), @r"
        S3 keeps no such headers with an object, so `_headers` cannot set Access-Control-Allow-Origin (line 20), Referrer-Policy (line 5), Service-Worker-Allowed (line 17), X-Content-Type-Options (line 4), X-Frame-Options (line 3): put them in a response headers policy of the CloudFront distribution
        rules of `_headers` for one host are left out (line 33), since an object is the same on every host
        ");
        let rules = HeaderRules::new(cache_control(), &names, Some(file));
        let shown = names.map(|name| {
            let headers = rules.headers(name);
            let rest = [
                headers.content_disposition,
                headers.content_language.map(|language| format!("in {language}")),
                headers.metadata.get("version").map(|version| format!("version {version}")),
            ];
            let rest: String = rest.into_iter().flatten().map(|it| format!(" | {it}")).collect();
            let cache_control = headers.cache_control.unwrap_or_default();
            format!("{name} | {} | {cache_control}{rest}", headers.content_type)
        });
        assert_snapshot!(shown.join("\n"), @r"
        404.html | text/html; charset=utf-8 | pages
        assets/css/styles.9f2c.css | text/css; charset=utf-8 | public, max-age=31536000, immutable
        assets/js/main.1a2b.js | text/javascript; charset=utf-8 | public, max-age=31536000, immutable
        de/index.html | text/html; charset=utf-8 | pages | in de
        download/2.1/setup.exe | application/octet-stream | assets | attachment | version 2.1
        feed | application/rss+xml; charset=utf-8 | assets
        fonts/inter.woff2 | font/woff2 | public, max-age=604800
        index.html | text/html; charset=utf-8 | pages
        sitemap.xml | text/xml; charset=utf-8 | assets
        sw.js | text/javascript; charset=utf-8 | no-cache
        ");
    }

    #[test]
    fn only_svgz_is_taken_for_encoded() {
        assert_eq!(headers("logo.SVGZ").content_encoding.as_deref(), Some("gzip"));
        for key in ["logo.svg", "app.js.gz", "app.js.br", "svgz"] {
            assert_eq!(headers(key).content_encoding, None, "{key}");
        }
    }

    #[test]
    fn html_is_a_page_and_what_it_loads_is_none() {
        for key in ["index.html", "a/B.HTM", "x.xhtml"] {
            assert!(headers(key).is_page(), "{key}");
        }
        for key in ["app.js", "feed.xml", "html", "icon.svg", "index.html.gz"] {
            assert!(!headers(key).is_page(), "{key}");
        }
    }

    #[test]
    fn a_page_is_known_by_its_content_type() {
        let mut headers = headers("feed");
        for content_type in ["text/html", "Text/HTML ; charset=utf-8", "application/xhtml+xml"] {
            headers.content_type = content_type.to_owned();
            assert!(headers.is_page(), "{content_type}");
        }
        for content_type in ["text/htmlx", "text/plain; text/html", ""] {
            headers.content_type = content_type.to_owned();
            assert!(!headers.is_page(), "{content_type}");
        }
    }

    #[test]
    fn immutable_is_a_directive_of_its_own() {
        let mut headers = headers("app.js");
        for value in ["immutable", "public, max-age=31536000, Immutable", "a,immutable ,b"] {
            headers.cache_control = Some(value.to_owned());
            assert!(headers.is_immutable(), "{value}");
        }
        for value in ["public, max-age=31536000", "x-immutable", "immutable=0", ""] {
            headers.cache_control = Some(value.to_owned());
            assert!(!headers.is_immutable(), "{value}");
        }
        headers.cache_control = None;
        assert!(!headers.is_immutable());
    }

    #[test]
    fn a_digest_stays_what_it_was() {
        // Were it to change, the next deployment would rewrite the headers of every object.
        let mut headers = headers("index.html");
        assert_snapshot!(headers.digest(), @"6b8bdcf6a08ffef7");
        headers.content_language = Some("de".to_owned());
        headers.metadata.insert("build".to_owned(), "42".to_owned());
        assert_snapshot!(headers.digest(), @"be82c1b37dd0f123");
    }

    #[test]
    fn a_digest_is_16_hex_digits() {
        assert_eq!("0123456789abcdef".parse(), Ok(HeadersDigest([1, 35, 69, 103, 137, 171, 205, 239])));
        for text in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg", "+123456789abcdef"] {
            assert_eq!(text.parse::<HeadersDigest>(), Err(BadHeadersDigest(text.to_owned())));
        }
    }

    /// Values so few and short that fields trade places and run together.
    fn any_headers() -> impl Strategy<Value = Headers> {
        let text = "[a-]{0,2}";
        let option = || prop::option::of(text);
        (text, option(), option(), option(), option(), prop::collection::btree_map(text, text, 0..3)).prop_map(
            |(content_type, cache_control, disposition, language, encoding, metadata)| Headers {
                content_type,
                cache_control,
                content_disposition: disposition,
                content_language: language,
                content_encoding: encoding,
                metadata,
            },
        )
    }

    proptest! {
        #[test]
        fn headers_are_equal_when_their_digests_are(one in any_headers(), other in any_headers()) {
            prop_assert_eq!(one == other, one.digest() == other.digest());
        }

        #[test]
        fn moving_a_value_to_another_field_changes_the_digest(headers in any_headers(), value in "[a-]{0,2}") {
            let with = |set: fn(&mut Headers, String)| {
                let mut headers = headers.clone();
                headers.cache_control = None;
                headers.content_disposition = None;
                headers.content_language = None;
                headers.content_encoding = None;
                set(&mut headers, value.clone());
                headers.digest()
            };
            let digests = std::collections::BTreeSet::from([
                with(|headers, value| headers.cache_control = Some(value)),
                with(|headers, value| headers.content_disposition = Some(value)),
                with(|headers, value| headers.content_language = Some(value)),
                with(|headers, value| headers.content_encoding = Some(value)),
                with(|_, _| ()),
            ]);
            prop_assert_eq!(digests.len(), 5);
        }

        #[test]
        fn a_digest_is_read_as_it_is_written(headers in any_headers()) {
            let digest = headers.digest();
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }
}
