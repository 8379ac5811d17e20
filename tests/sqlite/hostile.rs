//! Databases and paths prepared by an attacker, and other users of the machine: their SQL does not run, their links are not followed, their files are not
//! changed, and the database is not readable for them.

use crate::support::*;
use capture_pipeline::status::PIPELINE_ERR_STORAGE;
use capture_pipeline::storage::sqlite::{Options, SqliteStorage, create_indexes};
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY, Storage};
use rusqlite::Connection;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}

/// Runs in a child process, so that only that has another umask or user id. `true` is success.
#[track_caller]
fn in_a_child(work: impl FnOnce() -> bool) {
    // SAFETY: the child uses the library and the C library's fork-safe malloc, and ends without unwinding.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(60);
            let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
            libc::_exit(i32::from(!right));
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
    }
}

fn am_root() -> bool {
    // SAFETY: the call has no arguments.
    unsafe { libc::geteuid() == 0 }
}

#[track_caller]
fn refused(path: &Path, words: &[&str]) {
    let error = SqliteStorage::open(path, plain()).err().expect("refused");
    assert_eq!(error.status, PIPELINE_ERR_STORAGE);
    for word in words.iter().chain([&path.to_str().expect("text")]) {
        assert!(error.detail.contains(word), "{word:?} is missing in {:?}", error.detail);
    }
}

#[test]
fn the_files_have_the_permissions_that_were_asked_for_and_no_others() {
    let scratch = Scratch::new();
    for (name, umask, mode) in [
        ("open.db", 0, 0o600),
        ("closed.db", 0o777, 0o600),
        ("group.db", 0o077, 0o664),
        ("all.db", 0o022, 0o666),
    ] {
        let path = scratch.file(name);
        in_a_child(|| {
            // SAFETY: the call changes only this process's umask.
            unsafe { libc::umask(umask) };
            let storage =
                SqliteStorage::open(&path, Options { file_mode: mode, ..plain() }).expect("it opens");
            let stored = deliver(&storage, 1, &samples(1, 0..10)).0 == PIPELINE_STORE_OK;
            stored
                && ["", "-wal", "-shm"].iter().all(|suffix| {
                    let file = scratch.file(&format!("{name}{suffix}"));
                    std::fs::metadata(file).expect("it is there").mode() & 0o7777 == mode
                })
        });
    }
}

#[test]
fn a_database_that_is_there_keeps_its_permissions() {
    let scratch = Scratch::new();
    let path = scratch.file("kept.db");
    drop(SqliteStorage::open(&path, Options { file_mode: 0o640, ..plain() }).expect("it opens"));
    drop(SqliteStorage::open(&path, plain()).expect("it opens"));
    assert_eq!(std::fs::metadata(&path).expect("it is there").mode() & 0o777, 0o640);
}

/// A user who may read the files can block the storage by a lock on the log's index. Other users cannot.
#[test]
fn another_user_cannot_lock_the_index_of_the_log() {
    if !am_root() {
        println!("not run: only root can become another user");
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.file("locked.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    in_a_child(|| {
        // SAFETY: the calls change only this process's ids.
        let nobody = unsafe { libc::setgid(65_534) == 0 && libc::setuid(65_534) == 0 };
        let closed = |suffix: &&str| {
            let file = c(&scratch.file(&format!("locked.db{suffix}")));
            // SAFETY: a NUL-terminated path.
            unsafe { libc::open(file.as_ptr(), libc::O_RDONLY) == -1 }
        };
        nobody && ["", "-wal", "-shm"].iter().all(closed)
    });
}

