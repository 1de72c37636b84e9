//! Conversations of a false kernel as bytes, so that a changed byte leaves the lengths around it right.
//!
//! libFuzzer inserts and removes bytes, and in a netlink message that makes every length before them wrong: nothing
//! behind would ever be read. So the lengths are not in the input but made when it is read, except in what is raw.

use crate::kernel::{HEADER, Line};

/// The opcodes of a script; each byte is one of them, by its remainder.
const MESSAGE: u8 = 0;
const BYTES: u8 = 1;
const ATTRIBUTE: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const DATAGRAM: u8 = 5;
const FAILS: u8 = 7;
const OPCODES: u8 = 8;

/// Deeper than anything the kernel sends, and shallow enough to be written out by a fuzzer.
const DEEPEST: usize = 64;
/// More than the product's buffer takes, so that a datagram that is too long is among the answers.
const LONGEST: usize = 80 * 1024;

/// Reads a script; every sequence of bytes is one.
pub fn read(mut script: &[u8]) -> Vec<Line> {
    let mut stage = Stage::default();
    while let Some(opcode) = byte(&mut script) {
        match opcode % OPCODES {
            MESSAGE => {
                let [kind, flags] = [word(&mut script), word(&mut script)];
                let sequence = byte(&mut script).unwrap_or(0);
                stage.begin(kind, flags, sequence);
            }
            BYTES => stage.put(take(&mut script)),
            ATTRIBUTE => {
                let kind = word(&mut script);
                stage.open(kind);
                stage.put(take(&mut script));
                stage.close();
            }
            OPEN => stage.open(word(&mut script)),
            CLOSE => stage.close(),
            DATAGRAM => stage.end_datagram(),
            FAILS => {
                stage.end_datagram();
                stage.lines.push(Line::Fails(i32::from(byte(&mut script).unwrap_or(0))));
            }
            // Raw.
            _ => stage.put(take(&mut script)),
        }
    }
    stage.end_datagram();
    stage.lines
}

fn byte(script: &mut &[u8]) -> Option<u8> {
    let (first, rest) = script.split_first()?;
    *script = rest;
    Some(*first)
}

fn word(script: &mut &[u8]) -> u16 {
    let low = byte(script).unwrap_or(0);
    u16::from_le_bytes([low, byte(script).unwrap_or(0)])
}

fn take<'a>(script: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::from(word(script)).min(script.len());
    let (taken, rest) = script.split_at(length);
    *script = rest;
    taken
}

/// What was read of a script so far.
#[derive(Debug, Default)]
struct Stage {
    lines: Vec<Line>,
    datagram: Vec<u8>,
    message: Option<usize>,
    open: Vec<usize>,
}

impl Stage {
    fn begin(&mut self, kind: u16, flags: u16, sequence: u8) {
        self.end_message();
        self.message = Some(self.datagram.len());
        self.datagram.extend_from_slice(&[0; 4]);
        self.datagram.extend_from_slice(&kind.to_ne_bytes());
        self.datagram.extend_from_slice(&flags.to_ne_bytes());
        self.datagram.extend_from_slice(&u32::from(sequence).to_ne_bytes());
        self.datagram.extend_from_slice(&[0; 4]);
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.datagram.len() + bytes.len() <= LONGEST {
            self.datagram.extend_from_slice(bytes);
        }
    }

    fn open(&mut self, kind: u16) {
        if self.open.len() < DEEPEST && self.datagram.len() <= LONGEST {
            self.open.push(self.datagram.len());
            self.datagram.extend_from_slice(&[0; 2]);
            self.datagram.extend_from_slice(&kind.to_ne_bytes());
        }
    }

    fn close(&mut self) {
        let Some(start) = self.open.pop() else { return };
        let length = u16::try_from(self.datagram.len() - start).unwrap_or(u16::MAX);
        self.write(start, &length.to_ne_bytes());
        self.pad();
    }

    fn end_message(&mut self) {
        while !self.open.is_empty() {
            self.close();
        }
        let Some(start) = self.message.take() else { return };
        let length = u32::try_from(self.datagram.len() - start).unwrap_or(u32::MAX);
        self.write(start, &length.to_ne_bytes());
        self.pad();
    }

    fn end_datagram(&mut self) {
        self.end_message();
        if !self.datagram.is_empty() {
            self.lines.push(Line::Datagram(std::mem::take(&mut self.datagram)));
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.datagram.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    }

    fn pad(&mut self) {
        self.datagram.resize(self.datagram.len().next_multiple_of(4), 0);
    }
}

/// Writes datagrams that a real kernel sent as a script, which says the same.
pub fn write(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let mut script = Vec::new();
    for datagram in datagrams {
        let mut rest = &datagram[..];
        while let Some((head, _)) = rest.split_first_chunk::<HEADER>() {
            let length = usize::try_from(u32::from_ne_bytes([head[0], head[1], head[2], head[3]]));
            let Some(body) = rest.get(HEADER..length.unwrap_or(usize::MAX)) else { break };
            script.extend_from_slice(&[MESSAGE, head[4], head[5], head[6], head[7], head[8]]);
            write_body(&mut script, u16::from_ne_bytes([head[4], head[5]]), body);
            rest = rest.get((HEADER + body.len()).next_multiple_of(4)..).unwrap_or_default();
        }
        script.push(DATAGRAM);
    }
    script
}

fn write_body(script: &mut Vec<u8>, kind: u16, body: &[u8]) {
    let fixed = match kind {
        // struct ifinfomsg, ifaddrmsg, rtmsg, ndmsg, fib_rule_hdr, nfgenmsg.
        16 => 16,
        20 | 58 => 8,
        24 | 28 | 32 => 12,
        256.. => 4,
        _ => body.len(),
    };
    let (fixed, attributes) = body.split_at(fixed.min(body.len()));
    script.push(BYTES);
    write_bytes(script, fixed);
    write_attributes(script, attributes);
}

fn write_attributes(script: &mut Vec<u8>, attributes: &[u8]) {
    for (kind, payload) in split(attributes).unwrap_or_default() {
        // The kernel does not mark every attribute that has others in it.
        let nested = split(payload).is_some_and(|inside| !inside.is_empty());
        script.push(if nested { OPEN } else { ATTRIBUTE });
        script.extend_from_slice(&kind.to_le_bytes());
        if nested {
            write_attributes(script, payload);
            script.push(CLOSE);
        } else {
            write_bytes(script, payload);
        }
    }
}

fn write_bytes(script: &mut Vec<u8>, bytes: &[u8]) {
    script.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
    script.extend_from_slice(bytes);
}

/// The attributes that these bytes are, with nothing left over.
fn split(mut bytes: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut attributes = Vec::new();
    while !bytes.is_empty() {
        let (head, _) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]);
        attributes.push((kind, bytes.get(4..length)?));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(attributes)
}
