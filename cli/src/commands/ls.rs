//! `ls`

use super::table::{Table, bytes, duration, grouped, time};
use crate::args::Ls;
use crate::failure::{Failure, Outcome};
use crate::line::shown;
use crate::messages::tell;
use crate::numbers;
use crate::source::{Source, is_database, is_stored_in_database};
use capture_pipeline::journal::format::segment::parse_file_name;
use capture_pipeline::journal::reader::{Facts, Options, Segment, State};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How deep --recursive looks.
const MAX_DEPTH: usize = 64;

/// The segments of one run.
#[derive(Clone, Debug)]
pub struct Run {
    pub generation: u64,
    pub program: Vec<u8>,
    pub pid: u32,
    /// When its first segment was made, in nanoseconds since 1970.
    pub started_ns: u64,
    /// The wall times of the first and the last event.
    pub span: (u64, u64),
    pub segments: u64,
    pub blocks: u64,
    pub events: u64,
    /// The size of the files.
    pub size: u64,
    /// The length of the records.
    pub raw_bytes: u64,
    /// The length of the bodies of blocks, as they are stored.
    pub stored_bytes: u64,
    growing: bool,
    left: bool,
    /// It lies in a database, which does not say how it ends, and has no segments.
    pub is_in_database: bool,
}

impl Run {
    /// How it ends.
    pub fn state(&self) -> &'static str {
        match (self.is_in_database, self.growing, self.left) {
            (true, _, _) => "database",
            (_, true, _) => "growing",
            (_, false, true) => "left",
            (_, false, false) => "complete",
        }
    }
}

/// The runs of a journal, by their start.
pub fn runs<'s>(segments: impl Iterator<Item = &'s Segment>) -> Vec<Run> {
    let mut runs: BTreeMap<u64, Run> = BTreeMap::new();
    for segment in segments {
        let header = &segment.header;
        let run = runs.entry(header.generation).or_insert_with(|| Run {
            generation: header.generation,
            program: header.program.clone(),
            pid: header.owner.pid,
            started_ns: header.realtime_ns,
            span: (u64::MAX, 0),
            segments: 0,
            blocks: 0,
            events: 0,
            size: 0,
            raw_bytes: 0,
            stored_bytes: 0,
            growing: false,
            left: false,
            is_in_database: is_stored_in_database(segment),
        });
        run.started_ns = run.started_ns.min(header.realtime_ns);
        if segment.events > 0 {
            run.span = (run.span.0.min(segment.realtimes_ns.0), run.span.1.max(segment.realtimes_ns.1));
        }
        run.segments += u64::from(!run.is_in_database);
        run.blocks += segment.blocks;
        run.events += segment.events;
        run.size += segment.size;
        run.raw_bytes += segment.raw_bytes;
        run.stored_bytes += segment.stored_bytes;
        run.growing |= segment.state == State::Growing;
        run.left |= segment.state == State::Left;
    }
    let mut runs: Vec<Run> = runs.into_values().collect();
    runs.sort_by_key(|run| (run.started_ns, run.generation));
    runs
}

/// Lists journals.
pub fn run(args: &Ls) -> Result<Outcome, Failure> {
    let mut journals = Vec::new();
    let mut outcome = Outcome::Well;
    for path in &args.paths {
        let depth = if args.recursive { MAX_DEPTH } else { 1 };
        let before = journals.len();
        if let Err(error) = find(path, depth, &mut journals) {
            outcome = unread(&Failure::of(path, &error));
        } else if journals.len() == before {
            tell(format_args!(
                "{}: no journal is there{}",
                path.display(),
                if args.recursive { "" } else { "; -r looks deeper" }
            ));
        }
    }
    let mut output = Vec::new();
    let mut table = Table::new(&[
        "JOURNAL",
        "RUN",
        "PROGRAM",
        ">PID",
        "STARTED",
        ">LASTED",
        ">SEGMENTS",
        ">EVENTS",
        ">SIZE",
        "STATE",
        "ATTRIBUTES",
    ]);
    for path in journals {
        let reader = match Source::open(&path, Options::default()) {
            Ok(reader) => reader,
            Err(error) => {
                outcome = unread(&error);
                continue;
            }
        };
        for refused in &reader.losses().refused {
            if outcome == Outcome::Well {
                outcome = Outcome::Damaged;
            }
            tell(format_args!("{}: {}", refused.path.display(), refused.reason));
        }
        for run in runs(reader.segments()) {
            if args.json {
                json(&mut output, &path, &run, reader.facts());
                continue;
            }
            let lasted = run.span.1.saturating_sub(run.started_ns);
            table.add(vec![
                shown(path.as_os_str().as_encoded_bytes()).to_string(),
                format!("{:016x}", run.generation),
                // The name is the path of the executable; its last part tells enough here.
                shown(run.program.rsplit(|byte| *byte == b'/').next().unwrap_or_default()).to_string(),
                run.pid.to_string(),
                time(run.started_ns),
                if run.events > 0 { duration(lasted) } else { "-".into() },
                if run.is_in_database { "-".into() } else { run.segments.to_string() },
                grouped(run.events),
                if run.is_in_database { "-".into() } else { bytes(run.size) },
                run.state().into(),
                attributes(reader.facts(), run.generation),
            ]);
        }
    }
    if !table.is_empty() {
        table.drop_empty_column();
        table.write("", &mut output);
    }
    std::io::stdout().write_all(&output).map_err(|error| Failure::output(&error))?;
    Ok(outcome)
}

