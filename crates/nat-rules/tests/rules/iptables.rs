//! What iptables makes of the rules, read back by iptables-save.

use crate::lab::{has, in_private, run};
use crate::samples::{self, network, publish};
use linkspan_nat_rules::iptables::{self, Family};
use linkspan_nat_rules::kernel::Iptables;
use linkspan_nat_rules::{Change, Error, Instance, Ruleset};
use linkspan_net_types::Protocol;

fn door() -> Iptables {
    Iptables::open(Instance::default())
}

/// Whether iptables works here; its lock is on a private `/run`.
fn ready() -> bool {
    run("mount -t tmpfs tmpfs /run");
    ["iptables", "iptables-save", "iptables-restore", "ip6tables-save"].into_iter().all(has)
}

/// The lines that speak of our chains, with the declarations of each table sorted: the kernel lists chains
/// in an order of its own.
fn ours(saved: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for table in ["*raw", "*filter", "*nat"] {
        let section = saved.split('*').find(|section| section.starts_with(&table[1..])).unwrap_or_default();
        let concerns = |line: &&str| line.contains("LINKSPAN-") || line.contains("linkspan-user");
        let mut declared: Vec<_> = section.lines().filter(concerns).filter(|l| l.starts_with(':')).collect();
        declared.sort_unstable();
        lines.extend([table].into_iter().filter(|_| !declared.is_empty()));
        lines.append(&mut declared);
        for chain in chains_of(section) {
            let of_chain = |line: &&str| line.starts_with(&format!("-A {chain} "));
            lines.extend(section.lines().filter(concerns).filter(of_chain));
        }
    }
    lines.join("\n")
}

/// The chains of a section that have rules, sorted.
fn chains_of(section: &str) -> Vec<&str> {
    let mut chains: Vec<_> =
        section.lines().filter_map(|l| l.strip_prefix("-A ")?.split(' ').next()).collect();
    chains.sort_unstable();
    chains.dedup();
    chains
}

fn check(rules: &Ruleset, name: &str) {
    for (program, family) in [("iptables-save", Family::V4), ("ip6tables-save", Family::V6)] {
        let golden = iptables::text(Instance::default(), rules, family);
        assert_eq!(ours(&run(program)), ours(&golden), "{name}, {program}");
    }
}

#[test]
fn iptables_save_prints_the_golden_text() {
    in_private("iptables::iptables_save_prints_the_golden_text", || {
        if !ready() {
            return;
        }
        for sample in samples::all() {
            door().reconcile(&sample.rules).unwrap();
            check(&sample.rules, sample.name);
            let again = door().reconcile(&sample.rules).unwrap();
            assert!(again.is_empty(), "{}: {again}", sample.name);
        }
        door().reconcile(&Ruleset::new()).unwrap();
        assert!(!door().look().unwrap().has_chains());
        check(&Ruleset::new(), "nothing");
    });
}

