//! The central directory: one header after the other, then the rules between entries.

use std::sync::Arc;

use icu_normalizer::ComposingNormalizerBorrowed;

use super::end::DirectoryPlace;
use super::extra::{Extra, Place};

use super::fields::Fields;
use super::header::{CENTRAL_HEADER_BYTES, CentralHeader, Kind};
use super::layout::{Layout, LayoutError};
use super::name::{self, NameDecodeError, NameEncoding, shown};
use super::{ArchiveIndex, Entry, Limits, Method, RawName, Rejection, flag, zstd};

impl DirectoryPlace {
    /// Refuses a directory over the limits, before it is read.
    pub(super) fn check(&self, limits: &Limits) -> Result<(), Rejection> {
        if self.entry_count > limits.max_entries {
            return Err(Rejection::TooManyEntries { count: self.entry_count, max: limits.max_entries });
        }
        if self.size_bytes > limits.max_directory_bytes {
            return Err(Rejection::DirectoryTooLarge {
                size_bytes: self.size_bytes,
                max_bytes: limits.max_directory_bytes,
            });
        }
        if self.size_bytes / CENTRAL_HEADER_BYTES < self.entry_count {
            return Err(Rejection::DirectoryMalformed { count: self.entry_count });
        }
        Ok(())
    }
}

/// Reads the directory, whose bytes and number of entries are within the limits.
pub(super) fn read(
    directory: &[u8],
    place: DirectoryPlace,
    root: &str,
    limits: &Limits,
) -> Result<ArchiveIndex, Rejection> {
    let malformed = || Rejection::DirectoryMalformed { count: place.entry_count };
    let mut reader = Reader::new(root, limits, place);
    let mut fields = Fields::new(directory);
    for _ in 0..place.entry_count {
        let header = CentralHeader::parse(&mut fields).ok_or_else(malformed)?;
        reader.add(&header)?;
    }
    if fields.remaining() > 0 {
        return Err(malformed());
    }
    reader.finish(directory, place)
}

/// Collects the headers.
struct Reader<'a> {
    root: Arc<str>,
    limits: &'a Limits,
    entries: Vec<Entry>,
    folders: Vec<Box<str>>,
    layout: Layout,
    left_out: u64,
    expanded_bytes: u64,
}

impl<'a> Reader<'a> {
    fn new(root: &str, limits: &'a Limits, place: DirectoryPlace) -> Self {
        let entry_count = place.entry_count as usize;
        Self {
            root: Arc::from(root),
            limits,
            entries: Vec::with_capacity(entry_count),
            folders: Vec::new(),
            layout: Layout::new(entry_count, place.offset),
            left_out: 0,
            expanded_bytes: 0,
        }
    }

