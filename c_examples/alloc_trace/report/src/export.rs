//! A SQLite database of the calls, for questions.

use crate::calls::{self, Effect};
use crate::event::Call;
use crate::progress::Progress;
use crate::symbols::Symbols;
use crate::trace::{Process, Trace, Watch};
use rusqlite::{Connection, Statement, params};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const TABLES: &str = "
CREATE TABLE processes(
    id INTEGER PRIMARY KEY,
    process TEXT NOT NULL,         -- PID-N
    pid INTEGER, image INTEGER, parent INTEGER,
    name TEXT, command TEXT,
    started_realtime_ns INTEGER,
    ended TEXT,
    lost INTEGER                   -- calls and stacks that are not stored; NULL: not known
);
CREATE TABLE functions(
    kind INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    effect TEXT NOT NULL           -- allocates, resizes, releases
);
CREATE TABLE calls(                -- in the order of time
    id INTEGER PRIMARY KEY,
    process INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    thread INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    size INTEGER,
    address INTEGER NOT NULL,      -- what it returned; for a release, what it was given
    site INTEGER NOT NULL,         -- the return address
    stack INTEGER,
    old INTEGER,                   -- what a call that resizes was given
    took_ns INTEGER,
    released INTEGER               -- the id of the call whose block it has released
);
CREATE TABLE sites(
    process INTEGER NOT NULL,
    address INTEGER NOT NULL,
    function TEXT NOT NULL,
    module TEXT,
    file_offset INTEGER,
    line TEXT,
    PRIMARY KEY(process, address)
) WITHOUT ROWID;
CREATE TABLE stacks(
    process INTEGER NOT NULL,
    number INTEGER NOT NULL,
    depth INTEGER NOT NULL,        -- 0: the innermost
    address INTEGER NOT NULL,
    PRIMARY KEY(process, number, depth)
) WITHOUT ROWID;
";

const VIEWS: &str = "
CREATE INDEX calls_released ON calls(released) WHERE released IS NOT NULL;
CREATE VIEW allocations AS SELECT
    c.id AS id, c.process AS process, c.time_ns AS time_ns, c.thread AS thread, f.name AS call, c.size AS size,
    c.address AS address, s.function AS function, c.stack AS stack,
    r.time_ns AS released_ns, r.time_ns - c.time_ns AS lifetime_ns
FROM calls c
JOIN functions f ON f.kind = c.kind AND f.effect <> 'releases'
LEFT JOIN sites s ON s.process = c.process AND s.address = c.site
LEFT JOIN calls r ON r.released = c.id
WHERE c.address <> 0;
CREATE VIEW stack_functions AS SELECT k.process, k.number, k.depth, s.function, s.module, s.line
FROM stacks k LEFT JOIN sites s ON s.process = k.process AND s.address = k.address;
";

/// A database that is being written. It is removed unless [`finish`](Self::finish) succeeds.
pub struct Export {
    path: PathBuf,
    database: Connection,
    /// The rows of `processes`, by run.
    processes: FxHashMap<u64, i64>,
    /// The addresses that need a name.
    sites: FxHashMap<i64, BTreeSet<u64>>,
    finished: bool,
}

