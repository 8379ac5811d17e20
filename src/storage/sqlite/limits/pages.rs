//! The number of pages that rows take: an upper bound for rows to be stored, a lower bound for rows to be deleted.
//!
//! SQLite appends a row to the last leaf of the table, and begins another leaf if it does not fit. The part of a long row that
//! does not fit into a leaf lies in overflow pages of its own.

/// Bytes of a row beside its payload, at most: the record's header, twelve columns, the id, the pointer to the cell.
const ROW_MOST: u64 = 110;
/// Bytes of a row beside its payload, at least, with small numbers in all columns.
const ROW_LEAST: u64 = 30;
/// Bytes of a row's entry in the index of the key, at most. Its pages may be only two thirds full.
const KEY_MOST: u64 = 60;
/// Bytes of a usual row beside its payload, including the entry in the index of the key.
const ROW_USUALLY: u64 = 76;
/// Other pages than those of the rows: inner pages of both trees, the row in `runs`, a mark in `arrivals`.
const OTHER_PAGES: u64 = 8;

/// Bytes of a row that its leaf holds, at most.
fn leaf_most(page: u64) -> u64 {
    page - 35
}

/// Bytes of a row with overflow pages that its leaf holds, at least.
fn leaf_least(page: u64) -> u64 {
    (page - 12) * 32 / 255 - 23
}

/// The space that rows to be stored take, at most.
#[derive(Clone, Copy, Debug)]
pub struct Needed {
    page: u64,
    rows: u64,
    /// Bytes in leaves.
    leaves: u64,
    /// Bytes of the largest row in a leaf.
    largest: u64,
    overflow_pages: u64,
}

impl Needed {
    /// No rows yet; `page` is the size of a page in bytes, at least 512.
    pub fn new(page: u64) -> Self {
        Self { page, rows: 0, leaves: 0, largest: 0, overflow_pages: 0 }
    }

    /// Adds a row with so many bytes of payload.
    #[inline]
    pub fn add(&mut self, payload: u64) {
        self.rows += 1;
        let mut row = payload.saturating_add(ROW_MOST);
        if row > leaf_most(self.page) {
            // The part in the leaf depends on the size of each column.
            self.overflow_pages += (row - leaf_least(self.page)).div_ceil(self.page - 4);
            row = leaf_most(self.page);
        }
        self.leaves += row;
        self.largest = self.largest.max(row);
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Pages that they take, at most.
    pub(super) fn pages(&self) -> u64 {
        // A leaf is left with less free space than the next row takes. And two successive leaves hold more than one page of rows.
        let filled = self.page - 8 - self.largest.min(self.page / 2);
        let leaves = self.leaves.div_ceil(filled);
        let keys = (self.rows * KEY_MOST).div_ceil(self.page);
        let pages = self.overflow_pages + leaves + keys;
        pages + pages / 128 + OTHER_PAGES
    }
}

/// The space that becomes free when the oldest rows are deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freed {
    page: u64,
    /// Bytes that are reserved for each row elsewhere, and become free with it.
    reserved: u64,
    rows: u64,
    leaves: u64,
    usual_bytes: u64,
    overflow_pages: u64,
}

impl Freed {
    /// No rows yet.
    pub(super) fn new(page: u64, reserved: u64) -> Self {
        Self { page, reserved, rows: 0, leaves: 0, usual_bytes: 0, overflow_pages: 0 }
    }

    /// Pages that so many rows free at least, whatever they contain.
    pub(super) fn by_rows(page: u64, rows: u64) -> u64 {
        (rows.saturating_mul(ROW_LEAST) / page).saturating_sub(3)
    }

    /// Adds a row with so many bytes of payload.
    pub(super) fn add(&mut self, payload: u64) {
        let row = payload.saturating_add(ROW_LEAST);
        let most = leaf_most(self.page);
        if row > most {
            self.overflow_pages += (row - most).div_ceil(self.page - 4);
            self.leaves += leaf_least(self.page);
        } else {
            self.leaves += row;
        }
        self.rows += 1;
        self.usual_bytes += payload.saturating_add(ROW_USUALLY + self.reserved);
    }

