//! The archive reader against other tools' archives.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use dropship::archive::{ArchiveIndex, Limits, Parsed, inflate, spans};
use proptest::prelude::*;
use zip::CompressionMethod::{self, Deflated, Stored, Zstd};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

pub type Contents = Vec<(String, Bytes)>;

/// Reads all that would be deployed, in name order, as a deployment does: first the tail, then
/// spans. Every error is text here.
pub fn contents(archive: &[u8]) -> Result<Contents, String> {
    let index = index(archive)?;
    let mut contents = Contents::new();
    for span in spans(&index.entries, 64, 4_096) {
        let bytes = &archive[span.range.start as usize..span.range.end as usize];
        for entry in span.entries {
            let at = (entry.header_offset - span.range.start) as usize;
            let data = entry.data_range(&bytes[at..]).map_err(|error| error.to_string())?;
            let compressed = Bytes::copy_from_slice(&bytes[at..][data]);
            let inflated = inflate(entry, compressed).map_err(|error| error.to_string())?;
            contents.push((entry.name.to_string(), inflated));
        }
    }
    contents.sort();
    Ok(contents)
}

fn index(archive: &[u8]) -> Result<ArchiveIndex, String> {
    let mut from = archive.len().saturating_sub(1_000);
    loop {
        let parsed = ArchiveIndex::parse(archive.len() as u64, &archive[from..], "", &Limits::default());
        match parsed.map_err(|error| error.to_string())? {
            Parsed::Index(index) => return Ok(index),
            Parsed::NeedsFrom(offset) => {
                assert!(offset < from as u64, "each call gets further");
                from = offset as usize;
            }
        }
    }
}

#[derive(Clone, Debug)]
struct File {
    name: String,
    contents: Vec<u8>,
    method: CompressionMethod,
    is_zip64: bool,
}

fn file() -> impl Strategy<Value = File> {
    let byte = prop_oneof![4 => 0_u8..3, 1 => any::<u8>()];
    (
        "[a-c]{1,3}(/[.é日a-c-]{1,2}x){0,2}\\.html",
        prop::collection::vec(byte, 0..300),
        prop::sample::select(vec![Stored, Deflated, Zstd]),
        any::<bool>(),
    )
        .prop_map(|(name, contents, method, is_zip64)| File { name, contents, method, is_zip64 })
}

fn files() -> impl Strategy<Value = Vec<File>> {
    prop::collection::vec(file(), 1..8).prop_map(|mut files| {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|a, b| a.name == b.name);
        files.reverse();
        files
    })
}

fn expected(files: &[File]) -> Contents {
    let mut contents: Contents = files.iter().map(|file| (file.name.clone(), file.contents.clone().into())).collect();
    contents.sort();
    contents
}

