//! What a crash, a careless runtime or a stranger's hand leaves is found and put right, and nothing else is touched.

use crate::length::length;
use crate::private::{in_private, in_private_with};
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::strace::{Effect, Fault, broken};
use crate::traffic::{Question, serve};
use crate::world::{Case, Family, World, container, default_bridge, with_each_firewall};
use linkspan::{Error, Firewall, NetNs, Protocol};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::dup2;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process;
use std::thread::{self, sleep};
use std::time::Duration;

/// Attaches a namespace of this name, with a port of the host where one is given.
fn attach(world: &World, name: &str, options: &str) -> NetNs {
    let netns = NetNs::create(format!("/run/netns/{name}")).unwrap();
    world.linkspan(&format!("attach {name} --netns /run/netns/{name} {options}")).ok();
    netns
}

/// Ends a namespace without detaching it, as a runtime does that crashes.
fn vanish(name: &str, netns: NetNs) {
    NetNs::unpin(format!("/run/netns/{name}")).unwrap();
    drop(netns);
}

#[test]
fn containers_that_were_never_detached_are_collected_and_the_living_stay() {
    in_private(|| {
        with_each_firewall(|world| {
            world.linkspan("network create web --subnet 10.88.0.0/24").ok();
            let living = attach(world, "living", "--network web -p 8000:80");
            serve(&living, 80);
            let before = Snapshot::take();
            for name in ["a", "b", "c"] {
                let netns = attach(world, name, "--network web -p 80");
                vanish(name, netns);
            }
            let plan = world.linkspan("plan gc").ok();
            let said = world.linkspan("gc").ok();
            assert_eq!(plan, said);
            for name in ["a", "b", "c"] {
                assert!(said.contains(&format!("detach `{name}` ")), "{said}");
            }
            before.assert_unchanged("gc");
            assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
            let to = (world.host_address(Family::V4), 8000).into();
            Question { from: world.remote(), by: Protocol::Tcp, to }.answer().unwrap();
        });
    });
}

#[test]
fn a_reconcile_that_is_refused_tells_what_stayed_as_well() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        // In the place of leases: it cannot be read, and what stands in it cannot be removed as a file.
        fs::create_dir("/run/linkspan/leases/a20d813fb52c").unwrap();
        let refused = world.host.reconcile().unwrap_err();
        let Error::LeftBehind { left, refused: Some(why) } = &refused else { panic!("{refused:?}") };
        assert!(matches!(**why, Error::Address(_)), "{why:?}");
        assert_eq!(left.len(), 1, "{left:?}");
    });
}

#[test]
fn what_is_on_no_record_goes_and_what_others_made_stays() {
    in_private_with(&["nft"], || {
        let world = World::new(Case::USUAL);
        // Another instance, and things of others with names like ours.
        world.linkspan("--instance ci network create other").ok();
        let _other = NetNs::create("/run/netns/o").unwrap();
        world.linkspan("--instance ci attach o --netns /run/netns/o --network other -p 9000:80").ok();
        tool("ip link add vethls000000001 type veth peer name x1");
        tool("ip link add ls-0123456789ab type bridge");
        tool("ip link add linkspan0 address 02:42:ac:11:00:01 type bridge");
        tool("nft add table inet linkspan-mine");
        let before = Snapshot::take();
        let options = "--network web -p 8000:80 -p 8001:81";
        world.linkspan("network create web --subnet 10.88.0.0/24").ok();
        let netns = [attach(&world, "a", options), attach(&world, "b", "--network web")];
        fs::remove_dir_all("/run/linkspan").unwrap();
        fs::remove_dir_all("/var/lib/linkspan").unwrap();
        let said = world.linkspan("gc").ok();
        assert_eq!(said.matches("delete veth ").count(), 2, "{said}");
        assert_eq!(said.matches("delete bridge ").count(), 1, "{said}");
        assert!(said.contains("delete table inet linkspan\n"), "{said}");
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
        for (name, netns) in ["a", "b"].into_iter().zip(netns) {
            vanish(name, netns);
        }
        before.assert_unchanged("gc");
        world.linkspan("--instance ci network rm --force other").ok();
        tool("nft delete table inet linkspan-mine");
    });
}

