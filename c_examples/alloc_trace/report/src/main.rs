//! The report of alloc_trace: reads the journal (or the databases) of a traced program, follows its heap call by call, and shows where its memory
//! went.
//!
//! The way of an event: [`source`] reads it in the order of time, [`event`] decodes it, [`trace`] gives it to the process that it belongs to,
//! and that process's [`heap`] keeps the figures. [`symbols`] names addresses, [`sums`] adds up by function and by stack; [`print`], [`json`],
//! [`flame`], [`export`] and [`viewer`] show the result.

mod arguments;
mod calls;
mod event;
mod export;
mod flame;
mod folder;
mod heap;
mod json;
mod ledger;
mod plot;
mod print;
mod progress;
mod source;
mod sums;
mod symbols;
mod timeline;
mod trace;
mod viewer;
mod words;

use arguments::Arguments;
use clap::Parser;
use export::Export;
use folder::Folder;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use symbols::{Modules, Symbols};
use trace::{Process, Trace, Watch};
use viewer::Viewer;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "alloc_trace_report: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let folder = Folder::open(&arguments.folder)?;
    for problem in &folder.skipped {
        let _ = writeln!(std::io::stderr(), "alloc_trace_report: skipped: {problem}");
    }
    let mut export = arguments.export.as_deref().map(Export::new).transpose()?;
    let mut trace = Trace::read(&folder, export.as_mut().map(|export| export as &mut dyn Watch))?;
    let modules = Modules::new(arguments.lines);
    if let Some(export) = export {
        export.finish(&trace, |process| symbols_of(process, &modules))?;
    }
    if let Some(path) = &arguments.timeline {
        // Once more: the names of functions are known only when all is read.
        let mut viewer = Viewer::new(path, &trace, |process| symbols_of(process, &modules))?;
        Trace::read(&folder, Some(&mut viewer))?;
        viewer.finish()?;
    }
    if let Some(since) = arguments.since {
        trace
            .processes
            .retain(|process| process.started_realtime_ns().is_some_and(|started| started >= since));
    }
    if arguments.json {
        let report = json::report(&trace, |process| symbols_of(process, &modules), arguments.stacks);
        return print(&format!("{report}\n"));
    }
    let mut text = String::new();
    print::processes(&trace, arguments.all, &mut text);
    for process in chosen(&trace, arguments)? {
        let symbols = symbols_of(process, &modules);
        text.push('\n');
        print::summary(process, &mut text);
        print::tables(process, &symbols, arguments.top, arguments.short, &mut text);
        if !arguments.no_flame {
            draw(process, &symbols, arguments, &mut text)?;
        }
    }
    print(&text)
}

fn symbols_of<'a>(process: &Process, modules: &'a Modules) -> Symbols<'a> {
    let maps = process.ledger.as_ref().map(ledger::Ledger::maps);
    Symbols::new(maps.as_deref(), modules)
}

/// The processes to show.
fn chosen<'a>(trace: &'a Trace, arguments: &Arguments) -> Result<Vec<&'a Process>, String> {
    if let Some(wanted) = &arguments.process {
        let fits = |process: &&Process| {
            let id = process.id();
            id == *wanted || id.split_once('-').is_some_and(|(pid, _)| pid == wanted)
        };
        let found: Vec<_> = trace.processes.iter().filter(fits).collect();
        return if found.is_empty() {
            Err(format!("--process: there is no process {wanted}"))
        } else {
            Ok(found)
        };
    }
    if arguments.all {
        return Ok(trace.processes.iter().collect());
    }
    Ok(trace
        .processes
        .iter()
        .max_by_key(|process| (process.heap.bytes, process.heap.calls))
        .into_iter()
        .collect())
}

/// Draws the flame graphs of a process.
fn draw(
    process: &Process,
    symbols: &Symbols<'_>,
    arguments: &Arguments,
    text: &mut String,
) -> Result<(), String> {
    if process.stacks.len() == 0 {
        return Ok(());
    }
    let folder = arguments.output.clone().unwrap_or_else(|| arguments.folder.join("report"));
    make_folder(&folder)?;
    let stacks = sums::by_stack(process, symbols);
    text.push('\n');
    for figure in &arguments.flame {
        let (title, name) = (process.command(), format!("{}-{}", process.id(), figure.name()));
        if let Some((collapsed, svg)) = flame::write(&stacks, *figure, &title, &folder, &name)? {
            let _ = writeln!(text, "  flame graph of {:<10} {}", figure.name(), svg.display());
            let _ = writeln!(text, "  collapsed stacks          {}", collapsed.display());
        }
    }
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), String> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Writes to standard output. A reader that has gone away is no error.
fn print(text: &str) -> Result<(), String> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}
