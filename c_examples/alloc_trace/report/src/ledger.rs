//! The ledger of a process image: the counters that the tracer shares with the file `PID-N.ledger`. Its layout is that of `struct ledger` in
//! `ledger.h`.

use crate::calls::COUNTERS;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ATLEDG05";
const FIGURES: usize = 40;
const COMM: usize = 32;
const NAME: usize = 256;
const COMMAND: usize = 512;
const SIZE: usize = 48 + 8 * (2 * COUNTERS + 9 + FIGURES) + COMM + NAME + COMMAND;

/// How a process image has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It runs, or was killed.
    Open,
    Exit,
    Exec,
}

#[derive(Clone, Debug)]
pub struct Ledger {
    pub path: PathBuf,
    pub ended: Ended,
    pub pid: u32,
    pub parent: u32,
    pub image: u32,
    pub drop_mode: bool,
    pub started_realtime_ns: u64,
    pub early_lost: u64,
    pub held: u64,
    pub late: u64,
    pub gave_up: bool,
    /// Events of the tracer itself.
    pub records: u64,
    pub stacks_lost: u64,
    pub offered: u64,
    pub name: String,
    /// The journal or the database, beside the ledger.
    pub storage: PathBuf,
    pub command: String,
}

/// Text that a process chose, made safe for a terminal and for XML: without control characters, characters that change the direction of others or are
/// not seen, and such as XML does not have.
pub fn clean(text: &str) -> String {
    let unsafe_one = |one: char| {
        one.is_control()
            || matches!(one, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(one, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}')
    };
    text.chars().map(|one| if unsafe_one(one) { '?' } else { one }).collect()
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    clean(&String::from_utf8_lossy(&bytes[..end]))
}

/// Opens a regular file of a folder into which a traced process may have put anything: no link is followed, and a FIFO does not block.
pub fn open_regular(path: &Path) -> Result<File, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", clean(&path.to_string_lossy()));
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc_flags::O_NOFOLLOW | libc_flags::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        Ok(file)
    } else {
        Err(format!("{}: not a regular file", clean(&path.to_string_lossy())))
    }
}

/// The same on all architectures of Linux that are supported, but for `O_NOFOLLOW`.
mod libc_flags {
    pub const O_NONBLOCK: i32 = 0o4000;
    #[cfg(target_arch = "aarch64")]
    pub const O_NOFOLLOW: i32 = 0o100_000;
    #[cfg(not(target_arch = "aarch64"))]
    pub const O_NOFOLLOW: i32 = 0o400_000;
}

impl Ledger {
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = clean(&path.to_string_lossy());
        let mut page = Vec::new();
        open_regular(path)?
            .take(1 << 16)
            .read_to_end(&mut page)
            .map_err(|error| format!("{shown}: {error}"))?;
        if page.len() < SIZE || &page[..8] != MAGIC {
            return Err(format!("{shown}: not a ledger of this version"));
        }
        let u32_at = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().unwrap_or_default());
        let u64_at = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap_or_default());
        if u32_at(8) as usize != SIZE {
            return Err(format!("{shown}: a ledger of {} bytes, not {SIZE}", u32_at(8)));
        }
        let counts = 48 + 8 * 2 * COUNTERS; // behind the calls that are not captured, by their number
        let count = |index: usize| u64_at(counts + 8 * index);
        let figure = |index: usize| u64_at(counts + 8 * (9 + index));
        let texts = counts + 8 * (9 + FIGURES);
        let storage = text(&page[texts + COMM..texts + COMM + NAME]);
        if storage.is_empty() || storage == "." || storage == ".." || storage.contains('/') {
            return Err(format!("{shown}: names a file outside its folder"));
        }
        let command = &page[texts + COMM + NAME..texts + COMM + NAME + COMMAND];
        let words = command.len() - command.iter().rev().take_while(|byte| **byte == 0).count();
        Ok(Self {
            ended: match u32_at(12) {
                2 => Ended::Exit,
                3 => Ended::Exec,
                _ => Ended::Open,
            },
            pid: u32_at(16),
            parent: u32_at(20),
            drop_mode: u32_at(24) != 0,
            image: u32_at(32),
            started_realtime_ns: u64_at(40),
            early_lost: count(0),
            held: count(2),
            late: count(3),
            gave_up: count(4) != 0,
            records: count(5),
            stacks_lost: count(6),
            offered: figure(0),
            name: text(&page[texts..texts + COMM]),
            storage: path.with_file_name(storage),
            command: clean(&String::from_utf8_lossy(&command[..words]).replace('\0', " ")),
            path: path.to_path_buf(),
        })
    }

    /// The calls of the program. The figures of a process that was killed may be old.
    pub fn calls(&self) -> u64 {
        (self.offered + self.early_lost + self.held + self.late).saturating_sub(self.records)
    }

    /// The copy of the process's maps.
    pub fn maps(&self) -> PathBuf {
        self.path.with_extension("maps")
    }
}
