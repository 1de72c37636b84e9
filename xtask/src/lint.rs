//! Formatting and lints, part of `ci`.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::cargo::{cargo, step};
use crate::outcome::Outcome;
use crate::pure_halves;

/// Checks the whole workspace, the subject crates without their door to the kernel, and other targets.
pub(crate) fn run() -> io::Result<Outcome> {
    let mut outcome = step("format", &mut cargo(["fmt", "--all", "--check"]))?;
    let everything = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    outcome += step("clippy", &mut cargo(everything))?;
    for package in pure_halves::CRATES {
        let arguments = ["clippy", "-p", package, "--no-default-features", "--", "-D", "warnings"];
        outcome += step(&format!("clippy of {package} without the kernel"), &mut cargo(arguments))?;
    }
    outcome += check_targets()?;
    Ok(outcome)
}

/// What differs from the machine of most authors: another sign of `c_char`, and another C library.
const TARGETS: [&str; 2] = ["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl"];

/// Compiles, but does not link, for the targets that the toolchain has a standard library for.
fn check_targets() -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    for target in TARGETS {
        if has_library_for(target)? {
            let arguments = ["check", "--quiet", "-p", "linkspan-cli", "--all-features", "--target", target];
            outcome += step(&format!("check for {target}"), &mut cargo(arguments))?;
        } else {
            println!("not checked for {target}: `rustup target add {target}` makes it possible");
        }
    }
    Ok(outcome)
}

/// Whether the toolchain has a standard library for this target.
pub(crate) fn has_library_for(target: &str) -> io::Result<bool> {
    Ok(sysroot()?.join("lib/rustlib").join(target).is_dir())
}

fn sysroot() -> io::Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output()?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
