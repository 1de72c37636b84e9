//! What is to be seen of a host: read by the tools of others, and by the command's own lists.

use super::facts::{PENDING, goes_out, has, has_mac, is_port, is_up, keeps, leads, someone};
use super::step::{Net, Who};
use crate::program::{Ran, run, tool};
use crate::world::World;
use linkspan::{Firewall, NetNs};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::process::Command;

/// A host at one moment.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) facts: BTreeSet<String>,
    /// The ids of those who are on record, by name.
    pub(super) ids: BTreeMap<String, String>,
    /// The networks' bridges.
    pub(super) bridges: BTreeMap<Net, String>,
    /// The host ends of containers' links.
    pub(super) host_ends: BTreeMap<(Who, String), String>,
    /// The links of others, as they are.
    pub(super) theirs: BTreeMap<String, String>,
}

/// A link, as ip-link(8) shows it.
#[derive(Clone, Debug, Default)]
struct Link {
    index: u32,
    name: String,
    /// The index of the other end, where that is in another namespace.
    peer: Option<u32>,
    up: bool,
    mtu: String,
    master: Option<String>,
    kind: String,
    mac: String,
    hairpin: Option<String>,
    addresses: Vec<(IpAddr, u8)>,
}

/// Looks at everything: files first, since the command's lists finish what was begun.
pub(super) fn look(world: &World, inside: &[(Who, NetNs)], theirs: impl Fn(&str) -> bool) -> Seen {
    let mut seen = Seen::default();
    seen.files("pending", |_| PENDING.to_owned());
    let ids = seen.lists(world);
    let network_of = |file: &str| ids.get(file.strip_prefix("network-")?);
    seen.files("up", |name| {
        network_of(name).map_or(format!("{name} is up"), |net| format!("{net} is up on file"))
    });
    let names: BTreeMap<_, _> = ids.iter().map(|(id, net)| (link_of(id, *net), *net)).collect();
    seen.bridges = names.iter().map(|(link, net)| (*net, link.clone())).collect();
    let ends: Vec<_> = inside.iter().flat_map(|(who, netns)| seen.inside(*who, netns)).collect();
    seen.host(&names, &ends, theirs);
    match world.case.firewall {
        Firewall::Iptables => seen.chains(&names),
        _ => seen.table(&names),
    }
    seen
}

/// The bridge of a network with this id.
fn link_of(id: &str, net: Net) -> String {
    match net {
        Net::Bridge => "linkspan0".to_owned(),
        Net::N1 | Net::N2 | Net::N3 => format!("ls-{id}"),
    }
}

impl Seen {
    fn note(&mut self, fact: String) {
        self.facts.insert(fact);
    }

