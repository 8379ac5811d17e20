//! The files of an export that may be split: pieces by their size, or by the time of the events in them.

use super::target::Target;
use crate::failure::Failure;
use crate::time_bounds::duration;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Where pieces end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// When they have so many bytes, or a little more.
    Bytes(u64),
    /// When the first event is so many nanoseconds ago.
    Ns(u64),
}

/// The sizes that a piece may be given in.
const SIZES: [(&str, u32); 9] = [
    ("KiB", 10),
    ("MiB", 20),
    ("GiB", 30),
    ("TiB", 40),
    ("K", 10),
    ("M", 20),
    ("G", 30),
    ("T", 40),
    ("B", 0),
];

impl Split {
    /// Reads the value of the option.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is no size and no time; give a size of at least 64K, as in 1G, 500M or 1.5GiB, or a time, as in 10min or 1h30min"
            )
        };
        if let Some(ns @ 1..) = duration(text) {
            return Ok(Self::Ns(ns));
        }
        let (number, bits) = SIZES
            .iter()
            .find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)))
            .ok_or_else(wrong)?;
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let bytes = number * (1_u64 << bits) as f64;
        if !(bytes >= 65_536.0 && bytes <= i64::MAX as f64) {
            return Err(wrong());
        }
        Ok(Self::Bytes(bytes as u64))
    }
}

/// The most pieces of an export.
const MOST: u32 = 9_999;

/// See the module. Each piece has its name when it is whole. Those that are whole stay, whatever happens later.
pub struct Pieces {
    path: PathBuf,
    force: bool,
    split: Option<Split>,
    number: u32,
    target: Target,
    output: super::target::Output,
    written: u64,
    /// The time of the first event in the piece.
    first: Option<u64>,
}

/// The name of a piece: `NAME.0001.END`.
fn name_of(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    name.push(format!(".{number:04}"));
    if let Some(end) = path.extension() {
        name.push(".");
        name.push(end);
    }
    path.with_file_name(name)
}

impl Pieces {
    /// For files of this name; `-` is the standard output.
    pub fn new(path: &Path, force: bool, split: Option<Split>) -> Result<Self, Failure> {
        let number = u32::from(split.is_some());
        let first = match split {
            None => path.to_path_buf(),
            Some(_) if path.as_os_str() == "-" => {
                return Err(Failure::new(
                    "--split: pieces cannot be written to the standard output; give the name of a file",
                ));
            }
            Some(_) => {
                // Otherwise pieces of two exports would lie side by side, and one could only know when it comes to it.
                if let Some(there) = existing(path).into_iter().find(|_| !force) {
                    return Err(Failure::of(&there, &io::ErrorKind::AlreadyExists.into()));
                }
                name_of(path, number)
            }
        };
        let mut target = Target::new(&first, force, false)?;
        let output = target.open()?;
        Ok(Self { path: path.to_path_buf(), force, split, number, target, output, written: 0, first: None })
    }

    /// One piece, which is written to this.
    pub fn of_output(output: super::target::Output) -> Self {
        let (path, target) = (PathBuf::from("-"), Target::of_output());
        Self { path, force: false, split: None, number: 0, target, output, written: 0, first: None }
    }

    /// Whether the piece ends before an event of this time. `pending`: so many of its bytes are not written yet.
    #[inline]
    pub fn ends_before(&mut self, ns: u64, pending: usize) -> bool {
        let first = *self.first.get_or_insert(ns);
        match self.split {
            None => false,
            Some(Split::Bytes(bytes)) => self.written + pending as u64 >= bytes,
            Some(Split::Ns(length)) => ns.saturating_sub(first) >= length,
        }
    }

    /// Whether there may be several pieces.
    #[inline]
    pub fn is_split(&self) -> bool {
        self.split.is_some()
    }

    /// Writes to the piece.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.written += bytes.len() as u64;
        self.output.put(bytes)
    }

    /// The piece is whole. Begins the next one, whose first event has this time.
    pub fn next(&mut self, ns: u64) -> Result<(), Failure> {
        if self.number >= MOST {
            return Err(Failure::new(format!(
                "--split: more than {MOST} pieces; give a larger size or a longer time"
            )));
        }
        let mut target = Target::new(&name_of(&self.path, self.number + 1), self.force, false)?;
        self.output = target.open()?;
        std::mem::replace(&mut self.target, target).commit()?;
        (self.number, self.written, self.first) = (self.number + 1, 0, Some(ns));
        Ok(())
    }

    /// The last piece is whole. Those of an earlier export that had more of them are removed.
    pub fn finish(self) -> Result<(), Failure> {
        let Self { path, number, target, output, split, .. } = self;
        drop(output);
        target.commit()?;
        if split.is_none() {
            return Ok(());
        }
        for piece in existing(&path) {
            if (1..=number).all(|number| name_of(&path, number) != piece) {
                std::fs::remove_file(&piece).map_err(|error| Failure::of(&piece, &error))?;
            }
        }
        Ok(())
    }
}

/// The pieces that are there.
fn existing(path: &Path) -> Vec<PathBuf> {
    let there = |number: &u32| std::fs::symlink_metadata(name_of(path, *number)).is_ok();
    let mut numbers: Vec<u32> = (1..=MOST).take_while(there).collect();
    // One may be missing, but hardly many.
    let next = numbers.len() as u32 + 1;
    numbers.extend((next..next + 64).filter(there));
    numbers.into_iter().map(|number| name_of(path, number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_by_size_or_by_time() {
        for (text, split) in [
            ("1G", Split::Bytes(1 << 30)),
            ("1.5GiB", Split::Bytes(3 << 29)),
            ("65536B", Split::Bytes(65_536)),
            ("500M", Split::Bytes(500 << 20)),
            ("10min", Split::Ns(600_000_000_000)),
            ("1h30min", Split::Ns(5_400_000_000_000)),
        ] {
            assert_eq!(Split::parse(text), Ok(split), "{text}");
        }
        for text in ["", "G", "1", "0s", "-1G", "1K", "1Gs", "NaNG", "1e30T", "infG"] {
            assert!(Split::parse(text).is_err_and(|why| why.contains("1G") && why.contains(text)), "{text}");
        }
    }

    #[test]
    fn pieces_have_their_number_before_the_end_of_the_name() {
        for (path, name) in [("a/x.pftrace", "a/x.0003.pftrace"), ("x", "x.0003"), ("x.y.z", "x.y.0003.z")] {
            assert_eq!(name_of(Path::new(path), 3), Path::new(name));
        }
    }
}