    fn add(&mut self, header: &CentralHeader<'_>) -> Result<(), Rejection> {
        let entry = || shown(header.name);
        let extra_field = |problem| Rejection::ExtraField { entry: shown(header.name), problem };
        let extra = Extra::parse(header.extra).map_err(extra_field)?;
        let place = header.narrow.widen(extra.zip64).map_err(extra_field)?;
        if place.disk != 0 {
            return Err(Rejection::OtherDisk { entry: entry() });
        }
        let encoding = NameEncoding {
            is_utf8: header.flags & flag::UTF8 != 0,
            made_on_unix: header.is_made_on_unix(),
            unicode_path: extra.unicode_path,
        };
        let full_name = encoding.decode(header.name).map_err(|error| match error {
            NameDecodeError::UnknownEncoding => Rejection::NameEncoding { entry: entry() },
            NameDecodeError::UnicodePath(problem) => Rejection::UnicodePath { entry: entry(), problem },
        })?;
        name::check(full_name)
            .map_err(|problem| Rejection::UnsafeName { entry: shown(full_name.as_bytes()), problem })?;
        self.layout
            .add(header.name.len(), header.flags, place)
            .ok_or_else(|| Rejection::SpanOutside { entry: entry() })?;

        let is_litter = name::is_litter(full_name);
        let Some(name) = full_name.strip_prefix(&*self.root).filter(|_| !is_litter) else {
            self.left_out += u64::from(is_litter && !full_name.ends_with('/'));
            return Ok(());
        };
        let kind = header.kind();
        if kind == Kind::Special {
            return Err(Rejection::SpecialFile { entry: entry() });
        }
        if header.flags & flag::ENCRYPTED != 0 {
            return Err(Rejection::Encrypted { entry: entry() });
        }
        if name.is_empty() || name.ends_with('/') {
            // An empty deflate stream has two bytes; Java's tools may write it for a folder.
            if kind == Kind::File || place.size_bytes != 0 || place.compressed_bytes > 2 {
                return Err(Rejection::FolderMismatch { entry: entry() });
            }
            self.folders.push(name.trim_end_matches('/').into());
            return Ok(());
        }
        if kind == Kind::Folder {
            return Err(Rejection::FolderMismatch { entry: entry() });
        }
        if name.len() > self.limits.max_name_bytes {
            return Err(Rejection::NameTooLong {
                entry: entry(),
                length_bytes: name.len(),
                max_bytes: self.limits.max_name_bytes,
            });
        }
        let method = self.check_contents(header, place)?;
        let raw_name = if full_name.as_bytes() != header.name {
            Some(RawName::Other(header.name.into()))
        } else if self.root.is_empty() {
            None
        } else {
            Some(RawName::UnderRoot(Arc::clone(&self.root)))
        };
        self.entries.push(Entry {
            name: name.into(),
            size_bytes: place.size_bytes,
            compressed_bytes: place.compressed_bytes,
            crc32: header.crc32,
            method,
            header_offset: place.header_offset,
            end_offset: 0,
            flags: header.flags,
            raw_name: raw_name.map(Box::new),
        });
        Ok(())
    }

    /// Checks how a file is compressed and how far it expands.
    fn check_contents(&mut self, header: &CentralHeader<'_>, place: Place) -> Result<Method, Rejection> {
        const SMALL_BYTES: u64 = 1 << 20;
        let entry = || shown(header.name);
        let method = match header.method {
            0 => Method::Stored,
            8 if header.flags & flag::PATCH == 0 => Method::Deflate,
            93 => Method::Zstd,
            method => {
                return Err(Rejection::UnsupportedMethod { entry: entry(), method });
            }
        };
        // What cannot be compressed is stored in blocks, with a few bytes for each. No packer makes twice as much of
        // it; endless empty blocks would, and what is small is held whole with its compressed data.
        let longest = place.size_bytes.saturating_mul(2).saturating_add(64 << 10);
        let is_possible = match method {
            Method::Stored => place.size_bytes == place.compressed_bytes,
            // The shortest stream, of nothing, has two bytes (RFC 1951 section 3.2.6).
            Method::Deflate => (2..=longest).contains(&place.compressed_bytes),
            Method::Zstd => (zstd::FRAME_BYTES_MIN..=longest).contains(&place.compressed_bytes),
        };
        if !is_possible {
            return Err(Rejection::ImpossibleSizes { entry: entry() });
        }
        if place.size_bytes > SMALL_BYTES
            && place.size_bytes > place.compressed_bytes.saturating_mul(self.limits.max_ratio)
        {
            return Err(Rejection::RatioTooHigh {
                entry: entry(),
                ratio: place.size_bytes.div_ceil(place.compressed_bytes.max(1)),
                max: self.limits.max_ratio,
            });
        }
        self.expanded_bytes = self.expanded_bytes.saturating_add(place.size_bytes);
        if self.expanded_bytes > self.limits.max_expanded_bytes {
            return Err(Rejection::ExpandsTooFar { max_bytes: self.limits.max_expanded_bytes });
        }
        Ok(method)
    }