/// Says why something is not listed. The others are.
fn unread(failure: &Failure) -> Outcome {
    if let Failure::Told(message) = failure {
        tell(message);
    }
    Outcome::Unread
}

/// The attributes of a run, as a terminal may show them.
fn attributes(facts: &Facts, generation: u64) -> String {
    let each =
        facts.attributes_of(generation).map(|(name, value)| format!("{}={}", shown(name), shown(value)));
    each.collect::<Vec<_>>().join(" ")
}

fn json(into: &mut Vec<u8>, path: &Path, run: &Run, facts: &Facts) {
    let mut text = |name: &str, bytes: &[u8]| {
        into.extend_from_slice(name.as_bytes());
        numbers::json_string(into, bytes);
    };
    text("{\"journal\":", path.as_os_str().as_encoded_bytes());
    text(",\"run\":", format!("{:016x}", run.generation).as_bytes());
    text(",\"program\":", &run.program);
    text(",\"started\":", &capture_pipeline::wall_time::write(run.started_ns));
    if run.events > 0 {
        text(",\"first_event\":", &capture_pipeline::wall_time::write(run.span.0));
        text(",\"last_event\":", &capture_pipeline::wall_time::write(run.span.1));
    }
    text(",\"state\":", run.state().as_bytes());
    for (name, number) in [
        ("pid", u64::from(run.pid)),
        ("segments", run.segments),
        ("blocks", run.blocks),
        ("events", run.events),
        ("bytes", run.size),
        ("record_bytes", run.raw_bytes),
    ] {
        into.extend_from_slice(format!(",\"{name}\":{number}").as_bytes());
    }
    into.extend_from_slice(b",\"attributes\":{");
    for (at, (name, value)) in facts.attributes_of(run.generation).enumerate() {
        into.extend((at > 0).then_some(b','));
        numbers::json_string(into, name);
        into.push(b':');
        numbers::json_string(into, value);
    }
    into.push(b'}');
    into.extend_from_slice(b"}\n");
}

/// Whether a file has a name as a database. (What is in it is looked at then.)
fn is_named_as_database(path: &Path) -> bool {
    let end = path.extension().and_then(|end| end.to_str());
    end.is_some_and(|end| matches!(end.to_ascii_lowercase().as_str(), "db" | "sqlite" | "sqlite3"))
}

/// Adds the path if it is a journal, and otherwise the journals in it.
fn find(path: &Path, depth: usize, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        into.push(path.to_path_buf());
        return Ok(());
    }
    let (mut folders, mut databases) = (Vec::new(), Vec::new());
    let mut is_journal = false;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if is_named_as_database(&entry.path()) && is_database(&entry.path()) {
            databases.push(entry.path());
        }
        is_journal |= entry.file_name().to_str().is_some_and(|name| parse_file_name(name).is_some());
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    if is_journal {
        into.push(path.to_path_buf());
    }
    databases.sort();
    into.append(&mut databases);
    folders.sort();
    for folder in folders {
        if depth > 0
            && let Err(error) = find(&folder, depth - 1, into)
        {
            tell(format_args!("{}: {error}", folder.display()));
        }
    }
    Ok(())
}
