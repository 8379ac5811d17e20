//! Serves a text over HTTP: `GET /metrics` and nothing else.
//!
//! Each connection gets one answer, on a thread of its own, and has some seconds for its request. There are at most [`MOST`] connections at a time. A request must
//! name a host that is this machine's, so that a page in somebody's browser cannot read the figures by a name that leads here.

use crate::failure::{Failure, Outcome};
use crate::messages::tell;
use capture_pipeline::exposition::Format;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many connections are answered at a time.
const MOST: usize = 16;
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request that is read.
const REQUEST_BYTES: u64 = 8 << 10;

/// Makes the text.
pub type Make<'a> = dyn Fn(Format) -> Result<String, Failure> + Sync + 'a;

/// The address to listen at: an address with a port, or a port alone, which means 127.0.0.1.
fn address(given: &str) -> Result<SocketAddr, Failure> {
    let port = given.strip_prefix(':').unwrap_or(given);
    if let Ok(port) = port.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    given.parse().map_err(|_| {
        Failure::new(format!(
            "--listen: an address with a port (127.0.0.1:9464) or a port expected, {given} given"
        ))
    })
}

/// Serves until the process is ended.
pub fn serve(listen: &str, hosts: &[String], make: &Make<'_>) -> Result<Outcome, Failure> {
    let address = address(listen)?;
    let listener = TcpListener::bind(address).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program listens there: choose another port",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose another port",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have the address",
            _ => "",
        };
        Failure::new(format!("--listen {address}: {error}{hint}"))
    })?;
    let address = listener.local_addr().map_err(|error| Failure::new(error.to_string()))?;
    tell(format_args!("serving http://{address}/metrics"));
    let open = &AtomicUsize::new(0);
    std::thread::scope(|scope| {
        loop {
            match listener.accept() {
                Ok((connection, _)) if open.fetch_add(1, Ordering::AcqRel) < MOST => {
                    let answered = std::thread::Builder::new().spawn_scoped(scope, move || {
                        let _ = answer(&connection, address, hosts, make);
                        open.fetch_sub(1, Ordering::AcqRel);
                    });
                    if answered.is_err() {
                        open.fetch_sub(1, Ordering::AcqRel);
                    }
                }
                // Too many: this one is closed.
                Ok(_) => {
                    open.fetch_sub(1, Ordering::AcqRel);
                }
                // No descriptor left, or a connection that was given up.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    })
}

/// A request, as far as it matters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    method: String,
    path: String,
    hosts: Vec<String>,
    accept: String,
}

/// Reads from a connection until a moment.
struct Until<'a> {
    connection: &'a TcpStream,
    end: Instant,
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
fn read(from: impl Read) -> Option<Request> {
    let mut from = BufReader::new(from.take(REQUEST_BYTES));
    let mut line = || {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line).ok()?;
        // Without its end it was cut.
        let line = line.strip_suffix(b"\n")?;
        String::from_utf8(line.strip_suffix(b"\r").unwrap_or(line).to_vec()).ok()
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return None;
    }
    let mut request = Request { method: method.into(), path: path.into(), ..Request::default() };
    loop {
        let header = line()?;
        if header.is_empty() {
            return Some(request);
        }
        let (name, value) = header.split_once(':')?;
        match name.to_ascii_lowercase().as_str() {
            "host" => request.hosts.push(value.trim().to_ascii_lowercase()),
            "accept" => request.accept.push_str(value),
            _ => {}
        }
    }
}

/// Whether a request that names this host is for us: the address that we listen at, a loopback one if that is loopback or any, or a name that was given.
fn is_ours(host: &str, listening: SocketAddr, hosts: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    if hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return true;
    }
    let own = listening.ip();
    let loopback = own.is_loopback() || own.is_unspecified();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip == own || (ip.is_loopback() && loopback) || own.is_unspecified(),
        Err(_) => name == "localhost" && loopback,
    }
}

/// The status, the type of the content, the content.
type Answer = (&'static str, &'static str, String);

