//! The text of rules: what `iptables-save` prints of others, and what we write ourselves.

use crate::target::Target;
use crate::traffic::judge_all;
use arbitrary::{Result as Drawn, Unstructured};
use ipnet::IpNet;
use linkspan_nat_rules::foreign::Foreign;
use linkspan_nat_rules::iptables::{self, Family, Seen};
use linkspan_nat_rules::nftables;
use linkspan_nat_rules::{Access, Change, Destination, Egress, Instance, Network, Publish, Ruleset};
use linkspan_net_types::{IfName, Port, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::{fs, str};

/// What the first byte of an input says of the rest.
const SAVED: u8 = 0;
const WRITTEN: u8 = 1;
const KINDS: u8 = 2;

/// Rules as text, in both directions.
#[derive(Debug)]
pub struct Text;

impl Target for Text {
    fn begin() -> Result<Self, String> {
        Ok(Self)
    }

    fn seeds(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut seeds = vec![("written".to_owned(), [&[WRITTEN][..], &[7; 64]].concat())];
        for folder in ["../tests/fixtures", "../crates/nat-rules/rulesets"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let saves = name.ends_with(".rules") || name.ends_with(".txt");
                if let (true, Ok(text)) = (saves, fs::read(entry.path())) {
                    seeds.push((name, [&[SAVED][..], &text].concat()));
                }
            }
        }
        seeds
    }

    fn take(&mut self, input: &[u8]) {
        let Some((kind, rest)) = input.split_first() else { return };
        match kind % KINDS {
            SAVED => saved(rest),
            // Where the bytes end, the rest of the rules is as small as can be.
            _ => written(rest).unwrap_or_default(),
        }
    }
}

/// Others' tables, as their program prints them: nothing makes them fail, and nothing of theirs gets into ours.
fn saved(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let foreign =
        Foreign::new(Instance::default()).with_saved(Family::V4, &text).with_saved(Family::V6, &text);
    judge_all(&foreign);
    let seen = Seen::read(Instance::default(), &text, Some(&text));
    for rules in [crate::traffic::rules(), Ruleset::new()] {
        let Ok(plan) = iptables::plan(Instance::default(), &rules, &seen) else { continue };
        [Family::V4, Family::V6].into_iter().for_each(|family| assert_script(plan.script(family)));
        plan.to_string();
    }
}

/// Every line of what `iptables-restore` is given is about a chain of ours, or a jump to one.
fn assert_script(script: &str) {
    for line in script.lines() {
        let ours = line.contains("LINKSPAN") || line.contains("linkspan-user");
        let frame = line.starts_with('*') || line == "COMMIT";
        assert!(ours || frame, "a line of others: {line:?} of {script}");
    }
}

/// Rules of ours: what is written is read as the same, line by line, and nothing is left to do.
fn written(bytes: &[u8]) -> Drawn<()> {
    let mut bytes = Unstructured::new(bytes);
    let instance = draw_instance(&mut bytes)?;
    let mut change = Change::new();
    for _ in 0..bytes.int_in_range(0..=4)? {
        change = change.add_network(draw_network(&mut bytes)?);
    }
    for _ in 0..bytes.int_in_range(0..=8)? {
        change = draw_publish(&mut bytes)?.into_iter().fold(change, Change::publish);
    }
    let Ok(rules) = Ruleset::new().after(&change) else { return Ok(()) };
    let text = |family| iptables::text(instance, &rules, family);
    let [v4, v6] = [text(Family::V4), text(Family::V6)];
    let seen = Seen::read(instance, &v4, Some(&v6));
    let plan = iptables::plan(instance, &rules, &seen).map_err(|_| arbitrary::Error::IncorrectFormat)?;
    assert!(plan.is_empty(), "{v4}{v6} and then {plan}");
    let table = nftables::text(instance, &rules);
    assert!(table.starts_with(&format!("table inet {instance} {{\n")) && table.ends_with("}\n"), "{table}");
    // Balanced, so that no name ends the table and begins another.
    let count = |c: char| table.matches(c).count();
    assert_eq!((count('{'), count('"') % 2), (count('}'), 0), "{table}");
    let seen = nftables::Seen::of(&rules);
    let plan = nftables::reconcile(instance, &rules, &seen).map_err(|_| arbitrary::Error::IncorrectFormat)?;
    assert!(plan.is_empty(), "{table} and then {plan}");
    Ok(())
}

/// A name of whatever bytes the kernel would take, as far as we take them.
fn draw_name<T: str::FromStr>(bytes: &mut Unstructured<'_>) -> Drawn<T> {
    let length = bytes.int_in_range(1..=15)?;
    let text = String::from_utf8_lossy(bytes.bytes(length)?).into_owned();
    text.parse().map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn draw_instance(bytes: &mut Unstructured<'_>) -> Drawn<Instance> {
    if bytes.arbitrary()? { draw_name(bytes) } else { Ok(Instance::default()) }
}

fn draw_address(bytes: &mut Unstructured<'_>) -> Drawn<IpAddr> {
    Ok(match bytes.arbitrary()? {
        true => Ipv4Addr::from(bytes.arbitrary::<[u8; 4]>()?).into(),
        false => Ipv6Addr::from(bytes.arbitrary::<[u8; 16]>()?).into(),
    })
}

fn draw_network(bytes: &mut Unstructured<'_>) -> Drawn<Network> {
    let mut network = Network::new(draw_name(bytes)?);
    for _ in 0..bytes.int_in_range(0..=2)? {
        let net = IpNet::new(draw_address(bytes)?, bytes.int_in_range(0..=128)?);
        network = net.into_iter().fold(network, |network, net| network.with_subnet(net.trunc()));
    }
    if bytes.arbitrary()? {
        network = network.with_trusted(draw_name::<IfName>(bytes)?);
    }
    let access = [Access::Nat, Access::Routed, Access::Unprotected, Access::Internal, Access::Isolated];
    let egress = match bytes.int_in_range(0..=2)? {
        0 => Egress::Masquerade,
        1 => Egress::Keep,
        _ => Egress::Fixed { v4: Some(bytes.arbitrary::<[u8; 4]>()?.into()), v6: None },
    };
    let network = network.with_access(*bytes.choose(&access)?).with_egress(egress);
    Ok(network.with_neighbours(bytes.arbitrary()?))
}

fn draw_port(bytes: &mut Unstructured<'_>) -> Drawn<Port> {
    Port::new(bytes.arbitrary()?).ok_or(arbitrary::Error::IncorrectFormat)
}

fn draw_publish(bytes: &mut Unstructured<'_>) -> Drawn<Option<Publish>> {
    let protocol = *bytes.choose(&Protocol::ALL)?;
    let to = Destination::new(draw_address(bytes)?, draw_port(bytes)?);
    if bytes.arbitrary()? {
        return Ok(Some(Publish::routed(protocol, to, draw_name(bytes)?)));
    }
    let publish = Publish::nat(protocol, draw_port(bytes)?, to);
    Ok(if bytes.arbitrary()? { publish.at(draw_address(bytes)?).ok() } else { Some(publish) })
}
