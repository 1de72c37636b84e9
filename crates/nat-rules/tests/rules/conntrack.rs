//! What becomes of tracked connections when a port changes its owner, by packets.

use crate::lab::{has, in_private, run};
use crate::samples::{network, publish};
use crate::traffic::{Firewall, HOST, Machine, OUTSIDE, Topology, ask, until};
use linkspan_nat_rules::conntrack::Stale;
use linkspan_nat_rules::kernel::Conntrack;
use linkspan_nat_rules::{Change, Error, Publish, Ruleset};
use linkspan_net_types::Protocol::{Tcp, Udp};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

fn ready() -> bool {
    run("mount -t tmpfs tmpfs /run");
    ["conntrack", "iptables", "nft"].into_iter().all(has)
}

fn web() -> Ruleset {
    Ruleset::new().after(&Change::new().add_network(network("ls-a", &["10.88.1.0/24"]))).unwrap()
}

fn forget(change: &Change) -> Vec<String> {
    let flows = Conntrack::open().unwrap().forget(&Stale::after(change)).unwrap();
    flows.iter().map(ToString::to_string).collect()
}

/// The entry of a flow from this port: its id, and how long it is kept without another packet.
fn entry(protocol: &str, port: u16) -> Option<(String, u64)> {
    let listed = run(&format!("conntrack -L -o id -p {protocol} --orig-port-src {port}"));
    let line = listed.lines().next()?;
    let id = line.rsplit("id=").next()?.trim().to_owned();
    Some((id, line.split_whitespace().nth(2)?.parse().ok()?))
}

fn a_udp_flow_moves(firewall: Firewall) {
    let Topology { a, b: _b, outside } = Topology::new();
    let (to_a, to_b) = (publish(Udp, 8081, "10.88.1.2", 81), publish(Udp, 8081, "10.88.1.3", 81));
    let other = publish(Udp, 8082, "10.88.1.3", 81);
    let before = web().after(&Change::new().publish_all([to_a, other])).unwrap();
    firewall.load(&before);

    let (client, neighbour) = (outside.asker(OUTSIDE, 4000), outside.asker(OUTSIDE, 4001));
    outside.answer(8081, "outside");
    let leaving = a.asker("10.88.1.2", 4002);
    let shown = format!("{HOST}:8081");
    assert_eq!(ask(&client, &shown).as_deref(), Some("a"));
    assert_eq!(ask(&neighbour, &format!("{HOST}:8082")).as_deref(), Some("b"));
    assert_eq!(ask(&leaving, &format!("{OUTSIDE}:8081")).as_deref(), Some("outside"));
    let others = [entry("udp", 4001).unwrap(), entry("udp", 4002).unwrap()];

    let moved = Change::new().withdraw(to_a).publish(to_b);
    firewall.load(&before.after(&moved).unwrap());
    assert_eq!(ask(&client, &shown).as_deref(), Some("a"), "the kernel keeps to what it tracks");
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(forget(&moved), [format!("udp {OUTSIDE}:4000 -> {HOST}:8081 -> 10.88.1.2:81")]);
    assert_eq!(ask(&client, &shown).as_deref(), Some("b"));
    assert_eq!(forget(&moved), Vec::<String>::new());

    for (port, (id, seconds)) in [4001, 4002].into_iter().zip(others) {
        let (same, left) = entry("udp", port).unwrap();
        assert_eq!(same, id);
        assert!(left < seconds, "nothing came and nothing was set: {left} of {seconds} s");
    }
}

#[test]
fn a_udp_flow_moves_to_the_new_owner_at_once_with_nftables() {
    in_private("conntrack::a_udp_flow_moves_to_the_new_owner_at_once_with_nftables", || {
        if ready() {
            a_udp_flow_moves(Firewall::Nftables);
        }
    });
}

#[test]
fn a_udp_flow_moves_to_the_new_owner_at_once_with_iptables() {
    in_private("conntrack::a_udp_flow_moves_to_the_new_owner_at_once_with_iptables", || {
        if ready() {
            a_udp_flow_moves(Firewall::Iptables);
        }
    });
}

