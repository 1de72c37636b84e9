//! Nothing that was parsed can say more in a rule than its own name or number.

use linkspan_nat_rules::iptables::{self, Family};
use linkspan_nat_rules::nftables;
use linkspan_nat_rules::{
    Change, Destination, Egress, Instance, Network, ParseInstanceError, Publish, Ruleset,
};
use linkspan_net_types::{IfName, Port, Protocol};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::IpAddr;

/// What means something to nft, to iptables-restore, to a shell or to the kernel.
const LOADED: [&str; 24] = [
    "\" }",
    "\\",
    "'",
    "; drop",
    "\n-A FORWARD -j ACCEPT",
    "\r",
    " -j ACCEPT",
    "\t",
    "{",
    "}",
    ",",
    "+",
    "*",
    "!",
    "#",
    "%d",
    "/",
    ":",
    "\0",
    "$(id)",
    "`",
    "@set",
    "é",
    "\u{202e}",
];

/// Names, and texts that would like to be more than names.
fn hostile() -> impl Strategy<Value = String> {
    let loaded = ("[a-z0-9-]{0,6}", prop::sample::select(&LOADED[..]), "[a-z0-9 ]{0,5}");
    prop_oneof![
        "[A-Za-z0-9_.@-]{0,16}",
        loaded.prop_map(|(before, loaded, behind)| format!("{before}{loaded}{behind}")),
        "[ -~]{0,18}",
        ".{0,8}",
        "(accept|drop|jump|map|ip|-A|COMMIT|0x7f|::1|0.0.0.0/0|127.1|007|65536)",
    ]
}

/// Rules with all that can be named by others.
fn rules(bridge: IfName, trusted: IfName, [v4, v6]: [&str; 2], port: Port) -> Ruleset {
    let source = Egress::Fixed { v4: Some([192, 0, 2, 1].into()), v6: None };
    let network = Network::new(bridge)
        .with_subnet(v4.parse().unwrap())
        .with_subnet(v6.parse().unwrap())
        .with_egress(source)
        .with_trusted(trusted);
    let to = |subnet: &str| -> IpAddr { subnet.split_once('/').unwrap().0.parse().unwrap() };
    let publish = |subnet| Publish::nat(Protocol::Tcp, port, Destination::new(to(subnet), port));
    let published = publish(v4).at([127, 0, 0, 1].into()).unwrap();
    let direct = Publish::routed(Protocol::Tcp, Destination::new(to(v4), port), bridge);
    let published = [published, publish(v6), direct];
    Ruleset::new().after(&Change::new().add_network(network).publish_all(published)).unwrap()
}

const SUBNETS: [&str; 2] = ["10.0.0.0/24", "fd00::/64"];

fn texts(instance: Instance, rules: &Ruleset) -> [String; 3] {
    [
        nftables::text(instance, rules),
        iptables::text(instance, rules, Family::V4),
        iptables::text(instance, rules, Family::V6),
    ]
}

/// Whether two texts have the same words at the same places, but for those that these pairs exchange.
fn same_but(a: &str, b: &str, exchanged: &[(&str, &str)]) -> bool {
    // Between the words stands what separates them.
    let words = |text: &str| text.split_inclusive([' ', '\n', '\t']).map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (words(a), words(b));
    let same = |(a, b): (&String, &String)| a == b || exchanged.iter().any(|(x, y)| a.replace(x, y) == *b);
    a.len() == b.len() && a.iter().zip(&b).all(same)
}

fn instance() -> Instance {
    Instance::default()
}

