//! The archives of a labelled corpus.

use std::fs;
use std::io::{Cursor, Read};

use Verdict::{Deployed, Refused};
use zip::ZipArchive;

use super::{Contents, contents};
use crate::shared_data::shared;

/// The labelled archives, or `None` where they are not at hand.
pub fn corpus(label: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let folder = shared(&format!("corpora/malo/zip/{label}"))?;
    let files = fs::read_dir(folder).unwrap();
    let mut archives: Vec<_> = files
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    archives.sort();
    assert!(!archives.is_empty());
    Some(archives)
}

#[test]
fn every_good_archive_of_the_corpus_is_read_correctly() {
    for (name, archive) in corpus("accept").unwrap_or_default() {
        assert_eq!(contents(&archive), Ok(read_by_the_zip_crate(&archive)), "{name}");
    }
}

#[test]
fn every_bad_archive_of_the_corpus_is_refused() {
    for label in ["reject", "malicious"] {
        for (name, archive) in corpus(label).unwrap_or_default() {
            let contents = contents(&archive);
            assert!(contents.is_err(), "{label}/{name}: {contents:?}");
        }
    }
}

#[test]
fn every_iffy_archive_of_the_corpus_gets_its_verdict() {
    for (name, archive) in corpus("iffy").unwrap_or_default() {
        let (_, verdict, reason) = iffy_row(&name);
        let read = match contents(&archive) {
            Ok(contents) => {
                assert!(!contents.is_empty());
                Deployed
            }
            Err(_) => Refused,
        };
        assert_eq!(read, *verdict, "{name}: {reason}; {:?}", contents(&archive));
    }
}

/// Our verdict on an archive that is weird and yet valid; the name may end in `*`.
const IFFY: &[(&str, Verdict, &str)] = &[
    ("8bitcomment", Refused, "the last end signature is inside the comment, where Python looks"),
    ("comment_cdsize_*", Refused, "the directory's sizes are not the local header's"),
    ("crc_collision_*", Deployed, "contents are compared by size and CRC-32, each is its own"),
    ("crc_zero_nonempty", Deployed, "zero is a CRC-32 like any other"),
    ("data_descriptor_cd_zero", Refused, "the directory denies the contents that are there"),
    ("data_descriptor_flag_off*", Refused, "nothing announces the data descriptor that is there"),
    ("data_descriptor_no_sig", Refused, "four zeros stand where the signature would"),
    ("data_descriptor_zero*", Refused, "directory and descriptor deny the contents"),
    ("extra3byte", Deployed, "three bytes cannot hold an extra field, no reader finds one"),
    ("non_ascii_original_name", Deployed, "the Unicode path field says what the name is"),
    ("nosubdir", Deployed, "a folder needs no entry of its own"),
    ("prefix*", Refused, "the offsets are not true; a reader that trusts them finds other bytes"),
    ("store_cdsize_*", Refused, "the directory's sizes are not the local header's"),
    ("suffix_not_comment", Refused, "bytes follow the end, perhaps another archive"),
    ("trailing_slash_attr_mismatch", Refused, "a folder by name, a file by attribute and size"),
    ("zip64_eocd_extensible_data", Refused, "only an encrypted directory has use for that data"),
    ("zip64_extra_too_long", Refused, "a surplus ZIP64 value contradicts the header"),
    ("zip64_extra_too_short", Refused, "the compressed size is nowhere"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Deployed,
    Refused,
}

fn iffy_row(name: &str) -> &'static (&'static str, Verdict, &'static str) {
    let stem = name.strip_suffix(".zip").unwrap();
    let is_meant = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => stem.starts_with(start),
        None => stem == pattern,
    };
    let row = IFFY.iter().find(|(pattern, ..)| is_meant(pattern));
    row.unwrap_or_else(|| panic!("{name} is not decided"))
}

/// Our verdict on an archive of the corpus' iffy ones.
pub fn iffy_verdict(name: &str) -> Verdict {
    iffy_row(name).1
}

/// What the `zip` crate reads; the oracle for archives that other tools wrote.
fn read_by_the_zip_crate(archive: &[u8]) -> Contents {
    let mut reader = ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut contents = Contents::new();
    for number in 0..reader.len() {
        let mut file = reader.by_index(number).unwrap();
        if file.is_dir() {
            continue;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        contents.push((file.name().unwrap().into_owned(), bytes.into()));
    }
    contents.sort();
    contents
}
