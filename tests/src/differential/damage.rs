//! What someone did by hand: routes inside of containers, and what is broken.

use super::topology::{Member, Sketch};
use linkspan::Firewall;

/// Routes that someone added in containers.
pub(super) fn routes(sketch: &mut Sketch) {
    for _ in 0..=sketch.dice.below(3) {
        let Member { container, link, net } = sketch.member();
        let (inmate, subnet) = (sketch.inmate(), sketch.subnet());
        let inside = format!("ip -n c{container} route replace");
        let line = match sketch.dice.below(7) {
            0 => via(&inside, &inmate, &net.hosts(1), &link),
            1 => via(&inside, &subnet, &net.hosts(1), &link),
            2 => Some(format!("{inside} default via {} onlink dev {link}", sketch.dice.pick(&net.hosts(1)))),
            3 => Some(format!("{inside} blackhole {inmate}")),
            4 => Some(format!("{inside} unreachable {subnet} metric 1")),
            5 => {
                // Routing by policy is not followed.
                sketch.puzzling = true;
                let family = if subnet.contains(':') { "-6" } else { "-4" };
                Some(format!("ip {family} -n c{container} rule add to {subnet} prohibit"))
            }
            _ => {
                // An address of one's own is never accepted as a source from outside, so it goes.
                sketch.say(format!("ip -n c{container} -4 addr flush dev lo"));
                let localnet = "net.ipv4.conf.all.route_localnet=1";
                sketch.say(format!("nsenter --net=/run/netns/c{container} sysctl -qw {localnet}"));
                via(&inside, "127.0.0.0/8", &net.hosts(1), &link)
            }
        };
        line.into_iter().for_each(|line| sketch.say(line));
    }
}

/// By the gateway of the same family, where there is one.
fn via(inside: &str, to: &str, gateways: &[String], link: &str) -> Option<String> {
    let gateway = gateways.iter().find(|gateway| gateway.contains(':') == to.contains(':'))?;
    Some(format!("{inside} {to} via {gateway} onlink dev {link}"))
}

/// What someone broke.
pub(super) fn damage(sketch: &mut Sketch, firewall: Firewall) {
    let Member { container, link, net } = sketch.member();
    let bridge = net.bridge;
    let host_end = format!("$(linkspan inspect c{container} | grep -om1 'vethls[0-9a-f]*')");
    let line = match sketch.dice.below(16) {
        0 | 1 => sketch.dice.one(rules_of(firewall)).to_owned(),
        2 => "sysctl -qw net.ipv4.ip_forward=0".into(),
        3 => "sysctl -qw net.ipv6.conf.all.forwarding=0".into(),
        4 => format!("ip link set {host_end} down"),
        5 => format!("ip -n c{container} link set {link} down"),
        6 => format!("ip link delete {bridge}"),
        7 => format!("ip link set {bridge} down"),
        8 => format!("ip addr flush dev {bridge}"),
        9 => format!("ip link set {host_end} nomaster"),
        10 => format!("ip -n c{container} addr flush dev {link}"),
        11 => format!("linkspan detach c{container}"),
        12 => "ip link set uplink down".into(),
        13 => format!("sysctl -qw net.ipv4.conf.{bridge}.forwarding=0"),
        14 => {
            // Nobody can look inside.
            sketch.puzzling = true;
            format!("ip netns del c{container}")
        }
        _ => format!("ip route replace blackhole {}", sketch.inmate()),
    };
    sketch.say(line);
}

/// Commands that take away rules of ours.
fn rules_of(firewall: Firewall) -> &'static [&'static str] {
    match firewall {
        Firewall::Nftables => &[
            "nft delete table inet linkspan",
            "nft flush map inet linkspan pub4",
            "nft flush map inet linkspan pub6",
            "nft flush set inet linkspan masq4",
            "nft flush set inet linkspan guard4",
            "nft flush set inet linkspan bridges",
            "nft flush set inet linkspan internal",
            "nft flush map inet linkspan same",
            "nft flush map inet linkspan to",
            "nft flush chain inet linkspan forward",
            "nft flush chain inet linkspan early",
            "nft insert rule inet linkspan forward tcp dport 80 drop",
        ],
        _ => &[
            "iptables -F LINKSPAN-FORWARD",
            "iptables -D FORWARD -j LINKSPAN-FORWARD",
            "iptables -t nat -F LINKSPAN-DNAT",
            "iptables -t nat -F LINKSPAN-POST",
            "iptables -t raw -F LINKSPAN-PRE",
            "iptables -I LINKSPAN-FORWARD -p tcp --dport 80 -j DROP",
            "ip6tables -F LINKSPAN-FORWARD",
        ],
    }
}