#[test]
fn leases_claims_and_elements_without_a_record_are_freed() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/24").ok();
        let _living = attach(&world, "living", "--network web");
        let before = Snapshot::take();
        let netns = attach(&world, "a", "--network web -p 8000:80");
        let id = world.host.find("a").unwrap().id();
        fs::remove_file(format!("/run/linkspan/attachments/{id}")).unwrap();
        fs::write("/run/linkspan/attachments/.x.draft", "half").unwrap();
        let said = world.linkspan("gc").ok();
        for part in ["delete veth ", "pub4 { tcp . 8000", "release the addresses of", "free the claims of"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        vanish("a", netns);
        before.assert_unchanged("gc");
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
    });
}

#[test]
fn a_port_whose_container_is_on_no_record_is_the_next_ones() {
    in_private(|| {
        with_each_firewall(|world| {
            world.linkspan("network create web --subnet 10.88.0.0/24 --subnet fd88::/64").ok();
            let ports = "--network web -p 8000-8002:80-82 -p 8000:80/udp";
            let _lost = attach(world, "lost", ports);
            let id = world.host.find("lost").unwrap().id();
            fs::remove_file(format!("/run/linkspan/attachments/{id}")).unwrap();
            // Its address is free too, and shall not be the next one's by chance.
            let _other = attach(world, "other", "--network web");
            let next = NetNs::create("/run/netns/next").unwrap();
            let line = format!("attach next --netns /run/netns/next {ports}");
            let plan = world.linkspan(&format!("plan {line}")).ok();
            // With iptables they went when the rules were rewritten for the other one.
            if world.case.firewall == Firewall::Nftables {
                assert!(plan.contains("delete element inet linkspan pub6 { tcp . 8002 :"), "{plan}");
            }
            world.linkspan(&line).ok();
            serve(&next, 82);
            for family in Family::BOTH {
                let to = (world.host_address(family), 8002).into();
                Question { from: world.remote(), by: Protocol::Tcp, to }.answer().unwrap();
            }
        });
    });
}

#[test]
fn a_port_that_is_on_record_is_kept_though_nobody_claims_it() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/24").ok();
        let _first = attach(&world, "first", "--network web -p 8000:80");
        for file in ["claims", ".claims.lock"] {
            fs::remove_file(format!("/run/linkspan/{file}")).unwrap();
        }
        let _second = NetNs::create("/run/netns/second").unwrap();
        let before = Snapshot::take();
        let line = "attach second --netns /run/netns/second --network web -p 8000:80";
        for line in [&format!("plan {line}"), line] {
            let refused = world.linkspan(line);
            assert_eq!(refused.code(), Some(1), "{refused}");
            assert!(refused.err.contains("port 8000/tcp"), "{refused}");
            before.assert_unchanged(line);
        }
    });
}

#[test]
fn nobody_who_is_left_keeps_others_from_being_detached() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/24").ok();
        let names = ["idle", "damaged", "busy"];
        let _netns = names.map(|name| attach(&world, name, "--network web"));
        let [_, damaged, busy] = names.map(|name| {
            let id = world.host.find(name).unwrap().id();
            format!("/run/linkspan/attachments/{id}")
        });
        fs::write(&damaged, "?").unwrap();
        let held = Flock::lock(fs::File::open(&busy).unwrap(), FlockArg::LockExclusive).unwrap();
        let ran = thread::scope(|scope| {
            scope.spawn(|| {
                // The others are gone by then, or are on their way: either is what is wanted.
                sleep(Duration::from_millis(300));
                drop(held);
            });
            world.linkspan("detach idle damaged busy")
        });
        assert!(ran.code() == Some(3) && ran.err.contains(&damaged), "{ran}");
        let left: Vec<_> = fs::read_dir("/run/linkspan/attachments").unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");

        let ids = [damaged].map(|path| path.rsplit('/').next().unwrap().parse().unwrap());
        let Err(Error::LeftBehind { left, refused: None }) = world.host.detach_all(&ids) else {
            panic!("it cannot be detached");
        };
        assert_eq!(left.len(), 1, "{left:?}");
        world.linkspan("gc").ok();
    });
}

