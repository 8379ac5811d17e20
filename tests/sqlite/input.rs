//! Invalid input to the C functions: the status and the message are exact, and no file is changed.

use crate::support::*;
use capture_pipeline::ffi::storage_sqlite::*;
use capture_pipeline::ffi::version::pipeline_last_error;
use capture_pipeline::status::*;
use capture_pipeline::storage::callback::pipeline_storage_t;
use rusqlite::Connection;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};

const STORAGE: usize = size_of::<pipeline_storage_t>();

fn last_error() -> String {
    // SAFETY: the message is NUL-terminated and belongs to this thread.
    unsafe { CStr::from_ptr(pipeline_last_error()) }.to_string_lossy().into_owned()
}

fn options() -> pipeline_sqlite_options_t {
    let mut options = MaybeUninit::uninit();
    // SAFETY: of the size given.
    unsafe {
        assert_eq!(
            pipeline_sqlite_options_init(options.as_mut_ptr(), size_of::<pipeline_sqlite_options_t>()),
            0
        );
        options.assume_init()
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}

/// Opens a storage, and destroys it on success. Also returns whether `out` was written.
fn try_open(path: &Path, options: *const pipeline_sqlite_options_t) -> (i32, String) {
    let path = c_path(path);
    let mut out: MaybeUninit<pipeline_storage_t> = MaybeUninit::zeroed();
    // SAFETY: the path is NUL-terminated, the options are valid or NULL, and `out` has space for a storage.
    unsafe {
        let status = pipeline_storage_sqlite(path.as_ptr(), options, STORAGE, out.as_mut_ptr());
        let out = out.assume_init();
        if status == PIPELINE_OK {
            // The file is closed when this returns.
            assert_eq!(out.finish.expect("it has an end")(out.user_data, -1), PIPELINE_OK);
            out.destroy.expect("it can be given up")(out.user_data);
            return (status, String::new());
        }
        assert!(out.store.is_none() && out.user_data.is_null() && out.struct_size == 0, "written on failure");
        (status, last_error())
    }
}

#[track_caller]
fn refused(path: &Path, status: i32, words: &[&str]) {
    let (given, detail) = try_open(path, null());
    assert_eq!(given, status, "{detail}");
    for word in words {
        assert!(detail.contains(word), "{word:?} is missing in {detail:?}");
    }
}

#[test]
fn null_pointers_and_sizes() {
    let scratch = Scratch::new();
    let path = c_path(&scratch.file("null.db"));
    let mut out: MaybeUninit<pipeline_storage_t> = MaybeUninit::zeroed();
    // SAFETY: every pointer is NULL or valid; the sizes are refused before anything is written.
    unsafe {
        assert_eq!(pipeline_storage_sqlite(null(), null(), STORAGE, out.as_mut_ptr()), PIPELINE_ERR_NULL);
        assert!(last_error().contains("path"));
        assert_eq!(pipeline_storage_sqlite(path.as_ptr(), null(), STORAGE, null_mut()), PIPELINE_ERR_NULL);
        assert!(last_error().contains("out"));
        for size in [0, 3, std::mem::offset_of!(pipeline_storage_t, finish) - 1, 4097, usize::MAX] {
            let status = pipeline_storage_sqlite(path.as_ptr(), null(), size, out.as_mut_ptr());
            assert_eq!(status, PIPELINE_ERR_VERSION, "{size}");
        }
        assert_eq!(pipeline_sqlite_options_init(null_mut(), 64), PIPELINE_ERR_NULL);
        for size in [0, 63, 4097, usize::MAX] {
            assert_eq!(
                pipeline_sqlite_options_init([0u64; 8].as_mut_ptr().cast(), size),
                PIPELINE_ERR_VERSION
            );
        }
        assert_eq!(pipeline_sqlite_create_indexes(null()), PIPELINE_ERR_NULL);
        assert_eq!(pipeline_sqlite_create_indexes(path.as_ptr()), PIPELINE_ERR_STORAGE);
        assert!(last_error().contains("null.db"));
        assert_eq!(pipeline_sqlite_create_indexes(c"".as_ptr()), PIPELINE_ERR_INVALID);
    }
    assert!(!scratch.file("null.db").exists(), "no file is made by a call that fails");
}

#[test]
fn a_longer_struct_must_be_zero_past_what_is_known() {
    #[repr(C)]
    struct Longer(pipeline_sqlite_options_t, u64);
    let scratch = Scratch::new();
    let mut longer = Longer(options(), 0);
    longer.0.struct_size = size_of::<Longer>() as u32;
    assert_eq!(try_open(&scratch.file("a.db"), (&raw const longer).cast()).0, PIPELINE_OK);
    longer.1 = 1 << 40;
    assert_eq!(try_open(&scratch.file("b.db"), (&raw const longer).cast()).0, PIPELINE_ERR_VERSION);
    assert!(!scratch.file("b.db").exists());
}

#[test]
fn every_option_has_its_limits() {
    let scratch = Scratch::new();
    type Change = (&'static str, &'static str, fn(&mut pipeline_sqlite_options_t));
    let changes: [Change; 20] = [
        ("flags", "0x2", |o| o.flags = 2),
        ("flags", "0xffffffff", |o| o.flags = u32::MAX),
        ("max_bytes", "4194303", |o| o.max_bytes = (4 << 20) - 1),
        ("max_bytes", "18446744073709551615", |o| o.max_bytes = u64::MAX),
        ("max_age_ms", "18446744073709551615", |o| o.max_age_ms = u64::MAX),
        ("min_free_disk", "18446744073709551615", |o| o.min_free_disk = u64::MAX),
        ("synchronous", "3", |o| o.synchronous = 3),
        ("on_full", "2", |o| o.on_full = 2),
        ("commit_interval_us", "1000001", |o| o.commit_interval_us = 1_000_001),
        ("commit_events", " 0 given", |o| o.commit_events = 0),
        ("commit_events", "1000001", |o| o.commit_events = 1_000_001),
        ("busy_timeout_ms", "60001", |o| o.busy_timeout_ms = 60_001),
        ("cache_kib", "255", |o| o.cache_kib = 255),
        ("cache_kib", "1048577", |o| o.cache_kib = 1_048_577),
        ("cache_kib", " 0 given", |o| o.cache_kib = 0),
        ("synchronous", "4294967295", |o| o.synchronous = u32::MAX),
        ("file_mode", "0o1600", |o| o.file_mode = 0o1600),
        ("file_mode", "0o755", |o| o.file_mode = 0o755),
        ("file_mode", "0o400", |o| o.file_mode = 0o400),
        ("reserved", "1", |o| o.reserved = 1),
    ];
    for (field, value, change) in changes {
        let mut o = options();
        change(&mut o);
        let (status, detail) = try_open(&scratch.file("options.db"), &raw const o);
        assert_eq!(status, PIPELINE_ERR_INVALID, "{field} {value}");
        assert!(
            detail.contains(field) && detail.contains(value) && detail.contains("allowed"),
            "{field} {value}: {detail}"
        );
    }
    assert!(!scratch.file("options.db").exists());
    for change in [
        (|o| o.flags = PIPELINE_SQLITE_NO_INDEXES) as fn(&mut pipeline_sqlite_options_t),
        |o| o.max_bytes = 4 << 20,
        |o| o.synchronous = PIPELINE_SQLITE_SYNC_OFF,
        |o| o.synchronous = PIPELINE_SQLITE_SYNC_FULL,
        |o| o.on_full = PIPELINE_SQLITE_REJECT,
        |o| o.commit_interval_us = 0,
        |o| o.commit_events = 1,
        |o| o.busy_timeout_ms = 0,
        |o| o.file_mode = 0o666,
    ] {
        let mut o = options();
        change(&mut o);
        assert_eq!(try_open(&scratch.file("options.db"), &raw const o), (PIPELINE_OK, String::new()));
    }
}

#[test]
fn paths_that_lead_nowhere() {
    let scratch = Scratch::new();
    refused(Path::new(""), PIPELINE_ERR_INVALID, &["path"]);
    let directory = scratch.path().to_string_lossy().into_owned();
    refused(scratch.path(), PIPELINE_ERR_STORAGE, &[&directory, "unable to open"]);
    let missing = scratch.file("no/such/dir.db");
    refused(&missing, PIPELINE_ERR_STORAGE, &["no/such/dir.db", "unable to open"]);
    refused(Path::new("/proc/capture.db"), PIPELINE_ERR_STORAGE, &["/proc/capture.db"]);
    refused(Path::new("/dev/null"), PIPELINE_ERR_STORAGE, &["/dev/null"]);
    refused(Path::new("/dev/full"), PIPELINE_ERR_STORAGE, &["/dev/full"]);
    let long = scratch.file(&"x".repeat(300));
    refused(&long, PIPELINE_ERR_STORAGE, &["xxx"]);
}

#[test]
fn names_that_mean_something_to_sqlite_are_just_names() {
    let scratch = Scratch::new();
    for name in ["file:memdb?mode=memory", ":memory:", "with space.db", "100%41.db"] {
        assert_eq!(try_open(&scratch.file(name), null()), (PIPELINE_OK, String::new()), "{name}");
        assert!(scratch.file(name).exists(), "{name}");
    }
}

#[test]
fn what_is_no_database_of_ours_is_not_touched() {
    let scratch = Scratch::new();
    let text = scratch.file("letter.txt");
    std::fs::write(&text, "Dear Sir or Madam, ".repeat(100)).expect("written");
    refused(&text, PIPELINE_ERR_STORAGE, &["letter.txt", "not a database"]);
    assert_eq!(std::fs::read(&text).expect("read"), "Dear Sir or Madam, ".repeat(100).as_bytes());

    let foreign = scratch.file("foreign.db");
    Connection::open(&foreign)
        .and_then(|db| db.execute_batch("CREATE TABLE events(a); INSERT INTO events VALUES(1)"))
        .expect("made");
    let before = std::fs::read(&foreign).expect("read");
    refused(&foreign, PIPELINE_ERR_STORAGE, &["foreign.db", "application_id", " 0 found"]);
    let path = c_path(&foreign);
    // SAFETY: NUL-terminated.
    assert_eq!(unsafe { pipeline_sqlite_create_indexes(path.as_ptr()) }, PIPELINE_ERR_STORAGE);
    assert_eq!(std::fs::read(&foreign).expect("read"), before);

    // The tables that earlier versions of the schema did not have are added.
    for (version, missing) in [
        (1, "clocks; DROP TABLE definitions; DROP TABLE defined_kinds; DROP TABLE run_attributes"),
        (2, "definitions; DROP TABLE defined_kinds; DROP TABLE run_attributes"),
        (3, "run_attributes"),
    ] {
        let earlier = scratch.file(&format!("earlier{version}.db"));
        assert_eq!(try_open(&earlier, null()).0, PIPELINE_OK);
        Connection::open(&earlier)
            .and_then(|db| {
                db.execute_batch(&format!(
                    "DROP VIEW run_attributes_view; DROP TABLE {missing}; PRAGMA user_version = {version}; \
                     INSERT INTO runs(generation, pid, program, boot_id, first_wall_ns, first_time_ns) \
                     VALUES(1, 2, 'earlier', '', 3, 4)"
                ))
            })
            .expect("made as it was");
        assert_eq!(try_open(&earlier, null()).0, PIPELINE_OK);
        assert_eq!(count(&earlier, "PRAGMA user_version"), 4);
        let all = "clocks JOIN definitions JOIN defined_kinds JOIN run_attributes_view";
        assert_eq!(count(&earlier, &format!("SELECT count(*) FROM {all}")), 0);
        assert_eq!(count(&earlier, "SELECT count(*) FROM runs WHERE program = 'earlier'"), 1);
    }

    let later = scratch.file("later.db");
    assert_eq!(try_open(&later, null()).0, PIPELINE_OK);
    Connection::open(&later).and_then(|db| db.execute_batch("PRAGMA user_version = 1000")).expect("changed");
    refused(&later, PIPELINE_ERR_STORAGE, &["later.db", "user_version", "1000 found"]);
}

#[test]
fn a_damaged_database_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.file("damaged.db");
    assert_eq!(try_open(&path, null()).0, PIPELINE_OK);
    let mut bytes = std::fs::read(&path).expect("read");
    // The page of the schema, behind the file's header.
    bytes[100..4096].fill(0xa5);
    std::fs::write(&path, &bytes).expect("written");
    refused(&path, PIPELINE_ERR_STORAGE, &["damaged.db", "malformed"]);
    assert_eq!(std::fs::read(&path).expect("read"), bytes);
}

