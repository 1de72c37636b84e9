//! Flows that are under way when a port changes its owner.

use crate::private::{in_private, in_private_with};
use crate::program::tool;
use crate::traffic::{Question, serve};
use crate::world::{Family, Member, World, container, with_each_firewall};
use linkspan::{Container, DefinedNetwork, Endpoint, GatewayMode, NetNs, Network, Protocol, Publish};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long an answer may take that has to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one is waited for that must not come.
const DOUBT: Duration = Duration::from_millis(300);

/// Answers each datagram to a port with a name and what it said.
fn answer(netns: &NetNs, port: u16, name: &'static str) {
    let socket = netns.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap().unwrap();
    thread::spawn(move || {
        let mut question = [0; 64];
        while let Ok((length, client)) = socket.recv_from(&mut question) {
            let _ = socket.send_to(&[name.as_bytes(), b" ", &question[..length]].concat(), client);
        }
    });
}

/// A client whose datagrams are one flow.
struct Client {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Client {
    fn of(netns: &NetNs, port: u16, to: SocketAddr) -> Self {
        let socket = netns.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap().unwrap();
        Self { socket, to }
    }

    /// Who answers this very datagram, and no older one.
    fn ask(&self, question: &str, patience: Duration) -> Option<String> {
        self.socket.send_to(question.as_bytes(), self.to).unwrap();
        let until = Instant::now() + patience;
        let mut answer = [0; 64];
        loop {
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).unwrap();
            // Where nobody has the port, the kernel of the host says so.
            let Ok((length, _)) = self.socket.recv_from(&mut answer) else { continue };
            let text = String::from_utf8_lossy(&answer[..length]).into_owned();
            if let Some((name, _)) = text.split_once(' ').filter(|(_, said)| *said == question) {
                return Some(name.to_owned());
            }
        }
    }

    /// Sends on, ten times a second, while this is done.
    fn sending_on<T>(&self, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = self.socket.send_to(b"on", self.to);
                    thread::sleep(Duration::from_millis(100));
                }
            });
            let worked = work();
            done.store(true, Ordering::Relaxed);
            worked
        })
    }
}

/// The ids of the tracked connections with these ports: the kernel tracks others of its own accord.
fn tracked(ports: &[&str]) -> BTreeSet<String> {
    let listed = tool("conntrack -L -o id");
    let meant = listed.lines().filter(|line| ports.iter().any(|port| line.contains(&format!("{port} "))));
    meant.filter_map(|line| Some(line.split_once(" id=")?.1.trim().to_owned())).collect()
}

fn udp(port: u16, at: u16) -> Publish {
    Publish::new(Protocol::Udp, port).at(at)
}

/// A container that publishes a port by UDP and answers there with its own name.
fn answering(world: &World, name: &'static str, on: Endpoint, port: u16, at: u16) -> Member {
    let member = world.container(&container(name).on(on).publish(udp(port, at)));
    answer(member.netns(), port, name);
    member
}

fn at(address: &str, network: &DefinedNetwork) -> Endpoint {
    Endpoint::of(network).address(address.parse().unwrap())
}

#[test]
fn a_udp_flow_moves_to_the_next_container_at_once_and_no_other_flow_is_touched() {
    in_private_with(&["conntrack"], || {
        with_each_firewall(|world| {
            let network = world.network(1);
            let host = |port| SocketAddr::new(world.host_address(Family::V4), port);
            let first = answering(world, "first", at("10.88.1.10", &network), 81, 8081);
            let other = world.container(
                &container("other")
                    .on(at("10.88.1.20", &network))
                    .publish(udp(81, 8082))
                    .publish(Publish::tcp(83).at(8083)),
            );
            answer(other.netns(), 81, "other");
            answer(world.remote(), 8081, "remote");

            let client = Client::of(world.remote(), 4000, host(8081));
            let neighbour = Client::of(world.remote(), 4001, host(8082));
            let remote = SocketAddr::new(world.remote_address(Family::V4), 8081);
            let leaving = Client::of(other.netns(), 4002, remote);
            let mut connected = connection(&other, world.remote(), 83, host(8083));
            assert_eq!(client.ask("1", PATIENCE).as_deref(), Some("first"));
            assert_eq!(neighbour.ask("1", PATIENCE).as_deref(), Some("other"));
            assert_eq!(leaving.ask("1", PATIENCE).as_deref(), Some("remote"));
            let others = || tracked(&["sport=4001", "sport=4002", "dport=8083"]);
            let before = others();
            assert_eq!(before.len(), 3, "{before:?}");

            // To another address, then to another port of that address.
            let second = client.sending_on(|| {
                world.host.detach(first.attachment.id()).unwrap();
                answering(world, "second", at("10.88.1.11", &network), 81, 8081)
            });
            assert_eq!(client.ask("2", PATIENCE).as_deref(), Some("second"));
            client.sending_on(|| world.host.detach(second.attachment.id()).unwrap());
            let _third =
                client.sending_on(|| answering(world, "third", at("10.88.1.11", &network), 82, 8081));
            assert_eq!(client.ask("3", PATIENCE).as_deref(), Some("third"));

            assert_eq!(others(), before, "flows to other ports");
            assert_eq!(neighbour.ask("2", PATIENCE).as_deref(), Some("other"));
            assert_eq!(leaving.ask("2", PATIENCE).as_deref(), Some("remote"));
            echo(&mut connected);
        });
    });
}

