//! Addresses that are kept for a container while it is not there.

use crate::private::{in_private, in_private_with};
use crate::program::{Ran, tool};
use crate::snapshot::Snapshot;
use crate::strace::{Effect, Fault, broken, calls, stopped};
use crate::world::{Case, World, with_each_firewall};
use linkspan::{Addresses, AttachedEndpoint, Attachment, Host, IpNet, NetNs};
use std::fs;
use std::thread::{self, sleep};
use std::time::Duration;

/// A network of both families.
const WEB: &str = "network create web --subnet 10.88.0.0/24 --subnet fd88::/64";

/// The calls that can change something outside of a process.
const CHANGING: [&str; 10] = [
    "renameat",
    "renameat2",
    "linkat",
    "unlinkat",
    "write",
    "pwrite64",
    "fsync",
    "ftruncate",
    "sendto",
    "sendmsg",
];

/// Attaches a namespace that is made for it, and forgets the one of that name before.
fn try_attach(world: &World, name: &str, options: &str) -> Ran {
    let path = format!("/run/netns/{name}");
    let _ = NetNs::unpin(&path);
    NetNs::create(&path).unwrap();
    world.linkspan(&format!("attach {name} --netns {path} {options}"))
}

/// The same, and the addresses that it has.
#[track_caller]
fn attach(world: &World, name: &str, options: &str) -> Vec<String> {
    try_attach(world, name, options).ok();
    addresses(&host(world).find(name).unwrap())
}

/// The host with its folders as they are at this moment.
fn host(world: &World) -> Host {
    Host::builder().firewall(world.case.firewall).open().unwrap()
}

fn addresses(attachment: &Attachment) -> Vec<String> {
    let each = attachment.endpoints().iter().flat_map(AttachedEndpoint::addresses);
    each.map(IpNet::addr).map(|address| address.to_string()).collect()
}

/// What is kept of a network, a line for each address.
fn kept(world: &World, network: &str) -> Vec<String> {
    let kept = host(world).reservations(&network.parse().unwrap()).unwrap();
    kept.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn is_refused(ran: &Ran, why: &str) {
    assert!(ran.code() == Some(1) && ran.err.contains(why) && ran.err.lines().count() == 1, "{ran}");
}

#[test]
fn a_kept_address_is_given_to_nobody_else_until_it_is_released() {
    in_private(|| {
        with_each_firewall(|world| {
            world.linkspan(WEB).ok();
            assert_eq!(attach(world, "a", "--network web"), ["10.88.0.2", "fd88::2"]);
            assert_eq!(world.linkspan("detach --keep-address a").ok(), "a\n");
            for _ in 0..2 {
                assert_eq!(attach(world, "b", "--network web"), ["10.88.0.3", "fd88::3"]);
                for ip in ["10.88.0.2", "fd88::2"] {
                    let ran = try_attach(world, "c", &format!("--network web --ip {ip}"));
                    is_refused(&ran, &format!("ip {ip} is kept for `a`"));
                }
                let plan = world.linkspan("plan attach a --netns /run/netns/a --network web").ok();
                assert!(plan.contains("10.88.0.2/24"), "{plan}");
                assert_eq!(attach(world, "a", "--network web"), ["10.88.0.2", "fd88::2"]);
                // Also one that is not told to keep it does not let go of it.
                world.linkspan("detach a b").ok();
            }
            assert_eq!(world.linkspan("network release web 10.88.0.2").ok(), "10.88.0.2\n");
            let twice = world.linkspan("network release web 10.88.0.2");
            assert_eq!((twice.code(), twice.out.as_str()), (Some(0), ""));
            assert_eq!(attach(world, "b", "--network web"), ["10.88.0.2", "fd88::3"]);
            assert_eq!(kept(world, "web"), ["fd88::2 for `a`"]);
            world.linkspan("network release web fd88::2").ok();
            assert_eq!(fs::read_dir("/var/lib/linkspan/reservations").unwrap().count(), 0);
        });
    });
}

#[test]
fn what_is_kept_is_shown_with_its_network() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        attach(&world, "a", "--network web");
        world.linkspan("detach --keep-address a").ok();
        let shown = r#""reservations":[{"address":"10.88.0.2","container":"a"},{"address":"fd88::2","container":"a"}]"#;
        for line in ["network inspect web --json", "network ls --json"] {
            let text = world.linkspan(line).ok();
            assert!(text.contains(shown), "{line}: {text}");
        }
        assert!(world.linkspan("network inspect bridge --json").ok().contains(r#""reservations":[]"#));
        is_refused(&world.linkspan("network release other 10.88.0.2"), "there is no network `other`");
        assert_eq!(world.linkspan("network release web 10.88.0.300").code(), Some(2));
    });
}

