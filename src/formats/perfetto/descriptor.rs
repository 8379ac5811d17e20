//! The description of a track.

use super::names::put_clean;
use super::track::{Track, TrackKind, Unit};
use crate::formats::protobuf::{integer, message};

/// The largest thread id that the reader takes.
const LAST_TID: u64 = i32::MAX as u64;
/// Ids from here on stand for larger ones. The system's are smaller.
const MADE_UP_TID: u64 = 1 << 30;

/// A field with a text.
fn text(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    message(out, field, |out| put_clean(out, value));
}

/// Appends the fields of a descriptor.
pub(super) fn descriptor(out: &mut Vec<u8>, track: &Track<'_>) {
    integer(out, 1, track.uuid);
    if track.parent != 0 {
        integer(out, 5, track.parent);
    }
    match track.kind {
        TrackKind::Process { pid } => message(out, 3, |out| {
            integer(out, 1, pid.into());
            text(out, 6, track.name);
        }),
        TrackKind::Thread { pid, tid } => message(out, 4, |out| {
            integer(out, 1, pid.into());
            // The reader would cut a longer id to 32 bits, and it might be that of another thread.
            if tid <= LAST_TID {
                integer(out, 2, tid);
                text(out, 5, track.name);
            } else {
                integer(out, 2, MADE_UP_TID | (track.uuid % MADE_UP_TID));
                message(out, 5, |out| {
                    put_clean(out, track.name);
                    out.extend_from_slice(format!(" {tid}").as_bytes());
                });
            }
        }),
        TrackKind::Counter(unit) => {
            text(out, 2, track.name);
            message(out, 8, |out| match unit {
                Unit::Nanoseconds => integer(out, 3, 1),
                Unit::Bytes => integer(out, 3, 3),
                Unit::Named("") => {}
                Unit::Named(unit) => text(out, 6, unit.as_bytes()),
            });
        }
        TrackKind::Events => text(out, 2, track.name),
    }
}
