//! The processors on which a thread runs and its scheduling: class, priority, nice value, time slice. Each thread sets its own.

use super::thread;
use crate::status::Result;
use std::ffi::c_void;
use std::io;

/// The scheduling class of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// That of the creating thread.
    #[default]
    Inherit,
    /// `SCHED_OTHER`, the usual one.
    Other,
    /// `SCHED_BATCH`, for work that uses much processor time.
    Batch,
    /// `SCHED_IDLE`, for work that runs only if nothing else does.
    Idle,
    /// `SCHED_FIFO`, real-time.
    Fifo,
    /// `SCHED_RR`, real-time with time slices.
    RoundRobin,
}

impl Class {
    /// Whether it has priorities.
    pub fn is_real_time(self) -> bool {
        matches!(self, Self::Fifo | Self::RoundRobin)
    }

    fn policy(self) -> Option<libc::c_int> {
        match self {
            Self::Inherit => None,
            Self::Other => Some(libc::SCHED_OTHER),
            Self::Batch => Some(libc::SCHED_BATCH),
            Self::Idle => Some(libc::SCHED_IDLE),
            // Reset on fork, so that processes and threads that a storage starts do not become real-time, too.
            Self::Fifo => Some(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK),
            Self::RoundRobin => Some(libc::SCHED_RR | libc::SCHED_RESET_ON_FORK),
        }
    }
}

/// The number of processors that can be named, as in glibc's set. (musl's set is an eighth of it, but the kernel is told the size.)
pub const PROCESSORS: usize = 1024;

/// A set of processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processors(Vec<bool>);

impl Processors {
    /// Reads a list like that of `taskset --cpu-list`: numbers and ranges, separated by commas, `0-3,6`. `None`: it is invalid.
    pub fn parse(list: &str) -> Option<Self> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<usize>().ok()).flatten().filter(|n| *n < PROCESSORS)
        };
        let mut set = vec![false; PROCESSORS];
        for part in list.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (number(from.trim())?, number(to.trim())?);
            if from > to {
                return None;
            }
            set[from..=to].fill(true);
        }
        Some(Self(set))
    }
}

/// The processors and the scheduling of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// `None`: those of the creating thread.
    pub processors: Option<Processors>,
    /// The scheduling class.
    pub class: Class,
    /// The priority in a real-time class.
    pub priority: u32,
    /// The nice value; 0: that of the creating thread.
    pub nice: i32,
    /// The time slice in nanoseconds, in the class `SCHED_OTHER`; 0: that of the creating thread.
    pub slice_ns: u64,
}

/// A setting that the system has refused.
#[derive(Debug)]
pub struct Refusal {
    /// The configuration's field.
    pub field: &'static str,
    /// The system's error.
    pub error: io::Error,
}

