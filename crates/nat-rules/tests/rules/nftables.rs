//! What the kernel makes of the rules by netlink, read back by nft.

use crate::lab::{feed, has, in_private, run};
use crate::samples::{self, network, publish};
use linkspan_nat_rules::kernel::Nftables;
use linkspan_nat_rules::nftables::{self, Element, Seen, Set, Table};
use linkspan_nat_rules::{Access, Change, Error, Instance, Network, Publish, Ruleset};
use linkspan_net_types::{Errno, Protocol};
use std::sync::atomic::{AtomicBool, Ordering};

fn door() -> Nftables {
    Nftables::open(Instance::default()).unwrap()
}

fn all_of(rules: &Ruleset) -> Change {
    Change::between(&Ruleset::new(), rules)
}

/// The text of a table with the elements of each set on lines of their own, sorted: nft orders them by their
/// bytes and breaks lines as it likes. Versions of nft differ in how they call the priority -100.
fn sorted(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut elements: Option<Vec<String>> = None;
    for line in text.lines() {
        let part = line.trim().strip_prefix("elements = {").or(elements.as_ref().map(|_| line.trim()));
        let Some(part) = part else {
            lines.push(line.replace("priority dstnat", "priority -100"));
            continue;
        };
        let list = elements.get_or_insert_default();
        list.extend(
            part.trim_end_matches('}').split(',').map(|e| e.trim().to_owned()).filter(|e| !e.is_empty()),
        );
        if part.ends_with('}') {
            list.sort();
            lines.append(list);
            elements = None;
        }
    }
    let text = lines.join("\n");
    // A chain that was made again is listed as the last one.
    let mut parts: Vec<_> = text.trim_end_matches("\n}").split("\n\n").collect();
    parts.sort_unstable();
    parts.join("\n\n")
}

#[test]
fn nft_prints_the_golden_text() {
    in_private("nftables::nft_prints_the_golden_text", || {
        if !has("nft") {
            return;
        }
        for sample in samples::all().iter().filter(|sample| !sample.rules.is_empty()) {
            let mut door = door();
            door.change(&all_of(&sample.rules)).unwrap();
            let printed = run("nft list table inet linkspan");
            let golden = nftables::text(Instance::default(), &sample.rules);
            assert_eq!(sorted(&printed), sorted(&golden), "{}", sample.name);
            door.change(&all_of(&sample.rules).inverse()).unwrap();
            assert_eq!(run("nft list ruleset"), "", "{}", sample.name);

            // What is printed is what nft itself would make.
            feed("nft -f -", &golden);
            assert_eq!(sorted(&run("nft list table inet linkspan")), sorted(&golden), "{}", sample.name);
            assert_eq!(
                door.look_at_all().unwrap().elements().count(),
                Seen::of(&sample.rules).elements().count()
            );
            run("nft delete table inet linkspan");
        }
    });
}

#[test]
fn the_kernel_runs_what_nft_would_have_it_run() {
    in_private("nftables::the_kernel_runs_what_nft_would_have_it_run", || {
        if !has("nft") {
            return;
        }
        let everything = samples::all().pop().unwrap().rules;
        door().change(&all_of(&everything)).unwrap();
        let expressions = || -> Vec<String> {
            let printed = run("nft --debug=netlink list ruleset");
            printed.lines().filter(|line| line.starts_with("  [ ")).map(str::to_owned).collect()
        };
        let ours = expressions();
        run("nft delete table inet linkspan");
        feed("nft -f -", &nftables::text(Instance::default(), &everything));
        assert!(ours.len() > 50, "{ours:?}");
        assert_eq!(ours, expressions());
    });
}

#[test]
fn what_was_made_is_seen() {
    in_private("nftables::what_was_made_is_seen", || {
        for sample in samples::all() {
            let (mut door, change) = (door(), all_of(&sample.rules));
            let paper = door.look(&change).unwrap();
            let plan = nftables::plan(Instance::default(), &change, &paper).unwrap();
            door.apply(&plan).unwrap();
            let seen = door.look_at_all().unwrap();
            assert_eq!(seen.table(), paper.after(&plan).table());
            assert!(seen.elements().eq(paper.after(&plan).elements()), "{}", sample.name);
            assert_eq!(seen.damaged().count(), 0);
            let concerned = door.look(&change).unwrap();
            assert!(concerned.elements().eq(seen.elements()), "{}", sample.name);
            assert!(door.change(&change).unwrap().is_empty());
            assert!(door.reconcile(&sample.rules).unwrap().is_empty());
            door.change(&change.inverse()).unwrap();
            assert_eq!(door.look_at_all().unwrap().table(), Table::Absent);
            assert!(door.change(&change.inverse()).unwrap().is_empty());
        }
    });
}

