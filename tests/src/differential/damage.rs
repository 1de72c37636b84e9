//! What someone did by hand: routes inside of containers, and what is broken.

use super::topology::{Member, Sketch};
use linkspan::Firewall;

/// Routes that someone added in containers.
pub(super) fn routes(sketch: &mut Sketch) {
    for _ in 0..=sketch.dice.below(3) {
        let Member { container, link, net } = sketch.member();
        let (inmate, subnet) = (sketch.inmate(), sketch.subnet());
        let inside = format!("ip -n c{container} route replace");
        let line = match sketch.dice.below(8) {
            0 => via(&inside, &inmate, &net.hosts(1), &link),
            1 => via(&inside, &subnet, &net.hosts(1), &link),
            2 => Some(format!("{inside} default via {} onlink dev {link}", sketch.dice.pick(&net.hosts(1)))),
            3 => Some(format!("{inside} blackhole {inmate}")),
            4 => Some(format!("{inside} unreachable {subnet} metric 1")),
            5 => {
                // By a neighbour, who may pass it on; nobody is a gateway of its own.
                let router = sketch.dice.below(sketch.containers());
                let forwards = "net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1";
                sketch.say(format!("nsenter --net=/run/netns/c{router} sysctl -qw {forwards}"));
                via(&inside, &subnet, &net.hosts(2 + router), &link).map(|line| line + " || :")
            }
            6 => {
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
    let line = match sketch.dice.below(4) {
        0 => links(sketch),
        1 => settings(sketch),
        2 => addresses(sketch),
        _ if sketch.dice.happens(50) => rules_inside(sketch),
        _ => sketch.dice.one(rules_of(firewall)).to_owned(),
    };
    sketch.say(line);
}

/// Links of the host, and of a container.
fn links(sketch: &mut Sketch) -> String {
    let Member { container, link, net } = sketch.member();
    let bridge = net.bridge;
    let port = format!("$(linkspan inspect c{container} | grep -om1 'vethls[0-9a-f]*')");
    sketch.dice.pick(&[
        format!("ip link set {port} down"),
        format!("ip link set {port} nomaster"),
        format!("ip link set {port} type bridge_slave isolated on"),
        format!("ip link set {port} type bridge_slave hairpin off"),
        format!("ip link set {port} type bridge_slave state 0"),
        format!("ip link set {bridge} type bridge nf_call_iptables 1 nf_call_ip6tables 1"),
        format!("ip link set {bridge} down"),
        format!("ip link delete {bridge}"),
        format!("ip -n c{container} link set {link} down"),
        "ip link set uplink down".to_owned(),
    ])
}

/// Settings, and what is attached.
fn settings(sketch: &mut Sketch) -> String {
    let Member { container, net, .. } = sketch.member();
    let bridge = net.bridge;
    if sketch.dice.happens(15) {
        // Nobody can look inside.
        sketch.puzzling = true;
        return format!("ip netns del c{container}");
    }
    sketch.dice.pick(&[
        "sysctl -qw net.ipv4.ip_forward=0".to_owned(),
        "sysctl -qw net.ipv6.conf.all.forwarding=0".to_owned(),
        format!("sysctl -qw net.ipv4.conf.{bridge}.forwarding=0"),
        format!("sysctl -qw net.ipv4.conf.{bridge}.rp_filter=1"),
        "sysctl -qw net.ipv4.conf.all.rp_filter=2".to_owned(),
        format!("linkspan detach c{container}"),
    ])
}

/// Addresses and routes.
fn addresses(sketch: &mut Sketch) -> String {
    let Member { container, link, net } = sketch.member();
    let (subnet, inmate) = (net.subnets()[0].clone(), sketch.inmate());
    let length = subnet.rsplit('/').next().expect("a subnet has a length");
    let outside = if inmate.contains(':') { "2001:db8::2" } else { "192.0.2.2" };
    sketch.dice.pick(&[
        format!("ip addr flush dev {}", net.bridge),
        format!("ip -n c{container} addr flush dev {link}"),
        format!("ip -n c{container} addr add {}/{length} dev {link}", net.hosts(99)[0]),
        format!("ip route replace blackhole {inmate}"),
        format!("ip route replace {inmate} via {outside}"),
        format!("ip rule add from {subnet} lookup 77; ip route add default via 192.0.2.2 table 77"),
    ])
}

/// Rules that someone loaded in a container.
fn rules_inside(sketch: &mut Sketch) -> String {
    let Member { container, .. } = sketch.member();
    let (hook, what) = sketch.dice.pick(&[
        ("input", "udp dport 7000"),
        ("input", "tcp dport 80"),
        ("input", "meta l4proto icmp"),
        ("input", "ct state new ip saddr 10.88.0.0/16"),
        ("output", "udp sport 7000"),
        ("output", "tcp dport 8000"),
        ("output", "ip daddr 192.0.2.0/24"),
        ("output", "ct state established"),
    ]);
    let gate = format!("chain gate {{ type filter hook {hook} priority 0; {what} drop; }}");
    format!("nsenter --net=/run/netns/c{container} nft 'table inet guard {{ {gate}; }}'")
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
