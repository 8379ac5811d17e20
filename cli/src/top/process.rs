//! What the system tells about a process and its threads, by files in /proc. Reading them does not stop the process.

use capture_pipeline::journal::format::segment::Owner;
use capture_pipeline::journal::owner;

/// What the owner of a pipeline does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or would if it had something to do.
    Runs,
    /// A signal has stopped it (SIGSTOP).
    Stopped,
    /// A debugger has stopped it.
    Traced,
    /// It has ended, and its parent has not asked how.
    Zombie,
    /// It lives, and this process cannot see it: it is in another pid namespace.
    Unseen,
    /// It has ended.
    Ended,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Zombie => "zombie",
            Self::Unseen => "unseen",
            Self::Ended => "ended",
        }
    }

    /// Of a living process with this id; `None`: it cannot be seen.
    pub fn of(pid: Option<u32>) -> Self {
        match pid.and_then(|pid| stat(&format!("/proc/{pid}/stat"))) {
            Some('T') => Self::Stopped,
            Some('t') => Self::Traced,
            Some('Z') => Self::Zombie,
            Some(_) => Self::Runs,
            None => Self::Unseen,
        }
    }

    /// Whether its threads do nothing until somebody lets them.
    pub fn is_stopped(self) -> bool {
        matches!(self, Self::Stopped | Self::Traced)
    }
}

/// What a thread does, as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The letter of its state: R runs, S sleeps, D waits for a device, T and t are stopped.
    pub state: char,
    /// The function of the kernel that it waits in. Empty: in none, or it is not told.
    pub waits_in: String,
}

/// The id by which this process sees an owner. `None`: it does not see it.
pub fn visible(owner: &Owner) -> Option<u32> {
    owner::is_running(owner).then_some(owner.pid)
}

/// A thread of a process. `None`: there is no such thread.
pub fn thread(pid: u32, thread: u32) -> Option<Thread> {
    let state = stat(&format!("/proc/{pid}/task/{thread}/stat"))?;
    let waits_in = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/wchan")).unwrap_or_default();
    let waits_in = if waits_in == "0" { String::new() } else { waits_in };
    Some(Thread { state, waits_in })
}

/// The letter of the state in a file `stat`.
fn stat(path: &str) -> Option<char> {
    let text = std::fs::read(path).ok()?;
    state_in(&text)
}

/// The state stands behind the name in parentheses, which may have parentheses in it.
fn state_in(stat: &[u8]) -> Option<char> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(name_end + 2).map(|&letter| char::from(letter))
}

/// The ids that a process has in its own pid namespace and in those above it, as `NSpid` in /proc/PID/status tells.
pub fn ids_of(pid: u32) -> Vec<u32> {
    let text = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut ids = ids_in(&String::from_utf8_lossy(&text));
    if !ids.contains(&pid) {
        ids.push(pid);
    }
    ids
}

fn ids_in(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.unwrap_or_default().split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_found_behind_any_name() {
        assert_eq!(state_in(b"7 (cat) S 1 7"), Some('S'));
        assert_eq!(state_in(b"7 (a) T (b)) t 1 7"), Some('t'));
        assert_eq!(state_in(b"7 (cat)"), None);
        assert_eq!(state_in(b""), None);
        assert_eq!(State::of(Some(std::process::id())), State::Runs);
        assert_eq!(State::of(Some(u32::MAX)), State::Unseen);
    }

    #[test]
    fn a_process_has_an_id_in_each_of_its_namespaces() {
        assert_eq!(ids_in("Name:\tx\nNSpid:\t4711\t12\t1\nOther:\t3"), [4711, 12, 1]);
        assert!(ids_in("Name:\tx").is_empty());
        assert_eq!(ids_of(std::process::id()).first(), Some(&std::process::id()));
    }
}
