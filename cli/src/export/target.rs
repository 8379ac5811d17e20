//! The file that an export writes. It has another name until it is whole.

use crate::failure::Failure;
use std::ffi::{OsStr, OsString};
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
    /// The file with the temporary name. `None`: it is written by its name.
    file: Option<File>,
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

/// The most names that are tried for a temporary file.
const NAMES: u32 = 1_000;

/// Makes a new file beside `path`, under a hidden name. An earlier command may have been killed before it could remove its own, and may have had
/// this one's process id: in a container many have the same. Its file is left alone.
fn make_hidden(path: &Path, name: &OsStr, ends: &[&str]) -> Result<(PathBuf, File), Failure> {
    let mut last = None;
    for number in 0..NAMES {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        if number > 0 {
            hidden.push(format!("-{number}"));
        }
        let hidden = path.with_file_name(hidden);
        // The log of another's database is not this one's.
        if ends.iter().any(|end| !end.is_empty() && std::fs::symlink_metadata(with_end(&hidden, end)).is_ok())
        {
            continue;
        }
        match File::options().write(true).create_new(true).open(&hidden) {
            Ok(file) => return Ok((hidden, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some((hidden, error)),
            Err(error) => return Err(Failure::of(&hidden, &error)),
        }
    }
    let (hidden, error) = last.unwrap_or_else(|| (path.to_path_buf(), io::ErrorKind::AlreadyExists.into()));
    Err(Failure::new(format!("{}: {error}; delete the files of interrupted exports", hidden.display())))
}

impl Target {
    /// For this name; `-` is the standard output. A file that exists is only replaced by `force`, and a device, FIFO or socket never is. The file is made
    /// under its temporary name.
    pub fn new(path: &Path, force: bool, is_database: bool) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self { file: None });
        }
        let Some(name) = path.file_name() else {
            return Err(Failure::new(format!("{}: the name of a file expected", path.display())));
        };
        let ends = if is_database { &DATABASE[..] } else { &DATABASE[..1] };
        for file in ends.iter().map(|end| with_end(path, end)) {
            let refuse = |what: &str| Err(Failure::new(format!("{}: {what}", file.display())));
            match std::fs::metadata(&file) {
                Ok(found) if found.is_dir() => return refuse("a directory; give the name of a file"),
                Ok(found) if !found.is_file() => {
                    return refuse(
                        "a device, FIFO or socket, which is not replaced; give the name of a file, or - for the standard output (not for SQLite and Parquet)",
                    );
                }
                _ => {}
            }
            if !force && std::fs::symlink_metadata(&file).is_ok() {
                return Err(Failure::of(&file, &io::ErrorKind::AlreadyExists.into()));
            }
        }
        let (temporary, file) = make_hidden(path, name, ends)?;
        Ok(Self { file: Some(Paths { path: path.to_path_buf(), temporary, file: Some(file), ends }) })
    }

    /// For an output that is there already.
    pub fn of_output() -> Self {
        Self { file: None }
    }

    /// The name that the file has until it is whole.
    pub fn temporary(&self) -> &Path {
        self.file.as_ref().map_or(Path::new("-"), |paths| &paths.temporary)
    }

    /// The file, to be written.
    pub fn open(&mut self) -> Result<Output, Failure> {
        let Some(paths) = &mut self.file else {
            return Ok(Output { file: Box::new(io::stdout()), path: PathBuf::from("standard output") });
        };
        let Some(file) = paths.file.take() else {
            return Err(Failure::new(format!("{}: opened twice", paths.path.display())));
        };
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
    /// Writes to this file, which messages call so.
    pub fn new(file: Box<dyn Write + Send>, path: PathBuf) -> Self {
        Self { file, path }
    }

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
