use std::error::Error;
use std::fmt::Display;

/// What is told of a value, and that it is one line that steers no terminal.
pub fn assert_one_line(value: impl Display) -> String {
    let told = value.to_string();
    assert!(!told.is_empty() && !told.contains('\n'), "not one line: {told:?}");
    told
}

/// Tells an error with each of its sources.
pub fn told(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).map(|error| format!("{error}; ")).collect()
}
