use std::io::Write;

use ::zstd::zstd_safe::CParameter;
use bytes::Bytes;
use proptest::prelude::*;

use super::super::gzip::gzip;
use super::super::sample::{File, zip};
use super::*;

/// The only entry of an archive and its compressed data.
fn entry(file: File) -> (Entry, Bytes) {
    let data = file.data.clone().into();
    let index = zip([file]).parse().unwrap();
    (index.entries[0].clone(), data)
}

/// Pushes pieces of the compressed data and drains the output when it is full.
fn in_pieces(entry: &Entry, compressed: &[u8], piece_bytes: usize, room_bytes: usize) -> Result<Vec<u8>, Corrupt> {
    let mut inflater = Inflater::new(entry);
    let mut output = Vec::with_capacity(room_bytes);
    let room_bytes = output.capacity();
    let mut contents = Vec::new();
    let mut pieces = compressed.chunks(piece_bytes);
    let mut input = &[][..];
    loop {
        let step = inflater.push(&mut input, &mut output)?;
        assert_eq!(output.capacity(), room_bytes, "the output never grows");
        match step {
            Step::OutputFull => contents.append(&mut output),
            Step::NeedsInput | Step::Done => match pieces.next() {
                Some(piece) => input = piece,
                None => break,
            },
        }
    }
    contents.append(&mut output);
    let crc32 = crc32fast::hash(&contents);
    inflater.finish(crc32).map(|()| contents)
}

/// Checks the entry piece by piece, without its contents.
fn check_in_pieces(entry: &Entry, compressed: &[u8]) -> Result<(), Corrupt> {
    let mut checker = Checker::new(entry);
    compressed.chunks(3).try_for_each(|piece| checker.push(piece))?;
    checker.finish()
}

/// Inflates the entry whole and in pieces, and checks it only; all must have the same result.
fn both_ways(entry: &Entry, compressed: &Bytes) -> Result<Bytes, Corrupt> {
    let whole = inflate(entry, compressed.clone());
    let pieces = in_pieces(entry, compressed, 3, 7).map(Bytes::from);
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?} {pieces:?}");
    assert_eq!(whole.is_ok(), check(entry, compressed.clone()).is_ok());
    assert_eq!(pieces.is_ok(), check_in_pieces(entry, compressed).is_ok());
    if whole.is_ok() {
        assert_eq!(whole, pieces);
    }
    whole
}

#[test]
fn stored_contents_are_not_copied() {
    let (entry, data) = entry(File::stored("a", b"12345"));
    assert_eq!(inflate(&entry, data.clone()).unwrap().as_ptr(), data.as_ptr());
}

#[test]
fn empty_files_are_empty() {
    for file in [File::stored("a", b""), File::deflated("a", b""), File::zstd("a", b"")] {
        let (entry, data) = entry(file);
        assert_eq!(both_ways(&entry, &data), Ok(Bytes::new()));
    }
}

#[test]
fn data_that_differs_from_the_directory_is_corrupt() {
    let contents = b"to be, or not to be, or to be";
    for file in [File::stored("a", contents), File::deflated("a", contents), File::zstd("a", contents)] {
        let (right, data) = entry(file);
        assert_eq!(both_ways(&right, &data).unwrap(), &contents[..]);

        let crc32 = right.crc32 ^ 1;
        let wrong = Entry { crc32, ..right.clone() };
        assert!(matches!(both_ways(&wrong, &data), Err(Corrupt::Crc32 { .. })));

        for size_bytes in [0, 1, 28, 30, 1_000] {
            let mut wrong = Entry { size_bytes, ..right.clone() };
            if wrong.method == Method::Stored {
                wrong.compressed_bytes = size_bytes;
            }
            assert!(both_ways(&wrong, &data).is_err(), "{size_bytes}");
        }

        let wrong = Entry { compressed_bytes: right.compressed_bytes + 1, ..right.clone() };
        assert!(both_ways(&wrong, &data).is_err());

        let mut longer = data.to_vec();
        longer.push(0);
        assert!(both_ways(&right, &longer.into()).is_err());
        for length in 0..data.len() {
            assert!(both_ways(&right, &data.slice(..length)).is_err(), "{length}");
        }
    }
}

#[test]
fn any_bytes_after_a_stream_are_refused() {
    let (right, data) = entry(File::deflated("a", b"to be, or not to be"));
    let trailer = gzip(&right, &data).unwrap().split_off(10 + data.len());
    let junk = [trailer.clone(), vec![0; 100], data.to_vec(), [&data[..], &trailer].concat()];
    for after in [&trailer[..], &trailer[..4], &[0; 8], &[&trailer[..], b"x"].concat()] {
        for junk in junk.iter().map(Vec::as_slice).chain([&[][..]]) {
            let longer = [&data[..], after, junk].concat();
            let compressed_bytes = longer.len() as u64;
            let wrong = Entry { compressed_bytes, ..right.clone() };
            let error = both_ways(&wrong, &longer.into()).unwrap_err();
            assert!(matches!(error, Corrupt::CompressedLength { .. }), "{error}");
        }
    }
}

#[test]
fn a_stream_longer_than_its_size_is_refused_at_the_first_extra_byte() {
    let zeros = vec![0; 1 << 20];
    for file in [File::deflated("zeros", &zeros), File::zstd("zeros", &zeros)] {
        let (entry, data) = entry(file);
        let entry = Entry { size_bytes: 10, ..entry };
        let error = both_ways(&entry, &data).unwrap_err();
        let expected = Corrupt::TooLong { entry: "zeros".into(), size_bytes: 10 };
        assert_eq!(error, expected);
    }
}

