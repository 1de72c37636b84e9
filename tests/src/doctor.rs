//! What `linkspan doctor` finds on a host that someone else has been at, and what becomes of it once the command that
//! it prints was run.

use crate::private::{has_bridge_netfilter, in_private, in_private_with, skip};
use crate::program::{feed, path_of_linkspan, run, tool};
use crate::snapshot::Snapshot;
use crate::strace::{Effect, Fault, broken};
use crate::traffic::{reaches, reaches_none, serve};
use crate::world::{Case, Family, Member, World, container, filter_bridges, gateway, with_each_firewall};
use linkspan::{Endpoint, Firewall, IfName, Neighbours, NetNs, Network, Publish};
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// What it says, but for what is merely good to know.
fn told(world: &World) -> Vec<String> {
    let told = world.linkspan("doctor").ok();
    told.lines().filter(|line| !line.starts_with("note: ")).map(str::to_owned).collect()
}

/// It finds just this, changes nothing, and finds nothing once what it printed was run.
#[track_caller]
fn check(world: &World, finding: &str) {
    let before = Snapshot::take();
    assert_eq!(told(world), [finding], "{}", world.case);
    before.assert_unchanged("a diagnosis");
    let (_, mend) = finding.split_once("; mended by: ").expect("there is a command");
    let programs = path_of_linkspan().parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", env::var("PATH").unwrap());
    run(Command::new("sh").args(["-c", mend]).env("PATH", path)).ok();
    assert_eq!(told(world), ["nothing is wrong"], "{}: {mend}", world.case);
}

const GARBAGE: &str = "doubtful: there is something that nobody needs: ";

/// The command with these words, for the firewall of this world.
fn command(world: &World, words: &str) -> String {
    match world.case.firewall {
        Firewall::Nftables => format!("linkspan {words}"),
        firewall => format!("linkspan --firewall {firewall} {words}"),
    }
}

/// A container on the network of that number, which serves port 80, published at 8080.
fn web(world: &World) -> Member {
    let wanted = container("web").on(Endpoint::of(&world.network(1)));
    let web = world.container(&wanted.publish(Publish::tcp(80).at(8080)).publish(Publish::udp(80).at(8080)));
    serve(web.netns(), 80);
    web
}

fn published(world: &World) -> SocketAddr {
    SocketAddr::new(world.host_address(Family::V4), 8080)
}

#[test]
fn nothing_is_wrong_with_a_host_that_is_as_the_records_say() {
    in_private(|| {
        with_each_firewall(|world| {
            assert_eq!(told(world), ["nothing is wrong"]);
            let _web = web(world);
            for policy in
                ["--internal", "--icc=false", "--gateway-mode routed", "--gateway-mode isolated", "--ipv6"]
            {
                world
                    .linkspan(&format!("network create {} {policy}", policy.replace([' ', '=', '-'], "x")))
                    .ok();
            }
            let before = Snapshot::take();
            assert_eq!(told(world), ["nothing is wrong"]);
            assert_eq!(world.linkspan("plan reconcile").ok(), "nothing would change\n");
            before.assert_unchanged("a diagnosis");
        });
    });
}

#[test]
fn forwarding_that_someone_switched_off_is_found() {
    in_private(|| {
        with_each_firewall(|world| {
            let web = web(world);
            serve(world.remote(), 80);
            let out =
                Family::BOTH.map(|family| (web.netns(), SocketAddr::new(world.remote_address(family), 80)));
            let cases = [("net.ipv4.ip_forward", out[0]), ("net.ipv6.conf.all.forwarding", out[1])];
            for (setting, way) in cases {
                tool(&format!("sysctl -qw {setting}=0"));
                reaches_none(&[way]);
                let finding = format!("wrong: {setting} is 0, so the host passes nothing on of net-1");
                check(world, &format!("{finding}; mended by: sysctl -w {setting}=1"));
                reaches(way.0, way.1);
            }
        });
    });
}

#[test]
fn a_bridge_without_ipv6_is_found_before_what_cannot_come_back_there() {
    in_private(|| {
        with_each_firewall(|world| {
            let web = web(world);
            let link = world.network(1).link();
            tool(&format!("sysctl -qw net.ipv6.conf.{link}.disable_ipv6=1"));
            let refused = world.linkspan("reconcile");
            assert_eq!((refused.code(), refused.out.as_str()), (Some(3), ""), "{refused:?}");
            let found = told(world);
            let mend = format!("sysctl -w net/ipv6/conf/{link}/disable_ipv6=0");
            let finding = format!("net.ipv6.conf.{link}.disable_ipv6 is 1, so network `net-1` has no IPv6");
            assert_eq!(found[0], format!("wrong: {finding}; mended by: {mend}"));
            tool(&mend);
            world.linkspan("reconcile").ok();
            assert_eq!(told(world), ["nothing is wrong"]);
            reaches(web.netns(), SocketAddr::new(gateway(&world.network(1), Family::V6), 8080));
        });
    });
}

