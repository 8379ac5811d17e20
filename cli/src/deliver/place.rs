//! Where a user wants events to go.

use std::path::PathBuf;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A database.
    Sqlite(PathBuf),
    /// A journal.
    Journal(PathBuf),
    /// Lines of JSON, in a file or on the standard output.
    Ndjson(Option<PathBuf>),
}

impl Place {
    /// Reads it from an argument.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("journal", path)) if !path.is_empty() => Ok(Self::Journal(path.into())),
            Some(("ndjson", path)) if !path.is_empty() => Ok(Self::Ndjson(Some(path.into()))),
            None if text == "ndjson" => Ok(Self::Ndjson(None)),
            _ => Err("sqlite:FILE, journal:DIRECTORY, ndjson or ndjson:FILE expected".into()),
        }
    }
}
