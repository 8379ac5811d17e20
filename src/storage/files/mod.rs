//! The files of the storages that the library writes itself: [`descriptors`] tells whether a descriptor still is the storage's, [`identity`]
//! tells files apart whatever their names are, and [`fork`] makes a forked child give up what it inherits.

pub mod descriptors;
pub mod fork;
pub mod identity;
