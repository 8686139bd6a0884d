//! The local header and the data descriptor: what lies around an entry's data.

use std::borrow::Cow;
use std::ops::Range;

use super::extra::{Extra, widen_local};
use super::fields::Fields;
use super::name::{NameEncoding, shown};
use super::{Entry, RawName, Rejection, flag};

/// APPNOTE 4.3.7.
const SIGNATURE: u32 = 0x0403_4b50;
pub(super) const LOCAL_HEADER_BYTES: u64 = 30;

/// APPNOTE 4.3.9: CRC-32 and two sizes; with a signature and ZIP64 sizes at most.
pub(super) const DESCRIPTOR_BYTES_MIN: u64 = 12;
pub(super) const DESCRIPTOR_BYTES_MAX: u64 = 24;
const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;

impl Entry {
    /// How many bytes of the archive, from its local header on, an entry takes.
    pub fn span_bytes(&self) -> u64 {
        self.end_offset.saturating_sub(self.header_offset)
    }

    /// How many bytes from its local header on are sure to hold all of that header.
    pub fn header_bytes_max(&self) -> u64 {
        self.span_bytes().saturating_sub(self.compressed_bytes)
    }

    /// Checks the local header and says where in `span` the compressed data lies.
    ///
    /// `span` starts at the local header and holds at least [`Entry::header_bytes_max`] bytes.
    /// It may end before the data does: then so does not the range. A data descriptor is checked
    /// here when `span` holds it, else by [`Entry::check_descriptor`].
    pub fn data_range(&self, span: &[u8]) -> Result<Range<usize>, Rejection> {
        let refuse = |problem| Rejection::LocalHeader { entry: self.shown_name(), problem };
        let cut = || Rejection::LocalHeaderCut { entry: self.shown_name() };
        let span_bytes = usize::try_from(self.span_bytes()).unwrap_or(usize::MAX);
        let span = &span[..span.len().min(span_bytes)];
        let (header, mut rest) = LocalHeader::parse(span).ok_or_else(cut)?;
        if header.signature != SIGNATURE {
            return Err(refuse("is not where the central directory says"));
        }
        let name_and_extra_bytes = u64::from(header.name_bytes) + u64::from(header.extra_bytes);
        let header_bytes = LOCAL_HEADER_BYTES + name_and_extra_bytes;
        let data_end = header_bytes.saturating_add(self.compressed_bytes);
        let Some(rest_bytes) = self.span_bytes().checked_sub(data_end) else {
            return Err(Rejection::SpanOverlap { entry: self.shown_name() });
        };
        let name = rest.take(usize::from(header.name_bytes)).ok_or_else(cut)?;
        let extra = rest.take(usize::from(header.extra_bytes)).ok_or_else(cut)?;
        self.check_header(&header, name, extra).map_err(refuse)?;

        let is_streamed = header.is_streamed();
        if !is_streamed && rest_bytes > 0 {
            return Err(Rejection::UnclaimedBytes { entry: self.shown_name() });
        }
        let start = header_bytes as usize;
        let end = usize::try_from(data_end).map_err(|_| cut())?;
        if is_streamed {
            if !matches!(rest_bytes, 12 | 16 | 20 | 24) {
                return Err(self.bad_descriptor());
            }
            if span.len() == span_bytes {
                self.check_descriptor(&span[end..])?;
            }
        }
        Ok(start..end)
    }

    /// Checks the data descriptor, given the bytes between the data and [`Entry::end_offset`];
    /// there are none when the entry has no descriptor.
    ///
    /// The four forms (with and without signature, with 4 and 8 bytes to a size) have four
    /// lengths, so that nothing needs to be guessed.
    pub fn check_descriptor(&self, bytes: &[u8]) -> Result<(), Rejection> {
        let mut fields = Fields::new(bytes);
        let has_signature = match bytes.len() {
            0 => return Ok(()),
            12 | 20 => false,
            16 | 24 => true,
            _ => return Err(self.bad_descriptor()),
        };
        let signature_is_right = !has_signature || fields.u32() == Some(DESCRIPTOR_SIGNATURE);
        let crc32 = fields.u32();
        let mut size = || match bytes.len() {
            12 | 16 => fields.u32().map(u64::from),
            _ => fields.u64(),
        };
        let sizes = [size(), size()];
        let is_right = signature_is_right
            && crc32 == Some(self.crc32)
            && sizes == [Some(self.compressed_bytes), Some(self.size_bytes)];
        is_right.then_some(()).ok_or_else(|| self.bad_descriptor())
    }

