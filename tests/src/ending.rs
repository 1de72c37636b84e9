//! Containers that end with their namespace: cut off at once, removed by the kernel, and nothing stays.

use crate::private::in_private;
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::traffic::{reaches, serve};
use crate::world::{Case, Family, World, container, default_bridge, with_each_firewall};
use linkspan::{Attachment, Container, Detached, Error, NetNs, Publish};
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PIN: &str = "/run/netns/web";
/// The kernel removes a namespace when it comes to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A container that publishes its port 80 at the host's 8080.
fn attach(world: &World) -> (NetNs, Attachment) {
    let netns = NetNs::create(PIN).unwrap();
    let ports = [Publish::tcp(80), Publish::udp(80)].map(|publish| publish.at(8080));
    let wanted = ports.into_iter().fold(container("web").on(default_bridge()), Container::publish);
    let attachment = world.host.attach(&netns, &wanted).unwrap();
    (netns, attachment)
}

/// The host before, but for the mount that the first pin of all makes of its folder.
fn before() -> Snapshot {
    drop(NetNs::create(PIN).unwrap());
    NetNs::unpin(PIN).unwrap();
    Snapshot::take()
}

/// Whether the host end of a container is there, and up.
fn host_end(attachment: &Attachment) -> Option<bool> {
    let links = tool("ip -o link show");
    let name = format!(": {}@", attachment.endpoints()[0].host_link());
    links.lines().find(|line| line.contains(&name)).map(|line| line.contains(",UP"))
}

/// Waits until the kernel has removed the links.
fn wait_until_gone(attachment: &Attachment) {
    let start = Instant::now();
    while host_end(attachment).is_some() {
        assert!(start.elapsed() < PATIENCE, "the host end is still there");
        sleep(Duration::from_millis(10));
    }
}

/// A program in a namespace, which holds it.
fn program_in(netns: &NetNs) -> Child {
    netns.run(|| Command::new("sleep").arg("1000").spawn()).unwrap().expect("coreutils has sleep")
}

#[test]
fn a_container_that_ends_leaves_nothing_and_its_port_is_free_at_once() {
    in_private(|| {
        with_each_firewall(|world| {
            let before = before();
            let (netns, attachment) = attach(world);
            assert_eq!(world.host.detach_and_end(attachment.id(), netns).unwrap(), Detached::Gone);
            assert!(!Path::new(PIN).exists());
            assert_ne!(host_end(&attachment), Some(true));
            let (next, again) = attach(world);
            serve(&next, 80);
            reaches(&world.here, (world.host_address(Family::V4), 8080).into());
            assert_eq!(again.endpoints()[0].address(), attachment.endpoints()[0].address());
            assert_eq!(world.host.detach(again.id()).unwrap(), Detached::Gone);
            drop(next);
            NetNs::unpin(PIN).unwrap();
            wait_until_gone(&attachment);
            before.assert_unchanged("the container ended");
        });
    });
}

#[test]
fn a_namespace_that_a_program_holds_is_cut_off_and_gc_takes_its_links() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _other = world.container(&container("other").on(default_bridge()));
        let before = before();
        let (netns, attachment) = attach(&world);
        let mut program = program_in(&netns);
        world.host.detach_and_end(attachment.id(), netns).unwrap();
        assert_eq!(host_end(&attachment), Some(false));
        assert!(world.host.find("web").is_err());
        let said = world.linkspan("gc").ok();
        assert!(said.contains(&attachment.endpoints()[0].host_link().to_string()), "{said}");
        assert_eq!(host_end(&attachment), None);
        program.kill().unwrap();
        program.wait().unwrap();
        before.assert_unchanged("gc");
    });
}

#[test]
fn another_namespace_is_refused_and_nothing_changes() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let (netns, attachment) = attach(&world);
        let other = NetNs::create("/run/netns/other").unwrap();
        let before = Snapshot::take();
        let refused = world.host.detach_and_end(attachment.id(), other).unwrap_err();
        assert!(matches!(refused, Error::OtherNamespace { .. }), "{refused}");
        assert!(Path::new("/run/netns/other").exists());
        before.assert_unchanged("the refusal");
        serve(&netns, 80);
        reaches(&world.here, (world.host_address(Family::V4), 8080).into());
    });
}

#[test]
fn what_is_detached_already_is_ended_alone() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let before = before();
        let (netns, attachment) = attach(&world);
        world.host.detach(attachment.id()).unwrap();
        assert_eq!(world.host.detach_and_end(attachment.id(), netns).unwrap(), Detached::Absent);
        assert!(!Path::new(PIN).exists());
        before.assert_unchanged("the namespace ended");
    });
}

#[test]
fn a_name_that_another_namespace_has_meanwhile_stays_with_it() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let (netns, attachment) = attach(&world);
        NetNs::unpin(PIN).unwrap();
        let other = NetNs::create(PIN).unwrap();
        assert_eq!(world.host.detach_and_end(attachment.id(), netns).unwrap(), Detached::Gone);
        assert_eq!(NetNs::open(PIN).unwrap().cookie(), other.cookie());
        wait_until_gone(&attachment);
    });
}

#[test]
fn the_namespace_of_another_attachment_is_refused_to_who_repeats_it() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let (netns, gone) = attach(&world);
        world.host.detach_and_end(gone.id(), netns).unwrap();
        let (netns, _attachment) = attach(&world);
        serve(&netns, 80);
        wait_until_gone(&gone);
        let before = Snapshot::take();
        let refused = world.host.detach_and_end(gone.id(), NetNs::open(PIN).unwrap()).unwrap_err();
        assert!(matches!(&refused, Error::NamespaceTaken { holder } if holder == "web"), "{refused}");
        assert_eq!(NetNs::open(PIN).unwrap().cookie(), netns.cookie());
        before.assert_unchanged("the refusal");
        reaches(&world.here, (world.host_address(Family::V4), 8080).into());
    });
}

#[test]
fn a_pin_that_cannot_go_is_told_and_the_rest_goes() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let before = before();
        let (netns, attachment) = attach(&world);
        tool(&format!("umount {PIN}"));
        fs::write(PIN, "mine").unwrap();
        let refused = world.host.detach_and_end(attachment.id(), netns).unwrap_err();
        assert_eq!(refused.to_string(), format!("left behind: the namespace at `{PIN}`"));
        fs::remove_file(PIN).unwrap();
        assert_eq!(host_end(&attachment), None);
        before.assert_unchanged("the rest went");
    });
}
