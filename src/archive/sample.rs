//! Writes zips byte by byte, so that a test can make any field wrong.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::{ArchiveIndex, Limits, Parsed, Rejection, Selection, flag};

/// The fields of a header; the local and the central header differ only if a test changes one of them.
#[derive(Clone)]
pub(super) struct Header {
    pub(super) made_by_host: u8,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc32: u32,
    pub(super) compressed_bytes: u32,
    pub(super) size_bytes: u32,
    pub(super) name: Vec<u8>,
    pub(super) extra: Vec<u8>,
    pub(super) disk: u16,
    pub(super) external_attributes: u32,
    /// Where the central directory says that the local header is; `None` for the true offset.
    pub(super) offset: Option<u32>,
}

#[derive(Clone)]
pub(super) struct File {
    pub(super) local: Header,
    pub(super) central: Header,
    pub(super) data: Vec<u8>,
    /// The bytes between the data and the next header: a data descriptor, or something invalid.
    pub(super) after: Vec<u8>,
}

impl File {
    pub(super) fn stored(name: &str, contents: &[u8]) -> Self {
        Self::new(name.as_bytes(), 0, contents, contents.to_vec())
    }

    pub(super) fn deflated(name: &str, contents: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(contents).unwrap();
        Self::new(name.as_bytes(), 8, contents, encoder.finish().unwrap())
    }

    pub(super) fn zstd(name: &str, contents: &[u8]) -> Self {
        let frame = zstd::encode_all(contents, 3).unwrap();
        Self::framed(name, contents, frame)
    }

    /// Takes any bytes for the zstd frame.
    pub(super) fn framed(name: &str, contents: &[u8], frame: Vec<u8>) -> Self {
        Self::new(name.as_bytes(), 93, contents, frame)
    }

    pub(super) fn folder(name: &str) -> Self {
        Self::stored(name, b"").both(|header| header.external_attributes = 0o040_755 << 16 | 0x10)
    }

    fn new(name: &[u8], method: u16, contents: &[u8], data: Vec<u8>) -> Self {
        let header = Header {
            made_by_host: 3,
            flags: 0,
            method,
            crc32: crc32fast::hash(contents),
            compressed_bytes: data.len() as u32,
            size_bytes: contents.len() as u32,
            name: name.to_vec(),
            extra: Vec::new(),
            disk: 0,
            external_attributes: 0o100_644 << 16,
            offset: None,
        };
        Self { local: header.clone(), central: header, data, after: Vec::new() }
    }

    /// Adds a data descriptor, with or without a signature and with sizes of 8 or 4 bytes.
    pub(super) fn streamed(self, with_signature: bool, zip64: bool) -> Self {
        let mut file = self.both(|header| header.flags |= flag::STREAMED);
        if with_signature {
            file.after.extend(b"PK\x07\x08");
        }
        file.after.extend(file.central.crc32.to_le_bytes());
        for size in [file.central.compressed_bytes, file.central.size_bytes] {
            if zip64 {
                file.after.extend(u64::from(size).to_le_bytes());
            } else {
                file.after.extend(size.to_le_bytes());
            }
        }
        file.local(|local| {
            local.crc32 = 0;
            local.compressed_bytes = 0;
            local.size_bytes = 0;
        })
    }

    pub(super) fn local(mut self, change: impl FnOnce(&mut Header)) -> Self {
        change(&mut self.local);
        self
    }

    pub(super) fn central(mut self, change: impl FnOnce(&mut Header)) -> Self {
        change(&mut self.central);
        self
    }

    pub(super) fn both(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.local);
        change(&mut self.central);
        self
    }
}

#[derive(Clone, Default)]
pub(super) struct Zip {
    pub(super) files: Vec<File>,
    pub(super) prefix: Vec<u8>,
    pub(super) comment: Vec<u8>,
    pub(super) zip64: bool,
    /// Added to the number of entries in the end record.
    pub(super) extra_count: u16,
}

/// A zip of these files.
pub(super) fn zip<const N: usize>(files: [File; N]) -> Zip {
    Zip { files: files.into(), ..Zip::default() }
}

