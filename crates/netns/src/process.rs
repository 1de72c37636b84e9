//! Which process it is: its number, and since when it has it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Numbers a process or a thread: 1 to 2147483647.
///
/// As the caller's `/proc` counts them. A number is given again once its process is gone, so what is kept
/// for later goes together with a [`StartTime`].
///
/// ```
/// use linkspan_netns::Pid;
///
/// let pid: Pid = "4711".parse()?;
/// assert_eq!(Some(pid), Pid::new(4711));
/// assert_eq!(Pid::new(0), None);
/// # Ok::<(), linkspan_netns::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Pid(u32);

impl Pid {
    /// Takes a process number; `None` for 0 and for what a `pid_t` cannot hold.
    #[must_use]
    pub const fn new(pid: u32) -> Option<Self> {
        if pid >= 1 && pid <= i32::MAX.cast_unsigned() { Some(Self(pid)) } else { None }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Pid {
    type Error = Error;

    fn try_from(pid: u32) -> Result<Self, Error> {
        Self::new(pid).ok_or_else(|| Error::NotAPid { text: pid.to_string() })
    }
}

impl From<Pid> for u32 {
    fn from(pid: Pid) -> Self {
        pid.0
    }
}

impl FromStr for Pid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // The standard parser also takes a leading `+`, which is no digit of a process number.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.and_then(Self::new).ok_or_else(|| Error::NotAPid { text: text.to_owned() })
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Tells when a process started, in clock ticks since the machine did.
///
/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)). Two processes that bear the same [`Pid`] one after
/// the other have different start times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StartTime(u64);

impl StartTime {
    /// Takes a number of clock ticks since the machine started.
    #[must_use]
    pub const fn new(ticks: u64) -> Self {
        Self(ticks)
    }

    /// Returns the clock ticks since the machine started.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads it from the contents of a `/proc/PID/stat`; `None` where they are cut short or something else.
    ///
    /// ```
    /// use linkspan_netns::StartTime;
    ///
    /// let stat = std::fs::read("/proc/self/stat")?;
    /// assert!(StartTime::of_stat(&stat).is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn of_stat(stat: &[u8]) -> Option<Self> {
        // The second field is the program's own name in parentheses, which may hold spaces and
        // parentheses itself: what follows the last one is numbers, from field 3 on.
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let fields = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
        fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "(sleep) S 1 2 3 0 -1 4194304 95 0 0 0 0 0 0 0 20 0 1 0 13572468 5758976 220 18446744";

    #[track_caller]
    fn check(stat: &str, expected: Option<u64>) {
        assert_eq!(StartTime::of_stat(stat.as_bytes()).map(StartTime::get), expected, "of {stat:?}");
    }

    #[test]
    fn the_start_time_is_field_22() {
        check(&format!("4711 {STAT}"), Some(13_572_468));
    }

    #[test]
    fn a_program_cannot_forge_its_start_time_by_its_name() {
        check(&format!("4711 ({STAT} 9) S {STAT}"), Some(13_572_468));
        check(&STAT.replace("sleep", "a) S 1 (b\n"), Some(13_572_468));
    }

    #[test]
    fn what_is_cut_short_has_no_start_time() {
        check("", None);
        check("4711 (sleep", None);
        check("4711 (sleep)", None);
        check(STAT.split(" 13572468").next().unwrap(), None);
        check(&STAT.replace("13572468", "x"), None);
    }

    #[test]
    fn a_pid_is_a_positive_pid_t() {
        for (text, expected) in [("1", Some(1)), ("2147483647", Some(2_147_483_647))] {
            assert_eq!(text.parse::<Pid>().ok().map(Pid::get), expected);
        }
        for text in ["", "0", "-1", "+1", " 1", "1 ", "2147483648", "99999999999999999999", "self"] {
            assert!(text.parse::<Pid>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_stored_pid_is_checked_when_read() {
        assert_eq!(serde_json::from_str::<Pid>("12").unwrap(), Pid::new(12).unwrap());
        assert!(serde_json::from_str::<Pid>("0").is_err());
        assert!(serde_json::from_str::<Pid>("4294967295").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(stat in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = StartTime::of_stat(&stat);
        }

        #[test]
        fn every_program_name_gives_the_same_start_time(name in proptest::collection::vec(any::<u8>(), 0..16)) {
            let mut stat = b"4711 (".to_vec();
            stat.extend_from_slice(&name);
            stat.extend_from_slice(STAT.trim_start_matches("(sleep").as_bytes());
            prop_assert_eq!(StartTime::of_stat(&stat), Some(StartTime(13_572_468)));
        }
    }
}
