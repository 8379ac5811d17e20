//! The events of a trace, as `events.h` lays them out.

use crate::calls::{self, Effect, KIND_IMAGE, KIND_STACK};

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub kind: u32,
    pub effect: Effect,
    pub time_ns: u64,
    pub thread: u32,
    /// The address that it returned, 0 if it failed; for a release, the one it was given.
    pub address: u64,
    /// The return address.
    pub site: u64,
    pub size: u64,
    /// The number of its stack; 0: none.
    pub stack: u32,
    /// A call that resizes: the address it was given, and how long it took.
    pub old: u64,
    pub took_ns: u64,
    pub ring: u64,
    pub sequence: u64,
}

/// The event of a stack.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    pub number: u32,
    pub end: u16,
    /// Return addresses of 8 bytes each, the innermost first.
    pub addresses: &'a [u8],
}

/// The first event of a process image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub pid: u32,
    pub parent: u32,
    pub number: u32,
    pub frames: u32,
    pub started_realtime_ns: u64,
    pub name: String,
}

/// What an event says.
#[derive(Clone, Debug)]
pub enum Said<'a> {
    Call(Call),
    Stack(Stack<'a>),
    Image(Image),
}

/// An event as a journal and a database have it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Which pipeline captured it: there is one for each process image.
    pub run: u64,
    pub ring: u64,
    pub sequence: u64,
    pub time_ns: u64,
    pub kind: u32,
    pub correlation_id: u64,
    pub node_id: u64,
    pub payload: &'a [u8],
}

fn u16_at(payload: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(payload.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(payload: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(payload.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(payload: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?))
}

impl<'a> Event<'a> {
    /// What the event says. `None`: it is none of a trace's, or its payload is too short.
    #[inline]
    pub fn decode(&self) -> Option<Said<'a>> {
        let payload = self.payload;
        Some(match self.kind {
            KIND_STACK => Said::Stack(Stack {
                number: u32_at(payload, 0)?,
                end: u16_at(payload, 6)?,
                addresses: payload.get(8..8 + 8 * usize::from(u16_at(payload, 4)?))?,
            }),
            KIND_IMAGE => Said::Image(Image {
                pid: u32_at(payload, 0)?,
                parent: u32_at(payload, 4)?,
                number: u32_at(payload, 8)?,
                frames: u32_at(payload, 12)?,
                started_realtime_ns: u64_at(payload, 16)?,
                name: String::from_utf8_lossy(payload.get(24..)?).into_owned(),
            }),
            kind => {
                let effect = calls::effect(kind)?;
                let mut call = Call {
                    kind,
                    effect,
                    time_ns: self.time_ns,
                    thread: 0,
                    address: self.correlation_id,
                    site: self.node_id,
                    size: 0,
                    stack: 0,
                    old: 0,
                    took_ns: 0,
                    ring: self.ring,
                    sequence: self.sequence,
                };
                if effect == Effect::Releases {
                    call.thread = u32_at(payload, 0)?;
                } else {
                    (call.size, call.thread, call.stack) =
                        (u64_at(payload, 0)?, u32_at(payload, 8)?, u32_at(payload, 12)?);
                }
                if effect == Effect::Resizes {
                    (call.old, call.took_ns) = (u64_at(payload, 16)?, u64_at(payload, 24)?);
                }
                Said::Call(call)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u32, payload: &[u8]) -> Event<'_> {
        Event { run: 1, ring: 2, sequence: 3, time_ns: 4, kind, correlation_id: 5, node_id: 6, payload }
    }

    #[test]
    fn payloads_are_decoded_as_the_tracer_writes_them() {
        let mut payload = Vec::new();
        payload.extend(1000u64.to_le_bytes());
        payload.extend(77u32.to_le_bytes());
        payload.extend(8u32.to_le_bytes());
        payload.extend(0xABCu64.to_le_bytes());
        payload.extend(55u64.to_le_bytes());
        let Some(Said::Call(call)) = event(3, &payload).decode() else { panic!("no call") };
        assert_eq!((call.size, call.thread, call.stack, call.old, call.took_ns), (1000, 77, 8, 0xABC, 55));
        assert_eq!((call.address, call.site, call.time_ns, call.effect), (5, 6, 4, Effect::Resizes));
        let Some(Said::Call(call)) = event(19, &payload[8..12]).decode() else { panic!("no call") };
        assert_eq!((call.size, call.thread, call.effect), (0, 77, Effect::Releases));
        let stack = [7, 0, 0, 0, 2, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        let Some(Said::Stack(stack)) = event(KIND_STACK, &stack).decode() else { panic!("no stack") };
        assert_eq!((stack.number, stack.end, stack.addresses.len()), (7, 3, 16));
    }

    #[test]
    fn payloads_that_are_too_short_and_kinds_of_others_say_nothing() {
        for kind in [0, 1, 3, 4, 30, 31, KIND_STACK, KIND_IMAGE, u32::MAX] {
            for length in 0..4 {
                assert!(event(kind, &[0xFF; 4][..length]).decode().is_none(), "kind {kind}, {length} bytes");
            }
        }
        assert!(event(1, &[0; 15]).decode().is_none());
        assert!(event(3, &[0; 31]).decode().is_none());
        assert!(event(KIND_STACK, &[1, 0, 0, 0, 2, 0, 3, 0, 0]).decode().is_none());
        assert!(event(31, &[0; 64]).decode().is_none());
    }
}
