//! Archives that are made to hurt their reader; each is to be refused at once and for little memory.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// One of them.
#[derive(Clone, Copy)]
pub struct Bomb {
    pub name: &'static str,
    pub about: &'static str,
    make: fn() -> Result<Vec<u8>, std::io::Error>,
}

pub const BOMBS: &[Bomb] = &[
    Bomb {
        name: "overlap",
        about: "50,000 entries that share 10 MiB of data",
        make: overlap,
    },
    Bomb {
        name: "nested",
        about: "500 entries, each of which has all later ones in its data",
        make: nested,
    },
    Bomb {
        name: "ratio",
        about: "one entry, 256 MiB of zeros",
        make: ratio,
    },
    Bomb {
        name: "expansion",
        about: "30 entries of 1,000 MiB, each below the ratio",
        make: expansion,
    },
    Bomb {
        name: "count",
        about: "1,000,001 entries",
        make: count,
    },
    Bomb {
        name: "directory",
        about: "a central directory of 200 MB",
        make: directory,
    },
    Bomb {
        name: "understated",
        about: "an entry of 256 MiB that says it has 100 bytes",
        make: understated,
    },
];

impl Bomb {
    pub fn named(name: &str) -> Option<&'static Self> {
        BOMBS.iter().find(|bomb| bomb.name == name)
    }

    pub fn archive(&self) -> Result<Vec<u8>, std::io::Error> {
        (self.make)()
    }
}

/// What the headers say of an entry.
struct Said<'a> {
    name: &'a str,
    method: u16,
    crc32: u32,
    compressed_bytes: u32,
    size_bytes: u32,
}

impl Said<'_> {
    /// The fields that both headers have, from the flags on (APPNOTE 4.3.7 and 4.3.12).
    fn common(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(0u16.to_le_bytes());
        bytes.extend(self.method.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.crc32.to_le_bytes());
        bytes.extend(self.compressed_bytes.to_le_bytes());
        bytes.extend(self.size_bytes.to_le_bytes());
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend([0; 2]);
        bytes
    }

    fn local(&self) -> Vec<u8> {
        [
            &b"PK\x03\x04\x14\0"[..],
            &self.common(),
            self.name.as_bytes(),
        ]
        .concat()
    }

    fn central(&self, offset: u32) -> Vec<u8> {
        let rest = [[0; 10], [0; 10]].concat();
        [
            &b"PK\x01\x02\x14\0\x14\0"[..],
            &self.common(),
            &rest[..10],
            &offset.to_le_bytes(),
            self.name.as_bytes(),
        ]
        .concat()
    }
}

fn end(entries: u64, directory_bytes: u64, directory_offset: u64) -> Vec<u8> {
    let mut bytes = b"PK\x06\x06".to_vec();
    bytes.extend(44u64.to_le_bytes());
    bytes.extend([45, 0, 45, 0]);
    bytes.extend([0; 8]);
    bytes.extend(entries.to_le_bytes());
    bytes.extend(entries.to_le_bytes());
    bytes.extend(directory_bytes.to_le_bytes());
    bytes.extend(directory_offset.to_le_bytes());
    let record_offset = directory_offset + directory_bytes;
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend(record_offset.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([0xff; 12]);
    bytes.extend([0; 2]);
    bytes
}

fn with_directory(mut archive: Vec<u8>, headers: &[Vec<u8>]) -> Vec<u8> {
    let offset = archive.len() as u64;
    for header in headers {
        archive.extend(header);
    }
    let size = archive.len() as u64 - offset;
    archive.extend(end(headers.len() as u64, size, offset));
    archive
}

fn zeros(size_bytes: usize) -> Result<Vec<u8>, std::io::Error> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let piece = vec![0; 1 << 20];
    for _ in 0..size_bytes >> 20 {
        encoder.write_all(&piece)?;
    }
    encoder.finish()
}

fn crc32_of_zeros(size_bytes: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let piece = vec![0; 1 << 20];
    for _ in 0..size_bytes >> 20 {
        hasher.update(&piece);
    }
    hasher.finalize()
}

fn deflated(name: &str, size_bytes: usize, data: &[u8]) -> (String, u32, u32) {
    (
        name.to_owned(),
        crc32_of_zeros(size_bytes),
        data.len() as u32,
    )
}

