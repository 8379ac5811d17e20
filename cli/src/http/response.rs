//! The answer to a request.

use std::io::{self, Write};
use std::net::TcpStream;

/// An answer that is not given yet.
pub struct Response<'a> {
    connection: &'a TcpStream,
    headers: String,
}

impl<'a> Response<'a> {
    /// To whoever has this connection.
    pub fn new(connection: &'a TcpStream) -> Self {
        Self { connection, headers: String::new() }
    }

    /// With another header. The value has no line end in it.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    fn head(&self, status: &str, kind: &str, length: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{length}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n{}Connection: close\r\n\r\n",
            self.headers
        )
    }

    /// Gives this content.
    pub fn send(self, status: &str, kind: &str, content: &[u8]) -> io::Result<()> {
        let head = self.head(status, kind, &format!("Content-Length: {}", content.len()));
        let mut to = self.connection;
        to.write_all(head.as_bytes())?;
        to.write_all(content)
    }

    /// Gives a message in place of what was asked for.
    pub fn refuse(self, status: &str, why: &str) -> io::Result<()> {
        let this = if status.starts_with("405") { self.header("Allow", "GET") } else { self };
        let this = this.header("Content-Security-Policy", "default-src 'none'");
        this.send(status, "text/plain; charset=utf-8", format!("{why}\n").as_bytes())
    }

    /// Gives a content whose length is not known: what is written to the answer. It is whole only after [`Parts::finish`].
    pub fn parts(self, kind: &str) -> io::Result<Parts> {
        let head = self.head("200 OK", kind, "Transfer-Encoding: chunked");
        let mut connection = self.connection.try_clone()?;
        connection.write_all(head.as_bytes())?;
        Ok(Parts { connection })
    }
}

/// A content that is given part by part.
pub struct Parts {
    connection: TcpStream,
}

impl Parts {
    /// Another one, for the same content.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { connection: self.connection.try_clone()? })
    }

    /// The content is whole.
    pub fn finish(mut self) -> io::Result<()> {
        self.connection.write_all(b"0\r\n\r\n")
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An empty part would be the end.
        if bytes.is_empty() {
            return Ok(0);
        }
        self.connection.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        self.connection.write_all(bytes)?;
        self.connection.write_all(b"\r\n")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
