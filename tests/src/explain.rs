//! What is explained of a host on which something stands in the way, and what its packets do.

use crate::private::{in_private, in_private_with};
use crate::program::{feed, run, tool};
use crate::snapshot::Snapshot;
use crate::traffic::{DOUBT, PATIENCE, Question as Asked, serve, serve_at};
use crate::world::{Case, Family, Member, World, container, everywhere, gateway, with_each_firewall};
use linkspan::explain::Explanation;
use linkspan::{Answer, DefinedNetwork, Endpoint, Firewall, NetNs, Protocol, Publish, Question};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const PORT: u16 = 7000;

/// Two containers of one network, the first of which publishes a port.
struct Place<'a> {
    world: &'a World,
    network: DefinedNetwork,
    one: Member,
    two: Member,
}

impl<'a> Place<'a> {
    fn new(world: &'a World) -> Self {
        let network = world.network(1);
        let published = container("one").on(Endpoint::of(&network)).publish(Publish::tcp(PORT).at(8080));
        let (one, two) = (world.container(&published), world.member("two", &network));
        let place = Self { world, network, one, two };
        for netns in [place.one.netns(), place.two.netns(), place.world.remote()] {
            serve(netns, PORT);
        }
        for family in Family::BOTH {
            serve_at(&place.world.here, SocketAddr::new(place.gateway(family), PORT));
        }
        place
    }

    fn gateway(&self, family: Family) -> IpAddr {
        gateway(&self.network, family)
    }

    fn uplink(&self, family: Family) -> IpAddr {
        self.world.host_address(family)
    }

    fn remote(&self, family: Family) -> IpAddr {
        self.world.remote_address(family)
    }

    /// Where the word of a sender stands for.
    fn netns(&self, word: &str) -> &NetNs {
        match word {
            "host" => &self.world.here,
            "one" => self.one.netns(),
            "two" => self.two.netns(),
            _ => self.world.remote(),
        }
    }

    /// What is explained of a connection, whose packets do just that.
    #[track_caller]
    fn check(&self, from: &str, to: SocketAddr, expected: &str) -> Explanation {
        let explained = self.explain(from, to);
        let told = explained.ways()[0].answer().to_string();
        assert!(told.contains(expected), "{}: expected {expected}\n{explained}", self.world.case);
        let asked = Asked { from: self.netns(from), by: Protocol::Tcp, to };
        let passes = matches!(explained.ways()[0].answer(), Answer::Passes { .. });
        // Neighbours that were out of reach until a moment ago are looked for again.
        let tries = if passes { vec![PATIENCE; 3] } else { vec![DOUBT] };
        let answered = tries.into_iter().any(|patience| asked.ask(patience).is_ok());
        assert_eq!(passes, answered, "{}\n{explained}", self.world.case);
        explained
    }

    fn explain(&self, from: &str, to: SocketAddr) -> Explanation {
        let question = Question::parse(from, &to.to_string()).unwrap();
        self.world.host.explain(&question).unwrap()
    }

