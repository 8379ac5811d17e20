//! How a command ends.

use capture_pipeline::status;
use std::io;
use std::path::Path;

/// What a command that came to its end has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong.
    Well,
    /// The journal is damaged.
    Damaged,
    /// Something could not be read, as a message has said. The rest was read all the same.
    Unread,
}

/// Why a command did not come to its end.
#[derive(Debug)]
pub enum Failure {
    /// Nobody reads the output any more.
    BrokenPipe,
    /// A message: what failed, why, and what to do.
    Told(String),
}

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Told(message.into())
    }

    /// Of a file.
    pub fn of(path: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        let hint = match error.kind() {
            io::ErrorKind::StorageFull => "; free space, or choose another file system",
            io::ErrorKind::PermissionDenied => "; check the permissions",
            io::ErrorKind::AlreadyExists => "; give another name, or --force to replace it",
            _ => "",
        };
        let reason = match error.kind() {
            io::ErrorKind::AlreadyExists => "it exists already".to_owned(),
            _ => error.to_string(),
        };
        Self::Told(format!("{}: {reason}{hint}", path.display()))
    }

    /// Of the standard output.
    pub fn output(error: &io::Error) -> Self {
        Self::of(Path::new("standard output"), error)
    }
}

impl From<status::Error> for Failure {
    fn from(error: status::Error) -> Self {
        Self::Told(error.to_string())
    }
}
