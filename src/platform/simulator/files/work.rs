//! What the calls do to the simulated files.

use super::Files;
use super::faults::Call;
use super::tree::{Kind, Node};
use libc::{EAGAIN, EBADF, EEXIST, EINVAL, EISDIR, ENOSPC, ENOTDIR};

/// The difference of the two clocks, as `time::realtime_offset_ns` has it.
const WALL_NS: i64 = 1_000_000_000_000_000_000;
/// The times of files are as coarse as the kernel's ticks.
const TICK_NS: i64 = 4_000_000;
/// Where the name begins in an entry of a directory.
const ENTRY: usize = 19;
/// What the process's umask takes from the permissions of a new file.
const UMASK: u32 = 0o022;
/// From the kernel's asm-generic/fcntl.h.
pub(super) const F_SETSIG: i32 = 10;
pub(super) const F_GETSIG: i32 = 11;

impl Files {
    /// How long a call takes.
    pub(super) fn pause_ns(&mut self, call: Call) -> u64 {
        if call != Call::Look && self.dice.hits(self.faults.hangs) {
            self.tally.hangs += 1;
            return self.dice.below(self.faults.hang_ns);
        }
        self.faults.pause_ns(call, &mut self.dice)
    }

    /// A call begins. `looked_at`: the descriptor that the library makes sure of by it.
    pub(super) fn begin(&mut self, call: Call, thread: usize, looked_at: Option<i32>) -> Result<(), i32> {
        self.tally.calls += 1;
        if self.dice.once_in(8) {
            self.write_back();
        }
        if call == Call::Look && self.dice.hits(self.faults.closings) {
            self.close_as_host();
        }
        if call != Call::Close {
            self.descriptors.look(thread, looked_at);
        }
        match self.faults.error(call, &mut self.dice) {
            None => Ok(()),
            Some(error) => {
                self.tally.failures += 1;
                match call {
                    Call::Cut => self.tally.failed_cuts += 1,
                    Call::Read => self.tally.failed_reads += 1,
                    Call::Sync | Call::SyncFolder => self.tally.failed_syncs += 1,
                    _ => {}
                }
                Err(error)
            }
        }
    }

    fn wall_ns(&self) -> i64 {
        let now = self.now_ns as i64 + WALL_NS;
        now - now % TICK_NS
    }

    fn write_back(&mut self) {
        let node = self.dice.below(self.tree.nodes.len() as u64) as usize;
        if let Kind::File(content) = &mut self.tree.nodes[node].kind {
            content.write_back(&mut self.dice);
        }
    }

    /// The host closes some descriptors of the library, or all, and opens a file of its own or not.
    fn close_as_host(&mut self) {
        let idle = self.descriptors.idle();
        let all = self.dice.once_in(4);
        let one = self.dice.below(idle.len() as u64) as usize;
        for (at, &fd) in idle.iter().enumerate() {
            if all || at == one {
                self.tally.closed += 1;
                let _ = self.close_number(fd);
            }
        }
        if self.dice.once_in(2) {
            self.tree.nodes.push(Node::file(0o600, self.wall_ns()));
            let _ = self.descriptors.open(self.tree.nodes.len() - 1, libc::O_RDWR, true);
        }
    }

    fn close_number(&mut self, fd: i32) -> Result<(), i32> {
        let (open, last) = self.descriptors.close(fd)?;
        let node = &mut self.tree.nodes[self.descriptors.opens[open].node];
        if last && node.lock == Some(open) {
            node.lock = None;
        }
        Ok(())
    }

    fn node_at(&self, fd: i32) -> Result<usize, i32> {
        Ok(self.descriptors.opens[self.descriptors.find(fd)?].node)
    }

    /// The directory from which relative paths go.
    fn folder_at(&self, fd: i32) -> Result<usize, i32> {
        if fd == libc::AT_FDCWD { Ok(0) } else { self.node_at(fd) }
    }

    pub(super) fn open(&mut self, folder: i32, path: &str, flags: i32, mode: u32) -> Result<i32, i32> {
        let place = self.tree.find(self.folder_at(folder)?, path)?;
        let node = match place.node {
            Some(_) if flags & libc::O_EXCL != 0 => return Err(EEXIST),
            Some(node) => node,
            None if flags & libc::O_CREAT == 0 => return Err(libc::ENOENT),
            None => {
                let file = Node::file(mode & !UMASK, self.wall_ns());
                self.tree.make(&place, file)?
            }
        };
        let is_folder = matches!(self.tree.nodes[node].kind, Kind::Folder(_));
        if flags & libc::O_DIRECTORY != 0 && !is_folder {
            return Err(ENOTDIR);
        }
        self.descriptors.open(node, flags, false)
    }

