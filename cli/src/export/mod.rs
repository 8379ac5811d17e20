//! `export`: events in a file of another format.

mod chrome;
mod csv;
mod ctf;
mod folded;
mod folder;
mod groups;
mod ndjson;
mod otlp;
mod parquet;
mod perfetto;
pub mod pieces;
mod sqlite;
mod target;

use crate::args::{Compression, Export, Format, Order, Payload};
use crate::failure::{Failure, Outcome};
use crate::journal::{Found, Journal, Reading};
use crate::progress::Progress;
use clap::ValueEnum;
use folder::Folder;
use pieces::Pieces;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use target::Target;

/// Writes events in a format.
pub trait Exporter {
    /// Takes an event.
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure>;
    /// Is shown an event that was not asked for. Only a timeline is: it finds out by them whether events are missing.
    fn skip(&mut self, _found: Found<'_>) -> Result<(), Failure> {
        Ok(())
    }
    /// Writes what is left. The file is whole afterwards.
    fn finish(self: Box<Self>) -> Result<(), Failure>;
}

/// Exports the events that are asked for.
pub fn run(args: &Export) -> Result<Outcome, Failure> {
    let format = match args.to.or_else(|| by_name(&args.file)) {
        Some(format) => format,
        None => {
            return Err(Failure::new(format!(
                "{}: the name does not say which format is wanted; give --to {}",
                args.file.display(),
                names()
            )));
        }
    };
    let is_output = args.file.as_os_str() == "-";
    if is_output
        && matches!(format, Format::Sqlite | Format::Parquet | Format::Ctf | Format::Otlp | Format::OtlpProto)
    {
        return Err(Failure::new(
            "this format cannot be written to the standard output; give the name of a file",
        ));
    }
    let order = match (format.is_timeline(), args.order) {
        (true, Some(Order::Stored)) => {
            return Err(Failure::new(
                "--order: a timeline is made of the events in the order of their times",
            ));
        }
        (true, _) => Order::Time,
        (false, order) => order.unwrap_or(Order::Stored),
    };
    let reading = if format.is_timeline() { Reading::All } else { Reading::Once };
    let mut journal = Journal::open(&args.path, &args.selection, order, reading)?;
    let payload = match args.payload {
        Payload::Auto => None,
        Payload::Always => Some(true),
        Payload::Never => Some(false),
    };
    let (mut exporter, target) = match format {
        Format::Perfetto | Format::Chrome => (timeline(args, format, &journal, payload)?, None),
        Format::Ctf | Format::Otlp | Format::OtlpProto => (directory(args, format, &journal, payload)?, None),
        _ => {
            let (exporter, target) = one_file(args, format, &journal, payload)?;
            (exporter, Some(target))
        }
    };
    let mut progress = Progress::new("exporting", !is_output);
    journal.each_with(&mut progress, |found, is_chosen| {
        let done = if is_chosen { exporter.add(found) } else { exporter.skip(found) };
        done.map(ControlFlow::Continue)
    })?;
    progress.last_step(if format == Format::Sqlite { "making indexes" } else { "closing the file" });
    exporter.finish()?;
    if let Some(target) = target {
        target.commit()?;
    }
    drop(progress);
    Ok(journal.outcome())
}

/// Writes the timeline of a journal that was opened for all its events, for Perfetto, to this output, which messages call `name`.
pub fn perfetto_to(
    journal: &mut Journal,
    output: Box<dyn Write + Send>,
    name: PathBuf,
) -> Result<(), Failure> {
    let pieces = Pieces::of_output(target::Output::new(output, name));
    let mut exporter = Box::new(perfetto::Perfetto::new(pieces, journal, None, true));
    journal.each_with(&mut Progress::none(), |found, is_chosen| {
        let done = if is_chosen { exporter.add(found) } else { exporter.skip(found) };
        done.map(ControlFlow::Continue)
    })?;
    exporter.finish()
}

/// An exporter that shows the events on a line of time. It gives its files their names by itself.
fn timeline(
    args: &Export,
    format: Format,
    journal: &Journal,
    payload: Option<bool>,
) -> Result<Box<dyn Exporter>, Failure> {
    let own = if format == Format::Perfetto { Compression::Zlib } else { Compression::None };
    let compresses = compression(args, own)? != Compression::None;
    let pieces = Pieces::new(&args.file, args.force, args.split)?;
    Ok(match format {
        Format::Chrome => Box::new(chrome::Chrome::new(pieces, journal, payload)),
        _ => Box::new(perfetto::Perfetto::new(pieces, journal, payload, compresses)),
    })
}

