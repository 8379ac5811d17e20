//! The names of simulated files.

use super::content::Content;
use super::{Dice, File};
use libc::{EEXIST, ENOENT, ENOTDIR};
use std::collections::BTreeMap;

/// A file or a directory. A deleted one stays in the list.
#[derive(Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub mode: u32,
    /// How many names it has.
    pub links: u64,
    /// When it was written last, by the wall clock.
    pub written_ns: i64,
    /// The open file description that has a lock on its first byte.
    pub lock: Option<usize>,
}

impl Node {
    pub fn file(mode: u32, now_ns: i64) -> Self {
        Self { kind: Kind::File(Content::default()), mode, links: 1, written_ns: now_ns, lock: None }
    }

    pub fn folder(above: usize, mode: u32, now_ns: i64) -> Self {
        let folder = Folder { above, ..Folder::default() };
        Self { kind: Kind::Folder(folder), mode, links: 1, written_ns: now_ns, lock: None }
    }
}

#[derive(Debug)]
pub(super) enum Kind {
    File(Content),
    Folder(Folder),
}

/// A directory: the nodes of names.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub above: usize,
    pub names: BTreeMap<String, usize>,
    /// As the disk has them.
    disk: BTreeMap<String, usize>,
}

impl Folder {
    pub fn sync(&mut self) {
        self.disk.clone_from(&self.names);
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    /// The first one is the root.
    pub nodes: Vec<Node>,
    /// The names that were deleted, and their nodes.
    pub deleted: Vec<(String, usize)>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::folder(0, 0o755, 0)], deleted: Vec::new() }
    }
}

/// A place for a name: the directory, the name, and what has it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub folder: usize,
    pub name: &'a str,
    pub node: Option<usize>,
}

impl Tree {
    pub fn folder(&self, node: usize) -> Result<&Folder, i32> {
        match &self.nodes[node].kind {
            Kind::Folder(folder) => Ok(folder),
            Kind::File(_) => Err(ENOTDIR),
        }
    }

    pub fn folder_mut(&mut self, node: usize) -> Result<&mut Folder, i32> {
        match &mut self.nodes[node].kind {
            Kind::Folder(folder) => Ok(folder),
            Kind::File(_) => Err(ENOTDIR),
        }
    }

    /// Follows a path from a directory on.
    pub fn find<'a>(&self, from: usize, path: &'a str) -> Result<Place<'a>, i32> {
        let mut at = if path.starts_with('/') { 0 } else { from };
        let mut place = Place { folder: at, name: ".", node: Some(at) };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let folder = self.folder(place.node.ok_or(ENOENT)?)?;
            at = place.node.unwrap_or(at);
            let node = match name {
                "." => Some(at),
                ".." => Some(folder.above),
                name => folder.names.get(name).copied(),
            };
            place = Place { folder: at, name, node };
        }
        Ok(place)
    }

    /// Makes a file or a directory at a free place.
    pub fn make(&mut self, place: &Place<'_>, made: Node) -> Result<usize, i32> {
        if place.node.is_some() {
            return Err(EEXIST);
        }
        let node = self.nodes.len();
        self.folder_mut(place.folder)?.names.insert(place.name.to_owned(), node);
        self.nodes.push(made);
        Ok(node)
    }

    pub fn make_folders(&mut self, path: &str) {
        let mut at = 0;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Ok(place) = self.find(at, name) else { return };
            at = match place.node {
                Some(node) => node,
                None => self.make(&place, Node::folder(at, 0o755, 0)).unwrap_or(at),
            };
        }
        for node in &mut self.nodes {
            if let Kind::Folder(folder) = &mut node.kind {
                folder.sync();
            }
        }
    }

    /// Takes its name from a file.
    pub fn delete(&mut self, place: &Place<'_>) -> Result<(), i32> {
        let node = place.node.ok_or(ENOENT)?;
        self.folder_mut(place.folder)?.names.remove(place.name);
        self.nodes[node].links -= 1;
        self.deleted.push((place.name.to_owned(), node));
        Ok(())
    }

    /// The files that have a name, in the order of their directories and names.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize, &Content)> {
        let folders = self.nodes.iter().filter_map(|node| match &node.kind {
            Kind::Folder(folder) if node.links != 0 => Some(&folder.names),
            _ => None,
        });
        folders.flatten().filter_map(|(name, &node)| match &self.nodes[node].kind {
            Kind::File(content) => Some((&name[..], node, content)),
            Kind::Folder(_) => None,
        })
    }

    /// What the disk has after a power loss. Each name that was made or deleted since the directory was synced may be there or not.
    pub fn after_power_loss(&self, dice: &mut Dice) -> Vec<File> {
        let mut left = Vec::new();
        for node in &self.nodes {
            let Kind::Folder(Folder { names, disk, .. }) = &node.kind else { continue };
            let mut both: BTreeMap<&String, usize> = names.iter().map(|(name, &node)| (name, node)).collect();
            both.extend(disk.iter().map(|(name, &node)| (name, node)));
            for (name, node) in both {
                let stays = names.get(name) == disk.get(name) || dice.once_in(2);
                if let (true, Kind::File(content)) = (stays, &self.nodes[node].kind) {
                    left.push((name.clone(), content.after_power_loss(dice)));
                }
            }
        }
        left
    }
}