    pub(super) fn close(&mut self, fd: i32) -> Result<i32, i32> {
        let hosts = self.descriptors.find(fd).map(|open| self.descriptors.opens[open].hosts);
        if hosts != Ok(false) {
            self.wrong(format!("descriptor {fd} is closed, which is not the library's: {hosts:?}"));
        }
        self.close_number(fd).map(|()| 0)
    }

    pub(super) fn write(&mut self, fd: i32, parts: &[&[u8]], at: usize) -> Result<isize, i32> {
        let open = &self.descriptors.opens[self.descriptors.find(fd)?];
        if open.flags & (libc::O_ACCMODE | libc::O_PATH) == libc::O_RDONLY {
            return Err(EBADF);
        }
        let (node, hosts) = (open.node, open.hosts);
        if hosts {
            self.wrong(format!("descriptor {fd} is written to, which is the host's"));
        }
        let wanted = parts.iter().map(|part| part.len()).sum();
        let mut len = self.faults.length(wanted, &mut self.dice);
        let (used, now_ns) = (self.used(), self.wall_ns());
        let Node { kind: Kind::File(content), written_ns, .. } = &mut self.tree.nodes[node] else {
            return Err(EISDIR);
        };
        if self.capacity != 0 {
            // What is there already takes no room.
            let room = self.capacity.saturating_sub(used) as usize;
            let most = (content.bytes.len().saturating_sub(at)).saturating_add(room);
            if most == 0 && wanted != 0 {
                self.tally.full += 1;
                return Err(ENOSPC);
            }
            len = len.min(most);
        }
        self.tally.short_writes += u64::from(len < wanted);
        let (mut left, mut at) = (len, at);
        for part in parts {
            let part = &part[..left.min(part.len())];
            content.write(at, part);
            left -= part.len();
            at += part.len();
        }
        *written_ns = now_ns;
        self.check_bound();
        Ok(len as isize)
    }

