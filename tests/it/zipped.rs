//! Archives for tests, packed by the `zip` crate: the code under test has its own reader.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Packs files, each a name and a body, in the given order.
pub fn zipped(files: &[(&str, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, body) in files {
        archive.start_file(*name, SimpleFileOptions::default()).expect("the names are short and unique");
        archive.write_all(body.as_ref()).expect("memory is always writable");
    }
    archive.finish().expect("the entries are small").into_inner()
}
