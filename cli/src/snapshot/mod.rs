//! `snapshot`: writes what lies in ring files as a journal, of runs that go on and of dead ones, and changes nothing in them.

pub mod args;

use crate::damage::{counted, grouped};
use crate::deliver::journal;
use crate::failure::{Failure, Outcome};
use crate::line::shown;
use crate::messages::tell;
use crate::rings;
use args::Snapshot;
use std::io::Write;
use std::path::Path;

/// Takes a snapshot.
pub fn run(args: &Snapshot) -> Result<Outcome, Failure> {
    let (runs, unread) = rings::in_directory(&args.directory)?;
    let mut outcome = Outcome::Well;
    let mut written = 0;
    for run in runs.iter().filter(|run| args.run.is_none_or(|wanted| wanted == run.generation())) {
        let found = rings::copy(run, journal(&args.to)?, &args.to)?;
        written += 1;
        let line = format!(
            "run {:016x} of {} ({}, process {}): {} from {}",
            run.generation(),
            shown(&run.file.header().name),
            if run.lives { "living" } else { "dead" },
            run.file.header().owner.pid,
            counted(found.events, "event", "events"),
            counted(found.rings, "ring buffer", "ring buffers")
        );
        writeln!(std::io::stdout(), "{line}").map_err(|error| Failure::output(&error))?;
        if found.handles > 0 {
            let handles = grouped(found.handles);
            tell(format_args!(
                "run {:016x}: {handles} events are left out: their payloads are handles of the process",
                run.generation()
            ));
        }
        for line in found.damages.iter().map(ToString::to_string).chain(run.facts_damage()) {
            tell(format_args!("run {:016x}: {line}", run.generation()));
            outcome = Outcome::Damaged;
        }
    }
    for file in &unread {
        tell(format_args!("{}: {}", name(&file.path), file.why));
        outcome = Outcome::Unread;
    }
    if written == 0 && unread.is_empty() {
        return Err(match args.run {
            Some(run) => {
                Failure::new(format!("{}: no ring file of run {run:016x} is there", name(&args.directory)))
            }
            None => Failure::new(format!("{}: no ring file is there", name(&args.directory))),
        });
    }
    Ok(outcome)
}

/// The name of a file, as a terminal may show it.
fn name(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes()).to_string()
}
