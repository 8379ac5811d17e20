//! Kills processes that capture into ring files, at each numbered point of an event's way and at random moments, and recovers what they have left.
//!
//! `RUSTFLAGS="--cfg kill_points" cargo test --release --test kill_matrix`; `KILL_ROUNDS=10000` for more random moments, `KILL_SEED=n` for others.
//!
//! Each round has a few runs, one after the other, on one directory of ring files and with one storage; each is killed. The recoveries of what they have left are
//! killed as well, but for the last one. Then every event whose capture has returned is in the storage exactly once (in a storage without keys: at least once), no
//! other event is there, and none is torn.
#![cfg_attr(not(kill_points), allow(dead_code, unused_imports))]

mod child;
mod parent;
mod target;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("capture") => child::capture(&arguments.collect::<Vec<_>>()),
        Some("recover") => child::recover(&arguments.collect::<Vec<_>>()),
        _ if cfg!(kill_points) => parent::run_all(),
        // The other builds have no points.
        _ => {}
    }
}
