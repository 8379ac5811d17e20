//! Where a thread runs and how it is scheduled: processors, class, priority, nice value. Each thread sets its own.

use super::thread;
use crate::status::Result;
use std::ffi::c_void;
use std::io;

/// The scheduling class of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // they are the kernel's, but for the first
pub enum Class {
    /// That of the thread that creates it.
    #[default]
    Inherit,
    Other,
    Batch,
    Idle,
    Fifo,
    RoundRobin,
}

impl Class {
    /// Whether a priority belongs to it.
    pub fn is_real_time(self) -> bool {
        matches!(self, Self::Fifo | Self::RoundRobin)
    }

    fn policy(self) -> Option<libc::c_int> {
        match self {
            Self::Inherit => None,
            Self::Other => Some(libc::SCHED_OTHER),
            Self::Batch => Some(libc::SCHED_BATCH),
            Self::Idle => Some(libc::SCHED_IDLE),
            // What a storage's function forks, or starts as a thread, shall not get the same power over the machine.
            Self::Fifo => Some(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK),
            Self::RoundRobin => Some(libc::SCHED_RR | libc::SCHED_RESET_ON_FORK),
        }
    }
}

/// The highest number of a processor, and one more: as many as glibc's set has. (musl's has an eighth; the kernel is told the size.)
pub const PROCESSORS: usize = 1024;

/// Processors by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processors(Vec<bool>);

impl Processors {
    /// From a list as `taskset --cpu-list` takes it: numbers and ranges between commas, `0-3,6`. `None`: it is none.
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

/// Where a thread runs and how it is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// `None`: those of the thread that creates it.
    pub processors: Option<Processors>,
    /// Its class.
    pub class: Class,
    /// With a real-time class.
    pub priority: u32,
    /// 0: that of the thread that creates it.
    pub nice: i32,
    /// In nanoseconds, under `SCHED_OTHER`; 0: that of the thread that creates it.
    pub slice_ns: u64,
}

/// What the system refused, and why.
#[derive(Debug)]
pub struct Refusal {
    /// The field of the configuration that asked for it.
    pub field: &'static str,
    /// The system's words.
    pub error: io::Error,
}

impl Placement {
    /// Sets what it asks for, for the calling thread; the first thing that is refused ends it.
    pub fn take(&self) -> Result<(), Refusal> {
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
            // SAFETY: reads an int, which is all that the kernel's struct sched_param has. By the system call: musl's function
            // refuses, as POSIX means the process and Linux the thread.
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
            // SAFETY: no pointers. On Linux it is that thread's alone.
            let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS as _, thread::os_id(), self.nice) };
            check("writer_nice", answer.into())?;
        }
        if self.slice_ns != 0 {
            ask_for_slice(self.slice_ns);
        }
        Ok(())
    }

    /// Tries it on a thread that is started for that and has ended on return.
    pub fn rehearse(&self) -> Result<Result<(), Refusal>> {
        struct Rehearsal<'a> {
            placement: &'a Placement,
            outcome: Result<(), Refusal>,
        }
        extern "C-unwind" fn main(rehearsal: *mut c_void) -> *mut c_void {
            // SAFETY: `rehearse` waits for this thread, and does not touch it before.
            let rehearsal = unsafe { &mut *rehearsal.cast::<Rehearsal<'_>>() };
            // The system may list it for a moment after it has been waited for.
            thread::set_name(&thread::short_name("cp-rehearsal"));
            rehearsal.outcome = rehearsal.placement.take();
            std::ptr::null_mut()
        }
        // (Nobody refuses a slice.)
        if (Self { slice_ns: 0, ..self.clone() }) == Self::default() {
            return Ok(Ok(()));
        }
        let mut rehearsal = Rehearsal { placement: self, outcome: Ok(()) };
        thread::run_plain(main, (&raw mut rehearsal).cast())?;
        Ok(rehearsal.outcome)
    }
}

/// The kernel's struct sched_attr, as in its first version.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Of the usual classes: the slice, in nanoseconds. Linux before 6.12 reads it as 0, and takes no notice of it.
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for time slices of that length for the calling thread, if its class is `SCHED_OTHER`. A wish: where the system knows of none, or
/// does not allow it, all stays as it is.
fn ask_for_slice(slice_ns: u64) {
    let size = size_of::<Attributes>();
    let mut own = Attributes::default();
    let this_thread: libc::c_long = 0;
    // SAFETY: writes at most `size` bytes to a struct of that size; and reads as many, as the first word in it says.
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
        for bad in [
            "",
            " ",
            ",",
            "1,",
            "-",
            "-1",
            "3-1",
            "1-2-3",
            "x",
            "0x1",
            "+1",
            "1.5",
            "1024",
            "0-1024",
            "99999999999999999999",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_rehearsal_leaves_the_calling_thread_as_it_is_and_tells_what_is_refused() {
        let own = |placement: Placement| placement.rehearse().expect("there are threads");
        // SAFETY: no pointers.
        let class = || unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0 as libc::c_long) };
        let before = class();
        assert!(own(Placement { class: Class::Batch, ..Placement::default() }).is_ok());
        assert!(own(Placement { class: Class::Idle, ..Placement::default() }).is_ok());
        assert!(own(Placement { nice: 1, ..Placement::default() }).is_ok());
        assert_eq!(class(), before);
        let nowhere = Processors::parse("1023");
        let refusal = own(Placement { processors: nowhere, ..Placement::default() });
        // (Unless this machine has so many.)
        if std::thread::available_parallelism().is_ok_and(|n| n.get() < 1024) {
            assert_eq!(refusal.map_err(|r| r.field), Err("writer_cpus"));
        }
    }
}
