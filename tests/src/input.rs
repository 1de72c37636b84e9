//! Bad input gets one line that names the field, a status, and changes nothing.

use crate::private::{in_private, in_private_with, lacks};
use crate::program::{Ran, path_of_linkspan, run, tool};
use crate::snapshot::Snapshot;
use crate::world::{World, with_each_firewall};
use linkspan::NetNs;
use std::net::TcpListener;
use std::process::Command;

/// A host with a small network, a container on it, a namespace that waits, and a program at port 8088.
struct Desk<'a> {
    world: &'a World,
    before: Snapshot,
    _netns: [NetNs; 2],
    _program: TcpListener,
}

impl<'a> Desk<'a> {
    fn new(world: &'a World) -> Self {
        let netns = ["web", "two"].map(|name| NetNs::create(format!("/run/netns/{name}")).unwrap());
        world.linkspan("network create net-1 --subnet 10.88.1.0/29").ok();
        world.linkspan("attach web --netns /run/netns/web --network net-1 -p 8080:80").ok();
        let program = TcpListener::bind("0.0.0.0:8088").unwrap();
        Self { world, before: Snapshot::take(), _netns: netns, _program: program }
    }

    /// Types a line, and looks at what comes of it.
    #[track_caller]
    fn check(&self, line: &str, status: i32, expected: &str) {
        self.judge(line, &self.world.linkspan(line), status, expected);
    }

    /// Types an attach of the namespace that waits.
    #[track_caller]
    fn attach(&self, options: &str, status: i32, expected: &str) {
        self.check(&format!("attach two --netns /run/netns/two {options}"), status, expected);
    }

    #[track_caller]
    fn judge(&self, line: &str, ran: &Ran, status: i32, expected: &str) {
        assert_eq!(ran.code(), Some(status), "{line}: {ran}");
        assert!(ran.err.contains(expected), "{line}: {ran}");
        assert!(ran.err.starts_with("linkspan: ") && ran.err.lines().count() == 1, "{line}: {ran}");
        assert_eq!(ran.out, "", "{line}");
        self.before.assert_unchanged(line);
    }
}

