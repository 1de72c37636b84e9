//! Networks that are removed while others are at work on them, or remove them too.

use crate::length::length;
use crate::private::{in_private, in_private_with};
use crate::program::{Ran, signal, tool, wait};
use crate::snapshot::Snapshot;
use crate::strace::{Stopped, stopped};
use crate::world::{Case, World};
use linkspan::NetNs;
use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Minutes: whoever takes so long waits for ever.
const PATIENCE: Duration = Duration::from_secs(300);

fn start(world: &World, line: &str) -> Child {
    let mut command = world.command(line);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What came of one who waits for nobody for ever.
#[track_caller]
fn end(mut child: Child) -> Ran {
    if wait(&mut child, PATIENCE).is_none() {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { status: output.status, out: text(&output.stdout), err: text(&output.stderr) }
}

#[track_caller]
fn is_refused(ran: &Ran, why: &str) {
    assert!(ran.code() == Some(1) && ran.err.contains(why) && ran.err.lines().count() == 1, "{ran}");
}

/// A host with networks `a` and `b`, and a namespace for each of two containers.
fn two_networks() -> (World, [NetNs; 2]) {
    let world = World::new(Case::USUAL);
    for (network, subnet) in [("a", "10.88.1.0/24"), ("b", "10.88.2.0/24")] {
        world.linkspan(&format!("network create {network} --subnet {subnet}")).ok();
    }
    let netns = ["web", "near"].map(|name| NetNs::create(format!("/run/netns/{name}")).unwrap());
    (world, netns)
}

/// The record of a network on its way there or away.
fn pending(world: &World, network: &str) -> String {
    let id =
        world.host.networks().unwrap().into_iter().find(|it| it.name().as_str() == network).unwrap().id();
    format!("/run/linkspan/pending/network-{id}")
}

/// Waits until a network is closed, whose record this is then.
#[track_caller]
fn is_closed(record: &str) {
    let until = Instant::now() + PATIENCE;
    while !fs::exists(record).unwrap() {
        assert!(Instant::now() < until, "the network is not closed");
        sleep(Duration::from_millis(2));
    }
}

/// An attach to `a` that stands still when it has made its links: nothing that all share is held.
fn attach_that_stands_still(world: &World) -> Stopped {
    stopped(world, "sendto", 4, "attach web --netns /run/netns/web --network a").unwrap()
}

#[test]
fn of_two_who_remove_a_network_by_force_both_have_removed_it() {
    in_private_with(&["strace"], || {
        let (world, _netns) = two_networks();
        let before = Snapshot::take();
        for nth in (1..).step_by(length(4, 1)) {
            world.linkspan("network create c --subnet 10.88.3.0/24").ok();
            world.linkspan("attach web --netns /run/netns/web --network c").ok();
            let first = stopped(&world, "flock", nth, "network rm --force c");
            // Where the first one has what the second needs, they take turns.
            let second = start(&world, "network rm --force c");
            let Some(first) = first else {
                end(second).ok();
                break;
            };
            sleep(Duration::from_millis(100));
            let ran = [first.goes_on().unwrap(), end(second)];
            assert!(ran.iter().all(|ran| ran.code() == Some(0)), "flock {nth}: {ran:?}");
            before.assert_unchanged(&format!("flock {nth}"));
        }
    });
}

#[test]
fn of_two_who_remove_an_unused_network_both_have_removed_it() {
    in_private_with(&["strace"], || {
        let (world, _netns) = two_networks();
        let before = Snapshot::take();
        world.linkspan("network create c --subnet 10.88.3.0/24").ok();
        // It has found the network, and comes to it after the other.
        let first = stopped(&world, "flock", 1, "network rm c").unwrap();
        world.linkspan("network rm c").ok();
        first.goes_on().unwrap().ok();
        is_refused(&world.linkspan("network rm c"), "there is no network `c`");
        before.assert_unchanged("both");
    });
}

#[test]
fn one_of_several_networks_that_is_in_use_keeps_no_other_from_going() {
    in_private(|| {
        let (world, _netns) = two_networks();
        let networks = || world.linkspan("network ls").ok();
        world.linkspan("attach web --netns /run/netns/web --network b").ok();
        let ran = world.linkspan("network rm a b");
        assert!(ran.code() == Some(3) && ran.err.contains("network `b` is in use by `web`"), "{ran}");
        assert_eq!(ran.out, "a\n");
        world.linkspan("network create a --subnet 10.88.1.0/24").ok();
        world.linkspan("attach near --netns /run/netns/near --network a").ok();
        let ran = world.linkspan("network rm b a b");
        is_refused(&ran, "network `b` is in use by `web`; network `a` is in use by `near`");
        assert!(ran.out.is_empty() && networks().contains("a ") && networks().contains("b "), "{ran}");
        assert_eq!(world.linkspan("network rm --force b a b").ok(), "b\na\n");
    });
}

#[test]
fn a_removal_by_force_lets_nobody_in_and_waits_for_those_who_were() {
    in_private_with(&["strace"], || {
        let (world, _netns) = two_networks();
        for is_killed in [false, true] {
            let attach = attach_that_stands_still(&world);
            is_refused(&world.linkspan("network rm a"), "network `a` is in use by `web`");
            let record = pending(&world, "a");
            let removal = start(&world, "network rm --force a");
            is_closed(&record);
            let near = |network: &str| {
                world.linkspan(&format!("attach near --netns /run/netns/near --network {network}"))
            };
            is_refused(&near("a"), "there is no network `a`");
            near("b").ok();
            world.linkspan("network create c --subnet 10.88.3.0/24").ok();
            world.linkspan("network rm c").ok();
            world.linkspan("detach near").ok();
            let again = start(&world, "network create a --subnet 10.88.1.0/24");
            if is_killed {
                signal("KILL", removal.id().into());
            }
            attach.goes_on().unwrap().ok();
            let removed = end(removal);
            assert_eq!(removed.code(), (!is_killed).then_some(0), "{removed}");
            // Whoever comes next goes on with what the killed one was at.
            end(again).ok();
            assert_eq!(world.linkspan("ps --json").ok(), "[]\n");
        }
        world.linkspan("network rm a b").ok();
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
    });
}

#[test]
fn a_network_made_anew_is_left_alone_by_who_removed_the_one_before() {
    in_private_with(&["strace"], || {
        let (world, _netns) = two_networks();
        let attach = attach_that_stands_still(&world);
        let removal = start(&world, "network rm --force a");
        is_closed(&pending(&world, "a"));
        signal("STOP", removal.id().into());
        attach.goes_on().unwrap().ok();
        // Who works on networks next goes on with what was begun.
        let made = world.linkspan("network create a --subnet 10.88.1.0/24").ok();
        world.linkspan("attach near --netns /run/netns/near --network a").ok();
        signal("CONT", removal.id().into());
        end(removal).ok();
        assert!(world.linkspan("network ls").ok().contains(made.trim()));
        assert!(world.linkspan("ps").ok().contains("near"));
        world.linkspan("network rm --force a b").ok();
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
    });
}

#[test]
fn a_network_that_is_not_up_goes_whatever_has_the_name_of_its_bridge() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan("network create own --bridge-name own0").ok();
        fs::remove_dir_all("/run/linkspan").unwrap();
        tool("ip link delete own0");
        world.flush_rules();
        tool("ip link add own0 type veth peer name own1");
        let links = || tool("ip -br link show");
        let before = links();
        world.linkspan("network rm own").ok();
        assert!(!world.linkspan("network ls").ok().contains("own"));
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
        assert_eq!(links(), before);
    });
}