/// An exporter that writes a directory, or sends it to a collector.
fn directory(
    args: &Export,
    format: Format,
    journal: &Journal,
    payload: Option<bool>,
) -> Result<Box<dyn Exporter>, Failure> {
    compression(args, Compression::None)?;
    if format == Format::Ctf {
        if args.split.is_some() {
            return Err(Failure::new(
                "--split: a trace in CTF is read in parts as it is; select a time by --from and --until",
            ));
        }
        return Ok(Box::new(ctf::Ctf::new(Folder::new(&args.file)?, journal, payload)));
    }
    let output = otlp_output(args, format)?;
    Ok(Box::new(otlp::Otlp::new(output, journal, payload, args.trace_prefix)))
}

/// Whether the file is the URL of a collector.
fn is_url(file: &Path) -> bool {
    file.to_str().is_some_and(|file| file.starts_with("http://") || file.starts_with("https://"))
}

/// Where OTLP goes: to a collector, or into a directory.
fn otlp_output(args: &Export, format: Format) -> Result<otlp::Output, Failure> {
    if is_url(&args.file) {
        let url = args.file.to_str().unwrap_or_default();
        if url.starts_with("https://") {
            return Err(Failure::new(format!(
                "{url}: http:// expected; a collector on this machine, or one behind a proxy here, takes it without encryption"
            )));
        }
        return otlp::Output::collector(url, &args.header);
    }
    if !args.header.is_empty() {
        return Err(Failure::new(
            "--header: a collector's URL expected as the file, as in http://localhost:4318",
        ));
    }
    let encoding = if format == Format::Otlp { otlp::Encoding::Json } else { otlp::Encoding::Protobuf };
    otlp::Output::files(Folder::new(&args.file)?, encoding, args.split)
}

/// The compression of a format that has this one, or none.
fn compression(args: &Export, own: Compression) -> Result<Compression, Failure> {
    match args.compression {
        Some(given) if given != own && given != Compression::None => {
            let name = |value: Compression| {
                value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
            };
            Err(Failure::new(format!(
                "--compression: {} is not for this format, which has {}",
                name(given),
                if own == Compression::None { "none".into() } else { format!("{} and none", name(own)) }
            )))
        }
        given => Ok(given.unwrap_or(own)),
    }
}

/// An exporter that writes one file.
fn one_file(
    args: &Export,
    format: Format,
    journal: &Journal,
    payload: Option<bool>,
) -> Result<(Box<dyn Exporter>, Target), Failure> {
    if args.split.is_some() {
        return Err(Failure::new(
            "--split: only timelines are split, in the formats perfetto and chrome, and OTLP",
        ));
    }
    let mut target = Target::new(&args.file, args.force, format == Format::Sqlite)?;
    let only_one = !args.selection.kinds.is_empty();
    let exporter: Box<dyn Exporter> = match format {
        Format::Sqlite => Box::new(sqlite::Sqlite::new(target.temporary(), journal, !args.no_indexes)?),
        Format::Ndjson => Box::new(ndjson::Ndjson::new(target.open()?, args.strings, payload)),
        Format::Csv => Box::new(csv::Csv::new(target.open()?, journal, payload, only_one)?),
        Format::Parquet => {
            let compression = compression(args, Compression::Zstd)?;
            Box::new(parquet::Parquet::new(target.open()?, journal, payload, only_one, compression)?)
        }
        Format::Folded => Box::new(folded::Folded::new(target.open()?, journal)),
        Format::Perfetto | Format::Chrome | Format::Ctf | Format::Otlp | Format::OtlpProto => {
            return Err(Failure::new("it may have several files"));
        }
    };
    Ok((exporter, target))
}

/// The names of the formats, for a message.
fn names() -> String {
    let names: Vec<String> = Format::value_variants()
        .iter()
        .filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned()))
        .collect();
    let (last, others) = names.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
    format!("{} or {last}", others.join(", "))
}

/// The format by the end of the file's name.
fn by_name(file: &Path) -> Option<Format> {
    if is_url(file) {
        return Some(Format::Otlp);
    }
    Some(match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "db" | "sqlite" | "sqlite3" => Format::Sqlite,
        "ndjson" | "jsonl" => Format::Ndjson,
        "csv" => Format::Csv,
        "parquet" => Format::Parquet,
        "pftrace" | "perfetto-trace" => Format::Perfetto,
        "json" => Format::Chrome,
        "folded" => Format::Folded,
        "ctf" => Format::Ctf,
        "otlp" => Format::Otlp,
        _ => return None,
    })
}
