//! Extra fields of a header: ZIP64 sizes and Info-ZIP's Unicode path.

use super::cursor::Cursor;

/// APPNOTE 4.5.3.
const ZIP64: u16 = 0x0001;
/// APPNOTE 4.6.9, Info-ZIP Unicode Path.
const UNICODE_PATH: u16 = 0x7075;
/// "See the ZIP64 field" in a 4-byte size or offset.
const IN_ZIP64: u32 = u32::MAX;
/// The same in a 2-byte disk number.
const DISK_IN_ZIP64: u16 = u16::MAX;

/// The extra fields that change how an entry is read.
#[derive(Default)]
pub(super) struct Extra<'a> {
    pub(super) zip64: Option<&'a [u8]>,
    pub(super) unicode_path: Option<&'a [u8]>,
}

impl<'a> Extra<'a> {
    /// Fails with what is wrong with the fields.
    ///
    /// Up to three bytes may be left over: they cannot hold a field, and zipalign pads with them.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut extra = Self::default();
        let mut cursor = Cursor::new(bytes);
        while let (Some(id), Some(length)) = (cursor.u16(), cursor.u16()) {
            let data = cursor.take(usize::from(length)).ok_or("an extra field is longer than the space for it")?;
            let slot = match id {
                ZIP64 => &mut extra.zip64,
                UNICODE_PATH => &mut extra.unicode_path,
                _ => continue,
            };
            if slot.replace(data).is_some() {
                return Err("an extra field that must be unique is there twice");
            }
        }
        Ok(extra)
    }
}

/// Sizes and place of an entry as the central directory has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    pub(super) size_bytes: u64,
    pub(super) compressed_bytes: u64,
    pub(super) header_offset: u64,
    pub(super) disk: u32,
}

/// The 4-byte fields of a central directory header that ZIP64 widens.
#[derive(Clone, Copy)]
pub(super) struct NarrowExtent {
    pub(super) size_bytes: u32,
    pub(super) compressed_bytes: u32,
    pub(super) header_offset: u32,
    pub(super) disk: u16,
}

impl NarrowExtent {
    pub(super) fn widen(self, zip64: Option<&[u8]>) -> Result<Extent, &'static str> {
        let disk_is_wide = self.disk == DISK_IN_ZIP64;
        let mut narrow = [self.size_bytes, self.compressed_bytes, self.header_offset].map(Narrow::from);
        let mut disk = u32::from(self.disk);
        widen(&mut narrow, disk_is_wide.then_some(&mut disk), zip64, |narrow, wide| wide == u64::from(narrow))?;
        let [size_bytes, compressed_bytes, header_offset] = narrow.map(|field| field.value);
        Ok(Extent { size_bytes, compressed_bytes, header_offset, disk })
    }
}

/// Widens the two sizes of a local header: first the size, then the compressed size.
///
/// A field with nothing to say may be zero: Apache Commons Compress (Ant, Gradle) reserves it
/// before it knows the sizes and leaves it there when 4 bytes were enough.
pub(super) fn widen_local(
    size_bytes: u32,
    compressed_bytes: u32,
    zip64: Option<&[u8]>,
) -> Result<[u64; 2], &'static str> {
    let mut narrow = [size_bytes, compressed_bytes].map(Narrow::from);
    widen(&mut narrow, None, zip64, |narrow, wide| wide == 0 || wide == u64::from(narrow))?;
    Ok(narrow.map(|field| field.value))
}

#[derive(Clone, Copy)]
struct Narrow {
    narrow: u32,
    value: u64,
}

impl From<u32> for Narrow {
    fn from(narrow: u32) -> Self {
        Self { narrow, value: u64::from(narrow) }
    }
}

