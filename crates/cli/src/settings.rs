//! How the host is opened: flags first, then the environment, then the library's defaults.

use crate::args::{Forwarding, Global};
use crate::fault::{Fault, chain};
use linkspan::{Builder, Firewall, Host};
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The global options, with what the environment says of those that were not given.
#[derive(Debug)]
pub(crate) struct Settings {
    global: Global,
}

impl Settings {
    /// Looks into the environment where a flag was not given; an empty variable says nothing.
    pub(crate) fn of(global: Global) -> Result<Self, Fault> {
        Self::with(global, |name| env::var_os(name))
    }

    fn with(global: Global, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Fault> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let run_dir = global.run_dir.or_else(|| variable("LINKSPAN_RUN_DIR").map(PathBuf::from));
        let state_dir = global.state_dir.or_else(|| variable("LINKSPAN_STATE_DIR").map(PathBuf::from));
        let firewall = match global.firewall {
            None => variable("LINKSPAN_FIREWALL").map(|value| firewall(&value)).transpose()?,
            given => given,
        };
        Ok(Self { global: Global { run_dir, state_dir, firewall, ..global } })
    }

    /// Opens the host that the command works on.
    pub(crate) fn open(&self) -> Result<Host, Fault> {
        let builder = self.global.run_dir.iter().fold(self.builder(), Builder::run_dir);
        Ok(self.global.state_dir.iter().fold(builder, Builder::state_dir).open()?)
    }

    /// What was said that is not about folders.
    pub(crate) fn builder(&self) -> Builder {
        let builder = self.global.instance.into_iter().fold(Host::builder(), Builder::instance);
        let builder = self.global.firewall.into_iter().fold(builder, Builder::firewall);
        match self.global.forwarding {
            Some(Forwarding::Off) => builder.leave_forwarding(),
            Some(Forwarding::Auto) | None => builder,
        }
    }
}

fn firewall(value: &OsStr) -> Result<Firewall, Fault> {
    let text = value.to_string_lossy();
    text.parse()
        .map_err(|why| Fault::Usage(format!("invalid value '{text}' for LINKSPAN_FIREWALL: {}", chain(&why))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;

    fn check(flags: &[&str], variables: &[(&str, &str)], expected: &str) {
        let cli = Cli::try_parse_from([&["linkspan"], flags, &["ps"]].concat()).unwrap();
        let variable = |name: &str| Some(variables.iter().find(|(n, _)| *n == name)?.1.into());
        let shown = match Settings::with(cli.global, variable) {
            Ok(Settings { global: Global { run_dir, state_dir, firewall, .. } }) => {
                format!("{run_dir:?} {state_dir:?} {firewall:?}")
            }
            Err(fault) => fault.line(),
        };
        assert_eq!(shown, expected, "{flags:?} {variables:?}");
    }

    #[test]
    fn a_flag_comes_before_the_environment() {
        check(&[], &[], "None None None");
        check(&["--run-dir", "/a"], &[("LINKSPAN_RUN_DIR", "/b")], "Some(\"/a\") None None");
        check(&[], &[("LINKSPAN_STATE_DIR", "/b"), ("LINKSPAN_RUN_DIR", "")], "None Some(\"/b\") None");
        check(&[], &[("LINKSPAN_FIREWALL", "iptables")], "None None Some(Iptables)");
        check(&["--firewall", "none"], &[("LINKSPAN_FIREWALL", "pf")], "None None Some(None)");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let line = "invalid value 'pf' for LINKSPAN_FIREWALL: a firewall is nftables, iptables or none; see `linkspan help`";
        check(&[], &[("LINKSPAN_FIREWALL", "pf")], line);
    }
}
