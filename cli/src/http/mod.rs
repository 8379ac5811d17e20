//! A small HTTP server for this machine: each connection gets one answer to one GET, on a thread of its own.
//!
//! There are at most [`MOST`] connections at a time, a request has some seconds and some kilobytes, and what is written waits for a reader for some seconds. A
//! request must name a host that is this machine's, so that a page in somebody's browser cannot read anything by a name that leads here.
//!
//! Heads are read by `httparse`. The rest is not a crate's, because none was found that keeps these bounds without an async runtime. What was tried:
//! `tiny_http` 0.12 starts a thread for each connection without a bound (403 threads for 400 clients that sent half a line), waits for such a client for ever, takes a
//! head of 64 MB into memory, and does not show its sockets, so that no time limit can be set from outside; `rouille` 3.6 stands on it. `astra` 0.4 bounds its
//! workers and the size of a head, but not the time that a head takes. `http-net` 0.9 has bounds for all of it, but is seven weeks old and has changed its
//! interface ten times; it may be the choice once it is settled. hyper needs a runtime, and leaves the time of writes and the number of connections to the program.

pub mod query;
mod request;
mod response;

use crate::failure::Failure;
pub use request::Request;
pub use response::Response;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many connections are answered at a time.
const MOST: usize = 16;
/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a part of an answer may wait for whoever takes it. A browser may ask its user where a file goes.
const READER_PATIENCE: Duration = Duration::from_secs(60);

/// Answers a request.
pub type Handler<'a> = dyn Fn(&Request, Response<'_>) -> io::Result<()> + Sync + 'a;

/// The address to listen at: an address with a port, or a port alone, which means 127.0.0.1.
fn address(given: &str) -> Result<SocketAddr, Failure> {
    let port = given.strip_prefix(':').unwrap_or(given);
    if let Ok(port) = port.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    given.parse().map_err(|_| {
        Failure::new(format!(
            "--listen: an address with a port (127.0.0.1:7464) or a port expected, {given} given"
        ))
    })
}

/// Listens at an address.
pub fn listen(given: &str) -> Result<TcpListener, Failure> {
    let address = address(given)?;
    TcpListener::bind(address).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program listens there: choose another port",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose another port",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have the address",
            _ => "",
        };
        Failure::new(format!("--listen {address}: {error}{hint}"))
    })
}

/// Serves until the process is ended. `hosts`: names by which requests may call this machine, beside its address.
pub fn serve(listener: &TcpListener, hosts: &[String], handler: &Handler<'_>) -> Result<(), Failure> {
    let own = listener.local_addr().map_err(|error| Failure::new(format!("--listen: {error}")))?;
    let open = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        loop {
            match listener.accept() {
                Ok((connection, _)) if open.fetch_add(1, Ordering::AcqRel) < MOST => {
                    let open = &open;
                    let answered = std::thread::Builder::new().spawn_scoped(scope, move || {
                        // Who has gone needs no answer.
                        let _ = answer(&connection, own, hosts, handler);
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
                // No descriptor is left, or the connection was given up.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    })
}

fn answer(
    connection: &std::net::TcpStream,
    own: SocketAddr,
    hosts: &[String],
    handler: &Handler<'_>,
) -> io::Result<()> {
    connection.set_write_timeout(Some(READER_PATIENCE))?;
    let request = request::read(request::Until::new(connection, PATIENCE));
    let response = Response::new(connection);
    match &request {
        None => response.refuse("400 Bad Request", "no request that can be read"),
        Some(request) => match refusal(request, own, hosts) {
            Some((status, why)) => response.refuse(status, why),
            None => handler(request, response),
        },
    }?;
    connection.shutdown(std::net::Shutdown::Write)
}

/// Why a request is refused, whatever it asks for.
fn refusal(request: &Request, own: SocketAddr, hosts: &[String]) -> Option<(&'static str, &'static str)> {
    let [host] = &request.hosts[..] else { return Some(("400 Bad Request", "one Host expected")) };
    if !is_ours(host, own, hosts) {
        return Some(("403 Forbidden", "Host: not a name of this server; --host allows one"));
    }
    let same = |origin: &String| origin.strip_prefix("http://").is_some_and(|origin| origin == host);
    if !request.origins.iter().all(same) {
        return Some(("403 Forbidden", "Origin: a page of another server asks"));
    }
    (request.method != "GET").then_some(("405 Method Not Allowed", "GET alone is allowed"))
}

/// Whether a request that names this host is for us: the address that we listen at, a loopback one if that is loopback or any, or a name that was given.
fn is_ours(host: &str, own: SocketAddr, hosts: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return true;
    }
    let own = own.ip();
    let loopback = own.is_loopback() || own.is_unspecified();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match bare.parse::<IpAddr>() {
        Ok(ip) => ip == own || (ip.is_loopback() && loopback) || own.is_unspecified(),
        Err(_) => name == "localhost" && loopback,
    }
}

#[cfg(test)]
mod tests;
