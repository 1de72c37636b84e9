//! How long a test goes on: minutes together with all others, or a night in `cargo xtask soak`.

/// `short` in every run of the tests, `long` in `cargo xtask soak`.
pub(crate) fn length<T>(short: T, long: T) -> T {
    if std::env::var_os("LINKSPAN_SOAK").is_some() { long } else { short }
}
