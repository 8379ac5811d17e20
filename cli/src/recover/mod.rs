//! `recover`: delivers what dead runs have left in their ring files, and deletes the files.

pub mod args;
mod show;
mod sink;

use crate::deliver::place::Place;
use crate::failure::{Failure, Outcome};
use crate::line::shown;
use crate::messages::tell;
use crate::progress::Progress;
use crate::rings::{self, Found, Run};
use args::Recover;
use capture_pipeline::journal::reader::Progress as Read;
use capture_pipeline::recovery::{self, FileReport, Options, Report};
use sink::Sink;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Recovers, or says what is there.
pub fn run(args: &Recover) -> Result<Outcome, Failure> {
    let Some(place) = &args.to else { return dry_run(args) };
    let to_output = *place == Place::Ndjson(None);
    if to_output && args.json {
        return Err(Failure::new("--json: the standard output is where the events go; give ndjson:FILE"));
    }
    let mut sink = Sink::open(place)?;
    // Whoever reads the standard output does not come back when it is gone.
    let retry_for = Duration::from_secs(if to_output { 0 } else { args.retry });
    let mut output = Ok(());
    let see = |file: &FileReport| {
        if to_output {
            file.to_string().lines().for_each(tell);
        } else if output.is_ok() {
            output = put(file, args.json);
        }
    };
    let report = with_progress(&args.directory, || {
        recovery::recover(&args.directory, &mut sink, &Options { retry_for }, see)
    });
    let closed = sink.close();
    let report = report?;
    // What has kept lines from being written says more than that they were not.
    closed?;
    output?;
    let nothing = report.runs + report.left + report.living + report.busy + report.unfinished == 0;
    if nothing && report.refused + report.failed == 0 {
        tell(format_args!("{}: no ring file is there", name(&args.directory)));
    }
    Ok(judge(&report))
}

/// What a file's report is as a line of the output.
fn put(file: &FileReport, json: bool) -> Result<(), Failure> {
    let text = if json {
        show::report(file).to_string()
    } else {
        let lines: Vec<String> = file.to_string().lines().map(escaped).collect();
        lines.join("\n")
    };
    writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::output(&error))
}

/// A line with the name of a file in it, as a terminal may show it.
fn escaped(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

fn judge(report: &Report) -> Outcome {
    if let Some(why) = &report.stopped {
        tell(why);
    }
    if report.stopped.is_some() || report.left + report.refused + report.failed > 0 {
        Outcome::Unread
    } else if report.torn + report.discarded + report.dead_lettered + report.handles > 0 {
        Outcome::Damaged
    } else {
        Outcome::Well
    }
}

/// Shows on a terminal how much is left in the files of dead runs, while `work` is done.
fn with_progress<T>(directory: &Path, work: impl FnOnce() -> T) -> T {
    let waiting = || {
        let (runs, _) = rings::in_directory(directory).ok()?;
        Some(runs.iter().filter(|run| !run.lives).map(Run::backlog).fold(0, u64::saturating_add))
    };
    let (done, ended) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut progress = Progress::new("recovering", true);
            if !progress.is_wanted() {
                return;
            }
            let Some(total_bytes) = waiting() else { return };
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let Some(left) = waiting() else { return };
                progress.show(Read { done_bytes: total_bytes.saturating_sub(left), total_bytes });
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Says what is there.
fn dry_run(args: &Recover) -> Result<Outcome, Failure> {
    let (runs, unread) = rings::in_directory(&args.directory)?;
    let mut all: Vec<(Run, Found)> = Vec::new();
    let mut outcome = Outcome::Well;
    for run in runs {
        let found = run.each(|_| Ok(()))?;
        if found.torn > 0 || run.facts_damage().is_some() {
            outcome = Outcome::Damaged;
        }
        all.push((run, found));
    }
    let text = if args.json {
        all.iter()
            .map(|(run, found)| format!("{}\n", show::found(run, found)))
            .collect::<String>()
            .into_bytes()
    } else {
        show::table(&all)
    };
    std::io::stdout().write_all(&text).map_err(|error| Failure::output(&error))?;
    for file in &unread {
        tell(format_args!("{}: {}", name(&file.path), file.why));
        outcome = Outcome::Unread;
    }
    if all.is_empty() && unread.is_empty() {
        tell(format_args!("{}: no ring file is there", name(&args.directory)));
    }
    Ok(outcome)
}

/// The name of a file, as a terminal may show it.
fn name(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes()).to_string()
}