/// Ten containers on one network of both families, each with a server.
fn ten(world: &World) -> Vec<NetNs> {
    world.linkspan("network create web --subnet 10.88.0.0/24 --subnet fd88::/64").ok();
    let attach =
        |number| attach(world, &format!("c{number}"), &format!("--network web -p {}:80", 8000 + number));
    let all: Vec<_> = (0..10).map(attach).collect();
    all.iter().for_each(|netns| serve(netns, 80));
    all
}

/// Every container answers at its address and at its published port, and reaches the next.
fn are_reachable(world: &World, containers: &[NetNs]) {
    for (number, netns) in containers.iter().enumerate() {
        for family in Family::BOTH {
            let port = 8000 + u16::try_from(number).unwrap();
            let outside = (world.host_address(family), port).into();
            Question { from: world.remote(), by: Protocol::Tcp, to: outside }.answer().unwrap();
            let next = format!("c{}", (number + 1) % containers.len());
            let endpoint = world.host.find(&next).unwrap().endpoints()[0].clone();
            let address = family.of(endpoint.addresses().iter().map(linkspan::IpNet::addr));
            Question { from: netns, by: Protocol::Tcp, to: (address, 80).into() }.answer().unwrap();
        }
    }
}

#[test]
fn a_deleted_bridge_comes_back_with_all_ten_containers_reachable() {
    in_private(|| {
        with_each_firewall(|world| {
            let containers = ten(world);
            let bridge = world.host.networks().unwrap()[0].link();
            tool(&format!("ip link delete {bridge}"));
            let plan = world.linkspan("plan reconcile").ok();
            let said = world.linkspan("reconcile").ok();
            assert_eq!(plan, said);
            assert_eq!(said.matches(&format!(" master {bridge}\n")).count(), 10, "{said}");
            are_reachable(world, &containers);
            assert_eq!(world.linkspan("reconcile").ok(), "the host is as the records say\n");
        });
    });
}

#[test]
fn whatever_is_taken_from_a_container_comes_back_and_is_named() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let containers = ten(&world);
        let bridge = world.host.networks().unwrap()[0].link();
        let link = |number: usize| world.host.find(&format!("c{number}")).unwrap().endpoints()[0].host_link();
        let inside = |number: usize, line: &str| containers[number].run(|| tool(line)).unwrap();
        tool(&format!("ip link set {} nomaster", link(0)));
        tool(&format!("ip link set {} down", link(1)));
        tool(&format!("ip link delete {}", link(2)));
        tool(&format!("ip address flush dev {bridge}"));
        inside(3, "ip route delete default");
        inside(4, "ip link set eth0 down");
        inside(5, "ip -4 address flush dev eth0");
        inside(6, "ip link delete eth0");
        let said = world.linkspan("reconcile").ok();
        for number in 0..7 {
            assert!(said.contains(&format!("c{number}: ")), "c{number}: {said}");
        }
        assert!(!said.contains("c7: "), "{said}");
        are_reachable(&world, &containers);
        assert_eq!(world.linkspan("reconcile").ok(), "the host is as the records say\n");
    });
}

#[test]
fn what_cannot_be_brought_back_is_named_and_the_rest_comes_back() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let containers = ten(&world);
        // A container that has another idea of its link's name.
        containers[0].run(|| tool("ip link set eth0 down") + &tool("ip link set eth0 name mine")).unwrap();
        let bridge = world.host.networks().unwrap()[0].link();
        tool(&format!("ip link delete {bridge}"));
        let ran = world.linkspan("reconcile");
        assert_eq!(ran.code(), Some(3), "{ran}");
        assert!(ran.err.contains("what is missing of `c0`"), "{ran}");
        assert!(ran.out.contains("c1: "), "{ran}");
    });
}

