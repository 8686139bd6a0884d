//! Builds of a site, packed by the `zip` crate: the code under test has its own reader.

use std::collections::BTreeMap;
use std::io::{Cursor, Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The files of a build, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Returns a build of these files.
pub fn files<const N: usize>(files: [(&str, &str); N]) -> Files {
    files.map(|(name, body)| (name.to_owned(), body.as_bytes().to_vec())).into()
}

/// Returns bytes that do not compress.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Packs files, each a name and a body, in the given order.
pub fn zipped(files: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<[u8]>)>) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, body) in files {
        archive.start_file(name.as_ref(), SimpleFileOptions::default()).expect("the names are short and unique");
        archive.write_all(body.as_ref()).expect("memory is always writable");
    }
    archive.finish().expect("the entries are small").into_inner()
}

/// Packs a build without compression.
pub fn stored(files: &Files) -> Vec<u8> {
    packed(files, CompressionMethod::Stored, false)
}

/// Packs a build with one compression method, into a file or into a stream that cannot seek.
pub fn packed(files: &Files, method: CompressionMethod, is_streamed: bool) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(method);
    let entries = files.iter().map(|(name, body)| Entry { name, body, options });
    packed_entries(entries, "", is_streamed)
}

/// An entry of an archive, with its own options.
pub struct Entry<'f> {
    pub name: &'f str,
    pub body: &'f [u8],
    pub options: SimpleFileOptions,
}

/// Packs entries in the given order, into a file or into a stream that cannot seek.
pub fn packed_entries<'f>(entries: impl Iterator<Item = Entry<'f>>, comment: &str, is_streamed: bool) -> Vec<u8> {
    fn write<'f, W: Write + Seek>(mut zip: ZipWriter<W>, entries: impl Iterator<Item = Entry<'f>>, comment: &str) -> W {
        zip.set_comment(comment).unwrap();
        for entry in entries {
            zip.start_file(entry.name, entry.options).unwrap();
            zip.write_all(entry.body).unwrap();
        }
        zip.finish().unwrap()
    }
    if is_streamed {
        write(ZipWriter::new_stream(Vec::new()), entries, comment).into_inner()
    } else {
        write(ZipWriter::new(Cursor::new(Vec::new())), entries, comment).into_inner()
    }
}

/// Returns the files of a packed build, as the `zip` crate reads them.
pub fn unzipped(archive: &[u8]) -> Files {
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut files = Files::new();
    for number in 0..zip.len() {
        let mut entry = zip.by_index(number).unwrap();
        if entry.is_file() {
            let name = entry.name().unwrap().into_owned();
            let mut body = Vec::new();
            std::io::copy(&mut entry, &mut body).unwrap();
            files.insert(name, body);
        }
    }
    files
}

/// Replaces the first `times` occurrences of `old`, which must exist.
pub fn replaced(mut archive: Vec<u8>, old: &[u8], new: &[u8], times: usize) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    for _ in 0..times {
        let at = archive.windows(old.len()).position(|it| it == old);
        archive[at.unwrap()..][..new.len()].copy_from_slice(new);
    }
    archive
}
