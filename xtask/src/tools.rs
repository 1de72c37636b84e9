//! The programs that tests use as independent witnesses; linkspan itself needs none of them but `iptables`.

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::cargo::search_path;
use crate::skips::Rights;
use crate::user;

/// A program and the Debian package that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tool {
    program: &'static str,
    package: &'static str,
}

const TOOLS: [Tool; 15] = [
    Tool { program: "conntrack", package: "conntrack" },
    Tool { program: "hostname", package: "hostname" },
    Tool { program: "ip", package: "iproute2" },
    Tool { program: "ip6tables", package: "iptables" },
    Tool { program: "iptables", package: "iptables" },
    Tool { program: "nft", package: "nftables" },
    Tool { program: "nsenter", package: "util-linux" },
    Tool { program: "python3", package: "python3" },
    Tool { program: "script", package: "bsdutils" },
    Tool { program: "setpriv", package: "util-linux" },
    Tool { program: "strace", package: "strace" },
    Tool { program: "sysctl", package: "procps" },
    Tool { program: "unshare", package: "util-linux" },
    Tool { program: "valgrind", package: "valgrind" },
    Tool { program: "which", package: "debianutils" },
];

/// Installs what is missing where that is possible, and names what stays missing.
///
/// Returns the programs that are missing because nothing can be installed here.
pub(crate) fn ensure() -> io::Result<Vec<&'static str>> {
    let may_install = user::rights()? == Rights::Root && is_found("apt-get");
    let wanted = packages(&missing(is_found));
    if may_install && !wanted.is_empty() {
        install(&wanted)?;
    }
    let missing = missing(is_found);
    for tool in &missing {
        println!(
            "missing: {} (Debian package {}); tests that need it are skipped",
            tool.program, tool.package
        );
    }
    Ok(if may_install { Vec::new() } else { missing.iter().map(|tool| tool.program).collect() })
}

fn missing(is_found: impl Fn(&str) -> bool) -> Vec<Tool> {
    TOOLS.into_iter().filter(|tool| !is_found(tool.program)).collect()
}

fn packages(tools: &[Tool]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn install(packages: &[&str]) -> io::Result<()> {
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends"]] {
        let mut apt = Command::new("apt-get");
        apt.arg("-qq").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        if arguments[0] == "install" {
            apt.args(packages);
        }
        println!("$ apt-get {} {}", arguments.join(" "), packages.join(" "));
        // What could not be installed stays missing, which is said afterwards.
        apt.status()?;
    }
    Ok(())
}

/// Looks where every user may: a program in this user's home is not there for another.
fn is_found(program: &str) -> bool {
    let home = env::var_os("HOME").filter(|home| home != "/");
    let is_private = |folder: &Path| home.as_ref().is_some_and(|home| folder.starts_with(home));
    env::split_paths(&search_path()).any(|folder| !is_private(&folder) && folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_asked_for_once() {
        let without_iptables = missing(|program| !program.ends_with("tables"));
        assert_eq!(packages(&without_iptables), ["iptables"]);
        assert!(missing(|_| true).is_empty());
    }

    #[test]
    fn the_tools_are_in_order() {
        assert!(TOOLS.is_sorted_by_key(|tool| tool.program));
    }
}
