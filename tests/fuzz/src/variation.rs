//! Variations of an input, for `cargo test`: without coverage, but with the same result each time.

use fastrand::Rng;

/// Longer inputs are no better, and slower.
const LONGEST: usize = 4_096;

/// Returns `input` after a few small changes, some of them with parts of `other`.
#[must_use]
pub fn of(input: &[u8], other: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let end = random.usize(at..=bytes.len().min(at + 16));
        match random.u8(..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let from = random.usize(..=other.len());
                let until = random.usize(from..=other.len().min(from + 64));
                bytes.splice(at..end, other[from..until].iter().copied());
            }
            5 => bytes
                .insert(at, *random.choice(b"\0\t\n\r \"#%&'+,-./0:;=?@[\\]_{}\x7f\x80\xff").unwrap_or(&0)),
            _ => {
                let byte = random.u8(..);
                bytes.splice(at..end, std::iter::repeat_n(byte, random.usize(..64)));
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}
