//! What a host looks like at one moment, to see later whether it is as it was.

mod ledger;
mod likeness;

pub(crate) use likeness::{Likeness, likeness_of};

use crate::private::lacks;
use crate::program::{ask, tool};
use linkspan::NetNs;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How many differences are shown: a link that stayed has a hundred settings.
const SHOWN: usize = 16;

/// The host of the calling thread: its links, addresses, routes, neighbours, rules, settings, mounts, files, ports.
///
/// Left out is what the kernel keeps of its own accord (neighbours that it learned, counters, the base
/// chains that `iptables` leaves empty), what linkspan says it leaves (lock files, folders, forwarding), and
/// what is hidden below folders that are none of its business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    lines: Lines,
}

/// Lines, each with how often it is there.
type Lines = BTreeMap<String, usize>;

impl Snapshot {
    /// Looks at everything.
    pub(crate) fn take() -> Self {
        let mut snapshot = Self { lines: Lines::new() };
        snapshot.network("host");
        snapshot.rules();
        snapshot.mounts();
        ["/run", "/var/lib"].iter().for_each(|folder| snapshot.files(Path::new(folder)));
        ["ipv4", "ipv6", "bridge", "netfilter"].iter().for_each(|family| {
            snapshot.settings(&Path::new("/proc/sys/net").join(family));
        });
        ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"].iter().for_each(|table| snapshot.ports(table));
        snapshot
    }

    /// Looks at everything, and at the links, addresses and routes of these namespaces.
    pub(crate) fn take_with(namespaces: &[NetNs]) -> Self {
        let mut snapshot = Self::take();
        for netns in namespaces {
            let place = format!("{:?}", netns.place());
            netns.run(|| snapshot.network(&place)).unwrap();
        }
        snapshot
    }

    /// Looks again, and shows what came and went where anything did.
    #[track_caller]
    pub(crate) fn assert_unchanged(&self, after: &str) {
        if let Some(change) = self.change() {
            panic!("the host is not as it was, after {after}:\n{change}");
        }
    }

    /// What came and went since, one line each; `None` where nothing did.
    pub(crate) fn change(&self) -> Option<String> {
        self.change_to(&Self::take())
    }

    /// What came and went up to another snapshot.
    pub(crate) fn change_to(&self, later: &Self) -> Option<String> {
        change(&self.lines, &later.lines)
    }

    /// Whether a container's host end is there that was switched off with the end of its namespace: the kernel removes it
    /// when it comes to it.
    pub(crate) fn has_a_dying_link(&self) -> bool {
        let is_dying =
            |line: &String| line.contains(": vethls") && line.contains(" mtu ") && !line.contains(",UP");
        self.lines.keys().any(is_dying)
    }

    fn note(&mut self, section: &str, line: &str) {
        *self.lines.entry(format!("{section}: {}", line.trim_end())).or_default() += 1;
    }

    /// The network namespace of the calling thread.
    fn network(&mut self, place: &str) {
        const ALL: &str = "link show\naddress show\nroute show table all\nrule show\n\
            neighbour show nud permanent\nneighbour show proxy\n";
        let [all, rules] = [ask("ip -o -d -batch -", ALL), tool("ip -o -6 rule show")];
        for (section, text) in [(place, &*all), (&*format!("{place}, rule of IPv6"), &*rules)] {
            // With forwarding come anycast addresses, and stay with it; with a link's carrier comes its route for
            // multicast, and with an address its own route, a moment after the link or the address
            // (net/ipv6/addrconf.c).
            let own = ["anycast ", "multicast ff00::/8 "];
            let is_own =
                |line: &str| own.iter().any(|begin| line.starts_with(begin)) || is_of_ipv6_address(line);
            let lines = text.lines().filter(|line| !is_own(line));
            lines.for_each(|line| self.note(section, &steady(line)));
        }
    }