    /// Compares with the central directory.
    fn check_header(&self, local: &LocalHeader, name: &[u8], extra: &[u8]) -> Result<(), &'static str> {
        if !self.is_named(name) {
            return Err("has another name than the central directory");
        }
        if local.method != self.method.number() {
            return Err("has another compression method than the central directory");
        }
        // How an ASCII name is encoded is all the same.
        let name_flag = if name.is_ascii() { 0 } else { flag::UTF8 };
        let significant = flag::ENCRYPTED | flag::PATCH | name_flag;
        if (local.flags ^ self.flags) & significant != 0 {
            return Err("has other flags than the central directory");
        }
        let extra = Extra::parse(extra)?;
        if let Some(unicode_path) = extra.unicode_path {
            let encoding = NameEncoding { is_utf8: false, made_on_unix: false, unicode_path: Some(unicode_path) };
            if encoding.decode(name) != Ok(&*self.full_name()) {
                return Err("has another Unicode path than the central directory");
            }
        }
        // A streamed entry's header was written before its sizes were known: zeros, or the truth.
        let is_streamed = local.is_streamed();
        let is_same = |local: u64, central| local == central || is_streamed && local == 0;
        let [size_bytes, compressed_bytes] = widen_local(local.size_bytes, local.compressed_bytes, extra.zip64)?;
        if !is_same(size_bytes, self.size_bytes) || !is_same(compressed_bytes, self.compressed_bytes) {
            return Err("has other sizes than the central directory");
        }
        if !is_same(u64::from(local.crc32), u64::from(self.crc32)) {
            return Err("has another CRC-32 than the central directory");
        }
        Ok(())
    }

    fn is_named(&self, raw: &[u8]) -> bool {
        match self.raw_name.as_deref() {
            None => raw == self.name.as_bytes(),
            Some(RawName::UnderRoot(root)) => raw.strip_prefix(root.as_bytes()) == Some(self.name.as_bytes()),
            Some(RawName::Other(name)) => raw == &**name,
        }
    }
}

impl Entry {
    /// Its name with the root, as both headers mean it.
    fn full_name(&self) -> Cow<'_, str> {
        match self.raw_name.as_deref() {
            Some(RawName::UnderRoot(root)) => Cow::Owned(format!("{root}{}", self.name)),
            None | Some(RawName::Other(_)) => Cow::Borrowed(&self.name),
        }
    }

    pub(super) fn shown_name(&self) -> String {
        shown(self.full_name().as_bytes())
    }

    fn bad_descriptor(&self) -> Rejection {
        Rejection::Descriptor { entry: self.shown_name() }
    }
}

struct LocalHeader {
    signature: u32,
    flags: u16,
    method: u16,
    crc32: u32,
    compressed_bytes: u32,
    size_bytes: u32,
    name_bytes: u16,
    extra_bytes: u16,
}

impl LocalHeader {
    /// Gives what follows too: the name, the extra fields and the data.
    fn parse(bytes: &[u8]) -> Option<(Self, Fields<'_>)> {
        let mut fields = Fields::new(bytes);
        let signature = fields.u32()?;
        let _version_needed = fields.u16()?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        let _time_and_date = fields.u32()?;
        let header = Self {
            signature,
            flags,
            method,
            crc32: fields.u32()?,
            compressed_bytes: fields.u32()?,
            size_bytes: fields.u32()?,
            name_bytes: fields.u16()?,
            extra_bytes: fields.u16()?,
        };
        Some((header, fields))
    }

    /// Whether a data descriptor follows the data.
    fn is_streamed(&self) -> bool {
        self.flags & flag::STREAMED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{File, Zip, extra_field, unicode_path_field, zip, zip64_field};
    use super::*;

    const CONTENTS: &[u8] = b"<p>hello hello hello";

    fn page() -> File {
        File::deflated("index.html", CONTENTS)
    }

    /// Opens the only entry.
    fn open(file: File) -> Result<Range<usize>, Rejection> {
        let data = file.data.clone();
        let zip = zip([file]);
        let index = zip.parse().unwrap();
        let range = index.entries[0].data_range(&zip.bytes())?;
        assert_eq!(zip.bytes()[range.clone()], data);
        Ok(range)
    }

    fn problem(file: File) -> &'static str {
        match open(file).unwrap_err() {
            Rejection::LocalHeader { problem, .. } => problem,
            other => panic!("{other}"),
        }
    }

