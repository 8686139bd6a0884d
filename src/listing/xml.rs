//! Parses the pages of a listing.

use chrono::DateTime;

use super::{Object, Page};
use crate::etag::Etag;
use crate::key::form_decode;

/// Parses a page as S3 writes it (S3 API, `ListObjectsV2`, "Response Syntax").
///
/// It reads only what S3 uses of XML, elements whose names and texts hold no markup, because an XML parser would
/// take most of the CPU of a deployment that changes little. Anything else returns `None`, and the SDK asks again.
pub(crate) fn parse_page(xml: &str) -> Option<Page> {
    let (mut is_encoded, mut is_truncated, mut is_whole) = (false, None, false);
    let mut next = None;
    let mut objects = Vec::new();
    let mut object = Contents::default();
    for piece in xml.split('<').skip(1) {
        let (element, text) = piece.split_once('>')?;
        let plain = || Some(text).filter(|text| !text.contains('&'));
        match element {
            "EncodingType" => is_encoded = plain()? == "url",
            "IsTruncated" => is_truncated = Some(plain()? == "true"),
            "NextContinuationToken" => next = Some(plain()?.to_owned()),
            "Key" => object.key = Some(form_decode(plain()?)?),
            "ETag" => object.etag = Some(etag(text)?),
            "Size" => object.size_bytes = Some(plain()?.parse().ok()?),
            "LastModified" => {
                object.modified_at = Some(DateTime::parse_from_rfc3339(plain()?).ok()?.timestamp());
            }
            "/Contents" => objects.push(std::mem::take(&mut object).whole()?),
            "/ListBucketResult" => is_whole = true,
            // A comment, or text that is not escaped.
            _ if element.starts_with('!') => return None,
            _ => {}
        }
    }
    let is_expected = is_whole && is_encoded && is_truncated == Some(next.is_some());
    is_expected.then_some(Page { objects, next })
}

/// An element `Contents` that is being parsed.
#[derive(Default)]
struct Contents {
    key: Option<String>,
    size_bytes: Option<u64>,
    etag: Option<Etag>,
    modified_at: Option<i64>,
}

impl Contents {
    fn whole(self) -> Option<(String, Object)> {
        let object = Object { size_bytes: self.size_bytes?, etag: self.etag?, modified_at: Some(self.modified_at?) };
        Some((self.key?, object))
    }
}

/// Parses an ETag in its quotes, which may be escaped.
fn etag(text: &str) -> Option<Etag> {
    let quoted = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    let etag = quoted("&quot;").or_else(|| quoted("&#34;")).or_else(|| quoted("\""))?;
    (!etag.contains('&')).then(|| etag.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST_PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>live</Name><Prefix/><KeyCount>2</KeyCount>
<MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>
<Contents><Key>a/caf%C3%A9+%26%2B.html</Key><LastModified>2026-11-22T10:15:00.000Z</LastModified>
<ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>
<ChecksumType>FULL_OBJECT</ChecksumType><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key>b</Key><LastModified>1970-01-01T00:00:01Z</LastModified><ETag>"x-2"</ETag><Size>0</Size></Contents>
</ListBucketResult>"#;

    #[test]
    fn a_page_is_parsed_as_s3_writes_it() {
        let object = |size_bytes, etag: &str, modified_at| Object {
            size_bytes,
            etag: etag.into(),
            modified_at: Some(modified_at),
        };
        let wanted: Vec<(String, _)> = vec![
            ("a/café &+.html".into(), object(7, "0123456789abcdef0123456789abcdef", 1_795_342_500)),
            ("b".into(), object(0, "x-2", 1)),
        ];
        let page = parse_page(LAST_PAGE).unwrap();
        assert_eq!((page.objects, page.next), (wanted, None));
        let truncated = "<IsTruncated>true</IsTruncated><NextContinuationToken>1/2+=</NextContinuationToken>";
        let page = LAST_PAGE.replace("<IsTruncated>false</IsTruncated>", truncated);
        let next = parse_page(&page).unwrap().next;
        assert_eq!(next.as_deref(), Some("1/2+="));
    }

    #[test]
    fn anything_but_a_whole_page_is_refused() {
        for cut in 0..LAST_PAGE.len() {
            assert!(parse_page(&LAST_PAGE[..cut]).is_none(), "{cut}");
        }
        let error = "<Error><Code>InternalError</Code><Message>Try again.</Message></Error>";
        assert!(parse_page(error).is_none());
        for (part, other) in [
            ("<EncodingType>url</EncodingType>", ""),
            ("<IsTruncated>false</IsTruncated>", ""),
            (">false<", ">true<"),
            ("<Key>b</Key>", ""),
            ("<Size>0</Size>", "<Size>-1</Size>"),
            ("1970-01-01T00:00:01Z", "yesterday"),
            ("%C3%A9", "%E9"),
            ("<Key>b</Key>", "<Key><![CDATA[b]]></Key>"),
            ("<Key>b</Key>", "<Key>&#98;</Key>"),
            ("x-2", "x&amp;2"),
        ] {
            let page = LAST_PAGE.replacen(part, other, 1);
            assert_ne!(page, LAST_PAGE);
            assert!(parse_page(&page).is_none(), "{part}");
        }
    }
}