impl Placement {
    /// Applies the settings to the calling thread, up to the first one that is refused.
    pub fn apply(&self) -> Result<(), Refusal> {
        let check = |field, answer: libc::c_long| {
            if answer == 0 { Ok(()) } else { Err(Refusal { field, error: io::Error::last_os_error() }) }
        };
        if let Some(Processors(numbers)) = &self.processors {
            const BITS: usize = libc::c_ulong::BITS as usize;
            let mut set: [libc::c_ulong; PROCESSORS / BITS] = [0; PROCESSORS / BITS];
            for (n, _) in numbers.iter().enumerate().filter(|(_, on)| **on) {
                set[n / BITS] |= 1 << (n % BITS);
            }
            // SAFETY: reads the set, whose size is given.
            let answer = unsafe { libc::sched_setaffinity(0, size_of_val(&set), set.as_ptr().cast()) };
            check("writer_cpus", answer.into())?;
        }
        if let Some(policy) = self.class.policy() {
            let priority = if self.class.is_real_time() { self.priority as libc::c_int } else { 0 };
            // This uses the system call, because musl's function refuses: in POSIX the call is for a process, in Linux it is for a thread.
            // SAFETY: reads an int, the only member of the kernel's struct sched_param.
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_sched_setscheduler,
                    0 as libc::c_long,
                    libc::c_long::from(policy),
                    &raw const priority,
                )
            };
            check(if self.class.is_real_time() { "writer_priority" } else { "writer_class" }, answer)?;
        }
        if self.nice != 0 {
            // On Linux this sets one thread only.
            // SAFETY: the call has no pointers.
            let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS as _, thread::os_id(), self.nice) };
            check("writer_nice", answer.into())?;
        }
        if self.slice_ns != 0 {
            request_slice(self.slice_ns);
        }
        Ok(())
    }

    /// Tries the settings on a temporary thread.
    ///
    /// The system decides on each setting separately, and only the thread itself can try them (`pthread_attr_t` has no nice value, and no
    /// processors in musl). So the caller of `pipeline_start` learns which field was refused, and why, before any writer runs. That
    /// costs one thread, about 50 us of a start of 170 us, and only if the configuration has such settings.
    pub fn try_on_thread(&self) -> Result<Result<(), Refusal>> {
        struct Trial<'a> {
            placement: &'a Placement,
            outcome: Result<(), Refusal>,
        }
        extern "C-unwind" fn main(trial: *mut c_void) -> *mut c_void {
            // SAFETY: `try_on_thread` does not use the value until this thread has ended.
            let trial = unsafe { &mut *trial.cast::<Trial<'_>>() };
            // The system may list the thread for a moment after its end.
            thread::set_name(&thread::short_name("cp-placement"));
            trial.outcome = trial.placement.apply();
            std::ptr::null_mut()
        }
        // A time slice is never refused.
        if (Self { slice_ns: 0, ..self.clone() }) == Self::default() {
            return Ok(Ok(()));
        }
        let mut trial = Trial { placement: self, outcome: Ok(()) };
        thread::run_plain(main, (&raw mut trial).cast())?;
        Ok(trial.outcome)
    }
}

/// The first version of the kernel's struct sched_attr.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// In the normal classes: the time slice in nanoseconds. Linux before 6.12 reports 0, and ignores it.
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Requests time slices of that length for the calling thread if its class is `SCHED_OTHER`. Nothing changes if the system does not know slices
/// or does not allow it.
fn request_slice(slice_ns: u64) {
    let size = size_of::<Attributes>();
    let mut own = Attributes::default();
    let this_thread: libc::c_long = 0;
    // SAFETY: the calls write at most `size` bytes to a struct of that size, and read as many as its first word says.
    unsafe {
        let no_flags: libc::c_long = 0;
        if libc::syscall(libc::SYS_sched_getattr, this_thread, &raw mut own, size, no_flags) == 0
            && own.policy == libc::SCHED_OTHER as u32
        {
            (own.size, own.runtime) = (size as u32, slice_ns);
            libc::syscall(libc::SYS_sched_setattr, this_thread, &raw const own, no_flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read_as_taskset_reads_them() {
        let of = |list: &str| {
            let Processors(set) = Processors::parse(list)?;
            Some((0..PROCESSORS).filter(|&n| set[n]).collect::<Vec<_>>())
        };
        assert_eq!(of("0"), Some(vec![0]));
        assert_eq!(of("0-3,6"), Some(vec![0, 1, 2, 3, 6]));
        assert_eq!(of(" 5 , 1 - 2,2"), Some(vec![1, 2, 5]));
        assert_eq!(of("1022-1023"), Some(vec![1022, 1023]));
        for bad in "; ;,;1,;-;-1;3-1;1-2-3;x;0x1;+1;1.5;1024;0-1024;99999999999999999999".split(';') {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_trial_leaves_the_calling_thread_unchanged_and_names_the_refused_field() {
        let outcome = |placement: Placement| placement.try_on_thread().expect("a thread starts");
        // SAFETY: the call has no pointers.
        let class = || unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0 as libc::c_long) };
        let before = class();
        assert!(outcome(Placement { class: Class::Batch, ..Placement::default() }).is_ok());
        assert!(outcome(Placement { class: Class::Idle, ..Placement::default() }).is_ok());
        assert!(outcome(Placement { nice: 1, ..Placement::default() }).is_ok());
        assert_eq!(class(), before);
        let nowhere = Processors::parse("1023");
        let refusal = outcome(Placement { processors: nowhere, ..Placement::default() });
        // Unless this machine has that many processors.
        if std::thread::available_parallelism().is_ok_and(|n| n.get() < 1024) {
            assert_eq!(refusal.map_err(|r| r.field), Err("writer_cpus"));
        }
    }
}