    fn is_bad_descriptor(file: File) -> bool {
        matches!(open(file), Err(Rejection::Descriptor { .. }))
    }

    #[test]
    fn the_data_is_found_after_the_local_extra_fields() {
        assert_eq!(open(page()).unwrap().start, 30 + 10);
        let padded = page().local(|local| local.extra = extra_field(0xcafe, b"1234"));
        assert_eq!(open(padded).unwrap().start, 30 + 10 + 8);
        let aligned = page().both(|header| header.extra = vec![0; 3]);
        assert_eq!(open(aligned).unwrap().start, 30 + 10 + 3);
    }

    #[test]
    fn every_form_of_data_descriptor_is_read() {
        for with_signature in [false, true] {
            for zip64 in [false, true] {
                let file = page().streamed(with_signature, zip64);
                open(file.clone()).unwrap();
                // Only the local header has the flag, in archives of some tools.
                open(file.clone().central(|central| central.flags = 0)).unwrap();
                // The sizes may be in the local header all the same.
                let known = file.central.clone();
                let sized = file.local(|local| {
                    local.size_bytes = known.size_bytes;
                    local.compressed_bytes = known.compressed_bytes;
                });
                open(sized).unwrap();
            }
        }
    }

    #[test]
    fn a_data_descriptor_that_disagrees_is_refused() {
        for with_signature in [false, true] {
            for zip64 in [false, true] {
                let file = page().streamed(with_signature, zip64);
                for at in 0..file.after.len() {
                    let mut changed = file.clone();
                    changed.after[at] ^= 1;
                    assert!(is_bad_descriptor(changed), "byte {at}");
                }
                let mut longer = file.clone();
                longer.after.push(0);
                assert!(is_bad_descriptor(longer));
            }
        }
        let mut none = page().streamed(true, false).central(|central| central.flags = 0);
        none.after.clear();
        assert!(is_bad_descriptor(none));
    }

    #[test]
    fn a_data_descriptor_is_checked_alone_when_the_span_is_read_in_parts() {
        let contents: Vec<u8> = (0..=255).collect();
        let file = File::stored("numbers", &contents).streamed(true, false);
        let zip = zip([file.clone()]);
        let entry = &zip.parse().unwrap().entries[0];
        let bytes = zip.bytes();
        let head = &bytes[..entry.header_bytes_max() as usize];
        let range = entry.data_range(head).unwrap();
        assert!(range.end > head.len());
        assert_eq!(bytes[range.clone()], file.data);
        let after = &bytes[range.end..entry.end_offset as usize];
        entry.check_descriptor(after).unwrap();
        assert!(entry.check_descriptor(&after[1..]).is_err());
        let mut changed = after.to_vec();
        changed[4] ^= 1;
        assert!(entry.check_descriptor(&changed).is_err());
    }

    #[test]
    fn a_cut_local_header_is_no_panic() {
        let zip = zip([page()]);
        let entry = &zip.parse().unwrap().entries[0];
        for length in 0..entry.header_bytes_max() as usize {
            let error = entry.data_range(&zip.bytes()[..length]);
            assert!(matches!(error, Err(Rejection::LocalHeaderCut { .. })));
        }
    }

