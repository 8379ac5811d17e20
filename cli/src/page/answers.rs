//! What a request is answered.

use super::access::{Access, Brought, random};
use super::figures::Figures;
use super::table::{self, Place};
use crate::args::{Order, Selection};
use crate::export;
use crate::failure::Failure;
use crate::http::{Request, Response, query};
use crate::journal::{Journal, Reading};
use crate::messages::tell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const PAGE: &str = include_str!("page.html");
const JSON: &str = "application/json; charset=utf-8";
/// The most events of a table.
const MOST_ROWS: usize = 1_000;

/// See the module.
pub struct Answers<'a> {
    pub path: &'a Path,
    pub figures: &'a Figures,
    pub access: &'a Access,
    /// One search or timeline at a time: each may take the memory of a reader.
    pub busy: Mutex<()>,
}

/// What was asked.
#[derive(Default)]
struct Asked {
    token: Option<String>,
    selection: Selection,
    limit: usize,
    /// The end of the page before.
    after: Option<Place>,
    /// The last events, and not the first.
    latest: bool,
}

/// Reads what is asked. The error says what is wrong.
fn asked(query: &str) -> Result<Asked, String> {
    let mut asked = Asked { limit: 100, ..Asked::default() };
    for (name, value) in query::parse(query).ok_or("a query that cannot be read")? {
        // An empty field of the form asks for nothing.
        let given = (!value.is_empty()).then_some(value.clone());
        match name.as_str() {
            "token" => asked.token = Some(value),
            "where" => asked.selection.filter = given,
            "from" => asked.selection.from = given,
            "until" => asked.selection.until = given,
            "kind" => asked.selection.kinds.extend(given),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST_ROWS).contains(limit));
                asked.limit = limit.ok_or(format!("limit: a number from 1 to {MOST_ROWS} expected"))?;
            }
            "after" => asked.after = Some(Place::parse(&value).ok_or("after: it is no 'next' of a page")?),
            "latest" => asked.latest = true,
            _ => return Err("there are token, where, from, until, kind, limit, after and latest".into()),
        }
    }
    Ok(asked)
}

/// A failure as an answer.
fn failed(response: Response<'_>, failure: Failure) -> io::Result<()> {
    match failure {
        Failure::Told(why) => response.refuse("400 Bad Request", &why),
        Failure::BrokenPipe => Ok(()),
    }
}

impl Answers<'_> {
    /// Answers a request.
    pub fn give(&self, request: &Request, response: Response<'_>) -> io::Result<()> {
        let asked = asked(&request.query);
        let token = asked.as_ref().ok().and_then(|asked| asked.token.as_deref());
        match self.access.check(request, token) {
            Brought::Nothing => {
                let why =
                    "the token is missing or wrong: open the address that capture-pipeline serve has printed";
                return response.refuse("401 Unauthorized", why);
            }
            Brought::InAddress if request.path == "/" => {
                let response =
                    response.header("Set-Cookie", &self.access.set_cookie()).header("Location", "/");
                return response.send("303 See Other", "text/plain; charset=utf-8", b"");
            }
            Brought::InAddress | Brought::Kept => {}
        }
        let asked = match asked {
            Ok(asked) => asked,
            Err(why) => return response.refuse("400 Bad Request", &why),
        };
        match request.path.as_str() {
            "/" => page(response),
            "/figures" => response.send("200 OK", JSON, self.figures.shown().as_bytes()),
            "/events" => self.events(&asked, response),
            "/timeline" => self.timeline(&asked, response),
            _ => response.refuse("404 Not Found", "there are /, /figures, /events and /timeline"),
        }
    }

    /// The events that are asked for, in the order of time.
    fn events(&self, asked: &Asked, response: Response<'_>) -> io::Result<()> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = if asked.latest {
            table::latest(self.path, &asked.selection, asked.limit)
        } else {
            table::page(self.path, &asked.selection, asked.limit, asked.after)
        };
        match rows {
            Ok(rows) => response.send("200 OK", JSON, &rows),
            Err(failure) => failed(response, failure),
        }
    }

    /// The Perfetto file of the span that is asked for.
    fn timeline(&self, asked: &Asked, response: Response<'_>) -> io::Result<()> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut journal = match Journal::open(self.path, &asked.selection, Order::Time, Reading::All) {
            Ok(journal) => journal,
            Err(failure) => return failed(response, failure),
        };
        let parts = response
            .header("Content-Disposition", "attachment; filename=\"journal.pftrace\"")
            .parts("application/octet-stream")?;
        let output = Box::new(io::BufWriter::with_capacity(64 << 10, parts.try_clone()?));
        match export::perfetto_to(&mut journal, output, PathBuf::from("the browser")) {
            Ok(()) => parts.finish(),
            // Without its last part the browser takes it for what it is: not whole.
            Err(Failure::Told(why)) => {
                tell(why);
                Ok(())
            }
            Err(Failure::BrokenPipe) => Ok(()),
        }
    }
}

/// The page itself. Its script and its style run by a number that no other has: what an event says is never run.
fn page(response: Response<'_>) -> io::Result<()> {
    let nonce = random()?;
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = PAGE.replace("{{nonce}}", &nonce);
    response.header("Content-Security-Policy", &policy).header("X-Frame-Options", "DENY").send(
        "200 OK",
        "text/html; charset=utf-8",
        page.as_bytes(),
    )
}
