//! `floor attach PIN` and `floor detach PIN`: the least that a process has to do, beside which the command is measured.
//!
//! It works on the bridge and the rules that the measuring program made.

#[expect(dead_code, reason = "the measuring program uses the rest")]
#[path = "../benches/measure/floor/mod.rs"]
mod floor;
#[path = "../benches/measure/spot.rs"]
mod spot;

use floor::Floor;
use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;

const NUMBER: u16 = 0;

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    match perform(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn perform(words: &[String]) -> io::Result<()> {
    let mut floor = Floor::find()?;
    match words {
        [verb, pin] if verb == "attach" => floor.attach_at(Path::new(pin), NUMBER),
        [verb, _] if verb == "detach" => floor.remove(NUMBER),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}
