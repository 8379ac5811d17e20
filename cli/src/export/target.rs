//! The file that an export writes. It has another name until it is whole.

use crate::failure::Failure;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// See the module.
pub struct Target {
    /// `None`: the standard output.
    file: Option<Paths>,
}

struct Paths {
    path: PathBuf,
    temporary: PathBuf,
    /// What the names of its files may end with.
    ends: &'static [&'static str],
}

/// A database has a log and the log's index beside it, while it is open or after a crash.
const DATABASE: [&str; 3] = ["", "-wal", "-shm"];

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.to_path_buf().into_os_string();
    name.push(end);
    name.into()
}

impl Target {
    /// For this name; `-` is the standard output. A file that exists is only replaced by `force`.
    pub fn new(path: &Path, force: bool, is_database: bool) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self { file: None });
        }
        let Some(name) = path.file_name() else {
            return Err(Failure::new(format!("{}: the name of a file expected", path.display())));
        };
        let ends = if is_database { &DATABASE[..] } else { &DATABASE[..1] };
        for file in ends.iter().map(|end| with_end(path, end)) {
            match std::fs::symlink_metadata(&file) {
                Ok(found) if found.is_dir() => {
                    return Err(Failure::new(format!(
                        "{}: a directory; give the name of a file",
                        file.display()
                    )));
                }
                Ok(_) if !force => return Err(Failure::of(&file, &io::ErrorKind::AlreadyExists.into())),
                _ => {}
            }
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        let temporary = path.with_file_name(hidden);
        Ok(Self { file: Some(Paths { path: path.to_path_buf(), temporary, ends }) })
    }

    /// The name that the file has until it is whole.
    pub fn temporary(&self) -> &Path {
        self.file.as_ref().map_or(Path::new("-"), |paths| &paths.temporary)
    }

    /// Makes the file.
    pub fn open(&self) -> Result<Output, Failure> {
        let Some(paths) = &self.file else {
            return Ok(Output { file: Box::new(io::stdout()), path: PathBuf::from("standard output") });
        };
        let file = File::options().write(true).create_new(true).open(&paths.temporary);
        let file = file.map_err(|error| Failure::of(&paths.temporary, &error))?;
        Ok(Output { file: Box::new(file), path: paths.path.clone() })
    }

    /// Gives the file its name.
    pub fn commit(mut self) -> Result<(), Failure> {
        let Some(paths) = &self.file else { return Ok(()) };
        // The log of another database that had the name would become this one's.
        for file in paths.ends[1..].iter().map(|end| with_end(&paths.path, end)) {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::of(&file, &error));
                }
                _ => {}
            }
        }
        std::fs::rename(&paths.temporary, &paths.path).map_err(|error| Failure::of(&paths.path, &error))?;
        self.file = None;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // A file that is not whole is of no use.
        if let Some(paths) = &self.file {
            for end in paths.ends {
                let _ = std::fs::remove_file(with_end(&paths.temporary, end));
            }
        }
    }
}

/// An open file, or the standard output.
pub struct Output {
    file: Box<dyn Write + Send>,
    path: PathBuf,
}

impl Output {
    /// The failure of a write.
    pub fn failed(&self, error: &io::Error) -> Failure {
        Failure::of(&self.path, error)
    }

    /// Writes all bytes.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| Failure::of(&self.path, &error))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
