//! A zip quine: an archive whose only file is the archive itself, byte for byte.
//!
//! It follows Russ Cox, "Zip Files All The Way Down" (research.swtch.com/zip, 2010). Deflate serves as a language with two
//! instructions, each a block of five bytes. `Ln` writes the next n units to the output. `Rn` repeats the last n units of
//! the output. A unit is as long as an instruction. Such a quine may begin and end with any bytes: here with `head` (the
//! local header, h units) and `tail` (central directory and end record, t units). The left column is the archive, the
//! right one the output of its instructions:
//!
//! ```text
//! head L(h+1) head L(h+1)      head L(h+1)
//! R(h+1)                       head L(h+1)
//! L1 R(h+1)                    R(h+1)
//! L1 L1                        L1
//! L4 R(h+1) L1 L1 L4           R(h+1) L1 L1 L4
//! R4                           R(h+1) L1 L1 L4
//! L4 R4 L4 R4 L4               R4 L4 R4 L4
//! R4                           R4 L4 R4 L4
//! L4 R4 L0 L0 L(1+t)           R4 L0 L0 L(1+t)
//! R4                           R4 L0 L0 L(1+t)
//! L0 L0 L(1+t) R(1+t) tail     R(1+t) tail
//! R(1+t) tail                  R(1+t) tail
//! ```
//!
//! The first `head` and the last `tail` are outside of the compressed data.

/// The name of the file. Its 30 bytes make the local header 60 bytes long, so that `R(h+1)` fits into whole bytes.
pub const NAME: &str = "zip-files-all-the-way-down.zip";

/// Builds the archive.
///
/// The archive contains its own CRC-32 four times. Over GF(2), the CRC-32 of the archive with x in these four places is
/// affine: crc(x) = Ax + crc(0). So crc(x) = x is the linear system (A + I)x = crc(0). Each of its 32 columns comes from
/// one archive.
pub fn quine() -> Vec<u8> {
    let crc32 = |x| crc32fast::hash(&archive(x));
    let constant = crc32(0);
    // Each element has a sum (XOR) of columns in its high half, and the corresponding bits of x in its low half. No two
    // have the same highest bit. Adding an element to a number that has this bit makes the number smaller.
    let mut sums: Vec<u64> = Vec::new();
    let reduced = |sums: &[u64], sum: u64| sums.iter().fold(sum, |a, b| a.min(a ^ b));
    for x in (0..32).map(|bit| 1 << bit) {
        let column = crc32(x) ^ constant ^ x;
        let sum = reduced(&sums, u64::from(column) << 32 | u64::from(x));
        if sum >> 32 != 0 {
            sums.push(sum);
        }
    }
    let solution = reduced(&sums, u64::from(constant) << 32);
    archive(u32::try_from(solution).expect("no solution; another time in `head_and_tail` may have one"))
}

/// Builds the archive with any CRC-32 in its headers.
fn archive(crc32: u32) -> Vec<u8> {
    // The lengths do not depend on the values of the fields.
    let (head, tail) = head_and_tail(crc32, 0, 0);
    let (head_bytes, tail_bytes) = (head.len(), tail.len());
    let [l0, l1, l4] = [0, 1, 4].map(|units| literal(5 * units));
    let (l_head, r_head) = (literal(head_bytes + 5), repeat(&[head_bytes + 5], false));
    // Two repeats, whose lengths need no extra bits, so that the instruction has 40 bits.
    let r4 = repeat(&[10, 10], false);
    // Only the final block has four bytes: nothing after it must start at a byte.
    let (l_tail, r_tail) = (literal(4 + tail_bytes), repeat(&[4 + tail_bytes], true));
    assert_eq!((r_head.len(), r4.len(), r_tail.len()), (5, 5, 4));
    let data = |head: &[u8], tail: &[u8]| {
        [
            &l_head, head, &l_head, &r_head, &l1, &r_head, &l1, &l1, &l4, &r_head, &l1, &l1, &l4, &r4, &l4, &r4, &l4,
            &r4, &l4, &r4, &l4, &r4, &l0, &l0, &l_tail, &r4, &l0, &l0, &l_tail, &r_tail, tail, &r_tail,
        ]
        .concat()
    };
    let compressed_bytes = data(&head, &tail).len();
    let size_bytes = head_bytes + compressed_bytes + tail_bytes;
    let (head, tail) = head_and_tail(crc32, compressed_bytes as u32, size_bytes as u32);
    [&head[..], &data(&head, &tail), &tail].concat()
}

/// Returns the local header, and the central directory with the end record (APPNOTE 4.3.7, 4.3.12, 4.3.16).
fn head_and_tail(crc32: u32, compressed: u32, size: u32) -> (Vec<u8>, Vec<u8>) {
    // Version 2.0, no flags, deflate, 1 January 1980.
    let mut common = b"\x14\0\0\0\x08\0\0\0\x21\0".to_vec();
    for value in [crc32, compressed, size, NAME.len() as u32] {
        common.extend(value.to_le_bytes());
    }
    let head = [b"PK\x03\x04", &common[..], NAME.as_bytes()].concat();
    let common = [&b"PK\x01\x02\x14\0"[..], &common, &[0; 14]].concat();
    let mut tail = [&common, NAME.as_bytes()].concat();
    let directory = [tail.len() as u32, head.len() as u32 + compressed];
    tail.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    tail.extend(directory.map(u32::to_le_bytes).concat());
    tail.extend([0, 0]);
    (head, tail)
}

/// Returns the header of a stored block (RFC 1951, section 3.2.4).
fn literal(bytes: usize) -> Vec<u8> {
    let [low, high] = (bytes as u16).to_le_bytes();
    vec![0, low, high, !low, !high]
}

/// Returns a block that repeats as many bytes as the lengths add up to (RFC 1951, sections 3.2.5 and 3.2.6).
fn repeat(lengths: &[usize], is_final: bool) -> Vec<u8> {
    const FIXED_CODES: u64 = 0b010;
    let (mut bits, mut count) = (FIXED_CODES | u64::from(is_final), 3);
    // Codes come in groups. Each group has one more extra bit than the one before.
    let mut append = |value: usize, group: u32, first_code: u32, code_bits: u32| {
        let extra_bits = value.ilog2() - group.ilog2();
        let code = first_code + group * extra_bits + (value >> extra_bits) as u32;
        let extra = value as u64 & ((1 << extra_bits) - 1);
        // A code begins with its highest bit, everything else with its lowest.
        let code = u64::from(code.reverse_bits() >> (32 - code_bits));
        bits |= (code | extra << code_bits) << count;
        count += code_bits + extra_bits;
    };
    let distance: usize = lengths.iter().sum();
    for length in lengths {
        // The codes of lengths start at 257, which is written as 1; 0 is the end of a block.
        append(length - 3, 4, 1, 7);
        append(distance - 1, 2, 0, 5);
    }
    count += 7;
    if count % 8 != 0 && !is_final {
        // An empty block.
        bits |= FIXED_CODES << count;
        count += 3 + 7;
    }
    bits.to_le_bytes()[..count.div_ceil(8) as usize].to_vec()
}
