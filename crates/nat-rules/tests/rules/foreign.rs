//! What rules of others make of our packets, on paper.

use crate::walk::{link, parse};
use ipnet::IpNet;
use linkspan_nat_rules::foreign::{Foreign, Judgement, judge};
use linkspan_nat_rules::iptables::{self, Family};
use linkspan_nat_rules::walk::{Routes, Rules, walk};
use linkspan_nat_rules::{Change, Destination, Instance, Network, Publish, Ruleset};
use linkspan_net_types::{Port, Protocol};

/// One network, `ls-web`, with a published port.
pub(crate) fn web() -> Ruleset {
    let network = Network::new(link("ls-web"))
        .with_subnet("10.88.1.0/24".parse().unwrap())
        .with_subnet("fd88:1::/64".parse().unwrap());
    let port = |number| Port::new(number).unwrap();
    let publish = |address: &str| {
        Publish::nat(Protocol::Tcp, port(8080), Destination::new(address.parse().unwrap(), port(80)))
    };
    let change =
        Change::new().add_network(network).publish(publish("10.88.1.2")).publish(publish("fd88:1::2"));
    Ruleset::new().after(&change).unwrap()
}

pub(crate) fn routes() -> Routes {
    let links = [
        ("ls-web", "10.88.1.1/24"),
        ("ls-web", "fd88:1::1/64"),
        ("eth0", "192.0.2.1/24"),
        ("eth0", "2001:db8::1/64"),
    ];
    let routes = links.into_iter().fold(Routes::new(), |routes, (name, address)| {
        routes.with_link(link(name), address.parse::<IpNet>().unwrap())
    });
    let routes = routes.with_route("0.0.0.0/0".parse().unwrap(), link("eth0"));
    routes.with_route("::/0".parse().unwrap(), link("eth0"))
}

/// A published port from outside, the way out, and the gateway, in the words of [`parse`].
const INWARD: &str = "tcp 192.0.2.9 -> 192.0.2.1:8080 from eth0";
const OUTWARD: &str = "tcp 10.88.1.2 -> 192.0.2.9:443 from ls-web";
const GATEWAY: &str = "udp 10.88.1.2 -> 10.88.1.1:53 from ls-web";
const NEIGHBOUR: &str = "tcp 10.88.1.2 -> 10.88.1.3:80 from ls-web bridged";
const OUTWARD6: &str = "tcp fd88:1::2 -> [2001:db8::9]:443 from ls-web";

/// What of a filter table is said of a packet with the nftables backend.
fn check(lines: &str, packet: &str, expected: &str) {
    let text = format!("*filter\n{}\nCOMMIT\n", lines.trim());
    check_text(&text, packet, expected);
}

fn check_text(text: &str, packet: &str, expected: &str) {
    let foreign = Foreign::new(Instance::default())
        .with_saved(Family::V4, text)
        .with_saved(Family::V6, &text.replace("ufw-", "ufw6-"));
    let walked = walk(&Rules::nftables(Instance::default(), &web()), &parse(packet), &routes());
    let judged = judge(&foreign, &walked);
    assert_eq!(judged.to_string(), expected, "{packet}\n{text}");

    let stored = serde_json::to_string(&judged).unwrap();
    assert_eq!(serde_json::from_str::<Judgement>(&stored).unwrap(), judged, "{stored}");
}

const DOCKER: &str = "\
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -o docker0 -j DOCKER
-A DOCKER-FORWARD -i docker0 -j ACCEPT";

#[test]
fn dockers_policy_is_mended_in_its_users_chain() {
    let policy = "stopped by `-P FORWARD DROP` in chain `FORWARD` of table `iptables filter`; mended by: ";
    check(DOCKER, INWARD, &format!("{policy}iptables -I DOCKER-USER -o ls-web -j ACCEPT"));
    check(DOCKER, OUTWARD, &format!("{policy}iptables -I DOCKER-USER -i ls-web -j ACCEPT"));
    check(DOCKER, NEIGHBOUR, &format!("{policy}iptables -I DOCKER-USER -i ls-web -j ACCEPT"));
    let policy6 = policy.replace("iptables", "ip6tables");
    check(DOCKER, OUTWARD6, &format!("{policy6}ip6tables -I DOCKER-USER -i ls-web -j ACCEPT"));
    check(DOCKER, GATEWAY, "passes");
    check(
        DOCKER,
        "tcp 10.88.1.2 -> 10.88.1.3:80 from ls-web",
        &format!("{policy}iptables -I DOCKER-USER -i ls-web -j ACCEPT"),
    );

    let mended = DOCKER.replace(
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -o ls-web -j ACCEPT",
    );
    check(&mended, INWARD, "passes");
    check(&mended, OUTWARD, &format!("{policy}iptables -I DOCKER-USER -i ls-web -j ACCEPT"));
}

