//! Beside the firewalls of others: their rules stay as they are, their traffic goes on, and what of theirs stops ours
//! is named with the command that mends it.

use crate::private::{in_private, in_private_with};
use crate::program::{feed, run, tool};
use crate::traffic::{reaches, reaches_none, serve};
use crate::world::{Family, Member, World, container, with_each_firewall};
use linkspan::{Endpoint, Firewall, NetNs, Publish};
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A firewall of someone else: what it loads into nftables, and into iptables for each family.
#[derive(Clone, Copy)]
struct Other {
    nftables: &'static str,
    iptables: [&'static str; 2],
    /// What carries out the commands that mend it, where that is not a program of the kernel's own.
    stand_in: Option<(&'static str, &'static str)>,
}

const NOTHING: Other = Other { nftables: "", iptables: ["", ""], stand_in: None };

const DOCKER: Other = Other {
    iptables: [include_str!("../fixtures/docker.rules"), include_str!("../fixtures/docker6.rules")],
    ..NOTHING
};

const UFW: Other = Other {
    iptables: [include_str!("../fixtures/ufw.rules"); 2],
    stand_in: Some(("ufw", include_str!("../fixtures/ufw.sh"))),
    ..NOTHING
};

const FIREWALLD: Other = Other {
    nftables: include_str!("../fixtures/firewalld.nft"),
    stand_in: Some(("firewall-cmd", include_str!("../fixtures/firewall-cmd.sh"))),
    ..NOTHING
};

const LINES: Other = Other { iptables: [include_str!("../fixtures/hand.rules"); 2], ..NOTHING };

const TABLE: Other = Other { nftables: include_str!("../fixtures/hand.nft"), ..NOTHING };

impl Other {
    /// Comes to a host as it does at boot.
    fn load(self, world: &World) {
        world.others(|| {
            feed("nft -f -", self.nftables);
            let restores = ["iptables-restore", "ip6tables-restore"];
            for ((restore, rules), v6) in restores.iter().zip(self.iptables).zip([false, true]) {
                if !rules.is_empty() {
                    feed(&format!("{restore} --noflush"), &of_family(rules, v6));
                }
            }
        });
        if let Some((name, script)) = self.stand_in {
            let path = format!("{BIN}/{name}");
            fs::create_dir_all(BIN).unwrap();
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

/// Where programs are that stand in for those of others.
const BIN: &str = "/run/bin";

/// ufw has names of its own for IPv6, as has ICMP.
fn of_family(rules: &str, v6: bool) -> String {
    if v6 { rules.replace("ufw-", "ufw6-").replace("-p icmp", "-p ipv6-icmp") } else { rules.to_owned() }
}

/// A container of ours that serves port 80, published at 8080.
fn web(world: &World) -> Member {
    let network = world.network(1);
    let ports = [Publish::tcp(80), Publish::udp(80)].map(|port| port.at(8080));
    let wanted =
        ports.into_iter().fold(container("web").on(Endpoint::of(&network)), linkspan::Container::publish);
    let web = world.container(&wanted);
    serve(web.netns(), 80);
    web
}

fn published(world: &World, family: Family) -> SocketAddr {
    SocketAddr::new(world.host_address(family), 8080)
}

/// Docker's bridge with a container that serves port 80, which its rules publish at 9000.
fn dockers_container() -> NetNs {
    let netns = NetNs::create("/run/netns/docker").unwrap();
    for line in [
        "link add docker0 type bridge",
        "addr add 172.17.0.1/16 dev docker0",
        "link set docker0 up",
        "link add docker1 type veth peer name eth0 netns docker",
        "link set docker1 master docker0 up",
        "-n docker link set lo up",
        "-n docker link set eth0 up",
        "-n docker addr add 172.17.0.2/16 dev eth0",
        "-n docker route add default via 172.17.0.1",
    ] {
        tool(&format!("ip {line}"));
    }
    tool("sysctl -qw net.ipv4.ip_forward=1");
    serve(&netns, 80);
    netns
}

#[test]
fn docker_and_linkspan_serve_side_by_side() {
    in_private_with(&["nft", "iptables"], || {
        with_each_firewall(|world| {
            DOCKER.load(world);
            let docker = dockers_container();
            let at = |port| SocketAddr::new(world.host_address(Family::V4), port);
            reaches(world.remote(), at(9000));
            let web = web(world);
            mend(world);
            reaches(world.remote(), at(9000));
            reaches(world.remote(), at(8080));
            reaches(&docker, at(8080));
            reaches(web.netns(), at(9000));
            let inside = [(&docker, web.at(Family::V4, 80)), (web.netns(), "172.17.0.2:80".parse().unwrap())];
            reaches_none(&inside);
            world.clear();
            reaches(world.remote(), at(9000));
            reaches_none(&[(world.remote(), at(8080))]);
        });
    });
}

/// All that we do, beside another: what it has loaded is the same after each.
fn goes_through_life(other: Other) {
    with_each_firewall(|world| {
        other.load(world);
        let step = |line: &str| {
            world.linkspan(line).ok();
            world.assert_others_unchanged(line);
        };
        let web = web(world);
        world.assert_others_unchanged("an attach");
        Family::BOTH.iter().for_each(|family| _ = reaches(&world.here, web.at(*family, 80)));
        step("doctor");
        step("plan run -p 80 -- true");
        if world.case.firewall == Firewall::Nftables {
            tool("nft delete table inet linkspan");
        }
        tool(&format!("ip link delete {}", world.host.networks().unwrap()[0].link()));
        step("reconcile");
        Family::BOTH.iter().for_each(|family| _ = reaches(&world.here, web.at(*family, 80)));
        step("run --network net-1 -p 8081:80 -- true");
        step("detach web");
        step("network rm net-1");
    });
}

#[test]
fn dockers_rules_stay_as_they_are() {
    in_private_with(&["nft", "iptables"], || goes_through_life(DOCKER));
}

#[test]
fn rules_of_ufw_stay_as_they_are() {
    in_private_with(&["nft", "iptables"], || goes_through_life(UFW));
}

#[test]
fn rules_of_firewalld_stay_as_they_are() {
    in_private_with(&["nft"], || goes_through_life(FIREWALLD));
}

#[test]
fn lines_of_iptables_by_hand_stay_as_they_are() {
    in_private_with(&["nft", "iptables"], || goes_through_life(LINES));
}

#[test]
fn a_table_of_nftables_by_hand_stays_as_it_is() {
    in_private_with(&["nft"], || goes_through_life(TABLE));
}

/// Runs the commands that `doctor` prints against rules of others, just as they are printed.
fn mend(world: &World) -> Vec<String> {
    let told = world.linkspan("doctor").ok();
    let foreign = told.lines().filter(|line| line.starts_with("wrong: foreign rule "));
    let commands = foreign.filter_map(|line| Some(line.split_once("; mended by: ")?.1.to_owned()));
    let commands: Vec<_> = commands.collect();
    world.others(|| {
        for command in &commands {
            let path = format!("{BIN}:{}", env::var("PATH").unwrap());
            let ran = run(Command::new("sh").args(["-c", command]).env("PATH", path));
            assert!(ran.status.success(), "{}: {command}: {ran}", world.case);
        }
    });
    commands
}

/// A foreign rule stops our traffic, as packets and `doctor` say; the command that it prints lets it pass.
fn is_mended_as_told(other: Other, firewall: Firewall, stopped: &[Way], rules: &[&str]) {
    with_each_firewall(|world| {
        if world.case.firewall != firewall {
            return;
        }
        let web = web(world);
        let neighbour = world.member("neighbour", &world.network(1));
        serve(world.remote(), 80);
        assert_eq!(world.linkspan("doctor").ok().lines().last(), Some("nothing is wrong"));
        let from = |way: Way, family| match way {
            Way::In => (world.remote(), published(world, family)),
            Way::Out => (web.netns(), SocketAddr::new(world.remote_address(family), 80)),
            Way::Across => (neighbour.netns(), published(world, family)),
        };
        let ways = |ways: &[Way]| {
            let each = Family::BOTH.into_iter().flat_map(|family| ways.iter().map(move |way| (*way, family)));
            each.map(|(way, family)| from(way, family)).collect::<Vec<_>>()
        };
        other.load(world);
        reaches_none(&ways(stopped));
        let told = world.linkspan("doctor").ok();
        rules
            .iter()
            .for_each(|rule| assert!(told.contains(&format!("wrong: foreign rule {rule} stops ")), "{told}"));
        let ran = mend(world);
        ways(&Way::ALL).into_iter().for_each(|(from, to)| _ = reaches(from, to));
        let told = world.linkspan("doctor").ok();
        assert_eq!(told.lines().last(), Some("nothing is wrong"), "after {ran:?}: {told}");
    });
}

/// From outside to a published port, out, and to a neighbour's published port by the host's address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
    Across,
}

impl Way {
    const ALL: [Self; 3] = [Self::In, Self::Out, Self::Across];
}

#[test]
fn the_policy_of_docker_is_mended_as_doctor_says() {
    in_private_with(&["nft", "iptables"], || {
        let rule =
            |program: &str| format!("`-P FORWARD DROP` in chain `FORWARD` of table `{program} filter`");
        let rules = [rule("iptables"), rule("ip6tables")];
        is_mended_as_told(DOCKER, Firewall::Nftables, &Way::ALL, &[&rules[0], &rules[1]]);
    });
}

#[test]
fn the_policy_of_ufw_is_mended_as_doctor_says() {
    in_private_with(&["nft", "iptables"], || {
        let rule = "`-P FORWARD DROP` in chain `FORWARD` of table `ip6tables filter`";
        is_mended_as_told(UFW, Firewall::Nftables, &Way::ALL, &[rule]);
    });
}

#[test]
fn lines_by_hand_are_mended_as_doctor_says() {
    in_private_with(&["nft", "iptables"], || {
        let rule = "`-A FORWARD -j DROP` in chain `FORWARD` of table `iptables filter`";
        is_mended_as_told(LINES, Firewall::Nftables, &Way::ALL, &[rule]);
    });
}

#[test]
fn a_table_by_hand_is_mended_as_doctor_says() {
    in_private_with(&["nft"], || {
        let rule = "`policy drop` in chain `forward` of table `inet filter`";
        is_mended_as_told(TABLE, Firewall::Nftables, &Way::ALL, &[rule]);
    });
}

#[test]
fn a_table_by_hand_is_mended_beside_our_iptables_as_doctor_says() {
    in_private_with(&["nft", "iptables"], || {
        let rule = "`policy drop` in chain `forward` of table `inet filter`";
        is_mended_as_told(TABLE, Firewall::Iptables, &Way::ALL, &[rule]);
    });
}

const ZONES: &str =
    "`oifname \"uplink\" reject` in chain `filter_FORWARD_POLICIES` of table `inet firewalld`";

#[test]
fn zones_of_firewalld_are_mended_as_doctor_says() {
    in_private_with(&["nft"], || {
        is_mended_as_told(FIREWALLD, Firewall::Nftables, &[Way::Out], &[ZONES]);
    });
}

#[test]
fn zones_of_firewalld_are_mended_beside_our_iptables_as_doctor_says() {
    in_private_with(&["nft", "iptables"], || {
        is_mended_as_told(FIREWALLD, Firewall::Iptables, &[Way::Out], &[ZONES]);
    });
}

#[test]
fn what_stands_before_our_chains_of_iptables_is_mended_as_doctor_says() {
    const FIRST: Other = Other { iptables: ["*filter\n-I FORWARD -j DROP\nCOMMIT\n"; 2], ..NOTHING };
    in_private_with(&["nft", "iptables"], || {
        let rule = "`-A FORWARD -j DROP` in chain `FORWARD` of table `ip6tables filter`";
        is_mended_as_told(FIRST, Firewall::Iptables, &Way::ALL, &[rule]);
    });
}

#[test]
fn a_rule_that_decides_by_something_unknown_is_named() {
    in_private(|| {
        let world = World::new(crate::world::Case::USUAL);
        let _web = web(&world);
        let table = "table inet doubts { chain forward { type filter hook forward priority filter; meta mark 1 drop; }; }";
        world.others(|| feed("nft -f -", table));
        let told = world.linkspan("doctor").ok();
        let rule = "what foreign rule `meta mark 0x00000001 drop` in chain `forward` of table `inet doubts` does is not known";
        assert!(told.contains(&format!("doubtful: {rule}, and it may stop ")), "{told}");
    });
}
