//! Whether the process that captures into a ring file lives.
//!
//! The lock on the first byte belongs to the open file that the owner has mapped, and lasts as long as its mapping. So a free lock proves that the owner has ended, or has
//! closed the pipeline. A lock that is held proves nothing by itself: a child that was made by `clone` without the handlers of a fork has inherited the mapping, and holds the
//! lock after its parent's death. Then the identity of the process decides, as far as this process can see it. Where it cannot, the owner counts as living, because a
//! living owner's file must never be touched.

use crate::files::failure::Failure;
use crate::files::file::File;
use crate::journal::format::segment::Owner;
use crate::journal::owner::{pid_namespace, start_time};
use crate::platform::process;
use std::path::PathBuf;

/// What this process sees of the process that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It does not run any more: there is none of this id, another has got it, or only its entry in the list of processes is left.
    Ended,
    /// It runs.
    Runs,
    /// It belongs to another boot, of this machine or of another one.
    OtherBoot,
    /// This process cannot tell: the other is in another pid namespace, or something is not known.
    Unknown,
}

/// Whether the owner of a file lives.
pub fn lives(file: &File, owner: &Owner) -> Result<bool, Failure> {
    Ok(lives_with(file.is_locked()?, owner))
}

/// The same for a file that is open otherwise. `locked`: whether another open file has a lock on its first byte. `None`: the system does not tell.
pub fn lives_with(locked: Option<bool>, owner: &Owner) -> bool {
    decide(locked, || seen(owner))
}

/// `locked`: whether the first byte is locked. `None`: the system does not tell.
fn decide(locked: Option<bool>, seen: impl FnOnce() -> Seen) -> bool {
    match locked {
        Some(false) => false,
        // (Nothing of an earlier boot holds a lock. But a file system may share locks with other machines, where the owner runs.)
        Some(true) => seen() != Seen::Ended,
        None => matches!(seen(), Seen::Runs | Seen::Unknown),
    }
}

fn seen(owner: &Owner) -> Seen {
    let boot = process::boot_id();
    if boot == [0; 16] || owner.boot_id == [0; 16] {
        return Seen::Unknown;
    }
    if boot != owner.boot_id {
        return Seen::OtherBoot;
    }
    let pid = match libc::pid_t::try_from(owner.pid) {
        Ok(pid) if pid > 0 && owner.pid_namespace != 0 && pid_namespace() == Some(owner.pid_namespace) => pid,
        _ => return Seen::Unknown,
    };
    // SAFETY: signal 0 is none; the call only tells whether there is such a process.
    if unsafe { libc::kill(pid, 0) } != 0
        && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
    {
        return Seen::Ended;
    }
    match start_time(owner.pid) {
        Some(start) if owner.start_time != 0 && start != owner.start_time => {
            if same_time_namespace(owner.pid) { Seen::Ended } else { Seen::Unknown }
        }
        Some(_) if has_ended(owner.pid) => Seen::Ended,
        Some(start) if start == owner.start_time => Seen::Runs,
        // (Mounted with `hidepid`, /proc does not show other users' processes.)
        _ => Seen::Unknown,
    }
}

/// Whether the start times of a process mean the same to it and to this process. In another time namespace they are shifted.
fn same_time_namespace(pid: u32) -> bool {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/time"));
    match (of("self"), of(&pid.to_string())) {
        (Ok(own), Ok(other)) => own == other,
        // A kernel without time namespaces.
        (Err(error), _) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Whether only the entry of a process is left, for its parent to read. The entry of a process whose first thread has ended looks the same, but lists the other threads.
fn has_ended(pid: u32) -> bool {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let Ok(stat) = std::fs::read(folder.join("stat")) else { return false };
    let state = stat.iter().rposition(|&byte| byte == b')').and_then(|end| stat.get(end + 2));
    let Ok(threads) = std::fs::read_dir(folder.join("task")) else { return false };
    matches!(state, Some(b'Z' | b'X')) && threads.count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::owner::own;
    use std::process::{Command, Stdio};

    #[test]
    fn a_free_lock_is_the_end_of_an_owner_and_a_held_one_is_not_yet_its_life() {
        let each = [Seen::Ended, Seen::Runs, Seen::OtherBoot, Seen::Unknown];
        let lives = |locked: Option<bool>| each.map(|seen| decide(locked, || seen));
        assert_eq!(lives(Some(false)), [false; 4]);
        assert_eq!(lives(Some(true)), [false, true, true, true]);
        assert_eq!(lives(None), [false, true, false, true]);
    }

    #[test]
    fn a_process_is_seen_as_what_its_header_and_the_system_say_together() {
        let own = own();
        assert_eq!(seen(&own), Seen::Runs);
        for (other, expected) in [
            (Owner { boot_id: [1; 16], ..own }, Seen::OtherBoot),
            (Owner { boot_id: [0; 16], ..own }, Seen::Unknown),
            (Owner { pid_namespace: own.pid_namespace + 1, ..own }, Seen::Unknown),
            (Owner { pid_namespace: 0, ..own }, Seen::Unknown),
            (Owner { start_time: own.start_time + 1, ..own }, Seen::Ended),
            (Owner { start_time: 0, ..own }, Seen::Unknown),
            (Owner { pid: i32::MAX as u32, ..own }, Seen::Ended),
            (Owner { pid: u32::MAX, ..own }, Seen::Unknown),
            (Owner { pid: 0, ..own }, Seen::Unknown),
        ] {
            assert_eq!(seen(&other), expected, "{other:?}");
        }
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        let owner = Owner { pid, start_time: start_time(pid).unwrap(), ..own() };
        assert_eq!(seen(&owner), Seen::Runs);
        drop(child.stdin.take());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while seen(&owner) != Seen::Ended {
            assert!(std::time::Instant::now() < deadline, "its entry is taken for a process");
            std::thread::yield_now();
        }
        assert_eq!(start_time(pid), Some(owner.start_time), "the entry is still there");
        child.wait().unwrap();
        assert_eq!(seen(&owner), Seen::Ended);
    }
}
