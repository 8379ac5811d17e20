//! `snapshot`: writes what lies in ring files as a journal, of runs that go on and of dead ones, and changes nothing in them.

pub mod args;

use crate::damage::{counted, grouped};
use crate::deliver::journal;
use crate::failure::{Failure, Outcome};
use crate::line::shown;
use crate::messages::tell;
use crate::rings::{self, Found, Run};
use args::Snapshot;
use capture_pipeline::storage::feed::{Fed, Feed, Part};
use std::io::Write;
use std::path::Path;

/// So many facts come in one batch.
const FACTS: usize = 1024;

/// Takes a snapshot.
pub fn run(args: &Snapshot) -> Result<Outcome, Failure> {
    let (runs, unread) = rings::in_directory(&args.directory)?;
    let mut outcome = Outcome::Well;
    let mut written = 0;
    for run in runs.iter().filter(|run| args.run.is_none_or(|wanted| wanted == run.generation())) {
        let found = write(run, &args.to)?;
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

/// Writes one run, as segments of its own.
fn write(run: &Run, directory: &Path) -> Result<Found, Failure> {
    let mut feed = journal(directory)?;
    let mut facts = run.facts().peekable();
    while facts.peek().is_some() {
        let mut part = Part::new(run.generation(), run.realtime_offset_ns);
        for fact in facts.by_ref().take(FACTS) {
            part.push_fact(fact)?;
        }
        store(&mut feed, &part, directory)?;
    }
    let found = run.each(|piece| {
        let mut part = Part::new(run.generation(), run.realtime_offset_ns);
        for event in run.events(piece) {
            part.push(&event)?;
        }
        store(&mut feed, &part, directory)
    })?;
    match feed.finish() {
        0 => Ok(found),
        status => {
            Err(Failure::new(format!("{}: the journal cannot be closed (status {status})", name(directory))))
        }
    }
}

fn store(feed: &mut Feed, part: &Part<'_>, directory: &Path) -> Result<(), Failure> {
    let fed = feed.store(std::slice::from_ref(part))?.pop();
    match fed {
        Some(Fed::Stored(refused)) if refused.is_empty() => Ok(()),
        _ => Err(Failure::new(format!(
            "{}: the journal does not take the events: free space, or give another directory; the ring files are as they were",
            name(directory)
        ))),
    }
}

/// The name of a file, as a terminal may show it.
fn name(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes()).to_string()
}
