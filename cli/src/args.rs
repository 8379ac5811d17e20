//! The arguments of the command.

use crate::consume::args::Consume;
use crate::export::pieces::Split;
use crate::recover::args::Recover;
use crate::snapshot::args::Snapshot;
use crate::top::args::Top;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Lists, shows, checks and exports the journals that capture_pipeline writes, and the databases of its SQLite storage.
///
/// A journal is a directory with segments (files named *.journal), or one of its segments. A file that begins as one of SQLite's is a database. Both may be read while they are
/// being written. A directory with ring files (ring_dir) is read as a journal of what lies in them at that moment.
///
/// Exit status: 0 if all is well, 1 if a journal is damaged (the rest is read all the same), 2 if the arguments are wrong or a file cannot be read or written.
#[derive(Debug, Parser)]
#[command(name = "capture-pipeline", version, max_term_width = 100, propagate_version = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the command does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists journals: their runs, programs, times, sizes and counts
    Ls(Ls),
    /// Shows what a journal has: the ledger, the kinds, rates over time, losses
    Stat(Stat),
    /// Prints events, one on each line
    Cat(Cat),
    /// Prints the last events, and those that follow
    Tail(Tail),
    /// Reads a journal to its end and reports all damage
    Verify(Verify),
    /// Writes events to a file in another format
    Export(Export),
    /// Serves a page with what a journal has, for a browser on this machine
    Serve(Serve),
    /// Prints or serves the live figures of pipelines, as text for Prometheus
    Metrics(Metrics),
    /// Shows what the pipelines of running processes do: rates, what waits in ring buffers, losses, writers, latency
    ///
    /// The ring files (ring_dir) of the processes are read, and the live figures of their journals. Nothing is written, no lock is taken, and the processes do nothing for it: one that is
    /// stopped or hangs is shown as well. The bytes per second and what waits in the ring buffers are of the moment; events, losses, latency and writers are as the process has written them
    /// last, which it does each second. HEALTH says if they are older. A pipeline without ring_dir and without live figures cannot be shown: the memory of processes is not read.
    ///
    /// Keys: q ends; r e b f l t n p sort by rate, events, backlog, fill, lost, latency, name, pid, and s by the next of them; the arrows choose the pipeline whose writers and ring buffers are
    /// shown; Page Up and Page Down scroll these; + and - change the interval; the space bar looks at once.
    Top(Top),
    /// Stores what processes that have ended have left in their ring files, and deletes the files
    ///
    /// Each event has the identity that it was captured under. What is stored is marked in the file, so that a recovery that was killed goes on where it was: in SQLite and in a journal
    /// each event is there exactly once, and lines (ndjson) have each at least once. A file whose process lives, or that another recovery has, is not touched; one that cannot be read is
    /// named and left as it is.
    ///
    /// Exit status: 0 if all is stored, 1 if something was damaged, refused by the target or not recoverable, 2 if something is left, or the directory or the target cannot be used.
    Recover(Recover),
    /// Writes what lies in ring files as a journal, while the processes go on or after they have ended
    ///
    /// Nothing in the ring files is changed, and the processes do nothing for it: it may be repeated as often as wanted, into the same journal, whose readers give each event once. What a process
    /// releases or overwrites while its ring buffers are read is left out.
    Snapshot(Snapshot),
    /// Answers the questions of AI assistants about journals: a server of the Model Context Protocol
    Mcp(Mcp),
    /// Stores the events of a NATS JetStream stream in a database or a journal, each once, or prints them
    ///
    /// A message is acknowledged when its events are on the disk of the target. After a crash the server gives again what was not acknowledged. In SQLite each event is stored exactly once, because
    /// its identity is the key. A journal may have it twice, and its readers give it exactly once. Lines (ndjson) have each event at least once: the command leaves out what it remembers, at most
    /// 65,536 intervals of sequences, and remembers nothing from an earlier run. One target has one consumer.
    ///
    /// A message that cannot be read stops the command, unless --dead-letter or --skip says what becomes of it. SIGTERM and SIGINT end it when what it has begun is stored.
    ///
    /// Exit status: 0 if all is well, 1 if messages were moved to --dead-letter or left out by --skip, 2 if the arguments are wrong, or the server, the stream or the target cannot be used.
    Consume(Consume),
    /// Prints the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: PathBuf,
    },
}

