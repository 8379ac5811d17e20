//! Who writes a segment, and whether that process still lives.

use super::format::segment::Owner;
use crate::formats::perfetto::{number_of, number_of_text};
use crate::platform::files::first_byte_is_locked;
use crate::platform::process;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

/// Who writes segments.
#[derive(Clone, Debug)]
pub struct Author {
    /// The process.
    pub owner: Owner,
    /// Its program.
    pub program: Vec<u8>,
}

impl Author {
    /// This process.
    pub fn own() -> Self {
        #[cfg(simulator)]
        if crate::platform::simulator::is_simulated() {
            // The same everywhere, because sizes depend on it.
            return Self { owner: Owner::default(), program: b"/simulated".to_vec() };
        }
        Self { owner: own(), program: program() }
    }
}

/// Whether the writer of a segment lives, as `docs/format.md` defines it: the lock on the first byte of `file` is held, or the owner is a process of
/// this boot and this pid namespace that is still the same.
pub fn lives(file: &File, owner: &Owner) -> bool {
    first_byte_is_locked(file) == Some(true) || is_running(owner)
}

/// Whether the owner is a running process that this process can see.
pub fn is_running(owner: &Owner) -> bool {
    let known = owner.boot_id != [0; 16] && owner.pid_namespace != 0 && owner.start_time != 0;
    known
        && owner.boot_id == process::boot_id()
        && Some(owner.pid_namespace) == pid_namespace()
        && Some(owner.start_time) == start_time(owner.pid)
}

/// This process.
pub fn own() -> Owner {
    let pid = std::process::id();
    Owner {
        boot_id: process::boot_id(),
        pid,
        pid_namespace: pid_namespace().unwrap_or(0),
        start_time: start_time(pid).unwrap_or(0),
    }
}

/// The path of this process's program; empty: it cannot be read.
pub fn program() -> Vec<u8> {
    let program = std::fs::read_link("/proc/self/exe").map(|path| path.into_os_string().into_vec());
    program.unwrap_or_default()
}

/// A number that stands for a process in traces, whose first run is this one. (A database does not say when a process was started.)
pub fn number_of_process(owner: &Owner, generation: u64) -> u64 {
    number_of_text(number_of(&[u64::from(owner.pid), generation]), &owner.boot_id)
}

/// The inode of this process's pid namespace.
pub fn pid_namespace() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/pid").ok().map(|data| data.ino())
}

/// When a process started, in clock ticks since the boot. `None`: there is no such process, or it is not visible.
pub fn start_time(pid: u32) -> Option<u64> {
    /// The place of the field behind the program's name, which is field 2 and may have spaces and parentheses.
    const FIELD: usize = 22 - 3;
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_while_its_process_is_the_same() {
        let file = File::open("/dev/null").expect("/dev/null");
        let own = Owner {
            boot_id: process::boot_id(),
            pid: std::process::id(),
            pid_namespace: pid_namespace().expect("/proc"),
            start_time: start_time(std::process::id()).expect("/proc"),
        };
        assert!(lives(&file, &own));
        for other in [
            Owner { boot_id: [1; 16], ..own },
            Owner { boot_id: [0; 16], ..own },
            Owner { pid_namespace: own.pid_namespace + 1, ..own },
            Owner { start_time: own.start_time + 1, ..own },
            Owner { pid: u32::MAX, ..own },
        ] {
            assert!(!lives(&file, &other), "{other:?}");
        }
    }
}
