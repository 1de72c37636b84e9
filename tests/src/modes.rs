//! Docker's modes, and that each leaves the host as it was.

use crate::private::in_private;
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::traffic::{reaches, serve};
use crate::world::{Case, Family, World, container, default_bridge, with_each_firewall};
use linkspan::{Container, Error, Mode, Publish};

#[test]
fn mode_none_has_loopback_and_nothing_else() {
    in_private(|| {
        with_each_firewall(|world| {
            let before = Snapshot::take();
            let alone = world.host.prepare(&Mode::None, &container("alone"), None).unwrap();
            let links = alone.netns().run(|| tool("ip -o link show up")).unwrap();
            assert!(links.starts_with("1: lo:") && links.lines().count() == 1, "{links}");
            assert_eq!(alone.netns().run(|| tool("ip route show table main")).unwrap(), "");
            world.host.detach(alone.attachment().unwrap().id()).unwrap();
            before.assert_unchanged("mode none");
        });
    });
}

#[test]
fn mode_host_is_the_hosts_own_namespace_and_changes_nothing() {
    in_private(|| {
        with_each_firewall(|world| {
            let before = Snapshot::take();
            let guest = world.host.prepare(&Mode::Host, &container("guest"), None).unwrap();
            assert_eq!(guest.netns().cookie(), world.here.cookie());
            assert!(guest.attachment().is_none());
            before.assert_unchanged("mode host");
        });
    });
}

#[test]
fn mode_container_shares_the_namespace_and_adds_nothing() {
    in_private(|| {
        with_each_firewall(|world| {
            let web = world.container(&container("web").on(default_bridge()));
            let before = Snapshot::take();
            let mode = Mode::Container("web".to_owned());
            let guest = world.host.prepare(&mode, &container("guest"), None).unwrap();
            assert_eq!(guest.netns().cookie(), web.netns().cookie());
            before.assert_unchanged("mode container");
            serve(guest.netns(), 80);
            reaches(&world.here, web.at(Family::V4, 80));
            world.host.detach(web.attachment.id()).unwrap();
            let links = guest.netns().run(|| tool("ip -o link show up")).unwrap();
            assert!(links.starts_with("1: lo:") && links.lines().count() == 1, "{links}");
        });
    });
}

#[test]
fn a_mode_refuses_what_it_does_not_have() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _web = world.container(&container("web").on(default_bridge()));
        let before = Snapshot::take();
        let check = |mode: Mode, wanted: &Container, expected: &str| {
            let refused = world.host.prepare(&mode, wanted, None).expect_err(expected);
            assert_eq!(refused.to_string(), expected);
        };
        let port = container("guest").publish(Publish::tcp(80).at(8080));
        let mac = container("guest").on(default_bridge().mac("02:00:00:00:00:09".parse().unwrap()));
        let joined = || Mode::Container("web".to_owned());
        check(Mode::Host, &port, "ports cannot be published in host mode");
        check(Mode::None, &port, "ports cannot be published in none mode");
        check(joined(), &port, "ports cannot be published in container mode");
        check(Mode::Host, &mac, "a mac cannot be given in host mode");
        check(joined(), &mac, "a mac cannot be given in container mode");
        let absent = Mode::Container("absent".to_owned());
        check(absent, &container("guest"), "there is no container `absent`");
        before.assert_unchanged("what a mode refuses");
    });
}

#[test]
fn a_namespace_is_attached_once() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let web = world.container(&container("web").on(default_bridge()));
        let again = world.host.attach(web.netns(), &container("again").on(default_bridge()));
        assert!(matches!(again, Err(Error::NamespaceTaken { holder }) if holder == "web"));
        let own = world.host.attach(&world.here, &container("own").on(default_bridge()));
        assert!(matches!(own, Err(Error::OwnNamespace)));
    });
}

#[test]
fn everything_is_as_before_when_everything_is_detached() {
    in_private(|| {
        with_each_firewall(|world| {
            let before = Snapshot::take();
            let (first, second) = (world.network(1), world.network(2));
            let _web =
                world.container(&container("web").on(default_bridge()).publish(Publish::tcp(80).at(8080)));
            let _members = [world.member("one", &first), world.member("two", &second)];
            world.clear();
            before.assert_unchanged("three networks and three containers");
        });
    });
}