/// `ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// Journals, databases of the SQLite storage, and directories that have them in them
    #[arg(value_name = "PATH", default_value = ".", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Looks into directories at any depth, and not only one level down
    #[arg(short, long)]
    pub recursive: bool,
    /// Prints JSON, one run on each line
    #[arg(long)]
    pub json: bool,
}

/// `stat`
#[derive(Debug, Args)]
#[command(mut_arg("until", |arg| arg.visible_alias("to")))]
pub struct Stat {
    /// A journal (a directory or one segment), or a database of the SQLite storage
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    #[command(flatten)]
    pub selection: Selection,
}

/// Which events.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which events")]
pub struct Selection {
    /// Only events of this kind, by its name or number; may be given several times
    #[arg(short, long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// Only events for which this is true, as in 'size > 1 MiB and not site = 0'
    ///
    /// Compares the fields of a kind, by = != < <= > >= contains and in (…), with numbers (0x hexadecimal; with a unit: KiB MiB GiB TiB kB MB GB TB ns us ms s
    /// min h), texts ("…" or '…'), bytes (x"…") and true or false; and, or, not and parentheses combine. Every event has: kind kind_name wall_time (time) time_ns generation
    /// ring_id (ring) sequence correlation_id node_id weight flags tid thread_name (thread) payload_bytes (len) payload. A kind's own field of such a name comes first; with an
    /// underscore in front (_kind) the name always means the event's. A comparison with a field that an event does not have is false.
    #[arg(short = 'w', long = "where", value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// Only events from this time on
    ///
    /// A time is a date and time as in 2024-05-01T10:00:00.5Z (UTC without an offset; the time may be left out), +DURATION after the journal's first event, or -DURATION before its last one. A
    /// duration is a number with ns, us, ms, s, min, h or d.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Only events before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Only events with this correlation id
    #[arg(long, value_name = "ID", value_parser = number)]
    pub correlation_id: Option<u64>,
    /// Only events of this run, by its generation (hexadecimal, as ls shows it)
    #[arg(long, value_name = "GENERATION", value_parser = hexadecimal)]
    pub run: Option<u64>,
}

/// The order of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// By time, over all threads
    Time,
    /// As they are stored, which is faster
    Stored,
}

/// `cat`
#[derive(Debug, Args)]
#[command(mut_arg("until", |arg| arg.visible_alias("to")))]
pub struct Cat {
    /// A journal (a directory or one segment), or a database of the SQLite storage
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub lines: Lines,
    /// The order of the events
    #[arg(long, value_enum, default_value_t = Order::Time)]
    pub order: Order,
    /// At most so many events
    #[arg(short = 'n', long = "limit", value_name = "COUNT")]
    pub limit: Option<u64>,
}

/// How events are printed.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Lines {
    /// Prints JSON, one object on each line
    #[arg(long)]
    pub json: bool,
    /// With --json: numbers above 2^53 as strings, because JavaScript and others round them
    #[arg(long, requires = "json")]
    pub strings: bool,
    /// Prints the identity of each event: generation, ring and sequence
    #[arg(long, conflicts_with = "json")]
    pub ids: bool,
}

/// `tail`
#[derive(Debug, Args)]
#[command(mut_arg("until", |arg| arg.visible_alias("to")))]
pub struct Tail {
    /// A journal (a directory or one segment), or a database of the SQLite storage
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub lines: Lines,
    /// How many of the last events are printed
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    pub count: u64,
    /// Goes on with what is written, until it is interrupted or no writer is left
    #[arg(short, long)]
    pub follow: bool,
}

/// `serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// A journal (a directory or one segment), or a database of the SQLite storage
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Where it listens: an address with a port, or a port alone, which is on 127.0.0.1; port 0 is any that is free
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: String,
    /// A name by which requests may call this machine, beside its address; may be given several times
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
}

/// `metrics`
#[derive(Debug, Args)]
pub struct Metrics {
    /// Directories with journals of pipelines that write live figures
    #[arg(value_name = "DIRECTORY", required = true, value_hint = ValueHint::DirPath)]
    pub paths: Vec<PathBuf>,
    /// Serves http://ADDRESS/metrics until it is interrupted, and prints nothing; a port alone is on 127.0.0.1
    #[arg(short, long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// With --listen: a name by which requests may call this machine, beside its address; may be given several times
    #[arg(long = "host", value_name = "NAME", requires = "listen")]
    pub hosts: Vec<String>,
    /// Prints OpenMetrics; a server answers in the format that it is asked for
    #[arg(long, conflicts_with = "listen")]
    pub openmetrics: bool,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// Journals (directories or single segments), or databases of the SQLite storage
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Prints nothing if all is well
    #[arg(short, long)]
    pub quiet: bool,
}