#[test]
fn a_port_is_published_where_the_table_went_meanwhile() {
    in_private("nftables::a_port_is_published_where_the_table_went_meanwhile", || {
        let (mut door, mut other) = (door(), door());
        let web = Change::new().add_network(network("ls-a", &["10.0.0.0/24"]));
        let port = Change::new().publish(publish(Protocol::Tcp, 80, "10.0.0.2", 80));
        door.change(&web).unwrap();
        door.change(&port).unwrap();
        other.change(&web.inverse()).unwrap();
        assert!(door.change(&port.inverse()).unwrap().is_empty());
        assert_eq!(door.change(&port).unwrap().steps().len(), 2);
        assert_eq!(other.look_at_all().unwrap().published().count(), 1);
    });
}

/// A door that published port 80 makes a change after someone else wrote this, and does so much.
#[track_caller]
fn since(written: &str, change: &Change, expected: Result<&str, &str>) {
    let mut door = door();
    let offered = Change::new().add_network(network("ls-a", &["10.0.0.0/24"]));
    door.change(&offered.clone().publish(publish(Protocol::Tcp, 80, "10.0.0.2", 80))).unwrap();
    door.change(&offered.clone().publish(publish(Protocol::Tcp, 90, "10.0.0.2", 90))).unwrap();
    feed("nft -f -", written);
    let added = change.published().iter().copied();
    let change = offered.publish_all(added).withdraw_all(change.withdrawn().iter().copied());
    let done = door.change(&change).map(|plan| plan.to_string().replace(" element inet linkspan", ""));
    let shown = done.map_err(|refused| refused.to_string());
    assert_eq!(shown.as_deref().map(str::trim_end).map_err(String::as_str), expected, "after `{written}`");
    run("nft delete table inet linkspan");
}

#[test]
fn what_others_wrote_since_a_door_last_did_is_seen() {
    in_private("nftables::what_others_wrote_since_a_door_last_did_is_seen", || {
        if !has("nft") {
            return;
        }
        let port = |number| publish(Protocol::Tcp, number, "10.0.0.2", number);
        let come = Change::new().publish(port(81));
        let gone = Change::new().withdraw(port(80));
        let (add, delete) =
            ("add pub4 { tcp . 81 : 10.0.0.2 . 81 }", "delete pub4 { tcp . 80 : 10.0.0.2 . 80 }");
        since("", &come, Ok(add));
        since("", &gone, Ok(delete));
        since("add table ip others", &come, Ok(add));
        since("add element inet linkspan pub4 { tcp . 99 : 10.0.0.9 . 99 }", &gone, Ok(delete));
        since("delete element inet linkspan pub4 { tcp . 80 }", &gone, Ok(""));
        since("add element inet linkspan pub4 { tcp . 81 : 10.0.0.2 . 81 }", &come, Ok(""));
        let mended = format!("add bridges {{ \"ls-a\" }}\n{add}");
        since("delete element inet linkspan bridges { ls-a }", &come, Ok(&mended));
        let taken = "port 81/tcp at any address leads to 10.0.0.3:81 already";
        since("add element inet linkspan pub4 { tcp . 81 : 10.0.0.3 . 81 }", &come, Err(taken));
    });
}

#[test]
fn one_of_two_networks_goes_and_the_other_stays() {
    in_private("nftables::one_of_two_networks_goes_and_the_other_stays", || {
        let (a, b) = (network("ls-a", &["10.0.0.0/24"]), network("ls-b", &["10.0.1.0/24", "fd00::/64"]));
        let mut door = door();
        door.change(&Change::new().add_network(a.clone())).unwrap();
        let alone = door.look_at_all().unwrap();
        door.change(&Change::new().add_network(b.clone())).unwrap();
        door.change(&Change::new().remove_network(b)).unwrap();
        assert!(door.look_at_all().unwrap().elements().eq(alone.elements()));
        door.change(&Change::new().remove_network(a)).unwrap();
        assert_eq!(door.look_at_all().unwrap().table(), Table::Absent);
    });
}