/// APPNOTE 4.5.3: the ZIP64 field holds, in this order, only what the header marks as being there.
///
/// Some writers always write the leading values. That is taken when no reader can be misled: the
/// marked ones come first, so that every reader finds them, and the surplus ones `may_repeat`.
fn widen(
    narrow: &mut [Narrow],
    disk: Option<&mut u32>,
    zip64: Option<&[u8]>,
    may_repeat: impl Fn(u32, u64) -> bool,
) -> Result<(), &'static str> {
    const TOO_SHORT: &str = "the ZIP64 field is missing or lacks a value that the header refers to";
    const TOO_LONG: &str = "the ZIP64 field has a value that the header does not refer to";
    let marked = narrow.iter().filter(|field| field.narrow == IN_ZIP64).count();
    let data = zip64.unwrap_or_default();
    let needed = marked * 8 + if disk.is_some() { 4 } else { 0 };
    let mut cursor = Cursor::new(data);
    if data.len() <= needed {
        for field in narrow.iter_mut().filter(|field| field.narrow == IN_ZIP64) {
            field.value = cursor.u64().ok_or(TOO_SHORT)?;
        }
        if let Some(disk) = disk {
            *disk = cursor.u32().ok_or(TOO_SHORT)?;
        }
        return Ok(());
    }
    let marked_first = narrow[..marked].iter().all(|field| field.narrow == IN_ZIP64);
    if !marked_first || disk.is_some() {
        return Err(TOO_LONG);
    }
    for (at, field) in narrow.iter_mut().enumerate() {
        if cursor.remaining() == 0 {
            return Ok(());
        }
        let wide = cursor.u64().ok_or(TOO_LONG)?;
        if at < marked {
            field.value = wide;
        } else if !may_repeat(field.narrow, wide) {
            return Err(TOO_LONG);
        }
    }
    // A full field ends with the number of the disk, which can only be the first.
    match (narrow.len(), cursor.remaining(), cursor.u32()) {
        (_, 0, _) | (3, 4, Some(0)) => Ok(()),
        _ => Err(TOO_LONG),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{extra_field, zip64_field};
    use super::*;

    const NARROW: NarrowExtent = NarrowExtent { size_bytes: 5, compressed_bytes: 7, header_offset: 9, disk: 0 };

    fn widen(narrow: NarrowExtent, values: &[u64]) -> Option<[u64; 3]> {
        let field = zip64_field(values);
        let extent = narrow.widen(Extra::parse(&field).unwrap().zip64).ok()?;
        Some([extent.size_bytes, extent.compressed_bytes, extent.header_offset])
    }

    #[test]
    fn a_zip64_field_gives_what_the_header_marks() {
        let max = u32::MAX;
        let size = NarrowExtent { size_bytes: max, ..NARROW };
        let compressed = NarrowExtent { compressed_bytes: max, ..NARROW };
        let offset = NarrowExtent { header_offset: max, ..NARROW };
        let sizes = NarrowExtent { size_bytes: max, ..compressed };
        let all = NarrowExtent { header_offset: max, ..sizes };
        assert_eq!(widen(NARROW, &[]), Some([5, 7, 9]));
        assert_eq!(widen(size, &[1 << 33]), Some([1 << 33, 7, 9]));
        assert_eq!(widen(compressed, &[50]), Some([5, 50, 9]));
        assert_eq!(widen(offset, &[50]), Some([5, 7, 50]));
        assert_eq!(widen(sizes, &[50, 70]), Some([50, 70, 9]));
        assert_eq!(widen(all, &[50, 70, 90]), Some([50, 70, 90]));

        for (marked, values) in [(size, &[][..]), (sizes, &[50]), (all, &[50, 70])] {
            assert_eq!(widen(marked, values), None, "too short");
        }
        assert_eq!(offset.widen(None).ok(), None, "none at all");
    }

    #[test]
    fn surplus_zip64_values_must_repeat_the_header() {
        let size = NarrowExtent { size_bytes: u32::MAX, ..NARROW };
        let offset = NarrowExtent { header_offset: u32::MAX, ..NARROW };
        assert_eq!(widen(NARROW, &[5, 7]), Some([5, 7, 9]));
        assert_eq!(widen(NARROW, &[5, 7, 9]), Some([5, 7, 9]));
        assert_eq!(widen(size, &[50, 7]), Some([50, 7, 9]));
        assert_eq!(widen(NARROW, &[5, 8]), None);
        assert_eq!(widen(size, &[50, 0]), None);
        assert_eq!(widen(offset, &[5, 7, 90]), None, "some readers take the 5 for the offset");
        assert_eq!(widen(NARROW, &[5, 7, 9, 0]), None);
        let compressed = NarrowExtent { compressed_bytes: u32::MAX, ..NARROW };
        let max = u64::from(u32::MAX);
        assert_eq!(widen(compressed, &[50, max]), None, "50 is not the size");
    }

    #[test]
    fn a_disk_number_is_read_from_the_zip64_field() {
        let marked = NarrowExtent { disk: u16::MAX, ..NARROW };
        let disk = |narrow: NarrowExtent, data: &[u8]| Some(narrow.widen(Some(data)).ok()?.disk);
        assert_eq!(disk(marked, &[1, 0, 0, 0]), Some(1));
        assert_eq!(disk(marked, &[1, 0, 0]), None);
        assert_eq!(disk(marked, &[1, 0, 0, 0, 0, 0, 0, 0]), None);
        let full = |disk: u8| {
            let mut data: Vec<u8> = [5_u64, 7, 9].iter().flat_map(|v| v.to_le_bytes()).collect();
            data.extend([disk, 0, 0, 0]);
            data
        };
        assert_eq!(disk(NARROW, &full(0)), Some(0));
        assert_eq!(disk(NARROW, &full(1)), None);
    }

    #[test]
    fn fields_that_do_not_fit_or_repeat_are_refused() {
        assert!(Extra::parse(&extra_field(0x5455, b"12345")).is_ok());
        assert!(Extra::parse(b"   ").is_ok());
        let mut cut = extra_field(0x5455, b"12345");
        cut.pop();
        assert!(Extra::parse(&cut).is_err());
        assert!(Extra::parse(&zip64_field(&[1]).repeat(2)).is_err());
    }
}