proptest! {
    #[test]
    fn the_name_of_a_link_is_one_word_of_a_rule(bridge in hostile(), trusted in hostile()) {
        let (Ok(bridge), Ok(trusted)) = (bridge.parse::<IfName>(), trusted.parse::<IfName>()) else { return Ok(()) };
        let port = Port::new(80).unwrap();
        let usual = texts(instance(), &rules("BRIDGE".parse().unwrap(), "LINK".parse().unwrap(), SUBNETS, port));
        let named = texts(instance(), &rules(bridge, trusted, SUBNETS, port));
        for (usual, named) in usual.iter().zip(&named) {
            let exchanged = [("BRIDGE", bridge.as_str()), ("LINK", trusted.as_str())];
            prop_assert!(same_but(usual, named, &exchanged), "{named}");
        }
    }

    #[test]
    fn the_name_of_an_instance_is_one_word_of_a_rule(name in hostile()) {
        let Ok(named): Result<Instance, ParseInstanceError> = name.parse() else { return Ok(()) };
        let rules = rules("br".parse().unwrap(), "eth1".parse().unwrap(), SUBNETS, Port::new(80).unwrap());
        let capitals = name.to_ascii_uppercase();
        for (usual, named) in texts("usual".parse().unwrap(), &rules).iter().zip(&texts(named, &rules)) {
            let exchanged = [("usual", name.as_str()), ("USUAL", capitals.as_str())];
            prop_assert!(same_but(usual, named, &exchanged), "{named}");
        }
    }

    #[test]
    fn each_line_begins_as_one_of_ours_and_has_no_letter_but_those_of_rules(
        bridge in hostile(), trusted in hostile(), owner in hostile(), port in hostile()
    ) {
        let (Ok(bridge), Ok(trusted)) = (bridge.parse::<IfName>(), trusted.parse::<IfName>()) else { return Ok(()) };
        let (owner, port) = (owner.parse().unwrap_or_default(), port.parse().unwrap_or(Port::new(80).unwrap()));
        let [nft, v4, v6] = texts(owner, &rules(bridge, trusted, SUBNETS, port));
        let of = |extra: &'static str| move |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
        for line in nft.lines() {
            let line = line.trim_start_matches('\t').trim_start();
            prop_assert!(line.chars().all(of(" _.@:/!=-\"{},;")), "{line}");
            let quotes = line.matches('"').count();
            prop_assert!(quotes % 2 == 0 && !line.contains('#'), "{line}");
        }
        for line in v4.lines().chain(v6.lines()) {
            prop_assert!(line.chars().all(of(" _.@:/!-[]*,")), "{line}");
            prop_assert!(["*", ":", "-A ", "COMMIT"].iter().any(|start| line.starts_with(start)), "{line}");
        }
    }

    #[test]
    fn an_address_and_a_port_are_one_word_each(v4: [u8; 3], v6: [u16; 3], port in hostile()) {
        let Ok(port) = port.parse::<Port>() else { return Ok(()) };
        let v4 = format!("{}.{}.{}.0", v4[0], v4[1], v4[2]);
        let v6 = format!("{:x}:{:x}:{:x}::", v6[0] | 1, v6[1] | 1, v6[2] | 1);
        let (bridge, trusted) = ("br".parse().unwrap(), "eth1".parse().unwrap());
        let subnets = [format!("{v4}/24"), format!("{v6}/64")];
        let drawn = texts(instance(), &rules(bridge, trusted, [&subnets[0], &subnets[1]], port));
        let usual = texts(instance(), &rules(bridge, trusted, ["1.1.1.0/24", "1:1:1::/64"], Port::new(65_535).unwrap()));
        for (usual, drawn) in usual.iter().zip(&drawn) {
            let port = port.to_string();
            let both = ("1:1:1::]:65535", format!("{v6}]:{port}"));
            let v4_both = ("1.1.1.0:65535", format!("{v4}:{port}"));
            let exchanged =
                [("1.1.1.0", v4.as_str()), ("1:1:1::", &v6), ("65535", &port), (both.0, &both.1), (v4_both.0, &v4_both.1)];
            prop_assert!(same_but(usual, drawn, &exchanged), "{drawn}");
        }
    }

    #[test]
    fn what_was_stored_by_others_is_parsed_again(text in hostile(), field in 0..9_usize) {
        let mut stored = stored();
        let fields = [
            "/networks/0/bridge", "/networks/0/subnets/0", "/networks/0/access", "/networks/0/trusted/0",
            "/networks/0/egress/fixed/v4", "/published/0/protocol", "/published/0/way/nat/at",
            "/published/0/way/nat/port", "/published/0/to/address",
        ];
        let place = stored.pointer_mut(fields[field]).unwrap();
        *place = Value::String(text);
        let Ok(rules) = serde_json::from_value::<Ruleset>(stored) else { return Ok(()) };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.@-:/ \n\t\"{},=#*![];".contains(c);
        let of = |texts: [String; 3]| texts.concat();
        let usual: Ruleset = serde_json::from_value(self::stored()).unwrap();
        let (usual, drawn) = (of(texts(instance(), &usual)), of(texts(instance(), &rules)));
        prop_assert!(drawn.chars().all(plain), "{}", fields[field]);
        prop_assert_eq!(drawn.matches(';').count(), usual.matches(';').count());
        let again = serde_json::to_value(&rules).unwrap();
        prop_assert_eq!(serde_json::from_value::<Ruleset>(again).unwrap(), rules);
    }
}

