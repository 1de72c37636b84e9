//! The kernel's answers, to every question that linkspan asks of it.

use crate::target::Target;
use crate::traffic::{BRIDGE, change, judge_all, name, rules};
use crate::{kernel, script, told};
use linkspan::NetNs;
use linkspan::lab::Lab;
use linkspan_nat_rules::conntrack::Stale;
use linkspan_nat_rules::kernel::{Conntrack, Nftables, Others};
use linkspan_nat_rules::walk::Rules;
use linkspan_nat_rules::{Change, Instance, nftables};
use linkspan_net_types::{Mac, Mtu};
use linkspan_veth_bridge::kernel::{Inside, Links};
use linkspan_veth_bridge::{Bridge, Group, HostEnd, InsideEnd, Look, Port, Veth, plan};
use std::error::Error;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

/// What is asked; a script's first byte is its place here.
const QUESTIONS: [(&str, Question); 9] = [
    ("bridge", bridge),
    ("change", make_change),
    ("attach", attach),
    ("snapshot", snapshot),
    ("survey", survey),
    ("table", table),
    ("others", others),
    ("connections", connections),
    ("detach", detach),
];

/// Asked of the host, and of the namespace of a container.
type Question = fn(&NetNs) -> Result<(), Box<dyn Error>>;

/// A machine of its own, to hear the real kernel on, and a container.
#[derive(Debug)]
pub struct Replies {
    _lab: Lab,
    container: NetNs,
}

impl Target for Replies {
    fn begin() -> Result<Self, String> {
        let lab = Lab::enter().map_err(|why| told(&why))?;
        let container = NetNs::create_anonymous().map_err(|why| told(&why))?;
        Ok(Self { _lab: lab, container })
    }

    fn seeds(&mut self) -> Vec<(String, Vec<u8>)> {
        furnish();
        let asked = (0u8..).zip(QUESTIONS).map(|(place, (name, question))| {
            let (answer, heard) = kernel::record(|| question(&self.container));
            if let Err(why) = answer {
                eprintln!("{name}: the kernel refused: {}", told(&*why));
            }
            let script = script::write(&heard);
            self.assert_plays(name, question, &script);
            (name.to_owned(), [&[place][..], &script].concat())
        });
        asked.collect()
    }

    fn take(&mut self, input: &[u8]) {
        let Some((place, script)) = input.split_first() else { return };
        let (_, question) = QUESTIONS[usize::from(*place) % QUESTIONS.len()];
        if let (Err(refused), _) = kernel::play(script::read(script), || question(&self.container)) {
            told(&*refused);
        }
    }
}

impl Replies {
    /// What was recorded of a question is what it hears when that is played: a recording of nothing would be played
    /// without a fault.
    fn assert_plays(&self, name: &str, question: Question, script: &[u8]) {
        let lines = script::read(script);
        assert!(!lines.is_empty(), "{name}: nothing was heard");
        let count = lines.len();
        let (_, left) = kernel::play(lines, || question(&self.container));
        assert!(left.is_empty(), "{name}: {} of {count} answers were not heard", left.len());
    }
}

/// Puts on the host what others have there: their rules, and packets under way to a port that is free.
fn furnish() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    for file in ["beside.nft", "firewalld.nft", "hand.nft"] {
        if let Err(why) = Command::new("nft").arg("-f").arg(fixtures.join(file)).status() {
            eprintln!("no rules of others: nft: {why}");
        }
    }
    let sent = UdpSocket::bind("192.0.2.1:0").and_then(|socket| socket.send_to(b"?", "192.0.2.1:5353"));
    if let Err(why) = sent {
        eprintln!("no connection to hear of: {why}");
    }
}

fn wanted_bridge() -> Bridge {
    let mac = Mac::of_address([10, 88, 1, 1].into());
    Bridge::new(name(BRIDGE), mac, Mtu::ETHERNET)
        .with_address("10.88.1.1/24".parse().expect("an address"))
        .with_address("fd88:1::1/64".parse().expect("an address"))
        .with_group(group())
}

fn group() -> Group {
    Group::new(7).expect("7 is a group")
}