#[test]
fn the_flags_of_ports_follow_bridge_netfilter() {
    in_private(|| {
        if !crate::private::has_bridge_netfilter() {
            return crate::private::skip("no bridge netfilter here");
        }
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/24 --icc=false").ok();
        let _netns = attach(&world, "a", "--network web");
        let flags = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let port = world.host.find("a").unwrap().endpoints()[0].host_link();
        let shown = || flags(&tool(&format!("ip -d link show {port}")));
        let has =
            |words: &[String], flag: &str| words.windows(2).any(|pair| pair[0] == flag && pair[1] == "on");
        assert!(has(&shown(), "hairpin") && !has(&shown(), "isolated"));
        for table in ["ip", "ip6"] {
            fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{table}tables"), "0").unwrap();
        }
        assert!(world.linkspan("reconcile").ok().starts_with("a: "));
        assert!(!has(&shown(), "hairpin") && has(&shown(), "isolated"));
    });
}

#[test]
fn many_are_detached_at_once_and_nothing_is_left() {
    in_private(|| {
        with_each_firewall(|world| {
            let _pinned = NetNs::create("/run/netns/pinned").unwrap();
            let before = Snapshot::take();
            let containers = ten(world);
            let names: Vec<_> = (0..10).map(|number| format!("c{number}")).collect();
            let said = world.linkspan(&format!("detach {} c0 nobody", names[..8].join(" "))).ok();
            assert_eq!(said.lines().collect::<Vec<_>>(), names[..8]);
            assert_eq!(world.host.attachments().unwrap().len(), 2);
            world.linkspan("network rm --force web").ok();
            names.iter().zip(containers).for_each(|(name, netns)| vanish(name, netns));
            before.assert_unchanged("network rm --force");
        });
    });
}

#[test]
fn a_network_that_was_half_removed_is_removed_by_the_next_call() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        let before = Snapshot::take();
        world.linkspan("network create web").ok();
        // The last thing that goes is its record.
        let fault = Fault { call: "unlinkat", effect: Effect::Refused("EBUSY"), nth: 1, lasting: true };
        let ran = broken(&world, fault, "network rm web").unwrap();
        assert_eq!(ran.code(), Some(3), "{ran}");
        assert_eq!(world.linkspan("network rm web").ok(), "web\n");
        before.assert_unchanged("network rm");
        assert_eq!(world.linkspan("network rm web").code(), Some(1));
    });
}

#[test]
fn a_record_that_cannot_be_read_is_named_and_gc_removes_what_it_stood_for() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/24").ok();
        let _living = attach(&world, "living", "--network web");
        let before = Snapshot::take();
        let netns = attach(&world, "a", "--network web -p 8000:80");
        let file = world.host.find("a").unwrap().id().to_string();
        let pending = format!("/run/linkspan/pending/{file}");
        fs::rename(format!("/run/linkspan/attachments/{file}"), &pending).unwrap();
        fs::write(&pending, "{\"version\":1,\"id\":\"").unwrap();
        let ran = world.linkspan("detach nobody");
        assert!(ran.err.contains(&pending) && ran.code() == Some(0), "{ran}");
        let said = world.linkspan("gc").ok();
        assert!(said.contains(&format!("remove {pending}, which cannot be read")), "{said}");
        vanish("a", netns);
        before.assert_unchanged("gc");
    });
}

/// A container on an internal network, of which the record that it is up is gone, and where that was.
fn with_a_lost_network(world: &World) -> (NetNs, String) {
    world.linkspan("network create web --internal --subnet 10.88.0.0/24").ok();
    let living = attach(world, "living", "--network web");
    let networks = world.host.networks().unwrap();
    let web = networks.iter().find(|there| there.name().as_str() == "web").unwrap();
    let path = format!("/run/linkspan/up/network-{}", web.id());
    fs::remove_file(&path).unwrap();
    (living, path)
}