/// Writes an archive with the `zip` crate, to a file or to a pipe.
fn written(files: &[File], comment: &str, is_streamed: bool) -> Vec<u8> {
    fn write_all<W: Write + std::io::Seek>(mut writer: ZipWriter<W>, files: &[File], comment: &str) -> W {
        writer.set_comment(comment).unwrap();
        for file in files {
            let options = SimpleFileOptions::default().compression_method(file.method).large_file(file.is_zip64);
            writer.start_file(&*file.name, options).unwrap();
            writer.write_all(&file.contents).unwrap();
        }
        writer.finish().unwrap()
    }
    if is_streamed {
        write_all(ZipWriter::new_stream(Vec::new()), files, comment).into_inner()
    } else {
        write_all(ZipWriter::new(Cursor::new(Vec::new())), files, comment).into_inner()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_the_zip_crate_writes_is_read_equally(
        files in files(),
        comment in "[a-z ]{0,20}",
        is_streamed in any::<bool>(),
    ) {
        let archive = written(&files, &comment, is_streamed);
        prop_assert_eq!(contents(&archive), Ok(expected(&files)));
    }

    #[test]
    fn a_changed_byte_is_refused_or_changes_nothing(
        files in files(),
        is_streamed in any::<bool>(),
        at in any::<prop::sample::Index>(),
        flipped in 1_u8..=255,
    ) {
        let mut archive = written(&files, "built by CI", is_streamed);
        let at = at.index(archive.len());
        archive[at] ^= flipped;
        if let Ok(contents) = contents(&archive) {
            prop_assert_eq!(contents, expected(&files), "byte {}", at);
        }
    }

    #[test]
    fn a_piece_moved_elsewhere_never_panics(
        files in files(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        length in 1_usize..64,
    ) {
        let mut archive = written(&files, "", false);
        let from = from.index(archive.len());
        let piece = archive[from..archive.len().min(from + length)].to_vec();
        let to = to.index(archive.len() - piece.len() + 1);
        archive[to..to + piece.len()].copy_from_slice(&piece);
        let _ = contents(&archive);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        directory_bytes in 0_u32..200,
        directory_offset in 0_u32..200,
        count in 0_u16..4,
    ) {
        let _ = contents(&bytes);
        // With an end record, so that the directory is parsed too.
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend(count.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(directory_bytes.to_le_bytes());
        bytes.extend(directory_offset.to_le_bytes());
        bytes.extend([0, 0]);
        let _ = contents(&bytes);
    }
}

#[test]
fn every_changed_byte_of_one_archive_is_refused_or_changes_nothing() {
    let file = |name: &str, method, is_zip64| File {
        name: name.to_owned(),
        contents: b"hello hello hello hello".to_vec(),
        method,
        is_zip64,
    };
    let files = [
        file("index.html", Deflated, false),
        file("a/é.html", Stored, false),
        file("b.html", Deflated, true),
        file("c.html", Zstd, false),
    ];
    for is_streamed in [false, true] {
        let archive = written(&files, "", is_streamed);
        assert_eq!(contents(&archive), Ok(expected(&files)));
        for at in 0..archive.len() {
            for bit in 0..8 {
                let mut changed = archive.clone();
                changed[at] ^= 1 << bit;
                if let Ok(contents) = contents(&changed) {
                    assert_eq!(contents, expected(&files), "byte {at}, bit {bit}");
                }
            }
        }
    }
}

/// A directory's header of a stored file, all of whose numbers are in the ZIP64 field.
fn zip64_header(name: &str, size_bytes: u64, header_offset: u64) -> Vec<u8> {
    let mut header = b"PK\x01\x02\x2d\x03\x2d\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend(0_u32.to_le_bytes());
    header.extend([0xff; 8]);
    header.extend((name.len() as u16).to_le_bytes());
    header.extend(28_u16.to_le_bytes());
    header.extend([0; 10]);
    header.extend([0xff; 4]);
    header.extend(name.as_bytes());
    header.extend(b"\x01\0\x18\0");
    for value in [size_bytes, size_bytes, header_offset] {
        header.extend(value.to_le_bytes());
    }
    header
}

/// The ZIP64 end of an archive.
fn zip64_end(count: u64, directory_bytes: u64, directory_offset: u64) -> Vec<u8> {
    let mut end = b"PK\x06\x06".to_vec();
    end.extend(44_u64.to_le_bytes());
    end.extend(b"\x2d\x03\x2d\0\0\0\0\0\0\0\0\0");
    for value in [count, count, directory_bytes, directory_offset] {
        end.extend(value.to_le_bytes());
    }
    end.extend(b"PK\x06\x07\0\0\0\0");
    end.extend((directory_offset + directory_bytes).to_le_bytes());
    end.extend(b"\x01\0\0\0PK\x05\x06\0\0\0\0");
    end.extend([0xff; 12]);
    end.extend([0, 0]);
    end
}

#[test]
fn sizes_and_offsets_past_4_gib_are_read() {
    const LARGE: u64 = (5 << 30) + 1;
    let spans_of = |sizes: &[u64]| {
        let mut offset = 0;
        let sized = sizes.iter().enumerate().map(|(number, size)| {
            let start = offset;
            // Local header, a name of one letter, a ZIP64 field of two sizes.
            offset += 30 + 1 + 20 + size;
            (char::from(b'a' + number as u8).to_string(), *size, start)
        });
        let files: Vec<(String, u64, u64)> = sized.collect();
        (files, offset)
    };
    let before = (u64::from(u32::MAX) - 51) - 51;
    // The third starts at 4 GiB - 1, the fourth 51 bytes behind, the fifth far behind.
    let (files, directory_offset) = spans_of(&[0, before, 0, LARGE, 7]);
    assert_eq!(files[2].2, u64::from(u32::MAX));
    let mut tail: Vec<u8> = files.iter().flat_map(|(name, size, offset)| zip64_header(name, *size, *offset)).collect();
    let directory_bytes = tail.len() as u64;
    tail.extend(zip64_end(files.len() as u64, directory_bytes, directory_offset));
    // Zeros where the last entry's end would be.
    let missing = 70_000 - tail.len();
    tail.splice(0..0, std::iter::repeat_n(0, missing));
    let archive_bytes = directory_offset + tail.len() as u64 - missing as u64;
    let parsed = ArchiveIndex::parse(archive_bytes, &tail, "", &Limits::default());
    let Ok(Parsed::Index(index)) = parsed else { panic!("{parsed:?}") };
    let read: Vec<_> =
        index.entries.iter().map(|entry| (entry.name.to_string(), entry.size_bytes, entry.header_offset)).collect();
    assert_eq!(read, files);
    let spans = spans(&index.entries, 4_096, 1 << 20);
    let ranges: Vec<_> = spans.iter().map(|span| span.range.clone()).collect();
    let starts: Vec<u64> = files.iter().map(|(_, _, start)| *start).collect();
    let alone = |number: usize| starts[number]..starts[number + 1];
    let last = starts[4]..directory_offset;
    assert_eq!(ranges, [alone(0), alone(1), alone(2), alone(3), last]);

    // The same with a limit that the large one is over.
    let limits = Limits { max_expanded_bytes: LARGE, ..Limits::default() };
    let refused = ArchiveIndex::parse(archive_bytes, &tail, "", &limits);
    assert!(refused.unwrap_err().to_string().contains("MAX_ARCHIVE_BYTES"));
}

#[test]
fn a_directory_of_200_mb_and_two_million_entries_are_refused_by_the_end_record_alone() {
    for (count, bytes, words) in
        [(900_000, 200_000_000, "central directory has 200000000 bytes"), (2_000_000, 100_000_000, "MAX_ENTRIES")]
    {
        let offset = 1 << 30;
        let mut tail = vec![0; 70_000];
        tail.extend(zip64_end(count, bytes, offset));
        let archive_bytes = offset + bytes + 98;
        let refused = ArchiveIndex::parse(archive_bytes, &tail, "", &Limits::default());
        let reason = refused.unwrap_err().to_string();
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn entries_that_share_their_data_are_refused() {
    // Each of 60,000 entries would expand to the same megabyte, all but for its name.
    let count = 60_000_u64;
    let mut tail = Vec::new();
    for number in 0..count {
        tail.extend(zip64_header(&format!("{number:05}"), 1 << 20, number));
    }
    let directory_bytes = tail.len() as u64;
    let offset = 2 << 20;
    tail.extend(zip64_end(count, directory_bytes, offset));
    let refused = ArchiveIndex::parse(offset + tail.len() as u64, &tail, "", &Limits::default());
    let limits = refused.unwrap_err().to_string();
    // 60,000 MiB are over the limit before that; without it, the overlap is what is wrong.
    assert!(limits.contains("MAX_ARCHIVE_BYTES"), "{limits}");
    let limits = Limits { max_expanded_bytes: u64::MAX, ..Limits::default() };
    let refused = ArchiveIndex::parse(offset + tail.len() as u64, &tail, "", &limits);
    let reason = refused.unwrap_err().to_string();
    assert!(reason.contains("overlaps"), "{reason}");
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

/// A small site with an empty file, a folder, names in UTF-8 and a dot folder.
pub fn site(folder: &Path) -> Contents {
    let numbers: String = (0..5_000).map(|number| format!("{number} ")).collect();
    let mut contents: Contents = vec![
        ("index.html".into(), "<p>hello".into()),
        ("empty.txt".into(), Bytes::new()),
        ("assets/numbers.txt".into(), numbers.into()),
        ("assets/é/日本.svg".into(), "<svg/>".into()),
        (".well-known/security.txt".into(), "Contact:".into()),
    ];
    for (name, bytes) in &contents {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    contents.sort();
    contents
}

/// Without the contents in the message: they are long.
pub fn assert_same(archive: &[u8], site: &Contents, context: &str) {
    let read = contents(archive);
    assert!(read.as_ref() == Ok(site), "{context}: {:?}", read.err());
}

/// Whether a tool can be started; says so when not.
pub fn is_present(tool: &str) -> bool {
    let is_present = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_present {
        eprintln!("skipped: `{tool}` is not installed");
    }
    is_present
}

pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

#[test]
fn what_pythons_zipfile_writes_is_read_equally() {
    const SCRIPT: &str = r#"
import io, os, sys, zipfile

class Pipe(io.RawIOBase):
    def __init__(self): self.parts = []
    def writable(self): return True
    def write(self, part): self.parts.append(bytes(part)); return len(part)

folder, method, streamed, zip64 = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4] == "1"
target = Pipe() if streamed else io.BytesIO()
with zipfile.ZipFile(target, "w", method) as archive:
    archive.comment = b"built by CI"
    for root, folders, files in os.walk(folder):
        if root != folder:
            archive.write(root, os.path.relpath(root, folder))
        for name in files:
            path = os.path.join(root, name)
            info = zipfile.ZipInfo.from_file(path, os.path.relpath(path, folder))
            info.compress_type = method
            with open(path, "rb") as file, archive.open(info, "w", force_zip64=zip64) as entry:
                entry.write(file.read())
sys.stdout.buffer.write(b"".join(target.parts) if streamed else target.getvalue())
"#;
    if !is_present("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    for method in ["0", "8"] {
        for streamed in ["0", "1"] {
            for zip64 in ["0", "1"] {
                let archive = run(Command::new("python3")
                    .args(["-c", SCRIPT])
                    .arg(folder.path())
                    .args([method, streamed, zip64]));
                let context = format!("method {method}, streamed {streamed}, zip64 {zip64}");
                assert_same(&archive, &site, &context);
            }
        }
    }
}

#[test]
fn what_info_zip_writes_is_read_equally() {
    if !is_present("zip") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    for options in [&["-r"][..], &["-r0"], &["-rX"], &["-rD"], &["-r", "-fz"], &["-r", "-fd"]] {
        // Names without the UTF-8 flag in one locale, with it or with a Unicode path in another.
        for locale in ["C", "C.UTF-8"] {
            for to_pipe in [false, true] {
                // Forced ZIP64 to a pipe lacks its end record: Python cannot open it either.
                if to_pipe && options.contains(&"-fz") {
                    continue;
                }
                let mut command = Command::new("zip");
                command.current_dir(&folder).env("LC_ALL", locale).arg("-q").args(options);
                let archive = if to_pipe {
                    run(command.args(["-", "."]))
                } else {
                    let target = tempfile::tempdir().unwrap();
                    let target = target.path().join("site.zip");
                    run(command.arg(&target).arg("."));
                    fs::read(target).unwrap()
                };
                assert_same(&archive, &site, &format!("{options:?} {locale} {to_pipe}"));
            }
        }
    }
}

#[test]
fn what_javas_jar_tool_writes_is_read_equally() {
    if !is_present("jar") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    for options in ["-cM", "-cM0"] {
        let archive =
            run(Command::new("jar").args([options, "-C"]).arg(folder.path()).arg(".").env("LC_ALL", "C.UTF-8"));
        assert_same(&archive, &site, options);
    }
}

/// The labelled archives, or `None` where they are not at hand.
pub fn corpus(label: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let shared = std::env::var_os("DROPSHIP_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = shared.join("corpora/malo/zip").join(label);
    let Ok(files) = fs::read_dir(&folder) else {
        eprintln!("skipped: no archives in {}", folder.display());
        return None;
    };
    let mut archives: Vec<_> = files
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    archives.sort();
    assert!(!archives.is_empty());
    Some(archives)
}

#[test]
fn every_archive_of_the_corpus_to_accept_is_read_equally() {
    for (name, archive) in corpus("accept").unwrap_or_default() {
        assert_eq!(contents(&archive), Ok(read_by_the_zip_crate(&archive)), "{name}");
    }
}

#[test]
fn every_archive_of_the_corpus_to_reject_is_refused() {
    for label in ["reject", "malicious"] {
        for (name, archive) in corpus(label).unwrap_or_default() {
            let contents = contents(&archive);
            assert!(contents.is_err(), "{label}/{name}: {contents:?}");
        }
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
use Verdict::{Deployed, Refused};

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

#[test]
fn every_iffy_archive_of_the_corpus_is_decided() {
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
