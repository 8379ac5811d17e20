//! The files that the library writes itself, those of its storages and the ring files: [`descriptors`] tells whether a descriptor still is the storage's, [`identity`]
//! tells files apart whatever their names are, and [`fork`] makes a forked child give up what it inherits. [`file`] and [`folder`] are built on them:
//! a file that is written as a whole or cut back, and the directory that it is in. [`mappings`] maps such a file. [`failure`] says what becomes of a batch.

pub mod descriptors;
pub mod failure;
pub mod file;
pub mod folder;
pub mod fork;
pub mod identity;
pub mod mappings;
pub mod pace;

/// What messages call a storage and its files.
#[derive(Debug)]
pub struct Words {
    /// The storage.
    pub storage: &'static str,
    /// One of its files.
    pub file: &'static str,
}