#[test]
fn a_container_has_what_it_had_last_and_no_more_is_kept_for_it() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        for last in ["10.88.0.7", "10.88.0.9"] {
            attach(&world, "a", &format!("--network web --ip {last}"));
            world.linkspan("detach --keep-address a").ok();
            assert_eq!(kept(&world, "web"), [format!("{last} for `a`"), "fd88::2 for `a`".to_owned()]);
        }
        assert_eq!(attach(&world, "a", "--network web"), ["10.88.0.9", "fd88::2"]);
    });
}

#[test]
fn a_network_that_keeps_addresses_is_removed_by_force_alone() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        // The first one of all makes the folder a mount.
        let _pinned = NetNs::create("/run/netns/pinned").unwrap();
        let before = Snapshot::take();
        world.linkspan(WEB).ok();
        attach(&world, "a", "--network web");
        world.linkspan("detach --keep-address a").ok();
        let whole = Snapshot::take();
        is_refused(
            &world.linkspan("network rm web"),
            "network `web` keeps 10.88.0.2 for `a`, fd88::2 for `a`",
        );
        whole.assert_unchanged("the refusal");
        world.linkspan("network rm --force web").ok();
        NetNs::unpin("/run/netns/a").unwrap();
        before.assert_unchanged("network rm --force");
        world.linkspan(WEB).ok();
        assert_eq!(attach(&world, "b", "--network web"), ["10.88.0.2", "fd88::2"]);
    });
}

#[test]
fn the_default_network_goes_down_and_stays_defined_as_long_as_it_keeps_an_address() {
    in_private(|| {
        with_each_firewall(|world| {
            let _pinned = NetNs::create("/run/netns/pinned").unwrap();
            let before = Snapshot::take();
            assert_eq!(attach(world, "a", "--ip 172.17.0.9"), ["172.17.0.9"]);
            let id = world.host.networks().unwrap()[0].id();
            world.linkspan("detach --keep-address a").ok();
            NetNs::unpin("/run/netns/a").unwrap();
            let left = before.change().unwrap();
            let expected = ["/var/lib/linkspan/networks/bridge", "/var/lib/linkspan/reservations/"];
            let is_expected =
                |line: &str| expected.iter().any(|file| line.starts_with(&format!("+ file: {file}")));
            assert!(left.lines().count() == 2 && left.lines().all(is_expected), "{left}");
            assert_eq!(attach(world, "b", ""), ["172.17.0.2"]);
            assert_eq!(attach(world, "a", ""), ["172.17.0.9"]);
            assert_eq!(world.host.networks().unwrap()[0].id(), id);
            world.linkspan("detach a b").ok();
            let release = "network release bridge 172.17.0.9 --json";
            let it = "{\"address\":\"172.17.0.9\",\"container\":\"a\"}\n";
            // The first lets the network go too.
            assert_eq!([(); 2].map(|()| world.linkspan(release).ok()), [it, "null\n"]);
            ["a", "b"].iter().for_each(|name| NetNs::unpin(format!("/run/netns/{name}")).unwrap());
            before.assert_unchanged("the release");
        });
    });
}