#[test]
fn a_policy_is_mended_in_its_own_chain_where_nothing_else_would() {
    let policy = "stopped by `-P FORWARD DROP` in chain `FORWARD` of table `iptables filter`; mended by: ";
    check(":FORWARD DROP [0:0]", INWARD, &format!("{policy}iptables -I FORWARD -o ls-web -j ACCEPT"));
    // Nothing jumps to the user's chain.
    check(
        ":FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]",
        INWARD,
        &format!("{policy}iptables -I FORWARD -o ls-web -j ACCEPT"),
    );
    check(":FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT", INWARD, "passes");
    check(
        ":FORWARD DROP [0:0]\n-A FORWARD -d 10.88.1.0/255.255.255.0 -p tcp -m multiport --dports 22,80:81 -j ACCEPT",
        INWARD,
        "passes",
    );
    check(":FORWARD DROP [0:0]\n-A FORWARD -o ls-+ -j ACCEPT", INWARD, "passes");
    check(
        ":INPUT DROP [0:0]",
        GATEWAY,
        "stopped by `-P INPUT DROP` in chain `INPUT` of table `iptables filter`; mended by: iptables -I INPUT -i ls-web -p udp --dport 53 -j ACCEPT",
    );
    check(
        ":OUTPUT DROP [0:0]",
        "ping 10.88.1.1 -> 10.88.1.2",
        "stopped by `-P OUTPUT DROP` in chain `OUTPUT` of table `iptables filter`; mended by: iptables -I OUTPUT -o ls-web -p icmp -j ACCEPT",
    );
}

#[test]
fn our_own_iptables_chains_stand_before_the_policy() {
    let own = iptables::text(Instance::default(), &web(), Family::V4);
    let text = own.replace("*filter\n", "*filter\n:FORWARD DROP [0:0]\n");
    assert_ne!(own, text);
    for packet in [INWARD, OUTWARD, NEIGHBOUR, GATEWAY] {
        check_text(&text, packet, "passes");
    }
    let first = text.replace(
        "-A FORWARD -j linkspan-user",
        "-A FORWARD -i eth0 -j REJECT --reject-with icmp-port-unreachable\n-A FORWARD -j linkspan-user",
    );
    check_text(&first, OUTWARD, "passes");
    // What accepts before our chains would open what they forbid, so it is they that go first.
    check_text(
        &first,
        INWARD,
        "stopped by `-A FORWARD -i eth0 -j REJECT --reject-with icmp-port-unreachable` in chain `FORWARD` of table `iptables filter`; mended by: printf '%s\\n' '*filter' '-D FORWARD -j linkspan-user' '-D FORWARD -j LINKSPAN-FORWARD' '-I FORWARD -j LINKSPAN-FORWARD' '-I FORWARD -j linkspan-user' COMMIT | iptables-restore -w --noflush",
    );
    let raw = own.replace("*filter\n", "*filter\n:FORWARD DROP [0:0]\n").replace(
        "-A PREROUTING -j LINKSPAN-PRE",
        "-A PREROUTING -j LINKSPAN-PRE\n-A PREROUTING -p tcp -m tcp --dport 8080 -j DROP",
    );
    check_text(
        &raw,
        INWARD,
        "stopped by `-A PREROUTING -p tcp -m tcp --dport 8080 -j DROP` in chain `PREROUTING` of table `iptables raw`; mended by: iptables -t raw -I PREROUTING 2 -i eth0 -d 192.0.2.1 -p tcp --dport 8080 -j ACCEPT",
    );
}

const UFW: &str = r#"
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-before-forward - [0:0]
:ufw-after-forward - [0:0]
:ufw-after-logging-forward - [0:0]
:ufw-user-forward - [0:0]
:ufw-user-input - [0:0]
:ufw-reject-forward - [0:0]
-A INPUT -j ufw-before-input
-A FORWARD -j ufw-before-forward
-A FORWARD -j ufw-after-forward
-A FORWARD -j ufw-after-logging-forward
-A FORWARD -j ufw-reject-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
-A ufw-after-logging-forward -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
"#;

