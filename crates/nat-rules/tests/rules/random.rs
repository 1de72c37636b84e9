//! Rules of others at random, in the words of nft and of iptables.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A rule set: base chains, each with its rules, and two chains that they may jump to.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    bases: Vec<(Base, Vec<Rule>, bool)>,
    chains: [Vec<Rule>; 2],
}

/// A hook with a priority: the words of nft, and the table and chain of iptables.
type Base = (&'static str, &'static str, &'static str, &'static str);

/// What it looks at, and what it does: words of nft, and of iptables.
#[derive(Clone, Copy, Debug)]
struct Rule {
    when: Words,
    act: Words,
}

type Words = (&'static str, &'static str);

const BASES: [Base; 10] = [
    ("prerouting", "-300", "raw", "PREROUTING"),
    ("prerouting", "-150", "mangle", "PREROUTING"),
    ("input", "0", "filter", "INPUT"),
    ("input", "-150", "mangle", "INPUT"),
    ("forward", "0", "filter", "FORWARD"),
    ("forward", "0", "filter", "FORWARD"),
    ("forward", "-150", "mangle", "FORWARD"),
    ("output", "0", "filter", "OUTPUT"),
    ("output", "-300", "raw", "OUTPUT"),
    ("postrouting", "-150", "mangle", "POSTROUTING"),
];

/// Of IPv4 and of IPv6, those that every hook takes.
const WHENS: [Words; 22] = [
    ("", ""),
    ("meta l4proto tcp", "-p tcp"),
    ("meta l4proto != tcp", "! -p tcp"),
    ("udp dport 80", "-p udp --dport 80"),
    ("tcp dport 80", "-p tcp --dport 80"),
    ("tcp dport 8080", "-p tcp --dport 8080"),
    ("tcp dport != 80-90", "-p tcp ! --dport 80:90"),
    ("tcp dport { 79, 80-81, 5300 }", "-p tcp -m multiport --dports 79,80:81,5300"),
    ("tcp sport 80", "-p tcp --sport 80"),
    ("ip saddr 10.88.1.2", "-s 10.88.1.2"),
    ("ip saddr 10.88.0.0/16", "-s 10.88.0.0/16"),
    ("ip daddr 10.88.1.2", "-d 10.88.1.2"),
    ("ip daddr != 10.88.1.0/30", "! -d 10.88.1.0/30"),
    ("ip saddr 192.0.2.0/29", "-s 192.0.2.0/29"),
    ("ct state new", "-m conntrack --ctstate NEW"),
    ("ct state established,related", "-m conntrack --ctstate ESTABLISHED,RELATED"),
    ("ct state != invalid", "-m conntrack ! --ctstate INVALID"),
    ("ct status dnat", "-m conntrack --ctstate DNAT"),
    ("fib daddr type local", "-m addrtype --dst-type LOCAL"),
    ("fib daddr type != local", "-m addrtype ! --dst-type LOCAL"),
    ("tcp flags & (fin|syn|rst|ack) == syn", "-p tcp --tcp-flags FIN,SYN,RST,ACK SYN"),
    ("limit rate 1000/second", "-m limit --limit 1000/second"),
];
const ACTS: [Words; 9] = [
    ("counter", ""),
    ("accept", "-j ACCEPT"),
    ("accept", "-j ACCEPT"),
    ("drop", "-j DROP"),
    ("drop", "-j DROP"),
    ("return", "-j RETURN"),
    ("jump one", "-j one"),
    ("goto two", "-g two"),
    ("goto one", "-g one"),
];

fn rule(last: bool) -> impl Strategy<Value = Rule> {
    // The last chain jumps nowhere.
    let acts = if last { &ACTS[..6] } else { &ACTS[..] };
    (select(&WHENS[..]), select(acts)).prop_map(|(when, act)| Rule { when, act })
}

pub(crate) fn any_rules() -> impl Strategy<Value = Random> {
    let base = (select(&BASES[..]), vec(rule(false), 0..5), any::<bool>());
    // Chain one may go to chain two, but not back.
    let one = vec(rule(true), 0..4);
    (vec(base, 1..3), one, vec(rule(true), 0..4))
        .prop_map(|(bases, one, two)| Random { bases, chains: [one, two] })
}

impl Random {
    pub(crate) fn nft(&self) -> String {
        let rule = |rule: &Rule| format!("{} {}\n", rule.when.0, rule.act.0);
        let rules = |rules: &[Rule]| rules.iter().map(rule).collect::<String>();
        let named = ["one", "two"].into_iter().zip(&self.chains);
        let mut text: String =
            named.map(|(name, of)| format!("chain {name} {{\n{}}}\n", rules(of))).collect();
        for (i, ((hook, priority, ..), of, drops)) in self.bases.iter().enumerate() {
            let policy = if *drops { "drop" } else { "accept" };
            text +=
                &format!("chain base{i} {{\ntype filter hook {hook} priority {priority}; policy {policy};\n");
            text += &(rules(of) + "}\n");
        }
        format!("table inet dice {{\n{text}}}\n")
    }

    /// Of one family, whose addresses alone may stand in it.
    pub(crate) fn iptables(&self, v6: bool) -> String {
        let fits = |rule: &&Rule| !(v6 && rule.when.0.starts_with("ip "));
        let lines = |chain: &str, rules: &[Rule]| {
            let line = |rule: &Rule| format!("-A {chain} {} {}\n", rule.when.1, rule.act.1);
            rules.iter().filter(fits).map(line).collect::<String>()
        };
        let table = |name: &str| {
            let bases = || self.bases.iter().filter(|((_, _, table, _), ..)| *table == name);
            let declared = bases().map(|((.., chain), _, drops)| {
                format!(":{chain} {} [0:0]\n", if *drops { "DROP" } else { "ACCEPT" })
            });
            let declared: String = declared.collect();
            if declared.is_empty() {
                return declared;
            }
            let of_bases: String = bases().map(|((.., chain), of, _)| lines(chain, of)).collect();
            let [one, two] = &self.chains;
            let chains = lines("one", one) + &lines("two", two);
            format!("*{name}\n{declared}:one - [0:0]\n:two - [0:0]\n{of_bases}{chains}COMMIT\n")
        };
        ["raw", "mangle", "filter"].map(table).concat()
    }
}
