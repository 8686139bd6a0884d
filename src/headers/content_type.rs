//! The content type of a key.

mod well_known;

use crate::key;

use well_known::well_known_type;

/// The type of a key whose extension is unknown.
const UNKNOWN: &str = "application/octet-stream";

/// Returns the content type of a key, with its charset if it is text.
///
/// S3 never guesses a content type. With `X-Content-Type-Options: nosniff`, a wrong one keeps a browser from loading a
/// script or a style sheet at all.
///
/// Builds write UTF-8, and a browser may read text without a charset as windows-1252. RFC 8259 defines no charset
/// parameter for JSON. It does no harm there, and without it a browser shows a JSON file wrongly when it is opened by
/// itself.
pub(super) fn content_type(key: &str) -> String {
    let essence = essence(key);
    if is_text(essence) { format!("{essence}; charset=utf-8") } else { essence.to_owned() }
}

/// Returns whether a content type is that of a page: HTML in either of its syntaxes.
pub(super) fn is_page_type(content_type: &str) -> bool {
    let essence = without_parameters(content_type);
    ["text/html", "application/xhtml+xml"].iter().any(|page| essence.eq_ignore_ascii_case(page))
}

/// Returns whether a content type is that of text.
pub(super) fn is_text_type(content_type: &str) -> bool {
    is_text(without_parameters(content_type))
}

fn is_text(essence: &str) -> bool {
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(essence, "application/json" | "application/xml")
}

/// Returns whether pages load a file of this name and type while they are shown, so that a compressed form beside the
/// file is for clients that accept it, and not a download.
pub(super) fn is_loaded_by_pages(key: &str, content_type: &str) -> bool {
    let essence = &*without_parameters(content_type).to_ascii_lowercase();
    // Text that is not meant for pages, such as tables, logs and source code, is offered for download.
    let is_text = matches!(essence, "text/css" | "text/html" | "text/javascript" | "text/vtt" | "text/xml")
        || (essence == "text/plain" && key::extension(key).is_some_and(|it| it.eq_ignore_ascii_case("txt")));
    let is_structured = is_text_type(essence) && !essence.starts_with("text/");
    let is_font = essence.starts_with("font/") || essence == "application/vnd.ms-fontobject";
    is_text || is_structured || is_font || matches!(essence, "application/wasm" | "application/javascript")
}

fn without_parameters(content_type: &str) -> &str {
    let (essence, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    essence.trim()
}

/// Returns the content type of a key without parameters.
fn essence(key: &str) -> &'static str {
    if let Some(essence) = well_known_type(key) {
        return essence;
    }
    let Some(extension) = key::extension(key) else {
        return UNKNOWN;
    };
    let correction = CORRECTIONS.iter().find(|(corrected, _)| extension.eq_ignore_ascii_case(corrected));
    match correction {
        Some((_, essence)) => essence,
        None => mime_guess::from_ext(extension).first_raw().unwrap_or(UNKNOWN),
    }
}

/// Extensions for which `mime_guess` is behind the registry, or right for purposes other than a web site.
const CORRECTIONS: &[(&str, &str)] = &[
    // Scripts. RFC 9239, section 6: text/javascript is the only type, for `mjs` too. Browsers do not take
    // IANA's application/node for `cjs` for a JavaScript type (WHATWG MIME Sniffing).
    ("cjs", "text/javascript"),
    ("mjs", "text/javascript"),
    ("map", "application/json"), // ECMA-426: a source map is JSON
    // Fonts. RFC 8081, section 4.4, which replaces application/font-*.
    ("otf", "font/otf"),
    ("woff", "font/woff"),
    // Sound and video.
    ("m3u8", "application/vnd.apple.mpegurl"), // RFC 8216, section 4
    ("m4a", "audio/mp4"),                      // RFC 4337: MPEG-4 with sound only
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
    // Packages. `mime_guess` takes the extension for a RealPlayer plug-in.
    ("rpm", "application/x-rpm"),
];

#[cfg(test)]
mod tests;
