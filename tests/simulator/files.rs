//! The simulated files themselves: a power loss leaves what was synced, and may leave less than what was not. Checked before the runs, because
//! these rely on it.

use capture_pipeline::platform::file_calls as calls;
use capture_pipeline::platform::simulator::{self, files};
use std::ffi::CStr;
use std::sync::{Arc, Mutex};

const RUNS: u64 = 200;

fn open(name: &CStr, flags: i32) -> i32 {
    // SAFETY: a NUL-terminated name.
    unsafe { calls::openat(libc::AT_FDCWD, name.as_ptr(), flags, 0o600) }
}

fn write(fd: i32, bytes: &[u8], at: usize) -> isize {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one vector, of a slice.
    unsafe { calls::pwritev(fd, &raw const part, 1, at as libc::off_t) }
}

fn sync(fd: i32) -> i32 {
    // SAFETY: the system refuses a number that is no descriptor.
    unsafe { calls::fdatasync(fd) }
}

/// The file of this name after a power loss, if it is there.
fn left(name: &str) -> Option<Vec<u8>> {
    files::after_power_loss().into_iter().find(|(found, _)| found == name).map(|(_, bytes)| bytes)
}

/// Runs `body` with a directory and a file in it, whose name is on the disk. Counts how often each outcome came.
fn outcomes(body: fn(i32) -> &'static str) -> Vec<(&'static str, u64)> {
    let all: Arc<Mutex<Vec<(&str, u64)>>> = Arc::default();
    for seed in 0..RUNS {
        let all = Arc::clone(&all);
        simulator::run(seed, false, move || {
            files::make_folder("/folder");
            let fd = open(c"/folder/file", libc::O_CREAT | libc::O_RDWR);
            let folder = open(c"/folder", libc::O_RDONLY | libc::O_DIRECTORY);
            // SAFETY: as above.
            let listed = unsafe { calls::fsync(folder) };
            assert!(fd >= 0 && folder >= 0 && listed == 0);
            let outcome = body(fd);
            let mut all = all.lock().unwrap();
            match all.iter_mut().find(|(name, _)| *name == outcome) {
                Some((_, count)) => *count += 1,
                None => all.push((outcome, 1)),
            }
        });
    }
    let mut all = all.lock().unwrap().clone();
    all.sort_unstable();
    all
}

/// All of these came, and nothing else.
fn expect(what: &str, found: &[(&str, u64)], mut wanted: Vec<&str>) {
    wanted.sort_unstable();
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, wanted, "{what}: {found:?}");
}

pub fn check() {
    let unsynced = outcomes(|fd| {
        assert_eq!(write(fd, &[1; 5_000], 0), 5_000);
        assert_eq!(sync(fd), 0);
        assert_eq!(write(fd, &[2; 3_000], 5_000), 3_000);
        let left = left("file").expect("its name is on the disk");
        let (synced, rest) = left.split_at(5_000);
        assert!(synced.iter().all(|&byte| byte == 1));
        match rest.iter().filter(|&&byte| byte == 2).count() {
            3_000 => "whole",
            0 => "nothing",
            _ => "torn",
        }
    });
    expect("what was not synced", &unsynced, vec!["whole", "nothing", "torn"]);
    let failed = outcomes(|fd| {
        assert_eq!(write(fd, &[1; 100], 0), 100);
        files::set_faults(files::Faults { syncs: 1, ..files::Faults::default() });
        assert_eq!(sync(fd), -1);
        files::set_faults(files::Faults::default());
        assert_eq!(sync(fd), 0, "the next one says nothing");
        if left("file").expect("there") == [1; 100] { "kept" } else { "lost" }
    });
    expect("a sync that failed", &failed, vec!["kept", "lost"]);
    let cut = outcomes(|fd| {
        assert_eq!((write(fd, &[1; 100], 0), sync(fd)), (100, 0));
        // SAFETY: as above.
        assert_eq!(unsafe { calls::ftruncate(fd, 50) }, 0);
        let before = left("file").expect("there").len();
        assert_eq!(sync(fd), 0);
        assert_eq!(left("file").expect("there").len(), 50);
        if before == 50 { "cut" } else { "as before" }
    });
    expect("a cut that was not synced", &cut, vec!["cut", "as before"]);
    let named = outcomes(|fd| {
        let other = open(c"/folder/other", libc::O_CREAT | libc::O_RDWR);
        assert_eq!((write(other, &[1; 10], 0), sync(other), sync(fd)), (10, 0, 0));
        // SAFETY: a NUL-terminated name.
        assert_eq!(unsafe { calls::unlinkat(libc::AT_FDCWD, c"/folder/file".as_ptr(), 0) }, 0);
        match (left("other"), left("file")) {
            (Some(other), _) if other != [1; 10] => "damaged",
            (Some(_), Some(_)) => "both",
            (Some(_), None) => "the new one",
            (None, Some(_)) => "the old one",
            (None, None) => "none",
        }
    });
    expect("names that were not synced", &named, vec!["both", "the new one", "the old one", "none"]);
    let hosts = outcomes(|fd| {
        files::set_faults(files::Faults { closings: 1, ..files::Faults::default() });
        // SAFETY: as above.
        let mark = unsafe { calls::fcntl(fd + 1, libc::F_GETFL, 0) };
        files::set_faults(files::Faults::default());
        assert!(files::wrongs().is_empty());
        match (mark, write(fd, &[3], 0), files::wrongs().len()) {
            (_, 1, 1) => "the host's",
            (_, 1, 0) => "ours",
            (_, -1, 0) => "closed",
            _ => "something else",
        }
    });
    expect("a descriptor that the host closes", &hosts, vec!["the host's", "ours", "closed"]);
}
