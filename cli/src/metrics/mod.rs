//! `metrics`: the live figures of pipelines in other processes, as text for Prometheus.

mod serve;

use crate::args::Metrics;
use crate::failure::{Failure, Outcome};
use crate::line::shown;
use crate::messages::tell;
use crate::numbers;
use capture_pipeline::exposition::{Exposition, Format, Process, Source};
use capture_pipeline::journal::live_figures::{self, Found};
use capture_pipeline::platform::{process, time};
use std::io::Write;
use std::path::Path;

/// Prints the metrics of the pipelines that write into these directories, or serves them.
pub fn run(args: &Metrics) -> Result<Outcome, Failure> {
    if let Some(address) = &args.listen {
        return serve::serve(address, &args.hosts, &|format| text(&read(args)?.pipelines, format));
    }
    let read = read(args)?;
    for found in read.pipelines.iter().filter(|found| !found.alive) {
        tell(format_args!("{}: {}", name(&found.path), ended(found)));
    }
    if read.pipelines.is_empty() {
        let hint = "a pipeline writes them with PIPELINE_JOURNAL_LIVE_FIGURES";
        tell(format_args!("no live figures in {}: {hint}", name(&args.paths[0])));
    }
    let format = if args.openmetrics { Format::OpenMetrics } else { Format::Prometheus };
    let text = text(&read.pipelines, format)?;
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::output(&error))?;
    Ok(read.outcome)
}

/// What was read.
struct Read {
    pipelines: Vec<Found>,
    outcome: Outcome,
}

/// Reads all files of live figures. What cannot be read is told, and the rest is read all the same.
fn read(args: &Metrics) -> Result<Read, Failure> {
    let mut read = Read { pipelines: Vec::new(), outcome: Outcome::Well };
    for directory in &args.paths {
        let files = live_figures::files_in(directory).map_err(|error| Failure::of(directory, &error))?;
        for file in files {
            match live_figures::read(&file) {
                Ok(found) => read.pipelines.push(found),
                // It has ended since the directory was listed.
                Err(live_figures::Unreadable::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(why) => {
                    tell(format_args!("{}: {why}", name(&file)));
                    read.outcome = Outcome::Unread;
                }
            }
        }
    }
    // A directory may be given twice.
    read.pipelines.sort_by(|a, b| (started_ns(a), &a.path).cmp(&(started_ns(b), &b.path)));
    read.pipelines.dedup_by_key(|found| found.live.generation);
    Ok(read)
}

/// The text of all pipelines.
fn text(pipelines: &[Found], format: Format) -> Result<String, Failure> {
    let figures: Vec<_> = pipelines
        .iter()
        .map(|found| {
            // It is written only when something else has changed, too.
            let mut figures = found.live.figures.clone();
            if found.alive && found.live.owner.boot_id == process::boot_id() {
                figures.metrics.uptime_ns += time::now_ns().saturating_sub(found.live.monotonic_ns);
            }
            figures
        })
        .collect();
    let sources: Vec<_> = pipelines
        .iter()
        .zip(&figures)
        .zip(1..)
        .map(|((found, figures), id)| Source {
            name: &found.live.name,
            // The one that was started first has the plain name.
            id,
            storage: &found.live.storage,
            figures,
            process: Some(Process {
                id: found.live.owner.pid,
                alive: found.alive,
                started_ns: started_ns(found),
            }),
        })
        .collect();
    Ok(Exposition::new(&sources, format)?.text()?)
}

/// When the pipeline was started, in nanoseconds since 1970.
fn started_ns(found: &Found) -> u64 {
    found.live.realtime_ns.saturating_sub(found.live.figures.metrics.uptime_ns)
}

/// What is said of a process that has ended.
fn ended(found: &Found) -> String {
    let (mut started, mut written) = (Vec::new(), Vec::new());
    numbers::time(&mut started, started_ns(found));
    numbers::time(&mut written, found.live.realtime_ns);
    format!(
        "process {} has ended; its pipeline {} was started at {}, and these are its figures of {}",
        found.live.owner.pid,
        shown(found.live.name.as_bytes()),
        String::from_utf8_lossy(&started),
        String::from_utf8_lossy(&written),
    )
}

/// The name of a file, as a terminal may show it.
fn name(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes()).to_string()
}