#[test]
fn a_network_in_use_whose_record_is_gone_stays_and_reconcile_writes_it_anew() {
    in_private(|| {
        with_each_firewall(|world| {
            let (_living, path) = with_a_lost_network(world);
            let before = Snapshot::take();
            for line in ["plan gc", "gc", "plan reconcile"] {
                let ran = world.linkspan(line);
                assert!(ran.code() == Some(1) && ran.err.contains(&path), "{line}: {ran}");
                before.assert_unchanged(line);
            }
            assert!(world.linkspan("doctor").out.contains("reconcile"));
            assert_eq!(world.linkspan("reconcile").ok(), format!("rebuild {path}\n"));
            world.flush_rules();
            world.linkspan("reconcile").ok();
            assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
            fs::remove_file(&path).unwrap();
            before.assert_unchanged("reconcile");
        });
    });
}

#[test]
fn what_is_tried_again_of_one_that_is_detached_takes_nothing_from_who_has_it_since() {
    in_private(|| {
        with_each_firewall(|world| {
            // Its published ports are open at the address of the container, and no port of the host is claimed.
            world.linkspan("network create open --gateway-mode routed --subnet 10.88.0.0/24").ok();
            world.linkspan("network create stuck --internal --subnet 10.88.1.0/24").ok();
            let first = attach(world, "first", "--network open --network stuck -p 80");
            let address = |name| world.host.find(name).unwrap().endpoints()[0].address();
            let had = address("first");
            let stuck = world
                .host
                .networks()
                .unwrap()
                .iter()
                .find(|there| there.name().as_str() == "stuck")
                .unwrap()
                .id();
            fs::write(format!("/run/linkspan/leases/{stuck}"), "?").unwrap();
            assert_eq!(world.linkspan("detach first").code(), Some(3));
            let second = attach(world, "second", "--network open -p 80");
            assert_eq!(address("second"), had);
            let before = Snapshot::take();
            world.linkspan("ps").ok();
            before.assert_unchanged("ps");
            for line in ["reconcile", "gc", "detach second", "network rm open stuck", "gc"] {
                world.linkspan(line).ok();
            }
            vanish("first", first);
            vanish("second", second);
        });
    });
}

#[test]
fn a_descriptor_that_is_of_another_namespace_since_is_no_sign_that_the_container_is_gone() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let (_netns, other) = (NetNs::create("/run/netns/a").unwrap(), NetNs::create_anonymous().unwrap());
        let mut place = OwnedFd::from(fs::File::open("/run/netns/a").unwrap());
        let path = format!("/proc/{}/fd/{}", process::id(), place.as_raw_fd());
        world.linkspan(&format!("attach a --netns {path}")).ok();
        dup2(other.as_fd(), &mut place).unwrap();
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
        drop(place);
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
    });
}

#[test]
fn who_comes_elsewhere_leaves_the_rules_of_a_network_whose_record_is_gone() {
    in_private(|| {
        with_each_firewall(|world| {
            let _other = NetNs::create("/run/netns/other").unwrap();
            let come_and_go = || {
                world.linkspan("attach other --netns /run/netns/other -p 8000:80").ok();
                world.linkspan("detach other").ok();
            };
            come_and_go();
            let (living, path) = with_a_lost_network(world);
            let before = Snapshot::take();
            come_and_go();
            before.assert_unchanged("attach and detach elsewhere");
            assert_eq!(world.linkspan("reconcile").ok(), format!("rebuild {path}\n"));
            world.linkspan("network rm --force web").ok();
            vanish("living", living);
            NetNs::unpin("/run/netns/other").unwrap();
        });
    });
}