fn answer_to(request: Option<&Request>, listening: SocketAddr, hosts: &[String], make: &Make<'_>) -> Answer {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let refuse = |status, why: &str| (status, PLAIN, format!("{why}\n"));
    let Some(request) = request else { return refuse("400 Bad Request", "no request that can be read") };
    let [host] = &request.hosts[..] else {
        return refuse("400 Bad Request", "one Host expected");
    };
    if !is_ours(host, listening, hosts) {
        return refuse("403 Forbidden", "not a name of this server; --host allows one");
    }
    if request.method != "GET" {
        return refuse("405 Method Not Allowed", "GET alone is allowed");
    }
    if request.path.split('?').next() != Some("/metrics") {
        return refuse("404 Not Found", "there is /metrics alone");
    }
    let (format, kind) = if request.accept.contains("application/openmetrics-text") {
        (Format::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (Format::Prometheus, "text/plain; version=0.0.4; charset=utf-8")
    };
    match make(format) {
        Ok(text) => ("200 OK", kind, text),
        Err(Failure::Told(why)) => {
            tell(why);
            refuse("500 Internal Server Error", "the figures cannot be read; the server has said why")
        }
        Err(Failure::BrokenPipe) => refuse("500 Internal Server Error", "the figures cannot be read"),
    }
}

fn answer(
    connection: &TcpStream,
    listening: SocketAddr,
    hosts: &[String],
    make: &Make<'_>,
) -> io::Result<()> {
    let request = read(Until { connection, end: Instant::now() + PATIENCE });
    let (status, kind, text) = answer_to(request.as_ref(), listening, hosts, make);
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nX-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n",
        text.len()
    );
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut to = connection;
    to.write_all(head.as_bytes())?;
    to.write_all(text.as_bytes())?;
    connection.shutdown(std::net::Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(address("9464").ok(), Some(listening("127.0.0.1:9464")));
        assert_eq!(address(":0").ok(), Some(listening("127.0.0.1:0")));
        assert_eq!(address("[::1]:80").ok(), Some(listening("[::1]:80")));
        for wrong in ["", "localhost", "1.2.3.4", "70000", "127.0.0.1:", "host:80"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_is_ours_by_its_address_or_by_a_name_that_was_given() {
        let loopback = listening("127.0.0.1:9464");
        for ours in ["127.0.0.1:9464", "127.0.0.1", "localhost:9464", "localhost", "[::1]:9464", "my.host:80"]
        {
            assert!(is_ours(ours, loopback, &["my.host".into()]), "{ours}");
        }
        for other in [
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "10.0.0.1:9464",
            "",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_ours(other, loopback, &["my.host".into()]), "{other}");
        }
        assert!(is_ours("10.0.0.7:9464", listening("10.0.0.7:9464"), &[]));
        assert!(!is_ours("localhost", listening("10.0.0.7:9464"), &[]));
        assert!(is_ours("10.0.0.7", listening("0.0.0.0:9464"), &[]));
        assert!(!is_ours("evil.example", listening("0.0.0.0:9464"), &[]));
    }

    #[test]
    fn only_a_whole_get_of_the_metrics_is_answered_with_them() {
        let status = |text: &str| {
            let make = |_: Format| Ok("x 1\n".to_owned());
            answer_to(read(text.as_bytes()).as_ref(), listening("127.0.0.1:1"), &[], &make)
                .0
                .split(' ')
                .next()
        };
        assert_eq!(status("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), Some("200"));
        assert_eq!(status("GET /metrics?x=1 HTTP/1.0\nhost:127.0.0.1:1\n\n"), Some("200"));
        assert_eq!(status("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), Some("405"));
        assert_eq!(status("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), Some("405"));
        assert_eq!(status("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), Some("404"));
        assert_eq!(status("GET /../metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), Some("404"));
        assert_eq!(status("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), Some("403"));
        for wrong in [
            "",
            "GET /metrics\r\n\r\n",
            "GET /metrics HTTP/1.1\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n",
            "GET /metrics HTTP/1.1\r\nHost\r\n\r\n",
            "GET /metrics HTTP/2\r\nHost: localhost\r\n\r\n",
            "GET  /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(status(wrong), Some("400"), "{wrong:?}");
        }
        let long = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(8192));
        assert_eq!(status(&long), Some("400"));
    }

    #[test]
    fn the_format_is_the_one_that_is_accepted() {
        let make = |format: Format| Ok(format!("{format:?}"));
        let of = |accept: &str| {
            let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
            answer_to(read(request.as_bytes()).as_ref(), listening("127.0.0.1:1"), &[], &make).2
        };
        assert_eq!(
            of("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"),
            "OpenMetrics"
        );
        assert_eq!(of("text/plain"), "Prometheus");
        assert_eq!(of("*/*"), "Prometheus");
    }
}
