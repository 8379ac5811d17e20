//! A timeline for Perfetto's viewer: the live bytes of each process as a counter, and the allocations of each thread under the names of the functions that have
//! called.

use crate::calls::{self, Effect};
use crate::event::Call;
use crate::symbols::Symbols;
use crate::trace::{Process, Trace, Watch};
use capture_pipeline::formats::perfetto::{
    Encoder, Event, LAST_TIME, Mark, Name, NameOf, Names, Sequence, Track, TrackKind, Unit, number_of,
};
use capture_pipeline::kinds::Value;
use rustc_hash::FxHashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file is written in pieces of this size.
const PIECE: usize = 256 << 10;
/// The encoder has the first sequence for itself.
const FIRST_SEQUENCE: u32 = 2;

/// A process in the timeline.
struct Shown<'a> {
    symbols: Symbols<'a>,
    pid: u32,
    uuid: u64,
    name: String,
    counter: Option<Sequence>,
    live: u64,
    threads: FxHashMap<u32, Sequence>,
    functions: FxHashMap<u64, Name>,
}

/// A file that is being written. It is removed unless [`finish`](Self::finish) succeeds.
pub struct Viewer<'a> {
    path: PathBuf,
    file: File,
    encoder: Encoder,
    names: Names,
    /// The names of calls, by their numbers.
    calls: FxHashMap<u32, Name>,
    size: Name,
    address: Name,
    /// By run.
    processes: FxHashMap<u64, Shown<'a>>,
    next: u32,
    finished: bool,
}

impl<'a> Viewer<'a> {
    /// Makes the file, which must not exist. `trace`: the same, as it was read before.
    pub fn new(
        path: &Path,
        trace: &'a Trace,
        symbols_of: impl Fn(&'a Process) -> Symbols<'a>,
    ) -> Result<Self, String> {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = opened.map_err(|error| format!("{}: {error}", path.display()))?;
        let mut names = Names::default();
        let mut calls = FxHashMap::default();
        for (number, name, _) in calls::all() {
            calls.insert(number, names.name(NameOf::Category, name.as_bytes()));
        }
        let mut viewer = Self {
            path: path.to_path_buf(),
            file,
            encoder: Encoder::default(),
            size: names.name(NameOf::Annotation, b"size"),
            address: names.name(NameOf::Annotation, b"address"),
            names,
            calls,
            processes: FxHashMap::default(),
            next: FIRST_SEQUENCE,
            finished: false,
        };
        for process in trace.processes.iter().filter(|process| process.events > 0) {
            let of_ledger = process.ledger.as_ref().map(|ledger| ledger.pid);
            let pid = of_ledger.or(process.image.as_ref().map(|image| image.pid)).unwrap_or(0);
            let (uuid, name) = (number_of(&[process.run, 1]), process.command());
            viewer.encoder.describe(&Track {
                uuid,
                parent: 0,
                name: name.as_bytes(),
                kind: TrackKind::Process { pid },
            });
            if let Some(realtime_ns) = process.started_realtime_ns() {
                viewer.encoder.clocks(process.heap.first_ns, realtime_ns);
            }
            let shown = Shown {
                symbols: symbols_of(process),
                pid,
                uuid,
                name: process.name(),
                counter: None,
                live: 0,
                threads: FxHashMap::default(),
                functions: FxHashMap::default(),
            };
            viewer.processes.insert(process.run, shown);
        }
        Ok(viewer)
    }

    fn write(&mut self) -> Result<(), String> {
        let written = self.file.write_all(&self.encoder.out);
        self.encoder.out.clear();
        written.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// The file is whole.
    pub fn finish(mut self) -> Result<(), String> {
        self.write()?;
        self.finished = true;
        Ok(())
    }
}

impl Watch for Viewer<'_> {
    fn call(
        &mut self,
        run: u64,
        _number: u64,
        call: &Call,
        _released: Option<u64>,
        live_bytes: u64,
    ) -> Result<(), String> {
        let Some(process) = self.processes.get_mut(&run) else { return Ok(()) };
        let ns = call.time_ns.min(LAST_TIME);
        let next = &mut self.next;
        let mut sequence = |uuid: u64| {
            *next += 1;
            Sequence::new(*next - 1, uuid)
        };
        if std::mem::replace(&mut process.live, live_bytes) != live_bytes {
            let (encoder, uuid) = (&mut self.encoder, process.uuid);
            let counter = process.counter.get_or_insert_with(|| {
                let own = number_of(&[run, 2]);
                let kind = TrackKind::Counter(Unit::Bytes);
                encoder.describe(&Track { uuid: own, parent: uuid, name: b"live bytes", kind });
                sequence(own)
            });
            encoder.counter(counter, ns, Value::Unsigned(live_bytes));
        }
        if call.effect != Effect::Releases && call.address != 0 {
            let (encoder, uuid, pid) = (&mut self.encoder, process.uuid, process.pid);
            let of_process = &process.name;
            let thread = process.threads.entry(call.thread).or_insert_with(|| {
                let own = number_of(&[run, call.thread.into(), 3]);
                let name = if call.thread == pid { of_process.as_str() } else { "thread" };
                let kind = TrackKind::Thread { pid, tid: call.thread.into() };
                encoder.describe(&Track { uuid: own, parent: uuid, name: name.as_bytes(), kind });
                sequence(own)
            });
            let (symbols, names) = (&process.symbols, &mut self.names);
            let function = process
                .functions
                .entry(call.site)
                .or_insert_with(|| names.name(NameOf::Event, symbols.function(call.site).short().as_bytes()));
            let event = Event {
                name: Some(function),
                category: self.calls.get(&call.kind),
                ..Event::new(ns, Mark::Instant)
            };
            let (size, address) = (&self.size, &self.address);
            encoder.event(thread, event, |fields| {
                fields.unsigned(size, call.size);
                fields.value(address, Value::Address(call.address));
            });
        }
        if self.encoder.out.len() >= PIECE { self.write() } else { Ok(()) }
    }
}

impl Drop for Viewer<'_> {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
