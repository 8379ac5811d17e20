//! Draws a timeline as events of Chrome's JSON.

use crate::export::pieces::Pieces;
use crate::failure::Failure;
use crate::journal::Found;
use crate::line::Json;
use crate::numbers;
use crate::timeline::long::beginning;
use crate::timeline::rows::{RowOf, Rows};
use crate::timeline::{Drawing, Note, Why};
use capture_pipeline::kinds::Value;
use std::collections::{BTreeSet, HashMap};

/// The file is written in pieces of this size.
const PIECE: usize = 256 << 10;
/// Times count from so long before the first event, in nanoseconds: a slice that is known when it ends may begin before it.
const BEFORE: u64 = 86_400_000_000_000;
/// The largest id of a process or thread that readers take.
const LAST_ID: u64 = i32::MAX as u64;
/// Ids from here on are made up: for larger ones, and for rows that are no threads.
const MADE_UP: u64 = 1 << 30;

/// See the module.
pub struct Events {
    pieces: Pieces,
    out: Vec<u8>,
    json: Json,
    /// From where times count. `None`: there was no event.
    start: Option<u64>,
    /// The process and the thread of each row, as far as they are said in the file.
    ids: HashMap<usize, (u64, u64)>,
    /// The ids of processes.
    pids: HashMap<usize, u64>,
    used_pids: BTreeSet<u64>,
    used_tids: BTreeSet<(u64, u64)>,
    is_first: bool,
}

impl Events {
    /// Writes to these files.
    pub fn new(pieces: Pieces, payload: Option<bool>) -> Self {
        Self {
            pieces,
            out: vec![b'['],
            json: Json { strings: true, wide: false, payload, attributes: false },
            start: None,
            ids: HashMap::new(),
            pids: HashMap::new(),
            used_pids: BTreeSet::new(),
            used_tids: BTreeSet::new(),
            is_first: true,
        }
    }

    /// Whether there may be several files.
    pub fn is_split(&self) -> bool {
        self.pieces.is_split()
    }

    /// Whether the file ends before an event of this time.
    pub fn ends_before(&mut self, ns: u64) -> bool {
        self.pieces.ends_before(ns, self.out.len())
    }

    /// The file is whole; begins another one, which says again all that it needs.
    pub fn next_file(&mut self, ns: u64) -> Result<(), Failure> {
        self.end_file()?;
        self.pieces.next(ns)?;
        self.begin_file();
        Ok(())
    }

