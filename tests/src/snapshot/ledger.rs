//! What a file of claims or leases comes to, which is only appended to.

use std::collections::BTreeMap;

/// What is claimed and leased at the end of a ledger, a line each; what is kept the state folder says.
///
/// A claim goes with all others of its owner, a lease by its address.
pub(super) fn had(ledger: &str) -> Vec<String> {
    let mut claims: Vec<(&str, String)> = Vec::new();
    let mut leases = BTreeMap::new();
    for line in ledger.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            // The number of a namespace is never given twice, and is in the record of its owner.
            ["claimed", owner, "netns", ..] => claims.push((owner, "netns".to_owned())),
            ["claimed", owner, ref what @ .., _, _] => claims.push((owner, what.join(" "))),
            ["freed", owner, ..] => claims.retain(|(other, _)| *other != owner),
            ["lease", address, owner, ..] => drop(leases.insert(address, owner)),
            ["release", address, ..] => drop(leases.remove(address)),
            _ => {}
        }
    }
    let claims = claims.into_iter().map(|(owner, what)| format!("{owner} has {what}"));
    claims.chain(leases.into_iter().map(|(address, owner)| format!("{owner} has {address}"))).collect()
}

#[test]
fn what_was_given_back_is_had_by_nobody() {
    let claims = "ledger 1 + 43\nclaimed a name x + d0\nclaimed a netns 37 + 68\nclaimed b port tcp 80 . b1\nfreed a . 50\n";
    assert_eq!(had(claims), ["b has port tcp 80"]);
    let leases = "lease 10.0.0.2 a . e\nlease 10.0.0.3 b + f\nkeep 10.0.0.2 x . 1\nrelease 10.0.0.2 + 2\nlease 10.0.0.3 c . 3\n";
    assert_eq!(had(leases), ["c has 10.0.0.3"]);
}
