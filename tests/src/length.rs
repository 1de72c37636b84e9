//! How long a test goes on: minutes together with all others, or a night in `cargo xtask soak`.

use std::env;
use std::time::UNIX_EPOCH;

/// `short` in every run of the tests, `long` in `cargo xtask soak`.
pub(crate) fn length<T>(short: T, long: T) -> T {
    if env::var_os("LINKSPAN_SOAK").is_some() { long } else { short }
}

/// What is wished otherwise, by a variable of this name.
pub(crate) fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// `LINKSPAN_SEED`, or else 0, and in the long form the first seed of this day where each day has `count` of its own:
/// every night tries others.
pub(crate) fn first_seed(count: u64) -> u64 {
    number("LINKSPAN_SEED").unwrap_or_else(|| length(0, days().wrapping_mul(count)))
}

/// Since 1970.
fn days() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / (24 * 60 * 60))
}
