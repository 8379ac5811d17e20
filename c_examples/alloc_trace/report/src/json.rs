//! The figures of the report as JSON, for programs.

use crate::calls;
use crate::heap::Totals;
use crate::sums;
use crate::symbols::Symbols;
use crate::trace::{END_DEPTH, END_OUTERMOST, Process, Trace};
use serde_json::{Map, Value, json};

fn totals(totals: &Totals) -> Value {
    json!({
        "calls": totals.calls, "bytes": totals.bytes, "temporary": totals.temporary,
        "live_blocks": totals.live_blocks, "live_bytes": totals.live_bytes,
        "peak_blocks": totals.peak_blocks, "peak_bytes": totals.peak_bytes,
    })
}

fn process(process: &Process, symbols: &Symbols<'_>, with_stacks: bool) -> Value {
    let heap = &process.heap;
    let by_call: Map<String, Value> = calls::all()
        .filter(|(kind, ..)| heap.by_call[*kind as usize] > 0)
        .map(|(kind, name, _)| (name.to_owned(), heap.by_call[kind as usize].into()))
        .collect();
    let sites: Map<String, Value> =
        sums::by_function(process, symbols).iter().map(|(name, sums)| (name.clone(), totals(sums))).collect();
    let threads: Map<String, Value> = heap
        .threads()
        .map(|(id, totals)| {
            let figures = json!({
                "calls": totals.calls, "allocations": totals.allocations, "bytes": totals.bytes,
                "temporary": totals.temporary, "live_bytes": totals.live_bytes,
            });
            (id.to_string(), figures)
        })
        .collect();
    let steps: Vec<Value> =
        heap.timeline.steps().iter().map(|step| json!([step.live_bytes, step.allocations])).collect();
    let mut value = json!({
        "id": process.id(), "name": process.name(), "command": process.command(), "ended": process.ended(),
        "run": format!("{:016x}", process.run),
        "events": process.events, "records": process.records, "unknown_events": process.unknown,
        "lost": process.lost(),
        "calls": heap.calls, "by_call": by_call,
        "allocations": heap.allocations, "bytes": heap.bytes, "failed": heap.failed,
        "releases": heap.releases, "releases_of_null": heap.releases_of_null,
        "unknown_releases": heap.unknown_releases, "replaced": heap.replaced,
        "temporary": heap.temporary,
        "live_bytes": heap.live_bytes, "live_blocks": heap.live_blocks(),
        "peak": {"bytes": heap.peak.bytes, "blocks": heap.peak.blocks,
                 "after_ns": heap.peak.time_ns.saturating_sub(heap.first_ns)},
        "duration_ns": heap.last_ns.saturating_sub(heap.first_ns),
        "stacks": process.stacks.len(), "without_stack": process.without_stack,
        "sites": sites, "threads": threads,
        "timeline": {"step_ns": heap.timeline.width_ns(), "live_bytes_and_allocations": steps},
    });
    if with_stacks {
        value["by_stack"] = by_stack(process, symbols);
    }
    value
}

/// Each stack with the names of its functions, the innermost first.
fn by_stack(process: &Process, symbols: &Symbols<'_>) -> Value {
    let mut stacks = Vec::new();
    for (origin, site, sums) in process.heap.origins() {
        let stack =
            if let crate::heap::Origin::Stack(number) = origin { process.stacks.get(number) } else { None };
        let (addresses, end) = stack.map_or((vec![site], "none"), |(addresses, end)| {
            let end = match end {
                END_OUTERMOST => "outermost",
                END_DEPTH => "depth",
                _ => "unknown",
            };
            (addresses.to_vec(), end)
        });
        let functions: Vec<String> = addresses
            .iter()
            .flat_map(|address| {
                symbols.functions(*address).iter().map(|function| function.short()).collect::<Vec<_>>()
            })
            .collect();
        stacks.push(json!({"functions": functions, "end": end, "totals": totals(&sums)}));
    }
    stacks.into()
}

/// The whole report. `symbols_of` gives the names of each process.
pub fn report<'a>(
    trace: &'a Trace,
    symbols_of: impl Fn(&'a Process) -> Symbols<'a>,
    with_stacks: bool,
) -> Value {
    let processes: Vec<Value> =
        trace.processes.iter().map(|one| process(one, &symbols_of(one), with_stacks)).collect();
    json!({
        "events": trace.read.events, "bytes": trace.read.bytes, "duplicates": trace.read.duplicates,
        "losses": trace.read.losses, "processes": processes,
    })
}
