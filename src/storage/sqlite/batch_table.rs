//! A batch as a virtual table (<https://sqlite.org/vtab.html>), so that one statement stores a whole batch.
//!
//! `INSERT INTO events … SELECT … FROM capture_batch` reads the events where they lie in the ring buffer and copies each payload
//! once, into SQLite's page.
//! It is faster than a statement that is bound and stepped for each event: 519,000 events per second of processor time against 308,000
//! with one ring, 380,000 against 289,000 with four (`cargo bench --bench sqlite_store`, 64-byte payloads, batches of 512).

use crate::batch::BatchView;
use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME};
use rusqlite::ffi::{
    self, SQLITE_ERROR, SQLITE_OK, sqlite3, sqlite3_context, sqlite3_index_info, sqlite3_int64,
    sqlite3_module, sqlite3_value, sqlite3_vtab, sqlite3_vtab_cursor,
};
use std::ffi::{CStr, c_char, c_int, c_void};

/// The present rows of the table `capture_batch`: the events `from..to` of a batch. Empty between statements.
pub(super) struct BatchTable {
    batch: *const BatchView,
    from: usize,
    to: usize,
    run: i64,
}

/// Stores the rows of the batch table. An event whose key exists already is skipped.
pub(super) const INSERT: &str = "INSERT OR IGNORE INTO events(run, ring_id, sequence, time_ns, wall_ns, kind, \
     correlation_id, node_id, weight, flags, writer_id, attempt, payload) \
     SELECT run, ring_id, sequence, time_ns, wall_ns, kind, correlation_id, node_id, weight, flags, writer_id, attempt, \
     payload FROM capture_batch";

const DECLARATION: &CStr =
    c"CREATE TABLE capture_batch(run, ring_id, sequence, time_ns, wall_ns, kind, correlation_id, \
     node_id, weight, flags, writer_id, attempt, payload)";

/// The wall time of an event. For an event with a timestamp of its own it is that of the claim, which follows its capture closely. A batch that no
/// writer has claimed (of an export, whose events lay in a journal) does not know it: then the timestamp is taken for CLOCK_MONOTONIC, as elsewhere.
pub(super) fn wall_ns(batch: &BatchView, event: &EventView) -> i64 {
    let own_time = event.flags & PIPELINE_EVENT_OWN_TIME != 0;
    if own_time && batch.processed_at_ns == 0 {
        let ns = event.timestamp_ns.saturating_add_signed(batch.realtime_offset_ns);
        return i64::try_from(ns).unwrap_or(i64::MAX);
    }
    let at = if own_time { batch.processed_at_ns } else { event.timestamp_ns };
    (at as i64).wrapping_add(batch.realtime_offset_ns)
}

/// The event at `index` of a batch.
///
/// # Safety
/// `batch` is valid and has more than `index` events.
pub(super) unsafe fn event(batch: &BatchView, index: usize) -> &EventView {
    // SAFETY: the index is below the count, and the stride is the distance from one event to the next.
    unsafe { &*batch.events.byte_add(index * batch.event_stride as usize) }
}

impl BatchTable {
    pub(super) fn new() -> Self {
        Self { batch: std::ptr::null(), from: 0, to: 0, run: 0 }
    }

    /// Shows the events `from..to` of `batch` until [`BatchTable::clear`].
    pub(super) fn show(&mut self, run: i64, batch: &BatchView, from: usize, to: usize) {
        *self = Self { batch, from, to: to.min(batch.count), run };
    }

    /// Shows nothing.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Makes `capture_batch` known to a connection. It has no entry in the schema, so other connections never see it.
    ///
    /// # Safety
    /// `rows` stays valid until the connection is closed, and is changed only between statements.
    pub(super) unsafe fn register(db: *mut sqlite3, rows: *mut BatchTable) -> c_int {
        // SAFETY: the name and the module are static, and `rows` outlives the connection by contract.
        unsafe {
            ffi::sqlite3_create_module_v2(
                db,
                c"capture_batch".as_ptr(),
                &raw const MODULE.0,
                rows.cast(),
                None,
            )
        }
    }
}

#[repr(C)]
struct Table {
    base: sqlite3_vtab,
    rows: *const BatchTable,
}

#[repr(C)]
struct Cursor {
    base: sqlite3_vtab_cursor,
    index: usize,
}

struct Module(sqlite3_module);
// SAFETY: it holds function pointers that are never written.
unsafe impl Sync for Module {}

// Without xCreate the table exists by its name only ("eponymous-only virtual table").
static MODULE: Module = {
    // SAFETY: zeroes are valid values of its members, which are integers and nullable function pointers.
    let mut module: sqlite3_module = unsafe { std::mem::zeroed() };
    module.xConnect = Some(connect);
    module.xBestIndex = Some(best_index);
    module.xDisconnect = Some(disconnect);
    module.xOpen = Some(open);
    module.xClose = Some(close);
    module.xFilter = Some(filter);
    module.xNext = Some(next);
    module.xEof = Some(eof);
    module.xColumn = Some(column);
    module.xRowid = Some(rowid);
    Module(module)
};

