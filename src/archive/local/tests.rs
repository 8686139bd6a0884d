use super::super::sample::{File, Zip, extra_field, unicode_path_field, zip, zip64_field};
use super::*;

const CONTENTS: &[u8] = b"<p>hello hello hello";

fn page() -> File {
    File::deflated("index.html", CONTENTS)
}

/// Opens the only entry.
fn open(file: File) -> Result<Range<usize>, Rejection> {
    let data = file.data.clone();
    let zip = zip([file]);
    let index = zip.parse().unwrap();
    let range = index.entries[0].data_range(&zip.bytes())?;
    assert_eq!(zip.bytes()[range.clone()], data);
    Ok(range)
}

fn problem(file: File) -> &'static str {
    match open(file).unwrap_err() {
        Rejection::LocalHeader { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

fn is_bad_descriptor(file: File) -> bool {
    matches!(open(file), Err(Rejection::Descriptor { .. }))
}

#[test]
fn the_data_starts_after_the_local_extra_fields() {
    assert_eq!(open(page()).unwrap().start, 30 + 10);
    let padded = page().local(|local| local.extra = extra_field(0xcafe, b"1234"));
    assert_eq!(open(padded).unwrap().start, 30 + 10 + 8);
    let aligned = page().both(|header| header.extra = vec![0; 3]);
    assert_eq!(open(aligned).unwrap().start, 30 + 10 + 3);
}

#[test]
fn every_form_of_data_descriptor_is_read() {
    for with_signature in [false, true] {
        for zip64 in [false, true] {
            let file = page().streamed(with_signature, zip64);
            open(file.clone()).unwrap();
            // In some tools' archives only the local header has the flag.
            open(file.clone().central(|central| central.flags = 0)).unwrap();
            // The local header may have the sizes as well.
            let known = file.central.clone();
            let sized = file.local(|local| {
                local.size_bytes = known.size_bytes;
                local.compressed_bytes = known.compressed_bytes;
            });
            open(sized).unwrap();
        }
    }
}

#[test]
fn a_data_descriptor_that_disagrees_is_refused() {
    for with_signature in [false, true] {
        for zip64 in [false, true] {
            let file = page().streamed(with_signature, zip64);
            for at in 0..file.after.len() {
                let mut changed = file.clone();
                changed.after[at] ^= 1;
                assert!(is_bad_descriptor(changed), "byte {at}");
            }
            let mut longer = file.clone();
            longer.after.push(1);
            assert!(is_bad_descriptor(longer));
        }
    }
    let mut none = page().streamed(true, false).central(|central| central.flags = 0);
    none.after.clear();
    assert!(is_bad_descriptor(none));
}

#[test]
fn zero_bytes_may_pad_the_last_entry_alone() {
    let mut streamed: Vec<File> = Vec::new();
    for with_signature in [false, true] {
        streamed.extend([false, true].map(|zip64| page().streamed(with_signature, zip64)));
    }
    for file in [page()].into_iter().chain(streamed) {
        for (padding, is_right) in [(&[0; 100][..], true), (&[0], true), (&[0, 0, 1], false), (b"PK\x03\x04", false)] {
            let mut padded = file.clone();
            padded.after.extend(padding);
            assert_eq!(open(padded.clone()).is_ok(), is_right, "{padding:?}");
            // Another entry would be out of sight for readers that go from one local header to the next.
            let followed = zip([padded, File::stored("other", b"")]);
            let entry = &followed.parse().unwrap().entries[0];
            assert!(entry.data_range(&followed.bytes()).is_err(), "{padding:?}");
        }
    }
}

#[test]
fn a_local_name_may_have_a_dot_and_a_slash_before_it() {
    open(page().both(|header| header.name = b"./index.html".to_vec())).unwrap();
    open(page().central(|central| central.name = b"./index.html".to_vec()).local(|local| local.extra = vec![0; 2]))
        .unwrap();
    let raw = b"./\x82";
    let file = page().both(|header| {
        header.made_by_host = 0;
        header.name = raw.to_vec();
        header.extra = unicode_path_field(raw, "./é");
    });
    open(file).unwrap();
}

#[test]
fn a_data_descriptor_is_checked_separately_if_the_span_is_read_in_parts() {
    let contents: Vec<u8> = (0..=255).collect();
    let file = File::stored("numbers", &contents).streamed(true, false);
    let zip = zip([file.clone()]);
    let entry = &zip.parse().unwrap().entries[0];
    let bytes = zip.bytes();
    let head = &bytes[..entry.header_bytes_max() as usize];
    let range = entry.data_range(head).unwrap();
    assert!(range.end > head.len());
    assert_eq!(bytes[range.clone()], file.data);
    let after = &bytes[range.end..entry.end_offset as usize];
    entry.check_descriptor(after).unwrap();
    assert!(entry.check_descriptor(&after[1..]).is_err());
    let mut changed = after.to_vec();
    changed[4] ^= 1;
    assert!(entry.check_descriptor(&changed).is_err());
}

#[test]
fn a_truncated_local_header_is_an_error() {
    let zip = zip([page()]);
    let entry = &zip.parse().unwrap().entries[0];
    for length in 0..entry.header_bytes_max() as usize {
        let error = entry.data_range(&zip.bytes()[..length]);
        assert!(matches!(error, Err(Rejection::LocalHeaderCut { .. })));
    }
}

#[test]
fn a_local_header_that_disagrees_is_refused() {
    let problems = [
        page().local(|local| local.name[0] = b'I'),
        page().local(|local| local.method = 0),
        page().local(|local| local.flags = 1),
        page().local(|local| local.flags = 1 << 5),
        page().local(|local| local.flags = 1 << 6),
        page().local(|local| local.flags = 1 << 13),
        page().local(|local| local.crc32 ^= 1),
        page().local(|local| local.crc32 = 0),
        page().local(|local| local.size_bytes += 1),
        page().local(|local| local.size_bytes = 0),
        page().local(|local| local.compressed_bytes += 1),
        page().local(|local| local.compressed_bytes = 0),
        page().streamed(true, false).local(|local| local.crc32 = 1),
        page().streamed(true, false).local(|local| local.size_bytes = 1),
        page().local(|local| local.extra = vec![1, 2, 3, 0]),
    ]
    .map(problem);
    insta::assert_snapshot!(problems.join("\n"), @r"
    its name differs from the central directory
    its compression method differs from the central directory
    its flags differ from the central directory
    its flags differ from the central directory
    its flags differ from the central directory
    its flags differ from the central directory
    its CRC-32 differs from the central directory
    its CRC-32 differs from the central directory
    its sizes differ from the central directory
    its sizes differ from the central directory
    its sizes differ from the central directory
    its sizes differ from the central directory
    its CRC-32 differs from the central directory
    its sizes differ from the central directory
    an extra field is longer than the space for it
    ");
    // Deflate's level and the encoding of an ASCII name make no difference.
    open(page().local(|local| local.flags = 0b110 | flag::UTF8)).unwrap();
    let utf8 = File::stored("é", b"").local(|local| local.flags = flag::UTF8);
    assert_eq!(problem(utf8), "its flags differ from the central directory");
}

#[test]
fn a_wrong_header_offset_is_refused() {
    let zip = Zip { prefix: b"12345".to_vec(), ..zip([page().central(|central| central.offset = Some(4))]) };
    let entry = &zip.parse().unwrap().entries[0];
    assert!(matches!(
        entry.data_range(&zip.bytes()[4..]),
        Err(Rejection::LocalHeader { problem: "it is not where the central directory says", .. })
    ));
}

#[test]
fn an_entry_without_a_central_header_is_refused() {
    let mut hiding = page();
    let hidden = zip([File::stored("hidden", b"x")]).bytes();
    hiding.after = hidden[..30 + 6 + 1].to_vec();
    assert!(matches!(open(hiding), Err(Rejection::UnclaimedBytes { .. })));
    let mut gap = page();
    gap.after.push(1);
    assert!(matches!(open(gap), Err(Rejection::UnclaimedBytes { .. })));
    // A local extra field can make the header longer than the directory leaves room for.
    let long = page().local(|local| local.extra = extra_field(0xcafe, &[0; 20]));
    let mut zip = zip([long]);
    zip.files[0].data.truncate(4);
    let shorter = zip.parse().unwrap();
    assert!(matches!(shorter.entries[0].data_range(&zip.bytes()), Err(Rejection::SpanOverlap { .. })));
}

#[test]
fn zip64_sizes_are_read_from_both_headers() {
    let file = page();
    let size = u64::from(file.central.size_bytes);
    let compressed = u64::from(file.central.compressed_bytes);
    let wide = |file: File, values: &[u64]| {
        file.both(|header| {
            header.size_bytes = u32::MAX;
            header.compressed_bytes = u32::MAX;
            header.extra = zip64_field(values);
        })
    };
    open(wide(file.clone(), &[size, compressed])).unwrap();
    // As Python writes an entry to a pipe.
    let streamed = wide(file.clone(), &[size, compressed]).local(|local| local.extra = zip64_field(&[0, 0]));
    assert_eq!(problem(streamed.clone()), "its sizes differ from the central directory");
    let mut streamed = streamed.both(|header| header.flags = flag::STREAMED);
    streamed.after = file.streamed(true, true).after;
    open(streamed).unwrap();
    // As Apache Commons Compress reserves it and leaves it unused.
    open(page().local(|local| local.extra = zip64_field(&[0, 0]))).unwrap();
    open(page().local(|local| local.extra = zip64_field(&[size, compressed]))).unwrap();
    for local in [&[size + 1, compressed][..], &[size], &[size, compressed, 0]] {
        let file = wide(page(), &[size, compressed]);
        problem(file.local(|header| header.extra = zip64_field(local)));
    }
}

#[test]
fn a_local_unicode_path_names_the_same_file_or_is_refused() {
    let raw = b"\x82";
    let file = |extra| {
        File::stored("", b"")
            .both(|header| {
                header.name = raw.to_vec();
                header.extra = unicode_path_field(raw, "é");
            })
            .local(|local| local.extra = extra)
    };
    open(file(unicode_path_field(raw, "é"))).unwrap();
    open(file(Vec::new())).unwrap();
    for extra in [unicode_path_field(raw, "è"), unicode_path_field(b"\x83", "é")] {
        assert_eq!(problem(file(extra)), "its Unicode path differs from the central directory");
    }
}
