//! Where a namespace can be found again.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Pid, StartTime};

/// Says where a network namespace can be found again, by any process and as long as the machine runs.
///
/// A place is no identity: what stands there later may be another namespace. Keep the [`Cookie`] of the
/// namespace beside its place, and compare. `Place::find` looks.
///
/// Closed: these two are what a record holds. A path that is not UTF-8 has no JSON, and serializing it is
/// an error.
///
/// ```
/// use linkspan_netns::Place;
///
/// let place = Place::Path("/run/netns/web".into());
/// assert_eq!(place.to_string(), "/run/netns/web");
///
/// let stored = r#"{"process":{"pid":4711,"start_time":13572468}}"#;
/// let place: Place = serde_json::from_str(stored)?;
/// assert_eq!(place.to_string(), "process 4711");
/// assert_eq!(serde_json::to_string(&place)?, stored);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// [`Cookie`]: crate::Cookie
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A file that is the namespace: a pin such as `/run/netns/web`, or a link below `/proc`.
    Path(PathBuf),
    /// The namespace that a process is in.
    Process {
        /// The number of the process.
        pid: Pid,
        /// Since when it has that number: a process with another start time is another process.
        start_time: StartTime,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Process { pid, .. } => write!(f, "process {pid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(place: &Place, stored: &str) {
        assert_eq!(serde_json::to_string(place).unwrap(), stored);
        assert_eq!(&serde_json::from_str::<Place>(stored).unwrap(), place);
    }

    #[test]
    fn is_stored_by_name_and_read_back() {
        check(&Place::Path("/run/netns/web".into()), r#"{"path":"/run/netns/web"}"#);
        let (pid, start_time) = (Pid::new(7).unwrap(), StartTime::new(9));
        check(&Place::Process { pid, start_time }, r#"{"process":{"pid":7,"start_time":9}}"#);
    }

    #[test]
    fn a_path_that_is_no_utf8_is_refused_and_not_changed() {
        use std::os::unix::ffi::OsStringExt;
        let path = std::ffi::OsString::from_vec(b"/run/netns/\xff".to_vec());
        assert!(serde_json::to_string(&Place::Path(path.into())).is_err());
    }
}