    /// The last file is whole.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.end_file()?;
        self.pieces.finish()
    }

    /// Writes what was drawn, if it is enough.
    #[inline]
    pub fn write_some(&mut self) -> Result<(), Failure> {
        if self.out.len() >= PIECE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.pieces.put(&self.out)?;
        self.out.clear();
        self.out.shrink_to(4 * PIECE);
        Ok(())
    }

    fn begin_file(&mut self) {
        self.out.push(b'[');
        self.is_first = true;
        self.ids.clear();
        self.pids.clear();
        self.used_pids.clear();
        self.used_tids.clear();
    }

    fn end_file(&mut self) -> Result<(), Failure> {
        self.out.extend_from_slice(b"\n]\n");
        self.write()
    }

    /// Begins an event: up to its name.
    fn begin_event(&mut self, phase: &str, pid: u64, tid: u64) {
        self.out.extend_from_slice(if self.is_first { b"\n{\"ph\":\"" } else { b",\n{\"ph\":\"" });
        self.is_first = false;
        self.out.extend_from_slice(phase.as_bytes());
        self.out.extend_from_slice(b"\",\"pid\":");
        numbers::integer(&mut self.out, pid);
        self.out.extend_from_slice(b",\"tid\":");
        numbers::integer(&mut self.out, tid);
    }

    fn name(&mut self, name: &[u8]) {
        self.out.extend_from_slice(b",\"name\":");
        // A reader would cut it at a NUL.
        let name: Vec<u8> = String::from_utf8_lossy(name).replace('\0', "\u{2400}").into();
        numbers::json_string(&mut self.out, &name);
    }

    /// A time in microseconds, to the nanosecond.
    fn time(&mut self, ns: u64) {
        let ns = ns.saturating_sub(*self.start.get_or_insert(ns.saturating_sub(BEFORE)));
        self.out.extend_from_slice(b",\"ts\":");
        numbers::integer(&mut self.out, ns / 1_000);
        let digits =
            [b'.', b'0' + (ns / 100 % 10) as u8, b'0' + (ns / 10 % 10) as u8, b'0' + (ns % 10) as u8];
        self.out.extend_from_slice(&digits);
    }

    /// Says the name of a process or a thread.
    fn describe(&mut self, what: &str, (pid, tid): (u64, u64), name: &[u8]) {
        let start = self.out.len();
        self.begin_event("M", pid, tid);
        self.name(what.as_bytes());
        self.out.extend_from_slice(b",\"args\":{\"name\":");
        numbers::json_string(
            &mut self.out,
            String::from_utf8_lossy(name).replace('\0', "\u{2400}").as_bytes(),
        );
        self.out.extend_from_slice(b"}}");
        self.number_backslashes(start);
    }

    /// The ids of the process and the thread of a row.
    #[inline]
    fn ids(&mut self, rows: &Rows, row: usize) -> (u64, u64) {
        match self.ids.get(&row) {
            Some(ids) => *ids,
            None => self.add(rows, row),
        }
    }

    #[cold]
    fn add(&mut self, rows: &Rows, at: usize) -> (u64, u64) {
        let row = rows.get(at);
        let process_at = rows.process_of(row.of);
        let process = &rows.places.processes[process_at];
        let pid = match self.pids.get(&process_at) {
            Some(pid) => *pid,
            None => {
                // Another process of the same id was there: of another boot, or in another container.
                let own = u64::from(process.pid);
                let is_free = own <= LAST_ID && self.used_pids.insert(own);
                let pid = if is_free { own } else { MADE_UP | (process.uuid % MADE_UP) };
                self.used_pids.insert(pid);
                self.pids.insert(process_at, pid);
                self.describe("process_name", (pid, pid), &process.program);
                pid
            }
        };
        let of_thread = |thread: usize| {
            let thread = &rows.places.threads[thread];
            (thread.tid, String::from_utf8_lossy(&thread.name).into_owned())
        };
        let (tid, name) = match row.of {
            RowOf::Thread(thread) => of_thread(thread),
            RowOf::Lane(thread) | RowOf::Deeper(thread) | RowOf::Losses(thread) => {
                (None, format!("{}: {}", of_thread(thread).1, row.name))
            }
            RowOf::Counter(..) | RowOf::Totals(_) => (None, row.name.clone()),
        };
        let own = tid.filter(|tid| *tid <= LAST_ID && self.used_tids.insert((pid, *tid)));
        let name = match tid {
            Some(tid) if own.is_none() => format!("{name} {tid}"),
            _ => name,
        };
        let ids = (pid, own.unwrap_or(MADE_UP | (row.uuid % MADE_UP)));
        if !matches!(row.of, RowOf::Counter(..)) {
            self.describe("thread_name", ids, name.as_bytes());
        }
        self.ids.insert(at, ids);
        ids
    }

    /// Writes escaped backslashes from `start` on by their number: before the end of a string, Perfetto takes the second one for the escape of the quote.
    fn number_backslashes(&mut self, start: usize) {
        let text = &self.out[start..];
        if !text.windows(2).any(|pair| pair == br"\\") {
            return;
        }
        let mut changed = Vec::with_capacity(text.len() + 16);
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            match (byte, if byte == b'\\' { bytes.next() } else { None }) {
                (b'\\', Some(b'\\')) => changed.extend_from_slice(br"\u005c"),
                (_, escaped) => {
                    changed.push(byte);
                    changed.extend(escaped);
                }
            }
        }
        self.out.truncate(start);
        self.out.append(&mut changed);
    }

    /// An event with what it was captured with.
    fn event(&mut self, phase: &str, ids: (u64, u64), ns: u64, found: &Found<'_>, flow: u64, note: Note) {
        let start_of_event = self.out.len();
        self.begin_event(phase, ids.0, ids.1);
        self.time(ns);
        if phase != "E" {
            match found.kind.own_label(found.event.payload) {
                Some(label) => self.name(label),
                None => self.name(found.kind.label().as_bytes()),
            }
            let category =
                found.kind.definition.as_ref().map_or("", |definition| definition.category.as_str());
            if !category.is_empty() {
                self.out.extend_from_slice(b",\"cat\":");
                numbers::json_string(&mut self.out, category.as_bytes());
            }
        }
        if phase == "i" {
            self.out.extend_from_slice(b",\"s\":\"t\"");
        }
        self.out.extend_from_slice(b",\"args\":{");
        let start = self.out.len();
        self.args(found, flow);
        match note {
            Note::None => {}
            Note::Continued => self.out.extend_from_slice(b",\"_continued\":true"),
            Note::Unpaired => self.out.extend_from_slice(b",\"_unpaired\":true"),
        }
        // Without the comma before the first one.
        if self.out.len() > start {
            self.out.remove(start);
        }
        self.out.extend_from_slice(b"}}");
        self.number_backslashes(start_of_event);
    }

    fn args(&mut self, found: &Found<'_>, flow: u64) {
        let (event, json) = (found.event, self.json);
        let out = &mut self.out;
        if let Some(definition) = &found.kind.definition {
            for (field, name) in definition.fields.iter().zip(&found.kind.json_names) {
                if let Some(value) = field.value(event.payload) {
                    out.extend_from_slice(name);
                    put(out, json, value);
                }
            }
        }
        for (name, number) in [
            ("_correlation_id", event.correlation_id),
            ("_node_id", event.node_id),
            ("_flags", event.flags.into()),
            ("_flow", flow),
        ] {
            if number != 0 {
                out.extend_from_slice(format!(",\"{name}\":").as_bytes());
                json.value(out, Value::Unsigned(number));
            }
        }
        if event.weight != 1.0 {
            out.extend_from_slice(b",\"_weight\":");
            json.value(out, Value::F64(event.weight));
        }
        if json.payload.unwrap_or_else(|| !found.kind.fits(event.payload)) {
            out.extend_from_slice(b",\"_payload\":");
            put(out, json, Value::Bytes(event.payload));
        }
    }
}

