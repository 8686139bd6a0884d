use super::super::sample::{File, Zip, parse_root, parse_selected, unicode_path_field, zip};
use super::super::{Method, NameProblem, flag};
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
fn an_entry_has_the_values_of_its_header() {
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
fn names_that_differ_only_in_normalisation_are_deployed_with_a_warning() {
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
fn desktop_metadata_is_left_out_and_counted_even_if_it_is_a_link() {
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
fn only_the_headers_file_at_the_root_is_not_deployed() {
    let zip = zip([page(), File::stored("_headers", b"/*"), File::stored("a/_headers", b"/*")]);
    assert_eq!(names(&zip), ["a/_headers", "index.html"]);
    let index = zip.parse().unwrap();
    assert_eq!(&*index.headers_file.unwrap().name, "_headers");
    let index = with_root(&zip, "a/");
    assert_eq!(index, Err(Rejection::RootNotFound { root: "a/".into() }));
}

#[test]
fn names_are_relative_to_the_root_and_files_outside_it_are_not_deployed() {
    let link = File::stored("node_modules/.bin/x", b"../x").both(|header| header.external_attributes = 0o120_777 << 16);
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
fn an_archive_has_one_folder_if_no_file_is_beside_it() {
    let wrapped = [File::stored("site/index.html", b""), File::stored("site/a", b"")];
    let only_folder = |zip: Zip| zip.parse().unwrap().only_folder().map(str::to_owned);
    assert_eq!(only_folder(zip(wrapped.clone())).as_deref(), Some("site/"));
    for beside in [page(), File::stored("other/a", b""), File::stored("_headers", b"")] {
        let [a, b] = wrapped.clone();
        assert_eq!(only_folder(zip([a, b, beside])), None);
    }
    assert_eq!(with_root(&zip(wrapped), "site/").unwrap().only_folder(), None);
}

#[test]
fn an_archive_without_a_file_to_deploy_is_refused() {
    for files in
        [vec![], vec![File::folder("a/")], vec![File::stored("_headers", b"")], vec![File::stored(".DS_Store", b"")]]
    {
        let zip = Zip { files, ..Zip::default() };
        assert_eq!(zip.rejection(), Rejection::Empty);
    }
}

#[test]
fn unsafe_names_are_refused() {
    use NameProblem as P;
    for (name, problem) in [
        ("", P::Empty),
        (" ", P::Blank),
        ("./\u{a0}\u{2028}", P::Blank),
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
        ("././index.html", P::CurrentFolder),
        (".", P::CurrentFolder),
        ("a/./b", P::CurrentFolder),
        ("a/.", P::CurrentFolder),
        (".//index.html", P::EmptyComponent),
        ("./../app.js", P::ParentFolder),
        ("./C:/index.html", P::DriveLetter),
        ("a//b", P::EmptyComponent),
        ("a//", P::EmptyComponent),
        ("a\0.html", P::ControlCharacter),
        ("a\nb", P::ControlCharacter),
        ("a\x7f", P::ControlCharacter),
        ("a\u{85}é", P::ControlCharacter),
    ] {
        let rejection = zip([page(), File::stored(name, b"")]).rejection();
        let entry = shown(name.as_bytes());
        assert_eq!(rejection, Rejection::UnsafeName { entry, problem }, "{name:?}");
    }
}

#[test]
fn a_dot_and_a_slash_before_every_name_are_dropped() {
    let zip = zip([
        File::folder("./"),
        page().both(|header| header.name = b"./index.html".to_vec()),
        File::folder("./.well-known/"),
        File::stored("./.well-known/security.txt", b""),
        File::stored("./.nojekyll", b""),
        File::stored("./_headers", b""),
    ]);
    assert_eq!(names(&zip), [".nojekyll", ".well-known/security.txt", "index.html"]);
    let index = zip.parse().unwrap();
    assert!(index.headers_file.is_some());
    for entry in &index.entries {
        entry.data_range(&zip.bytes()[entry.header_offset as usize..]).unwrap();
    }
    let index = with_root(&zip, ".well-known/").unwrap();
    assert_eq!(&*index.entries[0].name, "security.txt");
    index.entries[0].data_range(&zip.bytes()[index.entries[0].header_offset as usize..]).unwrap();
}

#[test]
fn names_with_and_without_the_dot_collide() {
    let twice = zip([page(), File::stored("./index.html", b"")]);
    assert_eq!(twice.rejection(), Rejection::DuplicateName { entry: "index.html".into() });
    let payload = zip([page(), File::stored("./", b"payload")]);
    assert!(matches!(payload.rejection(), Rejection::FolderMismatch { .. }));
}

#[test]
fn all_faulty_entries_are_told_at_once() {
    let link = |name| File::stored(name, b"x").both(|header| header.external_attributes = 0o120_777 << 16);
    let mut files = vec![File::stored("a\\b", b""), File::stored("../c", b""), link("d"), File::stored("a\\e", b"")];
    let zip = Zip { files: files.clone(), ..Zip::default() };
    insta::assert_snapshot!(zip.rejection(), @r"entry `a\b`: its name has a backslash, which does not separate folders in a zip; older versions of PowerShell's Compress-Archive and of .NET write it: pack with 7-Zip, or with `tar -a -c -f site.zip --options hdrcharset=UTF-8 -C dist .` (the same goes for `a\e`); entry `../c`: its name has a `..` component and could leave the archive's root; pack the folder's contents with relative names; entry `d` is a symbolic link or another special file; pack a copy in which files replace the links (`cp -RL dist copy`; `zip` without -y also follows them), or leave it out with Exclude");
    files.extend((0..12).map(|number| File::stored(&format!("/{number}"), b"")));
    let zip = Zip { files, ..Zip::default() };
    let message = zip.rejection().to_string();
    assert!(message.contains("`/5`") && !message.contains("`/6`"), "{message}");
    assert!(message.ends_with("; and 6 more entries have faults"), "{message}");

    let twins = ["a", "a", "a", "b", "b/c/d", "b/c/e"].map(|name| File::stored(name, b""));
    insta::assert_snapshot!(self::zip(twins).rejection(), @"entry `a` is in the archive twice; pack the archive into a new file; `b` is both a file and a folder; rename one of them");
}

#[test]
fn a_faulty_entry_hides_no_fault_between_others() {
    let files = ["/a", "b", "b", "c", "c/d"].map(|name| File::stored(name, b""));
    let message = zip(files).rejection().to_string();
    for fault in ["`/a`: its name is absolute", "`b` is in the archive twice", "`c` is both a file and a folder"] {
        assert!(message.contains(fault), "{message}");
    }
    // The entry that was not read leaves no gap behind, which would be another fault.
    assert!(!message.contains("belong to no entry"), "{message}");
    let files = (0..11).map(|number| File::stored(&format!("/{number}"), b"")).collect();
    let message = Zip { files, ..Zip::default() }.rejection().to_string();
    assert!(message.ends_with("; and 1 more entry has a fault"), "{message}");
}

#[test]
fn an_archive_whose_files_are_all_left_out_names_the_setting() {
    let files = ["./dist/a.map", "./dist/_headers"].map(|name| File::stored(name, b""));
    let [map, headers] = files;
    let files = zip([File::folder("./"), File::folder("./dist/"), map, headers, File::stored("__MACOSX/a", b"")]);
    for root in ["", "dist/"] {
        let selection = Selection { root, left_out: &|_| Some(LeftOut::BySetting) };
        let rejection = parse_selected(&files.bytes(), &selection, &Limits::default()).unwrap_err();
        assert_eq!(rejection, Rejection::AllLeftOut { left_out: 2 });
    }
    let only_metadata = zip([File::stored("__MACOSX/a", b"")]);
    assert_eq!(only_metadata.rejection(), Rejection::Empty);
}

#[test]
fn what_the_selection_leaves_out_is_counted_whatever_it_is() {
    let link = |name| File::stored(name, b"x").both(|header| header.external_attributes = 0o120_777 << 16);
    let zip = zip([
        page(),
        File::folder(".git/"),
        File::stored(".git/HEAD", b"x"),
        link("node_modules/.bin/x"),
        File::stored("_headers", b"x"),
        File::stored("a.map", b"x"),
    ]);
    let left_out = |name: &str| match name {
        "_headers" | "a.map" | "node_modules/.bin/x" => Some(LeftOut::BySetting),
        _ => name.starts_with(".git/").then_some(LeftOut::AsPrivate),
    };
    let selection = Selection { root: "", left_out: &left_out };
    let index = parse_selected(&zip.bytes(), &selection, &Limits::default()).unwrap();
    assert_eq!((index.entries.len(), index.left_out, index.headers_file), (1, 4, None));
    insta::assert_snapshot!(index.warnings.join("\n"), @"private files are left out: `.git/HEAD`; to deploy one of them, add `!` and its name to Exclude, such as `!.env.example`, or the name of its folder, such as `!.git/`");
}

#[test]
fn files_of_other_hosts_are_deployed_with_a_warning() {
    let zip = zip([page(), File::stored("_redirects", b"x"), File::stored("a/_redirects", b"x")]);
    assert_eq!(names(&zip), ["_redirects", "a/_redirects", "index.html"]);
    insta::assert_snapshot!(zip.parse().unwrap().warnings.join("\n"), @"these files configure other hosts and are deployed like any other file, since neither S3 nor CloudFront reads them: `_redirects`; write redirects in a function of the distribution, and leave the files out with Exclude");
}

#[test]
fn unusual_but_safe_names_are_kept() {
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
    entry `a\u000a\u001b[31mb`: its name has a control character; rename the file
    entry `a\b`: its name has a backslash, which does not separate folders in a zip; older versions of PowerShell's Compress-Archive and of .NET write it: pack with 7-Zip, or with `tar -a -c -f site.zip --options hdrcharset=UTF-8 -C dist .`
    entry `x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/…`: its name, attributes and size disagree on whether it is a folder; pack the archive with another tool
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
fn a_name_is_refused_unless_the_flag_or_the_host_says_that_it_is_utf8() {
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

    // WinZip ends the name of a folder with a backslash in this field.
    let folder = zip([page(), file(b"\x82/", unicode_path_field(b"\x82/", "é\\"))]);
    assert_eq!(names(&folder), ["index.html"]);
    let file_and_folder = zip([file(b"\x82/", unicode_path_field(b"\x82/", "é\\")), File::stored("é", b"")]);
    assert_eq!(file_and_folder.rejection(), Rejection::FileAndFolder { entry: "é".into() });
    // Other writers for Windows separate all folders with backslashes there.
    let inner = zip([
        file(b"a/\x82/", unicode_path_field(b"a/\x82/", "a\\é\\")),
        file(b"a/\x82/b.txt", unicode_path_field(b"a/\x82/b.txt", "a\\é\\b.txt")),
    ]);
    assert_eq!(names(&inner), ["a/é/b.txt"]);
    // Where the entry's own name has other folders, the backslash may be part of a name.
    for (raw, name) in
        [(&b"\x82"[..], "é\\"), (b"\x82/", "a\\é\\"), (b"\x82", "a\\é"), (b"a/\x82", "a/b\\é"), (b"a/\x82", "..\\é")]
    {
        zip([page(), file(raw, unicode_path_field(raw, name))]).rejection();
    }

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
fn duplicate_names_are_refused() {
    let entry = "index.html".to_owned();
    let rejection = zip([page(), File::stored("a", b""), page()]).rejection();
    assert_eq!(rejection, Rejection::DuplicateName { entry });
    assert!(zip([page(), File::folder("a/"), File::folder("a/")]).parse().is_ok());
}

#[test]
fn a_file_that_is_also_a_folder_is_refused() {
    let entry = || "a/b".to_owned();
    for other in ["a/b/c", "a/b/c/d/e"] {
        // `-` and `.` sort before `/`, so the file and the folder are not neighbours.
        let files = ["a/b", "a/b-c", "a/b.html", other].map(|name| File::stored(name, b""));
        assert_eq!(zip(files).rejection(), Rejection::FileAndFolder { entry: entry() });
    }
    let files = [File::stored("a/b", b""), File::folder("a/b/")];
    assert_eq!(zip(files).rejection(), Rejection::FileAndFolder { entry: entry() });
}

#[test]
fn links_and_special_files_made_on_unix_are_refused() {
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
fn a_folder_whose_name_attributes_and_size_disagree_is_refused() {
    let attributes = |file: File, value| file.both(|header| header.external_attributes = value);
    for folder in [
        File::folder("a/"),
        attributes(File::folder("a/"), 0),
        attributes(File::folder("a/"), 0o755 << 16),
        // Some writers of jars know no mode.
        attributes(File::folder("a/"), 0xffff_0010),
        attributes(File::folder("a/"), 0xffff_0000),
        // Programs set one mode for all entries; all readers go by the slash.
        attributes(File::folder("a/"), 0o100_644 << 16),
        File::deflated("a/", b"").both(|header| header.external_attributes = 0),
    ] {
        assert!(zip([page(), folder]).parse().is_ok());
    }
    for file in [
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
    insta::assert_snapshot!(zip([patch]).rejection(), @"entry `a` uses compression method 8 (deflate) as a patch to another file, but only stored (0), deflate (8) and zstd (93) are read; pack it with one of these: deflate is the default of nearly every tool");
}

#[test]
fn sizes_that_the_method_cannot_produce_are_refused() {
    // Many empty stored blocks before the empty stream.
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
fn a_wrong_entry_count_is_refused() {
    let mut zip = zip([page()]);
    for extra_count in [1, 1_000, u16::MAX - 1] {
        zip.extra_count = extra_count;
        assert!(matches!(zip.rejection(), Rejection::DirectoryMalformed { .. }));
    }
    // Now the directory is long enough for one more header.
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
