//! What is said of others' rules, and what packets do: rule sets of others are loaded, and connections made.

use crate::foreign::web;
use crate::lab::{feed, has, in_private, run};
use crate::random::{Random, any_rules};
use crate::traffic::{Firewall, Machine, Topology, until};
use crate::walk::link;
use linkspan_nat_rules::foreign::{Foreign, Judgement, judge};
use linkspan_nat_rules::kernel::Others;
use linkspan_nat_rules::walk::{Packet, Routes, Rules, Verdict, Walk, walk};
use linkspan_nat_rules::{Change, Instance, Ruleset};
use linkspan_net_types::Protocol;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const INSTANCE: fn() -> Instance = Instance::default;
const NF_CALL: [&str; 2] =
    ["/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];

/// Rule sets of others, by what loads them.
const NFTABLES: [(&str, &str); 7] = [
    ("firewalld", include_str!("foreign/firewalld.nft")),
    ("policy", include_str!("foreign/policy.nft")),
    ("sets", include_str!("foreign/sets.nft")),
    ("early", include_str!("foreign/early.nft")),
    ("leaving", include_str!("foreign/leaving.nft")),
    ("frames", include_str!("foreign/frames.nft")),
    ("doubts", include_str!("foreign/doubts.nft")),
];
const IPTABLES: [(&str, &str); 3] = [
    ("docker", include_str!("foreign/docker.rules")),
    ("ufw", include_str!("foreign/ufw.rules")),
    ("hand", include_str!("foreign/hand.rules")),
];

/// Who asks.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Host,
    Container,
    Outside,
}

/// Who asks whom.
const FLOWS: [(Asker, &str); 12] = [
    (Asker::Outside, "192.0.2.1:8080"),
    (Asker::Outside, "[2001:db8::1]:8080"),
    (Asker::Outside, "10.88.1.2:80"),
    (Asker::Outside, "[fd88:1::2]:80"),
    (Asker::Container, "192.0.2.9:80"),
    (Asker::Container, "[2001:db8::9]:80"),
    (Asker::Container, "10.88.1.3:80"),
    (Asker::Container, "[fd88:1::3]:80"),
    (Asker::Container, "10.88.1.1:5300"),
    (Asker::Container, "[fd88:1::1]:5300"),
    (Asker::Host, "10.88.1.2:80"),
    (Asker::Host, "[fd88:1::2]:80"),
];

/// The network of [`web`] as the bridge of the topology.
fn rules() -> Ruleset {
    let renamed = web()
        .networks()
        .flat_map(linkspan_nat_rules::Network::subnets)
        .fold(linkspan_nat_rules::Network::new(link("ls-a")), linkspan_nat_rules::Network::with_subnet);
    let change = Change::new().add_network(renamed).publish_all(web().published().copied());
    Ruleset::new().after(&change).unwrap()
}

fn routes() -> Routes {
    let links = [
        ("ls-a", "10.88.1.1/24"),
        ("ls-a", "fd88:1::1/64"),
        ("up0", "192.0.2.1/24"),
        ("up0", "2001:db8::1/64"),
    ];
    links
        .into_iter()
        .fold(Routes::new(), |routes, (name, address)| routes.with_link(link(name), address.parse().unwrap()))
}

struct Lab {
    machines: Topology,
}

impl Lab {
    fn new() -> Self {
        let machines = Topology::new();
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        run("ip addr add fd88:1::1/64 dev ls-a nodad");
        run("ip addr add 2001:db8::1/64 dev up0 nodad");
        let Topology { a, b, outside } = &machines;
        inside(a, &["ip addr add fd88:1::2/64 dev eth0 nodad", "ip -6 route add default via fd88:1::1"]);
        inside(b, &["ip addr add fd88:1::3/64 dev eth0 nodad", "ip -6 route add default via fd88:1::1"]);
        inside(
            outside,
            &["ip addr add 2001:db8::9/64 dev eth0 nodad", "ip -6 route add default via 2001:db8::1"],
        );
        for machine in [a, b, outside] {
            serve(&machine.run(|| TcpListener::bind("[::]:80").unwrap()));
        }
        serve(&TcpListener::bind("[::]:5300").unwrap());
        let lab = Self { machines };
        lab.know_each_other();
        for address in ["[fd88:1::2]:80", "[fd88:1::3]:80", "[2001:db8::9]:80"] {
            until(address, || connects(address.parse().unwrap(), Duration::from_secs(1)));
        }
        lab
    }