// Only SQLite calls the functions below, in the documented order: a table lives from connect to disconnect, a cursor of it from
// open to close. Both are made here, so the casts are valid. None of the functions panics.

unsafe extern "C" fn connect(
    db: *mut sqlite3,
    rows: *mut c_void,
    _argc: c_int,
    _argv: *const *const c_char,
    out: *mut *mut sqlite3_vtab,
    _error: *mut *mut c_char,
) -> c_int {
    // SAFETY: `db` is the calling connection, `rows` the registered pointer, and `out` a place of SQLite's for the table.
    unsafe {
        let declared = ffi::sqlite3_declare_vtab(db, DECLARATION.as_ptr());
        if declared == SQLITE_OK {
            let table = Box::new(Table { base: std::mem::zeroed(), rows: rows.cast_const().cast() });
            *out = Box::into_raw(table).cast();
        }
        declared
    }
}

unsafe extern "C" fn disconnect(table: *mut sqlite3_vtab) -> c_int {
    // SAFETY: the table was made in `connect` and is not used again.
    drop(unsafe { Box::from_raw(table.cast::<Table>()) });
    SQLITE_OK
}

unsafe extern "C" fn best_index(_table: *mut sqlite3_vtab, info: *mut sqlite3_index_info) -> c_int {
    // SAFETY: SQLite's structure is valid for the time of the call.
    unsafe { (*info).estimatedCost = 1.0 };
    SQLITE_OK
}

unsafe extern "C" fn open(_table: *mut sqlite3_vtab, out: *mut *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: SQLite asks for zeroes in its part, and `out` is a place of SQLite's for the cursor.
    unsafe {
        let cursor = Box::new(Cursor { base: std::mem::zeroed(), index: 0 });
        *out = Box::into_raw(cursor).cast();
    }
    SQLITE_OK
}

unsafe extern "C" fn close(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: the cursor was made in `open` and is not used again.
    drop(unsafe { Box::from_raw(cursor.cast::<Cursor>()) });
    SQLITE_OK
}

/// The rows that a cursor reads.
///
/// # Safety
/// `cursor` was made in [`open`] and is not closed. The rows outlive the connection, and no thread changes them during a statement.
unsafe fn rows<'a>(cursor: *mut sqlite3_vtab_cursor) -> &'a BatchTable {
    // SAFETY: SQLite sets `pVtab` to the table that the cursor was opened on.
    unsafe { &*(*(*cursor).pVtab.cast::<Table>()).rows }
}

unsafe extern "C" fn filter(
    cursor: *mut sqlite3_vtab_cursor,
    _number: c_int,
    _string: *const c_char,
    _argc: c_int,
    _argv: *mut *mut sqlite3_value,
) -> c_int {
    // SAFETY: the cursor was made in `open`.
    unsafe { (*cursor.cast::<Cursor>()).index = rows(cursor).from };
    SQLITE_OK
}

unsafe extern "C" fn next(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: the cursor was made in `open`.
    unsafe { (*cursor.cast::<Cursor>()).index += 1 };
    SQLITE_OK
}

unsafe extern "C" fn eof(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: the cursor was made in `open`.
    unsafe { c_int::from((*cursor.cast::<Cursor>()).index >= rows(cursor).to) }
}

unsafe extern "C" fn rowid(cursor: *mut sqlite3_vtab_cursor, out: *mut sqlite3_int64) -> c_int {
    // SAFETY: the cursor was made in `open`, and `out` is a place of SQLite's for the number.
    unsafe { *out = (*cursor.cast::<Cursor>()).index as i64 };
    SQLITE_OK
}

unsafe extern "C" fn column(
    cursor: *mut sqlite3_vtab_cursor,
    context: *mut sqlite3_context,
    column: c_int,
) -> c_int {
    // SAFETY: SQLite reads columns only where `eof` answered no, so the table shows a batch, which is answered after the statement and
    // valid until then, and the index is one of its events. SQLite reads the payload before the statement ends, so it
    // need not copy it (a NULL destructor is SQLITE_STATIC).
    unsafe {
        let rows = rows(cursor);
        let batch = &*rows.batch;
        let event = event(batch, (*cursor.cast::<Cursor>()).index);
        let value = match column {
            0 => rows.run,
            1 => event.ring_id as i64,
            2 => event.sequence as i64,
            3 => event.timestamp_ns as i64,
            4 => wall_ns(batch, event),
            5 => event.kind.into(),
            6 => event.correlation_id as i64,
            7 => event.node_id as i64,
            8 => {
                ffi::sqlite3_result_double(context, event.weight);
                return SQLITE_OK;
            }
            9 => event.flags.into(),
            10 => batch.writer_id.into(),
            11 => batch.attempt.into(),
            12 if event.len == 0 => {
                ffi::sqlite3_result_zeroblob(context, 0);
                return SQLITE_OK;
            }
            12 => {
                ffi::sqlite3_result_blob64(context, event.data, event.len as u64, None);
                return SQLITE_OK;
            }
            _ => return SQLITE_ERROR,
        };
        ffi::sqlite3_result_int64(context, value);
    }
    SQLITE_OK
}
