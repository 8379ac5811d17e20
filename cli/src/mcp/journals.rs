//! The journals of the command line, and their names.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub struct Journals(Vec<(String, PathBuf)>);

impl Journals {
    /// These. Each is named by the last part of its path; if others have the same, by the whole path.
    pub fn new(paths: &[PathBuf]) -> Result<Self, Failure> {
        let last = |path: &Path| {
            let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
            whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned()
        };
        let names: Vec<String> = paths.iter().map(|path| last(path)).collect();
        let mut journals = Vec::new();
        for (path, name) in paths.iter().zip(&names) {
            std::fs::metadata(path).map_err(|error| Failure::of(path, &error))?;
            let is_unique = names.iter().filter(|other| *other == name).count() == 1;
            let name = if is_unique { name.clone() } else { path.to_string_lossy().into_owned() };
            journals.push((name, path.clone()));
        }
        Ok(Self(journals))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The name and the path of one of them.
    pub fn get(&self, place: usize) -> Option<(&str, &Path)> {
        self.0.get(place).map(|(name, path)| (name.as_str(), path.as_path()))
    }

    /// The place of the journal that is asked for. It need not be named if there is only one.
    pub fn find(&self, wanted: Option<&str>) -> Result<usize, Failure> {
        let found = match wanted {
            None if self.0.len() == 1 => Some(0),
            None => None,
            Some(wanted) => self
                .names()
                .position(|name| name == wanted)
                .or_else(|| wanted.parse().ok().filter(|place| *place < self.0.len())),
        };
        found.ok_or_else(|| {
            let known: Vec<String> =
                self.names().enumerate().map(|(place, name)| format!("{name:?} ({place})")).collect();
            let shown =
                wanted.map_or_else(|| "none is given".into(), |wanted| format!("there is no {wanted:?}"));
            Failure::new(format!("journal: {shown}; give one of {}", known.join(", ")))
        })
    }
}
