//! The copy of `/proc/PID/maps` that the tracer has made at the end of the process.

use crate::ledger::open_regular;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[derive(Debug)]
struct Mapping {
    first: u64,
    end: u64,
    offset: u64,
    path: Rc<Path>,
}

#[derive(Debug, Default)]
pub struct Maps(Vec<Mapping>);

impl Maps {
    /// Those of a file; none if it cannot be read.
    pub fn read(path: &Path) -> Self {
        let mut text = Vec::new();
        let read = open_regular(path)
            .and_then(|file| file.take(16 << 20).read_to_end(&mut text).map_err(|error| error.to_string()));
        if read.is_err() {
            return Self::default();
        }
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// Lines such as `7f00-7f10 r-xp 00001000 08:01 1234    /usr/lib/libc.so.6`. Only code that comes from files is kept.
    fn parse(text: &str) -> Self {
        let mapping = |line: &str| {
            let (range, rest) = line.split_once(' ')?;
            let (permissions, rest) = rest.split_once(' ')?;
            let (offset, rest) = rest.split_once(' ')?;
            let path = &rest[rest.find('/')?..];
            let (first, end) = range.split_once('-')?;
            permissions.contains('x').then_some(())?;
            Some(Mapping {
                first: u64::from_str_radix(first, 16).ok()?,
                end: u64::from_str_radix(end, 16).ok()?,
                offset: u64::from_str_radix(offset, 16).ok()?,
                path: PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(path)).into(),
            })
        };
        let mut mappings: Vec<Mapping> = text.lines().filter_map(mapping).collect();
        mappings.sort_by_key(|mapping| mapping.first);
        Self(mappings)
    }

    /// The file that an address comes from, and the offset in it.
    pub fn find(&self, address: u64) -> Option<(&Rc<Path>, u64)> {
        let at = self.0.partition_point(|mapping| mapping.first <= address).checked_sub(1)?;
        let mapping = &self.0[at];
        (address < mapping.end)
            .then(|| (&mapping.path, (address - mapping.first).wrapping_add(mapping.offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_the_code_of_its_file() {
        let maps = Maps::parse(
            "55d0a000-55d0b000 r--p 00000000 08:01 11   /usr/bin/a program\n\
             55d0b000-55d0d000 r-xp 00001000 08:01 11   /usr/bin/a program\n\
             7f000000-7f001000 rw-p 00000000 00:00 0    [heap]\n\
             7f100000-7f101000 r-xp 00000000 00:00 0    [vdso]\n\
             7f200000-7f201000 r-xp 00003000 08:01 12   /lib/gone.so (deleted)\n\
             nonsense\n",
        );
        let found = |address| maps.find(address).map(|(path, offset)| (path.to_str().unwrap_or(""), offset));
        assert_eq!(found(0x55d0_b010), Some(("/usr/bin/a program", 0x1010)));
        assert_eq!(found(0x55d0_a010), None);
        assert_eq!(found(0x55d0_d000), None);
        assert_eq!(found(0x7f20_0fff), Some(("/lib/gone.so", 0x3fff)));
        assert_eq!(found(0x7f10_0000), None);
        assert_eq!(found(0), None);
    }
}