#[test]
fn a_network_in_use_of_which_no_file_tells_stays_until_its_containers_are_detached() {
    in_private(|| {
        with_each_firewall(|world| {
            let _pinned = NetNs::create("/run/netns/near").unwrap();
            world.linkspan("network create other --subnet 10.88.1.0/24").ok();
            let before = Snapshot::take();
            let (living, path) = with_a_lost_network(world);
            fs::remove_file("/var/lib/linkspan/networks/web").unwrap();
            let lost = Snapshot::take();
            // One that cannot be read says as little.
            fs::write(&path, "?").unwrap();
            assert_eq!(world.linkspan("gc").ok(), format!("remove {path}, which cannot be read\n"));
            lost.assert_unchanged("gc of a damaged record");
            for (line, said) in [("plan gc", "nothing would change\n"), ("gc", "nothing to remove\n")] {
                assert_eq!(world.linkspan(line).ok(), said);
                lost.assert_unchanged(line);
            }
            for line in ["plan reconcile", "reconcile", "doctor"] {
                let ran = world.linkspan(line);
                assert!(ran.to_string().contains("is used by `living`"), "{line}: {ran}");
                lost.assert_unchanged(line);
            }
            // Rules that are written whole would lack those of the network.
            let ran = world.linkspan("attach near --netns /run/netns/near --network other -p 8000:80");
            let refused = ran.code() == Some(1) && ran.err.contains("is used by `living`");
            assert_eq!(refused, world.case.firewall == Firewall::Iptables, "{ran}");
            assert!(refused || ran.code() == Some(0), "{ran}");
            world.linkspan("detach near").ok();
            lost.assert_unchanged("attach and detach elsewhere");
            world.linkspan("detach living").ok();
            world.linkspan("gc").ok();
            vanish("living", living);
            before.assert_unchanged("gc");
        });
    });
}

#[test]
fn an_attach_that_is_killed_on_a_network_whose_record_is_gone_leaves_it_up() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        let (_living, path) = with_a_lost_network(&world);
        let _near = NetNs::create("/run/netns/near").unwrap();
        let before = Snapshot::take();
        let line = "attach near --netns /run/netns/near --network web";
        for nth in (1..).step_by(length(3, 1)) {
            let fault = Fault { call: "sendto", effect: Effect::Killed, nth, lasting: false };
            let killed = broken(&world, fault, line).is_some();
            world.linkspan("detach near").ok();
            let _ = fs::remove_file(&path);
            before.assert_unchanged(&fault.to_string());
            if !killed {
                break;
            }
        }
    });
}

#[test]
fn a_plan_is_applied_once() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let (netns, wanted) = (NetNs::create_anonymous().unwrap(), container("a").on(default_bridge()));
        let plan = world.host.plan_attach(&netns, &wanted).unwrap();
        let attachment = world.host.apply(&netns, &wanted, &plan).unwrap();
        world.host.detach(attachment.id()).unwrap();
        assert!(matches!(world.host.apply(&netns, &wanted, &plan), Err(Error::Stale)));
    });
}

#[test]
fn who_wants_what_another_takes_away_waits_for_him() {
    in_private(|| {
        with_each_firewall(|world| {
            let next = NetNs::create("/run/netns/next").unwrap();
            let before = Snapshot::take();
            let web = attach(world, "web", "-p 8080:80");
            let id = world.host.find("web").unwrap().id();
            let (record, leaving) =
                (format!("/run/linkspan/attachments/{id}"), format!("/run/linkspan/pending/{id}"));
            fs::rename(record, &leaving).unwrap();
            let said = fs::read_to_string(&leaving).unwrap();
            let last = said.lines().last().unwrap().replace("\"leaving\":false", "\"leaving\":true");
            fs::write(&leaving, format!("{said}{last}\n")).unwrap();
            // Another process has it in hand.
            let file = fs::OpenOptions::new().read(true).write(true).open(&leaving).unwrap();
            let held = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
            let line = "attach web --netns /run/netns/next -p 8080:80";
            thread::scope(|scope| {
                let waits = scope.spawn(|| world.linkspan(line));
                sleep(Duration::from_millis(300));
                assert!(!waits.is_finished(), "it does not wait");
                drop(held);
                waits.join().unwrap().ok();
            });
            world.linkspan("detach web").ok();
            vanish("web", web);
            before.assert_unchanged("a container that comes while the one of its name is taken away");
            vanish("next", next);
        });
    });
}

#[test]
fn what_a_refused_run_switched_on_is_told() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        tool("sysctl -w net.ipv4.ip_forward=0");
        let _taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap();
        let ran = world.linkspan("run -p 8080:80 -- true");
        assert_eq!(ran.code(), Some(125), "{ran}");
        assert!(ran.err.contains("IPv4 forwarding was switched on"), "{ran}");
    });
}