#[test]
fn links_that_were_planted_are_not_followed() {
    let scratch = Scratch::new();
    let victim = scratch.file("victim");
    std::fs::write(&victim, "what must stay").expect("written");
    for suffix in ["", "-wal", "-shm"] {
        let path = scratch.file("planted.db");
        let planted = scratch.file(&format!("planted.db{suffix}"));
        for target in [&victim, &scratch.file("dangling")] {
            symlink(target, &planted).expect("planted");
            refused(&path, &["symbolic link", suffix]);
            let error = create_indexes(&path).expect_err("refused");
            assert_eq!(error.status, PIPELINE_ERR_STORAGE);
            std::fs::remove_file(&planted).expect("removed");
        }
        // SAFETY: a NUL-terminated path.
        assert_eq!(unsafe { libc::mkfifo(c(&planted).as_ptr(), 0o666) }, 0);
        refused(&path, &["no regular file", suffix]);
        std::fs::remove_file(&planted).expect("removed");
    }
    assert_eq!(std::fs::read_to_string(&victim).expect("read"), "what must stay");
    assert!(!scratch.file("dangling").exists(), "nothing is made behind a link");
    // Folders may be links, because only the owner of the parent folder can make one there.
    std::fs::create_dir(scratch.file("folder")).expect("made");
    symlink(scratch.file("folder"), scratch.file("link")).expect("made");
    drop(SqliteStorage::open(&scratch.file("link/through.db"), plain()).expect("it opens"));
    assert!(scratch.file("folder/through.db").exists());
}

#[test]
fn another_users_file_in_a_folder_for_all_is_not_taken_for_ours() {
    if !am_root() {
        println!("not run: only root can give a file away");
        return;
    }
    let scratch = Scratch::new();
    // SAFETY: NUL-terminated paths.
    unsafe {
        assert_eq!(libc::chmod(c(scratch.path()).as_ptr(), 0o1777), 0);
        for suffix in ["", "-wal", "-shm"] {
            let planted = scratch.file(&format!("shared.db{suffix}"));
            std::fs::write(&planted, "").expect("written");
            assert_eq!(libc::chown(c(&planted).as_ptr(), 65_534, 65_534), 0);
            refused(&scratch.file("shared.db"), &["another user", "65534", suffix]);
            std::fs::remove_file(&planted).expect("removed");
        }
    }
}

/// A database of this library, changed by a script.
fn changed(scratch: &Scratch, name: &str, script: &str) -> std::path::PathBuf {
    let path = scratch.file(name);
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    // Its connection is closed now, because it would copy the log back later.
    assert_eq!(storage.finish(-1), 0);
    drop(storage);
    Connection::open(&path)
        .and_then(|db| db.execute_batch(&format!("PRAGMA writable_schema = ON; {script}")))
        .unwrap_or_else(|e| panic!("{script}: {e}"));
    path
}

#[test]
fn a_schema_that_would_run_what_others_wrote_is_refused_by_name() {
    let scratch = Scratch::new();
    let replaced = |table: &str, from: &str, to: &str| {
        format!("UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE name = '{table}'")
    };
    let scripts = [
        ("events", replaced("events", "BLOB NOT NULL", "BLOB NOT NULL CHECK(length(randomblob(900000000)))")),
        (
            "events",
            replaced("events", "attempt INTEGER NOT NULL", "attempt INTEGER NOT NULL DEFAULT (random())"),
        ),
        ("events", "ALTER TABLE events ADD COLUMN heavy AS (zeroblob(900000000)) VIRTUAL".to_owned()),
        ("runs", replaced("runs", "pid INTEGER", "pid INTEGER CHECK(pid <> zeroblob(900000000))")),
        ("clocks", "ALTER TABLE clocks ADD COLUMN more".to_owned()),
        ("arrivals", "DROP TABLE arrivals".to_owned()),
        ("threads", "DROP TABLE threads; CREATE VIEW threads AS SELECT 1 AS run".to_owned()),
        (
            "events_view",
            "DROP VIEW events_view; CREATE VIEW events_view AS SELECT randomblob(900000000)".to_owned(),
        ),
        ("heavy", "CREATE INDEX heavy ON events(length(payload))".to_owned()),
        ("some", "CREATE INDEX some ON events(kind) WHERE length(payload) > 3".to_owned()),
        ("once", "CREATE UNIQUE INDEX once ON events(time_ns)".to_owned()),
        ("events_by_time", "CREATE INDEX events_by_time ON events(abs(time_ns))".to_owned()),
    ];
    for (number, (object, script)) in scripts.iter().enumerate() {
        let path = changed(&scratch, &format!("{number}.db"), script);
        let before = std::fs::read(&path).expect("read");
        refused(&path, &[object, "not accepted"]);
        let error = create_indexes(&path).expect_err("refused");
        assert!(error.detail.contains(object), "{}", error.detail);
        assert!(std::fs::read(&path).expect("read") == before, "{script}: the file was changed");
    }
}

