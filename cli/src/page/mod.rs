//! `serve`: a page with what a journal has, for a browser on this machine.
//!
//! The page is one file, `page.html`. It asks for the figures, which [`figures`] reads in a thread of their own, and for events and timelines, which [`answers`] gives.
//! No request names a path, and each must bring the token that the address has which is printed.

mod access;
mod answers;
mod figures;
mod latencies;
mod rates;
mod table;

use crate::args::Serve;
use crate::failure::{Failure, Outcome};
use crate::http;
use access::Access;
use answers::Answers;
use figures::Figures;
use std::io::Write;
use std::sync::Mutex;

/// Serves the page until the process is ended.
pub fn run(args: &Serve) -> Result<Outcome, Failure> {
    let listener = http::listen(&args.listen)?;
    let address = listener.local_addr().map_err(|error| Failure::new(format!("--listen: {error}")))?;
    let access = Access::new(address.port())?;
    // A journal that cannot be read is told before anybody looks at its page.
    let journal = figures::open(&args.path)?;
    let figures = Figures::new(&journal);
    let answers = Answers { path: &args.path, figures: &figures, access: &access, busy: Mutex::new(()) };
    let shown = format!("http://{address}/?token={}\n", access.token());
    let mut output = std::io::stdout();
    output
        .write_all(shown.as_bytes())
        .and_then(|()| output.flush())
        .map_err(|error| Failure::output(&error))?;
    std::thread::scope(|scope| {
        scope.spawn(|| figures.read(journal, || figures::open(&args.path)));
        http::serve(&listener, &args.hosts, &|request, response| answers.give(request, response))
    })?;
    Ok(Outcome::Well)
}