    pub(super) fn read(&mut self, fd: i32, into: &mut [u8], at: usize) -> Result<isize, i32> {
        let node = self.node_at(fd)?;
        let Kind::File(content) = &self.tree.nodes[node].kind else { return Err(EISDIR) };
        let rest = content.bytes.get(at..).unwrap_or_default();
        let len = self.faults.length(rest.len().min(into.len()), &mut self.dice);
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len as isize)
    }

    pub(super) fn cut(&mut self, fd: i32, len: usize) -> Result<i32, i32> {
        let (node, now_ns) = (self.node_at(fd)?, self.wall_ns());
        let Node { kind: Kind::File(content), written_ns, .. } = &mut self.tree.nodes[node] else {
            return Err(EINVAL);
        };
        content.cut(len, &mut self.dice);
        *written_ns = now_ns;
        Ok(0)
    }

    pub(super) fn sync(&mut self, fd: i32) -> Result<i32, i32> {
        self.tally.syncs += 1;
        let node = self.node_at(fd)?;
        match &mut self.tree.nodes[node].kind {
            Kind::File(content) => content.sync(),
            Kind::Folder(folder) => folder.sync(),
        }
        Ok(0)
    }

    /// A sync of a file fails half-way.
    pub(super) fn fail_sync(&mut self, fd: i32) {
        let Ok(node) = self.node_at(fd) else { return };
        if let Kind::File(content) = &mut self.tree.nodes[node].kind {
            content.fail_sync(&mut self.dice);
        }
    }

    fn stat_of(&self, node: usize) -> libc::stat {
        // SAFETY: the structure consists of numbers.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        let Node { kind, mode, links, written_ns, .. } = &self.tree.nodes[node];
        let (kind, bytes) = match kind {
            Kind::File(content) => (libc::S_IFREG, content.bytes.len()),
            Kind::Folder(_) => (libc::S_IFDIR, 4096),
        };
        stat.st_dev = 1;
        stat.st_ino = node as libc::ino_t + 1;
        stat.st_mode = kind | mode;
        stat.st_nlink = *links as libc::nlink_t;
        // SAFETY: the call has no arguments and does not fail.
        stat.st_uid = unsafe { libc::geteuid() };
        stat.st_size = bytes as libc::off_t;
        stat.st_blocks = bytes.div_ceil(4096) as libc::blkcnt_t * 8;
        stat.st_mtime = written_ns / 1_000_000_000;
        stat.st_mtime_nsec = written_ns % 1_000_000_000;
        stat
    }

    pub(super) fn stat(&self, fd: i32) -> Result<libc::stat, i32> {
        self.node_at(fd).map(|node| self.stat_of(node))
    }

    pub(super) fn stat_at(&self, folder: i32, path: &str) -> Result<libc::stat, i32> {
        let node = self.tree.find(self.folder_at(folder)?, path)?.node.ok_or(libc::ENOENT)?;
        Ok(self.stat_of(node))
    }

    /// Sets the permissions of an open file.
    pub(super) fn permit(&mut self, fd: i32, mode: u32) -> Result<i32, i32> {
        let node = self.node_at(fd)?;
        self.tree.nodes[node].mode = mode;
        Ok(0)
    }

    pub(super) fn permit_at(&mut self, folder: i32, path: &str, mode: u32) -> Result<i32, i32> {
        let node = self.tree.find(self.folder_at(folder)?, path)?.node.ok_or(libc::ENOENT)?;
        self.tree.nodes[node].mode = mode;
        Ok(0)
    }

    pub(super) fn make_folder(&mut self, path: &str, mode: u32) -> Result<i32, i32> {
        let place = self.tree.find(0, path)?;
        let folder = Node::folder(place.folder, mode & !UMASK, self.wall_ns());
        self.tree.make(&place, folder).map(|_| 0)
    }

    pub(super) fn delete(&mut self, folder: i32, path: &str) -> Result<i32, i32> {
        let place = self.tree.find(self.folder_at(folder)?, path)?;
        self.tree.delete(&place)?;
        self.tally.deleted += 1;
        Ok(0)
    }

    /// Writes entries of a directory: some of those that are left and fit.
    pub(super) fn list(&mut self, fd: i32, into: &mut [u8]) -> Result<libc::c_long, i32> {
        let open = self.descriptors.find(fd)?;
        let most = 1 + self.dice.below(12);
        let open = &mut self.descriptors.opens[open];
        let names = &self.tree.folder(open.node)?.names;
        let unread = open.unread.get_or_insert_with(|| names.keys().rev().cloned().collect());
        let mut end = 0;
        for _ in 0..most {
            let Some(name) = unread.last() else { break };
            let len = (ENTRY + name.len() + 1).next_multiple_of(8);
            let Some(entry) = into.get_mut(end..end + len) else { break };
            entry.fill(0);
            entry[16..18].copy_from_slice(&(len as u16).to_ne_bytes());
            entry[ENTRY..ENTRY + name.len()].copy_from_slice(name.as_bytes());
            unread.pop();
            end += len;
        }
        Ok(end as libc::c_long)
    }

    pub(super) fn space(&self) -> libc::statvfs {
        // SAFETY: the structure consists of numbers.
        let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
        stat.f_frsize = 4096;
        stat.f_bavail = match self.capacity {
            0 => 1 << 40,
            bytes => bytes.saturating_sub(self.used()) / 4096,
        };
        stat
    }

    /// `fcntl` with a number.
    pub(super) fn control(&mut self, fd: i32, command: i32, number: i32) -> Result<i32, i32> {
        let at = self.descriptors.find(fd)?;
        let open = &mut self.descriptors.opens[at];
        match command {
            F_GETSIG => Ok(open.mark),
            F_SETSIG if self.traits.unmarked => Err(EINVAL),
            F_SETSIG => {
                open.mark = number;
                Ok(0)
            }
            libc::F_GETFL => Ok(open.flags),
            libc::F_DUPFD_CLOEXEC => self.descriptors.number(at, number),
            _ => Err(EINVAL),
        }
    }

    /// `fcntl` with a lock of the first byte for the open file description.
    pub(super) fn lock(&mut self, fd: i32, ask: bool, kind: i32) -> Result<i32, i32> {
        let open = self.descriptors.find(fd)?;
        if self.traits.lockless {
            return Err(EINVAL);
        }
        let lock = &mut self.tree.nodes[self.descriptors.opens[open].node].lock;
        let others = lock.is_some_and(|holder| holder != open);
        match (ask, kind) {
            (true, _) => return Ok(if others { libc::F_WRLCK } else { libc::F_UNLCK }),
            (false, libc::F_UNLCK) if others => {}
            (false, libc::F_UNLCK) => *lock = None,
            (false, _) if others => return Err(EAGAIN),
            (false, _) => *lock = Some(open),
        }
        Ok(kind)
    }
}