    /// Rules that drop must not drop what finds a neighbour.
    fn know_each_other(&self) {
        let Topology { a, b, outside } = &self.machines;
        let mac = |machine: &Machine| machine.run(|| mac("eth0"));
        let (a_mac, b_mac, bridge, outer, uplink) =
            (mac(a), mac(b), self::mac("ls-a"), mac(outside), self::mac("up0"));
        for (address, mac, dev) in [
            ("10.88.1.2", &a_mac, "ls-a"),
            ("fd88:1::2", &a_mac, "ls-a"),
            ("10.88.1.3", &b_mac, "ls-a"),
            ("fd88:1::3", &b_mac, "ls-a"),
            ("192.0.2.9", &outer, "up0"),
            ("2001:db8::9", &outer, "up0"),
        ] {
            run(&format!("ip neigh replace {address} lladdr {mac} dev {dev} nud permanent"));
        }
        let tell = |machine: &Machine, address: &'static str, mac: &str| {
            let mac = mac.to_owned();
            machine
                .run(move || run(&format!("ip neigh replace {address} lladdr {mac} dev eth0 nud permanent")));
        };
        for (machine, other, of_other) in
            [(a, ["10.88.1.3", "fd88:1::3"], &b_mac), (b, ["10.88.1.2", "fd88:1::2"], &a_mac)]
        {
            ["10.88.1.1", "fd88:1::1"].iter().for_each(|address| tell(machine, address, &bridge));
            other.iter().for_each(|address| tell(machine, address, of_other));
        }
        ["192.0.2.1", "2001:db8::1"].iter().for_each(|address| tell(outside, address, &uplink));
    }

    /// Begins a connection; the answer comes when it is joined.
    fn begin(&self, asker: Asker, to: SocketAddr, patience: Duration) -> JoinHandle<bool> {
        // A thread is born in the namespace of its parent.
        let begin = move || thread::spawn(move || connects(to, patience));
        match asker {
            Asker::Host => begin(),
            Asker::Container => self.machines.a.run(begin),
            Asker::Outside => self.machines.outside.run(begin),
        }
    }

    /// Holds what is said of each flow against what its packets do.
    fn compare(&self, loaded: &Rules, foreign: &Foreign, what: &str) -> Vec<String> {
        let loaded = &loaded.clone().with_user_rules(foreign);
        let told: Vec<_> = FLOWS.iter().map(|flow| Told::of(*flow, loaded, foreign)).collect();
        let begun = |(told, (asker, to)): (&Told, &(Asker, &str))| {
            let patience = if told.connects == Some(true) { 5000 } else { 300 };
            self.begin(*asker, to.parse().unwrap(), Duration::from_millis(patience))
        };
        let begun: Vec<_> = told.iter().zip(&FLOWS).map(begun).collect();
        for ((told, flow), connection) in told.iter().zip(&FLOWS).zip(begun) {
            let connected = connection.join().unwrap();
            let said = told.connects.unwrap_or(connected);
            assert_eq!(said, connected, "{what}: {flow:?}\n{}", told.reasons.join("\n"));
        }
        let untold = told.into_iter().filter(|told| told.connects.is_none());
        untold.map(|told| told.reasons.join("\n")).collect()
    }
}

/// What is said of a flow.
struct Told {
    /// `None` where nobody can tell.
    connects: Option<bool>,
    reasons: Vec<String>,
    /// The first command that would mend it.
    mend: Option<String>,
}

impl Told {
    fn of((asker, to): (Asker, &str), loaded: &Rules, foreign: &Foreign) -> Self {
        let request = walk(loaded, &packet(asker, to), &routes());
        let answer = request.answer(&routes()).map(|answer| walk(loaded, &answer, &routes()));
        let mut told = Self { connects: Some(true), reasons: Vec::new(), mend: None };
        [Some(request), answer].iter().flatten().for_each(|walked| told.add(walked, &judge(foreign, walked)));
        told
    }

