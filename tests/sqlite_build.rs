//! The build of the included SQLite: not older than the release that fixes a corruption by two connections, and without unused parts.
#![cfg(feature = "sqlite")]

use rusqlite::Connection;

#[test]
fn sqlite_is_not_older_than_3_51_3() {
    assert!(rusqlite::version_number() >= 3_051_003, "SQLite {} is compiled in", rusqlite::version());
}

#[test]
fn sqlite_has_no_extensions_and_no_leniencies() {
    let db = Connection::open_in_memory().unwrap();
    let mut query = db.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for unwanted in
        ["ENABLE_FTS", "ENABLE_RTREE", "ENABLE_LOAD_EXTENSION", "ENABLE_STAT4", "ENABLE_DBSTAT", "SOUNDEX"]
    {
        assert!(!options.iter().any(|o| o.starts_with(unwanted)), "{unwanted} is in {options:?}");
    }
    for wanted in ["OMIT_LOAD_EXTENSION", "DQS=0", "THREADSAFE=1"] {
        assert!(options.iter().any(|o| o == wanted), "{wanted} is not in {options:?}");
    }
    assert!(db.execute("CREATE VIRTUAL TABLE t USING fts5(x)", []).is_err());
    assert!(db.execute("CREATE VIRTUAL TABLE t USING rtree(id, a, b)", []).is_err());
    assert!(db.query_row("SELECT load_extension('x')", [], |_| Ok(())).is_err());
}
