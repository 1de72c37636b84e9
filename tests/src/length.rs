//! How long a test goes on: minutes together with all others, or a night in `cargo xtask soak`.

use std::env;

/// `short` in every run of the tests, `long` in `cargo xtask soak`.
pub(crate) fn length<T>(short: T, long: T) -> T {
    if env::var_os("LINKSPAN_SOAK").is_some() { long } else { short }
}

/// What is wished otherwise, by a variable of this name.
pub(crate) fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
