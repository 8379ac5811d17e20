//! The command capture-pipeline: lists, shows, checks and exports journals.

#![forbid(unsafe_code)]

mod args;
mod commands;
mod consume;
mod damage;
mod deliver;
mod export;
mod failure;
mod http;
mod journal;
mod kinds;
mod line;
mod mcp;
mod messages;
mod metrics;
mod numbers;
mod page;
mod progress;
mod recover;
mod rings;
mod snapshot;
mod source;
mod time_bounds;
mod timeline;
mod top;

use args::{Arguments, Command};
use clap::Parser;
use failure::{Failure, Outcome};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    messages::of_the_library();
    let done = match arguments.command {
        Command::Ls(args) => commands::ls::run(&args),
        Command::Stat(args) => commands::stat::run(&args),
        Command::Cat(args) => commands::cat::run(&args),
        Command::Tail(args) => commands::tail::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Serve(args) => page::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Mcp(args) => mcp::run(&args),
        Command::Recover(args) => recover::run(&args),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::Consume(args) => consume::run(&args),
        Command::Completions { shell } => commands::pages::completions(shell),
        Command::Man { directory } => commands::pages::manual(&directory),
    };
    match done {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged) => ExitCode::from(1),
        Ok(Outcome::Unread) => ExitCode::from(2),
        // Whoever reads the output has seen enough.
        Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failure::Told(message)) => {
            messages::tell(message);
            ExitCode::from(2)
        }
    }
}
