//! The headers that a rule can set.

use super::error::Problem;

/// A header that S3 stores with an object.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum HeaderField {
    CacheControl,
    ContentDisposition,
    ContentEncoding,
    ContentLanguage,
    ContentType,
    /// User metadata: its name in lower case, without `x-amz-meta-`.
    Metadata(String),
}

impl HeaderField {
    /// Returns the header with a name, or `None` if S3 does not store it.
    pub(super) fn named(name: &str) -> Result<Option<Self>, Problem> {
        if !is_token(name) {
            return Err(Problem::Name(name.to_owned()));
        }
        let lower_case = name.to_ascii_lowercase();
        Ok(match lower_case.as_str() {
            "cache-control" => Some(Self::CacheControl),
            "content-disposition" => Some(Self::ContentDisposition),
            "content-encoding" => Some(Self::ContentEncoding),
            "content-language" => Some(Self::ContentLanguage),
            "content-type" => Some(Self::ContentType),
            _ => match lower_case.strip_prefix("x-amz-meta-") {
                Some("") => return Err(Problem::Name(name.to_owned())),
                metadata => metadata.map(|name| Self::Metadata(name.to_owned())),
            },
        })
    }

    /// Checks that the header can have a value.
    pub(super) fn check_value(&self, name: &str, value: &str) -> Result<(), Problem> {
        if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            return Err(Problem::NotAscii(name.to_owned()));
        }
        if *self == Self::ContentType && !is_media_type(value) {
            return Err(Problem::ContentType(value.to_owned()));
        }
        Ok(())
    }

    /// Whether the header has a single value instead of a list (RFC 9110, section 8.3; RFC 6266, section 4.1).
    ///
    /// Content-Encoding is a list of the codings that were applied one after the other. Several rules that name one mean
    /// the same one: browsers would decode `br, br` twice, and fail.
    pub(super) fn is_single(&self) -> bool {
        matches!(self, Self::ContentType | Self::ContentDisposition | Self::ContentEncoding)
    }

    /// Returns the name of user metadata.
    pub(super) fn metadata_name(&self) -> Option<&str> {
        match self {
            Self::Metadata(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn name_bytes(&self) -> usize {
        match self {
            Self::CacheControl => "cache-control".len(),
            Self::ContentDisposition => "content-disposition".len(),
            Self::ContentEncoding => "content-encoding".len(),
            Self::ContentLanguage => "content-language".len(),
            Self::ContentType => "content-type".len(),
            Self::Metadata(name) => name.len(),
        }
    }
}

fn is_media_type(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim_end();
    essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Whether a text is a token (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_in_token)
}