    fn rules(&mut self) {
        let ruleset = if lacks(&["nft"]).is_none() { Some(tool("nft -s list ruleset")) } else { None };
        for (table, lines) in ruleset.as_deref().map(tables).unwrap_or_default() {
            blocks(&lines).iter().for_each(|line| self.note(table, line));
        }
        for (program, family) in [("iptables-save", "ip"), ("ip6tables-save", "ip6")] {
            if lacks(&[program]).is_none() && has_iptables(family, ruleset.as_deref()) {
                let lines = tool(program);
                lines
                    .lines()
                    .filter(|line| is_rule(line))
                    .for_each(|line| self.note(program, uncounted(line)));
            }
        }
    }

    fn mounts(&mut self) {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        for mount in mounts.lines() {
            // mount id, parent id, device, root, mount point ... (proc_pid_mountinfo(5))
            let fields: Vec<_> = mount.split(' ').skip(2).take(3).collect();
            self.note("mount", &fields.join(" "));
        }
    }

    fn files(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                self.files(&path);
            } else if is_ledger_in_use(&path) {
                let text = fs::read_to_string(&path).unwrap_or_default();
                ledger::had(&text).iter().for_each(|had| self.note("ledger", had));
            } else if !is_lock(&path) {
                let mode = entry.metadata().map_or(0, |metadata| metadata.mode());
                // A pipe would keep the reader waiting for its other end.
                let bytes = if path.is_file() { fs::read(&path) } else { Ok(Vec::new()) };
                let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                self.note("file", &format!("{} {mode:o} {:?}", path.display(), text.unwrap_or_default()));
            }
        }
    }

    fn settings(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                self.settings(&path);
            } else if is_steady(&path) {
                // Some settings can be written and not read.
                let value = fs::read_to_string(&path).unwrap_or_default();
                self.note("setting", &format!("{} {}", path.display(), value.trim_end().replace('\n', " ")));
            }
        }
    }

    /// The sockets that are bound without a peer, of one of the tables of proc_pid_net(5).
    fn ports(&mut self, table: &str) {
        const LISTEN: &str = "0A";
        const UNCONNECTED: &str = "07";
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        for socket in text.lines().skip(1) {
            let fields: Vec<_> = socket.split_whitespace().collect();
            if [LISTEN, UNCONNECTED].contains(&fields[3]) {
                self.note("port", &format!("{table} {}", fields[1]));
            }
        }
    }
}

/// What came and went between two, one line each; `None` where nothing did.
fn change(before: &Lines, later: &Lines) -> Option<String> {
    let more = |these: &Lines, than: &Lines, sign: &str| {
        let more = these.iter().filter(|(line, count)| than.get(*line).is_none_or(|there| there < count));
        more.map(|(line, _)| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let lines = [more(before, later, "-"), more(later, before, "+")].concat();
    if lines.is_empty() {
        return None;
    }
    let mut text = lines.iter().take(SHOWN).map(|line| format!("{line:.300}\n")).collect::<String>();
    if lines.len() > SHOWN {
        writeln!(text, "and {} more", lines.len() - SHOWN).unwrap();
    }
    Some(text)
}

/// A line of ip(8) without what a link that nobody changes has another value of at the next look: its timers,
/// its carrier, whether an address is still asked for, how long it stays, and what a bridge remembers of ports that it
/// had.
fn steady(line: &str) -> String {
    let varies =
        |word: &str| word.ends_with("_timer") || ["state", "tso_max_size", "tso_max_segs"].contains(&word);
    let mut words = line.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            word if varies(word) => drop(words.next()),
            "linkdown" | "tentative" => {}
            left if left.strip_suffix("sec").is_some_and(|seconds| seconds.parse::<u64>().is_ok()) => {
                kept.push("SECONDS".to_owned());
            }
            flags if flags.starts_with('<') => {
                kept.push(flags.replace(",LOWER_UP", "").replace("NO-CARRIER,", ""));
            }
            word => kept.push(word.to_owned()),
        }
    }
    kept.join(" ")
}

