//! What `iptables-save` and `ip6tables-save` print, read as tables.

use super::field::{Field, Range, Test, ct};
use super::{Act, Base, Chain, Family, Hook, Kind, Nat, Rule, Table, priority};
use linkspan_net_types::Port;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads the tables of a text; what it does not know becomes something that nobody can tell.
pub(crate) fn read(text: &str, family: Family) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            tables.push(Table { family, name: name.to_owned(), chains: BTreeMap::new() });
        } else if let Some(table) = tables.last_mut() {
            take(table, line);
        }
    }
    tables
}

fn take(table: &mut Table, line: &str) {
    // With `-c`, counters come first.
    let line = line.strip_prefix('[').and_then(|l| l.split_once("] ")).map_or(line, |(_, rest)| rest);
    if let Some(declared) = line.strip_prefix(':') {
        let mut words = declared.split(' ');
        let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or("-"));
        let base = base(&table.name, name, policy).filter(|_| policy != "-");
        table.chains.insert(name.to_owned(), Chain { base, rules: Vec::new() });
    } else if let Some(rest) = line.strip_prefix("-A ") {
        let mut words = Words(rest);
        let Some(name) = words.next() else { return };
        let rule =
            Reader { table, words: words.peekable(), tests: Vec::new(), act: Act::Continue }.read(line);
        // A text of rules to add does not declare the kernel's own chains.
        let bare = Chain { base: base(&table.name, &name, "ACCEPT"), rules: Vec::new() };
        table.chains.entry(name).or_insert(bare).rules.push(rule);
    }
}

/// How the kernel enters one of its own chains.
fn base(table: &str, chain: &str, policy: &str) -> Option<Base> {
    let hook = match chain {
        "PREROUTING" => Hook::Prerouting,
        "INPUT" => Hook::Input,
        "FORWARD" => Hook::Forward,
        "OUTPUT" => Hook::Output,
        "POSTROUTING" => Hook::Postrouting,
        _ => return None,
    };
    let (kind, priority) = match (table, hook) {
        ("raw", _) => (Kind::Filter, priority::RAW),
        ("mangle", _) => (Kind::Filter, priority::MANGLE),
        ("nat", Hook::Input | Hook::Postrouting) => (Kind::Nat, priority::SOURCE),
        ("nat", _) => (Kind::Nat, priority::TARGET),
        ("security", _) => (Kind::Filter, priority::SECURITY),
        _ => (Kind::Filter, priority::FILTER),
    };
    let written = format!("-P {chain} {policy}");
    Some(Base { kind, hook, priority, links: Vec::new(), drops: policy == "DROP", policy: written })
}

/// The words of a line; one in quotation marks may hold blanks.
struct Words<'a>(&'a str);

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0 = self.0.trim_start_matches(' ');
        let mut rest = self.0.char_indices().peekable();
        rest.peek()?;
        let (mut word, mut quoted, mut end) = (String::new(), false, self.0.len());
        while let Some((at, c)) = rest.next() {
            match c {
                '"' => quoted = !quoted,
                '\\' if quoted => word.extend(rest.next().map(|(_, c)| c)),
                ' ' if !quoted => {
                    end = at;
                    break;
                }
                c => word.push(c),
            }
        }
        self.0 = self.0.get(end..).unwrap_or_default();
        Some(word)
    }
}

/// Extensions whose options are read, or of which each option that is not read is a doubt by itself.
const MATCHES: [&str; 12] = [
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "ipv6-icmp",
    "conntrack",
    "state",
    "addrtype",
    "comment",
    "multiport",
    "physdev",
];
/// Targets after which the next rule is asked.
const NOTES: [&str; 20] = [
    "LOG",
    "NFLOG",
    "ULOG",
    "MARK",
    "CONNMARK",
    "TCPMSS",
    "SET",
    "CHECKSUM",
    "CLASSIFY",
    "TOS",
    "DSCP",
    "TRACE",
    "AUDIT",
    "SECMARK",
    "CONNSECMARK",
    "TTL",
    "HL",
    "IDLETIMER",
    "LED",
    "RATEEST",
];

/// Reads one rule.
struct Reader<'a> {
    table: &'a Table,
    words: Peekable<Words<'a>>,
    tests: Vec<Test>,
    act: Act,
}

