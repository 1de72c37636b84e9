//! The text of each sample for each backend, beside this crate in `rulesets/`. With `LINKSPAN_BLESS=1` the
//! files are written anew; the difference is then for a reviewer to read.

use crate::samples::{self, Sample};
use linkspan_nat_rules::iptables::{self, Family};
use linkspan_nat_rules::{Instance, nftables};
use std::fs;
use std::path::Path;

#[test]
fn every_backend_writes_what_was_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rulesets");
    let bless = std::env::var_os("LINKSPAN_BLESS").is_some();
    for sample in samples::all() {
        let path = folder.join(sample.name).with_extension("txt");
        if bless {
            fs::write(&path, text(&sample)).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text(&sample), golden, "{} differs; bless it if it is meant", path.display());
    }
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut samples: Vec<_> = samples::all().into_iter().map(|sample| sample.name.to_owned()).collect();
    files.sort();
    samples.sort();
    assert_eq!(files, samples, "each file has its sample");
}

fn text(sample: &Sample) -> String {
    let instance = Instance::default();
    let Sample { rules, .. } = sample;
    format!(
        "# nftables\n{}\n# iptables\n{}\n# ip6tables\n{}",
        nftables::text(instance, rules),
        iptables::text(instance, rules, Family::V4),
        iptables::text(instance, rules, Family::V6),
    )
}