impl Zip {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.prefix.clone();
        let mut directory = Vec::new();
        for file in &self.files {
            let offset = bytes.len() as u32;
            let local = &file.local;
            bytes.extend(b"PK\x03\x04\x14\x00");
            local.write_common(&mut bytes);
            bytes.extend(&local.name);
            bytes.extend(&local.extra);
            bytes.extend(&file.data);
            bytes.extend(&file.after);

            let central = &file.central;
            directory.extend(b"PK\x01\x02\x14");
            directory.push(central.made_by_host);
            directory.extend(b"\x14\x00");
            central.write_common(&mut directory);
            directory.extend(0_u16.to_le_bytes());
            directory.extend(central.disk.to_le_bytes());
            directory.extend(0_u16.to_le_bytes());
            directory.extend(central.external_attributes.to_le_bytes());
            directory.extend(central.offset.unwrap_or(offset).to_le_bytes());
            directory.extend(&central.name);
            directory.extend(&central.extra);
        }
        let (offset, length) = (bytes.len() as u64, directory.len() as u64);
        let count = self.files.len() as u16 + self.extra_count;
        bytes.extend(directory);
        if self.zip64 {
            let end64_offset = bytes.len() as u64;
            bytes.extend(b"PK\x06\x06");
            bytes.extend(44_u64.to_le_bytes());
            bytes.extend(b"\x2d\x03\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00");
            for value in [u64::from(count), u64::from(count), length, offset] {
                bytes.extend(value.to_le_bytes());
            }
            bytes.extend(b"PK\x06\x07\x00\x00\x00\x00");
            bytes.extend(end64_offset.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
            bytes.extend([0xff; 12]);
        } else {
            bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
            bytes.extend(count.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend((length as u32).to_le_bytes());
            bytes.extend((offset as u32).to_le_bytes());
        }
        bytes.extend((self.comment.len() as u16).to_le_bytes());
        bytes.extend(&self.comment);
        bytes
    }

    pub(super) fn parse(&self) -> Result<ArchiveIndex, Rejection> {
        parse(&self.bytes())
    }

    pub(super) fn rejection(&self) -> Rejection {
        self.parse().unwrap_err()
    }
}

impl Header {
    /// Writes the fields that both headers have in the same order.
    fn write_common(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.method.to_le_bytes());
        bytes.extend([0, 0, 0x21, 0]);
        bytes.extend(self.crc32.to_le_bytes());
        bytes.extend(self.compressed_bytes.to_le_bytes());
        bytes.extend(self.size_bytes.to_le_bytes());
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend((self.extra.len() as u16).to_le_bytes());
    }
}

pub(super) fn extra_field(id: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend((data.len() as u16).to_le_bytes());
    bytes.extend(data);
    bytes
}

pub(super) fn zip64_field(values: &[u64]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    extra_field(0x0001, &data)
}

pub(super) fn unicode_path_field(raw_name: &[u8], name: &str) -> Vec<u8> {
    let mut data = vec![1];
    data.extend(crc32fast::hash(raw_name).to_le_bytes());
    data.extend(name.as_bytes());
    extra_field(0x7075, &data)
}

pub(super) fn parse(bytes: &[u8]) -> Result<ArchiveIndex, Rejection> {
    parse_root(bytes, "", &Limits::default())
}

pub(super) fn parse_root(bytes: &[u8], root: &str, limits: &Limits) -> Result<ArchiveIndex, Rejection> {
    parse_selected(bytes, &Selection { root, ..Selection::ALL }, limits)
}

pub(super) fn parse_selected(
    bytes: &[u8],
    selection: &Selection<'_>,
    limits: &Limits,
) -> Result<ArchiveIndex, Rejection> {
    match ArchiveIndex::parse(bytes.len() as u64, bytes, selection, limits)? {
        Parsed::Index(index) => Ok(index),
        Parsed::NeedsFrom(offset) => panic!("the archive is complete, but bytes from {offset} are needed"),
    }
}