impl Reader<'_> {
    fn read(mut self, line: &str) -> Rule {
        while let Some(word) = self.words.next() {
            let inverted = word == "!";
            let Some(word) = (if inverted { self.words.next() } else { Some(word) }) else { break };
            self.option(&word, inverted);
        }
        Rule { text: line.to_owned(), tests: self.tests, act: self.act }
    }

    fn option(&mut self, option: &str, inverted: bool) {
        let test = match option {
            "-j" | "-g" => return self.target(option == "-g"),
            "-m" => return self.extension(),
            "--comment" => return drop(self.words.next()),
            "-s" => self.word().and_then(|word| self.address(&word, true)),
            "-d" => self.word().and_then(|word| self.address(&word, false)),
            "-i" => self.word().map(|name| link(Field::In, &name)),
            "-o" => self.word().map(|name| link(Field::Out, &name)),
            "-p" => self.word().and_then(|name| protocol(&name)),
            "--sport" | "--sports" | "--source-ports" => self.word().and_then(|list| ports(0, &list)),
            "--dport" | "--dports" | "--destination-ports" => self.word().and_then(|list| ports(2, &list)),
            "--ctstate" | "--state" => self.word().and_then(|list| states(&list)),
            "--dst-type" => self.word().and_then(|kind| address_type(Field::TargetType, &kind)),
            "--src-type" => self.word().and_then(|kind| address_type(Field::SourceType, &kind)),
            "--icmp-type" | "--icmpv6-type" => self.word().and_then(|kind| message(&kind)),
            "--tcp-flags" => self.word().zip(self.word()).and_then(|(mask, set)| flags(&mask, &set)),
            _ => self.unread(),
        };
        self.tests.push(test.unwrap_or(Test::Unknown).invert(inverted));
    }

    fn word(&mut self) -> Option<String> {
        self.words.next()
    }

    /// Passes over the values of an option that is not read.
    fn unread(&mut self) -> Option<Test> {
        while self.words.next_if(|word| word != "!" && !word.starts_with('-')).is_some() {}
        None
    }

    /// Passes over an extension that is not known, with all of its options.
    fn extension(&mut self) {
        let known = self.words.next().is_some_and(|name| MATCHES.contains(&name.as_str()));
        if !known {
            while self.words.next_if(|word| !matches!(word.as_str(), "-m" | "-j" | "-g")).is_some() {}
            self.tests.push(Test::Unknown);
        }
    }

    fn target(&mut self, stays: bool) {
        let Some(name) = self.words.next() else { return };
        let mut rest: Vec<String> = self.words.by_ref().collect();
        let mut value = |option: &str| {
            let at = rest.iter().position(|word| word == option)?;
            rest.get_mut(at + 1).map(std::mem::take)
        };
        self.act = match name.as_str() {
            _ if stays => Act::Goto(name),
            _ if self.table.chains.contains_key(&name) => Act::Jump(name),
            "ACCEPT" => Act::Accept,
            "DROP" | "REJECT" => Act::Drop,
            "RETURN" => Act::Return,
            "MASQUERADE" => Act::Nat(Nat::Masquerade),
            "SNAT" => Act::Nat(Nat::Source(value("--to-source").and_then(|to| to.parse().ok()))),
            "DNAT" => Act::Nat(Nat::Target(value("--to-destination").and_then(|to| destination(&to)))),
            "REDIRECT" | "NETMAP" => Act::Nat(Nat::Target(None)),
            name if NOTES.contains(&name) => Act::Continue,
            _ => Act::Unknown,
        };
    }

    /// A subnet of the table's family, with its mask as a length or as an address.
    fn address(&self, word: &str, of_source: bool) -> Option<Test> {
        let (address, mask) = word.split_once('/').map_or((word, None), |(a, mask)| (a, Some(mask)));
        let v6 = self.table.family.is_v6();
        let (octets, mask, offset) = match v6 {
            false => {
                (v4(address)?, mask.map_or(Some(vec![0xff; 4]), mask4)?, if of_source { 12 } else { 16 })
            }
            true => {
                (v6_of(address)?, mask.map_or(Some(vec![0xff; 16]), mask6)?, if of_source { 8 } else { 24 })
            }
        };
        let field = Field::Network { offset, length: octets.len() };
        Some(Test::masked(field, mask, octets))
    }
}

fn v4(text: &str) -> Option<Vec<u8>> {
    Some(text.parse::<Ipv4Addr>().ok()?.octets().to_vec())
}

fn v6_of(text: &str) -> Option<Vec<u8>> {
    Some(text.parse::<Ipv6Addr>().ok()?.octets().to_vec())
}

fn mask4(mask: &str) -> Option<Vec<u8>> {
    let length = |n: u32| (n <= 32).then(|| u32::MAX.checked_shl(32 - n).unwrap_or(0).to_be_bytes().to_vec());
    mask.parse().map_or_else(|_| v4(mask), length)
}

