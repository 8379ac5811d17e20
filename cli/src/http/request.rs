//! The head of a request.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The longest head that is read.
const BYTES: u64 = 16 << 10;

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

/// Reads the head of a request. `None`: it is none.
pub fn read(from: impl Read) -> Option<Request> {
    let mut from = BufReader::new(from.take(BYTES));
    let mut line = || {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line).ok()?;
        // Without its end it was cut.
        let line = line.strip_suffix(b"\n")?;
        String::from_utf8(line.strip_suffix(b"\r").unwrap_or(line).to_vec()).ok()
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request =
        Request { method: method.into(), path: path.into(), query: query.into(), ..Request::default() };
    loop {
        let header = line()?;
        if header.is_empty() {
            return Some(request);
        }
        let (name, value) = header.split_once(':')?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "host" => request.hosts.push(value.to_ascii_lowercase()),
            "origin" => request.origins.push(value.to_ascii_lowercase()),
            "accept" => request.accepts.push(value.into()),
            "cookie" => request.cookies.push(value.into()),
            "authorization" => request.authorizations.push(value.into()),
            "sec-fetch-site" => request.sites.push(value.into()),
            _ => {}
        }
    }
}
