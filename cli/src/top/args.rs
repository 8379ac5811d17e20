//! The arguments of `top`.

use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// `top`
#[derive(Debug, Args)]
pub struct Top {
    /// A directory with ring files (ring_dir) or with the live figures of journals, or the id of a process; a directory whose name is a number is given as ./NUMBER
    #[arg(value_name = "DIR|PID", value_parser = Subject::parse, value_hint = ValueHint::DirPath)]
    pub subject: Subject,
    /// Seconds from one look to the next, 0.1 to 3600
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: Duration,
    /// What pipelines and ring buffers are sorted by
    #[arg(short, long, value_enum, default_value_t = Key::Rate)]
    pub sort: Key,
    /// Looks twice, an interval apart, prints what it sees, and ends
    #[arg(long)]
    pub once: bool,
    /// Prints JSON: with --once one object, without it one on a line for each look
    #[arg(long)]
    pub json: bool,
}

/// Whose pipelines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Those whose files are in a directory.
    Directory(PathBuf),
    /// Those of a process.
    Process(u32),
}

impl Subject {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Directory(text.into()));
        }
        match text.parse() {
            Ok(pid) if pid > 0 => Ok(Self::Process(pid)),
            _ => Err("a process id is 1 to 4294967295; a directory of that name is given as ./NAME".into()),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds expected, as 0.5".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("0.1 to 3600 seconds allowed".into())
    }
}

/// What is sorted by. Numbers sort from the largest to the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Key {
    /// The pipeline's or the thread's name
    Name,
    /// The process or the thread
    Pid,
    /// Bytes captured per second
    Rate,
    /// Events captured per second; of ring buffers bytes captured per second
    Events,
    /// Bytes that wait in ring buffers
    Backlog,
    /// How full the fullest ring buffer is
    Fill,
    /// Events lost per second, then lost at all; of ring buffers how full they are
    Lost,
    /// The 99th percentile of the time from capture to acknowledgement; of ring buffers how full they are
    Latency,
}

impl Key {
    /// All keys, in the order in which they are stepped through.
    pub const ALL: [Self; 8] = [
        Self::Rate,
        Self::Events,
        Self::Backlog,
        Self::Fill,
        Self::Lost,
        Self::Latency,
        Self::Name,
        Self::Pid,
    ];

    /// Its name, as it is given.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Pid => "pid",
            Self::Rate => "rate",
            Self::Events => "events",
            Self::Backlog => "backlog",
            Self::Fill => "fill",
            Self::Lost => "lost",
            Self::Latency => "latency",
        }
    }

    /// The key behind this one; behind the last one comes the first.
    pub fn next(self) -> Self {
        let at = Self::ALL.iter().position(|key| *key == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}