    fn add(&mut self, walked: &Walk, judged: &Judgement) {
        self.reasons.extend([walked.to_string(), judged.to_string()]);
        match (walked.verdict(), judged) {
            (Verdict::Passes(_), Judgement::Passes) => {}
            (Verdict::CannotTell(_), Judgement::Passes) | (Verdict::Passes(_), Judgement::CannotTell(_)) => {
                self.connects = self.connects.filter(|connects| !connects);
            }
            (_, Judgement::StoppedBy { mend, .. }) => {
                self.connects = Some(false);
                self.mend = self.mend.take().or_else(|| mend.clone());
            }
            _ => self.connects = Some(false),
        }
    }
}

fn packet(asker: Asker, to: &str) -> Packet {
    let to: SocketAddr = to.parse().unwrap();
    let v6 = to.is_ipv6();
    let source = match asker {
        Asker::Host => {
            if v6 {
                "fd88:1::1"
            } else {
                "10.88.1.1"
            }
        }
        Asker::Container => {
            if v6 {
                "fd88:1::2"
            } else {
                "10.88.1.2"
            }
        }
        Asker::Outside => {
            if v6 {
                "2001:db8::9"
            } else {
                "192.0.2.9"
            }
        }
    };
    let source: IpAddr = source.parse().unwrap();
    let port = linkspan_net_types::Port::new(to.port()).unwrap();
    let packet = Packet::to_port(source, to.ip(), Protocol::Tcp, port).unwrap();
    match asker {
        Asker::Host => packet,
        Asker::Outside => packet.from_link(link("up0")),
        Asker::Container => {
            let packet = packet.from_link(link("ls-a"));
            let neighbour = ["10.88.1.3", "fd88:1::3"].contains(&to.ip().to_string().as_str());
            let filtered = fs::read_to_string(NF_CALL[usize::from(v6)]).is_ok_and(|text| text.trim() == "1");
            if neighbour { packet.bridged(filtered) } else { packet }
        }
    }
}

fn connects(to: SocketAddr, patience: Duration) -> bool {
    TcpStream::connect_timeout(&to, patience).is_ok()
}

fn serve(listener: &TcpListener) {
    let listener = listener.try_clone().unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));
}

fn inside(machine: &Machine, commands: &'static [&'static str]) {
    machine.run(|| commands.iter().for_each(|command| drop(run(command))));
}

fn mac(link: &str) -> String {
    run(&format!("ip -br link show dev {link}")).split_whitespace().nth(2).unwrap().to_owned()
}

fn ready() -> bool {
    run("mount -t tmpfs tmpfs /run");
    ["nft", "iptables"].into_iter().all(has)
}

fn look() -> Foreign {
    Others::open(INSTANCE()).unwrap().look().unwrap()
}

/// Bridge netfilter off and on, where it is there.
fn each_way_of_bridging() -> Vec<&'static str> {
    let there = fs::exists(NF_CALL[0]).unwrap();
    if !there {
        println!("skipped: bridge netfilter is not there");
    }
    if there { vec!["1", "0"] } else { vec![""] }
}

fn bridge(way: &str) {
    NF_CALL.iter().filter(|_| !way.is_empty()).for_each(|path| fs::write(path, way).unwrap());
}

/// The same rules for IPv6: without lines that speak of IPv4's addresses.
fn for_ipv6(rules: &str) -> String {
    let speaks =
        |line: &&str| !line.contains("172.17.") && !line.contains("127.0.0.0") && !line.contains("BROADCAST");
    rules.lines().filter(speaks).map(|line| line.replace("ufw-", "ufw6-") + "\n").collect()
}

fn clear() {
    run("nft flush ruleset");
}

fn loaded(firewall: Firewall) -> Rules {
    match firewall {
        Firewall::Nftables => Rules::nftables(INSTANCE(), &rules()),
        Firewall::Iptables => Rules::iptables(INSTANCE(), &rules()),
    }
}

/// Loads our rules beside those of another, and mends what stops us until nothing does.
fn check(lab: &Lab, firewall: Firewall, name: &str, load: impl Fn()) {
    clear();
    load();
    let others = run("nft -s list ruleset");
    firewall.load(&rules());
    let loaded = loaded(firewall);
    for way in each_way_of_bridging() {
        bridge(way);
        let what = format!("{name}, {firewall:?}, bridge netfilter {way:?}");
        let before = run("nft -s list ruleset");
        let foreign = look();
        assert_eq!(run("nft -s list ruleset"), before, "{what}: looking changed something");
        let untold = lab.compare(&loaded, &foreign, &what);
        assert!(name == "doubts" || untold.is_empty(), "{what}: {untold:#?}");
    }
    if matches!(firewall, Firewall::Nftables) {
        let theirs = run("nft -s list ruleset");
        assert!(theirs.starts_with(&others), "{name}: what others loaded is not as it was");
    }
    mend(lab, &loaded, name);
}