fn wanted_veth() -> Veth {
    let mac = Mac::of_address([10, 88, 1, 2].into());
    let host = HostEnd::port(name("vethls0"), mac, Port::of(name(BRIDGE)).isolated());
    let inside = InsideEnd::new(name("eth0"), mac)
        .with_address("10.88.1.2/24".parse().expect("an address"))
        .with_address("fd88:1::2/64".parse().expect("an address"))
        .with_gateway([10, 88, 1, 1].into());
    Veth::new(host, inside, Mtu::ETHERNET).with_group(group())
}

fn bridge(_: &NetNs) -> Result<(), Box<dyn Error>> {
    let mut links = Links::open()?;
    let seen = links.observe(&Look::at_bridge(&wanted_bridge()), None)?;
    links.apply(&plan::bridge(&wanted_bridge(), &seen)?, None)?;
    Ok(())
}

fn attach(container: &NetNs) -> Result<(), Box<dyn Error>> {
    let (mut links, mut inside) = (Links::open()?, Inside::open(container.as_fd())?);
    let seen = links.observe(&Look::at_veth(&wanted_veth()).counting_ports(), Some(&mut inside))?;
    links.apply(&plan::attach(&wanted_veth(), &seen)?, Some(&mut inside))?;
    Ok(())
}

fn detach(_: &NetNs) -> Result<(), Box<dyn Error>> {
    let mut links = Links::open()?;
    let seen = links.observe(&Look::at_veth(&wanted_veth()), None)?;
    links.apply(&plan::detach(&wanted_veth(), &seen), None)?;
    let seen = links.observe(&Look::at_bridge(&wanted_bridge()), None)?;
    links.apply(&plan::detach_together(&[name("vethls0")], group(), &seen), None)?;
    links.apply(&plan::remove_bridge(&wanted_bridge(), &seen), None)?;
    Ok(())
}

fn snapshot(container: &NetNs) -> Result<(), Box<dyn Error>> {
    let seen = Links::open()?.snapshot()?;
    let _ = (seen.default_route(), seen.uplink_mtu());
    Inside::open(container.as_fd())?.snapshot()?;
    Ok(())
}

fn survey(_: &NetNs) -> Result<(), Box<dyn Error>> {
    let survey = Links::open()?.survey()?;
    survey.routes.iter().for_each(|route| drop(crate::assert_one_line(route)));
    survey.rules.iter().for_each(|rule| drop(crate::assert_one_line(rule)));
    Ok(())
}

/// Looks at the whole of our table, and mends it on paper: then nothing is left to do.
fn table(_: &NetNs) -> Result<(), Box<dyn Error>> {
    let seen = Nftables::open(Instance::default())?.look_at_all()?;
    crate::traffic::walk_all(&Rules::seen(Instance::default(), &seen));
    let plan = nftables::reconcile(Instance::default(), &rules(), &seen)?;
    let again = nftables::reconcile(Instance::default(), &rules(), &seen.after(&plan))?;
    assert!(again.is_empty(), "{plan} and then {again}");
    let plan = nftables::prune(Instance::default(), &rules(), &seen)?;
    let again = nftables::prune(Instance::default(), &rules(), &seen.after(&plan))?;
    assert!(again.is_empty(), "{plan} and then {again}");
    Ok(())
}

fn make_change(_: &NetNs) -> Result<(), Box<dyn Error>> {
    let mut door = Nftables::open(Instance::default())?;
    door.change(&change())?.to_string();
    let published = change().published().to_vec();
    door.change(&Change::new().withdraw_all(published.clone()).publish_all(published))?.to_string();
    door.reconcile(&rules())?.to_string();
    Ok(())
}

fn others(_: &NetNs) -> Result<(), Box<dyn Error>> {
    let foreign = Others::open(Instance::default())?.look()?;
    foreign.names().for_each(|name| drop(crate::assert_one_line(name)));
    judge_all(&foreign);
    Ok(())
}

fn connections(_: &NetNs) -> Result<(), Box<dyn Error>> {
    let port = crate::traffic::port;
    let to = linkspan_nat_rules::Destination::new([10, 88, 1, 2].into(), port(53));
    let publish = linkspan_nat_rules::Publish::nat(linkspan_net_types::Protocol::Udp, port(5353), to);
    let flows = Conntrack::open()?.forget(&Stale::after(&Change::new().publish(publish)))?;
    flows.iter().for_each(|flow| drop(crate::assert_one_line(flow)));
    Ok(())
}
