//! The C functions of libcapture_pipeline in Rust's terms: the only callers of [`crate::abi`] beside the C edge.

use crate::abi::{self, Batch, EventView, Message};
use std::ffi::{CStr, CString, c_void};
use std::ptr;

/// A batch that waits for its answer. Its memory is valid until then.
#[derive(Clone, Copy)]
pub struct Pending {
    batch: *const Batch,
    /// The attempt, for the answer. It is known after the batch is gone.
    token: u64,
}

// SAFETY: the batch is read only, and stays where it is until its token is completed, which the one holder of this value does.
unsafe impl Send for Pending {}

/// What an event is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub ring_id: u64,
    pub sequence: u64,
}

impl Pending {
    /// # Safety
    /// The batch has been given to `store`, which answers `PIPELINE_STORE_PENDING`, and nothing but this value completes its token.
    pub unsafe fn new(batch: *const Batch) -> Self {
        // SAFETY: by contract.
        Self { batch, token: unsafe { (*batch).token } }
    }

    fn batch(&self) -> &Batch {
        // SAFETY: the token is not completed: `complete` takes the value.
        unsafe { &*self.batch }
    }

    pub fn count(&self) -> usize {
        self.batch().count
    }

    /// What names the batch at each of its attempts.
    pub fn key(&self) -> (u64, u64) {
        (self.batch().generation, self.batch().batch_id)
    }

    /// The event at this index. A newer library's events may be larger.
    pub fn event(&self, index: usize) -> &EventView {
        let batch = self.batch();
        assert!(index < batch.count);
        // SAFETY: the index is in the batch, whose events are `event_stride` bytes apart.
        unsafe { &*batch.events.byte_add(index * batch.event_stride as usize) }
    }

    pub fn identity(&self, index: usize) -> Identity {
        let event = self.event(index);
        Identity { ring_id: event.ring_id, sequence: event.sequence }
    }

    /// Whether the library that this one calls has given the batch.
    pub fn is_known(&self) -> bool {
        // SAFETY: the batch waits for its answer. Nothing changes: no event is stored yet.
        unsafe { abi::pipeline_batch_set_stored(self.batch, 0) == abi::PIPELINE_OK }
    }

    /// The event at this index can never be stored. `false`: there is no memory to note that.
    pub fn reject(&self, index: usize) -> bool {
        // SAFETY: the batch waits for its answer.
        unsafe { abi::pipeline_batch_set_rejected(self.batch, index) == abi::PIPELINE_OK }
    }

    /// Answers the attempt. `Err`: the library does not know it, with its words.
    pub fn complete(self, stored_prefix: usize, result: i32) -> Result<(), String> {
        // SAFETY: the call takes numbers only.
        match unsafe { abi::pipeline_batch_complete_at(self.token, stored_prefix, result) } {
            abi::PIPELINE_OK => Ok(()),
            _ => Err(last_error()),
        }
    }
}

/// What came of an attempt to encode.
pub enum Encoded {
    /// A message of `count` events (or facts) in the first `length` bytes of the buffer.
    Message(Message),
    /// The first event does not fit alone. It needs so many bytes.
    TooLarge(usize),
    /// The first event can be in no message.
    Never,
    /// There is none: the batch ends, or there are no facts that are not yet published.
    End,
    /// Not now, with the library's words.
    Failed(String),
}

/// An encoder of messages, with its scratch memory.
pub struct Encoder(*mut abi::Encoder);

// SAFETY: one thread at a time uses it.
unsafe impl Send for Encoder {}

impl Encoder {
    /// `encoding` is `PIPELINE_JOURNAL_...`.
    pub fn open(encoding: u32) -> Result<Self, (i32, String)> {
        let mut encoder = ptr::null_mut();
        // SAFETY: the output is a local.
        let status = unsafe {
            abi::pipeline_message_encoder_open(encoding, abi::PIPELINE_MESSAGE_THREADS, &raw mut encoder)
        };
        if status == abi::PIPELINE_OK { Ok(Self(encoder)) } else { Err((status, last_error())) }
    }

    /// Encodes at most `most` events from index `first` on, as many as `buffer` has room for.
    pub fn events(&mut self, batch: &Pending, first: usize, most: usize, buffer: &mut [u8]) -> Encoded {
        let mut message = Message { struct_size: size_of::<Message>() as u32, ..Message::default() };
        // SAFETY: the encoder is open, the batch waits for its answer, the buffer has so many bytes.
        let status = unsafe {
            abi::pipeline_message_encode(
                self.0,
                batch.batch,
                first,
                most,
                buffer.as_mut_ptr().cast::<c_void>(),
                buffer.len(),
                &raw mut message,
            )
        };
        encoded(status, message)
    }

    /// Encodes the facts of the batch's pipeline from number `first` on, as many as `buffer` has room for.
    pub fn facts(&mut self, batch: &Pending, first: usize, buffer: &mut [u8]) -> Encoded {
        let mut message = Message { struct_size: size_of::<Message>() as u32, ..Message::default() };
        // SAFETY: as above.
        let status = unsafe {
            abi::pipeline_message_encode_facts(
                self.0,
                batch.batch,
                first,
                buffer.as_mut_ptr().cast::<c_void>(),
                buffer.len(),
                &raw mut message,
            )
        };
        encoded(status, message)
    }
}

fn encoded(status: i32, message: Message) -> Encoded {
    match status {
        abi::PIPELINE_OK if message.count > 0 => Encoded::Message(message),
        abi::PIPELINE_END => Encoded::End,
        abi::PIPELINE_ERR_LIMIT => Encoded::TooLarge(message.length),
        abi::PIPELINE_ERR_INVALID => Encoded::Never,
        _ => Encoded::Failed(last_error()),
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: it is open, and not used again.
        unsafe { abi::pipeline_message_encoder_close(self.0) };
    }
}

/// Runs `body` on a thread of the library's kind.
pub fn start_thread(name: &CStr, body: Box<dyn FnOnce() + Send>) -> Result<(), (i32, String)> {
    unsafe extern "C" fn main(argument: *mut c_void) {
        // SAFETY: the pointer comes from the box below, and only this thread has it.
        let body = *unsafe { Box::from_raw(argument.cast::<Box<dyn FnOnce() + Send>>()) };
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    }
    let argument = Box::into_raw(Box::new(body));
    // SAFETY: the function takes this argument, on one thread, once.
    let status = unsafe { abi::pipeline_thread_start(name.as_ptr(), main, argument.cast()) };
    if status == abi::PIPELINE_OK {
        return Ok(());
    }
    let words = last_error();
    // SAFETY: after an error no thread has the pointer.
    drop(unsafe { Box::from_raw(argument) });
    Err((status, words))
}

/// Gives a message to the program's log callback.
pub fn log(level: i32, text: &str) {
    let text = c_text(&format!("nats: {text}"));
    // SAFETY: the text ends in a NUL.
    unsafe { abi::pipeline_log(level, text.as_ptr()) };
}

/// The library's words about the last failure on this thread.
pub fn last_error() -> String {
    // SAFETY: the text is valid until this thread's next failing call.
    unsafe { CStr::from_ptr(abi::pipeline_last_error()) }.to_string_lossy().into_owned()
}

/// Sets those words.
pub fn set_last_error(text: &str) {
    // SAFETY: the text ends in a NUL.
    unsafe { abi::pipeline_set_last_error(c_text(text).as_ptr()) };
}

/// The text as C has it, without NULs inside.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}