#[test]
fn ufw_is_mended_by_its_own_command() {
    let policy = "stopped by `-P FORWARD DROP` in chain `FORWARD` of table `iptables filter`; mended by: ";
    check(UFW, INWARD, &format!("{policy}ufw route allow out on ls-web"));
    check(UFW, OUTWARD, &format!("{policy}ufw route allow in on ls-web"));
    let policy6 = policy.replace("iptables", "ip6tables");
    check(UFW, OUTWARD6, &format!("{policy6}ufw route allow in on ls-web"));
    check(UFW, "ping 10.88.1.2 -> 192.0.2.9 from ls-web", "passes");
    check(
        UFW,
        GATEWAY,
        "stopped by `-P INPUT DROP` in chain `INPUT` of table `iptables filter`; mended by: ufw allow in on ls-web to any port 53 proto udp",
    );
    let allowed =
        UFW.replace("-A ufw-after-logging", "-A ufw-user-forward -i ls-web -j ACCEPT\n-A ufw-after-logging");
    check(&allowed, OUTWARD, "passes");
}

#[test]
fn firewalld_is_mended_by_its_zones() {
    let lines = "
:FORWARD ACCEPT [0:0]
:FORWARD_direct - [0:0]
:FORWARD_IN_ZONES - [0:0]
:FWDI_public - [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT
-A FORWARD -i lo -j ACCEPT
-A FORWARD -j FORWARD_direct
-A FORWARD -j FORWARD_IN_ZONES
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
-A FORWARD_IN_ZONES -i eth0 -g FWDI_public
-A FORWARD_IN_ZONES -g FWDI_public
-A FWDI_public -p icmp -j ACCEPT";
    check(
        lines,
        OUTWARD,
        "stopped by `-A FORWARD -j REJECT --reject-with icmp-host-prohibited` in chain `FORWARD` of table `iptables filter`; mended by: firewall-cmd --permanent --zone=trusted --add-interface=ls-web && firewall-cmd --reload",
    );
    check(lines, "ping 10.88.1.2 -> 192.0.2.9 from ls-web", "passes");
    check(lines, INWARD, "passes");
}

#[test]
fn what_hangs_on_something_unknown_cannot_be_told() {
    let doubt = |rule: &str, chain: &str| {
        format!("cannot tell what `{rule}` in chain `{chain}` of table `iptables filter` does")
    };
    let limit = "-A FORWARD -m limit --limit 3/min -j ACCEPT";
    check(&format!(":FORWARD DROP [0:0]\n{limit}"), OUTWARD, &doubt(limit, "FORWARD"));
    // However it decides, the packet passes; or is stopped.
    check(&format!(":FORWARD ACCEPT [0:0]\n{limit}"), OUTWARD, "passes");
    check(
        ":FORWARD ACCEPT [0:0]\n-A FORWARD -m owner --uid-owner 0 -j DROP\n-A FORWARD -j DROP",
        OUTWARD,
        "stopped by `-A FORWARD -j DROP` in chain `FORWARD` of table `iptables filter`; mended by: iptables -I FORWARD -i ls-web -j ACCEPT",
    );
    let jump = "-A FORWARD -m set --match-set known src -j MAYBE";
    let maybe = format!(":FORWARD ACCEPT [0:0]\n:MAYBE - [0:0]\n{jump}\n");
    check(&format!("{maybe}-A MAYBE -p udp -j DROP"), OUTWARD, "passes");
    check(&format!("{maybe}-A MAYBE -p tcp -j DROP"), OUTWARD, &doubt(jump, "FORWARD"));
    let queue = "-A FORWARD -p tcp -j NFQUEUE --queue-num 0";
    check(&format!(":FORWARD ACCEPT [0:0]\n{queue}"), OUTWARD, &doubt(queue, "FORWARD"));
    // A rule that stops for certain is named before one that may.
    let elsewhere = ":FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]";
    let text = format!(
        "*mangle\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m mark --mark 0x1 -j DROP\nCOMMIT\n*filter\n{elsewhere}\nCOMMIT\n"
    );
    check_text(
        &text,
        OUTWARD,
        "stopped by `-P FORWARD DROP` in chain `FORWARD` of table `iptables filter`; mended by: iptables -I FORWARD -i ls-web -j ACCEPT",
    );
}

#[test]
fn translations_of_others_are_followed() {
    let nat =
        |rule: &str| format!("*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n");
    let steals = "-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80";
    check_text(
        &nat(steals),
        INWARD,
        &format!("cannot tell what `{steals}` in chain `PREROUTING` of table `iptables nat` does"),
    );
    check_text(
        &nat("-A PREROUTING -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:80"),
        INWARD,
        "passes",
    );
    check_text(&nat("-A POSTROUTING ! -o docker0 -j MASQUERADE"), OUTWARD, "passes");
}

#[test]
fn raw_rules_see_the_target_before_it_is_translated() {
    let raw = |rule: &str| format!("*raw\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n");
    check_text(&raw("-A PREROUTING -d 10.88.1.2/32 -j DROP"), INWARD, "passes");
    let port = "-A PREROUTING -i eth0 -p tcp -m tcp --dport 8080 -j DROP";
    check_text(
        &raw(port),
        INWARD,
        &format!(
            "stopped by `{port}` in chain `PREROUTING` of table `iptables raw`; mended by: iptables -t raw -I PREROUTING -i eth0 -d 192.0.2.1 -p tcp --dport 8080 -j ACCEPT"
        ),
    );
}

#[test]
fn the_first_answer_of_tcp_is_known_by_its_flags() {
    let judged = |rule: &str| {
        let text = format!("*filter\n:FORWARD ACCEPT [0:0]\n{rule}\nCOMMIT\n");
        let rules = Rules::nftables(Instance::default(), &web());
        let answer = walk(&rules, &parse(INWARD), &routes()).answer(&routes()).unwrap();
        let foreign = Foreign::new(Instance::default()).with_saved(Family::V4, &text);
        judge(&foreign, &walk(&rules, &answer, &routes()))
    };
    let flags = |set: &str| judged(&format!("-A FORWARD -p tcp -m tcp --tcp-flags SYN,ACK {set} -j DROP"));
    assert!(matches!(flags("SYN,ACK"), Judgement::StoppedBy { .. }));
    assert_eq!(flags("ACK"), Judgement::Passes);
    assert_eq!(flags("SYN"), Judgement::Passes);
}

#[test]
fn what_the_host_sends_to_itself_is_known_when_it_comes_in() {
    let raw =
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
    check_text(raw, "tcp 192.0.2.1 -> 192.0.2.1:443", "passes");
    let stopped = "stopped by `-A PREROUTING -m conntrack --ctstate INVALID -j DROP` in chain `PREROUTING` of table `iptables raw`";
    let mend = "mended by: iptables -t raw -I PREROUTING -i ls-web -j ACCEPT";
    check_text(raw, OUTWARD, &format!("{stopped}; {mend}"));
}

#[test]
fn the_last_hook_of_a_bridged_frame_does_not_say_where_it_came_from() {
    let mangle = |rule: &str| format!("*mangle\n:POSTROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n");
    let rule = "-A POSTROUTING -i ls-web -j DROP";
    check_text(&mangle(rule), NEIGHBOUR, "passes");
    check_text(
        &mangle(rule),
        OUTWARD,
        &format!(
            "stopped by `{rule}` in chain `POSTROUTING` of table `iptables mangle`; mended by: iptables -t mangle -I POSTROUTING -o eth0 -p tcp --dport 443 -j ACCEPT"
        ),
    );
}

#[test]
fn a_name_cannot_become_a_command() {
    let lines = ":FORWARD ACCEPT [0:0]\n:$(reboot) - [0:0]\n-A FORWARD -j $(reboot)\n-A $(reboot) -j DROP";
    check(
        lines,
        OUTWARD,
        "stopped by `-A $(reboot) -j DROP` in chain `$(reboot)` of table `iptables filter`; mended by: iptables -I FORWARD -i ls-web -j ACCEPT",
    );
    let text = "*a;b $(c) 'd'\n:FORWARD DROP [0:0]\nCOMMIT\n";
    check_text(
        text,
        OUTWARD,
        "stopped by `-P FORWARD DROP` in chain `FORWARD` of table `iptables a;b $(c) 'd'`; mended by: iptables -t 'a;b $(c) '\\''d'\\''' -I FORWARD -i ls-web -j ACCEPT",
    );
}

#[test]
fn a_packet_is_not_translated_to_an_address_of_the_other_family() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DNAT --to-destination 10.88.1.2\nCOMMIT\n\
        *filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -s 2001:db8::7 -j DROP\nCOMMIT\n";
    let foreign = Foreign::new(Instance::default()).with_saved(Family::V6, text);
    let packet = parse("tcp 2001:db8::9 -> [2001:db8::1]:8080 from eth0");
    let walked = walk(&Rules::everything(foreign, [link("ls-web")]), &packet, &routes());
    let verdict = walked.verdict().to_string();
    assert!(verdict.starts_with("cannot tell what `-A PREROUTING"), "{verdict}");
}
