//! On what it was measured.

use std::fmt;
use std::fs;
use std::io;
use std::thread::available_parallelism;

/// The kernel and the processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    kernel: String,
    processor: String,
    processors: usize,
    /// How many programs wanted to run during the last minute, before the measurement.
    load: String,
}

impl Machine {
    pub(super) fn look() -> io::Result<Self> {
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            processor: processor(&fs::read_to_string("/proc/cpuinfo")?),
            processors: available_parallelism()?.get(),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

/// Its name, which not every architecture tells.
fn processor(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("processor", |(_, name)| name.trim()).to_owned()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, processor, processors, load } = self;
        write!(f, "Linux {kernel}, {processors} x {processor}, load {load}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_processor_is_found() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n"), "A CPU @ 2 GHz");
        assert_eq!(processor("processor\t: 0\n"), "processor");
    }
}
