//! The arguments of `snapshot`.

use crate::deliver::place::Place;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// `snapshot`
#[derive(Debug, Args)]
pub struct Snapshot {
    /// The directory with the ring files (ring_dir)
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
    /// Where the events go: journal:DIRECTORY
    #[arg(long, value_name = "TARGET", value_parser = journal_alone)]
    pub to: PathBuf,
    /// Only this run, by its generation (hexadecimal)
    #[arg(long, value_name = "GENERATION", value_parser = generation)]
    pub run: Option<u64>,
}

fn journal_alone(text: &str) -> Result<PathBuf, String> {
    match Place::parse(text) {
        Ok(Place::Journal(path)) => Ok(path),
        _ => Err("journal:DIRECTORY expected".into()),
    }
}

fn generation(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| {
        "a generation has up to 16 hexadecimal digits, as top and recover --dry-run show it".into()
    })
}
