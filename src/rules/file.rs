//! Reads a text of rules from a file. What is no regular file, or too large, is an error, and nothing of it is read.

use super::MAX_TEXT;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, PIPELINE_ERR_SYSTEM, Result};
use std::fs::{Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The text in a file.
pub fn read_file(path: &Path) -> Result<String> {
    let system = |what: &str, error: std::io::Error| {
        Error::new(PIPELINE_ERR_SYSTEM, format!("{}: {what}: {error}", path.display()))
    };
    // Looked at before it is opened, because to open a device may have effects, and once more when it is open, because it may be another file by then.
    check(path, &path.metadata().map_err(|error| system("cannot be looked at", error))?)?;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| system("cannot be opened", error))?;
    check(path, &file.metadata().map_err(|error| system("cannot be looked at", error))?)?;
    let mut bytes = Vec::new();
    // (It may grow meanwhile, and some files do not tell their size.)
    let read = file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| system("cannot be read", error))?;
    check_size(path, bytes.len() as u64)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        let text = format!("{}: UTF-8 expected, line {line} is not", path.display());
        Error::new(PIPELINE_ERR_INVALID, text)
    })
}

fn check(path: &Path, found: &Metadata) -> Result<()> {
    let kind = found.file_type();
    if kind.is_file() {
        return check_size(path, found.len());
    }
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    let text = format!("{}: a regular file expected, it is {what}", path.display());
    Err(Error::new(PIPELINE_ERR_INVALID, text))
}

fn check_size(path: &Path, bytes: u64) -> Result<()> {
    if bytes <= MAX_TEXT as u64 {
        return Ok(());
    }
    let text = format!("{}: at most {MAX_TEXT} bytes of text allowed, the file has more", path.display());
    Err(Error::new(PIPELINE_ERR_LIMIT, text))
}
