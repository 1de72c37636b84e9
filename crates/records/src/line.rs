//! Lines of text that show whether they were written whole: `TEXT MARK CRC`.
//!
//! The mark is `+` where more lines of the same commit follow and `.` on a commit's last line, so that a commit
//! of several lines counts as a whole or not at all. The checksum is the CRC-32 of IEEE 802.3 over text and mark,
//! as eight hexadecimal digits.

use std::fmt::{self, Display, Write as _};

/// The bytes that follow a text: two blanks, the mark, eight digits, the line break.
const SUFFIX: usize = 12;

/// Whole commits, as found at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Commits<'a> {
    /// The texts of their lines.
    pub(crate) texts: Vec<&'a str>,
    /// The bytes that they take; what follows was not written to its end.
    pub(crate) len: usize,
}

/// A text that cannot be a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LineBreak;

/// Appends one commit to the buffer, which is empty or holds whole lines.
pub(crate) fn push_commit<T: Display>(
    buffer: &mut String,
    texts: impl IntoIterator<Item = T>,
) -> Result<(), LineBreak> {
    let mut texts = texts.into_iter().peekable();
    while let Some(text) = texts.next() {
        let mark = if texts.peek().is_some() { '+' } else { '.' };
        push(buffer, &text, mark).map_err(|fmt::Error| LineBreak)?;
    }
    Ok(())
}

fn push(buffer: &mut String, text: &impl Display, mark: char) -> fmt::Result {
    let start = buffer.len();
    write!(buffer, "{text} {mark}")?;
    let line = &buffer.as_bytes()[start..];
    if line.contains(&b'\n') {
        return Err(fmt::Error);
    }
    let sum = crc32(line);
    writeln!(buffer, " {sum:08x}")
}

/// Finds the whole commits; `Err` is the index, from 0, of a line that is whole but not as it was written.
pub(crate) fn scan(bytes: &[u8]) -> Result<Commits<'_>, u64> {
    let mut texts = Vec::new();
    let (mut committed, mut len, mut at) = (0, 0, 0);
    for (index, line) in (0_u64..).zip(bytes.split_inclusive(|&byte| byte == b'\n')) {
        if !line.ends_with(b"\n") {
            break;
        }
        let (text, last) = parse(line).ok_or(index)?;
        texts.push(text);
        at += line.len();
        if last {
            (committed, len) = (texts.len(), at);
        }
    }
    texts.truncate(committed);
    Ok(Commits { texts, len })
}

/// Reads one line, its line break included, as its text and whether it ends a commit.
fn parse(line: &[u8]) -> Option<(&str, bool)> {
    let (text, suffix) = line.split_at_checked(line.len().checked_sub(SUFFIX)?)?;
    let [b' ', mark @ (b'+' | b'.'), b' ', sum @ .., b'\n'] = suffix else { return None };
    let summed = crc32(&line[..text.len() + 2]);
    let whole = digits(summed).as_slice() == sum;
    whole.then_some((std::str::from_utf8(text).ok()?, *mark == b'.'))
}

/// Writes the checksum as its eight digits, the only ones that a line may carry for it.
fn digits(sum: u32) -> [u8; 8] {
    std::array::from_fn(|place| b"0123456789abcdef"[(sum >> (28 - 4 * place) & 0xf) as usize])
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, &byte: &u8| TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)] ^ (sum >> 8);
    !bytes.iter().fold(!0, step)
}

/// The remainder of every byte, for the reflected polynomial of IEEE 802.3.
static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let (mut byte, mut start) = (0, 0_u32);
    while byte < table.len() {
        let (mut sum, mut bit) = (start, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
        start += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, proptest};

    use super::{Commits, LineBreak, crc32, push_commit, scan};

    fn written(commits: &[Vec<String>]) -> String {
        let mut buffer = String::new();
        for commit in commits {
            push_commit(&mut buffer, commit).unwrap();
        }
        buffer
    }

    fn histories() -> impl Strategy<Value = Vec<Vec<String>>> {
        prop::collection::vec(prop::collection::vec("[^\n]{0,20}", 1..4), 1..6)
    }

    #[test]
    fn the_checksum_is_that_of_ieee_802_3() {
        // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_line_is_text_mark_and_checksum() {
        let mut buffer = String::new();
        push_commit(&mut buffer, ["lease 10.0.0.2 web", "drop 10.0.0.3"]).unwrap();
        assert_eq!(buffer, "lease 10.0.0.2 web + 24290479\ndrop 10.0.0.3 . c14fdf4c\n");
    }

    #[test]
    fn a_text_with_a_line_break_is_refused() {
        assert_eq!(push_commit(&mut String::new(), ["a\nb"]), Err(LineBreak));
    }

    #[test]
    fn a_changed_byte_in_a_whole_line_is_found_and_named() {
        let good = written(&[vec!["one".into()], vec!["two".into()], vec!["three".into()]]);
        let bad = good.replace("two", "tvo");
        assert_eq!(scan(bad.as_bytes()), Err(1));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(history in histories()) {
            let buffer = written(&history);
            let texts = history.iter().flatten().map(String::as_str).collect();
            assert_eq!(scan(buffer.as_bytes()), Ok(Commits { texts, len: buffer.len() }));
        }

        #[test]
        fn a_cut_loses_the_commit_that_it_hits_and_all_of_it(history in histories(), cut in any::<prop::sample::Index>()) {
            let last = history.len() - 1;
            let before = written(&history[..last]);
            let all = written(&history);
            let cut = before.len() + cut.index(all.len() - before.len());
            let texts = history[..last].iter().flatten().map(String::as_str).collect();
            assert_eq!(scan(&all.as_bytes()[..cut]), Ok(Commits { texts, len: before.len() }));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = scan(&bytes);
        }

        #[test]
        fn arbitrary_lines_never_panic(text in "[ +.0-9a-f\n]{0,60}") {
            let _ = scan(text.as_bytes());
        }

        #[test]
        fn one_changed_byte_is_never_taken_for_another_text(history in histories(), at in any::<prop::sample::Index>(), with: u8) {
            let good = written(&history);
            let mut bad = good.clone().into_bytes();
            let at = at.index(bad.len());
            bad[at] = with;
            let whole: Vec<&str> = history.iter().flatten().map(String::as_str).collect();
            if let Ok(commits) = scan(&bad) {
                assert!(whole.starts_with(&commits.texts));
            }
        }
    }
}
