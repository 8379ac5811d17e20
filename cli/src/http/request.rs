//! The head of a request. The crate `httparse`, which hyper uses too, reads its syntax.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The longest head that is read, and the most headers in it.
const BYTES: usize = 16 << 10;
const HEADERS: usize = 100;

/// A request, as far as it matters.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// GET, or what is refused.
    pub method: String,
    /// The path, without what was asked.
    pub path: String,
    /// What was asked, behind the `?`.
    pub query: String,
    /// Each Host, in small letters.
    pub hosts: Vec<String>,
    /// Each Origin, in small letters.
    pub origins: Vec<String>,
    /// Each Accept.
    pub accepts: Vec<String>,
    /// Each Cookie.
    pub cookies: Vec<String>,
    /// Each Authorization.
    pub authorizations: Vec<String>,
    /// Each Sec-Fetch-Site: what a browser says of the page that asks.
    pub sites: Vec<String>,
}

/// Reads from a connection until a moment.
pub struct Until<'a> {
    connection: &'a TcpStream,
    end: Instant,
}

impl<'a> Until<'a> {
    /// For so long from now on.
    pub fn new(connection: &'a TcpStream, patience: Duration) -> Self {
        Self { connection, end: Instant::now() + patience }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.connection.set_read_timeout(Some(left))?;
        self.connection.read(into)
    }
}

/// Reads the head of a request. `None`: it is none, it is too long, or it has not come in time.
pub fn read(mut from: impl Read) -> Option<Request> {
    let mut head = [0; BYTES];
    let mut len = 0;
    loop {
        // (There is no room left: the head is too long.)
        let more = from.read(&mut head[len..]).ok().filter(|more| *more > 0)?;
        let is_line = head[len..len + more].contains(&b'\n');
        len += more;
        // Only the end of a line can be the end of the head.
        if is_line && let Some(request) = parse(&head[..len])? {
            return Some(request);
        }
    }
}

/// The head that these bytes begin with. `None`: it is none; `Some(None)`: it has not come to its end yet.
fn parse(bytes: &[u8]) -> Option<Option<Request>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    if head.parse(bytes).ok()?.is_partial() {
        return Some(None);
    }
    let (path, query) = head.path?.split_once('?').unwrap_or((head.path?, ""));
    let mut request =
        Request { method: head.method?.into(), path: path.into(), query: query.into(), ..Request::default() };
    for header in head.headers.iter() {
        let value = std::str::from_utf8(header.value).ok()?;
        match header.name.to_ascii_lowercase().as_str() {
            "host" => request.hosts.push(value.to_ascii_lowercase()),
            "origin" => request.origins.push(value.to_ascii_lowercase()),
            "accept" => request.accepts.push(value.into()),
            "cookie" => request.cookies.push(value.into()),
            "authorization" => request.authorizations.push(value.into()),
            "sec-fetch-site" => request.sites.push(value.into()),
            _ => {}
        }
    }
    Some(Some(request))
}
