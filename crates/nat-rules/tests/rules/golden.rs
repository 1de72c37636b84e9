//! A page for each option, beside this crate in `rulesets/`: what it promises, and the text of each backend.
//! With `LINKSPAN_BLESS=1` the pages are written anew; the difference is then for a reviewer to read.

use crate::samples::{self, Sample};
use linkspan_nat_rules::iptables::{self, Family};
use linkspan_nat_rules::{Access, Egress, Instance, Network, Publish, Way, nftables};
use linkspan_net_types::Protocol;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rulesets")
}

/// The pages, and the list of them.
fn files() -> Vec<(String, String)> {
    let pages = samples::all().into_iter().map(|sample| (format!("{}.txt", sample.name), page(&sample)));
    pages.chain([("README.md".to_owned(), contents())]).collect()
}

#[test]
fn every_backend_writes_what_was_reviewed() {
    for (name, text) in files() {
        let path = folder().join(name);
        if std::env::var_os("LINKSPAN_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, golden, "{} differs; bless it if it is meant", path.display());
    }
    // In one test, since a blessed page has to be there first.
    let there: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(there, files().into_iter().map(|(name, _)| name).collect(), "each page has its sample");
}

fn page(sample: &Sample) -> String {
    let instance = Instance::default();
    let Sample { rules, promise, .. } = sample;
    format!(
        "{promise}\n\n# nftables\n{}\n# iptables\n{}\n# ip6tables\n{}",
        nftables::text(instance, rules),
        iptables::text(instance, rules, Family::V4),
        iptables::text(instance, rules, Family::V6),
    )
}

fn contents() -> String {
    let line = |sample: Sample| format!("| [{0}]({0}.txt) | {1} |\n", sample.name, sample.promise);
    let lines: String = samples::all().into_iter().map(line).collect();
    format!(
        "# The rules of each option\n\n\
         Rendered from the code by its tests, as `nft list table` and `iptables-save` print them; `cargo xtask \
         golden --bless` writes them anew.\n\n| page | what it promises |\n|---|---|\n{lines}"
    )
}

#[test]
fn every_golden_page_opens_with_one_sentence() {
    for Sample { name, promise, .. } in samples::all() {
        let one = promise.ends_with('.') && promise.matches(". ").count() == 0 && !promise.contains('\n');
        assert!(one && promise.starts_with(char::is_uppercase), "{name}: {promise}");
    }
}

/// Each value of each option, beside the way in with which it may go together. A value that is added here
/// does not compile until it is named, and has no page until there is a sample.
#[test]
fn every_option_has_a_golden_page() {
    let apart = || samples::all().into_iter().filter(|sample| sample.name != "everything");
    let networks = apart().flat_map(|sample| sample.rules.networks().map(of_network).collect::<Vec<_>>());
    let ports = apart().flat_map(|sample| sample.rules.published().map(of_port).collect::<Vec<_>>());
    let seen: BTreeSet<_> = networks.flatten().chain(ports).collect();

    let any = ["neighbours", "no neighbours"];
    let translated = ["masqueraded", "fixed v4 v6", "own source"];
    let combined = [
        ("nat", [&any[..], &translated, &["fixed v4", "trusting", "v4", "v6", "v4 v6"]].concat()),
        ("unprotected", [&any[..], &translated].concat()),
        ("routed", any.to_vec()),
        ("internal", any.to_vec()),
        ("isolated", any.to_vec()),
    ];
    let combined =
        combined.into_iter().flat_map(|(way, with)| with.into_iter().map(move |w| format!("{way}, {w}")));
    let ports = ["tcp", "udp"].map(|by| format!("{by} at each address, v4"));
    let ports = ports.into_iter().chain(
        ["tcp at each address, v6", "tcp at a loopback address, v4", "tcp at one address, v4"]
            .into_iter()
            .chain(["udp at one address, v6", "tcp at the container's address, v4"])
            .chain(["tcp at the container's address, v6"])
            .map(str::to_owned),
    );
    let missing: Vec<_> = combined.chain(ports).filter(|option| !seen.contains(option)).collect();
    assert!(missing.is_empty(), "no page for {missing:?}");
}

fn of_network(network: &Network) -> Vec<String> {
    let way = match network.access() {
        Access::Nat => "nat",
        Access::Unprotected => "unprotected",
        Access::Routed => "routed",
        Access::Internal => "internal",
        Access::Isolated => "isolated",
    };
    let source = match network.egress() {
        Egress::Masquerade => "masqueraded",
        Egress::Keep => "own source",
        Egress::Fixed { v4: Some(_), v6: Some(_) } => "fixed v4 v6",
        Egress::Fixed { v4: Some(_), v6: None } => "fixed v4",
        Egress::Fixed { v4: None, .. } => "fixed v6",
    };
    let family = |v4: bool| network.subnets().any(|subnet| subnet.addr().is_ipv4() == v4);
    let families = match (family(true), family(false)) {
        (true, true) => "v4 v6",
        (true, false) => "v4",
        (false, _) => "v6",
    };
    let neighbours = if network.neighbours() { "neighbours" } else { "no neighbours" };
    let trusting = network.trusted().next().map(|_| "trusting");
    [source, families, neighbours].into_iter().chain(trusting).map(|w| format!("{way}, {w}")).collect()
}

fn of_port(publish: &Publish) -> String {
    let at = match publish.way() {
        Way::Nat { at: None, .. } => "each address",
        Way::Nat { at: Some(address), .. } if address.is_loopback() => "a loopback address",
        Way::Nat { at: Some(_), .. } => "one address",
        Way::Routed { .. } => "the container's address",
    };
    let protocol: Protocol = publish.protocol();
    let family = if publish.to().address().is_ipv4() { "v4" } else { "v6" };
    format!("{protocol} at {at}, {family}")
}