#[test]
fn ten_thousand_ports_are_one_change() {
    in_private("nftables::ten_thousand_ports_are_one_change", || {
        let port = |n: u16| publish(Protocol::Tcp, n, "10.0.0.2", n);
        let ports: Vec<Publish> = (20_000..30_000).map(port).collect();
        let web = network("ls-web", &["10.0.0.0/24"]);
        let change = Change::new().add_network(web.clone()).publish_all(ports.iter().copied());
        let mut door = door();
        assert_eq!(door.change(&change).unwrap().steps().len(), 1 + 6 + 10_000);
        assert_eq!(door.look_at_all().unwrap().published().count(), 10_000);
        assert!(door.change(&change).unwrap().is_empty());

        let one = Change::new().publish(port(40_000));
        assert_eq!(door.look(&one).unwrap().elements().count(), 0, "other ports are not listed");
        assert_eq!(door.change(&one).unwrap().steps().len(), 1);
        assert_eq!(door.look(&one).unwrap().elements().count(), 1);
        door.change(&one.inverse()).unwrap();

        door.change(&Change::new().withdraw_all(ports)).unwrap();
        assert_eq!(door.look_at_all().unwrap().published().count(), 0);
        assert_eq!(door.look_at_all().unwrap().bridges().count(), 1);
    });
}

#[test]
fn many_ports_are_withdrawn_whole_while_others_publish() {
    in_private("nftables::many_ports_are_withdrawn_whole_while_others_publish", || {
        let own = (10_000..18_000).map(|n| publish(Protocol::Tcp, n, "10.0.0.2", n));
        let change = Change::new().publish_all(own);
        let done = AtomicBool::new(false);
        let others = || {
            let mut door = door();
            let change =
                |n| Change::new().publish_all((n..n + 60).map(|n| publish(Protocol::Tcp, n, "10.0.0.3", n)));
            for round in (0..100).cycle().take_while(|_| !done.load(Ordering::Relaxed)) {
                let change = change(20_000 + round * 60);
                door.change(&change).unwrap();
                door.change(&change.inverse()).unwrap();
            }
        };
        let (seen, withdrawn) = std::thread::scope(|scope| {
            scope.spawn(others);
            let mut door = door();
            door.change(&change).unwrap();
            let seen: Vec<_> =
                (0..20).map(|_| door.look(&change.inverse()).unwrap().elements().count()).collect();
            let withdrawn = door.change(&change.inverse()).unwrap().steps().len();
            done.store(true, Ordering::Relaxed);
            (seen, withdrawn)
        });
        assert_eq!((seen, withdrawn), (vec![8_000; 20], 8_000));
        assert_eq!(door().look_at_all().unwrap().published().count(), 0);
    });
}

#[test]
fn what_other_networks_there_are_does_not_matter_to_one_that_is_there() {
    in_private("nftables::what_other_networks_there_are_does_not_matter_to_one_that_is_there", || {
        let number = |n: u16| {
            let (v4, v6) = (format!("10.0.{n}.0/24"), format!("fd00:{n:x}::/64"));
            network(&format!("ls-{n}"), &[&v4, &v6])
        };
        let mut first = door();
        first.change(&(0..200).map(number).fold(Change::new(), Change::add_network)).unwrap();
        for mut door in [door(), first] {
            for n in [0, 1, 100, 199] {
                let port = publish(Protocol::Tcp, 1000 + n, &format!("10.0.{n}.2"), 80);
                let change = Change::new().add_network(number(n)).publish(port);
                let own = Change::new().add_network(number(n));
                let own = Seen::of(&Ruleset::new().after(&own).unwrap());
                assert!(door.look(&change).unwrap().elements().eq(own.elements()), "network {n}");
                assert_eq!(door.change(&change).unwrap().steps().len(), 1);
                door.change(&Change::new().withdraw(port)).unwrap();
            }
        }
    });
}

#[test]
fn a_network_that_is_there_by_half_is_made_whole() {
    in_private("nftables::a_network_that_is_there_by_half_is_made_whole", || {
        if !has("nft") {
            return;
        }
        let everything = samples::all().pop().unwrap().rules;
        let whole = Seen::of(&everything);
        let change = all_of(&everything);
        let mut door = door();
        door.change(&change).unwrap();
        for element in whole.elements() {
            run(&format!(
                "nft delete element inet linkspan {} {{ {} }}",
                element.set().as_str(),
                key(&element)
            ));
            let steps = door.change(&change).unwrap().to_string();
            assert_eq!(
                steps,
                format!("add element inet linkspan {} {{ {element} }}\n", element.set().as_str())
            );
        }
        for gone in ["nft flush ruleset", "nft delete table inet linkspan"] {
            run(gone);
            let steps = door.change(&change).unwrap().to_string();
            assert!(steps.starts_with("add table inet linkspan\n"), "after {gone}: {steps}");
            assert!(door.reconcile(&everything).unwrap().is_empty());
        }
    });
}

/// What nft calls the place of an element.
fn key(element: &Element) -> String {
    let shown = element.to_string();
    shown.split(" : ").next().unwrap().to_owned()
}

