//! The directory that an export writes. It has another name until it is whole.

use super::target::Output;
use crate::failure::Failure;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The most names that are tried for the directory while it is not whole.
const NAMES: u32 = 1_000;

/// See the module.
pub struct Folder {
    path: PathBuf,
    /// Its name until it is whole. `None`: it is.
    hidden: Option<PathBuf>,
}

impl Folder {
    /// For this name. A directory that exists must be empty.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        let Some(name) = path.file_name().filter(|name| *name != "-") else {
            return Err(Failure::new(format!("{}: the name of a directory expected", path.display())));
        };
        let refuse = |what: &str| Err(Failure::new(format!("{}: {what}", path.display())));
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::of(path, &error)),
            Ok(found) if !found.is_dir() => {
                return refuse(
                    "exists, and is no directory; this format writes a directory of several files: give another name",
                );
            }
            Ok(_) => {
                let mut entries = std::fs::read_dir(path).map_err(|error| Failure::of(path, &error))?;
                if entries.next().is_some() {
                    return refuse(
                        "a directory that is not empty, which is not replaced; give another name, or delete it",
                    );
                }
            }
        }
        for number in 0..NAMES {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}", std::process::id()));
            if number > 0 {
                hidden.push(format!("-{number}"));
            }
            let hidden = path.with_file_name(hidden);
            match std::fs::create_dir(&hidden) {
                Ok(()) => return Ok(Self { path: path.to_path_buf(), hidden: Some(hidden) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failure::of(&hidden, &error)),
            }
        }
        refuse(
            "there are too many directories of interrupted exports beside it; delete those whose names begin with a dot and its name",
        )
    }

    /// Opens a file in a directory below it, to append to. Both are made if they are not there.
    pub fn append(&self, directory: &str, name: &str) -> Result<Output, Failure> {
        let below = self.hidden.as_ref().unwrap_or(&self.path).join(directory);
        match std::fs::create_dir(&below) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Failure::of(&below, &error));
            }
            _ => {}
        }
        let path = below.join(name);
        let file = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|error| Failure::of(&path, &error))?;
        Ok(Output::new(Box::new(file), self.path.join(directory).join(name)))
    }

    /// Gives the directory its name.
    pub fn commit(&mut self) -> Result<(), Failure> {
        if let Some(hidden) = &self.hidden {
            std::fs::rename(hidden, &self.path).map_err(|error| Failure::of(&self.path, &error))?;
            self.hidden = None;
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is not whole is of no use. It was made here, and nothing else is in it.
        if let Some(hidden) = &self.hidden {
            let _ = std::fs::remove_dir_all(hidden);
        }
    }
}