/// Appends a value, or the beginning of one that is long.
fn put(out: &mut Vec<u8>, json: Json, value: Value<'_>) {
    match beginning(&value) {
        Some(text) => numbers::json_string(out, text.as_bytes()),
        None => json.value(out, value),
    }
}

impl Drawing for Events {
    fn clocks(&mut self, ns: u64, _realtime_ns: u64) {
        self.start.get_or_insert(ns.saturating_sub(BEFORE));
    }

    fn begin(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        note: Note,
    ) -> Result<(), Failure> {
        let ids = self.ids(rows, row);
        self.event("B", ids, ns, found, 0, note);
        Ok(())
    }

    fn end(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        by: Result<Option<&Found<'_>>, Why>,
    ) -> Result<(), Failure> {
        let ids = self.ids(rows, row);
        if let Ok(Some(found)) = by {
            self.event("E", ids, ns, found, 0, Note::None);
            return Ok(());
        }
        self.begin_event("E", ids.0, ids.1);
        self.time(ns);
        if let Err(why) = by {
            self.out.extend_from_slice(format!(",\"args\":{{\"_truncated\":\"{}\"}}", why.name()).as_bytes());
        }
        self.out.push(b'}');
        Ok(())
    }

    fn instant(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        flow: u64,
        note: Note,
    ) -> Result<(), Failure> {
        let ids = self.ids(rows, row);
        self.event("i", ids, ns, found, flow, note);
        Ok(())
    }

    fn number(&mut self, rows: &Rows, row: usize, ns: u64, value: Value<'_>) -> Result<(), Failure> {
        let ids = self.ids(rows, row);
        let start = self.out.len();
        self.begin_event("C", ids.0, ids.1);
        self.time(ns);
        self.name(rows.get(row).name.as_bytes());
        self.out.extend_from_slice(b",\"args\":{\"value\":");
        // A string would be no number; whoever reads it rounds it.
        Json { strings: false, wide: false, payload: None, attributes: false }.value(&mut self.out, value);
        self.out.extend_from_slice(b"}}");
        self.number_backslashes(start);
        Ok(())
    }

    fn lost(
        &mut self,
        rows: &Rows,
        row: usize,
        times: (u64, u64),
        counts: &[(&str, u64)],
    ) -> Result<(), Failure> {
        let ids = self.ids(rows, row);
        self.begin_event("B", ids.0, ids.1);
        self.time(times.0);
        self.name(b"lost");
        self.out.extend_from_slice(b",\"cat\":\"losses\",\"args\":{");
        for (n, (name, count)) in counts.iter().enumerate() {
            self.out.extend_from_slice(if n > 0 { b",\"" } else { b"\"" });
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"\":");
            self.json.value(&mut self.out, Value::Unsigned(*count));
        }
        self.out.extend_from_slice(b"}}");
        self.end(rows, row, times.1, Ok(None))
    }
}
