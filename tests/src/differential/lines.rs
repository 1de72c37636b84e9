//! Rules of others in iptables, drawn.

use super::foreign::PORTS;
use super::topology::Sketch;

/// Someone's rules in the tables of iptables.
pub(super) fn rules(sketch: &mut Sketch) {
    if sketch.dice.happens(20) {
        let program = sketch.dice.one(&["iptables", "ip6tables"]);
        return sketch.say(format!("{program} -P FORWARD DROP"));
    }
    for _ in 0..=sketch.dice.below(2) {
        let (table, chain) = sketch.dice.pick(&[
            ("filter", "FORWARD"),
            ("filter", "FORWARD"),
            ("filter", "INPUT"),
            ("filter", "OUTPUT"),
            ("raw", "PREROUTING"),
            ("mangle", "FORWARD"),
            ("mangle", "POSTROUTING"),
        ]);
        let (program, conditions) = words(sketch, chain);
        let act = sketch.dice.one(&["DROP", "DROP", "ACCEPT", "RETURN"]);
        let place = sketch.dice.one(&["-A", "-I"]);
        sketch.say(format!("{program} -t {table} {place} {chain} {conditions}-j {act}"));
        if program == "ip6tables" {
            // Neighbour solicitation and advertisement: who stops them has no IPv6.
            for message in [135, 136] {
                let neighbours = format!("-p ipv6-icmp -m icmp6 --icmpv6-type {message}");
                sketch.say(format!("{program} -t {table} -I {chain} {neighbours} -j ACCEPT"));
            }
        }
    }
}

/// The program of a family, and a condition of iptables with a space behind it.
pub(super) fn words(sketch: &mut Sketch, chain: &str) -> (&'static str, String) {
    let v6 = sketch.dice.happens(35);
    let words = word(sketch, chain, v6) + " ";
    (if v6 { "ip6tables" } else { "iptables" }, words)
}

fn word(sketch: &mut Sketch, chain: &str, v6: bool) -> String {
    let bridge = sketch.bridge();
    let port = sketch.dice.one(&PORTS);
    let address = sketch.address(v6);
    let not = sketch.dice.one(&["", "", "", "! "]);
    let (comes, leaves) = match chain {
        "FORWARD" => ("-i", "-o"),
        "INPUT" | "PREROUTING" => ("-i", "-i"),
        _ => ("-o", "-o"),
    };
    match sketch.dice.below(13) {
        0 => format!("{not}{comes} {bridge}"),
        1 => format!("{not}{leaves} {bridge}"),
        2 => format!("{comes} br+"),
        3 => format!("{leaves} uplink"),
        4 => format!("{not}-s {address}"),
        5 => format!("{not}-d {address}"),
        6 => format!("-p tcp --dport {port}"),
        7 => format!("-p udp -m multiport --dports {port},53"),
        8 => format!("-p tcp {not}--sport {port}"),
        9 => format!("-p {}", if v6 { "ipv6-icmp -m icmp6 --icmpv6-type echo-request" } else { "icmp" }),
        10 => format!(
            "-m conntrack --ctstate {}",
            if chain == "PREROUTING" {
                "INVALID"
            } else {
                sketch.dice.one(&["NEW", "DNAT", "ESTABLISHED", "RELATED,SNAT"])
            }
        ),
        11 => format!("-m addrtype {not}--dst-type LOCAL"),
        _ => {
            sketch.puzzling = true;
            let puzzles = [
                "-m mark --mark 7",
                "-m statistic --mode random --probability 0.5",
                "-m limit --limit 1/hour",
                "-m length --length 50:60",
            ];
            sketch.dice.one(&puzzles).into()
        }
    }
}
