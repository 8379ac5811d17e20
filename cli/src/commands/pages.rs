//! `completions` and `man`.

use crate::args::Arguments;
use crate::failure::{Failure, Outcome};
use clap::{Command, CommandFactory};
use std::io::Write;
use std::path::Path;

/// Prints the completions for a shell.
pub fn completions(shell: clap_complete::Shell) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "capture-pipeline", &mut script);
    std::io::stdout().write_all(&script).map_err(|error| Failure::output(&error))?;
    Ok(Outcome::Well)
}

/// Writes a page for the command and one for each of its commands.
pub fn manual(directory: &Path) -> Result<Outcome, Failure> {
    std::fs::create_dir_all(directory).map_err(|error| Failure::of(directory, &error))?;
    let mut command = Arguments::command();
    command.build();
    page(&command, directory)?;
    for part in command.get_subcommands().filter(|part| !part.is_hide_set() && part.get_name() != "help") {
        page(part, directory)?;
    }
    Ok(Outcome::Well)
}

fn page(command: &Command, directory: &Path) -> Result<(), Failure> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone()).manual("capture_pipeline").date("");
    // The page of `ls` is capture-pipeline-ls.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let page = page.source(format!("{name} {}", env!("CARGO_PKG_VERSION")));
    let path = directory.join(page.get_filename());
    page.render(&mut text)
        .and_then(|()| std::fs::write(&path, &text))
        .map_err(|error| Failure::of(&path, &error))
}