    fn finish(mut self, directory: &[u8], place: DirectoryPlace) -> Result<ArchiveIndex, Rejection> {
        let ends = self.layout.close().map_err(|error| layout_rejection(directory, &error))?;
        for entry in &mut self.entries {
            entry.end_offset = ends.of(entry.header_offset);
        }
        self.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        check_names(&self.entries, &self.folders)?;
        let headers_file =
            self.entries.binary_search_by(|entry| (*entry.name).cmp("_headers")).ok().map(|at| self.entries.remove(at));
        if self.entries.is_empty() {
            return Err(if self.root.is_empty() {
                Rejection::Empty
            } else {
                Rejection::RootNotFound { root: self.root.to_string() }
            });
        }
        let mut warnings = Vec::new();
        if self.root.is_empty() && headers_file.is_none() {
            warnings.extend(wrapper_folder(&self.entries).map(|folder| {
                format!(
                    "all files lie in the folder `{folder}` and none at the root; to deploy what \
                     is inside it, set ARCHIVE_ROOT to `{folder}`"
                )
            }));
        }
        warnings.extend(normalisation_warning(&self.entries));
        Ok(ArchiveIndex {
            entries: self.entries,
            headers_file,
            left_out: self.left_out,
            warnings,
            directory_bytes: place.size_bytes,
        })
    }
}

fn layout_rejection(directory: &[u8], error: &LayoutError) -> Rejection {
    let entry = |number| {
        let mut fields = Fields::new(directory);
        let mut headers = std::iter::from_fn(|| CentralHeader::parse(&mut fields));
        shown(headers.nth(number).map_or(&[], |header| header.name))
    };
    match *error {
        LayoutError::Overlap(number) => Rejection::SpanOverlap { entry: entry(number) },
        LayoutError::Unclaimed(number) => Rejection::UnclaimedBytes { entry: entry(number) },
    }
}

/// Refuses two entries of one name, and a file that is a folder too; `entries` are sorted.
fn check_names(entries: &[Entry], folders: &[Box<str>]) -> Result<(), Rejection> {
    // Sorted names that start with the same one follow it at once, so that the names which the
    // current one starts with, each longer than the one before, are all that has to be kept.
    let mut starts: Vec<&Entry> = Vec::new();
    for entry in entries {
        let name = &*entry.name;
        while starts.pop_if(|start| !name.starts_with(&*start.name)).is_some() {}
        for start in &starts {
            match name.as_bytes().get(start.name.len()) {
                None => {
                    return Err(Rejection::DuplicateName { entry: entry.shown_name() });
                }
                Some(b'/') => return Err(start.file_and_folder()),
                Some(_) => {}
            }
        }
        starts.push(entry);
    }
    for folder in folders {
        if let Ok(at) = entries.binary_search_by(|entry| entry.name.cmp(folder)) {
            return Err(entries[at].file_and_folder());
        }
    }
    Ok(())
}

impl Entry {
    fn file_and_folder(&self) -> Rejection {
        Rejection::FileAndFolder { entry: self.shown_name() }
    }
}

/// The one top folder that everything lies in, with its slash.
fn wrapper_folder(entries: &[Entry]) -> Option<&str> {
    // Sorted: when the first and the last share a folder, all do.
    let first = &entries.first()?.name;
    let (folder, _) = first.split_at(first.find('/')? + 1);
    entries.last()?.name.starts_with(folder).then_some(folder)
}