    fn files(&mut self, folder: &str, fact: impl Fn(&str) -> String) {
        let Ok(entries) = fs::read_dir(format!("/run/linkspan/{folder}")) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Locks stay.
            if !name.starts_with('.') {
                self.note(fact(&name));
            }
        }
    }

    /// What the command lists, and the networks by their ids.
    fn lists(&mut self, world: &World) -> BTreeMap<String, Net> {
        for row in world.linkspan("ps").ok().lines().skip(1) {
            let cells: Vec<_> = row.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            self.note(format!("{} is on record at {}", cells[0], cells[3]));
            self.ids.insert(cells[0].to_owned(), cells[1].to_owned());
        }
        let mut ids = BTreeMap::new();
        for row in world.linkspan("network ls").ok().lines().skip(1) {
            let cells: Vec<_> = row.split_whitespace().collect();
            let net = Net::ALL.into_iter().find(|net| net.to_string() == cells[1]);
            if let (Some(net), true) = (net, cells[0] != "-") {
                self.note(format!("{net} is defined"));
                ids.insert(cells[0].to_owned(), net);
                for kept in world.host.reservations(&cells[1].parse().unwrap()).unwrap() {
                    self.note(keeps(net, kept.address(), kept.container()));
                }
            }
        }
        ids
    }

    /// The inside of a container, and the indexes of its links' other ends with what those links are.
    fn inside(&mut self, who: Who, netns: &NetNs) -> Vec<(u32, Who, String)> {
        let (links, routes) = netns.run(|| (links(), routes())).unwrap();
        let mut ends = Vec::new();
        for link in links.into_iter().filter(|link| link.name != "lo") {
            let Some(peer) = link.peer else {
                self.note(someone(who, &link.name));
                continue;
            };
            let eth = format!("{who} {}", link.name);
            self.note(format!("{eth} has mtu {}", link.mtu));
            self.note(has_mac(&eth, &link.mac));
            if link.up {
                self.note(is_up(&eth));
            }
            link.addresses.iter().for_each(|address| self.note(has(&eth, *address)));
            ends.push((peer, who, link.name));
        }
        routes.into_iter().for_each(|(gateway, link)| self.note(goes_out(who, gateway, &link)));
        ends
    }

    fn host(
        &mut self,
        names: &BTreeMap<String, Net>,
        ends: &[(u32, Who, String)],
        theirs: impl Fn(&str) -> bool,
    ) {
        for link in links().into_iter().filter(|link| !["lo", "uplink"].contains(&link.name.as_str())) {
            let end = ends.iter().find(|(index, ..)| *index == link.index && link.peer.is_some());
            if theirs(&link.name) {
                let shown = format!("{} {} {:?} {:?}", link.up, link.mac, link.master, link.addresses);
                self.theirs.insert(link.name, shown);
            } else if let Some(net) = names.get(&link.name).filter(|_| link.kind == "bridge") {
                self.bridge(*net, &link);
            } else if let Some((_, who, name)) = end {
                self.host_end(*who, name, &link, names);
            } else {
                self.note(format!("{} is of nobody", link.name));
            }
        }
    }

    fn bridge(&mut self, net: Net, link: &Link) {
        self.note(format!("{net} has a bridge of mtu {}", link.mtu));
        if link.up {
            self.note(is_up(net));
        }
        link.addresses.iter().for_each(|address| self.note(has(net, *address)));
    }

    fn host_end(&mut self, who: Who, name: &str, link: &Link, names: &BTreeMap<String, Net>) {
        let (eth, hairpin) = (format!("{who} {name}"), link.hairpin.as_deref().unwrap_or("?"));
        match &link.master {
            Some(master) if link.up => match names.get(master).filter(|_| link.hairpin.is_some()) {
                Some(net) => self.note(is_port(&eth, net, hairpin)),
                None => self.note(is_port(&eth, master, hairpin)),
            },
            _ => {}
        }
        self.host_ends.insert((who, name.to_owned()), link.name.clone());
    }

    /// The elements of our table.
    fn table(&mut self, names: &BTreeMap<String, Net>) {
        let listed = attempt("nft list table inet linkspan");
        if !listed.status.success() {
            return;
        }
        for (set, elements) in sets(&listed.out) {
            for element in elements {
                let words: Vec<_> =
                    element.split([' ', ':']).filter(|word| !word.is_empty() && *word != ".").collect();
                self.notes_of_set(&set, &element, &words, names);
            }
        }
    }

    fn notes_of_set(&mut self, set: &str, element: &str, words: &[&str], names: &BTreeMap<String, Net>) {
        let net = |link: &str| names.get(link.trim_matches('"')).map_or(link.to_owned(), Net::to_string);
        // An element of an IPv6 address cannot be cut at its colons.
        let to =
            |element: &str| element.split(" : ").nth(1).and_then(|to| to.split(" . ").next()?.parse().ok());
        match set {
            "bridges" => self.note(format!("rules know {}", net(words[0]))),
            "internal" => self.note(format!("rules keep {} inside", net(words[0]))),
            "guard4" | "guard6" => self.note(format!("rules guard {element}")),
            "masq4" | "masq6" => self.note(format!("rules masquerade {element}")),
            "pub4" | "pub6" => {
                let to = to(element).expect("an element leads to an address");
                self.note(leads(words[0], None, words[1], to));
            }
            "pub4at" => {
                let to = to(element).expect("an element leads to an address");
                self.note(leads(words[1], Some(words[0]), words[2], to));
            }
            _ => {}
        }
    }

    /// The lines of our chains.
    fn chains(&mut self, names: &BTreeMap<String, Net>) {
        let net = |link: &str| names.get(link).map_or(link.to_owned(), Net::to_string);
        for line in [tool("iptables-save"), tool("ip6tables-save")].concat().lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["-A", "LINKSPAN-FORWARD", "-i", link, "-o", other, ..] if link == other => {
                    self.note(format!("rules know {}", net(link)));
                }
                ["-A", "LINKSPAN-FORWARD", "-i", link, "-j", "DROP"] => {
                    self.note(format!("rules keep {} inside", net(link)));
                }
                ["-A", "LINKSPAN-PRE", "-d", subnet, "-m", "addrtype", ..] => {
                    self.note(format!("rules guard {subnet}"));
                }
                ["-A", "LINKSPAN-POST", "-s", subnet, "!", "-o", ..] => {
                    self.note(format!("rules masquerade {subnet}"));
                }
                ["-A", "LINKSPAN-DNAT-OUT", "-p", by, "-m", _, "--dport", port, .., to] => {
                    self.note(leads(by, None, port, socket(to)));
                }
                ["-A", "LINKSPAN-DNAT-OUT", "-d", at, "-p", by, "-m", _, "--dport", port, .., to] => {
                    self.note(leads(by, Some(at.trim_end_matches("/32")), port, socket(to)));
                }
                _ => {}
            }
        }
    }
}

