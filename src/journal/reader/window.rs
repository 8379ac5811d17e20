//! Reading a file through a buffer, by `pread` alone: a file that is truncated meanwhile reads short, where a mapping would raise SIGBUS.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A part of a file.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    start: u64,
}

impl Window {
    /// The bytes from `offset` on: at least `want` of them, or up to the end of the file. Where they are not here, `chunk` bytes are read. An error of the kind `OutOfMemory`:
    /// there is not enough memory.
    pub fn at(&mut self, file: &File, offset: u64, want: usize, chunk: usize) -> io::Result<&[u8]> {
        let here = |window: &Self| {
            let skip = usize::try_from(offset.checked_sub(window.start)?).ok()?;
            (window.bytes.len().checked_sub(skip)? >= want).then_some(skip)
        };
        let skip = match here(self) {
            Some(skip) => skip,
            None => {
                self.fill(file, offset, want.max(chunk))?;
                0
            }
        };
        Ok(&self.bytes[skip..])
    }

    fn fill(&mut self, file: &File, offset: u64, len: usize) -> io::Result<()> {
        self.bytes.clear();
        self.start = offset;
        if self.bytes.capacity() < len {
            self.bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        self.bytes.resize(len, 0);
        let read = read_up_to(file, &mut self.bytes, offset);
        self.bytes.truncate(*read.as_ref().unwrap_or(&0));
        read.map(drop)
    }

    /// Forgets what was read: it is of another file, or the file has changed.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Fills `buffer` from `offset` on. Returns how many bytes there were.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        let Some(at) = offset.checked_add(done as u64) else { break };
        match file.read_at(&mut buffer[done..], at) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