fn mask6(mask: &str) -> Option<Vec<u8>> {
    let length =
        |n: u32| (n <= 128).then(|| u128::MAX.checked_shl(128 - n).unwrap_or(0).to_be_bytes().to_vec());
    mask.parse().map_or_else(|_| v6_of(mask), length)
}

/// The name of a link; with `+` behind it, the beginning of names.
fn link(field: Field, name: &str) -> Test {
    let bytes = match name.strip_suffix('+') {
        Some(beginning) => beginning.as_bytes().to_vec(),
        None => [name.as_bytes(), b"\0"].concat(),
    };
    Test::of(field, vec![Range::exactly(bytes)])
}

fn protocol(name: &str) -> Option<Test> {
    let number = match name {
        "all" => 0,
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        "ipv6-icmp" | "icmpv6" => 58,
        "sctp" => 132,
        name => name.parse::<u8>().ok()?,
    };
    let each = Range::between([0], [u8::MAX]);
    Some(Test::of(Field::Protocol, vec![if number == 0 { each } else { Range::exactly([number]) }]))
}

fn ports(offset: usize, list: &str) -> Option<Test> {
    let range = |range: &str| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u16>().ok().map(u16::to_be_bytes);
        Some(Range::between(number(first)?, number(last)?))
    };
    let ranges = list.split(',').map(range).collect::<Option<_>>()?;
    Some(Test::of(Field::Transport { offset, length: 2 }, ranges))
}

/// States, and the two kinds of translation that `--ctstate` names beside them.
fn states(list: &str) -> Option<Test> {
    let (mut states, mut translations) = (0, 0);
    for word in list.split(',') {
        match word {
            "INVALID" => states |= ct::INVALID,
            "ESTABLISHED" => states |= ct::ESTABLISHED,
            "RELATED" => states |= ct::RELATED,
            "NEW" => states |= ct::NEW,
            "UNTRACKED" => states |= ct::UNTRACKED,
            "SNAT" => translations |= ct::HIDDEN,
            "DNAT" => translations |= ct::PUBLISHED,
            _ => return None,
        }
    }
    let has = |field, bits: u32| Test::has_bit(field, bits.to_ne_bytes().to_vec());
    let of_states = Some(has(Field::State, states)).filter(|_| states != 0);
    let of_status = Some(has(Field::Status, translations)).filter(|_| translations != 0);
    Some(Test::Any { tests: of_states.into_iter().chain(of_status).collect(), inverted: false })
}

/// `RTN_*` of `linux/rtnetlink.h`.
fn address_type(field: Field, kind: &str) -> Option<Test> {
    let number: u32 = match kind {
        "UNICAST" => 1,
        "LOCAL" => 2,
        "BROADCAST" => 3,
        "ANYCAST" => 4,
        "MULTICAST" => 5,
        "BLACKHOLE" => 6,
        "UNREACHABLE" => 7,
        "PROHIBIT" => 8,
        _ => return None,
    };
    Some(Test::of(field, vec![Range::exactly(number.to_ne_bytes())]))
}

/// An ICMP type, with or without a code.
fn message(kind: &str) -> Option<Test> {
    let bytes: Vec<u8> = kind.split('/').map(str::parse).collect::<Result<_, _>>().ok()?;
    let length = Some(bytes.len()).filter(|n| *n <= 2)?;
    Some(Test::of(Field::Transport { offset: 0, length }, vec![Range::exactly(bytes)]))
}

fn flags(mask: &str, set: &str) -> Option<Test> {
    const NAMES: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
    let bits = |list: &str| {
        let bit = |word: &str| match word {
            "NONE" => Some(0),
            "ALL" => Some(0x3f),
            word => NAMES.iter().position(|name| *name == word).map(|at| 1u8 << at),
        };
        list.split(',').map(bit).try_fold(0, |bits, bit| Some(bits | bit?))
    };
    let field = Field::Transport { offset: 13, length: 1 };
    Some(Test::masked(field, vec![bits(mask)?], vec![bits(set)?]))
}

/// A target such as `10.88.1.2:80`, `[fd88::2]:80` or an address alone; ranges are not read.
fn destination(text: &str) -> Option<(IpAddr, Option<Port>)> {
    if let Ok(address) = text.trim_matches(['[', ']']).parse() {
        return Some((address, None));
    }
    let (address, port) = text.rsplit_once(':')?;
    Some((address.trim_matches(['[', ']']).parse().ok()?, Some(port.parse().ok()?)))
}
