//! The C interface of libcapture_pipeline, as far as this library uses it. The names and the layouts are those of `<capture_pipeline.h>`; a
//! test compares them with the library's own.
//!
//! The functions are not linked in. The loader (for the `.so`) or the program's linker (for the `.a`) resolves them to the copy of
//! libcapture_pipeline that the program uses. Only that copy knows the program's pipelines.

use std::ffi::{c_char, c_void};

pub const PIPELINE_OK: i32 = 0;
pub const PIPELINE_END: i32 = 3;
pub const PIPELINE_ERR_NULL: i32 = -1;
pub const PIPELINE_ERR_INVALID: i32 = -2;
pub const PIPELINE_ERR_VERSION: i32 = -3;
pub const PIPELINE_ERR_FORKED: i32 = -9;
pub const PIPELINE_ERR_LIMIT: i32 = -11;
pub const PIPELINE_ERR_SYSTEM: i32 = -14;
pub const PIPELINE_ERR_STORAGE: i32 = -17;
pub const PIPELINE_ERR_INTERNAL: i32 = -18;

pub const PIPELINE_STORE_OK: i32 = 0;
pub const PIPELINE_STORE_RETRY: i32 = 1;
pub const PIPELINE_STORE_REJECT: i32 = 2;
pub const PIPELINE_STORE_PENDING: i32 = 3;
pub const PIPELINE_STORAGE_CONCURRENT: u32 = 1;

pub const PIPELINE_JOURNAL_RAW: u32 = 0;
pub const PIPELINE_JOURNAL_COLUMNS_ZSTD: u32 = 3;
/// In front of the events stands who captured them.
pub const PIPELINE_MESSAGE_THREADS: u32 = 1;

pub const PIPELINE_LOG_ERROR: i32 = 1;
pub const PIPELINE_LOG_WARN: i32 = 2;
pub const PIPELINE_LOG_INFO: i32 = 3;

/// `pipeline_event_view_t`.
#[repr(C)]
pub struct EventView {
    pub ring_id: u64,
    pub sequence: u64,
    pub timestamp_ns: u64,
    pub correlation_id: u64,
    pub node_id: u64,
    pub kind: u32,
    pub flags: u32,
    pub weight: f64,
    pub data: *const c_void,
    pub len: usize,
}

/// `pipeline_batch_t`.
#[repr(C)]
pub struct Batch {
    pub struct_size: u32,
    pub event_stride: u32,
    pub pipeline_id: u64,
    pub generation: u64,
    pub batch_id: u64,
    pub token: u64,
    pub attempt: u32,
    pub writer_id: u32,
    pub processed_at_ns: u64,
    pub realtime_offset_ns: i64,
    pub writer_data: *mut c_void,
    pub count: usize,
    pub events: *const EventView,
}

/// `pipeline_storage_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Storage {
    pub struct_size: u32,
    pub flags: u32,
    pub user_data: *mut c_void,
    pub store: Option<unsafe extern "C" fn(*mut c_void, *const Batch) -> i32>,
    pub open_writer: Option<unsafe extern "C" fn(*mut c_void, u32, *mut *mut c_void) -> i32>,
    pub close_writer: Option<unsafe extern "C" fn(*mut c_void, u32, *mut c_void)>,
    pub flush: Option<unsafe extern "C" fn(*mut c_void, i64) -> i32>,
    pub dead_letter: Option<unsafe extern "C" fn(*mut c_void, *const Batch, i32) -> i32>,
    pub release: Option<unsafe extern "C" fn(*mut c_void, *const EventView)>,
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    pub finish: Option<unsafe extern "C" fn(*mut c_void, i64) -> i32>,
}

/// `pipeline_message_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Message {
    pub struct_size: u32,
    pub blocks: u32,
    pub generation: u64,
    pub ring_id: u64,
    pub first_sequence: u64,
    pub schema: u64,
    pub count: usize,
    pub length: usize,
}