    /// Pages that become free at least. The last leaf stays, and another one where leaves are merged.
    pub(super) fn certain_pages(&self) -> u64 {
        self.overflow_pages
            + (self.leaves / self.page).saturating_sub(2)
            + (self.rows * self.reserved / self.page).saturating_sub(1)
    }

    /// Pages that usually become free.
    pub(super) fn likely_pages(&self) -> u64 {
        self.usual_bytes / self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::{Connection, params};

    const PAGE: u64 = 4096;

    fn figure(db: &Connection, name: &str) -> u64 {
        db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).expect("a figure") as u64
    }

    fn used(db: &Connection) -> u64 {
        figure(db, "page_count") - figure(db, "freelist_count")
    }

    /// An empty database, removed at the end.
    struct Scratch(Connection, std::path::PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let place = std::env::temp_dir().join(format!("sqlite-size-{}-{number}", std::process::id()));
            std::fs::create_dir_all(&place).expect("a directory");
            let mut db = Connection::open(place.join("size.db")).expect("it opens");
            crate::storage::sqlite::schema::prepare(&mut db, 0).expect("the tables");
            db.execute_batch("PRAGMA synchronous = OFF; BEGIN").expect("begun");
            Self(db, place)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.1);
        }
    }

    fn insert(db: &Connection, wide: bool, ring: u64, sequence: u64, payload: u64) {
        let most = if wide { i64::MAX } else { 0 };
        db.prepare_cached(
            "INSERT INTO events(run, ring_id, sequence, time_ns, wall_ns, kind, correlation_id, node_id, weight, flags, \
             writer_id, attempt, payload) VALUES(?1, ?2, ?3, ?1, ?1, ?1, ?1, ?1, ?5, ?1, ?1, ?1, zeroblob(?4))",
        )
        .and_then(|mut s| {
            s.execute(params![
                most,
                most - ring as i64,
                most / 2 + sequence as i64,
                payload as i64,
                if wide { 0.1 } else { 1.0 },
            ])
        })
        .expect("a row");
    }

    #[test]
    fn rows_take_no_more_pages_than_estimated_and_free_no_fewer() {
        // Payloads around all limits: half a page, a page, the steps of overflow; alone and mixed.
        #[rustfmt::skip]
        let sizes: &[&[u64]] = &[
            &[0], &[64], &[64, 3_000], &[1_000, 3_200], &[1_900, 1_950], &[1_970], &[2_030], &[2_100], &[3_950, 3_990],
            &[4_010], &[4_100], &[4_400, 100], &[4_500, 4_550], &[8_130, 8_200, 20], &[100_000], &[3_600_000],
        ];
        for lengths in sizes {
            for (wide, rings) in [(false, 1), (true, 1), (true, 7)] {
                let scratch = Scratch::new();
                let db = &scratch.0;
                let before = used(db);
                let total = if lengths[0] > 1_000_000 {
                    2
                } else if lengths[0] > 50_000 {
                    30
                } else {
                    3_000
                };
                let mut needed = Needed::new(PAGE);
                let mut freed = Freed::new(PAGE, 0);
                for i in 0..total {
                    let length = lengths[i as usize % lengths.len()];
                    needed.add(length);
                    insert(db, wide, i % rings, i, length);
                    if i < total / 2 {
                        freed.add(length);
                    }
                }
                let took = used(db) - before;
                assert!(took <= needed.pages(), "{lengths:?} {wide}: {took} pages, {} said", needed.pages());
                assert!(needed.pages() < 5 * took + 20, "{lengths:?} {wide}: {took}, {}", needed.pages());
                let full = used(db);
                db.execute("DELETE FROM events WHERE id <= ?1", [(total / 2) as i64]).expect("deleted");
                let gone = full - used(db);
                assert!(
                    gone >= freed.certain_pages(),
                    "{lengths:?} {wide}: {gone}, {}",
                    freed.certain_pages()
                );
            }
        }
    }
}