#[test]
fn who_crashes_keeps_what_was_kept_for_it_and_gc_lets_go_of_what_is_of_no_network() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        attach(&world, "a", "--network web");
        world.linkspan("detach --keep-address a").ok();
        attach(&world, "a", "--network web");
        NetNs::unpin("/run/netns/a").unwrap();
        assert!(world.linkspan("gc").ok().contains("detach `a` "));
        assert_eq!(attach(&world, "b", "--network web"), ["10.88.0.3", "fd88::3"]);
        assert_eq!(attach(&world, "a", "--network web"), ["10.88.0.2", "fd88::2"]);
        world.linkspan("detach a b").ok();
        fs::remove_file("/var/lib/linkspan/networks/web").unwrap();
        fs::remove_dir_all("/run/linkspan").unwrap();
        let (plan, said) = (world.linkspan("plan gc").ok(), world.linkspan("gc").ok());
        assert!(plan == said && said.contains("let go of the addresses that are kept of network "), "{said}");
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
        assert_eq!(fs::read_dir("/var/lib/linkspan/reservations").unwrap().count(), 0);
    });
}

#[test]
fn whoever_is_killed_an_address_that_is_to_be_kept_is_free_at_no_moment() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        let mut killed = 0;
        attach(&world, "a", "--network web");
        let calls = calls(&world, "detach --keep-address a");
        for call in CHANGING.into_iter().filter(|call| calls.contains_key(*call)) {
            for nth in 1.. {
                assert_eq!(attach(&world, "a", "--network web"), ["10.88.0.2", "fd88::2"], "{call} {nth}");
                let fault = Fault { call, effect: Effect::Killed, nth, lasting: false };
                let Some(ran) = broken(&world, fault, "detach --keep-address a") else { break };
                killed += usize::from(ran.code().is_none());
                // Another comes next, whatever was come to.
                assert_eq!(attach(&world, "b", "--network web"), ["10.88.0.3", "fd88::3"], "{call} {nth}");
                world.linkspan("detach b").ok();
                world.linkspan("detach --keep-address a").ok();
                let once = ["10.88.0.2 for `a`", "fd88::2 for `a`"];
                let attached = world.host.find("a").is_ok();
                assert!(!attached && kept(&world, "web") == once, "{call} {nth}: {:?}", kept(&world, "web"));
                for ip in ["10.88.0.2", "fd88::2"] {
                    world.linkspan(&format!("network release web {ip}")).ok();
                }
            }
            world.linkspan("network release web 10.88.0.2").ok();
            world.linkspan("network release web fd88::2").ok();
            world.linkspan("detach a").ok();
        }
        assert!(killed > 10, "{killed}");
    });
}

#[test]
fn whoever_is_killed_the_default_network_goes_down_and_goes_on_keeping() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        NetNs::create("/run/netns/b").unwrap();
        let mut killed = 0;
        for call in ["renameat", "unlinkat", "write"] {
            for nth in 1.. {
                // It is made by its first attachment, and would be let go with its last one.
                assert_eq!(attach(&world, "a", "--ip 172.17.0.9"), ["172.17.0.9"], "{call} {nth}");
                let fault = Fault { call, effect: Effect::Killed, nth, lasting: false };
                let ran = broken(&world, fault, "detach --keep-address a");
                world.linkspan("ps").ok();
                let other = world.linkspan("attach b --netns /run/netns/b --ip 172.17.0.9");
                assert!(other.code() == Some(1) && other.err.contains("172.17.0.9"), "{call} {nth}: {other}");
                world.linkspan("network rm --force bridge").ok();
                let Some(ran) = ran else { break };
                killed += usize::from(ran.code().is_none());
            }
        }
        assert!(killed > 10, "{killed}");
    });
}

#[test]
fn the_lease_of_one_without_a_record_keeps_nobody_waiting() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/30").ok();
        attach(&world, "a", "--network web");
        world.linkspan("detach --keep-address a").ok();
        attach(&world, "a", "--network web");
        let id = world.host.find("a").unwrap().id();
        fs::remove_file(format!("/run/linkspan/attachments/{id}")).unwrap();
        is_refused(&try_attach(&world, "b", "--network web"), "no free address in 10.88.0.0/30");
        world.linkspan("gc").ok();
        assert_eq!(attach(&world, "a", "--network web"), ["10.88.0.2"]);
    });
}