fn overlap() -> Result<Vec<u8>, std::io::Error> {
    let data = vec![b'x'; 10 << 20];
    let crc32 = crc32fast::hash(&data);
    let names: Vec<String> = (0..50_000).map(|number| format!("{number:05}")).collect();
    let said = |name| Said {
        name,
        method: 0,
        crc32,
        compressed_bytes: 10 << 20,
        size_bytes: 10 << 20,
    };
    let archive = [said(&names[0]).local(), data].concat();
    let headers: Vec<_> = names.iter().map(|name| said(name).central(0)).collect();
    Ok(with_directory(archive, &headers))
}

/// As David Fifield's "A better zip bomb" has it: each entry's data begins with the next one's header.
fn nested() -> Result<Vec<u8>, std::io::Error> {
    let data = vec![b'x'; 1 << 20];
    let names: Vec<String> = (0..500).map(|number| format!("{number:03}")).collect();
    let header_bytes = 30 + 3;
    let mut archive = Vec::new();
    let mut headers = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let remaining = (data.len() + (names.len() - 1 - number) * header_bytes) as u32;
        let said = Said {
            name,
            method: 0,
            crc32: 0,
            compressed_bytes: remaining,
            size_bytes: remaining,
        };
        headers.push(said.central(archive.len() as u32));
        archive.extend(said.local());
    }
    archive.extend(data);
    Ok(with_directory(archive, &headers))
}

fn ratio() -> Result<Vec<u8>, std::io::Error> {
    let data = zeros(256 << 20)?;
    let (name, crc32, compressed_bytes) = deflated("zeros", 256 << 20, &data);
    let said = Said {
        name: &name,
        method: 8,
        crc32,
        compressed_bytes,
        size_bytes: 256 << 20,
    };
    Ok(with_directory(
        [said.local(), data].concat(),
        &[said.central(0)],
    ))
}

fn expansion() -> Result<Vec<u8>, std::io::Error> {
    let data = zeros(1_000 << 20)?;
    // Padded with empty blocks (RFC 1951, section 3.2.4), to stay below the ratio.
    let padding = [0, 0, 0, 0xff, 0xff].repeat(data.len() / 100);
    let data = [padding, data].concat();
    let crc32 = crc32_of_zeros(1_000 << 20);
    let mut archive = Vec::new();
    let mut headers = Vec::new();
    for number in 0..30 {
        let name = format!("{number:02}");
        let said = Said {
            name: &name,
            method: 8,
            crc32,
            compressed_bytes: data.len() as u32,
            size_bytes: 1_000 << 20,
        };
        headers.push(said.central(archive.len() as u32));
        archive.extend(said.local());
        archive.extend(&data);
    }
    Ok(with_directory(archive, &headers))
}

fn count() -> Result<Vec<u8>, std::io::Error> {
    let names: Vec<String> = (0..1_000_001)
        .map(|number| format!("{number:07}"))
        .collect();
    let mut archive = Vec::new();
    let mut headers = Vec::new();
    for name in &names {
        let said = Said {
            name,
            method: 0,
            crc32: 0,
            compressed_bytes: 0,
            size_bytes: 0,
        };
        headers.push(said.central(archive.len() as u32));
        archive.extend(said.local());
    }
    Ok(with_directory(archive, &headers))
}

fn directory() -> Result<Vec<u8>, std::io::Error> {
    let names: Vec<String> = (0..200_000)
        .map(|number| format!("{number:0>954}"))
        .collect();
    let mut archive = Vec::new();
    let mut headers = Vec::new();
    for name in &names {
        let said = Said {
            name,
            method: 0,
            crc32: 0,
            compressed_bytes: 0,
            size_bytes: 0,
        };
        headers.push(said.central(archive.len() as u32));
        archive.extend(said.local());
    }
    Ok(with_directory(archive, &headers))
}

fn understated() -> Result<Vec<u8>, std::io::Error> {
    let data = zeros(256 << 20)?;
    let (name, crc32, compressed_bytes) = deflated("small.txt", 256 << 20, &data);
    let said = Said {
        name: &name,
        method: 8,
        crc32,
        compressed_bytes,
        size_bytes: 100,
    };
    Ok(with_directory(
        [said.local(), data].concat(),
        &[said.central(0)],
    ))
}
