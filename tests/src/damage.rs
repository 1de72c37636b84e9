//! Rules that someone took away, changed or added come back as they were by the command, which names each.

use crate::private::{in_private, in_private_with};
use crate::program::tool;
use crate::traffic::{reaches, reaches_none, serve};
use crate::world::{Case, Family, Member, World, container, with_each_firewall};
use linkspan::{Endpoint, Firewall, Protocol, Publish};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::thread;

const NOTHING: &str = "the host is as the records say\n";

/// A host with a network and a container on it that publishes a port.
struct Scene<'a> {
    world: &'a World,
    _web: Member,
    rules: BTreeSet<String>,
}

impl<'a> Scene<'a> {
    fn of(world: &'a World) -> Self {
        let network = world.network(1);
        let address: IpAddr = "10.88.1.10".parse().unwrap();
        let ports = [Protocol::Tcp, Protocol::Udp].map(|by| Publish::new(by, 80).at(8080));
        let wanted = container("web").on(Endpoint::of(&network).address(address));
        let web = world.container(&ports.into_iter().fold(wanted, linkspan::Container::publish));
        serve(web.netns(), 80);
        let scene = Self { world, _web: web, rules: rules(world.case.firewall) };
        scene.is_whole("nothing");
        scene
    }

    fn published(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.world.host_address(family), 8080)
    }

    /// Runs these commands, and expects that the command names just these steps and takes them.
    #[track_caller]
    fn mended(&self, damage: &[&str], expected: &str) {
        damage.iter().for_each(|command| _ = tool(command));
        let named = self.world.linkspan("reconcile").ok();
        assert_eq!(named, expected, "after {damage:?}");
        self.is_whole(&damage.join("; "));
    }

    /// All is as it was at first, the command says so, and packets find their way.
    #[track_caller]
    fn is_whole(&self, after: &str) {
        assert_eq!(self.world.linkspan("reconcile").ok(), NOTHING, "after {after}");
        assert_eq!(rules(self.world.case.firewall), self.rules, "after {after}");
        for family in Family::BOTH {
            reaches(self.world.remote(), self.published(family));
        }
    }

    #[track_caller]
    fn is_unreachable(&self) {
        let ways = Family::BOTH.map(|family| (self.world.remote(), self.published(family)));
        reaches_none(&ways);
    }
}

/// What there is of ours, without an order that is the kernel's own.
fn rules(firewall: Firewall) -> BTreeSet<String> {
    match firewall {
        Firewall::Iptables => {
            let ours = |line: &&str| line.to_ascii_lowercase().contains("linkspan");
            let saved = |program: &str| {
                let text = tool(program);
                let lines = text.lines().filter(ours).map(|line| format!("{program} {line}"));
                lines.collect::<Vec<_>>()
            };
            ["iptables-save", "ip6tables-save"].into_iter().flat_map(saved).collect()
        }
        _ => {
            let text = tool("nft list table inet linkspan");
            let parts = text.split([',', '\n']).map(|part| part.trim_end_matches([' ', '}']));
            parts.map(|part| part.trim().trim_start_matches("elements = { ").to_owned()).collect()
        }
    }
}