/// A datagram and a SYN come before the port is published.
fn what_came_in_the_gap_is_led(firewall: Firewall) {
    let Topology { a, b: _b, outside } = Topology::new();
    firewall.load(&web());
    let (udp, tcp) = (publish(Udp, 8081, "10.88.1.2", 81), publish(Tcp, 8084, "10.88.1.2", 84));
    let client = outside.asker(OUTSIDE, 4000);
    assert_eq!(ask(&client, &format!("{HOST}:8081")), None);
    serve(&a);
    let connecting = held_syn(&outside);

    let change = Change::new().publish_all([udp, tcp]);
    firewall.load(&web().after(&change).unwrap());
    assert_eq!(ask(&client, &format!("{HOST}:8081")), None, "the kernel keeps to what it tracks");
    let mut forgotten = forget(&change);
    forgotten.sort_unstable();
    assert!(forgotten.len() == 2 && forgotten[0].starts_with(&format!("tcp {OUTSIDE}:")), "{forgotten:?}");
    assert_eq!(forgotten[1], format!("udp {OUTSIDE}:4000 -> {HOST}:8081"));
    assert_eq!(ask(&client, &format!("{HOST}:8081")).as_deref(), Some("a"));
    assert_eq!(connecting.join().unwrap(), "a");

    // What is led stays, also when it is published again.
    assert_eq!(forget(&change), Vec::<String>::new());
}

/// Says a name to whoever connects.
fn serve(machine: &Machine) {
    let listener = machine.run(|| TcpListener::bind("0.0.0.0:84").unwrap());
    thread::spawn(move || {
        listener.incoming().for_each(|stream| drop(stream.unwrap().write_all(b"a")));
    });
}

/// A connection to a port of the host that holds it and does not answer, as a holder of ports does.
fn held_syn(outside: &Machine) -> thread::JoinHandle<String> {
    // The refusal of the host is dropped before it is tracked.
    run("nft add table ip gap");
    run("nft add chain ip gap out { type filter hook output priority -400 ; }");
    run("nft add rule ip gap out tcp sport 8084 drop");
    let connect = move || {
        let to: SocketAddr = format!("{HOST}:8084").parse().unwrap();
        thread::spawn(move || {
            let mut text = String::new();
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(20)).unwrap();
            stream.read_to_string(&mut text).unwrap();
            text
        })
    };
    let connecting = outside.run(connect);
    until("a SYN that is tracked", || run("conntrack -L -p tcp --orig-port-dst 8084").contains("SYN_SENT"));
    run("nft delete table ip gap");
    connecting
}

#[test]
fn what_came_before_a_port_was_published_is_led_there_with_nftables() {
    in_private("conntrack::what_came_before_a_port_was_published_is_led_there_with_nftables", || {
        if ready() {
            what_came_in_the_gap_is_led(Firewall::Nftables);
        }
    });
}

#[test]
fn what_came_before_a_port_was_published_is_led_there_with_iptables() {
    in_private("conntrack::what_came_before_a_port_was_published_is_led_there_with_iptables", || {
        if ready() {
            what_came_in_the_gap_is_led(Firewall::Iptables);
        }
    });
}

#[test]
fn where_nothing_is_tracked_nothing_is_asked() {
    in_private("conntrack::where_nothing_is_tracked_nothing_is_asked", || {
        let ports = |range: std::ops::Range<u16>| range.map(|n| publish(Udp, n, "10.88.1.2", n));
        let all: Vec<Publish> = ports(1..60_000).collect();
        assert_eq!(forget(&Change::new().publish_all(all)), Vec::<String>::new());
    });
}

#[test]
fn a_question_that_could_not_be_asked_is_asked_the_next_time() {
    in_private("conntrack::a_question_that_could_not_be_asked_is_asked_the_next_time", || {
        if !ready() || !has("prlimit") {
            return;
        }
        run("ip address add 192.0.2.1/32 dev lo");
        run("ip link set lo up");
        run("nft add table inet track");
        run("nft add chain inet track out { type filter hook output priority 0 ; }");
        run("nft add rule inet track out ct state new accept");
        let client = UdpSocket::bind("192.0.2.1:4000").unwrap();
        client.send_to(b"?", "192.0.2.1:8081").unwrap();

        let own = File::open("/proc/self/ns/net").unwrap();
        let mut door = Conntrack::open_in(own.as_fd()).unwrap();
        let stale = Stale::after(&Change::new().publish(publish(Udp, 8081, "10.88.1.2", 81)));
        run(&format!("prlimit --pid {} --nofile=64", std::process::id()));
        let all: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        assert!(matches!(door.forget(&stale), Err(Error::Conntrack(_))));
        drop(all);
        assert_eq!(door.forget(&stale).unwrap().len(), 1);
    });
}