/// The tables that `nft` lists, each by its family and name with its lines, but for those that `iptables` made: its
/// own program tells of them.
pub(crate) fn tables(ruleset: &str) -> Vec<(&str, Vec<&str>)> {
    let mut tables: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in ruleset.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match line.strip_prefix("table ") {
            Some(name) => tables.push((name.split(" {").next().unwrap_or(name), vec![line])),
            None => tables.last_mut().expect("lines are those of a table").1.push(line.trim()),
        }
    }
    tables.retain(|(name, _)| !is_of_iptables(name));
    tables
}

/// The lines of a table of nftables, each below what it is part of; elements have one each, in no order.
fn blocks(lines: &[&str]) -> Vec<String> {
    let (mut block, mut nth, mut in_elements) = ("", 0, false);
    let mut said = Vec::new();
    for line in lines.iter().skip(1) {
        in_elements |= line.starts_with("elements = {");
        if in_elements {
            let elements =
                line.trim_start_matches("elements = {").split(',').map(|part| part.trim_matches([' ', '}']));
            said.extend(elements.filter(|part| !part.is_empty()).map(|part| format!("{block} {part}")));
            in_elements = !line.ends_with('}');
        } else if line.ends_with(" {") {
            (block, nth) = (line.trim_end_matches(" {"), 0);
            said.push(block.to_owned());
        } else if *line != "}" {
            nth += 1;
            said.push(format!("{block} {nth}. {line}"));
        }
    }
    said
}

/// Whether there can be anything that `iptables-save` would list.
fn has_iptables(family: &str, ruleset: Option<&str>) -> bool {
    let Some(ruleset) = ruleset else { return true };
    let legacy = fs::read_to_string(format!("/proc/thread-self/net/{family}_tables_names"));
    let begins = format!("table {family} ");
    legacy.is_ok_and(|names| !names.is_empty()) || ruleset.lines().any(|line| line.starts_with(&begins))
}

fn is_of_iptables(table: &str) -> bool {
    let (family, name) = table.split_once(' ').unwrap_or_default();
    ["ip", "ip6"].contains(&family) && ["raw", "mangle", "nat", "filter", "security"].contains(&name)
}

/// Whether a line of iptables-save is a rule, or a chain or policy that someone made.
pub(crate) fn is_rule(line: &str) -> bool {
    match line.strip_prefix(':') {
        Some(chain) => !chain.contains(" ACCEPT "),
        None => line.starts_with('-'),
    }
}

/// A line of iptables-save without the packets that a policy has counted.
fn uncounted(line: &str) -> &str {
    match line.split_once(" [") {
        Some((chain, _)) if line.starts_with(':') => chain,
        _ => line,
    }
}

/// The files that are left to be locked again, ours and that of iptables (`iptables -w`).
fn is_lock(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".lock") || path.parent().is_some_and(|folder| folder.ends_with("locks"))
}

/// Whether a route is that of an IPv6 address of the host.
fn is_of_ipv6_address(route: &str) -> bool {
    let mut words = route.split(' ');
    words.next() == Some("local") && words.next().is_some_and(|to| to.contains(':'))
}

/// The files that are only appended to, and say the same in more lines after something came and went. They
/// have to go when nothing is on record any more, which the run folder's `host` file tells.
fn is_ledger_in_use(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(path);
    let run = if folder.ends_with("leases") { folder.parent().unwrap_or(folder) } else { folder };
    (folder.ends_with("leases") || path.ends_with("claims")) && run.join("host").exists()
}

/// Whether nobody but an administrator changes a setting.
fn is_steady(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let counts = ["nf_conntrack_count", "nf_conntrack_buckets"];
    // linkspan switches forwarding on where a network needs it and never off again; the kernel
    // switches the acceptance of redirects off with it (Documentation/networking/ip-sysctl.rst).
    let forwarding =
        ["ip_forward", "forwarding"].contains(&&*name) || path.ends_with("conf/all/accept_redirects");
    !forwarding && !counts.contains(&&*name) && !path.starts_with("/proc/sys/net/ipv4/route")
}
