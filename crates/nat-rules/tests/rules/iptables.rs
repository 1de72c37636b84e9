//! What iptables makes of the rules, read back by iptables-save.

use crate::lab::{feed, has, in_private, run};
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
fn damage_is_named_and_mended() {
    in_private("iptables::damage_is_named_and_mended", || {
        if !ready() {
            return;
        }
        let rules = samples::all().into_iter().find(|sample| sample.name == "trusted").unwrap().rules;
        door().reconcile(&rules).unwrap();
        let mended = |damage: &str, expected: &str| {
            damage.split(" && ").for_each(|command| drop(run(command)));
            assert_eq!(door().reconcile(&rules).unwrap().to_string(), expected, "{damage}");
            check(&rules, damage);
            assert_eq!(door().reconcile(&rules).unwrap().to_string(), "");
        };
        mended(
            "iptables -F FORWARD",
            "iptables -t filter -I FORWARD 1 -j linkspan-user\niptables -t filter -I FORWARD 2 -j LINKSPAN-FORWARD\n",
        );
        mended(
            "iptables -t raw -D PREROUTING -j LINKSPAN-PRE",
            "iptables -t raw -I PREROUTING 1 -j LINKSPAN-PRE\n",
        );
        mended(
            "iptables -A FORWARD -j LINKSPAN-FORWARD",
            "iptables -t filter -D FORWARD -j LINKSPAN-FORWARD\n\
             iptables -t filter -D FORWARD -j LINKSPAN-FORWARD\n\
             iptables -t filter -I FORWARD 2 -j LINKSPAN-FORWARD\n",
        );
        mended(
            "iptables -A LINKSPAN-FORWARD -j ACCEPT",
            "iptables -t filter -D LINKSPAN-FORWARD -j ACCEPT\n",
        );
        mended(
            "iptables -I LINKSPAN-FORWARD 3 -s 10.9.9.9/32 -j DROP",
            "iptables -t filter -D LINKSPAN-FORWARD -s 10.9.9.9/32 -j DROP\n",
        );
        mended(
            "iptables -R LINKSPAN-FORWARD 1 -i x -j DROP",
            "iptables -t filter -D LINKSPAN-FORWARD -i x -j DROP\n\
             iptables -t filter -I LINKSPAN-FORWARD 1 -i ls-2f6b9e04 -o ls-2f6b9e04 -j ACCEPT\n",
        );
        mended(
            "iptables -t nat -D POSTROUTING -j LINKSPAN-POST && iptables -t nat -F LINKSPAN-POST && \
             iptables -t nat -X LINKSPAN-POST",
            "iptables -t nat -N LINKSPAN-POST\n\
             iptables -t nat -A POSTROUTING -j LINKSPAN-POST\n\
             iptables -t nat -A LINKSPAN-POST -s 10.88.11.0/24 -o ls-2f6b9e04 -m conntrack --ctstate DNAT -j MASQUERADE\n\
             iptables -t nat -A LINKSPAN-POST -s 127.0.0.0/8 -o ls-2f6b9e04 -j MASQUERADE\n\
             iptables -t nat -A LINKSPAN-POST -s 10.88.10.0/24 -o ls-77d0c1ab -m conntrack --ctstate DNAT -j MASQUERADE\n\
             iptables -t nat -A LINKSPAN-POST -s 127.0.0.0/8 -o ls-77d0c1ab -j MASQUERADE\n\
             iptables -t nat -A LINKSPAN-POST -s 10.88.10.0/24 ! -o ls-77d0c1ab -j MASQUERADE\n",
        );
        mended(
            "ip6tables -t nat -F LINKSPAN-DNAT-OUT",
            "ip6tables -t nat -A LINKSPAN-DNAT-OUT -d ::1/128 -j RETURN\n\
             ip6tables -t nat -A LINKSPAN-DNAT-OUT -p tcp -m tcp --dport 8090 -j DNAT --to-destination [fd88:10::2]:80\n",
        );
        let gone = door().reconcile(&Ruleset::new()).unwrap().to_string();
        let of_raw: Vec<_> = gone.lines().filter(|line| line.starts_with("iptables -t raw")).collect();
        assert_eq!(
            of_raw,
            [
                "iptables -t raw -F LINKSPAN-PRE",
                "iptables -t raw -D PREROUTING -j LINKSPAN-PRE",
                "iptables -t raw -X LINKSPAN-PRE"
            ]
        );
    });
}

#[test]
fn the_commands_that_are_named_do_the_same() {
    in_private("iptables::the_commands_that_are_named_do_the_same", || {
        if !ready() {
            return;
        }
        let everything = samples::all().pop().unwrap().rules;
        let trusted = samples::all().into_iter().find(|sample| sample.name == "trusted").unwrap().rules;
        let by_hand = |rules: &Ruleset, from: &str| {
            let named = iptables::plan(Instance::default(), rules, &door().look().unwrap()).unwrap();
            assert!(!named.is_empty(), "{from}");
            named.to_string().lines().for_each(|command| drop(run(command)));
            assert!(door().reconcile(rules).unwrap().is_empty(), "from {from} by hand:\n{named}");
        };
        by_hand(&everything, "nothing");
        feed("iptables-restore", "*filter\nCOMMIT\n*nat\nCOMMIT\n*raw\nCOMMIT\n");
        by_hand(&everything, "a flush");
        by_hand(&trusted, "everything");
        run("iptables -D FORWARD -j LINKSPAN-FORWARD");
        by_hand(&trusted, "a jump less");
        run("iptables -I FORWARD -i x -j DROP");
        run("iptables -D FORWARD -j linkspan-user");
        run("iptables -A FORWARD -j linkspan-user");
        by_hand(&trusted, "another order of the jumps, below a rule of others");
        run("iptables -D FORWARD -i x -j DROP");
        by_hand(&everything, "trusted");
        by_hand(&Ruleset::new(), "everything");
        assert_eq!(ours(&run("iptables-save")), "");
    });
}

#[test]
fn counters_of_others_go_on_and_so_do_ours_where_nothing_is_written() {
    in_private("iptables::counters_of_others_go_on_and_so_do_ours_where_nothing_is_written", || {
        if !ready() {
            return;
        }
        let web = Change::new().add_network(network("ls-a", &["10.0.0.0/24"]));
        let web = Ruleset::new().after(&web).unwrap();
        door().reconcile(&web).unwrap();
        run("iptables -A FORWARD -s 10.9.9.9/32 -c 5 500 -j ACCEPT");
        run("iptables -A linkspan-user -s 10.9.9.9/32 -c 6 600 -j ACCEPT");
        run("iptables -R LINKSPAN-FORWARD 1 -i ls-a -o ls-a -c 7 700 -j ACCEPT");
        let counted =
            |counter: &str| run("iptables-save -c").lines().filter(|l| l.starts_with(counter)).count();
        let port = Change::new().publish(publish(Protocol::Tcp, 80, "10.0.0.2", 80));
        let published = web.after(&port).unwrap();
        door().reconcile(&published).unwrap();
        assert_eq!(["[5:500]", "[6:600]", "[7:700]"].map(counted), [1, 1, 1], "only `nat` was written");
        let other = Change::new().add_network(network("ls-b", &["10.0.1.0/24"]));
        door().reconcile(&published.after(&other).unwrap()).unwrap();
        assert_eq!(["[5:500]", "[6:600]", "[7:700]"].map(counted), [1, 1, 0], "`filter` was written");
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
