//! Runs test binaries as an ordinary user, while cargo, which may live in root's home, stays root.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use crate::skips::Rights;

/// The number of an ordinary user, and of a group of that user alone: never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uid(u32);

impl Uid {
    /// `nobody` on Debian.
    pub(crate) const NOBODY: Self = Self(65534);

    /// Whether this user can read the file or search the folder.
    pub(crate) fn can_reach(self, path: &Path) -> io::Result<bool> {
        let mut command = Command::new("setpriv");
        Ok(command.args(self.switch()).arg("test").arg("-r").arg(path).status()?.success())
    }

    /// The arguments of `setpriv` in front of a program.
    fn switch(self) -> [String; 5] {
        ["--reuid".into(), self.0.to_string(), "--regid".into(), self.0.to_string(), "--clear-groups".into()]
    }
}

impl FromStr for Uid {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // The last number means "leave as it is" to setresuid(2).
        text.parse().ok().filter(|uid| (1..u32::MAX).contains(uid)).map(Self).ok_or(())
    }
}

/// The rights that this process has.
pub(crate) fn rights() -> io::Result<Rights> {
    let uid = fs::metadata("/proc/self")?.uid();
    Ok(if uid == 0 { Rights::Root } else { Rights::User })
}

/// A folder that serves a user as home and for temporary files, removed at the end.
#[derive(Debug)]
pub(crate) struct Home {
    user: Uid,
    path: PathBuf,
}

impl Home {
    /// Makes it.
    pub(crate) fn create(user: Uid) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("linkspan-xtask-{}", std::process::id()));
        fs::create_dir(&path)?;
        let home = Self { user, path };
        fs::set_permissions(&home.path, Permissions::from_mode(0o700))?;
        chown(&home.path, Some(user.0), Some(user.0))?;
        Ok(home)
    }

    /// The option that makes cargo start the test binaries of a target as the user, at home here.
    pub(crate) fn runner(&self, target: &str) -> String {
        let mut words = vec!["env".to_owned(), "--unset=XDG_RUNTIME_DIR".to_owned()];
        words.extend(["HOME", "TMPDIR"].map(|name| format!("{name}={}", self.path.display())));
        words.push("setpriv".to_owned());
        words.extend(self.user.switch());
        words.push("--".to_owned());
        format!("target.{target}.runner={words:?}")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            println!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The target that cargo compiles for unless it is told otherwise.
pub(crate) fn host_target() -> io::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output()?.stdout;
    let version = String::from_utf8_lossy(&version);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| io::Error::other("rustc -vV names no host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_no_ordinary_user() {
        assert_eq!("0".parse::<Uid>(), Err(()));
        assert_eq!("4294967295".parse::<Uid>(), Err(()));
        assert_eq!("65534".parse(), Ok(Uid::NOBODY));
    }
}
