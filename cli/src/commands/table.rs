//! A table of text: columns that are as wide as their widest entry.

pub use crate::damage::grouped;
use std::io::Write;

/// A table. Entries of columns whose title begins with `>` are aligned to the right.
pub struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn add(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Removes the last column if no row has anything in it.
    pub fn drop_empty_column(&mut self) {
        let last = self.titles.len().saturating_sub(1);
        if self.rows.iter().all(|row| row[last].is_empty()) {
            self.titles.truncate(last);
            self.rows.iter_mut().for_each(|row| row.truncate(last));
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Appends the table to a text, each line behind `indent`.
    pub fn write(&self, indent: &str, into: &mut Vec<u8>) {
        let right: Vec<bool> = self.titles.iter().map(|title| title.starts_with('>')).collect();
        let titles = self.titles.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&titles).chain(&self.rows).collect();
        let width = |n: usize| lines.iter().map(|line| line[n].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.titles.len()).map(width).collect();
        for line in lines {
            let mut text = String::from(indent);
            for ((entry, width), right) in line.iter().zip(&widths).zip(&right) {
                let space = " ".repeat(width - entry.chars().count());
                text += &if *right { format!("{space}{entry}  ") } else { format!("{entry}{space}  ") };
            }
            // Writing to a vector does not fail.
            let _ = writeln!(into, "{}", text.trim_end());
        }
    }
}

/// A number of bytes, for people.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut amount = number as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{amount:.1} {}", UNITS[unit]) }
}

/// A length of time in nanoseconds, for people.
pub fn duration(ns: u64) -> String {
    let seconds = ns as f64 / 1e9;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", seconds * 1e3),
        1_000_000_000..100_000_000_000 => format!("{seconds:.1} s"),
        _ => {
            let whole = ns / 1_000_000_000;
            let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
            match (days, hours) {
                (0, 0) => format!("{minutes} min {} s", whole % 60),
                (0, _) => format!("{hours} h {minutes} min"),
                _ => format!("{days} d {hours} h"),
            }
        }
    }
}

/// A wall time without fractions of a second.
pub fn time(ns: u64) -> String {
    let text = capture_pipeline::wall_time::write(ns);
    format!("{}Z", String::from_utf8_lossy(&text[..19])).replace('T', " ")
}
