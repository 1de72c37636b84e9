//! Rules of others, drawn.

use super::lines;
use super::topology::Sketch;
use linkspan::Firewall;

/// Ports that are asked, for rules that look at them.
pub(super) const PORTS: [&str; 4] = ["80", "8000", "8010", "7000"];
/// What neighbours need to find each other (RFC 4861), which everyone who filters IPv6 lets pass.
const NEIGHBOURS: &str = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";

/// Someone's rules, in a table of their own, in those of iptables, or in the chain that is the user's.
pub(super) fn rules(sketch: &mut Sketch, firewall: Firewall, iptables: bool) {
    match sketch.dice.below(10) {
        0..=2 if iptables => lines::rules(sketch),
        3 | 4 => user_chain(sketch, firewall),
        5 => frames(sketch),
        6 => translation(sketch),
        _ => table(sketch),
    }
}

fn table(sketch: &mut Sketch) {
    let family = sketch.dice.one(&["inet", "inet", "ip", "ip6"]);
    let (hook, priority) = sketch.dice.pick(&[
        ("forward", 10),
        ("forward", 10),
        ("forward", -10),
        ("input", 0),
        ("output", 0),
        ("prerouting", -310),
        ("prerouting", -150),
        ("prerouting", -50),
        ("postrouting", 50),
        ("postrouting", 150),
    ]);
    let drops = sketch.dice.happens(30);
    let mut rules = Vec::new();
    if family != "ip" {
        rules.push(NEIGHBOURS.to_owned());
    }
    if drops && sketch.dice.happens(70) {
        rules.push("ct state established,related accept".to_owned());
    }
    for _ in 0..=sketch.dice.below(3) {
        if sketch.dice.happens(10) {
            rules.push(
                sketch
                    .dice
                    .one(&[
                        "tcp dport vmap { 80 : drop, 8000-8009 : accept }",
                        "ct state vmap { new : jump other, established : accept }",
                        "meta l4proto . th dport vmap { tcp . 8000 : drop, udp . 8010 : goto other }",
                        "tcp flags syn / syn,ack counter drop",
                        "tcp flags & (syn | ack) == syn | ack drop",
                    ])
                    .to_owned(),
            );
        }
        let act = match drops {
            true => "accept",
            false => sketch.dice.one(&[
                "drop",
                "drop",
                "accept",
                "counter drop",
                "jump other",
                "goto other",
                "log",
                "return",
            ]),
        };
        let conditions = conditions(sketch, family);
        rules.push(format!("{conditions}{act}"));
    }
    let other = conditions(sketch, family);
    let policy = if drops { "drop" } else { "accept" };
    let rules = rules.iter().map(|rule| format!("    {rule}\n")).collect::<String>();
    sketch.say(format!(
        "nft -f - <<'END'\ntable {family} guard {{\n  chain other {{\n    {other}drop\n  }}\n  chain gate {{\n    \
         type filter hook {hook} priority {priority}; policy {policy};\n{rules}  }}\n}}\nEND"
    ));
}

/// Someone's translations.
fn translation(sketch: &mut Sketch) {
    let (hook, priority) = sketch.dice.pick(&[
        ("prerouting", -110),
        ("prerouting", -90),
        ("output", -110),
        ("postrouting", 90),
        ("postrouting", 110),
    ]);
    let conditions = of_way(sketch);
    let act = match hook {
        "postrouting" => {
            sketch.dice.one(&["masquerade", "snat to 192.0.2.7", "ip daddr 10.88.0.0/16 masquerade"])
        }
        _ => sketch.dice.one(&[
            "tcp dport 8000 dnat to 192.0.2.2:80",
            "dnat to 10.88.0.2",
            "udp dport 7000 dnat to 10.88.1.2:80",
        ]),
    };
    sketch.say(format!(
        "nft -f - <<'END'\ntable ip guard {{\n  chain gate {{\n    type nat hook {hook} priority {priority}; \
         policy accept;\n    {conditions} {act}\n  }}\n}}\nEND"
    ));
}

/// Rules for frames of bridges, or for one link before anything else.
fn frames(sketch: &mut Sketch) {
    let address = sketch.address(false);
    let side = sketch.dice.one(&["saddr", "daddr"]);
    let port = sketch.dice.one(&PORTS);
    let rule = sketch.dice.pick(&[format!("ip {side} {address} drop"), format!("tcp dport {port} drop")]);
    let head = match sketch.dice.happens(50) {
        true => ("netdev", "ingress device uplink priority 0".to_owned()),
        false => (
            "bridge",
            format!(
                "{} priority 0",
                sketch.dice.one(&["prerouting", "forward", "input", "output", "postrouting"])
            ),
        ),
    };
    let (family, hook) = head;
    sketch.say(format!(
        "nft -f - <<'END'\ntable {family} guard {{\n  chain gate {{\n    type filter hook {hook}; policy accept;\n    {rule}\n  }}\n}}\nEND"
    ));
}

