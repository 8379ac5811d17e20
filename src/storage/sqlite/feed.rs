//! A batch as a table: SQLite reads the events straight from the ring buffer, one statement for a whole batch.
//!
//! `INSERT INTO events … SELECT … FROM capture_batch` stores some 500 events with one step of one statement. Compared with a
//! prepared statement that is bound and stepped per event it saves a third of the time, and there is nothing to copy:
//! the payload goes from the ring into SQLite's page.

use crate::batch::BatchView;
use crate::event::{EventView, PIPELINE_EVENT_OWN_TIME};
use rusqlite::ffi::{
    self, SQLITE_ERROR, SQLITE_OK, sqlite3, sqlite3_context, sqlite3_index_info, sqlite3_int64,
    sqlite3_module, sqlite3_value, sqlite3_vtab, sqlite3_vtab_cursor,
};
use std::ffi::{CStr, c_char, c_int, c_void};

/// What the table `capture_batch` shows at present: the events `from..to` of a batch. Empty between statements.
pub(super) struct Feed {
    batch: *const BatchView,
    from: usize,
    to: usize,
    run: i64,
}

/// The statement that stores what the feed shows; an event whose key is there already is passed over.
pub(super) const INSERT: &str = "INSERT OR IGNORE INTO events(run, ring_id, sequence, time_ns, wall_ns, kind, \
     correlation_id, node_id, weight, flags, writer_id, attempt, payload) \
     SELECT run, ring_id, sequence, time_ns, wall_ns, kind, correlation_id, node_id, weight, flags, writer_id, attempt, \
     payload FROM capture_batch";

const DECLARATION: &CStr =
    c"CREATE TABLE capture_batch(run, ring_id, sequence, time_ns, wall_ns, kind, correlation_id, \
     node_id, weight, flags, writer_id, attempt, payload)";

/// The wall time of an event; one that brought its own time was captured just before the writer took it up.
pub(super) fn wall_ns(batch: &BatchView, event: &EventView) -> i64 {
    let at =
        if event.flags & PIPELINE_EVENT_OWN_TIME != 0 { batch.processed_at_ns } else { event.timestamp_ns };
    (at as i64).wrapping_add(batch.realtime_offset_ns)
}

/// The event at `index` of a batch.
///
/// # Safety
/// `batch` is valid and has more than `index` events.
pub(super) unsafe fn event(batch: &BatchView, index: usize) -> &EventView {
    // SAFETY: by contract; the stride is the distance from one event to the next.
    unsafe { &*batch.events.byte_add(index * batch.event_stride as usize) }
}

impl Feed {
    pub(super) fn new() -> Self {
        Self { batch: std::ptr::null(), from: 0, to: 0, run: 0 }
    }

    /// Shows the events `from..to` of `batch` until [`Feed::clear`].
    pub(super) fn show(&mut self, run: i64, batch: &BatchView, from: usize, to: usize) {
        *self = Self { batch, from, to: to.min(batch.count), run };
    }

    /// Shows nothing.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Makes `capture_batch` known to a connection. It has no entry in the schema: others never see it.
    ///
    /// # Safety
    /// `feed` stays valid until the connection is closed, and is changed only between statements.
    pub(super) unsafe fn register(db: *mut sqlite3, feed: *mut Feed) -> c_int {
        // SAFETY: the name and the module are static; `feed` by contract.
        unsafe {
            ffi::sqlite3_create_module_v2(
                db,
                c"capture_batch".as_ptr(),
                &raw const MODULE.0,
                feed.cast(),
                None,
            )
        }
    }
}

#[repr(C)]
struct Table {
    base: sqlite3_vtab,
    feed: *const Feed,
}

#[repr(C)]
struct Cursor {
    base: sqlite3_vtab_cursor,
    index: usize,
}

struct Module(sqlite3_module);
// SAFETY: function pointers, never written.
unsafe impl Sync for Module {}