/// `pipeline_message_encoder_t`.
#[repr(C)]
pub struct Encoder {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    pub fn pipeline_storage_init(storage: *mut Storage, struct_size: usize) -> i32;
    pub fn pipeline_batch_set_stored(batch: *const Batch, stored_prefix: usize) -> i32;
    pub fn pipeline_batch_set_rejected(batch: *const Batch, index: usize) -> i32;
    pub fn pipeline_batch_complete_at(token: u64, stored_prefix: usize, result: i32) -> i32;
    pub fn pipeline_thread_start(
        name: *const c_char,
        body: unsafe extern "C" fn(*mut c_void),
        argument: *mut c_void,
    ) -> i32;
    pub fn pipeline_log(level: i32, message: *const c_char) -> i32;
    pub fn pipeline_last_error() -> *const c_char;
    pub fn pipeline_set_last_error(detail: *const c_char) -> i32;
    pub fn pipeline_message_encoder_open(encoding: u32, flags: u32, out: *mut *mut Encoder) -> i32;
    pub fn pipeline_message_encoder_close(encoder: *mut Encoder) -> i32;
    pub fn pipeline_message_encode(
        encoder: *mut Encoder,
        batch: *const Batch,
        first: usize,
        most: usize,
        buffer: *mut c_void,
        size: usize,
        message: *mut Message,
    ) -> i32;
    pub fn pipeline_message_encode_facts(
        encoder: *mut Encoder,
        batch: *const Batch,
        first: usize,
        buffer: *mut c_void,
        size: usize,
        message: *mut Message,
    ) -> i32;
}

#[cfg(test)]
mod tests {
    use super::{Batch, EventView, Message, Storage};
    use capture_pipeline::batch::BatchView;
    use capture_pipeline::ffi::message::structs::pipeline_message_t;
    use capture_pipeline::status;
    use capture_pipeline::storage::{self, callback::pipeline_storage_t};

    /// Compares the size of a struct, and the place of each field.
    macro_rules! same_layout {
        ($ours:ty, $theirs:ty: $($field:ident)*) => {
            assert_eq!(size_of::<$ours>(), size_of::<$theirs>());
            $(assert_eq!(
                std::mem::offset_of!($ours, $field),
                std::mem::offset_of!($theirs, $field),
                stringify!($ours.$field)
            );)*
        };
    }

    #[test]
    fn the_structs_and_the_numbers_are_those_of_the_library() {
        same_layout!(EventView, capture_pipeline::event::EventView:
            ring_id sequence timestamp_ns correlation_id node_id kind flags weight data len);
        same_layout!(Batch, BatchView: struct_size event_stride pipeline_id generation batch_id token attempt writer_id
            processed_at_ns realtime_offset_ns writer_data count events);
        same_layout!(Storage, pipeline_storage_t: struct_size flags user_data store open_writer close_writer flush
            dead_letter release destroy finish);
        same_layout!(Message, pipeline_message_t: struct_size blocks generation ring_id first_sequence schema count length);
        let numbers = [
            (super::PIPELINE_OK, status::PIPELINE_OK),
            (super::PIPELINE_END, status::PIPELINE_END),
            (super::PIPELINE_ERR_NULL, status::PIPELINE_ERR_NULL),
            (super::PIPELINE_ERR_INVALID, status::PIPELINE_ERR_INVALID),
            (super::PIPELINE_ERR_VERSION, status::PIPELINE_ERR_VERSION),
            (super::PIPELINE_ERR_FORKED, status::PIPELINE_ERR_FORKED),
            (super::PIPELINE_ERR_LIMIT, status::PIPELINE_ERR_LIMIT),
            (super::PIPELINE_ERR_SYSTEM, status::PIPELINE_ERR_SYSTEM),
            (super::PIPELINE_ERR_STORAGE, status::PIPELINE_ERR_STORAGE),
            (super::PIPELINE_ERR_INTERNAL, status::PIPELINE_ERR_INTERNAL),
            (super::PIPELINE_STORE_OK, storage::PIPELINE_STORE_OK),
            (super::PIPELINE_STORE_RETRY, storage::PIPELINE_STORE_RETRY),
            (super::PIPELINE_STORE_REJECT, storage::PIPELINE_STORE_REJECT),
            (super::PIPELINE_STORE_PENDING, storage::PIPELINE_STORE_PENDING),
            (super::PIPELINE_STORAGE_CONCURRENT as i32, storage::PIPELINE_STORAGE_CONCURRENT as i32),
        ];
        for (ours, theirs) in numbers {
            assert_eq!(ours, theirs);
        }
    }
}
