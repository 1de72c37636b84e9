//! Makes a function of each block of Rust in the README, so that a test can run what readers read; and says for which
//! target programs are linked statically.

use std::env;
use std::fs;
use std::path::Path;

const README: &str = "../README.md";

fn main() {
    println!("cargo::rerun-if-changed={README}");
    let text = fs::read_to_string(README).expect("the README is beside this package");
    let functions: String = blocks(&text).enumerate().map(function).collect();
    let folder = env::var_os("OUT_DIR").expect("cargo says where to");
    fs::write(Path::new(&folder).join("readme.rs"), functions).expect("cargo made the folder");
    let target = env::var("TARGET").expect("cargo says for what");
    println!("cargo::rustc-env=STATIC_TARGET={}", target.replace("gnu", "musl"));
}

/// What stands between a line with the mark of Rust and the next mark.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n```rust\n").skip(1).filter_map(|rest| rest.split("\n```").next())
}

/// The reader has a process whose number is `pid`.
fn function((number, block): (usize, &str)) -> String {
    format!("fn block_{number}(pid: Pid) -> Result<(), Box<dyn std::error::Error>> {{\n{block}\nOk(())\n}}\n")
}