// No xCreate: the table exists by its name alone ("eponymous only").
static MODULE: Module = {
    // SAFETY: all members are integers and nullable function pointers.
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

// The functions below are called by SQLite only, in the order that it documents: a table between connect and disconnect, a
// cursor of it between open and close. Both are made here, so the casts fit; nothing in them panics.

unsafe extern "C" fn connect(
    db: *mut sqlite3,
    feed: *mut c_void,
    _argc: c_int,
    _argv: *const *const c_char,
    out: *mut *mut sqlite3_vtab,
    _error: *mut *mut c_char,
) -> c_int {
    // SAFETY: `db` is the connection that asks, `feed` what was registered, `out` SQLite's.
    unsafe {
        let declared = ffi::sqlite3_declare_vtab(db, DECLARATION.as_ptr());
        if declared == SQLITE_OK {
            let table = Box::new(Table { base: std::mem::zeroed(), feed: feed.cast_const().cast() });
            *out = Box::into_raw(table).cast();
        }
        declared
    }
}

unsafe extern "C" fn disconnect(table: *mut sqlite3_vtab) -> c_int {
    // SAFETY: made in `connect`, not used again.
    drop(unsafe { Box::from_raw(table.cast::<Table>()) });
    SQLITE_OK
}

unsafe extern "C" fn best_index(_table: *mut sqlite3_vtab, info: *mut sqlite3_index_info) -> c_int {
    // SAFETY: SQLite's own structure, for the time of the call.
    unsafe {
        (*info).estimatedCost = 1.0;
    }
    SQLITE_OK
}

unsafe extern "C" fn open(_table: *mut sqlite3_vtab, out: *mut *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: zeroes are what SQLite asks for in its part; `out` is SQLite's.
    unsafe {
        let cursor = Box::new(Cursor { base: std::mem::zeroed(), index: 0 });
        *out = Box::into_raw(cursor).cast();
    }
    SQLITE_OK
}

unsafe extern "C" fn close(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: made in `open`, not used again.
    drop(unsafe { Box::from_raw(cursor.cast::<Cursor>()) });
    SQLITE_OK
}

/// The feed behind a cursor.
///
/// # Safety
/// `cursor` was made in [`open`] and not closed; the feed outlives the connection, and nobody changes it meanwhile.
unsafe fn feed<'a>(cursor: *mut sqlite3_vtab_cursor) -> &'a Feed {
    // SAFETY: SQLite sets `pVtab` to the table that the cursor was opened on.
    unsafe { &*(*(*cursor).pVtab.cast::<Table>()).feed }
}

unsafe extern "C" fn filter(
    cursor: *mut sqlite3_vtab_cursor,
    _number: c_int,
    _string: *const c_char,
    _argc: c_int,
    _argv: *mut *mut sqlite3_value,
) -> c_int {
    // SAFETY: a cursor of ours.
    unsafe { (*cursor.cast::<Cursor>()).index = feed(cursor).from };
    SQLITE_OK
}

unsafe extern "C" fn next(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: a cursor of ours.
    unsafe { (*cursor.cast::<Cursor>()).index += 1 };
    SQLITE_OK
}

unsafe extern "C" fn eof(cursor: *mut sqlite3_vtab_cursor) -> c_int {
    // SAFETY: a cursor of ours.
    unsafe { c_int::from((*cursor.cast::<Cursor>()).index >= feed(cursor).to) }
}

unsafe extern "C" fn rowid(cursor: *mut sqlite3_vtab_cursor, out: *mut sqlite3_int64) -> c_int {
    // SAFETY: a cursor of ours; `out` is SQLite's.
    unsafe { *out = (*cursor.cast::<Cursor>()).index as i64 };
    SQLITE_OK
}

unsafe extern "C" fn column(
    cursor: *mut sqlite3_vtab_cursor,
    context: *mut sqlite3_context,
    column: c_int,
) -> c_int {
    // SAFETY: SQLite asks for columns only where `eof` said no, so the feed shows a batch (valid until it is answered,
    // which is after the statement) and the index is one of its events. The payload is read before the statement ends, so
    // SQLite need not copy it (a NULL destructor is SQLITE_STATIC).
    unsafe {
        let feed = feed(cursor);
        let batch = &*feed.batch;
        let event = event(batch, (*cursor.cast::<Cursor>()).index);
        let value = match column {
            0 => feed.run,
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