impl Export {
    /// Makes the file, which must not exist.
    pub fn new(path: &Path) -> Result<Self, String> {
        let failed = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| failed(&error))?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, permissions).map_err(|error| failed(&error))?;
        let database = Connection::open(path).map_err(|error| failed(&error))?;
        let export = Self {
            path: path.to_path_buf(),
            database,
            processes: FxHashMap::default(),
            sites: FxHashMap::default(),
            finished: false,
        };
        // Whoever interrupts this starts again.
        export
            .run("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; BEGIN")?;
        export.run(TABLES)?;
        let mut insert = export.prepare("INSERT INTO functions VALUES (?, ?, ?)")?;
        for (kind, name, effect) in calls::all() {
            let effect = match effect {
                Effect::Allocates => "allocates",
                Effect::Resizes => "resizes",
                Effect::Releases => "releases",
            };
            insert.execute(params![kind, name, effect]).map_err(|error| export.failed(&error))?;
        }
        drop(insert);
        Ok(export)
    }

    fn failed(&self, problem: &dyn std::fmt::Display) -> String {
        format!("{}: {problem}", self.path.display())
    }

    fn run(&self, sql: &str) -> Result<(), String> {
        self.database.execute_batch(sql).map_err(|error| self.failed(&error))
    }

    fn prepare(&self, sql: &str) -> Result<Statement<'_>, String> {
        self.database.prepare(sql).map_err(|error| self.failed(&error))
    }

    /// Writes what is known when everything was read, and closes the file.
    pub fn finish<'a>(
        mut self,
        trace: &'a Trace,
        symbols_of: impl Fn(&'a Process) -> Symbols<'a>,
    ) -> Result<(), String> {
        let mut progress = Progress::new("exporting names and stacks");
        let mut last = self.processes.len() as i64;
        for (done, process) in trace.processes.iter().enumerate() {
            progress.show(done as u64, trace.processes.len() as u64);
            // Processes of which there is no event have no run.
            let id = match self.processes.get(&process.run) {
                Some(id) if process.events > 0 => *id,
                _ => {
                    last += 1;
                    last
                }
            };
            self.write_process(id, process)?;
            self.write_names(id, process, &symbols_of(process))?;
        }
        progress.done();
        self.run(VIEWS)?;
        self.run("COMMIT")?;
        self.finished = true;
        Ok(())
    }

    fn write_process(&mut self, id: i64, process: &Process) -> Result<(), String> {
        let (ledger, image) = (process.ledger.as_ref(), process.image.as_ref());
        let or = |of_ledger: Option<u64>, of_image: Option<u64>| of_ledger.or(of_image).map(u64::cast_signed);
        let mut insert = self.prepare("INSERT INTO processes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
        insert
            .execute(params![
                id,
                process.id(),
                or(ledger.map(|one| one.pid.into()), image.map(|one| one.pid.into())),
                or(ledger.map(|one| one.image.into()), image.map(|one| one.number.into())),
                or(ledger.map(|one| one.parent.into()), image.map(|one| one.parent.into())),
                process.name(),
                process.command(),
                or(ledger.map(|one| one.started_realtime_ns), image.map(|one| one.started_realtime_ns)),
                process.ended(),
                process.lost().map(u64::cast_signed),
            ])
            .map_err(|error| self.failed(&error))?;
        Ok(())
    }

    fn write_names(&mut self, id: i64, process: &Process, symbols: &Symbols<'_>) -> Result<(), String> {
        let mut addresses = self.sites.remove(&id).unwrap_or_default();
        {
            let mut insert = self.prepare("INSERT INTO stacks VALUES (?, ?, ?, ?)")?;
            for (number, frames, _) in process.stacks.all() {
                for (depth, address) in frames.iter().enumerate() {
                    insert
                        .execute(params![id, number, depth as i64, address.cast_signed()])
                        .map_err(|error| self.failed(&error))?;
                    addresses.insert(*address);
                }
            }
        }
        let mut insert = self.prepare("INSERT INTO sites VALUES (?, ?, ?, ?, ?, ?)")?;
        for address in addresses {
            let function = symbols.function(address);
            let module = function.module.as_ref().map(|path| path.to_string_lossy().into_owned());
            let offset = function.module.as_ref().map(|_| function.offset.cast_signed());
            insert
                .execute(params![
                    id,
                    address.cast_signed(),
                    function.short(),
                    module,
                    offset,
                    function.line.as_deref()
                ])
                .map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }
}

impl Watch for Export {
    fn call(
        &mut self,
        run: u64,
        number: u64,
        call: &Call,
        released: Option<u64>,
        _live_bytes: u64,
    ) -> Result<(), String> {
        let next = self.processes.len() as i64 + 1;
        let process = *self.processes.entry(run).or_insert(next);
        self.sites.entry(process).or_default().insert(call.site);
        let (allocates, resizes) = (call.effect != Effect::Releases, call.effect == Effect::Resizes);
        let mut insert = self
            .database
            .prepare_cached("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .map_err(|error| self.failed(&error))?;
        insert
            .execute(params![
                number.cast_signed(),
                process,
                call.time_ns.cast_signed(),
                call.thread,
                call.kind,
                allocates.then_some(call.size.cast_signed()),
                call.address.cast_signed(),
                call.site.cast_signed(),
                (call.stack != 0).then_some(call.stack),
                resizes.then_some(call.old.cast_signed()),
                resizes.then_some(call.took_ns.cast_signed()),
                released.map(u64::cast_signed),
            ])
            .map_err(|error| self.failed(&error))?;
        Ok(())
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