#[test]
fn a_release_that_stands_still_brings_nothing_back_of_a_network_that_goes() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        attach(&world, "a", "--network web");
        world.linkspan("detach --keep-address a").ok();
        let release = stopped(&world, "fsync", 1, "network release web 10.88.0.2").unwrap();
        let mut removal = world.command("network rm --force web").spawn().unwrap();
        // Long enough for it to be done where it waits for nobody; what is asserted holds at any length.
        sleep(Duration::from_millis(300));
        release.goes_on().unwrap().ok();
        assert!(removal.wait().unwrap().success());
        assert_eq!(fs::read_dir("/var/lib/linkspan/reservations").unwrap().count(), 0);
    });
}

#[test]
fn drafts_of_killed_writers_go_with_a_network_and_with_gc() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        for last in ["network rm web", "gc"] {
            world.linkspan(WEB).ok();
            let draft = "/var/lib/linkspan/reservations/.a20d813fb52c.draft";
            fs::write(draft, "{").unwrap();
            world.linkspan(last).ok();
            assert!(!fs::exists(draft).unwrap(), "{last}");
        }
    });
}

#[test]
fn two_processes_that_keep_and_take_at_once_lose_nothing() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        let names: Vec<_> = (0..6).map(|number| format!("c{number}")).collect();
        let before: Vec<_> = names.iter().map(|name| attach(&world, name, "--network web")).collect();
        let swap = |name: &str| {
            let path = format!("/run/netns/other-{name}");
            NetNs::create(&path).unwrap();
            world.linkspan(&format!("detach --keep-address {name}")).ok();
            world.linkspan(&format!("attach other-{name} --netns {path} --network web")).ok();
        };
        thread::scope(|scope| {
            for name in &names {
                let (swap, here) = (&swap, &world.here);
                scope.spawn(move || here.run(|| swap(name)).unwrap());
            }
        });
        for (name, had) in names.iter().zip(&before) {
            let other = addresses(&world.host.find(&format!("other-{name}")).unwrap());
            assert!(!before.contains(&other), "{other:?}");
            let expected: Vec<_> = had.iter().map(|ip| format!("{ip} for `{name}`")).collect();
            assert!(expected.iter().all(|line| kept(&world, "web").contains(line)), "{name}");
            assert_eq!(attach(&world, name, "--network web"), *had);
        }
    });
}

#[test]
fn many_are_kept_at_once_on_all_their_networks_or_none() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        world.linkspan("network create db --subnet 10.89.0.0/24").ok();
        let had = ["a", "b"].map(|name| attach(&world, name, "--network db --network web"));
        let before = Snapshot::take();
        let web = world.host.networks().unwrap()[1].id();
        let file = format!("/var/lib/linkspan/reservations/{web}");
        fs::write(&file, "{").unwrap();
        let ran = world.linkspan("detach --keep-address a b");
        is_refused(&ran, &file);
        fs::remove_file(&file).unwrap();
        before.assert_unchanged("the refusal");
        let ids = ["a", "b"].map(|name| world.host.find(name).unwrap().id());
        world.host.detach_all_with(&ids, Addresses::Keep).unwrap();
        assert_eq!(kept(&world, "db"), ["10.89.0.2 for `a`", "10.89.0.3 for `b`"]);
        for (name, had) in ["b", "a"].into_iter().zip(had.iter().rev()) {
            assert_eq!(attach(&world, name, "--network db --network web"), *had);
        }
    });
}

#[test]
fn what_is_kept_of_a_subnet_that_is_no_more_is_in_nobodys_way() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        attach(&world, "a", "--network web");
        world.linkspan("detach --keep-address a").ok();
        let path = "/var/lib/linkspan/networks/web";
        let elsewhere =
            fs::read_to_string(path).unwrap().replace("10.88.0", "10.99.0").replace("fd88::", "fd99::");
        fs::write(path, elsewhere).unwrap();
        fs::remove_dir_all("/run/linkspan").unwrap();
        world.linkspan("gc").ok();
        assert_eq!(attach(&world, "a", "--network web"), ["10.99.0.2", "fd99::2"]);
        assert_eq!(kept(&world, "web"), ["10.88.0.2 for `a`", "fd88::2 for `a`"]);
        world.linkspan("network release web 10.88.0.2").ok();
        world.linkspan("detach --keep-address a").ok();
        assert_eq!(kept(&world, "web"), ["10.99.0.2 for `a`", "fd99::2 for `a`"]);
    });
}