fn user_chain(sketch: &mut Sketch, firewall: Firewall) {
    for _ in 0..=sketch.dice.below(2) {
        match firewall {
            Firewall::Nftables => {
                let conditions = conditions(sketch, "inet");
                let act = sketch.dice.one(&["drop", "accept", "return"]);
                sketch.say(format!("nft 'add rule inet linkspan linkspan-user {conditions}{act}'"));
            }
            _ => {
                let (program, conditions) = lines::words(sketch, "FORWARD");
                let act = sketch.dice.one(&["DROP", "ACCEPT", "RETURN", "REJECT"]);
                sketch.say(format!("{program} -A linkspan-user {conditions}-j {act}"));
            }
        }
    }
}

impl Sketch {
    pub(super) fn bridge(&mut self) -> String {
        let net = self.dice.below(self.nets.len());
        self.nets[net].bridge.clone()
    }

    /// An address, or a subnet, of someone.
    pub(super) fn address(&mut self, v6: bool) -> String {
        let number = self.dice.below(4);
        let all = match v6 {
            false => [
                format!("10.88.{number}.2"),
                format!("10.88.{number}.3"),
                format!("10.88.{number}.0/24"),
                "192.0.2.1".into(),
                "192.0.2.2".into(),
                "172.17.0.2".into(),
            ],
            true => [
                format!("fd88:{number}::2"),
                format!("fd88:{number}::3"),
                format!("fd88:{number}::/64"),
                "2001:db8::1".into(),
                "2001:db8::2".into(),
                "fd88::/16".into(),
            ],
        };
        self.dice.pick(&all)
    }
}

/// One or two conditions of nftables, with a space behind each.
fn conditions(sketch: &mut Sketch, family: &str) -> String {
    let v6 = family == "ip6" || (family == "inet" && sketch.dice.happens(30));
    match sketch.dice.below(3) {
        0 => format!("{} ", of_way(sketch)),
        1 => format!("{} ", of_packet(sketch, v6)),
        _ => format!("{} {} ", of_way(sketch), of_packet(sketch, v6)),
    }
}

/// Of where a packet is, and of its connection.
fn of_way(sketch: &mut Sketch) -> String {
    let bridge = sketch.bridge();
    let not = sketch.dice.one(&["", "", "", "!= "]);
    match sketch.dice.below(10) {
        0 => format!("iifname {not}{bridge}"),
        1 => format!("oifname {not}{bridge}"),
        2 => format!("iifname {not}uplink"),
        3 => "oifname { uplink, lo }".into(),
        4 => "iifname br*".into(),
        5 => format!("ct state {}", sketch.dice.one(&["new", "established", "invalid", "new,related"])),
        6 => format!("ct status {not}dnat"),
        7 => format!("fib daddr type {not}local"),
        8 => format!("ct direction {}", sketch.dice.one(&["original", "reply"])),
        _ => {
            sketch.puzzling = true;
            let puzzles = [
                "meta mark 7",
                "numgen random mod 2 0",
                "limit rate 1/hour",
                "ct mark 3",
                "meta length > 50",
            ];
            sketch.dice.one(&puzzles).into()
        }
    }
}

/// Of what is in a packet.
fn of_packet(sketch: &mut Sketch, v6: bool) -> String {
    let port = sketch.dice.one(&PORTS);
    let (ip, icmp) = if v6 { ("ip6", "icmpv6") } else { ("ip", "icmp") };
    let address = sketch.address(v6);
    let not = sketch.dice.one(&["", "", "", "!= "]);
    match sketch.dice.below(12) {
        0 | 1 => format!("{ip} saddr {not}{address}"),
        2 | 3 => format!("{ip} daddr {not}{address}"),
        10 => format!(
            "{ip} daddr {not}{{ {address}, {} }}",
            if v6 { "2001:db8:9::/64" } else { "198.51.100.0/24" }
        ),
        11 => format!("iifname . {ip} daddr {{ br0 . {address}, uplink . {address} }}"),
        4 => format!("tcp dport {not}{port}"),
        5 => format!("udp dport {{ {port}, 53 }}"),
        6 => "meta l4proto { tcp, udp } th dport 8000-8009".into(),
        7 => format!("tcp sport {port}"),
        8 => format!("{icmp} type echo-request"),
        _ => format!("meta l4proto {}", sketch.dice.one(&["tcp", "udp", "{ icmp, tcp }"])),
    }
}