#[test]
fn makers_and_removers_of_the_table_do_not_collide() {
    in_private("nftables::makers_and_removers_of_the_table_do_not_collide", || {
        let maker = |number: u16| {
            move || {
                let mut door = door();
                let bridge = format!("ls-{number}");
                let own =
                    network(&bridge, &[&format!("10.{number}.0.0/16"), &format!("fd00:{number:x}::/64")]);
                let port = publish(Protocol::Tcp, 1000 + number, &format!("10.{number}.0.2"), 80);
                let change = Change::new().add_network(own).publish(port);
                for round in 0..20 {
                    door.change(&change).unwrap();
                    let seen = door.look(&change).unwrap();
                    let plan = nftables::plan(Instance::default(), &change, &seen).unwrap();
                    assert!(plan.is_empty(), "{number} lost in round {round}: {plan}");
                    door.change(&change.inverse()).unwrap();
                }
            }
        };
        let threads: Vec<_> = (1..=8).map(|number| std::thread::spawn(maker(number))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(door().look_at_all().unwrap().table(), Table::Absent);
    });
}

#[test]
fn a_plan_that_drops_the_table_is_void_once_others_wrote() {
    in_private("nftables::a_plan_that_drops_the_table_is_void_once_others_wrote", || {
        let mut door = door();
        let a = Change::new().add_network(network("ls-a", &["10.0.0.0/24"]));
        let b = Change::new().add_network(network("ls-b", &["10.0.1.0/24"]));
        door.change(&a).unwrap();
        let seen = door.look(&a).unwrap();
        let stale = nftables::plan(Instance::default(), &a.inverse(), &seen).unwrap();
        assert_eq!(stale.to_string(), "delete table inet linkspan\n");
        door.change(&b).unwrap();
        let error = door.apply(&stale).unwrap_err();
        assert!(error.is_overtaken(), "{error}");
        assert_eq!(door.look_at_all().unwrap().bridges().count(), 2);
    });
}

#[test]
fn what_others_put_in_the_way_is_refused() {
    in_private("nftables::what_others_put_in_the_way_is_refused", || {
        if !has("nft") {
            return;
        }
        let mut door = door();
        let add = |bridge, subnet: &str| Change::new().add_network(network(bridge, &[subnet]));
        let a = Ruleset::new().after(&add("ls-a", "10.0.0.0/24")).unwrap();
        door.reconcile(&a).unwrap();
        run("nft add element inet linkspan guard4 { 10.1.0.0/16 }");
        let error = door.change(&add("ls-b", "10.1.1.0/24")).unwrap_err();
        assert_eq!(error.to_string(), "cannot add element inet linkspan guard4 { 10.1.1.0/24 }");
        // What is said of just this bridge or subnet is found before anything is tried.
        let mut refused = |said: &str| {
            feed("nft -f -", &format!("add element inet linkspan {said}\n"));
            let done = door.change(&add("ls-c", "10.2.1.0/24"));
            door.reconcile(&a).unwrap();
            matches!(done, Err(Error::BridgeTaken { .. }))
        };
        assert!(refused("internal { \"ls-c\" }"));
        assert!(refused("trusted4 { 10.2.1.0/24 . \"x\" }"));
        assert!(refused("snat4 { 10.2.1.0/24 : 192.0.2.1 }"));
        assert!(!refused("guard4 { 10.2.1.0/24 }"), "that is its own");
    });
}

#[test]
fn what_someone_added_of_a_network_that_is_whole_is_for_reconcile() {
    in_private("nftables::what_someone_added_of_a_network_that_is_whole_is_for_reconcile", || {
        if !has("nft") {
            return;
        }
        let web = Change::new().add_network(network("ls-a", &["10.0.0.0/24"]));
        door().change(&web).unwrap();
        feed("nft -f -", "add element inet linkspan internal { \"ls-a\" }\n");
        assert!(door().change(&web).unwrap().is_empty());
        let steps = door().reconcile(&Ruleset::new().after(&web).unwrap()).unwrap().to_string();
        assert_eq!(steps, "delete element inet linkspan internal { \"ls-a\" }\n");
    });
}

#[test]
fn a_network_is_not_planned_beside_one_that_was_not_seen() {
    in_private("nftables::a_network_is_not_planned_beside_one_that_was_not_seen", || {
        let (mut door, mut other) = (door(), door());
        let add = |bridge, subnet| Change::new().add_network(network(bridge, &[subnet]));
        door.change(&add("ls-a", "10.0.0.0/24")).unwrap();
        let (wide, narrow) = (add("ls-b", "10.1.0.0/16"), add("ls-c", "10.1.1.0/24"));
        let seen = door.look(&wide).unwrap();
        let stale = nftables::plan(Instance::default(), &wide, &seen).unwrap();
        other.change(&narrow).unwrap();
        assert!(door.apply(&stale).unwrap_err().is_overtaken());
        assert!(matches!(door.change(&wide), Err(Error::Overlap { .. })));
    });
}

#[test]
fn a_table_whose_user_chain_holds_rules_stays() {
    in_private("nftables::a_table_whose_user_chain_holds_rules_stays", || {
        if !has("nft") {
            return;
        }
        let change = Change::new().add_network(network("ls-a", &["10.0.0.0/24"]));
        let mut door = door();
        door.change(&change).unwrap();
        run("nft add rule inet linkspan linkspan-user ip saddr 10.0.0.9 drop");
        door.change(&change.inverse()).unwrap();
        let seen = door.look_at_all().unwrap();
        assert_eq!(seen.elements().count(), 0);
        assert_eq!(seen.table(), Table::Ours { layout: nftables::LAYOUT, user_rules: true });
        assert!(door.reconcile(&Ruleset::new()).unwrap().is_empty());
        assert!(run("nft list ruleset").contains("ip saddr 10.0.0.9 drop"));

        run("nft flush chain inet linkspan linkspan-user");
        door.change(&change).unwrap();
        door.change(&change.inverse()).unwrap();
        assert_eq!(run("nft list ruleset"), "");
    });
}

/// The handle of the rule that begins with these words.
fn handle(chain: &str, rule: &str) -> String {
    let listed = run(&format!("nft -a list chain inet linkspan {chain}"));
    let line = listed.lines().find(|line| line.trim().starts_with(rule)).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

/// Damages the table by these commands of nft, and expects just these steps.
fn mended(damage: &[&str], expected: &str) {
    let everything = samples::all().pop().unwrap().rules;
    let golden = sorted(&nftables::text(Instance::default(), &everything));
    damage.iter().for_each(|command| drop(run(command)));
    let steps = door().reconcile(&everything).unwrap().to_string();
    assert_eq!(steps, expected, "after {damage:?}");
    assert_eq!(sorted(&run("nft list table inet linkspan")), golden, "after {damage:?}");
    assert!(door().reconcile(&everything).unwrap().is_empty());
}

#[test]
fn damage_is_named_and_mended() {
    in_private("nftables::damage_is_named_and_mended", || {
        if !has("nft") {
            return;
        }
        let everything = samples::all().pop().unwrap().rules;
        let elements = Seen::of(&everything);
        let add = |e: Element| format!("add element inet linkspan {} {{ {e} }}\n", e.set().as_str());
        let whole: String = elements.elements().map(add).collect();
        let whole = format!("add table inet linkspan\n{whole}");
        mended(&[], &whole);
        mended(&["nft flush ruleset"], &whole);
        mended(&["nft delete table inet linkspan"], &whole);
        let guarded: String = elements.elements().filter(|e| e.set() == Set::Guard4).map(add).collect();
        mended(&["nft flush set inet linkspan guard4"], &guarded);
        mended(
            &["nft delete element inet linkspan pub4 { tcp . 8080 }"],
            "add element inet linkspan pub4 { tcp . 8080 : 10.88.1.2 . 80 }\n",
        );
        mended(
            &["nft add element inet linkspan pub4 { tcp . 9 : 10.9.9.9 . 9 }"],
            "delete element inet linkspan pub4 { tcp . 9 : 10.9.9.9 . 9 }\n",
        );
        mended(
            &["nft flush map inet linkspan pub4at", "nft flush chain inet linkspan forward"],
            "flush chain inet linkspan forward\n\
             add element inet linkspan pub4at { 127.0.0.1 . tcp . 8083 : 10.88.2.2 . 80 }\n\
             add element inet linkspan pub4at { 127.0.0.1 . tcp . 8090 : 10.88.10.2 . 80 }\n\
             add element inet linkspan pub4at { 192.0.2.1 . tcp . 8084 : 10.88.2.2 . 80 }\n",
        );
    });
}

#[test]
fn a_rule_that_stands_for_another_is_noticed() {
    in_private("nftables::a_rule_that_stands_for_another_is_noticed", || {
        if !has("nft") {
            return;
        }
        let everything = samples::all().pop().unwrap().rules;
        door().reconcile(&everything).unwrap();
        let replaced = |chain: &str, rule: &str, by: &str| {
            let number = handle(chain, rule);
            let command = format!("nft replace rule inet linkspan {chain} handle {number} {by}");
            mended(&[&command], &format!("flush chain inet linkspan {chain}\n"));
        };
        replaced("to_nat", "drop", "accept");
        replaced("to_nat", "ct status", "ct status snat accept");
        replaced("to_nat", "ct state", "ct state established,related,new accept");
        replaced("to_nat", "ct status", "counter ct status dnat accept");
        replaced("early", "iifname @bridges ip saddr", "iifname @bridges ip saddr 126.0.0.0/8 drop");
        replaced("early", "iifname @bridges ip saddr", "iifname != @bridges ip saddr 127.0.0.0/8 drop");
        replaced("forward", "iifname @internal", "iifname @bridges drop");
        replaced("forward", "jump", "goto linkspan-user");
        replaced("prerouting", "fib", "fib daddr type != local jump publish");
        replaced("postrouting", "ip saddr @masq4", "ip saddr @masq4 masquerade random");
        replaced("postrouting", "snat ip to", "snat ip to ip saddr map @snat4 persistent");
        replaced("publish", "dnat ip to meta", "dnat ip to meta l4proto . th dport map @pub4 random");

        // Another order is another meaning.
        let last = handle("to_nat", "drop");
        mended(
            &[
                &format!("nft delete rule inet linkspan to_nat handle {last}"),
                "nft insert rule inet linkspan to_nat drop",
            ],
            "flush chain inet linkspan to_nat\n",
        );
        mended(&["nft add rule inet linkspan to_nat accept"], "flush chain inet linkspan to_nat\n");
    });
}

#[test]
fn a_chain_that_stands_elsewhere_is_noticed() {
    in_private("nftables::a_chain_that_stands_elsewhere_is_noticed", || {
        if !has("nft") {
            return;
        }
        let everything = samples::all().pop().unwrap().rules;
        door().reconcile(&everything).unwrap();
        mended(
            &["nft add chain inet linkspan forward { policy drop ; }"],
            "flush chain inet linkspan forward\n",
        );
        let gone = ["nft flush chain inet linkspan early", "nft delete chain inet linkspan early"];
        mended(&gone, "flush chain inet linkspan early\n");
        let elsewhere = "nft add chain inet linkspan early { type filter hook prerouting priority 0 ; }";
        mended(&[&gone[..], &[elsewhere]].concat(), "delete chain inet linkspan early\n");
        let nowhere = "nft add chain inet linkspan early";
        mended(&[&gone[..], &[nowhere]].concat(), "delete chain inet linkspan early\n");
        mended(
            &["nft delete chain inet linkspan layout_4"],
            "rename chain inet linkspan layout_0 layout_4\n",
        );
    });
}

#[test]
fn what_nft_saved_and_restored_needs_no_mending() {
    in_private("nftables::what_nft_saved_and_restored_needs_no_mending", || {
        if !has("nft") {
            return;
        }
        let everything = samples::all().pop().unwrap().rules;
        door().reconcile(&everything).unwrap();
        // nft 1.0.6 prints this name of a priority, and does not take it.
        let saved = run("nft list ruleset").replace("priority dstnat", "priority -100");
        run("nft flush ruleset");
        feed("nft -f -", &saved);
        assert_eq!(door().reconcile(&everything).unwrap().to_string(), "");
    });
}

/// Makes the table one of layout 3: isolated networks are internal ones.
fn age_to_3() {
    let number = handle("early", "iifname @isolated");
    run(&format!("nft delete rule inet linkspan early handle {number}"));
    run("nft delete set inet linkspan isolated");
    run("nft rename chain inet linkspan layout_4 layout_3");
}

/// Makes the table one of layout 2, where every port is open to trusted links.
fn age_to_2() {
    age_to_3();
    for (family, set) in [("ip", "trusted4"), ("ip6", "trusted6")] {
        let number = handle("to_nat", &format!("{family} daddr"));
        let rule = format!("{family} daddr . iifname @{set} accept");
        run(&format!("nft replace rule inet linkspan to_nat handle {number} {rule}"));
    }
    run("nft rename chain inet linkspan layout_3 layout_2");
}

/// Makes the table one of layout 1: a set that layout 2 has is missing, and its rules are.
fn age_to_1() {
    age_to_3();
    for (chain, rules) in [("early", &["iifname != @bridges ip"][..]), ("to_nat", &["ip daddr", "ip6 daddr"])]
    {
        for rule in rules {
            let number = handle(chain, rule);
            run(&format!("nft delete rule inet linkspan {chain} handle {number}"));
        }
    }
    let number = handle("early", "iifname != @bridges ip6");
    run(&format!("nft delete rule inet linkspan early handle {number}"));
    run("nft delete set inet linkspan trusted4");
    run("nft rename chain inet linkspan layout_3 layout_1");
}

/// The elements of the table in the bytes that nft prints them from.
fn elements() -> Vec<String> {
    let printed = run("nft --debug=netlink list table inet linkspan");
    let elements = printed.lines().filter(|line| line.trim_start().starts_with("element"));
    let mut elements: Vec<_> = elements.map(str::to_owned).collect();
    // The kernel lists a set in another order once it has made it larger, which it does later.
    elements.sort_unstable();
    elements
}

#[test]
fn an_older_layout_is_swapped_and_every_element_stays() {
    in_private("nftables::an_older_layout_is_swapped_and_every_element_stays", || {
        if !has("nft") {
            return;
        }
        let plain = |n: &&Network| n.trusted().next().is_none() && n.access() != Access::Isolated;
        let everything = samples::all().pop().unwrap().rules;
        let networks = everything.networks().filter(plain).cloned();
        let change = networks.fold(Change::new(), Change::add_network);
        let rules = Ruleset::new().after(&change.publish_all(everything.published().copied())).unwrap();
        let swapped = |age: fn(), expected: &str, swap: &dyn Fn() -> String| {
            door().reconcile(&rules).unwrap();
            run("nft add rule inet linkspan linkspan-user ip saddr { 10.0.0.9, 10.0.0.11 } counter drop");
            run("nft add set inet linkspan mine { type ipv4_addr ; elements = { 10.0.0.7 } ; }");
            let (before, text) = (elements(), sorted(&run("nft -a list table inet linkspan")));
            assert!(before.len() > 30, "{before:?}");
            age();
            assert_eq!(swap(), expected);
            assert_eq!(elements(), before);
            // Handles tell that sets, and the user's chain and rule, are the same ones as before.
            let after = sorted(&run("nft -a list table inet linkspan"));
            for kept in ["linkspan-user {", "10.0.0.11 }", "set mine", "map pub4 ", "set own4 "] {
                let line = |text: &str| text.lines().find(|l| l.contains(kept)).unwrap().to_owned();
                assert_eq!(line(&after), line(&text));
            }
            assert!(door().reconcile(&rules).unwrap().is_empty());
            run("nft delete table inet linkspan");
        };
        let from_1 = "rename chain inet linkspan layout_1 layout_4\n\
                      flush chain inet linkspan to_nat\nflush chain inet linkspan early\n";
        let from_2 = "rename chain inet linkspan layout_2 layout_4\n\
                      flush chain inet linkspan to_nat\nflush chain inet linkspan early\n";
        let from_3 = "rename chain inet linkspan layout_3 layout_4\nflush chain inet linkspan early\n";
        for (age, expected) in [(age_to_1 as fn(), from_1), (age_to_2, from_2), (age_to_3, from_3)] {
            swapped(age, expected, &|| door().reconcile(&rules).unwrap().to_string());
            let change = Change::between(&Ruleset::new(), &rules);
            swapped(age, expected, &|| door().change(&change).unwrap().to_string());
        }
        let (port, mut changing) = (publish(Protocol::Tcp, 80, "10.88.1.2", 80), door());
        door().reconcile(&rules).unwrap();
        age_to_1();
        let steps = changing.change(&Change::new().publish(port)).unwrap().to_string();
        assert!(
            steps.starts_with("rename chain") && steps.contains("{ tcp . 80 : 10.88.1.2 . 80 }"),
            "{steps}"
        );
    });
}

#[test]
fn several_that_swap_the_layout_at_once_do_not_collide() {
    in_private("nftables::several_that_swap_the_layout_at_once_do_not_collide", || {
        if !has("nft") {
            return;
        }
        let web = network("ls-a", &["10.0.0.0/24"]);
        let mine = |n: u16| publish(Protocol::Tcp, n, "10.0.0.2", n);
        for _ in 0..5 {
            door().change(&Change::new().add_network(web.clone())).unwrap();
            age_to_1();
            let swap = |n| move || door().change(&Change::new().publish(mine(n))).unwrap().to_string();
            let threads: Vec<_> = (1..=8).map(|n| std::thread::spawn(swap(n))).collect();
            let steps: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert_eq!(steps.iter().filter(|steps| steps.contains("rename chain")).count(), 1, "{steps:?}");
            let rules = Change::new().add_network(web.clone()).publish_all((1..=8).map(mine));
            assert!(door().reconcile(&Ruleset::new().after(&rules).unwrap()).unwrap().is_empty());
            run("nft delete table inet linkspan");
        }
    });
}

#[test]
fn a_newer_layout_is_refused_and_left_alone() {
    in_private("nftables::a_newer_layout_is_refused_and_left_alone", || {
        if !has("nft") {
            return;
        }
        let web = Change::new().add_network(network("ls-a", &["10.0.0.0/24"]));
        let port = Change::new().publish(publish(Protocol::Tcp, 80, "10.0.0.2", 80));
        let mut seen_before = door();
        seen_before.change(&web).unwrap();
        assert!(matches!(seen_before.look(&web).unwrap().table(), Table::Ours { .. }));
        // It is one of a newer version by then, but the handles of its chains are those that the door saw.
        run("nft rename chain inet linkspan layout_4 layout_999");
        let before = run("nft -a list ruleset");
        for change in [&port, &web.clone().inverse(), &web] {
            let error = seen_before.change(change).unwrap_err();
            assert_eq!(error.to_string(), "table `inet linkspan` has layout 999, which is newer than 4");
            assert!(matches!(door().change(change), Err(Error::Layout { seen: 999, .. })));
        }
        assert!(matches!(door().reconcile(&Ruleset::new()), Err(Error::Layout { seen: 999, .. })));
        assert_eq!(run("nft -a list ruleset"), before);
    });
}

#[test]
fn rules_of_others_are_not_touched() {
    in_private("nftables::rules_of_others_are_not_touched", || {
        if !has("nft") {
            return;
        }
        run("nft add table inet filter");
        run("nft add chain inet filter forward { type filter hook forward priority 0; }");
        run("nft add rule inet filter forward iifname x drop");
        let before = run("nft list ruleset");
        let mut other = Nftables::open("other".parse().unwrap()).unwrap();
        for sample in samples::all() {
            let change = all_of(&sample.rules);
            other.change(&Change::new().add_network(network("ls-a", &["10.88.0.0/16"]))).unwrap();
            door().change(&change).unwrap();
            other.change(&Change::new().remove_network(network("ls-a", &["10.88.0.0/16"]))).unwrap();
            door().change(&change.inverse()).unwrap();
        }
        assert_eq!(run("nft list ruleset"), before);
    });
}

#[test]
fn a_table_of_others_is_refused() {
    in_private("nftables::a_table_of_others_is_refused", || {
        if !has("nft") {
            return;
        }
        let change = Change::new().add_network(network("ls-a", &["10.0.0.0/24"]));
        run("nft add table inet linkspan");
        assert!(matches!(door().change(&change), Err(Error::ForeignTable { .. })));
    });
}

#[test]
fn a_port_that_leads_elsewhere_is_a_conflict() {
    in_private("nftables::a_port_that_leads_elsewhere_is_a_conflict", || {
        let at = |to| publish(Protocol::Udp, 53, to, 53);
        let mut door = door();
        door.change(&Change::new().publish(at("10.0.0.2"))).unwrap();
        let error = door.change(&Change::new().publish(at("10.0.0.3"))).unwrap_err();
        assert!(matches!(error, Error::PortTaken { holder, .. } if holder == at("10.0.0.2").to()));
        door.change(&Change::new().withdraw(at("10.0.0.2")).publish(at("10.0.0.3"))).unwrap();
        assert_eq!(door.look_at_all().unwrap().published().collect::<Vec<_>>(), [at("10.0.0.3")]);
    });
}

#[test]
fn a_refused_step_is_named_and_nothing_is_done() {
    in_private("nftables::a_refused_step_is_named_and_nothing_is_done", || {
        let mut door = door();
        let at = |to| publish(Protocol::Tcp, 80, to, 80);
        door.change(&Change::new().publish(at("10.0.0.2"))).unwrap();
        let before = door.look_at_all().unwrap();
        // A plan from an empty sight of a table that is there.
        let made =
            nftables::plan(Instance::default(), &Change::new().publish(at("10.0.0.2")), &Seen::default());
        let error = door.apply(&made.unwrap()).unwrap_err();
        assert!(
            matches!(&error, Error::Refused { step, source: Errno::EEXIST, .. } if step == "add table inet linkspan")
        );
        assert!(error.is_overtaken());
        let stolen = Change::new().publish(publish(Protocol::Tcp, 81, "10.0.0.3", 1)).publish(at("10.0.0.3"));
        let blind = nftables::plan(Instance::default(), &stolen, &Seen::of(&Ruleset::new())).unwrap();
        let error = door.apply(&blind).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot add element inet linkspan pub4 { tcp . 80 : 10.0.0.3 . 80 } with 1 others"
        );
        assert!(door.look_at_all().unwrap().elements().eq(before.elements()));
    });
}