fn at_each_desk(body: impl Fn(&Desk<'_>) + Sync) {
    with_each_firewall(|world| body(&Desk::new(world)));
}

#[test]
fn a_bad_network_is_refused_by_its_field() {
    in_private(|| {
        at_each_desk(|desk| {
            desk.check("network create ../x", 2, "'<NAME>': a name begins with a letter or a digit");
            desk.check("network create ''", 2, "'<NAME>': a name is not empty");
            desk.check("network create 'a b'", 2, "'<NAME>': a name holds letters, digits");
            desk.check(&format!("network create {}", "a".repeat(300)), 2, "'<NAME>': a name");
            desk.check("network create net-1", 1, "network `net-1` exists");
            desk.check("network create none", 1, "network name `none` is reserved");
            desk.check("network create host", 1, "network name `host` is reserved");
            desk.check("network create a --driver overlay", 2, "'--driver <DRIVER>'");
            desk.check(
                "network create a --mtu 67",
                2,
                "'--mtu <N>': an MTU is a number of bytes from 68 to 65535",
            );
            let small = "an MTU of 1000 on `ls-";
            desk.check("network create a --mtu 1000 --ipv6", 1, small);
            desk.check("network create a --bridge-name 0123456789abcdef", 2, "'--bridge-name <IF>'");
            desk.check("network create a --bridge-name a/b", 2, "'--bridge-name <IF>'");
            desk.check("network create a --bridge-name 'a b'", 2, "'--bridge-name <IF>'");
            desk.check("network create a --bridge-name lo", 1, "`lo` is a device and not a bridge");
            desk.check("network create a --label =x", 2, "'--label <KEY=VALUE>'");
        });
    });
}

#[test]
fn a_bad_subnet_is_refused_by_its_field() {
    in_private(|| {
        at_each_desk(|desk| {
            let create = |options: &str, status, expected: &str| {
                desk.check(&format!("network create a {options}"), status, expected);
            };
            create("--subnet x", 2, "'--subnet <CIDR>': invalid IP address syntax");
            create("--subnet 10.0.0.0/33", 2, "'--subnet <CIDR>': invalid IP address syntax");
            create(
                "--subnet 10.0.0.1/24",
                2,
                "--subnet: subnet 10.0.0.1/24 has host bits set, 10.0.0.0/24 has not",
            );
            create("--subnet 10.1.0.0/32", 2, "--subnet: subnet 10.1.0.0/32 holds a single address");
            create("--subnet 127.0.0.0/8", 2, "--subnet: subnet 127.0.0.0/8");
            create("--subnet 224.0.0.0/24", 2, "--subnet: subnet 224.0.0.0/24");
            create("--subnet 0.0.0.0/0", 2, "--subnet: subnet 0.0.0.0/0");
            create("--subnet ff00::/64", 2, "--subnet: subnet ff00::/64");
            create("--subnet 10.1.0.0/24 --subnet 10.2.0.0/24", 2, "--subnet is given twice for IPv4");
            create(
                "--subnet 10.88.0.0/16",
                1,
                "subnet 10.88.0.0/16 overlaps 10.88.1.0/29 of network `net-1`",
            );
            create(
                "--subnet 10.88.1.4/30",
                1,
                "subnet 10.88.1.4/30 overlaps 10.88.1.0/29 of network `net-1`",
            );
            create("--gateway 10.2.0.1", 2, "--gateway 10.2.0.1 needs a --subnet");
            create(
                "--subnet 10.1.0.0/24 --gateway 10.2.0.1",
                2,
                "--gateway: address 10.2.0.1 is not in subnet",
            );
            create("--subnet 10.1.0.0/24 --gateway 10.1.0.255", 2, "--gateway: address 10.1.0.255");
            create("--subnet 10.1.0.0/24 --ip-range 10.2.0.0/25", 2, "--ip-range: range 10.2.0.0/25");
            create("--subnet 10.1.0.0/24 --aux-address r=10.2.0.9", 2, "--aux-address: address 10.2.0.9");
            create("--subnet 10.1.0.0/24 --aux-address 10.1.0.9", 2, "'--aux-address <NAME=IP>'");
        });
    });
}

#[test]
fn a_bad_address_is_refused_by_its_field() {
    in_private(|| {
        at_each_desk(|desk| {
            let ip = |ip: &str, status, expected: &str| {
                desk.attach(&format!("--network net-1 --ip {ip}"), status, expected);
            };
            ip("10.88.1.300", 2, "'--ip <IP>': invalid IP address syntax");
            ip("10.99.0.1", 1, "address 10.99.0.1 is not in subnet 10.88.1.0/29");
            ip("10.88.1.0", 1, "address 10.88.1.0 is the network address");
            ip("10.88.1.1", 1, "address 10.88.1.1 is the gateway");
            ip("10.88.1.2", 1, "ip 10.88.1.2 is taken by `");
            ip("10.88.1.7", 1, "address 10.88.1.7 is the broadcast address");
            ip("fd00::2", 1, "network `net-1` has no subnet for ip fd00::2");
            desk.attach("--mac 02:42", 2, "'--mac <MAC>'");
            desk.attach("--mac 01:00:5e:00:00:01", 2, "'--mac <MAC>'");
            desk.attach("--ifname lo", 1, "the container has a link `lo` already");
            desk.attach("--ifname 0123456789abcdef", 2, "'--ifname <IF>'");
        });
    });
}

#[test]
fn a_bad_port_is_refused_by_its_field() {
    in_private(|| {
        at_each_desk(|desk| {
            let port =
                |port: &str, status, expected: &str| desk.attach(&format!("-p {port}"), status, expected);
            port("0", 2, "'--publish <PORT>': the container's port is wrong");
            port("65536", 2, "'--publish <PORT>': the container's port is wrong");
            port("x:80", 2, "'--publish <PORT>': the host's port is wrong");
            port("65536:80", 2, "'--publish <PORT>': the host's port is wrong");
            port("1.2.3:80:80", 2, "'--publish <PORT>': the host's address is wrong");
            port("80/icmp", 2, "'--publish <PORT>': the protocol is wrong");
            port("80-82:80-81", 2, "'--publish <PORT>': the host's range has 3 ports and the container's 2");
            port("8-7:80-81", 2, "'--publish <PORT>'");
            port("8080:80", 1, "host port 8080/tcp is published by `web`");
            port("127.0.0.1:8080:80", 1, "host port 8080/tcp is published by `web`");
            port("8079-8081:79-81", 1, "host port 8080/tcp is published by `web`");
            port("8081:80 -p 8081:81", 1, "host port 8081/tcp is given twice");
            port("8088:80", 1, "cannot publish at host port 0.0.0.0:8088/tcp: Address already in use");
            port("203.0.113.9:8081:80", 1, "cannot publish at host port 203.0.113.9:8081/tcp: Cannot assign");
            port("[fd00::9]:8081:80", 1, "cannot publish at host port [fd00::9]:8081/tcp: Cannot assign");
            port("8081:80 --network none", 2, "--publish cannot be given with --network none");
        });
    });
}

#[test]
fn a_bad_namespace_is_refused_by_its_field() {
    in_private(|| {
        at_each_desk(|desk| {
            let check = |options: &str, status, expected: &str| {
                desk.check(&format!("attach two {options}"), status, expected);
            };
            check("", 2, "<--netns <PATH>|--pid <PID>>");
            check(
                "--netns /run/netns/absent",
                1,
                "cannot open network namespace `/run/netns/absent`: No such file",
            );
            check("--netns /etc/passwd", 1, "`/etc/passwd` is not a network namespace");
            check("--netns /proc/self/ns/mnt", 1, "is not a network namespace");
            check("--netns /proc/self/ns/net", 1, "the network namespace is the host's own");
            check("--netns /run/netns/web", 1, "the network namespace is attached already, as `web`");
            check("--pid 0", 2, "'--pid <PID>'");
            check("--pid 2147483647", 1, "there is no process 2147483647");
        });
    });
}

#[test]
fn a_bad_name_or_network_is_refused_by_its_field() {
    in_private(|| {
        at_each_desk(|desk| {
            desk.check("attach a/b --netns /run/netns/two", 2, "'<NAME>': a name holds letters, digits");
            desk.check("attach web --netns /run/netns/two", 1, "container name `web` is taken");
            desk.attach("--network absent", 1, "there is no network `absent`");
            desk.attach("--network net-1 --network net-1", 1, "network `net-1` is given twice");
            desk.attach("--network host", 2, "--network host");
            desk.check("run --network absent -- true", 125, "there is no network `absent`");
            desk.check("run --network container:absent -- true", 125, "there is no container `absent`");
            desk.check("run --hostname a_b -- true", 2, "'--hostname <HOSTNAME>'");
            desk.check("run --name '' -- true", 2, "'--name <NAME>': a name is not empty");
            desk.check("network rm net-1", 1, "network `net-1` is in use by `web`");
            desk.check("network rm absent", 1, "there is no network `absent`");
            desk.check("network rm host", 1, "network name `host` is reserved");
            desk.check("network inspect absent", 1, "there is no network `absent`");
            desk.check("inspect absent", 1, "there is no container `absent`");
            desk.check("port absent", 1, "there is no container `absent`");
            desk.check("detach ''", 2, "'<NAME>...': a name is not empty");
            desk.check("frobnicate", 2, "unrecognized subcommand 'frobnicate'");
            desk.check("", 2, "no command is given");
        });
    });
}

#[test]
fn a_bad_option_of_the_host_is_refused_by_its_field() {
    in_private(|| {
        at_each_desk(|desk| {
            desk.check("ps --firewall pf", 2, "'--firewall <FIREWALL>'");
            desk.check("ps --instance A", 2, "'--instance <NAME>'");
            desk.check("ps --forwarding maybe", 2, "'--forwarding <WHEN>'");
            desk.check("ps --run-dir /proc/x", 1, "cannot make `/proc/x`");
            desk.check("ps --state-dir /etc/passwd", 1, "`/etc/passwd` is not a folder");
            desk.attach("--firewall none", 1, "run folder /run/linkspan belongs to another firewall");
        });
    });
}

#[test]
fn a_full_subnet_is_told_from_everything_else() {
    in_private(|| {
        with_each_firewall(|world| {
            let _netns = ["a", "b", "c"].map(|name| NetNs::create(format!("/run/netns/{name}")).unwrap());
            world.linkspan("network create small --subnet 10.88.1.0/30 --subnet fd88:1::/64").ok();
            world.linkspan("attach a --netns /run/netns/a --network small").ok();
            let before = Snapshot::take();
            let ran = world.linkspan("attach b --netns /run/netns/b --network small");
            assert_eq!(ran.code(), Some(1), "{ran}");
            assert!(ran.err.contains("no free address in 10.88.1.0/30"), "{ran}");
            before.assert_unchanged("an attach to a full subnet");
            world.linkspan("detach a").ok();
            world.linkspan("attach b --netns /run/netns/b --network small").ok();
        });
    });
}

#[test]
fn without_permission_nothing_is_changed() {
    in_private_with(&["setpriv"], || {
        with_each_firewall(|world| {
            let desk = Desk::new(world);
            // Who may change links may not enter a namespace for it.
            for allowed in ["-all", "-all,+net_admin"] {
                for line in
                    ["attach two --netns /run/netns/two", "network create a", "detach web", "run -- true"]
                {
                    let mut command = Command::new("setpriv");
                    command.args([&format!("--bounding-set={allowed}"), "--inh-caps=-all"]);
                    command.arg(path_of_linkspan()).args(line.split(' '));
                    command.env("LINKSPAN_FIREWALL", world.case.firewall.to_string());
                    let ran = run(&mut command);
                    let status = if line.starts_with("run") { 125 } else { 1 };
                    desk.judge(line, &ran, status, "not permitted");
                }
            }
        });
    });
}

/// What means something to nft, to iptables-restore or to a shell: `br+` is every link that begins so.
const LOADED: [&str; 7] =
    ["\" accept", "x; flush ruleset", "a\n-A FORWARD -j ACCEPT", "$(id)", "{ drop }", "-j ACCEPT #", "br+"];

#[test]
fn a_name_that_would_be_a_rule_is_refused_wherever_it_is_given() {
    in_private(|| {
        at_each_desk(|desk| {
            let attach = "attach two --netns /run/netns/two";
            for text in LOADED {
                for line in [
                    format!("network create -- '{text}'"),
                    format!("network create a '--bridge-name={text}'"),
                    format!("network create a '--trusted-interface={text}'"),
                    format!("network create a --subnet 10.1.0.0/24 '--aux-address={text}=10.1.0.9'"),
                    format!("{attach} '--ifname={text}'"),
                    format!("{attach} '--network={text}'"),
                    format!("{attach} -p '{text}'"),
                    format!("attach --netns /run/netns/two -- '{text}'"),
                    format!("'--instance={text}' ps"),
                ] {
                    let ran = desk.world.linkspan(&line);
                    assert_eq!(ran.code(), Some(2), "{line}: {ran}");
                }
            }
            desk.before.assert_unchanged("names that would be rules");
        });
    });
}

#[test]
fn what_is_only_noted_is_no_part_of_a_rule() {
    in_private(|| {
        with_each_firewall(|world| {
            let _netns = NetNs::create("/run/netns/web").unwrap();
            let rules = |text: &str| {
                let subnet = "--subnet 10.88.1.0/24 --bridge-name br-x";
                let notes = format!("'--label={text}={text}' '--label={text}'");
                world.linkspan(&format!("network create net-1 {subnet} {notes}")).ok();
                world.linkspan("attach web --netns /run/netns/web --network net-1 -p 8080:80").ok();
                let rules = loaded();
                world.linkspan("detach web").ok();
                world.linkspan("network rm net-1").ok();
                rules
            };
            let usual = rules("plain");
            assert!(usual.iter().any(|line| line.contains("br-x")));
            LOADED.iter().for_each(|text| assert_eq!(rules(text), usual, "{text}"));
        });
    });
}

/// All rules of the host, sorted.
fn loaded() -> Vec<String> {
    let mut lines = Vec::new();
    for look in ["nft -s list ruleset", "iptables-save", "ip6tables-save"] {
        let program = look.split(' ').next().unwrap_or(look);
        let text = if lacks(&[program]).is_none() { tool(look) } else { String::new() };
        lines.extend(text.lines().filter(|line| !line.starts_with(['#', ':'])).map(str::to_owned));
    }
    lines.sort();
    lines
}