/// Runs the commands that were named.
fn mend(lab: &Lab, loaded: &Rules, name: &str) {
    let mut ran = Vec::new();
    loop {
        let foreign = look();
        let told: Vec<_> = FLOWS.iter().map(|flow| Told::of(*flow, loaded, &foreign)).collect();
        let runs = |mend: &String| {
            ["nft '", "iptables ", "ip6tables ", "printf "].iter().any(|program| mend.starts_with(program))
        };
        let Some(command) = told.into_iter().filter_map(|told| told.mend).find(runs) else { break };
        assert!(!ran.contains(&command), "{name}: `{command}` mended nothing");
        let status = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(status.success(), "{name}: {command}");
        ran.push(command);
    }
    lab.compare(loaded, &look(), &format!("{name} after {ran:#?}"));
    if !["firewalld", "ufw", "doubts"].contains(&name) {
        let stopped = |flow| {
            let told = Told::of(flow, loaded, &look());
            told.connects != Some(true) && told.reasons.iter().any(|reason| reason.starts_with("stopped"))
        };
        let ours = |(asker, to): &(Asker, &str)| matches!(asker, Asker::Outside) && to.ends_with(":80");
        let left: Vec<_> = FLOWS.into_iter().filter(|flow| !ours(flow) && stopped(*flow)).collect();
        assert!(left.is_empty(), "{name}: {left:?} after {ran:#?}");
    }
}

fn both(name: &str, load: impl Fn()) {
    let lab = Lab::new();
    for firewall in [Firewall::Nftables, Firewall::Iptables] {
        check(&lab, firewall, name, &load);
    }
}

fn nftables(name: &str) {
    if ready() {
        let text = NFTABLES.iter().find(|(n, _)| *n == name).unwrap().1;
        both(name, || drop(feed("nft -f -", text)));
    }
}

fn iptables(name: &str) {
    if ready() {
        let text = IPTABLES.iter().find(|(n, _)| *n == name).unwrap().1;
        both(name, || {
            feed("iptables-restore", text);
            feed("ip6tables-restore", &for_ipv6(text));
        });
    }
}

#[test]
fn firewalld_does_what_is_said_of_it() {
    in_private("others::firewalld_does_what_is_said_of_it", || nftables("firewalld"));
}

#[test]
fn a_policy_does_what_is_said_of_it() {
    in_private("others::a_policy_does_what_is_said_of_it", || nftables("policy"));
}

#[test]
fn sets_and_maps_do_what_is_said_of_them() {
    in_private("others::sets_and_maps_do_what_is_said_of_them", || nftables("sets"));
}

#[test]
fn early_rules_do_what_is_said_of_them() {
    in_private("others::early_rules_do_what_is_said_of_them", || nftables("early"));
}

#[test]
fn rules_on_the_way_out_do_what_is_said_of_them() {
    in_private("others::rules_on_the_way_out_do_what_is_said_of_them", || nftables("leaving"));
}

#[test]
fn rules_of_frames_do_what_is_said_of_them() {
    in_private("others::rules_of_frames_do_what_is_said_of_them", || nftables("frames"));
}

#[test]
fn doubtful_rules_are_not_guessed_at() {
    in_private("others::doubtful_rules_are_not_guessed_at", || nftables("doubts"));
}

#[test]
fn docker_does_what_is_said_of_it() {
    in_private("others::docker_does_what_is_said_of_it", || iptables("docker"));
}

#[test]
fn ufw_does_what_is_said_of_it() {
    in_private("others::ufw_does_what_is_said_of_it", || iptables("ufw"));
}

#[test]
fn lines_by_hand_do_what_is_said_of_them() {
    in_private("others::lines_by_hand_do_what_is_said_of_them", || iptables("hand"));
}

