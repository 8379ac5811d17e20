//! Ring files of processes that have ended: what they have left is read, whatever happened to the file, and delivered once.

#[path = "ring_file/image.rs"]
mod image;

#[path = "ring_file/support.rs"]
mod support;

#[path = "ring_file/reading.rs"]
mod reading;

#[path = "ring_file/damage.rs"]
mod damage;

#[path = "ring_file/owners.rs"]
mod owners;

#[path = "ring_file/places.rs"]
mod places;

#[path = "ring_file/recovery.rs"]
mod recovery;

#[path = "ring_file/answers.rs"]
mod answers;

#[path = "ring_file/mutations.rs"]
mod mutations;

#[path = "journal/random.rs"]
mod random;