/// Compresses with the reference library and these parameters.
fn frame(contents: &[u8], level: i32, parameters: &[CParameter]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
    for parameter in parameters {
        encoder.set_parameter(*parameter).unwrap();
    }
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn zstd_frames_of_every_level_are_read_with_and_without_checksum_and_size() {
    let contents: Vec<u8> = (0..60_000_u32).flat_map(|number| (number * number).to_string().into_bytes()).collect();
    for level in [-5, 1, 3, 10, 19] {
        for checksum in [false, true] {
            let with_size = zstd::bulk::compress(&contents, level).unwrap();
            let streamed = frame(&contents, level, &[CParameter::ChecksumFlag(checksum)]);
            for frame in [with_size, streamed] {
                let (entry, data) = entry(File::framed("a", &contents, frame));
                assert_eq!(inflate(&entry, data.clone()).unwrap(), &contents[..]);
                let pieces = in_pieces(&entry, &data, 1_000, 999).unwrap();
                assert!(pieces == contents, "level {level}");
            }
        }
    }
}

#[test]
fn bytes_after_a_zstd_frame_are_refused() {
    let contents = b"to be, or not to be";
    let first = frame(contents, 3, &[]);
    let empty = frame(b"", 3, &[]);
    let skippable = b"\x50\x2a\x4d\x18\x02\x00\x00\x00hi";
    for after in [&b"\0"[..], &empty, skippable] {
        let (entry, data) = entry(File::framed("a", contents, [&first, after].concat()));
        let error = both_ways(&entry, &data).unwrap_err();
        assert!(matches!(error, Corrupt::CompressedLength { .. }), "{error}");
    }
    let (entry, data) = entry(File::framed("a", contents, [skippable, &first[..]].concat()));
    assert!(matches!(both_ways(&entry, &data), Err(Corrupt::Data { .. })));
}

#[test]
fn an_entry_that_is_only_a_skippable_zstd_frame_is_refused() {
    let skippable = b"\x50\x2a\x4d\x18\x02\x00\x00\x00hi".to_vec();
    let (entry, data) = entry(File::framed("a", b"", skippable));
    assert!(matches!(both_ways(&entry, &data), Err(Corrupt::Data { .. })));
}

#[test]
fn a_zstd_frame_without_a_window_is_limited_by_its_size() {
    // Level 22 has a window of 128 MiB. Shorter contents become one segment, which is its own window.
    let large: Vec<u8> = (0..(8 << 20) + 1).map(|number: u32| (number >> 12) as u8).collect();
    for (size, is_read) in [(8 << 20, true), (large.len(), false)] {
        let contents = &large[..size];
        let (entry, data) = entry(File::framed("a", contents, zstd::bulk::compress(contents, 22).unwrap()));
        let whole = inflate(&entry, data.clone());
        let pieces = in_pieces(&entry, &data, 1_000, 1 << 20);
        assert_eq!((whole.is_ok(), pieces.is_ok()), (is_read, is_read));
    }
}

#[test]
fn a_zstd_frame_that_needs_a_dictionary_or_much_memory_is_refused() {
    let contents = b"to be, or not to be";
    let wide = frame(contents, 3, &[CParameter::WindowLog(24)]);
    // Magic number, a descriptor that announces a dictionary, the dictionary's id, a size, an empty block.
    let dictionary = b"\x28\xb5\x2f\xfd\x21\x07\x00\x01\x00\x00".to_vec();
    for (frame, word) in [(wide, "window"), (dictionary, "dictionary")] {
        let (entry, data) = entry(File::framed("a", contents, frame));
        let error = both_ways(&entry, &data).unwrap_err();
        assert!(matches!(error, Corrupt::Zstd { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    let fits = frame(contents, 3, &[CParameter::WindowLog(23)]);
    let (entry, data) = entry(File::framed("a", contents, fits));
    assert_eq!(both_ways(&entry, &data).unwrap(), &contents[..]);
}

#[test]
fn a_zstd_bomb_is_decoded_only_as_far_as_the_output_has_room() {
    // Each block repeats one byte 128 Ki times, and no block is the last one.
    let mut bomb = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
    for _ in 0..10_000 {
        bomb.extend([0x02, 0x00, 0x10, b'x']);
    }
    let (entry, data) = entry(File::framed("bomb", b"xxx", bomb));
    let mut frame = Frame::new();
    let mut output = Vec::with_capacity(10);
    let mut input = &data[..];
    for _ in 0..10 {
        let taken = frame.decode(input, &mut output).unwrap();
        input = &input[taken..];
    }
    // The header and one block, most of which stays in the decoder until the output has room.
    assert_eq!((data.len() - input.len(), output.len()), (10, 10));
    assert!(matches!(both_ways(&entry, &data), Err(Corrupt::TooLong { .. })));
}

proptest! {
    #[test]
    fn contents_survive_a_round_trip_in_pieces_of_any_size(
        contents in prop::collection::vec(0_u8..4, 0..3_000),
        method in 0..3,
        piece_bytes in 1_usize..500,
        room_bytes in 1_usize..500,
    ) {
        let (entry, data) = entry(match method {
            0 => File::stored("a", &contents),
            1 => File::deflated("a", &contents),
            _ => File::zstd("a", &contents),
        });
        prop_assert_eq!(inflate(&entry, data.clone()).unwrap(), &contents[..]);
        let pieces = in_pieces(&entry, &data, piece_bytes, room_bytes);
        prop_assert_eq!(pieces.unwrap(), contents);
    }

    #[test]
    fn a_changed_zstd_frame_is_an_error_or_the_same_contents(
        contents in prop::collection::vec(0_u8..4, 0..3_000),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (entry, data) = entry(File::zstd("a", &contents));
        let mut changed = data.to_vec();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        if let Ok(read) = both_ways(&entry, &changed.into()) {
            prop_assert_eq!(read, contents);
        }
    }
}
