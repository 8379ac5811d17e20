//! The report as text.

use crate::heap::{Heap, Totals};
use crate::sums::{self, Figure};
use crate::symbols::Symbols;
use crate::trace::{Process, Trace};
use crate::{calls, plot, words};
use std::fmt::Write;

/// Rows of the table of processes, unless all are wanted.
const MOST_PROCESSES: usize = 20;

/// The processes in a table, and what was lost: those that have allocated most, in the order in which they started.
pub fn processes(trace: &Trace, all: bool, text: &mut String) {
    let _ = writeln!(
        text,
        "  {:<24} {:>12} {:>10} {:>10} {:>12} {:>7}  {:<5} lost",
        "process", "calls", "allocated", "peak", "live at end", "stacks", "ended"
    );
    let mut by_bytes: Vec<usize> = (0..trace.processes.len()).collect();
    by_bytes.sort_by_key(|index| std::cmp::Reverse(trace.processes[*index].heap.bytes));
    let shown = if all { by_bytes.len() } else { by_bytes.len().min(MOST_PROCESSES) };
    by_bytes[..shown].sort_unstable();
    for index in &by_bytes[..shown] {
        let process = &trace.processes[*index];
        let heap = &process.heap;
        let lost = process.lost().map_or("?".to_owned(), words::number);
        let _ = writeln!(
            text,
            "  {:<24} {:>12} {:>10} {:>10} {:>12} {:>7}  {:<5} {lost}",
            format!("{} {}", process.id(), process.name()),
            words::number(heap.calls),
            words::bytes(heap.bytes),
            words::bytes(heap.peak.bytes),
            words::bytes(heap.live_bytes),
            words::number(process.stacks.len() as u64),
            process.ended(),
        );
    }
    let others: Vec<&Process> = by_bytes[shown..].iter().map(|index| &trace.processes[*index]).collect();
    if !others.is_empty() {
        let _ = writeln!(
            text,
            "  and {} that have allocated less: {} calls, {} lost, {} killed or still running (--all shows them)",
            words::number(others.len() as u64),
            words::number(others.iter().map(|process| process.heap.calls).sum()),
            words::number(others.iter().filter_map(|process| process.lost()).sum()),
            words::number(others.iter().filter(|process| process.lost().is_none()).count() as u64),
        );
    }
    let (events, bytes) = (trace.read.events, trace.read.bytes);
    let _ = writeln!(
        text,
        "  in the folder: {} events in {}, {:.1} B an event",
        words::number(events),
        words::bytes(bytes),
        bytes as f64 / events.max(1) as f64,
    );
    for problem in &trace.read.losses {
        let _ = writeln!(text, "  {problem}");
    }
}

/// What can be said of a process in a few lines.
pub fn summary(process: &Process, text: &mut String) {
    let heap = &process.heap;
    let threads = heap.threads().count() as u64;
    let _ = writeln!(text, "{} {}: {}", process.id(), process.name(), process.command());
    let _ = writeln!(
        text,
        "  {} allocations of {} in {} by {} thread{}; {} releases, {} of them of NULL",
        words::number(heap.allocations),
        words::bytes(heap.bytes),
        words::time(heap.last_ns.saturating_sub(heap.first_ns)),
        words::number(threads),
        if threads == 1 { "" } else { "s" },
        words::number(heap.releases),
        words::number(heap.releases_of_null),
    );
    let _ = writeln!(
        text,
        "  peak       {} in {} blocks, {} after the first call",
        words::bytes(heap.peak.bytes),
        words::number(heap.peak.blocks),
        words::time(heap.peak.time_ns.saturating_sub(heap.first_ns)),
    );
    let _ = writeln!(
        text,
        "  at the end {} in {} blocks",
        words::bytes(heap.live_bytes),
        words::number(heap.live_blocks())
    );
    let _ = writeln!(
        text,
        "  temporary  {} ({}): released by the next call of their thread",
        words::number(heap.temporary),
        words::percent(heap.temporary, heap.allocations),
    );
    text.push_str("  bytes are those that were asked for; a realloc is a release and an allocation\n");
    notes(process, text);
}

/// What limits the figures of a process.
fn notes(process: &Process, text: &mut String) {
    let (heap, ledger) = (&process.heap, process.ledger.as_ref());
    let counts = [
        (heap.failed, "allocations failed"),
        (
            heap.unknown_releases,
            "releases of blocks from before the trace (of the parent, after a fork), or of blocks whose event was lost",
        ),
        (process.without_stack, "allocations name a stack that was not stored before the process was killed"),
        (
            ledger.map_or(0, |ledger| ledger.stacks_lost),
            "allocations have no stack, because its event was dropped",
        ),
        (process.unknown, "events could not be read"),
    ];
    for (count, what) in counts {
        if count > 0 {
            let _ = writeln!(text, "  {} {what}", words::number(count));
        }
    }
    if ledger.is_some_and(|ledger| ledger.gave_up) {
        text.push_str(
            "  allocations that waited for the storage timed out: events were dropped from then on\n",
        );
    } else if ledger.is_some_and(|ledger| ledger.drop_mode) {
        text.push_str("  events that found their ring buffer full were dropped (--drop)\n");
    }
    match process.lost() {
        Some(0) => text.push_str("  nothing is lost: every call that the ledger counts is here\n"),
        Some(lost) => {
            let _ = writeln!(
                text,
                "  {} calls or stacks are lost: what is live may be more or less by them",
                words::number(lost)
            );
        }
        None => text.push_str(
            "  the process was killed or still runs: calls after what was stored last are missing\n",
        ),
    }
}

