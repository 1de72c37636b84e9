use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::{env, fmt, fs, io};

/// One way by which bytes of others come in.
pub trait Target: Send + Sized {
    /// Makes ready, in a process of one thread.
    ///
    /// # Errors
    /// Why it cannot be done here: a machine may forbid its users to make namespaces.
    fn begin() -> Result<Self, String>;

    /// Inputs to begin with, each under a name: what comes in where all is well.
    fn seeds(&mut self) -> Vec<(String, Vec<u8>)>;

    /// Takes one input. It panics where a law is broken.
    fn take(&mut self, input: &[u8]);
}

/// The `main` of a target, for libFuzzer and without it.
#[macro_export]
macro_rules! target {
    ($target:ty) => {
        static TARGET: std::sync::Mutex<Option<$target>> = std::sync::Mutex::new(None);

        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(init: linkspan_fuzz::check(&TARGET, &[]), |data: &[u8]| {
            linkspan_fuzz::check(&TARGET, data);
        });

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            linkspan_fuzz::replay(&TARGET)
        }
    };
}

/// Gives the target an input; it is made ready by its first.
pub fn check<T: Target>(target: &Mutex<Option<T>>, input: &[u8]) {
    with(target, |target| target.take(input)).unwrap_or_else(|why| {
        eprintln!("{why}");
        std::process::exit(SKIPPED.into());
    });
}

/// The status of a target that cannot be made ready here.
const SKIPPED: u8 = 77;

/// Why a target did not come to its end.
#[derive(Debug)]
enum Stop {
    /// It cannot be made ready here.
    Skipped(String),
    Failed(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(why) => write!(f, "cannot be done here: {why}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

fn with<T: Target, R>(target: &Mutex<Option<T>>, work: impl FnOnce(&mut T) -> R) -> Result<R, Stop> {
    let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
    let ready = match target.take() {
        Some(ready) => ready,
        None => T::begin().map_err(Stop::Skipped)?,
    };
    Ok(work(target.insert(ready)))
}

/// Writes the first inputs of a target, or gives it those that are named.
pub fn replay<T: Target>(target: &Mutex<Option<T>>) -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((verb, [folder])) if verb == "seeds" => write_seeds(target, Path::new(folder)),
        Some((verb, paths)) if verb == "replay" => replay_all(target, paths),
        _ => Err(Stop::Failed("usage: seeds DIR | replay FILE|DIR...".to_owned())),
    };
    match done {
        Ok(count) => {
            println!("{count} inputs");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            if matches!(why, Stop::Skipped(_)) { ExitCode::from(SKIPPED) } else { ExitCode::FAILURE }
        }
    }
}

fn write_seeds<T: Target>(target: &Mutex<Option<T>>, folder: &Path) -> Result<usize, Stop> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    // Where the target is made ready it may leave this machine's folders, so the place is opened before.
    let folder = folder.canonicalize().map_err(at(folder))?;
    let seeds = with(target, Target::seeds)?;
    for (name, input) in &seeds {
        let path = folder.join(name);
        fs::write(&path, input).map_err(at(&path))?;
    }
    Ok(seeds.len())
}

fn replay_all<T: Target>(target: &Mutex<Option<T>>, paths: &[String]) -> Result<usize, Stop> {
    let mut inputs = Vec::new();
    for path in paths {
        for file in files(Path::new(path)).map_err(at(Path::new(path)))? {
            let input = fs::read(&file).map_err(at(&file))?;
            inputs.push((file, input));
        }
    }
    for (file, input) in &inputs {
        eprintln!("{}", file.display());
        with(target, |target| target.take(input))?;
    }
    Ok(inputs.len())
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files =
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    files.sort();
    Ok(files)
}

fn at(path: &Path) -> impl Fn(io::Error) -> Stop {
    move |why| Stop::Failed(format!("{}: {why}", path.display()))
}
