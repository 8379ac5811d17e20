//! The arguments of the command.

use crate::sums::Figure;
use clap::Parser;
use std::path::PathBuf;

/// Reads what alloc_trace has captured, and says where the memory of a program went.
#[derive(Debug, Parser)]
#[command(name = "alloc_trace_report", version)]
pub struct Arguments {
    /// The folder of the trace (alloc_trace -o FOLDER)
    pub folder: PathBuf,
    /// The process to show: PID, or PID-N where it has replaced itself by exec. Default: the one that has allocated most
    #[arg(long, value_name = "PID[-N]")]
    pub process: Option<String>,
    /// Show every process
    #[arg(long, conflicts_with = "process")]
    pub all: bool,
    /// Only processes that have started then or later, in nanoseconds since 1970: a folder may have the traces of several runs
    #[arg(long, value_name = "NS")]
    pub since: Option<u64>,
    /// Rows of a table
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// A summary only
    #[arg(long)]
    pub short: bool,
    /// Lines of source and inlined functions, where a module has debug information
    #[arg(long)]
    pub lines: bool,
    /// What flame graphs are drawn of, if the trace has stacks
    #[arg(long, value_name = "FIGURE,...", value_delimiter = ',', default_value = "bytes,peak")]
    pub flame: Vec<Figure>,
    /// Draw no flame graph
    #[arg(long, conflicts_with = "flame")]
    pub no_flame: bool,
    /// Where flame graphs and collapsed stacks are written [default: report, in the folder of the trace]
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Write every call into a new SQLite database, for questions
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Write a new timeline for Perfetto's viewer: live bytes, and the allocations of each thread
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Write the figures of all processes as JSON to standard output, and nothing else
    #[arg(long)]
    pub json: bool,
    /// With --json: the stacks as well
    #[arg(long, requires = "json")]
    pub stacks: bool,
}