#[test]
fn damaged_reservations_are_named_and_come_back_from_the_leases_or_go_with_their_network() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        attach(&world, "a", "--network web");
        world.linkspan("detach --keep-address a").ok();
        let id = world.host.networks().unwrap()[0].id();
        let path = format!("/var/lib/linkspan/reservations/{id}");
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, "").unwrap();
        let ran = try_attach(&world, "b", "--network web");
        is_refused(&ran, &path);
        assert!(ran.err.contains("network rm --force"), "{ran}");
        assert!(world.linkspan("reconcile").ok().contains(&format!("rebuild {path}\n")));
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        // A reboot takes the leases away, and nothing else tells of it.
        fs::remove_dir_all("/run/linkspan").unwrap();
        fs::write(&path, "").unwrap();
        is_refused(&world.linkspan("plan reconcile"), &path);
        // It is in the way of nothing else.
        attach(&world, "b", "");
        tool("nft delete table inet linkspan");
        let ran = world.linkspan("reconcile");
        assert!(ran.code() == Some(3) && ran.err.contains(&path), "{ran}");
        assert!(ran.out.contains("add table inet linkspan\n"), "{ran}");
        world.linkspan("detach b").ok();
        is_refused(&world.linkspan("network rm web"), &path);
        world.linkspan("network rm --force web").ok();
        assert!(!fs::exists(&path).unwrap());
        world.linkspan("gc").ok();
    });
}

#[test]
fn what_a_newer_program_says_of_reservations_stays_and_a_newer_file_is_refused() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        attach(&world, "a", "--network web");
        world.linkspan("detach --keep-address a").ok();
        let id = world.host.networks().unwrap()[0].id();
        let path = format!("/var/lib/linkspan/reservations/{id}");
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.replace("{\"version\":1,", "{\"version\":1,\"later\":7,")).unwrap();
        for ip in ["10.88.0.2", "fd88::2"] {
            world.linkspan(&format!("network release web {ip}")).ok();
        }
        // Nothing is kept, and what somebody else wrote is.
        assert!(fs::read_to_string(&path).unwrap().contains("\"later\":7"));
        let later = whole.replace("{\"container\":\"a\"}", "{\"container\":\"a\",\"since\":7}");
        fs::write(&path, later).unwrap();
        world.linkspan("network release web fd88::2").ok();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"since\":7") && !text.contains("fd88"), "{text}");
        fs::write(&path, whole.replace("\"version\":1", "\"version\":1000")).unwrap();
        for line in ["network release web 10.88.0.2", "network rm web", "network inspect web", "reconcile"] {
            is_refused(&world.linkspan(line), "has version 1000");
        }
        is_refused(&try_attach(&world, "b", "--network web"), "has version 1000");
    });
}

#[test]
fn what_a_killed_process_has_kept_comes_back_when_its_file_is_lost() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        world.linkspan(WEB).ok();
        let id = world.host.networks().unwrap()[0].id();
        let path = format!("/var/lib/linkspan/reservations/{id}");
        let mut damaged = 0;
        attach(&world, "a", "--network web");
        for call in ["fsync", "write"] {
            for nth in 1.. {
                let fault = Fault { call, effect: Effect::Killed, nth, lasting: false };
                let Some(ran) = broken(&world, fault, "detach --keep-address a") else { break };
                let before = kept(&world, "web");
                if ran.code().is_none() && !before.is_empty() {
                    fs::write(&path, "").unwrap();
                    damaged += 1;
                    assert!(world.linkspan("reconcile").ok().contains(&path), "{call} {nth}");
                    assert_eq!(kept(&world, "web"), before, "{call} {nth}");
                }
                ["10.88.0.2", "fd88::2"]
                    .iter()
                    .for_each(|ip| drop(world.linkspan(&format!("network release web {ip}")).ok()));
                world.linkspan("detach a").ok();
                attach(&world, "a", "--network web");
            }
        }
        assert!(damaged > 0);
    });
}
