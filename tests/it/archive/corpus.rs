//! A corpus of archives, labelled by how a careful reader treats them.

use std::fs;

use Verdict::{Deployed, Refused};

use super::{Contents, contents};
use crate::build::unzipped;
use crate::shared_data::shared;

/// Returns the names and bytes of the archives with a label, or `None` if the corpus is missing.
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
        assert_eq!(contents(&archive), Ok(contents_by_the_zip_crate(&archive)), "{name}");
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

/// Our verdicts on archives that are odd but valid, by name; the name may end in `*`.
const IFFY: &[(&str, Verdict, &str)] = &[
    ("8bitcomment", Refused, "the last end signature is inside the comment, and Python uses it"),
    ("comment_cdsize_*", Refused, "the sizes in the directory and in the local header differ"),
    ("crc_collision_*", Deployed, "each entry is compared only with the object of its own key"),
    ("crc_zero_nonempty", Deployed, "zero is a valid CRC-32"),
    ("data_descriptor_cd_zero", Refused, "the directory says that the entry is empty, but it has contents"),
    ("data_descriptor_flag_off*", Refused, "no flag announces the data descriptor"),
    ("data_descriptor_no_sig", Refused, "four zeros replace the signature"),
    (
        "data_descriptor_zero*",
        Refused,
        "the directory and the descriptor say that the entry is empty, but it has contents",
    ),
    ("extra3byte", Deployed, "three bytes are too short for an extra field, so every reader ignores them"),
    ("non_ascii_original_name", Deployed, "the Unicode path field contains the name"),
    ("nosubdir", Deployed, "a folder needs no entry of its own"),
    ("prefix*", Refused, "the offsets are wrong; a reader that trusts them finds other bytes"),
    ("store_cdsize_*", Refused, "the sizes in the directory and in the local header differ"),
    ("suffix_not_comment", Refused, "bytes follow the end record, perhaps another archive"),
    ("trailing_slash_attr_mismatch", Refused, "a folder by name, a file by attribute and size"),
    ("zip64_eocd_extensible_data", Refused, "only encrypted directories use this data"),
    ("zip64_extra_too_long", Refused, "a surplus ZIP64 value contradicts the header"),
    ("zip64_extra_too_short", Refused, "the compressed size is missing"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Deployed,
    Refused,
}

/// Returns the pattern, the verdict and the reason that `IFFY` has for an archive.
fn iffy_row(name: &str) -> &'static (&'static str, Verdict, &'static str) {
    let stem = name.strip_suffix(".zip").unwrap();
    let is_match = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => stem.starts_with(start),
        None => stem == pattern,
    };
    let row = IFFY.iter().find(|(pattern, ..)| is_match(pattern));
    row.unwrap_or_else(|| panic!("{name} has no verdict"))
}

/// Returns our verdict on an archive with the label `iffy`.
pub fn iffy_verdict(name: &str) -> Verdict {
    iffy_row(name).1
}

/// Returns what the `zip` crate reads, as the reference for archives of other tools.
fn contents_by_the_zip_crate(archive: &[u8]) -> Contents {
    unzipped(archive).into_iter().map(|(name, body)| (name, body.into())).collect()
}
