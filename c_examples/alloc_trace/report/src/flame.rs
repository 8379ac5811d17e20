//! Collapsed stacks and flame graphs.

use crate::heap::Totals;
use crate::sums::Figure;
use inferno::flamegraph::{self, Options};
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Makes a file of the report anew, for its owner alone: what it says is as private as the trace.
pub fn make(path: &Path) -> Result<std::fs::File, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)
}

/// Writes `NAME.collapsed` and `NAME.svg` for a figure of the stacks. `None`: it is 0 for all of them.
pub fn write(
    stacks: &[(String, Totals)],
    figure: Figure,
    title: &str,
    folder: &Path,
    name: &str,
) -> Result<Option<(PathBuf, PathBuf)>, String> {
    let lines: Vec<String> = stacks
        .iter()
        .filter(|(_, totals)| figure.of(totals) > 0)
        .map(|(stack, totals)| format!("{stack} {}", figure.of(totals)))
        .collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let (collapsed, svg) = (folder.join(format!("{name}.collapsed")), folder.join(format!("{name}.svg")));
    let failed = |path: &Path, problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let mut file = BufWriter::new(make(&collapsed)?);
    for line in &lines {
        writeln!(file, "{line}").map_err(|error| failed(&collapsed, &error))?;
    }
    file.flush().map_err(|error| failed(&collapsed, &error))?;

    let mut options = Options::default();
    options.title = format!("{title}: {}", heading(figure));
    options.count_name = if figure.is_bytes() { "bytes" } else { "allocations" }.to_owned();
    options.deterministic = true;
    options.min_width = 0.05;
    let file = make(&svg)?;
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), BufWriter::new(file))
        .map_err(|error| failed(&svg, &error))?;
    Ok(Some((collapsed, svg)))
}

fn heading(figure: Figure) -> &'static str {
    match figure {
        Figure::Calls => "allocations",
        Figure::Bytes => "bytes allocated",
        Figure::Peak => "bytes live at the peak",
        Figure::Live => "bytes not released before the end",
        Figure::Temporary => "temporary allocations",
    }
}
