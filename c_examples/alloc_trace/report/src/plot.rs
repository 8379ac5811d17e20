//! A small plot for the terminal: the heap over time.

use crate::timeline::Timeline;
use crate::words;

const COLUMNS: usize = 64;
const ROWS: u64 = 8;
/// Eighths of a character, from none to all.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lines of the plot; none without calls.
pub fn heap(timeline: &Timeline) -> Vec<String> {
    let (width_ns, columns) = timeline.columns(COLUMNS);
    let most = columns.iter().map(|step| step.live_bytes).max().unwrap_or(0);
    if columns.is_empty() || most == 0 {
        return Vec::new();
    }
    let eighths = |bytes: u64| (u128::from(bytes) * u128::from(8 * ROWS)).div_ceil(u128::from(most)) as u64;
    let mut lines: Vec<String> = (0..ROWS)
        .rev()
        .map(|row| {
            let label = if row == ROWS - 1 { words::bytes(most) } else { String::new() };
            let cells = columns
                .iter()
                .map(|step| BLOCKS[eighths(step.live_bytes).saturating_sub(8 * row).min(8) as usize]);
            format!("  {label:>9} │{}", cells.collect::<String>().trim_end())
        })
        .collect();
    let end = words::time(width_ns * columns.len() as u64);
    lines.push(format!("  {:>9} └{}", "0 B", "─".repeat(columns.len())));
    lines.push(format!(
        "  {:>9}  0{end:>rest$}",
        "",
        rest = columns.len().saturating_sub(1).max(end.len() + 1)
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_step_fills_the_plot_and_a_small_one_is_seen() {
        let mut timeline = Timeline::default();
        for (at, live) in [(0u64, 1_000_000), (1, 1), (2, 500_000)] {
            timeline.note(at << 20, live, true);
        }
        let lines = heap(&timeline);
        assert!(lines[0].starts_with("     1.0 MB │█"), "{}", lines[0]);
        let bottom = &lines[ROWS as usize - 1];
        assert!(bottom.contains('▁') && bottom.matches('█').count() >= 2, "{bottom}");
        assert!(lines.iter().skip(4).take(4).all(|line| line.trim_end().ends_with('█')), "{lines:?}");
        assert!(heap(&Timeline::default()).is_empty());
    }
}
