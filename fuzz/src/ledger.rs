//! The lines of a ledger, told apart from those that only look like it.
//!
//! It is written from the description of the format, so that the product's reader is held against another.

use std::net::IpAddr;

/// The bytes behind a text: two blanks, the mark, the checksum, the line break.
const SUFFIX: usize = 12;

/// CRC-32 of IEEE 802.3, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let bit = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| bit(sum)))
}

/// Writes the texts, each a commit or all of them one.
pub(crate) fn write(texts: &[u8], apart: bool) -> Vec<u8> {
    let mut written = Vec::new();
    let mut texts = texts.split(|&byte| byte == b'\n').peekable();
    while let Some(text) = texts.next() {
        let mark = if apart || texts.peek().is_none() { "." } else { "+" };
        let line = [text, b" ", mark.as_bytes()].concat();
        written.extend_from_slice(&line);
        written.extend_from_slice(format!(" {:08x}\n", checksum(&line)).as_bytes());
    }
    written
}

/// The text of a whole line.
fn text(line: &[u8]) -> Option<&str> {
    let (text, suffix) = line.split_at_checked(line.len().checked_sub(SUFFIX)?)?;
    let summed = format!("{:08x}\n", checksum(line.get(..text.len() + 2)?));
    (suffix.get(3..)? == summed.as_bytes()).then(|| std::str::from_utf8(text).ok())?
}

/// The texts of a ledger; `None` of a file that is none.
pub(crate) fn texts(file: &[u8]) -> Option<Vec<&str>> {
    let texts: Option<Vec<_>> = file.split_inclusive(|&byte| byte == b'\n').map(text).collect();
    texts.filter(|texts| texts.first().is_some_and(|first| first.starts_with("ledger ")))
}

/// The addresses that are leased in the lines with which the file begins as it was, where no whole line follows them.
pub(crate) fn intact_leases(before: &[u8], after: &[u8]) -> Vec<IpAddr> {
    let lines = |file| <[u8]>::split_inclusive(file, |&byte| byte == b'\n');
    let same = lines(before).zip(lines(after)).take_while(|(one, other)| one == other).count();
    if lines(after).skip(same).any(|line| text(line).is_some()) {
        return Vec::new();
    }
    let texts = lines(before).take(same).filter_map(text);
    texts.filter_map(|text| text.strip_prefix("lease ")?.split(' ').next()?.parse().ok()).collect()
}
