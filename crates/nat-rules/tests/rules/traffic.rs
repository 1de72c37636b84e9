//! A host, two containers on a bridge of it, and a machine outside, each in a network namespace of its own;
//! and datagrams between them.

use crate::lab::run;
use linkspan_nat_rules::kernel::{Iptables, Nftables};
use linkspan_nat_rules::{Instance, Ruleset};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The address of the host outside, and that of the machine outside.
pub(crate) const HOST: &str = "192.0.2.1";
pub(crate) const OUTSIDE: &str = "192.0.2.9";

/// Long for an answer, and short for a test.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whatever carries the rules of the host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Firewall {
    Nftables,
    Iptables,
}

impl Firewall {
    /// Makes the host have just these rules.
    pub(crate) fn load(self, rules: &Ruleset) {
        match self {
            Self::Nftables => _ = Nftables::open(Instance::default()).unwrap().reconcile(rules).unwrap(),
            Self::Iptables => _ = Iptables::open(Instance::default()).reconcile(rules).unwrap(),
        }
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A network namespace that lives as long as this value: its thread waits in it for work.
pub(crate) struct Machine {
    work: Sender<Work>,
    thread: i32,
}

impl Machine {
    fn new() -> Self {
        let (work, todo) = channel::<Work>();
        let (id, started) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run("ip link set lo up");
            id.send(nix::unistd::gettid().as_raw()).unwrap();
            todo.into_iter().for_each(|work| work());
        });
        Self { work, thread: started.recv().unwrap() }
    }

    /// Does this inside.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.work.send(Box::new(move || drop(done.send(work())))).unwrap();
        result.recv().unwrap()
    }

    /// Gives it a link to the host by this one of the host's, with this address and way out.
    fn connect(&self, link: &str, address: &'static str, gateway: &'static str) {
        run(&format!("ip link add {link} type veth peer name eth0 netns {}", self.thread));
        run(&format!("ip link set {link} up"));
        self.run(move || {
            run(&format!("ip addr add {address}/24 dev eth0"));
            run("ip link set eth0 up");
            run(&format!("ip route add default via {gateway}"));
        });
    }

    /// Answers each datagram to this port with a name.
    pub(crate) fn answer(&self, port: u16, name: &'static str) {
        let socket = self.run(move || UdpSocket::bind(("0.0.0.0", port)).unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(name.as_bytes(), from);
            }
        });
    }

    /// A socket that asks from this port, as one flow.
    pub(crate) fn asker(&self, address: &'static str, port: u16) -> UdpSocket {
        let socket = self.run(move || UdpSocket::bind((address, port)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

/// Who answers one datagram.
pub(crate) fn ask(socket: &UdpSocket, to: &str) -> Option<String> {
    let to: SocketAddr = to.parse().unwrap();
    let mut buffer = [0; 64];
    socket.send_to(b"?", to).unwrap();
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Waits until this is so.
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: in vain");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Containers `a` at 10.88.1.2 and `b` at 10.88.1.3 on bridge `ls-a`, and the machine outside, behind `up0`.
pub(crate) struct Topology {
    pub(crate) a: Machine,
    pub(crate) b: Machine,
    pub(crate) outside: Machine,
}

impl Topology {
    pub(crate) fn new() -> Self {
        run("ip link set lo up");
        run("ip link add ls-a type bridge");
        run("ip addr add 10.88.1.1/24 dev ls-a");
        run("ip link set ls-a up");
        let [a, b, outside] = [Machine::new(), Machine::new(), Machine::new()];
        a.connect("va", "10.88.1.2", "10.88.1.1");
        b.connect("vb", "10.88.1.3", "10.88.1.1");
        for link in ["va", "vb"] {
            run(&format!("ip link set {link} master ls-a"));
        }
        outside.connect("up0", OUTSIDE, HOST);
        run(&format!("ip addr add {HOST}/24 dev up0"));
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        for (machine, name) in [(&a, "a"), (&b, "b"), (&outside, "outside")] {
            machine.answer(81, name);
        }
        let here = UdpSocket::bind("0.0.0.0:0").unwrap();
        here.set_read_timeout(Some(PATIENCE)).unwrap();
        for (address, name) in [("10.88.1.2:81", "a"), ("10.88.1.3:81", "b"), ("192.0.2.9:81", "outside")] {
            until(name, || ask(&here, address).as_deref() == Some(name));
        }
        Self { a, b, outside }
    }
}