#[test]
fn rules_of_ours_that_someone_removed_are_found() {
    in_private(|| {
        with_each_firewall(|world| {
            let _web = web(world);
            let (command, step) = match world.case.firewall {
                Firewall::Iptables => ("iptables -D FORWARD -j LINKSPAN-FORWARD", "iptables -t filter"),
                _ => {
                    ("nft delete element inet linkspan pub4 { tcp . 8080 }", "add element inet linkspan pub4")
                }
            };
            tool(command);
            let found = told(world).concat();
            assert!(
                found.starts_with(&format!("wrong: the host differs from the records: {step}")),
                "{found}"
            );
            check(world, &found);
            reaches(world.remote(), published(world));
        });
    });
}

#[test]
fn a_bridge_that_someone_deleted_is_found_and_comes_back_with_its_ports() {
    in_private(|| {
        with_each_firewall(|world| {
            let web = web(world);
            let bridge = world.network(1).link();
            tool(&format!("ip link delete {bridge}"));
            let found = told(world).concat();
            assert!(found.starts_with("wrong: the host differs from the records: create bridge "), "{found}");
            assert!(
                found.ends_with(&format!(" more; mended by: {}", command(world, "reconcile"))),
                "{found}"
            );
            check(world, &found);
            Family::BOTH.iter().for_each(|family| _ = reaches(&world.here, web.at(*family, 80)));
            reaches(world.remote(), published(world));
            reaches(web.netns(), published(world));
        });
    });
}

#[test]
fn bridge_netfilter_that_someone_switched_is_found_and_the_ports_follow_it() {
    in_private(|| {
        if !has_bridge_netfilter() {
            return skip("no bridge netfilter here");
        }
        with_each_firewall(|world| {
            let network = Network::bridge("apart".parse().unwrap()).neighbours(Neighbours::PublishedOnly);
            let network = network.subnet("10.88.9.0/24".parse().unwrap());
            let network = world.host.ensure_network(&network).unwrap();
            let [one, two] = ["one", "two"].map(|name| world.member(name, &network));
            [&one, &two].iter().for_each(|member| serve(member.netns(), 80));
            let web = web(world);
            let ways = [(one.netns(), two.at(Family::V4, 80))];
            reaches_none(&ways);
            let found = |flags: &str| {
                let found = told(world).concat();
                assert!(found.starts_with("wrong: the host differs from the records: "), "{found}");
                assert!(found.contains(flags), "{found}");
                found
            };
            filter_bridges(false);
            // Nothing but the flag keeps them apart there.
            ways.iter().for_each(|(from, to)| _ = reaches(from, *to));
            check(world, &found("hairpin off isolated on"));
            reaches_none(&ways);
            filter_bridges(true);
            reaches_none(&[(web.netns(), published(world))]);
            check(world, &found("hairpin on isolated off"));
            reaches(web.netns(), published(world));
            reaches_none(&ways);
        });
    });
}

#[test]
fn a_container_that_was_never_detached_is_found() {
    in_private(|| {
        with_each_firewall(|world| {
            tool("ip netns add box");
            world.linkspan("attach web --netns /run/netns/box -p 8080:80").ok();
            let attachment = world.host.find("web").unwrap();
            tool("ip netns delete box");
            // The kernel takes its time.
            until_gone(attachment.endpoints()[0].host_link());
            let gone = format!("detach `web` {}, whose container is gone", attachment.id());
            check(world, &format!("{GARBAGE}{gone}; mended by: {}", command(world, "gc")));
        });
    });
}

fn until_gone(link: IfName) {
    let until = Instant::now() + Duration::from_secs(10);
    while fs::exists(format!("/proc/sys/net/ipv4/conf/{link}")).unwrap() {
        assert!(Instant::now() < until, "{link} does not go");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_killed_process_began_is_found() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        let _netns = NetNs::create("/run/netns/box").unwrap();
        world.network(1);
        let attach = "attach web --netns /run/netns/box --network net-1";
        let is_under_way = |nth: usize| {
            let fault = Fault { call: "sendto", effect: Effect::Killed, nth, lasting: false };
            broken(&world, fault, attach).expect("a record is made before the last message is sent");
            fs::read_dir("/run/linkspan/pending").unwrap().next().is_some()
        };
        assert!((1..).any(is_under_way));
        let killed = "take back what a killed process was at with `web`";
        check(&world, &format!("{GARBAGE}{killed}; mended by: linkspan gc"));
    });
}

