//! What a host looks like apart from the names and numbers that are never given twice.

use super::{Lines, Snapshot, change};

/// How the MAC addresses begin that are made of the addresses `10.88.0.0/16` and `172.16.0.0/12`.
const OF_ADDRESSES: [&str; 2] = ["02:42:0a:58:", "02:42:ac:1"];

/// A snapshot in which every id, index, generated name and generated address is like any other: two hosts that
/// came to the same by different ways are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Likeness {
    lines: Lines,
}

impl Snapshot {
    pub(crate) fn likeness(&self) -> Likeness {
        let mut lines = Lines::new();
        for (line, count) in &self.lines {
            *lines.entry(alike(line)).or_default() += count;
        }
        Likeness { lines }
    }
}

impl Likeness {
    /// What came and went up to another one, one line each; `None` where they are alike.
    pub(crate) fn change_to(&self, later: &Self) -> Option<String> {
        change(&self.lines, &later.lines)
    }

    /// What is in neither of these, or missing though both have it: the host is on no way from the one to the other.
    pub(crate) fn strays_from(&self, one: &Self, other: &Self) -> Option<String> {
        let count = |of: &Self, line: &String| of.lines.get(line).copied().unwrap_or_default();
        let known = one.lines.keys().chain(other.lines.keys()).chain(self.lines.keys());
        let nearest = known.map(|line| {
            let ends = [count(one, line), count(other, line)];
            let there = count(self, line);
            (line.clone(), there.clamp(ends[0].min(ends[1]), ends[0].max(ends[1])))
        });
        let nearest = Self { lines: nearest.filter(|(_, count)| *count > 0).collect() };
        nearest.change_to(self)
    }
}

/// The lines of a text, apart from the same names and numbers.
pub(crate) fn likeness_of(text: &str) -> Vec<String> {
    text.lines().map(alike).collect()
}

/// A line of a snapshot without what is never given twice.
fn alike(line: &str) -> String {
    let line = match line.starts_with("file: ") {
        true => last_state(line),
        false => line.to_owned(),
    };
    // The index of a link comes first in a line of ip(8), and its peer's after an `@`.
    let mut words: Vec<&str> = line.split(' ').collect();
    while let Some(at) = words.iter().position(|word| ["link-netnsid", "link-netns"].contains(word)) {
        words.drain(at..(at + 2).min(words.len()));
    }
    words.into_iter().map(word_alike).collect::<Vec<_>>().join(" ")
}

/// A record is a line for each of its states, of which the last one counts.
fn last_state(line: &str) -> String {
    let parts = line.split_once(" \"").and_then(|(path, text)| Some((path, text.strip_suffix("\\n\"")?)));
    match parts.and_then(|(path, states)| Some((path, states.rsplit("\\n").next()?))) {
        Some((path, last)) if last.starts_with('{') => format!("{path} \"{last}\\n\""),
        _ => line.to_owned(),
    }
}

fn word_alike(word: &str) -> String {
    if word.strip_suffix(':').is_some_and(|index| index.parse::<u32>().is_ok()) {
        return "INDEX:".to_owned();
    }
    let word = word.split_once("@if").map_or(word, |(link, _)| link);
    let separators = |c: char| !c.is_ascii_alphanumeric() && c != ':';
    let mut said = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(separators).unwrap_or(rest.len());
        let (token, tail) = rest.split_at(end);
        let unsettled = ["namespace\\\"", "cookie\\\"", "net:["].iter().any(|key| said.ends_with(key));
        said.push_str(&token_alike(token, unsettled));
        let gap = tail.chars().next().map_or(0, char::len_utf8);
        said.push_str(&tail[..gap]);
        rest = &tail[gap..];
    }
    said
}

fn token_alike(token: &str, unsettled: bool) -> String {
    let is_hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    let trimmed = token.trim_matches(':');
    let parts: Vec<&str> = trimmed.split(':').collect();
    let is_mac = parts.len() == 6 && parts.iter().all(|part| (1..=2).contains(&part.len()) && is_hex(part));
    match trimmed {
        _ if unsettled && trimmed.parse::<u64>().is_ok() => token.replace(trimmed, "NUMBER"),
        mac if is_mac && !OF_ADDRESSES.iter().any(|begin| mac.starts_with(begin)) => "MAC".to_owned(),
        address if address.starts_with("fe80::") && address.len() > 6 => "fe80::MAC".to_owned(),
        id if [12, 16].contains(&id.len()) && is_hex(id) => token.replace(id, "ID"),
        link if link.strip_prefix("vethls").is_some_and(|end| end.len() == 9 && is_hex(end)) => {
            token.replace(link, "vethls")
        }
        _ => token.to_owned(),
    }
}

#[test]
fn what_is_never_given_twice_is_alike_and_the_rest_is_not() {
    let check = |line: &str, expected: &str| assert_eq!(alike(line), expected);
    check(
        "host: 3: vethls7605d0c1f@if2: <UP> mtu 1500 master ls-8ce7f03effaf link-netns web up",
        "host: INDEX: vethls <UP> mtu 1500 master ls-ID up",
    );
    check("host: link/ether fe:df:44:b8:2d:b2 brd", "host: link/ether MAC brd");
    check("host: 1.2.3.4 lladdr 02:42:ac:11:00:02", "host: 1.2.3.4 lladdr 02:42:ac:11:00:02");
    check("host: bridge_id 8000.2:bb:ba:1b:3c:8f", "host: bridge_id 8000.MAC");
    check("host: inet6 fe80::bb:baff:fe1b:3c8f/64", "host: inet6 fe80::MAC/64");
    check("mount: 0:4 net:[4026532816] /run/netns/web", "mount: 0:4 net:[NUMBER] /run/netns/web");
    check(
        r#"file: /run/l/up/network-8ce7f03effaf 100600 "{\"id\":\"8ce7f03effaf\",\"cookie\":253913}\n""#,
        r#"file: /run/l/up/network-ID 100600 "{\"id\":\"ID\",\"cookie\":NUMBER}\n""#,
    );
    check(r#"file: /x 100600 "{\"a\":1}\n{\"a\":2}\n""#, r#"file: /x 100600 "{\"a\":2}\n""#);
    check(r#"file: /x 100600 "{\"a\":2}\n""#, r#"file: /x 100600 "{\"a\":2}\n""#);
    check(
        "setting: /proc/sys/net/ipv4/conf/vethls7605d0c1f/forwarding 1",
        "setting: /proc/sys/net/ipv4/conf/vethls/forwarding 1",
    );
}

#[test]
fn a_way_from_one_to_another_has_only_what_they_have() {
    let of = |lines: &[&str]| {
        let lines = lines.iter().map(|line| (*line).to_owned());
        Likeness { lines: lines.zip(std::iter::repeat(1)).collect() }
    };
    let [before, after] = [of(&["always", "a", "b"]), of(&["always", "c"])];
    assert_eq!(of(&["always", "a", "c"]).strays_from(&before, &after), None);
    assert_eq!(of(&["a"]).strays_from(&before, &after), Some("- always\n".to_owned()));
    assert_eq!(of(&["always", "x"]).strays_from(&before, &after), Some("+ x\n".to_owned()));
}