/// The number of the rule of our table that begins with these words.
fn handle(chain: &str, rule: &str) -> String {
    let listed = tool(&format!("nft -a list chain inet linkspan {chain}"));
    let line = listed.lines().find(|line| line.trim().starts_with(rule)).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn what_is_missing_or_too_much_of_our_table_is_named_and_mended() {
    in_private_with(&["nft"], || {
        let world = World::new(Case::USUAL);
        let scene = Scene::of(&world);
        scene.mended(
            &["nft delete element inet linkspan pub4 { tcp . 8080 }"],
            "add element inet linkspan pub4 { tcp . 8080 : 10.88.1.10 . 80 }\n",
        );
        scene.mended(&["nft add table inet linkspan { flags dormant ; }"], "add table inet linkspan\n");
        scene.mended(
            &["nft add element inet linkspan pub4 { tcp . 9 : 10.9.9.9 . 9 }"],
            "delete element inet linkspan pub4 { tcp . 9 : 10.9.9.9 . 9 }\n",
        );
        scene.mended(
            &[
                "nft delete element inet linkspan pub4 { udp . 8080 }",
                "nft add element inet linkspan pub4 { udp . 8080 : 10.9.9.9 . 9 }",
                "nft add element inet linkspan guard4 { 10.99.0.0/16 }",
            ],
            "delete element inet linkspan guard4 { 10.99.0.0/16 }\n\
             delete element inet linkspan pub4 { udp . 8080 : 10.9.9.9 . 9 }\n\
             add element inet linkspan pub4 { udp . 8080 : 10.88.1.10 . 80 }\n",
        );
        let rule = handle("to_nat", "ct status");
        scene.mended(
            &[&format!("nft delete rule inet linkspan to_nat handle {rule}")],
            "flush chain inet linkspan to_nat\n",
        );
        scene.mended(&["nft insert rule inet linkspan forward drop"], "flush chain inet linkspan forward\n");
        scene.mended(
            &["nft flush chain inet linkspan prerouting", "nft delete chain inet linkspan prerouting"],
            "flush chain inet linkspan prerouting\n",
        );
    });
}

#[test]
fn a_table_that_went_comes_back_whole() {
    in_private_with(&["nft"], || {
        let world = World::new(Case::USUAL);
        let scene = Scene::of(&world);
        let gone: [fn(&World); 3] = [
            |_| _ = tool("nft delete table inet linkspan"),
            |world| world.flush_rules(),
            |world| {
                // As a firewall does that starts again: all is gone but its own.
                world.flush_rules();
                tool("nft add table inet theirs");
                tool("nft add chain inet theirs forward { type filter hook forward priority 10 ; }");
                tool("nft add rule inet theirs forward ct state invalid drop");
            },
        ];
        let elements = |text: &str| text.lines().filter(|line| line.starts_with("add element")).count();
        let mut named = BTreeSet::new();
        for gone in gone {
            gone(&world);
            scene.is_unreachable();
            let text = world.linkspan("reconcile").ok();
            assert!(text.starts_with("add table inet linkspan\nadd element "), "{text}");
            assert_eq!(elements(&text) + 1, text.lines().count(), "{text}");
            named.insert(text);
            scene.is_whole("a flush");
        }
        assert_eq!(named.len(), 1, "each time the same: {named:?}");
        tool("nft delete table inet theirs");
        tool("nft delete table inet linkspan");
        let json = world.linkspan("reconcile --json").ok();
        assert!(json.starts_with("[\"add table inet linkspan\",\"add element ") && json.ends_with("\"]\n"));
        assert_eq!(world.linkspan("reconcile --json").ok(), "[]\n");
    });
}

/// The chain that says which layout the table has.
fn layout() -> String {
    let text = tool("nft list table inet linkspan");
    let chains = text.lines().filter_map(|line| line.trim().strip_prefix("chain ")?.strip_suffix(" {"));
    chains.map(str::to_owned).find(|chain| chain.starts_with("layout_")).unwrap()
}

/// Makes the table one of layout 2, which opened every port to trusted links.
fn age() {
    for (family, set) in [("ip", "trusted4"), ("ip6", "trusted6")] {
        let number = handle("to_nat", &format!("{family} daddr"));
        let rule = format!("{family} daddr . iifname @{set} accept");
        tool(&format!("nft replace rule inet linkspan to_nat handle {number} {rule}"));
    }
    tool(&format!("nft rename chain inet linkspan {} layout_2", layout()));
}

#[test]
fn a_table_of_an_older_layout_is_swapped_and_keeps_its_ports() {
    in_private_with(&["nft"], || {
        let world = World::new(Case::USUAL);
        let scene = Scene::of(&world);
        let current = layout();
        age();
        scene.mended(
            &[],
            &format!("rename chain inet linkspan layout_2 {current}\nflush chain inet linkspan to_nat\n"),
        );
        // So does whatever else changes the rules.
        age();
        let other = world.container(
            &container("other")
                .publish(Publish::tcp(80).at(8081))
                .on(Endpoint::new("net-1".parse().unwrap())),
        );
        world.host.detach(other.attachment.id()).unwrap();
        scene.is_whole("an attach");
    });
}

#[test]
fn what_is_missing_or_too_much_of_our_chains_is_named_and_mended() {
    in_private_with(&["iptables", "ip6tables"], || {
        let world = World::new(Case { firewall: Firewall::Iptables, ..Case::USUAL });
        let scene = Scene::of(&world);
        let to = "-j DNAT --to-destination 10.88.1.10:80";
        scene.mended(
            &[&format!("iptables -t nat -D LINKSPAN-DNAT -p tcp -m tcp --dport 8080 {to}")],
            &format!("iptables -t nat -I LINKSPAN-DNAT 2 -p tcp -m tcp --dport 8080 {to}\n"),
        );
        scene.mended(
            &["iptables -D FORWARD -j LINKSPAN-FORWARD"],
            "iptables -t filter -I FORWARD 2 -j LINKSPAN-FORWARD\n",
        );
        scene.mended(
            &["iptables -I LINKSPAN-FORWARD -j DROP", "ip6tables -t raw -A LINKSPAN-PRE -j ACCEPT"],
            "iptables -t filter -D LINKSPAN-FORWARD -j DROP\n\
             ip6tables -t raw -D LINKSPAN-PRE -j ACCEPT\n",
        );
        let link = world.host.networks().unwrap()[0].link();
        scene.mended(
            &[
                "iptables -t raw -D PREROUTING -j LINKSPAN-PRE",
                "iptables -t raw -F LINKSPAN-PRE",
                "iptables -t raw -X LINKSPAN-PRE",
            ],
            &format!(
                "iptables -t raw -N LINKSPAN-PRE\n\
                 iptables -t raw -I PREROUTING 1 -j LINKSPAN-PRE\n\
                 iptables -t raw -A LINKSPAN-PRE -d 127.0.0.0/8 -i {link} -j DROP\n\
                 iptables -t raw -A LINKSPAN-PRE -s 127.0.0.0/8 -i {link} -j DROP\n\
                 iptables -t raw -A LINKSPAN-PRE -i {link} -j RETURN\n\
                 iptables -t raw -A LINKSPAN-PRE -d 10.88.1.0/24 -m addrtype ! --dst-type LOCAL -j DROP\n"
            ),
        );
        // Our two jumps have their order, and no rule of another between them is moved.
        scene.mended(
            &["iptables -D FORWARD -j linkspan-user", "iptables -A FORWARD -j linkspan-user"],
            "iptables -t filter -D FORWARD -j linkspan-user\niptables -t filter -I FORWARD 1 -j linkspan-user\n",
        );
    });
}

#[test]
fn a_rule_that_another_program_put_above_our_jump_stays_there() {
    in_private_with(&["iptables", "ip6tables"], || {
        let world = World::new(Case { firewall: Firewall::Iptables, ..Case::USUAL });
        let scene = Scene::of(&world);
        tool("iptables -I FORWARD 1 -s 203.0.113.9/32 -j DROP");
        scene.mended(&[], NOTHING);
        let first = tool("iptables -S FORWARD").lines().nth(1).map(str::to_owned);
        assert_eq!(first.as_deref(), Some("-A FORWARD -s 203.0.113.9/32 -j DROP"));
        tool("iptables -D FORWARD -s 203.0.113.9/32 -j DROP");
    });
}

#[test]
fn chains_that_were_flushed_come_back_whole() {
    in_private_with(&["iptables", "ip6tables"], || {
        let world = World::new(Case { firewall: Firewall::Iptables, ..Case::USUAL });
        let scene = Scene::of(&world);
        for table in ["filter", "nat", "raw"] {
            for program in ["iptables", "ip6tables"] {
                tool(&format!("{program} -t {table} -F"));
            }
        }
        scene.is_unreachable();
        let named = world.linkspan("reconcile").ok();
        let jump = |line: &str| named.lines().any(|named| named == line);
        assert!(jump("iptables -t filter -I FORWARD 1 -j linkspan-user"), "{named}");
        assert!(jump("ip6tables -t nat -A POSTROUTING -j LINKSPAN-POST"), "{named}");
        assert_eq!(
            named.lines().count(),
            rules(Firewall::Iptables).iter().filter(|l| l.contains(" -A ")).count()
        );
        scene.is_whole("a flush");
        world.flush_rules();
        scene.is_unreachable();
        assert!(world.linkspan("reconcile").ok().starts_with("iptables -t raw -N LINKSPAN-PRE\n"));
        scene.is_whole("the loss of all chains");
    });
}

#[test]
fn those_who_mend_and_those_who_attach_at_once_do_not_collide() {
    in_private(|| {
        with_each_firewall(|world| {
            let scene = Scene::of(world);
            let network = Endpoint::new("net-1".parse().unwrap());
            world.flush_rules();
            thread::scope(|scope| {
                let attach = |number: u16| {
                    let wanted = container(&format!("c{number}")).on(network.clone());
                    let here = &world.here;
                    move || {
                        here.run(|| world.container(&wanted.publish(Publish::tcp(80).at(9000 + number))))
                            .unwrap()
                    }
                };
                let mend = || world.here.run(|| world.linkspan("reconcile").ok()).unwrap();
                let attached: Vec<_> = (0..4).map(|number| scope.spawn(attach(number))).collect();
                let mended: Vec<_> = (0..4).map(|_| scope.spawn(mend)).collect();
                mended.into_iter().for_each(|mended| _ = mended.join().unwrap());
                for attached in attached {
                    let member = attached.join().unwrap();
                    world.host.detach(member.attachment.id()).unwrap();
                }
            });
            scene.is_whole("eight at once");
        });
    });
}
