//! `metrics`: the live figures of a pipeline that runs, and of one whose process has ended.

use super::*;
use capture_pipeline::storage::journal::{JournalStorage, Options};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer has this in it.
fn until(what: &str, mut ask: impl FnMut() -> String) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.contains(what) {
            return answer;
        }
        assert!(Instant::now() < end, "no {what} in\n{answer}");
        std::thread::yield_now();
    }
}

/// The answer of a server to a request for `/metrics` that names this host.
fn ask(address: &str, host: &str) -> String {
    let mut connection = TcpStream::connect(address).expect("it listens");
    write!(connection, "GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it is answered");
    answer
}

#[test]
fn live_figures_are_printed_and_served_while_the_pipeline_runs() {
    let scratch = Scratch::new();
    let directory = scratch.path().to_str().expect("UTF-8").to_owned();
    let options = Options { live_figures: true, ..Options::default() };
    let pipeline = service::start(JournalStorage::open(scratch.path(), options).expect("it opens"));
    for n in 1..=7 {
        service::capture(&pipeline, service::REQUEST, n, None, &service::request(n));
    }
    let stored = "capture_pipeline_events_stored_total{pipeline=\"pipeline\",storage=\"journal\"} 7\n";
    // (They are written once a second at most.)
    let text = until(stored, || well(&["metrics", &directory]));
    assert!(text.contains("# TYPE capture_pipeline_events_stored_total counter\n"));
    assert!(text.contains("capture_pipeline_process_alive"));
    assert!(well(&["metrics", "--openmetrics", &directory, &directory]).ends_with("\n# EOF\n"));

    let mut server = command(&["metrics", "--listen", "127.0.0.1:0", &directory])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = String::new();
    BufReader::new(server.stderr.take().expect("piped")).read_line(&mut said).expect("it says where");
    let address = said.trim().rsplit_once("http://").and_then(|(_, at)| at.strip_suffix("/metrics"));
    let address = address.unwrap_or_else(|| panic!("no address in {said}"));
    let answer = ask(address, address);
    let refused = ask(address, "elsewhere.example");
    let taken = run(&["metrics", "--listen", address, &directory]);
    server.kill().expect("it ends");
    server.wait().expect("it has ended");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(stored), "{answer}");
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(taken.status == 2 && taken.err.contains(address), "{} {}", taken.status, taken.err);

    service::close(&pipeline);
    // In good order: the figures are in the journal, and the file is gone.
    until("no live figures", || run(&["metrics", &directory]).err);
}

#[test]
fn what_is_no_file_of_live_figures_is_named() {
    let scratch = Scratch::new();
    let directory = scratch.path().to_str().expect("UTF-8").to_owned();
    let none = run(&["metrics", &directory]);
    assert_eq!((none.status, none.out.as_str()), (0, ""), "{}", none.err);
    assert!(none.err.contains("PIPELINE_JOURNAL_LIVE_FIGURES"), "{}", none.err);
    let missing = run(&["metrics", "/nowhere/at/all"]);
    assert!(missing.status == 2 && missing.err.contains("/nowhere/at/all"), "{}", missing.err);
}
