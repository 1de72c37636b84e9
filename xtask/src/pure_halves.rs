//! The subject crates without their door to the kernel: they compile, and reach no kernel crate.

use std::io;

use crate::cargo::{cargo, step};
use crate::outcome::Outcome;

/// The crates whose feature `kernel` can be left out.
pub(crate) const CRATES: [&str; 4] =
    ["linkspan-ipam", "linkspan-netns", "linkspan-veth-bridge", "linkspan-nat-rules"];

/// Compiles each with its tests, and looks at what it depends on; and compiles the facade.
pub(crate) fn check() -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    for package in CRATES {
        let arguments = ["check", "--quiet", "-p", package, "--no-default-features", "--lib", "--tests"];
        outcome += step(&format!("{package} without the kernel"), &mut cargo(arguments))?;
        outcome += check_dependencies(package)?;
    }
    // The facade keeps its records in files with or without a kernel: all that is asked of it is that it compiles.
    let facade = ["check", "--quiet", "-p", "linkspan", "--no-default-features", "--lib"];
    outcome += step("linkspan without the kernel", &mut cargo(facade))?;
    Ok(outcome)
}

fn check_dependencies(package: &str) -> io::Result<Outcome> {
    let arguments = ["tree", "-p", package, "-e", "normal", "--no-default-features", "--prefix", "none"];
    let output = cargo(arguments).output()?;
    if !output.status.success() {
        return Ok(Outcome::failed(format!("{package}: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    Ok(match kernel_crates(&tree).as_slice() {
        [] => Outcome::passed(),
        reached => Outcome::failed(format!("{package} without the kernel reaches {}", reached.join(", "))),
    })
}

/// The crates of a `cargo tree --prefix none` that speak with the kernel.
fn kernel_crates(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| matches!(*name, "nix" | "linkspan-netlink") || name.starts_with("netlink-")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_that_speak_with_the_kernel_are_named() {
        let tree = "linkspan-ipam v0.1.0 (/w/crates/ipam)\nipnet v2.11.0\nserde v1.0.0\nunix-path v1.0.0\n";
        assert!(kernel_crates(tree).is_empty());
        let tree = format!("{tree}linkspan-netlink v0.1.0 (/w)\nnetlink-sys v0.9.0\nnix v0.31.0\n");
        assert_eq!(kernel_crates(&tree), ["linkspan-netlink", "netlink-sys", "nix"]);
    }
}
