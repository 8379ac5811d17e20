//! The totals of a process by function: what the tables, the JSON and the flame graphs show.

use crate::heap::{Origin, Totals};
use crate::symbols::Symbols;
use crate::trace::{END_DEPTH, END_OUTERMOST, Process};
use rustc_hash::FxHashMap;

/// A figure of [`Totals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Figure {
    /// Allocations.
    Calls,
    /// Bytes allocated.
    Bytes,
    /// Bytes that were live when the heap was largest.
    Peak,
    /// Bytes that were not released before the end.
    Live,
    /// Allocations that were released by the very next call.
    Temporary,
}

impl Figure {
    pub fn of(self, totals: &Totals) -> u64 {
        match self {
            Self::Calls => totals.calls,
            Self::Bytes => totals.bytes,
            Self::Peak => totals.peak_bytes,
            Self::Live => totals.live_bytes,
            Self::Temporary => totals.temporary,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Bytes => "bytes",
            Self::Peak => "peak",
            Self::Live => "live",
            Self::Temporary => "temporary",
        }
    }

    /// Whether it counts bytes.
    pub fn is_bytes(self) -> bool {
        matches!(self, Self::Bytes | Self::Peak | Self::Live)
    }
}

/// The totals of each function that allocates.
pub fn by_function(process: &Process, symbols: &Symbols<'_>) -> Vec<(String, Totals)> {
    let mut by_site: FxHashMap<u64, Totals> = FxHashMap::default();
    for (_, site, totals) in process.heap.origins() {
        by_site.entry(site).or_default().add(&totals);
    }
    let mut by_name: FxHashMap<String, Totals> = FxHashMap::default();
    for (site, totals) in by_site {
        by_name.entry(symbols.function(site).show()).or_default().add(&totals);
    }
    by_name.into_iter().collect()
}

/// The largest, each above 0; names decide between equals.
pub fn top(sums: &[(String, Totals)], figure: Figure, most: usize) -> Vec<&(String, Totals)> {
    let mut found: Vec<_> = sums.iter().filter(|(_, totals)| figure.of(totals) > 0).collect();
    found.sort_by(|a, b| figure.of(&b.1).cmp(&figure.of(&a.1)).then_with(|| a.0.cmp(&b.0)));
    found.truncate(most);
    found
}

/// The totals of each stack, as `outermost;...;innermost`. Sorted by that text. What has no stack is there as its call site alone.
pub fn by_stack(process: &Process, symbols: &Symbols<'_>) -> Vec<(String, Totals)> {
    let mut by_text: FxHashMap<String, Totals> = FxHashMap::default();
    let mut text = String::new();
    for (origin, site, totals) in process.heap.origins() {
        text.clear();
        let stack = if let Origin::Stack(number) = origin { process.stacks.get(number) } else { None };
        let site = [site];
        let (addresses, end) = stack.unwrap_or((&site, END_DEPTH));
        if end != END_OUTERMOST {
            text.push_str(if stack.is_none() {
                "(no stack)"
            } else if end == END_DEPTH {
                "(deeper)"
            } else {
                "(unknown)"
            });
        }
        for address in addresses.iter().rev() {
            for function in symbols.functions(*address).iter().rev() {
                if !text.is_empty() {
                    text.push(';');
                }
                // The separators of the format.
                text.extend(function.short().chars().map(|one| match one {
                    ';' => ':',
                    '\n' => ' ',
                    one => one,
                }));
            }
        }
        match by_text.get_mut(&text) {
            Some(sum) => sum.add(&totals),
            None => {
                by_text.insert(text.clone(), totals);
            }
        }
    }
    let mut sums: Vec<_> = by_text.into_iter().collect();
    sums.sort_by(|a, b| a.0.cmp(&b.0));
    sums
}