/// Rule sets at random: what is said of each flow is what its packets do.
fn random(cases: u32, load: impl Fn(&Random)) {
    if !ready() {
        return;
    }
    let lab = Lab::new();
    let loaded = Rules::nftables(INSTANCE(), &rules());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 30, ..Config::default() };
    let untold = std::cell::Cell::new(0);
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let ran = runner.run(&any_rules(), |rules_of_others| {
        clear();
        load(&rules_of_others);
        Firewall::Nftables.load(&rules());
        untold.set(untold.get() + lab.compare(&loaded, &look(), &run("nft list ruleset")).len());
        Ok(())
    });
    ran.unwrap();
    let flows = usize::try_from(cases).unwrap() * FLOWS.len();
    assert!(untold.get() * 5 < flows, "{} of {flows} flows could not be told", untold.get());
}

#[test]
fn tables_at_random_do_what_is_said_of_them() {
    in_private("others::tables_at_random_do_what_is_said_of_them", || {
        random(40, |others| drop(feed("nft -f -", &others.nft())));
    });
}

#[test]
fn lines_at_random_do_what_is_said_of_them() {
    in_private("others::lines_at_random_do_what_is_said_of_them", || {
        random(30, |others| {
            feed("iptables-restore", &others.iptables(false));
            feed("ip6tables-restore", &others.iptables(true));
        });
    });
}

/// What is said once these commands ran, with our rules loaded.
fn after(lab: &Lab, firewall: Firewall, commands: &[&str]) {
    firewall.load(&rules());
    commands.iter().for_each(|command| drop(run(command)));
    let untold = lab.compare(&loaded(firewall), &look(), &format!("{commands:?}"));
    assert!(untold.is_empty(), "{untold:#?}");
}

#[test]
fn the_users_chain_does_what_is_said_of_it() {
    in_private("others::the_users_chain_does_what_is_said_of_it", || {
        if !ready() {
            return;
        }
        let lab = Lab::new();
        for rule in
            ["iifname ls-a tcp dport 80 drop", "ip daddr 10.88.1.2 accept", "ct status dnat return; drop"]
        {
            for rule in rule.split("; ") {
                after(
                    &lab,
                    Firewall::Nftables,
                    &[&format!("nft add rule inet linkspan linkspan-user {rule}")],
                );
            }
            run("nft flush chain inet linkspan linkspan-user");
        }
        clear();
        for rule in ["-i ls-a -p tcp --dport 80 -j DROP", "-d 10.88.1.2 -j ACCEPT", "-o ls-a -j own"] {
            let jump = format!("iptables -A linkspan-user {rule}");
            let chain = ["iptables -N own", "iptables -A own -p tcp --dport 80 -j REJECT"];
            let commands = if rule.ends_with("own") { [&chain[..], &[&jump]].concat() } else { vec![&*jump] };
            after(&lab, Firewall::Iptables, &commands);
            run("iptables -F linkspan-user");
        }
    });
}

#[test]
fn what_stands_before_our_chains_is_mended_without_opening_them() {
    in_private("others::what_stands_before_our_chains_is_mended_without_opening_them", || {
        if !ready() {
            return;
        }
        let lab = Lab::new();
        after(
            &lab,
            Firewall::Iptables,
            &["iptables -I FORWARD -j DROP", "iptables -t raw -A PREROUTING -p tcp --dport 8080 -j DROP"],
        );
        mend(&lab, &loaded(Firewall::Iptables), "drop");
        let told = Told::of(FLOWS[2], &loaded(Firewall::Iptables), &look());
        assert_eq!(told.connects, Some(false), "the container's own address is open: {:?}", told.reasons);
    });
}

#[test]
fn legacy_tables_are_read_beside_the_others() {
    in_private("others::legacy_tables_are_read_beside_the_others", || {
        if !ready() || !has("iptables-legacy") {
            return;
        }
        let lab = Lab::new();
        Firewall::Nftables.load(&rules());
        assert_eq!(look().names().count(), 0);
        if look().unlisted().next().is_some() {
            println!("skipped: only the root of the initial user namespace may list legacy tables");
            return;
        }
        // A kernel may be without the legacy tables.
        let policy = std::process::Command::new("iptables-legacy").args(["-P", "FORWARD", "DROP"]).status();
        if !policy.unwrap().success() {
            println!("skipped: no legacy iptables");
            return;
        }
        let untold = lab.compare(&loaded(Firewall::Nftables), &look(), "legacy");
        assert!(untold.is_empty(), "{untold:#?}");
        let told = Told::of(FLOWS[0], &loaded(Firewall::Nftables), &look());
        assert_eq!(told.mend.as_deref(), Some("iptables-legacy -I FORWARD -o ls-a -j ACCEPT"));
    });
}
