//! `top`: what the pipelines of running processes do, by their ring files and files of live figures.
//!
//! Files are opened for reading and read by `pread`. Nothing is mapped, no lock is taken, and the process is not asked for anything: it is seen as well when it is stopped or
//! hangs. [`look`] reads a file once, [`pipeline`] compares looks, and [`text`], [`json`] and [`screen`] show them.

pub mod args;
mod cells;
mod json;
mod look;
mod pipeline;
mod place;
mod process;
mod screen;
mod text;
mod words;

use crate::failure::{Failure, Outcome};
use crate::line::shown;
use crate::messages::tell;
use args::{Key, Subject, Top};
use capture_pipeline::platform::time;
use pipeline::{Pipeline, Ring};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// Shows pipelines.
pub fn run(args: &Top) -> Result<Outcome, Failure> {
    let mut watch = Watch::new(args.subject.clone());
    watch.look()?;
    if let (Subject::Process(pid), true) = (&args.subject, watch.is_empty()) {
        return Err(no_files(*pid));
    }
    if args.once {
        std::thread::sleep(args.interval);
        watch.look()?;
        return watch.print(args);
    }
    if args.json {
        return each_line(&mut watch, args);
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::new(
            "the standard output is no terminal: give --once, or --json for a line at each look",
        ));
    }
    screen::run(&mut watch, args)
}

/// Prints a line of JSON at each look, until the process that is looked at has ended or nobody reads.
fn each_line(watch: &mut Watch, args: &Top) -> Result<Outcome, Failure> {
    loop {
        watch.put_json(args.sort)?;
        std::thread::sleep(args.interval);
        watch.look()?;
        if watch.has_ended {
            return Ok(Outcome::Well);
        }
    }
}

fn no_files(pid: u32) -> Failure {
    if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
        return Failure::new(format!("there is no process {pid}"));
    }
    Failure::new(format!(
        "process {pid} has no ring file and no live figures open: its pipelines have no ring_dir and no journal with live figures, or it has none; its memory is not read"
    ))
}

/// A file that cannot be read.
#[derive(Debug)]
pub struct Unread {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub why: String,
}

/// The pipelines that are watched.
pub struct Watch {
    subject: Subject,
    pipelines: BTreeMap<u64, Pipeline>,
    unread: Vec<Unread>,
    realtime_ns: u64,
    /// The process that is watched has ended.
    pub has_ended: bool,
}

/// The pipelines in the order in which they are shown.
pub struct Shown<'a> {
    /// The pipelines.
    pub pipelines: Vec<&'a Pipeline>,
    /// The files that cannot be read.
    pub unread: &'a [Unread],
    /// CLOCK_REALTIME of the look.
    pub realtime_ns: u64,
    /// The nanoseconds since the look before; `None`: there was none.
    pub interval_ns: Option<u64>,
    key: Key,
}

impl Shown<'_> {
    /// The ring buffers of a pipeline in their order.
    pub fn rings(&self, pipeline: &Pipeline) -> Vec<Ring> {
        let mut rings = pipeline.rings();
        cells::sort_rings(&mut rings, self.key);
        rings
    }
}

impl Watch {
    fn new(subject: Subject) -> Self {
        Self { subject, pipelines: BTreeMap::new(), unread: Vec::new(), realtime_ns: 0, has_ended: false }
    }

    fn is_empty(&self) -> bool {
        self.pipelines.is_empty() && self.unread.is_empty()
    }

    /// Looks at all files. Pipelines whose files are gone are forgotten.
    pub fn look(&mut self) -> Result<(), Failure> {
        let Some(files) = place::find(&self.subject)? else {
            self.has_ended = true;
            return Ok(());
        };
        self.realtime_ns = time::now_ns().saturating_add_signed(time::realtime_offset_ns());
        self.unread.clear();
        let mut seen = BTreeMap::new();
        for file in files {
            match look::look(&file, &self.subject) {
                // A ring file has all that a file of live figures has, and its name sorts behind it.
                Ok(Some(look)) => drop(seen.insert(look.generation, look)),
                Ok(None) => {}
                Err(why) => self.unread.push(Unread { path: file.path, why }),
            }
        }
        self.pipelines.retain(|generation, _| seen.contains_key(generation));
        for (generation, look) in seen {
            match self.pipelines.get_mut(&generation) {
                Some(pipeline) => pipeline.update(look),
                None => drop(self.pipelines.insert(generation, Pipeline::new(look))),
            }
        }
        Ok(())
    }

    /// What is shown.
    pub fn shown(&self, key: Key) -> Shown<'_> {
        let mut pipelines: Vec<&Pipeline> = self.pipelines.values().collect();
        cells::sort(&mut pipelines, key);
        let interval_ns = pipelines.iter().find_map(|pipeline| pipeline.interval_ns());
        Shown { pipelines, unread: &self.unread, realtime_ns: self.realtime_ns, interval_ns, key }
    }

    fn put_json(&self, key: Key) -> Result<(), Failure> {
        let mut line = json::object(&self.shown(key)).to_string();
        line.push('\n');
        let mut output = std::io::stdout().lock();
        output
            .write_all(line.as_bytes())
            .and_then(|()| output.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Prints what was seen.
    fn print(&self, args: &Top) -> Result<Outcome, Failure> {
        for unread in &self.unread {
            let path = shown(unread.path.as_os_str().as_encoded_bytes()).to_string();
            tell(format_args!("{path}: {}", unread.why));
        }
        if args.json {
            self.put_json(args.sort)?;
        } else {
            let mut tables = Vec::new();
            text::tables(&self.shown(args.sort), &mut tables);
            std::io::stdout().write_all(&tables).map_err(|error| Failure::output(&error))?;
        }
        if let (Subject::Directory(path), true) = (&self.subject, self.is_empty()) {
            let path = shown(path.as_os_str().as_encoded_bytes()).to_string();
            tell(format_args!(
                "{path}: no pipeline is there: one has its file there with ring_dir, or with PIPELINE_JOURNAL_LIVE_FIGURES in its journal"
            ));
        }
        Ok(if self.unread.is_empty() { Outcome::Well } else { Outcome::Unread })
    }
}
