//! Opening a database of this library to read it, in another program than the one that writes it.

use super::failure::Failure;
use super::{schema, schema_check};
use crate::status::Result;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// How long a reader waits for a writer that repairs the log.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Opens the database at `path`, which is absolute, for reading alone, and checks that its tables are this library's, word for word: the SQL of another's schema
/// would run in the reader. Triggers, views and functions are switched off. Returns the connection with the version of the schema.
///
/// `immutable`: nothing is locked and no file is made beside the database, so that it can lie in a directory that is read-only. What is only in its
/// write-ahead log is not seen then, and nobody may write to it meanwhile.
///
/// Errors: `PIPELINE_ERR_STORAGE`: the file is no database of this library, it is damaged, or it cannot be read.
pub fn open_to_read(path: &Path, immutable: bool) -> Result<(Connection, i64)> {
    open(path, immutable).map_err(|failure| failure.at(path))
}

fn open(path: &Path, immutable: bool) -> std::result::Result<(Connection, i64), Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = if immutable {
        let uri = format!("file:{}?immutable=1", escaped(path));
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
    } else {
        Connection::open_with_flags(path, flags)?
    };
    schema_check::restrict(&conn)?;
    conn.busy_timeout(PATIENCE)?;
    let version = schema::version(&conn)?;
    Ok((conn, version))
}

/// A path in a URI.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                text.push(char::from(*byte))
            }
            other => text += &format!("%{other:02X}"),
        }
    }
    text
}
