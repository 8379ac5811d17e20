//! `serve`

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

/// The command while it serves, and the address that it has printed: the host with the port, and the token.
struct Served {
    child: Child,
    host: String,
    token: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(journal: &str) -> Served {
    let mut child = command(&["serve", journal]).stdout(Stdio::piped()).spawn().expect("the command runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("an output")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("http://").expect("an address");
    let (host, token) = address.split_once("/?token=").expect("a token");
    Served { child, host: host.into(), token: token.into() }
}

impl Served {
    /// The answer to a request with these headers.
    fn ask(&self, first: &str, headers: &str) -> String {
        let mut connection = TcpStream::connect(&self.host).expect("connected");
        let request = format!("{first} HTTP/1.1\r\n{headers}\r\n");
        connection.write_all(request.as_bytes()).expect("asked");
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn status(&self, first: &str, headers: &str) -> String {
        self.ask(first, headers)[9..12].to_owned()
    }
}

#[test]
fn the_page_is_for_who_has_the_token_and_for_nobody_else() {
    let (_scratch, journal) = journal();
    let served = serve(&journal);
    let host = format!("Host: {}\r\n", served.host);
    let token = format!("{host}Authorization: Bearer {}\r\n", served.token);
    let wrong = format!("{host}Authorization: Bearer {}\r\n", "0".repeat(served.token.len()));
    for target in ["/", "/figures", "/events", "/timeline"] {
        let get = format!("GET {target}");
        assert_eq!(served.status(&get, &token), "200", "{target}");
        assert_eq!(served.status(&get, &host), "401", "{target}");
        assert_eq!(served.status(&get, &wrong), "401", "{target}");
    }
    assert_eq!(served.status("GET /?token=0", &host), "401");
    assert_eq!(served.status(&format!("GET /?token={}", served.token), &host), "303");
    assert_eq!(served.status("GET /", &token.replace(&host, "Host: evil.example\r\n")), "403");
    assert_eq!(served.status("GET /", &format!("{token}Origin: http://evil.example\r\n")), "403");
    assert_eq!(served.status("POST /", &token), "405");
    assert_eq!(served.status("GET /etc/passwd", &token), "404");
    let error = refused(&["serve", &journal, "--listen", &served.host]);
    assert!(error.contains(&served.host) && error.contains("another port"), "{error}");
    let events = served.ask("GET /events?where=kind_name+%3D+%22point%22", &token);
    assert_eq!(events.matches("\"kind_name\":\"point\"").count(), 3, "{events}");
}