/// A connection to a container that sends back what it is sent, by this port of the host.
fn connection(member: &Member, from: &NetNs, port: u16, to: SocketAddr) -> TcpStream {
    let listener = member.netns().run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4];
        while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
    });
    let mut stream = from.run(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    echo(&mut stream);
    stream
}

fn echo(stream: &mut TcpStream) {
    let mut bytes = [0; 4];
    stream.write_all(b"echo").unwrap();
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"echo");
}

#[test]
fn a_udp_flow_to_a_containers_own_address_ends_with_its_publication() {
    in_private(|| {
        with_each_firewall(|world| {
            let wanted = Network::bridge("routed".parse().unwrap()).subnet("10.88.1.0/24".parse().unwrap());
            let network = world.host.ensure_network(&wanted.gateway_mode(GatewayMode::Routed)).unwrap();
            let gateway = world.host_address(Family::V4);
            world.remote().run(|| tool(&format!("ip route add 10.88.1.0/24 via {gateway}"))).unwrap();
            let open = answering(world, "open", at("10.88.1.10", &network), 81, 8081);
            let client = Client::of(world.remote(), 4000, open.at(Family::V4, 81));
            assert_eq!(client.ask("1", PATIENCE).as_deref(), Some("open"));

            world.host.detach(open.attachment.id()).unwrap();
            let shut = world.container(&container("shut").on(at("10.88.1.10", &network)));
            answer(shut.netns(), 81, "shut");
            assert_eq!(client.ask("2", DOUBT), None);
            // It would answer, were it asked.
            let inside = Client::of(&world.here, 4000, client.to);
            assert_eq!(inside.ask("3", PATIENCE).as_deref(), Some("shut"));
        });
    });
}

#[test]
fn a_connection_that_was_tried_before_its_port_was_published_is_led_there() {
    in_private(|| {
        with_each_firewall(|world| {
            // The SYN is dropped without an answer, as by many a firewall of a host.
            tool("nft add table ip shut");
            tool("nft add chain ip shut input { type filter hook input priority 0 ; }");
            tool("nft add rule ip shut input tcp dport 8080 counter drop");
            let network = world.network(1);
            let to = SocketAddr::new(world.host_address(Family::V4), 8080);
            let question = Question { from: world.remote(), by: Protocol::Tcp, to };
            thread::scope(|scope| {
                let asked = scope.spawn(move || question.answer());
                while tool("nft list chain ip shut input").contains("packets 0 ") {
                    assert!(!asked.is_finished());
                    thread::sleep(Duration::from_millis(10));
                }
                let wanted: Container = container("web").on(Endpoint::of(&network));
                let web = world.container(&wanted.publish(Publish::tcp(80).at(8080)));
                serve(web.netns(), 80);
                let seen: IpAddr = asked.join().unwrap().unwrap();
                assert_eq!(seen, world.remote_address(Family::V4));
            });
            tool("nft delete table ip shut");
        });
    });
}

/// A client whose flow leads to a container at 10.88.1.10 of which a careless hand has lost what is on record.
fn led_to_a_lost_one(world: &World, network: &DefinedNetwork) -> (Member, Client) {
    let host = SocketAddr::new(world.host_address(Family::V4), 8081);
    let lost = answering(world, "lost", at("10.88.1.10", network), 81, 8081);
    let client = Client::of(world.remote(), 4000, host);
    assert_eq!(client.ask("1", PATIENCE).as_deref(), Some("lost"));
    fs::remove_file(format!("/run/linkspan/attachments/{}", lost.attachment.id())).unwrap();
    (lost, client)
}

#[test]
fn what_gc_takes_away_leaves_no_flow_to_whoever_has_the_address_next() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let (_lost, client) = led_to_a_lost_one(world, &network);
            client.sending_on(|| world.linkspan("gc").ok());
            let next = world.container(&container("next").on(at("10.88.1.10", &network)));
            answer(next.netns(), 81, "next");
            assert_eq!(client.ask("2", DOUBT), None);
            // It would answer, were it asked.
            let inside = Client::of(&world.here, 4000, SocketAddr::new("10.88.1.10".parse().unwrap(), 81));
            assert_eq!(inside.ask("3", PATIENCE).as_deref(), Some("next"));
        });
    });
}

#[test]
fn who_publishes_a_port_has_its_flows_whoever_had_it_before() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let (_lost, client) = led_to_a_lost_one(world, &network);
            let _next = client.sending_on(|| answering(world, "next", at("10.88.1.11", &network), 81, 8081));
            assert_eq!(client.ask("2", PATIENCE).as_deref(), Some("next"));
        });
    });
}

#[test]
fn flows_that_began_while_rules_were_missing_are_led_again_by_reconcile() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let host = SocketAddr::new(world.host_address(Family::V4), 8081);
            let _web = answering(world, "web", at("10.88.1.10", &network), 81, 8081);
            // The host answers whom nothing leads on, so that its flow is one that was answered.
            answer(&world.here, 8081, "host");
            world.flush_rules();
            let client = Client::of(world.remote(), 4000, host);
            assert_eq!(client.ask("1", PATIENCE).as_deref(), Some("host"));
            client.sending_on(|| world.linkspan("reconcile").ok());
            assert_eq!(client.ask("2", PATIENCE).as_deref(), Some("web"));
        });
    });
}
