//! Extra fields of a header: ZIP64 sizes and Info-ZIP's Unicode path.

use super::cursor::Cursor;

/// APPNOTE 4.5.3.
const ZIP64: u16 = 0x0001;
/// APPNOTE 4.6.9, Info-ZIP Unicode Path.
const UNICODE_PATH: u16 = 0x7075;
/// In a 4-byte size or offset: the ZIP64 field has the value.
const IN_ZIP64: u32 = u32::MAX;
/// The same in a 2-byte disk number.
const DISK_IN_ZIP64: u16 = u16::MAX;

const TOO_SHORT: &str = "the ZIP64 field is missing or lacks a value that the header refers to";
const TOO_LONG: &str = "the ZIP64 field has a value that the header does not refer to";

/// The data of the extra fields that change how an entry is read.
#[derive(Default)]
pub(super) struct Extra<'a> {
    pub(super) zip64: Option<&'a [u8]>,
    pub(super) unicode_path: Option<&'a [u8]>,
}

impl<'a> Extra<'a> {
    /// Finds the fields; the error says what is wrong with them.
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

/// An entry's sizes and location, as the central directory states them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    pub(super) size_bytes: u64,
    pub(super) compressed_bytes: u64,
    pub(super) header_offset: u64,
    pub(super) disk: u32,
}

/// The short fields of a central directory header that ZIP64 widens.
#[derive(Clone, Copy)]
pub(super) struct NarrowExtent {
    pub(super) size_bytes: u32,
    pub(super) compressed_bytes: u32,
    pub(super) header_offset: u32,
    pub(super) disk: u16,
}

impl NarrowExtent {
    pub(super) fn widen(self, zip64: Option<&[u8]>) -> Result<Extent, &'static str> {
        let mut numbers = [self.size_bytes, self.compressed_bytes, self.header_offset].map(Number::from);
        let mut disk = u32::from(self.disk);
        let marked_disk = (self.disk == DISK_IN_ZIP64).then_some(&mut disk);
        widen(&mut numbers, marked_disk, zip64, is_repeated)?;
        let [size_bytes, compressed_bytes, header_offset] = numbers.map(|number| number.value);
        Ok(Extent { size_bytes, compressed_bytes, header_offset, disk })
    }
}

fn is_repeated(narrow: u32, wide: u64) -> bool {
    wide == u64::from(narrow)
}

/// Widens the two sizes of a local header: first the size, then the compressed size.
///
/// A value that the header does not refer to may be zero: Apache Commons Compress (Ant, Gradle)
/// reserves the field before it knows the sizes and leaves it there if 4 bytes were enough.
pub(super) fn widen_local(
    size_bytes: u32,
    compressed_bytes: u32,
    zip64: Option<&[u8]>,
) -> Result<[u64; 2], &'static str> {
    let mut numbers = [size_bytes, compressed_bytes].map(Number::from);
    widen(&mut numbers, None, zip64, is_repeated_or_zero)?;
    Ok(numbers.map(|number| number.value))
}

fn is_repeated_or_zero(narrow: u32, wide: u64) -> bool {
    wide == 0 || is_repeated(narrow, wide)
}

/// A 4-byte number of a header, and its true value.
#[derive(Clone, Copy)]
struct Number {
    narrow: u32,
    value: u64,
}

impl From<u32> for Number {
    fn from(narrow: u32) -> Self {
        Self { narrow, value: u64::from(narrow) }
    }
}

impl Number {
    /// Returns whether the header refers to the ZIP64 field for this number.
    fn is_marked(&self) -> bool {
        self.narrow == IN_ZIP64
    }
}

/// Sets the marked numbers, and the disk if it is given, to their values in the ZIP64 field.
///
/// The field holds, in this order, only the values that the header marks (APPNOTE 4.5.3). Some
/// writers write more: [`widen_overlong`].
fn widen(
    numbers: &mut [Number],
    disk: Option<&mut u32>,
    zip64: Option<&[u8]>,
    may_be_surplus: fn(u32, u64) -> bool,
) -> Result<(), &'static str> {
    let data = zip64.unwrap_or_default();
    let marked = numbers.iter().filter(|number| number.is_marked()).count();
    let disk_bytes = if disk.is_some() { 4 } else { 0 };
    if data.len() > marked * 8 + disk_bytes {
        // Surplus values would come before the disk, and readers would look for it in different places.
        return if disk.is_some() { Err(TOO_LONG) } else { widen_overlong(numbers, marked, data, may_be_surplus) };
    }
    let mut cursor = Cursor::new(data);
    for number in numbers.iter_mut().filter(|number| number.is_marked()) {
        number.value = cursor.u64().ok_or(TOO_SHORT)?;
    }
    if let Some(disk) = disk {
        *disk = cursor.u32().ok_or(TOO_SHORT)?;
    }
    Ok(())
}

/// Reads a field with surplus values, as some writers write it, if no reader can be misled.
///
/// So the marked numbers must come first, where every reader finds them, and the surplus values
/// after them must say nothing new.
fn widen_overlong(
    numbers: &mut [Number],
    marked: usize,
    data: &[u8],
    may_be_surplus: fn(u32, u64) -> bool,
) -> Result<(), &'static str> {
    if !numbers[..marked].iter().all(Number::is_marked) {
        return Err(TOO_LONG);
    }
    let mut cursor = Cursor::new(data);
    for (at, number) in numbers.iter_mut().enumerate() {
        if cursor.remaining() == 0 {
            return Ok(());
        }
        let wide = cursor.u64().ok_or(TOO_LONG)?;
        if at < marked {
            number.value = wide;
        } else if !may_be_surplus(number.narrow, wide) {
            return Err(TOO_LONG);
        }
    }
    // A full field, with all three numbers, ends with the number of the disk, which can only be the first.
    match (numbers.len(), cursor.remaining(), cursor.u32()) {
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
    fn a_zip64_field_has_the_values_that_the_header_marks() {
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
    fn fields_that_are_cut_or_repeated_are_refused() {
        assert!(Extra::parse(&extra_field(0x5455, b"12345")).is_ok());
        assert!(Extra::parse(b"   ").is_ok());
        let mut cut = extra_field(0x5455, b"12345");
        cut.pop();
        assert!(Extra::parse(&cut).is_err());
        assert!(Extra::parse(&zip64_field(&[1]).repeat(2)).is_err());
    }
}