    #[test]
    fn a_local_header_that_disagrees_is_refused() {
        let problems = [
            page().local(|local| local.name[0] = b'I'),
            page().local(|local| local.method = 0),
            page().local(|local| local.flags = 1),
            page().local(|local| local.flags = 1 << 5),
            page().local(|local| local.flags = 1 << 6),
            page().local(|local| local.flags = 1 << 13),
            page().local(|local| local.crc32 ^= 1),
            page().local(|local| local.crc32 = 0),
            page().local(|local| local.size_bytes += 1),
            page().local(|local| local.size_bytes = 0),
            page().local(|local| local.compressed_bytes += 1),
            page().local(|local| local.compressed_bytes = 0),
            page().streamed(true, false).local(|local| local.crc32 = 1),
            page().streamed(true, false).local(|local| local.size_bytes = 1),
            page().local(|local| local.extra = vec![1, 2, 3, 0]),
        ]
        .map(problem);
        insta::assert_snapshot!(problems.join("\n"), @r"
        has another name than the central directory
        has another compression method than the central directory
        has other flags than the central directory
        has other flags than the central directory
        has other flags than the central directory
        has other flags than the central directory
        has another CRC-32 than the central directory
        has another CRC-32 than the central directory
        has other sizes than the central directory
        has other sizes than the central directory
        has other sizes than the central directory
        has other sizes than the central directory
        has another CRC-32 than the central directory
        has other sizes than the central directory
        an extra field is longer than the space for it
        ");
        // Deflate's level and the encoding of an ASCII name do not matter.
        open(page().local(|local| local.flags = 0b110 | flag::UTF8)).unwrap();
        let utf8 = File::stored("é", b"").local(|local| local.flags = flag::UTF8);
        assert_eq!(problem(utf8), "has other flags than the central directory");
    }

    #[test]
    fn a_directory_that_points_elsewhere_is_refused() {
        let zip = Zip { prefix: b"12345".to_vec(), ..zip([page().central(|central| central.offset = Some(4))]) };
        let entry = &zip.parse().unwrap().entries[0];
        assert!(matches!(
            entry.data_range(&zip.bytes()[4..]),
            Err(Rejection::LocalHeader { problem: "is not where the central directory says", .. })
        ));
    }

    #[test]
    fn an_entry_that_only_the_local_headers_have_is_refused() {
        let mut hiding = page();
        let hidden = zip([File::stored("hidden", b"x")]).bytes();
        hiding.after = hidden[..30 + 6 + 1].to_vec();
        assert!(matches!(open(hiding), Err(Rejection::UnclaimedBytes { .. })));
        let mut gap = page();
        gap.after.push(0);
        assert!(matches!(open(gap), Err(Rejection::UnclaimedBytes { .. })));
        // A local extra field can make a header longer than the directory knows.
        let long = page().local(|local| local.extra = extra_field(0xcafe, &[0; 20]));
        let mut zip = zip([long]);
        zip.files[0].data.truncate(4);
        let shorter = zip.parse().unwrap();
        assert!(matches!(shorter.entries[0].data_range(&zip.bytes()), Err(Rejection::SpanOverlap { .. })));
    }

    #[test]
    fn zip64_sizes_are_read_from_both_headers() {
        let file = page();
        let size = u64::from(file.central.size_bytes);
        let compressed = u64::from(file.central.compressed_bytes);
        let wide = |file: File, values: &[u64]| {
            file.both(|header| {
                header.size_bytes = u32::MAX;
                header.compressed_bytes = u32::MAX;
                header.extra = zip64_field(values);
            })
        };
        open(wide(file.clone(), &[size, compressed])).unwrap();
        // As Python writes an entry to a pipe.
        let streamed = wide(file.clone(), &[size, compressed]).local(|local| local.extra = zip64_field(&[0, 0]));
        assert_eq!(problem(streamed.clone()), "has other sizes than the central directory");
        let mut streamed = streamed.both(|header| header.flags = flag::STREAMED);
        streamed.after = file.streamed(true, true).after;
        open(streamed).unwrap();
        // As Apache Commons Compress reserves it and then needs it not.
        open(page().local(|local| local.extra = zip64_field(&[0, 0]))).unwrap();
        open(page().local(|local| local.extra = zip64_field(&[size, compressed]))).unwrap();
        for local in [&[size + 1, compressed][..], &[size], &[size, compressed, 0]] {
            let file = wide(page(), &[size, compressed]);
            problem(file.local(|header| header.extra = zip64_field(local)));
        }
    }

    #[test]
    fn a_local_unicode_path_names_the_same_file_or_is_refused() {
        let raw = b"\x82";
        let file = |extra| {
            File::stored("", b"")
                .both(|header| {
                    header.name = raw.to_vec();
                    header.extra = unicode_path_field(raw, "é");
                })
                .local(|local| local.extra = extra)
        };
        open(file(unicode_path_field(raw, "é"))).unwrap();
        open(file(Vec::new())).unwrap();
        for extra in [unicode_path_field(raw, "è"), unicode_path_field(b"\x83", "é")] {
            assert_eq!(problem(file(extra)), "has another Unicode path than the central directory");
        }
    }
}