#[test]
fn nothing_but_empty_tables_stays_and_others_rules_are_not_touched() {
    in_private("iptables::nothing_but_empty_tables_stays_and_others_rules_are_not_touched", || {
        if !ready() {
            return;
        }
        run("iptables -A FORWARD -i docker0 -j ACCEPT");
        run("iptables -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE");
        run("iptables -P FORWARD DROP");
        let rules_of = |saved: String| {
            let kept =
                |line: &&str| line.starts_with('-') || (line.starts_with(':') && !line.contains("ACCEPT ["));
            saved.lines().filter(kept).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = rules_of(run("iptables-save"));
        for sample in samples::all() {
            door().reconcile(&sample.rules).unwrap();
            let other = Iptables::open("other".parse().unwrap());
            other.reconcile(&sample.rules).unwrap();
            assert!(door().reconcile(&sample.rules).unwrap().is_empty());
            other.reconcile(&Ruleset::new()).unwrap();
            assert!(door().reconcile(&sample.rules).unwrap().is_empty());
        }
        door().reconcile(&Ruleset::new()).unwrap();
        assert_eq!(rules_of(run("iptables-save")), before);
        assert_eq!(rules_of(run("ip6tables-save")), Vec::<String>::new());
    });
}

#[test]
fn the_users_chain_keeps_its_rules_and_its_place() {
    in_private("iptables::the_users_chain_keeps_its_rules_and_its_place", || {
        if !ready() {
            return;
        }
        let rules =
            Ruleset::new().after(&Change::new().add_network(network("ls-a", &["10.0.0.0/24"]))).unwrap();
        door().reconcile(&rules).unwrap();
        run("iptables -A linkspan-user -s 10.0.0.9/32 -j DROP");
        let more = rules.after(&Change::new().publish(publish(Protocol::Tcp, 80, "10.0.0.2", 80))).unwrap();
        door().reconcile(&more).unwrap();
        assert!(door().reconcile(&more).unwrap().is_empty());
        door().reconcile(&Ruleset::new()).unwrap();
        let left = ours(&run("iptables-save"));
        assert_eq!(
            left,
            "*filter\n:linkspan-user - [0:0]\n-A FORWARD -j linkspan-user\n-A linkspan-user -s 10.0.0.9/32 -j DROP"
        );
        assert!(door().reconcile(&Ruleset::new()).unwrap().is_empty());

        door().reconcile(&rules).unwrap();
        run("iptables -F linkspan-user");
        door().reconcile(&Ruleset::new()).unwrap();
        assert_eq!(ours(&run("iptables-save")), "");
    });
}

#[test]
fn damage_is_mended() {
    in_private("iptables::damage_is_mended", || {
        if !ready() {
            return;
        }
        let everything = samples::all().pop().unwrap().rules;
        door().reconcile(&everything).unwrap();
        for damage in [
            "iptables -F FORWARD",
            "iptables -t nat -F",
            "iptables -t raw -D PREROUTING -j LINKSPAN-PRE",
            "iptables -A LINKSPAN-FORWARD -j ACCEPT",
            "iptables -A FORWARD -j LINKSPAN-FORWARD",
            "ip6tables -F LINKSPAN-FORWARD",
        ] {
            run(damage);
            assert!(!door().reconcile(&everything).unwrap().is_empty(), "{damage}");
            check(&everything, damage);
        }
    });
}

#[test]
fn thousands_of_ports_are_one_restore() {
    in_private("iptables::thousands_of_ports_are_one_restore", || {
        if !ready() {
            return;
        }
        let web = Change::new().add_network(network("ls-a", &["10.0.0.0/24"]));
        let made = |to_port: fn(u16) -> u16| {
            let ports = (20_000..30_000).map(|n| publish(Protocol::Tcp, n, "10.0.0.2", to_port(n)));
            let rules = Ruleset::new().after(&web.clone().publish_all(ports)).unwrap();
            door().reconcile(&rules).unwrap();
            assert!(door().reconcile(&rules).unwrap().is_empty());
            door().reconcile(&Ruleset::new()).unwrap();
            assert!(!door().look().unwrap().has_chains());
        };
        made(|port| port);
        if std::fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295") {
            made(|_| 80);
        } else {
            println!("skipped: one rule for each port does not fit into an ordinary user's netlink socket");
        }
    });
}

#[test]
fn a_refusal_carries_what_the_program_said() {
    in_private("iptables::a_refusal_carries_what_the_program_said", || {
        if !ready() {
            return;
        }
        let rules =
            Ruleset::new().after(&Change::new().add_network(network("ls-a", &["10.0.0.0/24"]))).unwrap();
        let seen = door().look().unwrap();
        door().reconcile(&rules).unwrap();
        let gone = iptables::plan(Instance::default(), &Ruleset::new(), &door().look().unwrap()).unwrap();
        door().apply(&gone).unwrap();
        let error = door().apply(&gone).unwrap_err();
        assert!(
            matches!(&error, Error::Failed { program: "iptables-restore", said, .. } if !said.is_empty())
        );
        assert_eq!(door().look().unwrap(), seen);
    });
}