fn stored() -> Value {
    let rules = rules("br".parse().unwrap(), "eth1".parse().unwrap(), SUBNETS, Port::new(80).unwrap());
    serde_json::to_value(&rules).unwrap()
}

#[test]
fn a_stored_value_out_of_its_range_is_refused() {
    let whole = stored();
    assert!(serde_json::from_value::<Ruleset>(whole.clone()).is_ok());
    let check = |place: &str, value: Value| {
        let mut stored = whole.clone();
        *stored.pointer_mut(place).unwrap() = value;
        assert!(serde_json::from_value::<Ruleset>(stored).is_err(), "{place}");
    };
    check("/networks/0/bridge", json!("a b"));
    check("/networks/0/bridge", json!("sixteen-bytes-xy"));
    check("/networks/0/trusted/0", json!("eth1\" accept"));
    check("/networks/0/subnets/0", json!("10.0.0.0/33"));
    check("/published/0/way/nat/port", json!(0));
    check("/published/0/way/nat/port", json!(65_536));
    check("/published/0/way/nat/at", json!("::1"));
    check("/published/0/protocol", json!("icmp"));
}

#[cfg(feature = "kernel")]
mod kernel {
    use super::{instance, rules};
    use crate::lab::{feed, has, in_private, run};
    use linkspan_nat_rules::kernel::{Iptables, Nftables};
    use linkspan_nat_rules::nftables::{self, Seen};
    use linkspan_nat_rules::{Change, Ruleset};
    use linkspan_net_types::{IfName, Port};
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    /// A name that a link may have.
    fn link() -> impl Strategy<Value = IfName> {
        "[A-Za-z0-9_.@][A-Za-z0-9_.@-]{0,14}".prop_filter_map("a name of a link", |name| name.parse().ok())
    }

    /// Whatever is drawn, this many times.
    fn drawn(cases: u32, check: impl Fn(&Ruleset)) {
        let strategy = (link(), link(), any::<([u8; 3], [u16; 3])>(), 1_u16.., 0..=32_u8, 1..=128_u8);
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let done = runner.run(&strategy, |(bridge, trusted, (v4, v6), port, short, long)| {
            let v4 = format!("{}.{}.{}.0/{short}", v4[0], v4[1], v4[2]);
            let v6 = format!("{:x}:{:x}:{:x}::/{long}", v6[0], v6[1], v6[2]);
            check(&rules(bridge, trusted, [&v4, &v6], Port::new(port).unwrap()));
            Ok(())
        });
        done.unwrap();
    }

    #[test]
    fn the_kernel_holds_just_the_elements_that_were_meant() {
        in_private("injection::kernel::the_kernel_holds_just_the_elements_that_were_meant", || {
            let mut door = Nftables::open(instance()).unwrap();
            let door = std::cell::RefCell::new(&mut door);
            drawn(200, |rules| {
                let mut door = door.borrow_mut();
                let change = Change::between(&Ruleset::new(), rules);
                door.change(&change).unwrap();
                let seen = door.look_at_all().unwrap();
                assert!(seen.elements().eq(Seen::of(rules).elements()), "{rules:?}");
                assert!(door.reconcile(rules).unwrap().is_empty());
                door.change(&change.inverse()).unwrap();
            });
        });
    }

    #[test]
    fn nft_reads_just_the_rules_that_were_meant() {
        in_private("injection::kernel::nft_reads_just_the_rules_that_were_meant", || {
            if !has("nft") {
                return;
            }
            let door = std::cell::RefCell::new(Nftables::open(instance()).unwrap());
            drawn(25, |rules| {
                feed("nft -f -", &nftables::text(instance(), rules));
                // What nft made of the text is what our messages would make: elements, chains and rules.
                let mut door = door.borrow_mut();
                assert!(door.look_at_all().unwrap().elements().eq(Seen::of(rules).elements()), "{rules:?}");
                assert_eq!(door.reconcile(rules).unwrap().to_string(), "");
                assert_eq!(run("nft list tables"), "table inet linkspan\n");
                run("nft delete table inet linkspan");
            });
        });
    }

    #[test]
    fn iptables_prints_just_the_rules_that_were_meant() {
        in_private("injection::kernel::iptables_prints_just_the_rules_that_were_meant", || {
            run("mount -t tmpfs tmpfs /run");
            if !["iptables-restore", "ip6tables-restore"].into_iter().all(has) {
                return;
            }
            let door = Iptables::open(instance());
            drawn(25, |rules| {
                door.reconcile(rules).unwrap();
                let again = door.reconcile(rules).unwrap();
                assert!(again.is_empty(), "{again}");
            });
        });
    }
}