    /// Waits until bridge ports that came back forward again.
    fn settle(&self) {
        let begin = Instant::now();
        let settled = |family| {
            let explained = self.explain("two", to_one(self, family));
            matches!(explained.ways()[0].answer(), Answer::Passes { .. })
        };
        while !Family::BOTH.into_iter().all(settled) && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same of both families.
    #[track_caller]
    fn check_both(&self, from: &str, to: impl Fn(Family) -> SocketAddr, expected: &str) {
        Family::BOTH.into_iter().for_each(|family| drop(self.check(from, to(family), expected)));
    }
}

#[test]
fn a_host_as_it_should_be_is_explained() {
    in_private(|| {
        everywhere(|world| {
            let place = Place::new(world);
            let to_one = |family| place.one.at(family, PORT);
            place.check_both("two", to_one, "passes, to container `one`");
            place.check_both("host", to_one, "passes, to container `one`");
            place.check_both("two", |f| SocketAddr::new(place.uplink(f), 8080), "passes, to container `one`");
            place.check_both("one", |f| SocketAddr::new(place.uplink(f), 8080), "passes, to container `one`");
            place.check_both(
                "outside",
                |f| SocketAddr::new(place.uplink(f), 8080),
                "passes, to container `one`",
            );
            place.check_both(
                "two",
                |f| SocketAddr::new(place.remote(f), PORT),
                "passes, out by link `uplink`",
            );
            place.check_both("two", |f| SocketAddr::new(place.gateway(f), PORT), "passes, to the host");
        });
    });
}

/// Something done to the host, and back; who asks whom, and what is then said.
struct Harm {
    done: fn(&Place<'_>),
    undone: fn(&Place<'_>),
    from: &'static str,
    to: fn(&Place<'_>, Family) -> SocketAddr,
    told: fn(&Place<'_>, Family) -> String,
}

fn to_one(place: &Place<'_>, family: Family) -> SocketAddr {
    place.one.at(family, PORT)
}

fn to_remote(place: &Place<'_>, family: Family) -> SocketAddr {
    SocketAddr::new(place.remote(family), PORT)
}

fn port_of(member: &Member) -> String {
    member.attachment.endpoints()[0].host_link().to_string()
}

const HARMS: [Harm; 7] = [
    Harm {
        done: |_| forward('0'),
        undone: |_| forward('1'),
        from: "two",
        to: to_remote,
        told: |_, family| match family {
            Family::V4 => "the host, which passes nothing on: net.ipv4.ip_forward is 0".to_owned(),
            Family::V6 => "net.ipv6.conf.all.forwarding is 0".to_owned(),
        },
    },
    Harm {
        done: |place| drop(tool(&format!("ip link set {} down", port_of(&place.one)))),
        undone: |place| drop(tool(&format!("ip link set {} up", port_of(&place.one)))),
        from: "two",
        to: to_one,
        told: |place, _| format!("link `{}` of the host, which is down", port_of(&place.one)),
    },
    Harm {
        done: |place| drop(tool(&format!("ip link set {} nomaster", port_of(&place.two)))),
        undone: |place| {
            drop(tool(&format!("ip link set {} master {}", port_of(&place.two), place.network.link())));
        },
        from: "two",
        to: to_one,
        told: |place, _| format!("link `{}` of the host, which is missing", port_of(&place.two)),
    },
    Harm {
        done: |place| isolate(place, "on"),
        undone: |place| isolate(place, "off"),
        from: "two",
        to: to_one,
        told: |place, _| {
            let (two, one) = (port_of(&place.two), port_of(&place.one));
            format!("flag `isolated` of ports `{two}` and `{one}` of bridge `{}`", place.network.link())
        },
    },
    Harm {
        done: |place| routes(place, "add unreachable"),
        undone: |place| routes(place, "del unreachable"),
        from: "two",
        to: to_remote,
        told: |place, family| format!("route `unreachable {}/", place.remote(family)),
    },
    Harm {
        done: |place| inside(place, "del"),
        undone: |place| inside(place, "add"),
        from: "two",
        to: to_remote,
        told: |place, family| format!("routes of container `two`: none leads to {}", place.remote(family)),
    },
    Harm {
        done: |_| mark("add"),
        undone: |_| mark("del"),
        from: "none",
        to: to_remote,
        told: |_, _| "the host routes by policy: `9: from all ... lookup main`".to_owned(),
    },
];

fn option(family: Family) -> &'static str {
    match family {
        Family::V4 => "-4",
        Family::V6 => "-6",
    }
}

/// A rule of routing that looks at a mark.
fn mark(change: &str) {
    for family in Family::BOTH {
        tool(&format!("ip {} rule {change} priority 9 fwmark 7 lookup main", option(family)));
    }
}

fn forward(value: char) {
    tool(&format!("sysctl -q net.ipv4.ip_forward={value}"));
    tool(&format!("sysctl -q net.ipv6.conf.all.forwarding={value}"));
}

fn isolate(place: &Place<'_>, value: &str) {
    for member in [&place.one, &place.two] {
        tool(&format!("ip link set {} type bridge_slave isolated {value}", port_of(member)));
    }
}

fn routes(place: &Place<'_>, change: &str) {
    for family in Family::BOTH {
        tool(&format!("ip {} route {change} {}", option(family), place.remote(family)));
    }
}

fn inside(place: &Place<'_>, change: &str) {
    for family in Family::BOTH {
        place.two.tool(&format!(
            "ip {} route {change} default via {}",
            option(family),
            place.gateway(family)
        ));
    }
}

#[test]
fn what_stands_in_the_way_is_named() {
    in_private(|| {
        everywhere(|world| {
            let place = Place::new(world);
            for harm in &HARMS {
                (harm.done)(&place);
                for family in Family::BOTH {
                    let (to, told) = ((harm.to)(&place, family), (harm.told)(&place, family));
                    match harm.from {
                        // Nobody can tell, so nobody asks.
                        "none" => {
                            let explained = place.explain("two", to).to_string();
                            assert!(
                                explained.contains(&format!("cannot tell: {told}")),
                                "{told}: {explained}"
                            );
                        }
                        from => drop(place.check(from, to, &told)),
                    }
                }
                (harm.undone)(&place);
                place.settle();
            }
            place.check_both("two", |family| to_one(&place, family), "passes, to container `one`");
        });
    });
}

/// Loads a table that is written in one line.
fn load(table: &str) {
    let lines =
        ["{", "}", ";"].iter().fold(table.to_owned(), |text, end| text.replace(end, &format!("{end}\n")));
    feed("nft -f -", &lines);
}

/// Tables of others, in the words of nft: what they stop, and how that is told.
const FOREIGN: [(&str, &str); 3] = [
    (
        "table inet theirs { chain pass { type filter hook forward priority 10; policy drop; } }",
        "foreign rule `policy drop` in chain `pass` of table `inet theirs`",
    ),
    (
        "table inet theirs { chain early { type filter hook prerouting priority -310; meta l4proto tcp th dport 8080 drop; } }",
        "foreign rule `tcp dport 8080 drop` in chain `early` of table `inet theirs`",
    ),
    (
        "table inet theirs { chain late { type filter hook postrouting priority 150; meta l4proto tcp tcp dport 7000 ct direction original drop; } }",
        "in chain `late` of table `inet theirs`",
    ),
];

#[test]
fn a_foreign_rule_is_named_with_the_command_that_mends_it() {
    in_private_with(&["nft"], || {
        everywhere(|world| {
            let place = Place::new(world);
            let published = |family| SocketAddr::new(place.uplink(family), 8080);
            for (table, told) in FOREIGN {
                load(table);
                for family in Family::BOTH {
                    // Each is mended as told, until it passes.
                    for _ in 0..3 {
                        let explained = place.explain("outside", published(family));
                        let Answer::StoppedBy { mend: Some(mend), .. } = explained.ways()[0].answer() else {
                            break;
                        };
                        place.check("outside", published(family), told);
                        assert!(run(Command::new("sh").args(["-c", mend])).status.success(), "{mend}");
                    }
                    place.check("outside", published(family), "passes, to container `one`");
                }
                tool("nft delete table inet theirs");
            }
        });
    });
}

#[test]
fn what_hangs_on_something_unknown_is_named() {
    in_private_with(&["nft"], || {
        let world = World::new(Case::USUAL);
        let place = Place::new(&world);
        load("table inet theirs { chain pass { type filter hook forward priority 10; meta mark 7 drop; } }");
        let explained = place.explain("outside", SocketAddr::new(place.uplink(Family::V4), 8080)).to_string();
        let told = "cannot tell: what `meta mark 0x00000007 drop` in chain `pass` of table `inet theirs` does is not known";
        assert!(explained.contains(told), "{explained}");
        tool("nft delete table inet theirs");
    });
}

#[test]
fn rules_inside_a_container_are_seen() {
    in_private_with(&["nft"], || {
        everywhere(|world| {
            let place = Place::new(world);
            let to_one = |family| to_one(&place, family);
            let rules = |hook: &str| {
                format!(
                    "table inet own {{ chain whole {{ type filter hook {hook} priority 0; tcp dport {PORT} drop; }} }}"
                )
            };
            place.one.netns().run(|| load(&rules("input"))).unwrap();
            let told =
                "rule `tcp dport 7000 drop` in chain `whole` of table `inet own` inside container `one`";
            place.check_both("two", to_one, told);
            place.one.tool("nft flush ruleset");
            place.two.netns().run(|| load(&rules("output"))).unwrap();
            place.check_both("two", to_one, "inside container `two`");
        });
    });
}

#[test]
fn the_users_own_rules_are_not_ours() {
    in_private_with(&["nft", "iptables"], || {
        everywhere(|world| {
            let place = Place::new(world);
            let (add, told) = match world.case.firewall {
                Firewall::Nftables => (
                    ["nft add rule inet linkspan linkspan-user tcp dport 7000 drop", "true"],
                    "foreign rule `tcp dport 7000 drop` in chain `linkspan-user` of table `inet linkspan`",
                ),
                _ => (
                    [
                        "iptables -A linkspan-user -p tcp --dport 7000 -j DROP",
                        "ip6tables -A linkspan-user -p tcp --dport 7000 -j DROP",
                    ],
                    "foreign rule `-A linkspan-user -p tcp -m tcp --dport 7000 -j DROP` in chain `linkspan-user`",
                ),
            };
            add.iter().for_each(|line| drop(tool(line)));
            place.check_both("outside", |family| SocketAddr::new(place.uplink(family), 8080), told);
        });
    });
}

#[test]
fn what_cannot_be_compared_with_the_records_is_no_difference() {
    in_private(|| {
        let place = World::new(Case::USUAL);
        place.linkspan("network create web --subnet 10.88.0.0/24").ok();
        fs::write("/run/linkspan/claims", "?").unwrap();
        let said = place.linkspan("explain host outside").ok();
        assert!(said.contains("whether the host is as on record cannot be told: "), "{said}");
        assert!(!said.contains("mended by: linkspan reconcile"), "{said}");
    });
}

#[test]
fn a_missing_table_is_missing_in_the_explanation_too() {
    in_private(|| {
        with_each_firewall(|world| {
            let place = Place::new(world);
            let direct = |family| to_one(&place, family);
            let route = |near: IpAddr| drop(tool(&format!("ip route add default via {near}")));
            Family::BOTH.iter().for_each(|f| world.remote().run(|| route(place.uplink(*f))).unwrap());
            place.check_both("outside", direct, "stopped by our rule ");
            world.flush_rules();
            for family in Family::BOTH {
                let explained = place.check("outside", direct(family), "passes, to container `one`");
                let text = explained.to_string();
                assert!(
                    text.contains("the host is not as on record; mended by: linkspan reconcile\n"),
                    "{text}"
                );
                assert!(explained.repairs().iter().any(|step| step.contains("10.88.1.2")), "{text}");
            }
            world.linkspan("reconcile").ok();
            place.check_both("outside", direct, "stopped by our rule ");
            assert!(place.explain("outside", direct(Family::V4)).repairs().is_empty());
        });
    });
}

#[test]
fn a_strict_reverse_path_is_named() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let place = Place::new(&world);
        for line in [
            "sysctl -q net.ipv4.conf.eth0.rp_filter=1",
            "ip link add other type veth peer name another",
            "ip link set other up",
            &format!("ip route add {}/32 dev other", place.remote(Family::V4)),
        ] {
            place.one.tool(line);
        }
        let published = SocketAddr::new(place.uplink(Family::V4), 8080);
        let told = "rp_filter of container `one`: the way back to 192.0.2.2 is not by link `eth0`";
        place.check("outside", published, told);
    });
}

/// Runs a line, and expects its status and the first line of what it says.
#[track_caller]
fn check_line(world: &World, line: &str, status: i32, expected: &str) -> String {
    let ran = world.linkspan(line);
    let said = if status == 0 { &ran.out } else { &ran.err };
    assert_eq!(
        (ran.code(), said.lines().next().unwrap_or_default()),
        (Some(status), expected),
        "{line}: {ran}"
    );
    ran.out
}

#[test]
fn the_command_answers_in_words_and_in_json_and_changes_nothing() {
    in_private(|| {
        with_each_firewall(|world| {
            let place = Place::new(world);
            let before = Snapshot::take();
            let out = check_line(
                world,
                "explain outside 192.0.2.1:8080",
                0,
                "tcp 192.0.2.2 -> 192.0.2.1:8080: passes, to container `one`",
            );
            assert!(out.contains("\n  the host: target becomes 10.88.1.2 port 7000\n"), "{out}");
            assert!(out.contains("\n  answer: the host: source becomes 192.0.2.1\n"), "{out}");
            check_line(
                world,
                "explain host one",
                0,
                "ping 10.88.1.1 -> 10.88.1.2: passes, to container `one`",
            );
            let id = place.two.attachment.id().to_string();
            check_line(
                world,
                &format!("explain {} [fd88:1::2]:7000/udp", &id[..6]),
                0,
                "udp fd88:1::3 -> [fd88:1::2]:7000: passes, to container `one`",
            );
            let json = world.linkspan("explain host one:7000 --json").ok();
            let first = r#"{"ways":[{"source":"10.88.1.1","target":"10.88.1.2","service":{"protocol":"tcp","port":7000},"answer":{"passes":{"to":{"container":"one"}}},"leg":"answer","trace":[{"leg":"request","at":"host","what":{"route":"10.88.1.0/24 dev "#;
            assert!(json.starts_with(first) && json.ends_with("}],\"repairs\":[]}\n"), "{json}");
            let stopped = world.linkspan("explain outside 10.88.1.2:7000");
            assert_eq!(stopped.code(), Some(0), "{stopped}");
            assert!(
                stopped.out.starts_with("tcp 192.0.2.2 -> 10.88.1.2:7000: stopped by our rule `"),
                "{stopped}"
            );
            check_line(world, "explain nobody one", 1, "linkspan: there is no container `nobody`");
            check_line(
                world,
                "explain 192.0.2.2 fd88:1::2",
                1,
                "linkspan: 192.0.2.2 and fd88:1::2 are of two families",
            );
            check_line(
                world,
                "explain one two:http",
                2,
                "linkspan: the port is wrong: a port is a number from 1 to 65535; see `linkspan help`",
            );
            before.assert_unchanged("explaining");
        });
    });
}

#[test]
fn a_container_whose_namespace_is_gone_is_said_so() {
    in_private_with(&["ip"], || {
        let world = World::new(Case::USUAL);
        let place = Place::new(&world);
        tool("ip netns add box");
        world.linkspan("attach boxed --netns /run/netns/box --network net-1").ok();
        check_line(
            &world,
            "explain two boxed:80",
            0,
            "tcp 10.88.1.3 -> 10.88.1.4:80: passes, to container `boxed`",
        );
        // Someone holds the namespace still, so that its links stay.
        let held = NetNs::open("/run/netns/box").unwrap();
        tool("ip netns delete box");
        let told = "cannot tell: the network namespace of container `boxed` cannot be looked at";
        check_line(&world, "explain two boxed:80", 0, &format!("tcp 10.88.1.3 -> 10.88.1.4:80: {told}"));
        check_line(&world, "explain boxed outside", 0, &format!("ping 0.0.0.0 -> 192.0.2.2: {told}"));
        drop((held, place));
    });
}

#[test]
fn others_work_on_while_it_looks() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let place = Place::new(&world);
        thread::scope(|scope| {
            let busy = scope.spawn(|| {
                for _ in 0..8 {
                    let member = world.member("three", &place.network);
                    world.host.detach(member.attachment.id()).unwrap();
                }
            });
            while !busy.is_finished() {
                let explained = place.explain("two", to_one(&place, Family::V4));
                assert!(matches!(explained.ways()[0].answer(), Answer::Passes { .. }), "{explained}");
            }
        });
    });
}

#[test]
fn a_host_without_a_way_out_has_its_addresses_still() {
    in_private_with(&["ip"], || {
        let world = World::new(Case::USUAL);
        world.linkspan("network create alone --gateway-mode isolated --subnet 10.88.2.0/24").ok();
        tool("ip netns add box");
        world.linkspan("attach boxed --netns /run/netns/box --network alone").ok();
        tool("ip link set uplink down");
        let told = "stopped by the routes of container `boxed`: none leads to 192.0.2.1";
        check_line(&world, "explain boxed host", 0, &format!("ping 0.0.0.0 -> 192.0.2.1: {told}"));
    });
}