#[test]
fn remains_of_one_network_that_stay_keep_nobody_from_others() {
    in_private(|| {
        let (world, _netns) = two_networks();
        let record = pending(&world, "a");
        let up = record.replace("pending", "up");
        let newer = fs::read_to_string(&up).unwrap().replace("\"version\":1", "\"version\":1000");
        fs::remove_file(&up).unwrap();
        for text in [newer, String::new()] {
            fs::write(&record, text).unwrap();
            world.linkspan("network create c --subnet 10.88.3.0/24").ok();
            world.linkspan("attach web --netns /run/netns/web --network c").ok();
            world.linkspan("network rm --force c").ok();
            world.linkspan("attach web --netns /run/netns/web").ok();
            world.linkspan("detach web").ok();
            for line in
                ["attach web --netns /run/netns/web --network a", "network rm a", "network rm --force a"]
            {
                let ran = world.linkspan(line);
                assert!(ran.code() == Some(1) && ran.err.contains(&record), "{line}: {ran}");
            }
        }
        fs::remove_file(&record).unwrap();
        world.linkspan("network rm a b").ok();
    });
}

#[test]
fn a_damaged_definition_goes_with_the_addresses_that_are_kept_of_it_by_force_alone() {
    in_private(|| {
        let (world, _netns) = two_networks();
        for network in ["a", "b"] {
            world.linkspan(&format!("attach web --netns /run/netns/web --network {network}")).ok();
            world.linkspan("detach --keep-address web").ok();
        }
        // After a reboot nothing else tells of them.
        fs::remove_dir_all("/run/linkspan").unwrap();
        fs::write("/var/lib/linkspan/networks/a", "").unwrap();
        let files = || fs::read_dir("/var/lib/linkspan/reservations").unwrap().count();
        let ran = world.linkspan("network rm a");
        is_refused(&ran, "network `a` keeps 10.88.1.2 for `web`");
        assert!(ran.err.contains("network rm --force"), "{ran}");
        let named = world.linkspan("network ls");
        assert!(named.code() == Some(1) && named.err.contains("--force where addresses are kept"), "{named}");
        assert_eq!(files(), 2);
        world.linkspan("network rm --force a").ok();
        assert_eq!(files(), 1);
        assert!(world.linkspan("network inspect b --json").ok().contains("\"10.88.2.2\""));
    });
}

#[test]
fn a_damaged_file_of_the_default_network_keeps_nobody_from_removing_what_is_on_others() {
    in_private(|| {
        let (world, _netns) = two_networks();
        world.linkspan("attach near --netns /run/netns/near").ok();
        let default = world.host.networks().unwrap().into_iter().find(|it| it.name().as_str() == "bridge");
        let id = default.unwrap().id();
        for path in ["/var/lib/linkspan/networks/bridge".to_owned(), format!("/run/linkspan/leases/{id}")] {
            world.linkspan("attach web --netns /run/netns/web --network b").ok();
            let whole = fs::read(&path).unwrap();
            fs::write(&path, "?").unwrap();
            assert_eq!(world.linkspan("detach web").ok(), "web\n", "{path}");
            let refused = world.linkspan("attach web --netns /run/netns/web");
            is_refused(&refused, &path);
            world.linkspan("network rm b").ok();
            assert!(world.linkspan("doctor").out.contains(&path), "{path}");
            assert!(world.linkspan("reconcile").ok().contains(&format!("rebuild {path}\n")));
            fs::write(&path, whole).unwrap();
            world.linkspan("network create b --subnet 10.88.2.0/24").ok();
        }
        world.linkspan("detach near").ok();
    });
}
