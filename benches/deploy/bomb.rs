//! Archives that attack their reader. The function must refuse each one quickly, with little memory.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use standins::quine::quine;

/// An archive that attacks its reader.
#[derive(Clone, Copy)]
pub struct Bomb {
    pub name: &'static str,
    pub about: &'static str,
    make: fn() -> Result<Vec<u8>, std::io::Error>,
}

pub const BOMBS: &[Bomb] = &[
    Bomb { name: "overlap", about: "50,000 entries that share 10 MiB of data", make: overlap },
    Bomb { name: "nested", about: "500 entries, each of which contains all later ones", make: nested },
    Bomb { name: "ratio", about: "one entry, 256 MiB of zeros", make: ratio },
    Bomb { name: "expansion", about: "30 entries of 1,000 MiB, each below the ratio", make: expansion },
    Bomb { name: "count", about: "1,000,001 entries", make: count },
    Bomb { name: "directory", about: "a central directory of 200 MB", make: directory },
    Bomb { name: "understated", about: "an entry of 256 MiB whose headers say 100 bytes", make: understated },
    Bomb { name: "quine", about: "an archive whose one file is the archive itself", make: || Ok(quine()) },
];

impl Bomb {
    /// Finds an archive by its name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BOMBS.iter().find(|bomb| bomb.name == name)
    }

    /// Makes the archive.
    pub fn archive(&self) -> Result<Vec<u8>, std::io::Error> {
        (self.make)()
    }
}

/// The fields of an entry's headers, whether they are true or not.
struct Header {
    name: String,
    method: u16,
    crc32: u32,
    compressed_bytes: u32,
    size_bytes: u32,
}

impl Header {
    fn stored(name: String, crc32: u32, size_bytes: u32) -> Self {
        Self { name, method: 0, crc32, compressed_bytes: size_bytes, size_bytes }
    }

    /// Returns the fields that local and central header share, from the flags on (APPNOTE 4.3.7 and 4.3.12).
    fn common(&self) -> Vec<u8> {
        let mut bytes = vec![0; 2];
        bytes.extend(self.method.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.crc32.to_le_bytes());
        bytes.extend(self.compressed_bytes.to_le_bytes());
        bytes.extend(self.size_bytes.to_le_bytes());
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend([0; 2]);
        bytes
    }
}

/// An archive that is being written.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u64,
}

impl Archive {
    /// Adds an entry: both headers and its data.
    fn add(&mut self, header: &Header, data: &[u8]) {
        self.list(header, self.bytes.len() as u32);
        self.bytes.extend(b"PK\x03\x04\x14\0");
        self.bytes.extend(header.common());
        self.bytes.extend(header.name.as_bytes());
        self.bytes.extend(data);
    }

    /// Adds an entry only to the central directory.
    fn list(&mut self, header: &Header, offset: u32) {
        self.directory.extend(b"PK\x01\x02\x14\0\x14\0");
        self.directory.extend(header.common());
        self.directory.extend([0; 10]);
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(header.name.as_bytes());
        self.entries += 1;
    }

    /// Appends the central directory and the end records of ZIP64 (APPNOTE 4.3.14 to 4.3.16).
    fn finish(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        let directory_offset = bytes.len() as u64;
        bytes.extend(&self.directory);
        let record_offset = bytes.len() as u64;
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0]);
        bytes.extend([0; 8]);
        bytes.extend(self.entries.to_le_bytes());
        bytes.extend(self.entries.to_le_bytes());
        bytes.extend((self.directory.len() as u64).to_le_bytes());
        bytes.extend(directory_offset.to_le_bytes());
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend(record_offset.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([0xff; 12]);
        bytes.extend([0; 2]);
        bytes
    }
}

/// Returns an entry of deflated zeros: its header and its data.
fn zeros(name: &str, size_bytes: usize) -> Result<(Header, Vec<u8>), std::io::Error> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let mut hasher = crc32fast::Hasher::new();
    let piece = vec![0; 1 << 20];
    for _ in 0..size_bytes >> 20 {
        encoder.write_all(&piece)?;
        hasher.update(&piece);
    }
    let data = encoder.finish()?;
    let header = Header {
        name: name.to_owned(),
        method: 8,
        crc32: hasher.finalize(),
        compressed_bytes: data.len() as u32,
        size_bytes: size_bytes as u32,
    };
    Ok((header, data))
}

fn overlap() -> Result<Vec<u8>, std::io::Error> {
    let data = vec![b'x'; 10 << 20];
    let crc32 = crc32fast::hash(&data);
    let mut archive = Archive::default();
    for number in 0..50_000 {
        let header = Header::stored(format!("{number:05}"), crc32, 10 << 20);
        if number == 0 {
            archive.add(&header, &data);
        } else {
            archive.list(&header, 0);
        }
    }
    Ok(archive.finish())
}

/// Builds the archive of David Fifield's "A better zip bomb", in which the data of each entry begins with the header of
/// the next one.
fn nested() -> Result<Vec<u8>, std::io::Error> {
    const COUNT: usize = 500;
    const HEADER_BYTES: usize = 30 + 3;
    let data = vec![b'x'; 1 << 20];
    let mut archive = Archive::default();
    for number in 0..COUNT {
        let remaining = data.len() + (COUNT - 1 - number) * HEADER_BYTES;
        let header = Header::stored(format!("{number:03}"), 0, remaining as u32);
        archive.add(&header, &[]);
    }
    archive.bytes.extend(data);
    Ok(archive.finish())
}

fn ratio() -> Result<Vec<u8>, std::io::Error> {
    let (header, data) = zeros("zeros", 256 << 20)?;
    let mut archive = Archive::default();
    archive.add(&header, &data);
    Ok(archive.finish())
}

fn expansion() -> Result<Vec<u8>, std::io::Error> {
    let (header, data) = zeros("zeros", 1_000 << 20)?;
    // Empty blocks (RFC 1951, section 3.2.4) keep it below the ratio.
    let padding = [0, 0, 0, 0xff, 0xff].repeat(data.len() / 100);
    let data = [padding, data].concat();
    let mut archive = Archive::default();
    for number in 0..30 {
        let header = Header { name: format!("{number:02}"), compressed_bytes: data.len() as u32, ..header };
        archive.add(&header, &data);
    }
    Ok(archive.finish())
}

fn count() -> Result<Vec<u8>, std::io::Error> {
    Ok(empty((0..1_000_001).map(|number| format!("{number:07}"))))
}

fn directory() -> Result<Vec<u8>, std::io::Error> {
    Ok(empty((0..200_000).map(|number| format!("{number:0>954}"))))
}

/// Builds an archive of empty entries.
fn empty(names: impl Iterator<Item = String>) -> Vec<u8> {
    let mut archive = Archive::default();
    for name in names {
        archive.add(&Header::stored(name, 0, 0), &[]);
    }
    archive.finish()
}

fn understated() -> Result<Vec<u8>, std::io::Error> {
    let (header, data) = zeros("small.txt", 256 << 20)?;
    let header = Header { size_bytes: 100, ..header };
    let mut archive = Archive::default();
    archive.add(&header, &data);
    Ok(archive.finish())
}