/// A format that events are exported to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A SQLite database with the tables and views of the SQLite storage
    Sqlite,
    /// JSON, one object on each line
    Ndjson,
    /// Comma-separated values, with a header line
    Csv,
    /// Apache Parquet
    Parquet,
    /// A timeline for Perfetto: ui.perfetto.dev or trace_processor
    Perfetto,
    /// A timeline as Chrome's JSON, for viewers that do not take Perfetto's traces
    Chrome,
    /// Collapsed stacks, for flame graphs: of the field `stack`, or of slices
    Folded,
    /// A directory in the Common Trace Format 1.8: babeltrace2, Trace Compass
    Ctf,
    /// A directory with OpenTelemetry's OTLP as lines of JSON; with a URL as the file, it is sent to a collector
    Otlp,
    /// The same as protocol buffers
    OtlpProto,
}

impl Format {
    /// Whether it shows the events on a line of time, for which they come in the order of their times.
    pub fn is_timeline(self) -> bool {
        match self {
            Self::Sqlite | Self::Ndjson | Self::Csv | Self::Parquet => false,
            Self::Perfetto | Self::Chrome | Self::Folded | Self::Ctf | Self::Otlp | Self::OtlpProto => true,
        }
    }
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Not at all
    None,
    /// By Zstandard
    Zstd,
    /// By zlib
    Zlib,
}

/// Which payloads are exported beside the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Payload {
    /// Where the fields do not say all that is in it
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `export`
#[derive(Debug, Args)]
pub struct Export {
    /// A journal (a directory or one segment), or a database of the SQLite storage
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// The file to write (CTF and OTLP: the directory; OTLP: or http://HOST:4318); - is the standard output, not for SQLite, Parquet and directories
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The format [default: by the end of the file's name: .db .sqlite, .ndjson .jsonl, .csv, .parquet, .pftrace .perfetto-trace, .json, .folded, .ctf, .otlp, http://]
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    pub to: Option<Format>,
    #[command(flatten)]
    pub selection: Selection,
    /// The order of the events [default: stored; a timeline is always in the order of time]
    #[arg(long, value_enum)]
    pub order: Option<Order>,
    /// Timelines: several files that each open alone, FILE.0001.END and so on, of this size (1G, 500M) or time (10min)
    #[arg(long, value_name = "SIZE|TIME", value_parser = Split::parse)]
    pub split: Option<Split>,
    /// Replaces the file if it exists
    #[arg(short, long)]
    pub force: bool,
    /// OTLP: the first half of trace ids, 16 hexadecimal digits, the same for all processes of a system [default: the run]
    #[arg(long, value_name = "PREFIX", value_parser = trace_prefix)]
    pub trace_prefix: Option<u64>,
    /// OTLP to a collector: a header of each request, as "Authorization: Bearer TOKEN"
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// The compression: none, for Parquet zstd, for Perfetto zlib [default: these]
    #[arg(long, value_enum)]
    pub compression: Option<Compression>,
    /// Not for SQLite: whether payloads are exported beside the fields
    #[arg(long, value_enum, default_value_t = Payload::Auto)]
    pub payload: Payload,
    /// SQLite: makes no indexes on times and ids, which take as long as the rest
    #[arg(long)]
    pub no_indexes: bool,
    /// NDJSON: numbers above 2^53 as strings, because JavaScript and others round them
    #[arg(long)]
    pub strings: bool,
}

/// `mcp`
#[derive(Debug, Args)]
pub struct Mcp {
    /// Journals (directories or single segments), or databases of the SQLite storage. No others are ever opened; a client names one by the last part of its path, or by its place in this list, from 0
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
}

/// A number of 64 bits.
pub fn number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x");
    let number = digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    number.map_err(|_| "a number from 0 to 2^64 - 1 expected, decimal or 0x hexadecimal".into())
}

fn trace_prefix(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
        .map_err(|_| "up to 16 hexadecimal digits expected".into())
}

/// A generation.
pub fn hexadecimal(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
        .map_err(|_| "a generation has up to 16 hexadecimal digits, as ls shows it".into())
}
