//! What an attach asks of the kernel does not grow with the containers that are there.

use crate::length::length;
use crate::private::in_private_with;
use crate::strace::answered;
use crate::world::{Case, World, container};
use linkspan::{Endpoint, NetNs, Network, Publish};

/// How often each is done, of which the least is compared: the first attach makes the bridge.
const ATTEMPTS: usize = 3;
/// What may be more, in bytes: less than five for each of the others. A list of two hundred links has 200,000, and one
/// of two hundred ports 8,000.
const MORE: u64 = 1000;

#[test]
fn an_attach_and_a_detach_ask_the_kernel_for_no_more_among_two_hundred_others() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        // The kernel is asked for the IPv6 groups of a link until it has joined them, however often that is.
        let network = Network::bridge("net-1".parse().unwrap()).subnet("10.88.0.0/16".parse().unwrap());
        let network = world.host.ensure_network(&network).unwrap();
        let _netns = NetNs::create("/run/netns/web").unwrap();
        let attach = "attach web --netns /run/netns/web --network net-1 -p 8000:80";
        let least = || {
            let each = (0..ATTEMPTS).map(|_| (answered(&world, attach), answered(&world, "detach web")));
            each.reduce(|least, next| (least.0.min(next.0), least.1.min(next.1))).unwrap()
        };
        let alone = least();
        let others: Vec<_> = (0..length(200, 900)).map(|_| NetNs::create_anonymous().unwrap()).collect();
        for (number, netns) in others.iter().enumerate() {
            let wanted = container(&format!("c{number}")).on(Endpoint::of(&network));
            let port = u16::try_from(10_000 + number).unwrap();
            world.host.attach(netns, &wanted.publish(Publish::tcp(80).at(port))).unwrap();
        }
        let among_others = least();
        println!("bytes of answers to attach and detach: {alone:?} alone, {among_others:?} among others");
        assert!(among_others.0 < alone.0 + MORE && among_others.1 < alone.1 + MORE);
    });
}
