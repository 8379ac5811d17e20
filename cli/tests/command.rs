//! The command, as a user runs it.

#[path = "../examples/timelines.rs"]
#[allow(dead_code, clippy::duplicate_mod)]
// `main`, and some of the journals; the example has its segments from the same file
mod journals;
#[path = "command/sample.rs"]
mod sample;

#[path = "command/cat.rs"]
mod cat;
#[path = "command/database.rs"]
mod database;
#[path = "command/export.rs"]
mod export;
#[path = "command/inspect.rs"]
mod inspect;
#[path = "command/living.rs"]
mod living;
#[path = "command/memory.rs"]
mod memory;
#[path = "command/metrics.rs"]
mod metrics;
#[path = "command/page.rs"]
mod page;
#[path = "command/recover.rs"]
mod recover;
#[path = "command/ring_files.rs"]
mod ring_files;
#[path = "command/rules.rs"]
mod rules;
#[path = "command/service.rs"]
mod service;
#[path = "command/tail.rs"]
mod tail;
#[path = "command/timelines.rs"]
mod timelines;
#[path = "command/top.rs"]
mod top;
#[path = "command/written.rs"]
mod written;

use sample::segments::Scratch;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The command, with its arguments.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture-pipeline"));
    command.args(arguments);
    command
}

/// How a run of the command ended.
struct Done {
    status: i32,
    out: String,
    err: String,
}

fn run(arguments: &[&str]) -> Done {
    done(command(arguments).output().expect("the command runs"))
}

fn done(output: Output) -> Done {
    Done {
        status: output.status.code().expect("no signal ended it"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// What a run printed that went well.
fn well(arguments: &[&str]) -> String {
    let done = run(arguments);
    assert_eq!((done.status, done.err.as_str()), (0, ""), "{arguments:?}");
    done.out
}

/// The message of a run that was refused or could not go on.
fn refused(arguments: &[&str]) -> String {
    let done = run(arguments);
    assert_eq!((done.status, done.out.as_str()), (2, ""), "{arguments:?}: {}", done.err);
    done.err
}

/// The sample journal in a directory of its own.
fn journal() -> (Scratch, String) {
    let scratch = Scratch::new();
    let path = scratch.path().join("journal");
    sample::write(&path);
    let path = text(&path);
    (scratch, path)
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// The segments of a journal, by number.
fn segments(journal: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(journal)
        .expect("the journal")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    found.sort();
    found
}

/// Changes a byte of the first block of events in a segment.
fn damage(segment: &Path) {
    let mut bytes = std::fs::read(segment).expect("a segment");
    let at =
        bytes.windows(8).position(|window| window == 0x7FFF_1234_5678_u64.to_le_bytes()).expect("a payload");
    bytes[at] ^= 1;
    std::fs::write(segment, bytes).expect("written");
}

#[test]
fn wrong_arguments_are_refused_by_name_and_help_is_there() {
    assert!(run(&["--help"]).out.contains("verify"));
    assert!(run(&["--version"]).out.contains(env!("CARGO_PKG_VERSION")));
    for (arguments, part) in [
        (&["frobnicate"][..], "frobnicate"),
        (&["cat"], "PATH"),
        (&["cat", "/nowhere", "--correlation-id", "x"], "2^64"),
        (&["cat", "/nowhere", "--run", "xyz"], "hexadecimal"),
        (&["cat", "/nowhere", "--strings"], "--json"),
        (&["export", "/nowhere", "x.csv", "--to", "xml"], "parquet"),
    ] {
        let message = refused(arguments);
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
    // Without a command it prints its help, on the standard error.
    assert!(refused(&[]).contains("Usage"));
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = well(&["completions", shell]);
        assert!(script.contains("verify") && script.contains("export"), "{shell}");
    }
    let scratch = Scratch::new();
    well(&["man", &text(scratch.path())]);
    for name in ["", "-ls", "-stat", "-cat", "-tail", "-verify", "-export", "-mcp", "-completions"] {
        let page = scratch.path().join(format!("capture-pipeline{name}.1"));
        let page =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(page.contains(".SH NAME") && page.contains(".SH OPTIONS"), "{name}");
    }
}

/// Whoever reads the messages may have gone.
#[test]
fn a_message_that_nobody_reads_changes_nothing() {
    let (_scratch, journal) = journal();
    damage(&segments(&journal)[0]);
    for (arguments, status) in [
        (&["cat", &journal][..], 1),
        (&["export", &journal, "-", "--to", "csv"], 1),
        (&["cat", "/nowhere"], 2),
        (&["ls", "/nowhere"], 2),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = command(arguments).stdout(std::process::Stdio::null()).stderr(writer).status();
        assert_eq!(ended.expect("the command runs").code(), Some(status), "{arguments:?}");
    }
}

/// Anybody may choose the names of kinds and files.
#[test]
fn messages_and_lists_do_not_change_the_terminal() {
    const EVIL: &str = "e\u{1b}]0;owned\u{7}\nvil";
    let scratch = Scratch::new();
    let folder = scratch.path().join(EVIL);
    std::fs::create_dir(&folder).expect("a directory");
    let mut builder = sample::segments::Builder::new(1, 1);
    builder.kind_name(3, EVIL).thread(1, 2, EVIL).fact(0xFFFF_0004, 3, 0, b"rubbish");
    builder.events(1, &[sample::segments::Event::new(1, 1, EVIL).kind(3)]).seal().write(&folder);
    std::fs::write(folder.join("0000000000000001-00000002.journal"), "rubbish").expect("written");
    let (above, path) = (text(scratch.path()), text(&folder));
    for arguments in [
        &["ls", &above][..],
        &["ls", "-r", &path],
        &["stat", &path],
        &["cat", &path],
        &["cat", "--json", &path],
        &["cat", &path, "--kind", "nothing"],
        &["cat", &path, "--where", "nothing"],
        &["tail", &path],
        &["verify", &path],
        &["export", &path, &path],
        &["export", &path, "-", "--to", "ndjson"],
    ] {
        let done = run(arguments);
        assert!(!done.out.is_empty() || !done.err.is_empty(), "{arguments:?}");
        for text in [&done.out, &done.err] {
            let bad = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(bad, None, "{arguments:?}: {text:?}");
            assert!(!text.lines().any(|line| line.starts_with("vil")), "{arguments:?}: {text:?}");
        }
    }
}

#[test]
fn what_cannot_be_listed_does_not_hide_the_rest() {
    let (scratch, journal) = journal();
    let done = run(&["ls", "/nowhere", &journal, &text(&scratch.path().join("nothing"))]);
    assert_eq!(done.status, 2);
    assert!(done.out.contains(&journal), "{}", done.out);
    assert!(done.err.contains("/nowhere: ") && done.err.lines().count() == 2, "{}", done.err);
}
