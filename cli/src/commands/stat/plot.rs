//! Events over time, as a small plot of characters.

use crate::commands::table::{duration, grouped, time};
use std::io::Write;

/// Lines of the plot.
const HEIGHT: usize = 6;
/// Columns of the plot.
const WIDTH: usize = 72;

/// Counts events in equal parts of the time.
pub struct Plot {
    first: u64,
    last: u64,
    counts: [u64; WIDTH],
}

impl Plot {
    /// For events from the first to the second wall time.
    pub fn new((first, last): (u64, u64)) -> Self {
        Self { first, last: last.max(first), counts: [0; WIDTH] }
    }

    /// Counts an event at this wall time.
    #[inline]
    pub fn add(&mut self, ns: u64) {
        let length = u128::from(self.last - self.first) + 1;
        let at = u128::from(ns.clamp(self.first, self.last) - self.first) * WIDTH as u128 / length;
        self.counts[at as usize] += 1;
    }

    /// Appends the plot.
    pub fn show(&self, text: &mut Vec<u8>) -> std::io::Result<()> {
        let most = self.counts.iter().copied().max().unwrap_or(0);
        let each = (self.last - self.first) as f64 / 1e9 / WIDTH as f64;
        if most == 0 || each == 0.0 {
            return Ok(());
        }
        let rate = |count: u64| grouped((count as f64 / each).round() as u64);
        writeln!(text, "Events per second, in steps of {}", duration(((each * 1e9) as u64).max(1)))?;
        let labels = [rate(most), "0".to_owned()];
        let width = labels[0].len();
        for line in (0..HEIGHT).rev() {
            let label = if line == HEIGHT - 1 {
                &labels[0]
            } else if line == 0 {
                &labels[1]
            } else {
                ""
            };
            let bars: String = self.counts.iter().map(|count| bar(*count, most, line)).collect();
            writeln!(text, "  {label:>width$} │{}", bars.trim_end())?;
        }
        let (left, right) = (time(self.first), time(self.last));
        let space = " ".repeat((WIDTH).saturating_sub(left.len() + right.len()));
        writeln!(text, "  {:>width$} └{}", "", "─".repeat(WIDTH))?;
        writeln!(text, "  {:>width$}  {left}{space}{right}", "")
    }
}

/// The part of a bar that is in a line, counted from the lowest. A bar of few events is still seen.
fn bar(count: u64, most: u64, line: usize) -> char {
    const PARTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let eighths = (u128::from(count) * (HEIGHT * 8) as u128).div_ceil(u128::from(most.max(1))) as usize;
    PARTS[eighths.saturating_sub(line * 8).min(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_the_counts() {
        let column = |count| (0..HEIGHT).map(|line| bar(count, 48, line)).collect::<String>();
        assert_eq!(column(0), "      ");
        assert_eq!(column(1), "▁     ");
        assert_eq!(column(8), "█     ");
        assert_eq!(column(12), "█▄    ");
        assert_eq!(column(48), "██████");
        assert_eq!(bar(1, 1_000_000, 0), '▁');
        assert_eq!(bar(u64::MAX, u64::MAX, HEIGHT - 1), '█');
    }

    #[test]
    fn every_event_is_counted_in_its_part_of_the_time() {
        let mut plot = Plot::new((100, 100 + 720 - 1));
        for ns in [0, 100, 109, 110, 819, 5_000] {
            plot.add(ns);
        }
        assert_eq!((plot.counts[0], plot.counts[1], plot.counts[71]), (3, 1, 2));
        for bounds in [(u64::MAX, 0), (5, 5), (0, u64::MAX)] {
            let mut plot = Plot::new(bounds);
            plot.add(7);
            assert_eq!(plot.counts.iter().sum::<u64>(), 1);
            plot.show(&mut Vec::new()).expect("shown");
        }
    }
}