fn heading(title: &str, text: &mut String) {
    let _ = writeln!(text, "\n{title}\n{}", "-".repeat(title.chars().count()));
}

fn table(sums: &[(String, Totals)], figure: Figure, title: &str, most: usize, text: &mut String) {
    let found = sums::top(sums, figure, most);
    if found.is_empty() {
        return;
    }
    heading(title, text);
    let whole = sums.iter().fold(0u64, |sum, (_, totals)| sum.wrapping_add(figure.of(totals)));
    for (name, totals) in found {
        let value = figure.of(totals);
        let shown = if figure.is_bytes() { words::bytes(value) } else { words::number(value) };
        let beside = match figure {
            Figure::Bytes => format!("{} calls", words::number(totals.calls)),
            Figure::Calls => format!("{} each", words::bytes(totals.bytes / totals.calls.max(1))),
            Figure::Peak => format!("{} blocks", words::number(totals.peak_blocks)),
            Figure::Live => format!("{} blocks", words::number(totals.live_blocks)),
            Figure::Temporary => format!("of {}", words::number(totals.calls)),
        };
        let (share, bar) = (words::percent(value, whole), words::bar(value, whole, 12));
        let _ = writeln!(text, "  {shown:>11} {share:>7} {bar:<12} {beside:>16}  {name}");
    }
}

/// The call sites, each title with the figure that its table is sorted by.
const TABLES: [(Figure, &str); 5] = [
    (Figure::Bytes, "Call sites that allocate most memory"),
    (Figure::Calls, "Call sites that allocate most often"),
    (Figure::Peak, "Call sites of what was live at the peak"),
    (Figure::Live, "Call sites of what was not released before the end"),
    (Figure::Temporary, "Call sites of temporary allocations"),
];

/// The tables of a process. `short`: what allocates most memory alone.
pub fn tables(process: &Process, symbols: &Symbols<'_>, most: usize, short: bool, text: &mut String) {
    let sums = sums::by_function(process, symbols);
    let lines = if short { Vec::new() } else { plot::heap(&process.heap.timeline) };
    if !lines.is_empty() {
        heading("Live memory over time", text);
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    for (figure, title) in TABLES.into_iter().take(if short { 1 } else { TABLES.len() }) {
        table(&sums, figure, title, most, text);
    }
    if !short {
        sizes(&process.heap, text);
        threads(&process.heap, most, text);
        by_call(&process.heap, text);
    }
}

fn sizes(heap: &Heap, text: &mut String) {
    heading("Requested sizes", text);
    let used = |class: &(u64, u64)| class.0 > 0;
    let (Some(first), Some(last)) = (heap.by_size.iter().position(used), heap.by_size.iter().rposition(used))
    else {
        return;
    };
    let most = heap.by_size.iter().map(|class| class.0).max().unwrap_or(1);
    for (class, (count, bytes)) in heap.by_size.iter().enumerate().take(last + 1).skip(first) {
        let low = if class == 0 { 0 } else { 1u64 << (class - 1) };
        let high = low.saturating_mul(2).saturating_sub(1).max(low);
        let label = if low == high {
            words::number(low)
        } else {
            format!("{} to {}", words::number(low), words::number(high))
        };
        let bar = words::bar(*count, most, 30);
        let _ = writeln!(
            text,
            "  {label:>28} B {:>12} {bar:<30} {:>9}",
            words::number(*count),
            words::bytes(*bytes)
        );
    }
}

fn threads(heap: &Heap, most: usize, text: &mut String) {
    let mut threads: Vec<_> = heap.threads().collect();
    if threads.len() < 2 {
        return;
    }
    heading("Threads", text);
    threads.sort_by_key(|(id, totals)| (std::cmp::Reverse(totals.calls), *id));
    for (id, totals) in threads.iter().take(most) {
        let _ = writeln!(
            text,
            "  {id:>8} {:>12} calls {:>12} allocations of {:>9}, {:>9} live at the end, {} temporary",
            words::number(totals.calls),
            words::number(totals.allocations),
            words::bytes(totals.bytes),
            words::bytes(totals.live_bytes),
            words::number(totals.temporary),
        );
    }
    if threads.len() > most {
        let _ = writeln!(text, "  and {} more", words::number((threads.len() - most) as u64));
    }
}

fn by_call(heap: &Heap, text: &mut String) {
    heading("Functions that were called", text);
    let mut found: Vec<_> = calls::all().map(|(kind, name, _)| (heap.by_call[kind as usize], name)).collect();
    found.retain(|(count, _)| *count > 0);
    found.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    for (count, name) in found {
        let _ = writeln!(text, "  {:>12}  {name}", words::number(count));
    }
}