/// Names are deployed as they are. Two that only differ in how their accents are composed look the
/// same, and a browser asks for the one that the link was typed in.
fn normalisation_warning(entries: &[Entry]) -> Option<String> {
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let mut names: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.name.is_ascii())
        .map(|entry| (nfc.normalize(&entry.name), entry))
        .collect();
    names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut twins = names.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let twin = twins.next()?[0].1.shown_name();
    Some(match twins.count() {
        0 => format!(
            "`{twin}` is there twice, differing only in Unicode normalisation; a link reaches one \
             of them"
        ),
        more => format!(
            "`{twin}` and {more} other names are there twice, differing only in Unicode \
             normalisation; a link reaches one of each"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::NameProblem;
    use super::super::sample::{File, Zip, parse_root, unicode_path_field, zip};
    use super::*;

    fn names(zip: &Zip) -> Vec<String> {
        let index = zip.parse().unwrap();
        let names = index.entries.into_iter().map(|entry| entry.name.into());
        names.collect()
    }

    fn with_root(zip: &Zip, root: &str) -> Result<ArchiveIndex, Rejection> {
        parse_root(&zip.bytes(), root, &Limits::default())
    }

    fn with_limits(zip: &Zip, limits: Limits) -> Result<ArchiveIndex, Rejection> {
        parse_root(&zip.bytes(), "", &limits)
    }

    fn page() -> File {
        File::stored("index.html", b"<p>hello")
    }

    #[test]
    fn entries_are_sorted_by_the_bytes_of_their_names() {
        let zip = zip([
            File::stored("é.html", b""),
            File::stored("z.html", b""),
            File::stored("a/b", b""),
            File::stored("a-b", b""),
            File::stored(".well-known/security.txt", b""),
        ]);
        insta::assert_debug_snapshot!(names(&zip), @r#"
        [
            ".well-known/security.txt",
            "a-b",
            "a/b",
            "z.html",
            "é.html",
        ]
        "#);
    }

    #[test]
    fn an_entry_has_what_its_header_says() {
        let zip = zip([File::deflated("index.html", &[b'x'; 1_000]), page().clone()]);
        let mut renamed = zip.clone();
        renamed.files[1] = File::stored("other.html", b"other");
        let index = renamed.parse().unwrap();
        let [entry, other] = &index.entries[..] else { panic!("{index:?}") };
        assert_eq!(entry.size_bytes, 1_000);
        assert_eq!(entry.compressed_bytes, zip.files[0].data.len() as u64);
        assert_eq!(entry.crc32, crc32fast::hash(&[b'x'; 1_000]));
        assert_eq!(entry.method, Method::Deflate);
        assert_eq!((entry.header_offset, entry.end_offset), (0, other.header_offset));
        assert_eq!(other.method, Method::Stored);
        assert_eq!(other.end_offset - other.header_offset, 30 + 10 + 5);
        assert_eq!(index.directory_bytes, 2 * (46 + 10));
    }

    #[test]
    fn names_that_only_look_different_are_deployed_with_a_warning() {
        let composed = File::stored("caf\u{e9}.html", b"");
        let decomposed = File::stored("cafe\u{301}.html", b"");
        let other = File::stored("cafe.html", b"");
        let apart = zip([composed.clone(), other.clone()]);
        assert_eq!(apart.parse().unwrap().warnings, [] as [String; 0]);
        let twins = zip([composed, other, decomposed]);
        let index = twins.parse().unwrap();
        assert_eq!(index.entries.len(), 3);
        assert_eq!(index.warnings.len(), 1);
        assert!(index.warnings[0].contains("normalisation"), "{index:?}");
    }

    #[test]
    fn litter_is_left_out_and_counted_whatever_it_is() {
        let link = |file: File| file.both(|header| header.external_attributes = 0o120_777 << 16);
        let zip = zip([
            page(),
            link(File::stored("__MACOSX/._index.html", b"x")),
            File::folder("__MACOSX/"),
            File::stored(".DS_Store", b"x"),
            File::stored("a/.DS_Store", b"x"),
            File::stored("a/Thumbs.db", b"x"),
            File::stored("my.DS_Store", b"x"),
        ]);
        assert_eq!(names(&zip), ["index.html", "my.DS_Store"]);
        assert_eq!(zip.parse().unwrap().left_out, 4);
    }

    #[test]
    fn the_headers_file_is_set_apart_at_the_root_only() {
        let zip = zip([page(), File::stored("_headers", b"/*"), File::stored("a/_headers", b"/*")]);
        assert_eq!(names(&zip), ["a/_headers", "index.html"]);
        let index = zip.parse().unwrap();
        assert_eq!(&*index.headers_file.unwrap().name, "_headers");
        let index = with_root(&zip, "a/");
        assert_eq!(index, Err(Rejection::RootNotFound { root: "a/".into() }));
    }

    #[test]
    fn names_are_relative_to_the_root_and_the_rest_is_not_deployed() {
        let link =
            File::stored("node_modules/.bin/x", b"../x").both(|header| header.external_attributes = 0o120_777 << 16);
        let zip = zip([
            link,
            File::folder("dist/"),
            File::stored("dist/index.html", b""),
            File::stored("dist/a/b", b""),
            File::stored("distant", b""),
        ]);
        let index = with_root(&zip, "dist/").unwrap();
        let names: Vec<_> = index.entries.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["a/b", "index.html"]);
        for entry in &index.entries {
            let span = &zip.bytes()[entry.header_offset as usize..];
            entry.data_range(span).unwrap();
        }
        for root in ["di/", "public/"] {
            let error = with_root(&zip, root);
            assert!(error.is_err(), "{root}");
        }
    }

    #[test]
    fn a_wrapper_folder_without_a_page_at_the_root_is_a_warning() {
        let wrapped = [File::stored("site/index.html", b""), File::stored("site/a", b"")];
        let warnings = zip(wrapped.clone()).parse().unwrap().warnings;
        insta::assert_snapshot!(
            warnings.join("\n"),
            @"all files lie in the folder `site/` and none at the root; to deploy what is inside it, set ARCHIVE_ROOT to `site/`"
        );
        let [a, b] = wrapped;
        assert!(zip([a.clone(), b.clone(), page()]).parse().unwrap().warnings.is_empty());
        let other = File::stored("other/a", b"");
        assert!(zip([a.clone(), b.clone(), other]).parse().unwrap().warnings.is_empty());
        assert!(with_root(&zip([a, b]), "site/").unwrap().warnings.is_empty());
    }

    #[test]
    fn an_archive_without_a_file_to_deploy_is_refused() {
        for files in [
            vec![],
            vec![File::folder("a/")],
            vec![File::stored("_headers", b"")],
            vec![File::stored(".DS_Store", b"")],
        ] {
            let zip = Zip { files, ..Zip::default() };
            assert_eq!(zip.rejection(), Rejection::Empty);
        }
    }

    #[test]
    fn unsafe_names_are_refused() {
        use NameProblem as P;
        for (name, problem) in [
            ("", P::Empty),
            ("/index.html", P::Absolute),
            ("/", P::Absolute),
            ("//host/share", P::Absolute),
            ("C:/index.html", P::DriveLetter),
            ("c:index.html", P::DriveLetter),
            ("assets\\app.js", P::Backslash),
            ("..\\app.js", P::Backslash),
            ("..", P::ParentFolder),
            ("../app.js", P::ParentFolder),
            ("a/../../b", P::ParentFolder),
            ("a/..", P::ParentFolder),
            ("a/../", P::ParentFolder),
            ("./index.html", P::CurrentFolder),
            ("./", P::CurrentFolder),
            ("a/./b", P::CurrentFolder),
            ("a//b", P::EmptyComponent),
            ("a//", P::EmptyComponent),
            ("a\0.html", P::ControlCharacter),
            ("a\nb", P::ControlCharacter),
            ("a\x7f", P::ControlCharacter),
            ("a\u{85}é", P::ControlCharacter),
        ] {
            let rejection = zip([page(), File::stored(name, b"")]).rejection();
            let entry = name::shown(name.as_bytes());
            assert_eq!(rejection, Rejection::UnsafeName { entry, problem }, "{name:?}");
        }
    }

    #[test]
    fn unusual_names_are_kept() {
        for name in ["..a", "a..", "...", "a b", "ab:c", "~", "'", "%2e%2e", "日本/é"] {
            assert_eq!(names(&zip([File::stored(name, b"")])), [name]);
        }
    }

    #[test]
    fn a_message_names_the_entry_in_one_line() {
        let messages = [
            zip([File::stored("a\n\u{1b}[31mb", b"")]).rejection(),
            zip([File::stored("a\\b", b"")]).rejection(),
            zip([File::stored(&"x/".repeat(120), b"x")]).rejection(),
        ]
        .map(|rejection| rejection.to_string());
        insta::assert_snapshot!(messages.join("\n"), @r"
        entry `a\n\u{1b}[31mb`: its name has a control character
        entry `a\b`: its name has a backslash, which zip does not use between folders; older versions of PowerShell's Compress-Archive and of .NET write it: pack with PowerShell 7, `tar -a` or 7-Zip
        entry `x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/…`: its name, attributes and size disagree on whether it is a folder; pack it with another tool
        ");
    }

    #[test]
    fn a_name_longer_than_a_key_is_refused() {
        let limits = Limits { max_name_bytes: 1_024, ..Limits::default() };
        let fits = zip([File::stored(&"é".repeat(512), b"")]);
        assert!(with_limits(&fits, limits).is_ok());
        let long = zip([File::stored(&"x".repeat(1_025), b"")]);
        assert!(matches!(
            with_limits(&long, limits),
            Err(Rejection::NameTooLong { length_bytes: 1_025, max_bytes: 1_024, .. })
        ));
    }

    #[test]
    fn a_name_is_utf8_by_flag_or_by_unix_and_refused_otherwise() {
        let file = |host, flags, name: &[u8]| {
            File::stored("", b"").both(|header| {
                header.made_by_host = host;
                header.flags = flags;
                header.name = name.to_vec();
            })
        };
        let utf8 = "é".as_bytes();
        for (host, flags) in [(3, 0), (19, 0), (0, flag::UTF8), (3, flag::UTF8)] {
            assert_eq!(names(&zip([file(host, flags, utf8)])), ["é"]);
        }
        for file in [
            file(0, 0, utf8),
            file(10, 0, utf8),
            file(3, 0, b"\x82"),
            file(3, flag::UTF8, b"\x82"),
            file(0, flag::UTF8, b"\x82"),
            file(0, flag::UTF8, b"\xed\xa0\x80"),
        ] {
            let rejection = zip([file]).rejection();
            assert!(matches!(rejection, Rejection::NameEncoding { .. }), "{rejection}");
        }
    }

    #[test]
    fn a_unicode_path_names_the_entry() {
        let file = |raw: &[u8], extra: Vec<u8>| {
            File::stored("", b"").central(|header| header.extra = extra).both(|header| {
                header.made_by_host = 0;
                header.name = raw.to_vec();
            })
        };
        let right = zip([file(b"\x82", unicode_path_field(b"\x82", "é"))]);
        assert_eq!(names(&right), ["é"]);

        let mut twice = unicode_path_field(b"\x82", "é");
        twice.extend(unicode_path_field(b"\x82", "é"));
        let mut version_2 = unicode_path_field(b"\x82", "é");
        version_2[4] = 2;
        let mut not_utf8 = unicode_path_field(b"\x82", "é");
        not_utf8.pop();
        not_utf8[2] -= 1;
        for extra in [
            unicode_path_field(b"\x83", "é"),
            unicode_path_field(b"\x82", "é/"),
            unicode_path_field(b"\x82", "../é"),
            unicode_path_field(b"\x82", ""),
            twice,
            version_2,
            not_utf8,
            vec![0x75, 0x70, 1, 0, 1],
        ] {
            zip([file(b"\x82", extra)]).rejection();
        }
        let two_names =
            file("é".as_bytes(), unicode_path_field("é".as_bytes(), "è")).both(|header| header.flags = flag::UTF8);
        zip([two_names]).rejection();
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        let entry = "index.html".to_owned();
        let rejection = zip([page(), File::stored("a", b""), page()]).rejection();
        assert_eq!(rejection, Rejection::DuplicateName { entry });
        assert!(zip([page(), File::folder("a/"), File::folder("a/")]).parse().is_ok());
    }

    #[test]
    fn a_file_that_is_a_folder_too_is_refused() {
        let entry = || "a/b".to_owned();
        for other in ["a/b/c", "a/b/c/d/e"] {
            // `-` and `.` come before `/`, so that file and folder are no neighbours.
            let files = ["a/b", "a/b-c", "a/b.html", other].map(|name| File::stored(name, b""));
            assert_eq!(zip(files).rejection(), Rejection::FileAndFolder { entry: entry() });
        }
        let files = [File::stored("a/b", b""), File::folder("a/b/")];
        assert_eq!(zip(files).rejection(), Rejection::FileAndFolder { entry: entry() });
    }

    #[test]
    fn links_and_special_files_are_refused_when_made_on_unix() {
        for kind in [0o120_000, 0o060_000, 0o020_000, 0o010_000, 0o140_000_u32] {
            for host in [3, 19] {
                let file = page().both(|header| {
                    header.made_by_host = host;
                    header.external_attributes = (kind | 0o777) << 16;
                });
                let entry = "index.html".to_owned();
                assert_eq!(zip([file]).rejection(), Rejection::SpecialFile { entry });
            }
        }
        let elsewhere = page().both(|header| {
            header.made_by_host = 0;
            header.external_attributes = 0o120_777 << 16;
        });
        assert!(zip([elsewhere]).parse().is_ok());
    }

    #[test]
    fn a_folder_is_one_by_name_attributes_and_size_or_refused() {
        let attributes = |file: File, value| file.both(|header| header.external_attributes = value);
        for folder in [
            File::folder("a/"),
            attributes(File::folder("a/"), 0),
            attributes(File::folder("a/"), 0o755 << 16),
            File::deflated("a/", b"").both(|header| header.external_attributes = 0),
        ] {
            assert!(zip([page(), folder]).parse().is_ok());
        }
        for file in [
            attributes(File::folder("a/"), 0o100_644 << 16),
            attributes(File::stored("a/", b"payload"), 0o040_755 << 16),
            attributes(File::stored("a", b""), 0o040_755 << 16),
            attributes(File::stored("a", b""), 0x10),
        ] {
            let rejection = zip([page(), file]).rejection();
            assert!(matches!(rejection, Rejection::FolderMismatch { .. }), "{rejection}");
        }
    }

    #[test]
    fn encryption_and_other_methods_are_refused() {
        for bit in [0, 6, 13] {
            let file = page().both(|header| header.flags = 1 << bit);
            let entry = "index.html".to_owned();
            assert_eq!(zip([file]).rejection(), Rejection::Encrypted { entry });
        }
        for method in [1, 9, 12, 14, 20, 95, 99] {
            let file = page().both(|header| header.method = method);
            let entry = "index.html".to_owned();
            assert_eq!(zip([file]).rejection(), Rejection::UnsupportedMethod { entry, method });
        }
        let patch = File::deflated("a", b"").both(|header| header.flags = flag::PATCH);
        assert!(matches!(zip([patch]).rejection(), Rejection::UnsupportedMethod { .. }));
    }

    #[test]
    fn sizes_that_the_method_cannot_have_are_refused() {
        // Empty stored blocks, one after the other, before the stream of nothing.
        let mut endless = File::deflated("a", b"");
        endless.data.splice(..0, [0, 0, 0, 0xff, 0xff].repeat(14_000));
        let length = u32::try_from(endless.data.len()).unwrap();
        let endless = endless.both(|header| header.compressed_bytes = length);
        for file in [
            page().both(|header| header.size_bytes += 1),
            File::deflated("a", b"").both(|header| header.compressed_bytes = 0),
            endless,
        ] {
            let rejection = zip([file]).rejection();
            assert!(matches!(rejection, Rejection::ImpossibleSizes { .. }), "{rejection}");
        }
    }

    #[test]
    fn archives_over_the_limits_are_refused() {
        let zeros = |size| File::deflated("zeros", &vec![0; size]);
        let limits = Limits::default();
        assert!(zip([zeros(1 << 20)]).parse().is_ok());
        assert!(matches!(zip([zeros((1 << 20) + 1)]).rejection(), Rejection::RatioTooHigh { max: 1_000, .. }));
        let two = zip([page(), File::stored("b", b"12345678")]);
        let over = |limits| with_limits(&two, limits).unwrap_err();
        let max_expanded_bytes = 15;
        let error = over(Limits { max_expanded_bytes, ..limits });
        assert_eq!(error, Rejection::ExpandsTooFar { max_bytes: 15 });
        let error = over(Limits { max_entries: 1, ..limits });
        assert_eq!(error, Rejection::TooManyEntries { count: 2, max: 1 });
        let max_directory_bytes = 2 * 46 + 11 - 1;
        let error = over(Limits { max_directory_bytes, ..limits });
        assert!(matches!(error, Rejection::DirectoryTooLarge { size_bytes: 103, .. }));
        let enough = Limits { max_entries: 2, max_expanded_bytes: 16, max_directory_bytes: 103, ..limits };
        assert!(with_limits(&two, enough).is_ok());
    }

    #[test]
    fn a_directory_of_another_count_is_refused() {
        let mut zip = zip([page()]);
        for extra_count in [1, 1_000, u16::MAX - 1] {
            zip.extra_count = extra_count;
            assert!(matches!(zip.rejection(), Rejection::DirectoryMalformed { .. }));
        }
        // Room enough for one more, by its length.
        zip.files[0] = File::stored(&"x".repeat(100), b"");
        zip.extra_count = 1;
        assert_eq!(zip.rejection(), Rejection::DirectoryMalformed { count: 2 });
    }

    #[test]
    fn an_entry_on_another_disk_is_refused() {
        let file = page().central(|header| header.disk = 1);
        assert!(matches!(zip([file]).rejection(), Rejection::OtherDisk { .. }));
    }

    #[test]
    fn overlapping_and_outlying_entries_are_refused() {
        let other = || File::stored("b", b"12345678");
        let at = |file: File, offset| file.central(|header| header.offset = Some(offset));
        for overlap in [
            zip([page(), at(other(), 0)]),
            zip([page(), at(other(), 47)]),
            zip([
                page().both(|header| {
                    header.size_bytes += 1;
                    header.compressed_bytes += 1;
                }),
                other(),
            ]),
            zip([page().both(|header| header.flags = flag::STREAMED), other()]),
        ] {
            let rejection = overlap.rejection();
            assert!(matches!(rejection, Rejection::SpanOverlap { .. }), "{rejection}");
        }
        for outside in [
            zip([page(), at(other(), 49)]),
            zip([page(), at(other(), u32::MAX - 1)]),
            zip([
                page(),
                other().both(|header| {
                    header.size_bytes += 1;
                    header.compressed_bytes += 1;
                }),
            ]),
        ] {
            let rejection = outside.rejection();
            assert!(matches!(rejection, Rejection::SpanOutside { .. }), "{rejection}");
        }
    }

    #[test]
    fn bytes_that_no_header_can_claim_are_refused() {
        let mut file = page();
        file.after = vec![0; 65_535 + 24];
        assert!(zip([file.clone()]).parse().is_ok(), "a local extra field could be that long");
        file.after.push(0);
        let entry = "index.html".to_owned();
        assert_eq!(zip([file]).rejection(), Rejection::UnclaimedBytes { entry });
    }
}