/// The address of `10.88.1.2:80` or `[fd88:2::2]:80`.
fn socket(to: &str) -> IpAddr {
    to.parse::<std::net::SocketAddr>().expect("DNAT leads to an address and a port").ip()
}

/// The sets of a listed table with their elements, which may take several lines.
fn sets(table: &str) -> Vec<(String, Vec<String>)> {
    let mut sets: Vec<(String, Vec<String>)> = Vec::new();
    let mut open = false;
    for line in table.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("set ").or_else(|| line.strip_prefix("map ")) {
            sets.push((name.trim_end_matches(" {").to_owned(), Vec::new()));
        }
        let first = line.strip_prefix("elements = { ");
        if let Some(elements) = first.or_else(|| open.then_some(line)) {
            let each = elements.trim_end_matches(" }").split(',').map(|element| element.trim().to_owned());
            let set = sets.last_mut().expect("elements are of a set");
            set.1.extend(each.filter(|element| !element.is_empty()));
            open = !line.ends_with('}');
        }
    }
    sets
}

/// The links of the calling thread's namespace, with their addresses.
fn links() -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for line in tool("ip -d address show").lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if !line.starts_with(' ') {
            links.push(link(&words));
        } else if let Some(link) = links.last_mut() {
            detail(link, &words);
        }
    }
    links
}

/// `5: vethls6f8ca45e8@if2: <BROADCAST,UP> mtu 1500 qdisc noqueue master br0 state UP`
fn link(words: &[&str]) -> Link {
    let (name, other) =
        words[1].trim_end_matches(':').split_once('@').unwrap_or((words[1].trim_end_matches(':'), ""));
    let peer = other.strip_prefix("if").and_then(|index| index.parse().ok());
    Link {
        index: words[0].trim_end_matches(':').parse().expect("a link has an index"),
        name: name.to_owned(),
        peer,
        up: words[2].trim_matches(['<', '>']).split(',').any(|flag| flag == "UP"),
        mtu: after(words, "mtu").unwrap_or_default().to_owned(),
        master: after(words, "master").map(str::to_owned),
        ..Link::default()
    }
}

fn detail(link: &mut Link, words: &[&str]) {
    match words {
        ["link/ether", mac, ..] => link.mac = (*mac).to_owned(),
        ["bridge", ..] => link.kind = "bridge".to_owned(),
        ["bridge_slave", ..] => link.hairpin = after(words, "hairpin").map(str::to_owned),
        ["inet" | "inet6", address, rest @ ..] if after(rest, "scope") == Some("global") => {
            let (address, length) = address.split_once('/').expect("an address has a prefix");
            link.addresses.extend(address.parse().ok().zip(length.parse().ok()));
        }
        _ => {}
    }
}

/// The word behind this one.
fn after<'a>(words: &[&'a str], word: &str) -> Option<&'a str> {
    words.iter().position(|there| *there == word).and_then(|place| words.get(place + 1).copied())
}

/// The default routes of the calling thread's namespace: by which gateway and link.
fn routes() -> Vec<(String, String)> {
    let text = tool("ip route show table all");
    let route = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_default = words.first() == Some(&"default");
        is_default.then(|| {
            (after(&words, "via").unwrap_or("-").to_owned(), after(&words, "dev").unwrap_or("-").to_owned())
        })
    };
    text.lines().filter_map(route).collect()
}

/// Runs a tool that may be refused.
pub(super) fn attempt(line: &str) -> Ran {
    let mut words = line.split_whitespace();
    run(Command::new(words.next().expect("a line names a program")).args(words))
}
