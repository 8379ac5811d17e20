use super::*;

fn listening(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn a_port_alone_is_on_loopback() {
    assert_eq!(address("7464").ok(), Some(listening("127.0.0.1:7464")));
    assert_eq!(address(":0").ok(), Some(listening("127.0.0.1:0")));
    assert_eq!(address("[::1]:80").ok(), Some(listening("[::1]:80")));
    for wrong in ["", "localhost", "1.2.3.4", "70000", "127.0.0.1:", "host:80"] {
        assert!(address(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_host_is_ours_by_its_address_or_by_a_name_that_was_given() {
    let loopback = listening("127.0.0.1:7464");
    for ours in ["127.0.0.1:7464", "127.0.0.1", "localhost:7464", "localhost", "[::1]:7464", "my.host:80"] {
        assert!(is_ours(ours, loopback, &["my.host".into()]), "{ours}");
    }
    for other in ["evil.example", "localhost.evil.example", "10.0.0.1:7464", "", "127.0.0.1.evil.example"] {
        assert!(!is_ours(other, loopback, &["my.host".into()]), "{other}");
    }
    assert!(is_ours("10.0.0.7:7464", listening("10.0.0.7:7464"), &[]));
    assert!(!is_ours("localhost", listening("10.0.0.7:7464"), &[]));
    assert!(is_ours("10.0.0.7", listening("0.0.0.0:7464"), &[]));
    assert!(!is_ours("evil.example", listening("0.0.0.0:7464"), &[]));
}

#[test]
fn only_a_whole_get_from_here_is_answered() {
    let status = |text: &str| {
        let Some(request) = request::read(text.as_bytes()) else { return "400" };
        refusal(&request, listening("127.0.0.1:1"), &[]).map_or("200", |(status, _)| &status[..3])
    };
    let get = |headers: &str| status(&format!("GET / HTTP/1.1\r\n{headers}\r\n"));
    assert_eq!(get("Host: localhost\r\n"), "200");
    assert_eq!(get("Host: LOCALHOST:1\r\nOrigin: http://localhost:1\r\n"), "200");
    assert_eq!(get("Host: localhost:1\r\nOrigin: http://localhost:2\r\n"), "403");
    assert_eq!(get("Host: localhost:1\r\nOrigin: https://localhost:1\r\n"), "403");
    assert_eq!(get("Host: localhost:1\r\nOrigin: null\r\n"), "403");
    assert_eq!(get("Host: localhost:1\r\nOrigin: http://localhost:1\r\nOrigin: null\r\n"), "403");
    assert_eq!(get("Host: evil.example\r\n"), "403");
    for method in ["HEAD", "POST", "OPTIONS", "get"] {
        assert_eq!(status(&format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n")), "405");
    }
    for wrong in [
        "",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n",
        "GET / HTTP/1.1\r\nHost\r\n\r\n",
        "GET / HTTP/2\r\nHost: localhost\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        assert_eq!(status(wrong), "400", "{wrong:?}");
    }
    assert_eq!(get(&format!("Host: localhost\r\nX: {}\r\n", "x".repeat(16 << 10))), "400");
    // 100 headers are read.
    assert_eq!(get(&format!("Host: localhost\r\n{}", "X: y\r\n".repeat(99))), "200");
    assert_eq!(get(&format!("Host: localhost\r\n{}", "X: y\r\n".repeat(100))), "400");
    // What a reader of the address might take for the end of a line or of a header is no part of one.
    for wrong in
        ["Host: local\rhost\r\n", "Host: localhost\r\nX : y\r\n", "Host: localhost\r\n Y: folded\r\n"]
    {
        assert_eq!(get(wrong), "400", "{wrong:?}");
    }
}

/// Gives its bytes one by one.
struct Slow<'a>(&'a [u8]);

impl std::io::Read for Slow<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.len().min(into.len()).min(1);
        into[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_is_the_same() {
    let head = b"GET /a?b=c HTTP/1.1\r\nHost: LocalHost\r\nCookie:  a=B \r\n\r\nGET /d HTTP/1.1\r\n";
    let request = request::read(&head[..]);
    assert_eq!(request, request::read(Slow(head)));
    let request = request.expect("a request");
    assert_eq!(
        (request.method.as_str(), request.path.as_str(), request.query.as_str()),
        ("GET", "/a", "b=c")
    );
    assert_eq!((request.hosts, request.cookies), (vec!["localhost".to_owned()], vec!["a=B".to_owned()]));
}

#[test]
fn what_is_asked_is_decoded() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let read = query::parse("where=a%20%3D+%22%C3%BC%22&&x").expect("a query");
    assert_eq!(read, [pair("where", "a = \"ü\""), pair("x", "")]);
    for wrong in ["a=%", "a=%4", "a=%zz", "a=%+1", "a=%FF"] {
        assert_eq!(query::parse(wrong), None, "{wrong}");
    }
}
