//! `stat`

pub mod losses;
mod plot;

use super::ls::{Run, runs};
use super::table::{Table, bytes, duration, grouped, time};
use crate::args::{Order, Stat};
use crate::damage::counted;
use crate::failure::{Failure, Outcome};
use crate::journal::{Journal, Reading, span};
use crate::line::shown;
use crate::progress::Progress;
use crate::source::Source;
use capture_pipeline::journal::reader::LedgerBlock;
use plot::Plot;
use std::io::Write;
use std::ops::ControlFlow;

/// The events of a kind.
#[derive(Clone, Copy, Default)]
struct Count {
    events: u64,
    bytes: u64,
    weight: f64,
}

/// Shows what a journal has.
pub fn run(args: &Stat) -> Result<Outcome, Failure> {
    let mut journal = Journal::open(&args.path, &args.selection, Order::Stored, Reading::Once)?;
    let mut plot = Plot::new(span(journal.reader().segments()));
    let mut counts: Vec<Count> = Vec::new();
    journal.each(&mut Progress::new("reading", false), |found| {
        if counts.len() <= found.kind_at {
            counts.resize(found.kind_at + 1, Count::default());
        }
        let count = &mut counts[found.kind_at];
        count.events += 1;
        count.bytes += found.event.payload.len() as u64;
        count.weight += found.event.weight;
        plot.add(found.event.realtime_ns);
        Ok(ControlFlow::Continue(()))
    })?;
    let mut text = Vec::new();
    let reader = journal.reader();
    // Writing to a vector does not fail.
    let _ = show_runs(&mut text, reader);
    let _ = show_kinds(&mut text, &journal, &counts);
    let _ = plot.show(&mut text);
    let _ = losses::show(&mut text, reader);
    std::io::stdout().write_all(&text).map_err(|error| Failure::output(&error))?;
    Ok(journal.outcome())
}

fn show_runs(text: &mut Vec<u8>, reader: &Source) -> std::io::Result<()> {
    for run in runs(reader.segments()) {
        writeln!(
            text,
            "Run {:016x}: {}, process {}, {}",
            run.generation,
            shown(&run.program),
            run.pid,
            run.state()
        )?;
        if run.events > 0 {
            let (first, last) = run.span;
            writeln!(
                text,
                "  events    {} to {} ({})",
                time(first),
                time(last),
                duration(last.saturating_sub(first))
            )?;
        }
        if !run.is_in_database {
            writeln!(
                text,
                "  files     {} in {} and {}{}",
                bytes(run.size),
                counted(run.segments, "segment", "segments"),
                counted(run.blocks, "block", "blocks"),
                ratio(&run)
            )?;
        }
        for (at, (name, value)) in reader.facts().attributes_of(run.generation).enumerate() {
            let label = if at == 0 { "attributes" } else { "" };
            let name = String::from_utf8_lossy(name);
            writeln!(text, "  {label:<10} {name} = {}", shown(value))?;
        }
        match reader.facts().ledgers.get(&run.generation) {
            Some(ledger) => show_ledger(text, ledger)?,
            None if run.is_in_database => writeln!(text, "  ledger    none: a database keeps none")?,
            None => writeln!(text, "  ledger    none was stored")?,
        }
    }
    Ok(())
}

/// What an event takes in the files, and how much shorter the records are there.
fn ratio(run: &Run) -> String {
    if run.events == 0 {
        return String::new();
    }
    let each = run.size as f64 / run.events as f64;
    if run.stored_bytes == run.raw_bytes {
        format!("; {each:.1} bytes an event")
    } else {
        format!("; {each:.1} bytes an event, {:.1} as records", run.raw_bytes as f64 / run.events as f64)
    }
}

/// The last ledger of a run: where the offered events have gone.
fn show_ledger(text: &mut Vec<u8>, ledger: &LedgerBlock) -> std::io::Result<()> {
    writeln!(text, "  ledger    {} offered", grouped(ledger.offered()))?;
    for name in capture_pipeline::journal::reader::LEDGER_COUNTS {
        if let Some(count @ 1..) = ledger.count(name) {
            writeln!(text, "            {:>18} {name}", grouped(count))?;
        }
    }
    Ok(())
}

fn show_kinds(text: &mut Vec<u8>, journal: &Journal, counts: &[Count]) -> std::io::Result<()> {
    let all: u64 = counts.iter().map(|count| count.events).sum();
    let mut table = Table::new(&["KIND", ">NUMBER", ">EVENTS", ">SHARE", ">BYTES", ">MEAN", "FIELDS"]);
    let mut rows: Vec<_> = journal.kinds().iter().zip(counts).filter(|(_, count)| count.events > 0).collect();
    rows.sort_by_key(|(kind, count)| (std::cmp::Reverse(count.events), kind.number));
    for (kind, count) in rows {
        let fields = kind.definition.as_ref().map_or_else(String::new, |definition| {
            let names: Vec<&str> = definition.fields.iter().map(|field| field.name.as_str()).collect();
            names.join(" ")
        });
        let (label, number) = match kind.is_rest {
            true => ("(others)".into(), "-".into()),
            false => (shown(kind.label().as_bytes()).to_string(), kind.number.to_string()),
        };
        table.add(vec![
            label,
            number,
            grouped(count.events),
            format!("{:.1} %", 100.0 * count.events as f64 / all as f64),
            bytes(count.bytes),
            format!("{:.1} B", count.bytes as f64 / count.events as f64),
            fields,
        ]);
    }
    let weight: f64 = counts.iter().map(|count| count.weight).sum();
    write!(text, "Events: {}", grouped(all))?;
    // After sampling each event stands for several.
    if weight.round() != all as f64 {
        write!(text, ", which stand for {}", grouped(weight.round() as u64))?;
    }
    writeln!(text)?;
    if !table.is_empty() {
        table.write("  ", text);
    }
    Ok(())
}
