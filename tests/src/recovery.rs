//! What a crash, a careless runtime or a stranger's hand leaves is found and put right, and nothing else is touched.

use crate::private::{in_private, in_private_with};
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::traffic::{Question, serve};
use crate::world::{Case, Family, World, with_each_firewall};
use linkspan::{NetNs, Protocol};
use std::fs;

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
