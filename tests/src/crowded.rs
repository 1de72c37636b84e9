//! What an attach asks of the kernel does not grow with the containers that are there.

use crate::length::length;
use crate::private::in_private_with;
use crate::strace::{Asked, asked};
use crate::world::{Case, World, container};
use linkspan::{Endpoint, NetNs, Publish};

#[test]
fn an_attach_and_a_detach_ask_the_kernel_the_same_among_two_hundred_others() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        let _netns = NetNs::create("/run/netns/web").unwrap();
        let attach = "attach web --netns /run/netns/web --network net-1 -p 8000:80";
        let ask = || (asked(&world, attach), asked(&world, "detach web"));
        // The first one brings up the carrier of the bridge.
        ask();
        let alone: (Asked, Asked) = ask();
        let others: Vec<_> = (0..length(200, 900)).map(|_| NetNs::create_anonymous().unwrap()).collect();
        for (number, netns) in others.iter().enumerate() {
            let wanted = container(&format!("c{number}")).on(Endpoint::of(&network));
            let port = u16::try_from(10_000 + number).unwrap();
            world.host.attach(netns, &wanted.publish(Publish::tcp(80).at(port))).unwrap();
        }
        println!("attach: {:?}, detach: {:?}", alone.0, alone.1);
        assert_eq!(ask(), alone);
    });
}
