//! The names that settings hold: what is allowed, in words and as a check.

/// The allowed names of a bucket, for errors.
pub(super) const BUCKET: &str = "the name of a general purpose bucket (3 to 63 lower-case letters, digits, dots and \
                                 hyphens, without `s3://` and without a path)";

/// Checks a bucket's name by the S3 User Guide, "General purpose bucket naming rules".
///
/// A directory bucket (`…--x-s3`) sends no events, has no versions and does not list in key order, so a deployment
/// cannot use one at either end.
pub(super) fn bucket(value: &str) -> Option<String> {
    let is_valid = (3..=63).contains(&value.len())
        && value.bytes().all(|byte| is_lower_alphanumeric(byte) || matches!(byte, b'.' | b'-'))
        && value.bytes().next().is_some_and(is_lower_alphanumeric)
        && value.bytes().last().is_some_and(is_lower_alphanumeric)
        && !value.contains("..")
        && value.parse::<std::net::Ipv4Addr>().is_err()
        && !value.ends_with("--x-s3");
    is_valid.then(|| value.to_owned())
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// The allowed names of a table, for errors.
pub(super) const TABLE: &str = "the name of a DynamoDB table (3 to 255 letters, digits, `_`, `-` and `.`)";

pub(super) fn table(value: &str) -> Option<String> {
    let is_valid = (3..=255).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    is_valid.then(|| value.to_owned())
}

/// The allowed names of a site, for errors.
pub(super) const SITE: &str = "a name without a slash at either end, `//`, `.`, `..`, backslashes or control \
                               characters, of at most 512 bytes";

pub(super) fn site(value: &str) -> Option<String> {
    is_relative_path(value).then(|| value.to_owned())
}

/// Returns the site's name if none is set.
pub(super) fn default_site(live_bucket: &str, live_prefix: &str) -> String {
    format!("{live_bucket}/{live_prefix}").trim_end_matches('/').to_owned()
}

/// The allowed folders, for errors.
pub(super) const FOLDER: &str = "a folder such as `docs` or `docs/v2/`, without a leading slash, `//`, `.`, `..`, \
                                 backslashes or control characters, of at most 512 bytes";

/// Checks a folder and returns it with a `/` at its end.
pub(super) fn folder(value: &str) -> Option<String> {
    let path = value.strip_suffix('/').unwrap_or(value);
    is_relative_path(path).then(|| format!("{path}/"))
}

/// The allowed archive roots, for errors.
pub(super) fn archive_root_words() -> String {
    format!("`.` for the whole archive, or {FOLDER}")
}

/// Checks a folder of an archive like [`folder`]. The whole archive is the folder "".
pub(super) fn archive_root(value: &str) -> Option<String> {
    if matches!(value, "." | "./") { Some(String::new()) } else { folder(value) }
}

/// The allowed names of a file, for errors.
pub(super) const FILE: &str = "the name of a file, such as `index.html`, without `/`, backslashes or control \
                               characters, of at most 512 bytes";

pub(super) fn file(value: &str) -> Option<String> {
    (is_relative_path(value) && !value.contains('/')).then(|| value.to_owned())
}

pub(super) fn is_relative_path(value: &str) -> bool {
    value.len() <= 512
        && !value.chars().any(|character| character.is_control() || character == '\\')
        && value.split('/').all(|component| !matches!(component, "" | "." | ".."))
}

/// The allowed account ids, for errors.
pub(super) const ACCOUNT: &str = "12 digits";

pub(super) fn account(value: &str) -> Option<String> {
    let is_id = value.len() == 12 && value.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then(|| value.to_owned())
}
