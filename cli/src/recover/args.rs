//! The arguments of `recover`.

use crate::deliver::place::Place;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// `recover`
#[derive(Debug, Args)]
pub struct Recover {
    /// The directory with the ring files (ring_dir)
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// Where the events go: sqlite:FILE, journal:DIRECTORY, ndjson (the standard output) or ndjson:FILE
    #[arg(long, value_name = "TARGET", value_parser = Place::parse, required_unless_present = "dry_run")]
    pub to: Option<Place>,
    /// Says what is there, and delivers and changes nothing
    #[arg(long, conflicts_with = "to")]
    pub dry_run: bool,
    /// Prints JSON, one file on each line
    #[arg(long)]
    pub json: bool,
    /// For how many seconds a batch is tried again that the target does not take
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub retry: u64,
}