#[test]
fn a_database_locked_by_another_says_so() {
    let scratch = Scratch::new();
    let path = scratch.file("locked.db");
    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("BEGIN EXCLUSIVE; CREATE TABLE t(a)").expect("locked");
    let mut o = options();
    o.busy_timeout_ms = 10;
    let (status, detail) = try_open(&path, &raw const o);
    assert_eq!(status, PIPELINE_ERR_STORAGE);
    assert!(detail.contains("locked.db") && detail.contains("locked"), "{detail}");
}

/// Works as root, too, who ignores permissions: a child does the work as the user nobody.
#[test]
fn a_file_that_may_only_be_read_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.file("readonly.db");
    assert_eq!(try_open(&path, null()).0, PIPELINE_OK);
    // SAFETY: the child only opens a file and ends.
    unsafe {
        libc::chmod(c_path(&path).as_ptr(), 0o444);
        libc::chmod(c_path(scratch.path()).as_ptr(), 0o555);
        let child = libc::fork();
        if child == 0 {
            if libc::geteuid() == 0 {
                libc::setgid(65_534);
                libc::setuid(65_534);
            }
            let (status, detail) = try_open(&path, null());
            let (fresh, words) = try_open(&scratch.file("fresh.db"), null());
            let right = status == PIPELINE_ERR_STORAGE
                && detail.contains("readonly.db")
                && fresh == PIPELINE_ERR_STORAGE
                && words.contains("unable to open");
            if !right {
                eprintln!("{status} {detail}; {fresh} {words}");
            }
            libc::_exit(i32::from(!right));
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        libc::chmod(c_path(scratch.path()).as_ptr(), 0o755);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    }
}