#[test]
fn an_uplink_that_will_lose_its_address_is_found() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _web = web(&world);
        tool("ip address add 2001:db8:9::1/64 dev uplink valid_lft 600 preferred_lft 600");
        let loses = "doubtful: link `uplink` loses the IPv6 addresses and routes that a router gave it: the host \
                     forwards, and net.ipv6.conf.uplink.accept_ra is 1";
        check(&world, &format!("{loses}; mended by: sysctl -w net/ipv6/conf/uplink/accept_ra=2"));
    });
}

#[test]
fn a_run_folder_of_another_firewall_is_found() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _web = web(&world);
        let told = world.linkspan("--firewall none doctor").ok();
        assert_eq!(told, "wrong: run folder /run/linkspan belongs to another firewall: nftables, not none\n");
        let told = world.linkspan("--firewall none doctor --json").ok();
        assert!(
            told.starts_with(r#"[{"severity":"wrong","problem":"run-folder","path":"/run/linkspan","#),
            "{told}"
        );
    });
}

#[test]
fn a_record_that_cannot_be_read_is_found() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let web = web(&world);
        let path = format!("/run/linkspan/attachments/{}", web.attachment.id());
        fs::write(&path, "").unwrap();
        let finding = format!("wrong: a record cannot be read: `{path}` is empty or torn");
        check(&world, &format!("{finding}; mended by: linkspan gc"));
    });
}

#[test]
fn a_missing_program_is_found() {
    in_private(|| {
        with_each_firewall(|world| {
            if world.case.firewall == Firewall::Iptables {
                let _web = web(world);
                let told = run(world.command("doctor").env("PATH", "/run")).ok();
                assert!(told.contains("wrong: program `iptables-save` is missing\n"), "{told}");
            }
        });
    });
}

#[test]
fn what_stands_in_the_place_of_ours_is_found() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let bridge = world.network(1).link();
        let in_the_way = "wrong: the host cannot be made what the records say: ";
        tool(&format!("ip link delete {bridge}"));
        tool(&format!("ip link add {bridge} type ifb"));
        assert_eq!(
            told(&world),
            [format!("{in_the_way}cannot plan the links: `{bridge}` is a ifb and not a bridge")]
        );
        tool(&format!("ip link delete {bridge}"));
        feed("nft -f -", "delete table inet linkspan; add table inet linkspan");
        assert_eq!(told(&world), [format!("{in_the_way}table `inet linkspan` is not ours")]);
    });
}

#[test]
fn every_rule_that_stops_something_is_found_at_once_and_the_users_own_is_not() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _web = web(&world);
        feed("nft -f -", "add rule inet linkspan linkspan-user drop");
        assert_eq!(told(&world), ["nothing is wrong"]);
        feed("nft -f -", "flush chain inet linkspan linkspan-user");
        let table = |name: &str, priority: &str| {
            let hook = format!(
                "type filter hook forward priority {priority}; ip daddr 10.88.1.0/24 th dport 80 drop"
            );
            format!("table ip {name} {{ chain forward {{ {hook}; }}; }}")
        };
        world.others(|| feed("nft -f -", &[table("one", "-5"), table("two", "5")].join("\n")));
        let found = told(&world);
        assert_eq!(found.len(), 2, "{found:?}");
        for (name, line) in ["one", "two"].iter().zip(&found) {
            let rule = "`ip daddr 10.88.1.0/24 th dport 80 drop`";
            let begin = format!("wrong: foreign rule {rule} in chain `forward` of table `ip {name}` stops ");
            assert!(line.starts_with(&begin), "{line}");
            assert!(line.contains("published port 8080/udp of `web` from outside"), "{line}");
            assert!(!line.contains("the way out"), "{line}");
        }
        reaches_none(&[(world.remote(), published(&world))]);
        for line in &found {
            let (_, mend) = line.split_once("; mended by: ").expect("there is a command");
            world.others(|| _ = run(Command::new("sh").args(["-c", mend])).ok());
        }
        reaches(world.remote(), published(&world));
        assert_eq!(told(&world), ["nothing is wrong"]);
    });
}