#[test]
fn triggers_and_foreign_keys_of_others_do_not_run() {
    let scratch = Scratch::new();
    let path = changed(
        &scratch,
        "triggers.db",
        "CREATE TRIGGER none BEFORE INSERT ON events BEGIN SELECT RAISE(IGNORE); END; \
         CREATE TRIGGER spin AFTER INSERT ON events BEGIN INSERT INTO kinds \
         WITH RECURSIVE spin(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM spin) SELECT n, 'spun' FROM spin; END; \
         CREATE TRIGGER gone AFTER INSERT ON runs BEGIN DELETE FROM events; END; \
         CREATE TABLE theirs(event REFERENCES events(id) ON DELETE CASCADE); INSERT INTO theirs VALUES(1); \
         CREATE VIEW theirs_too AS SELECT randomblob(900000000)",
    );
    let storage = SqliteStorage::open(&path, plain()).expect("what does not run is no reason to refuse it");
    assert_eq!(deliver(&storage, 1, &samples(1, 10..1_010)), (PIPELINE_STORE_OK, vec![]));
    drop(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 1_010);
    assert_eq!(count(&path, "SELECT count(*) FROM kinds"), 0);
}

#[test]
fn indexes_on_plain_columns_and_tables_of_ones_own_are_everybodys_right() {
    let scratch = Scratch::new();
    let path = changed(
        &scratch,
        "own.db",
        "CREATE INDEX mine ON events(kind, time_ns DESC); CREATE INDEX named ON kinds(name COLLATE NOCASE); \
         CREATE TABLE notes(event, note); ANALYZE; DROP VIEW events_view",
    );
    let storage = SqliteStorage::open(&path, Options::default()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 10..20)), (PIPELINE_STORE_OK, vec![]));
    drop(storage);
    drop(SqliteStorage::open(&path, plain()).expect("with the indexes of ours, too"));
    assert_eq!(count(&path, "SELECT count(*) FROM events INDEXED BY mine WHERE kind > 0"), 20);
}

#[test]
fn a_schema_that_is_changed_while_it_runs_is_looked_at_again() {
    let scratch = Scratch::new();
    let path = scratch.file("running.db");
    let storage = SqliteStorage::open(&path, plain()).expect("it opens");
    assert_eq!(deliver(&storage, 1, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("CREATE INDEX fine ON events(kind)").expect("made");
    assert_eq!(deliver(&storage, 1, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
    other.execute_batch("CREATE INDEX heavy ON events(length(payload) + 1)").expect("made");
    assert_eq!(deliver(&storage, 1, &samples(1, 20..30)), (PIPELINE_STORE_RETRY, vec![]));
    assert_eq!(
        deliver(&storage, 2, &samples(1, 20..30)),
        (PIPELINE_STORE_REJECT, vec![]),
        "opened anew, and refused again"
    );
    other.execute_batch("DROP INDEX heavy").expect("dropped");
    assert_eq!(deliver(&storage, 3, &samples(1, 20..30)), (PIPELINE_STORE_OK, vec![]));
    drop(storage);
    assert_eq!(count(&path, "SELECT count(*) FROM events"), 30);
}
