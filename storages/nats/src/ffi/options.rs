//! The options in C, and how they become those in Rust.

use super::sized::Sized32;
use crate::abi;
use crate::options::{self, Limits, Login, Options, Tls};
use crate::subject::Template;
use crate::thread::{Failure, invalid};
use std::ffi::{CStr, c_char};
use std::time::Duration;

const MESSAGE_PER_EVENT: u32 = 1;
const CREATE_STREAM: u32 = 2;
const START_OFFLINE: u32 = 4;
const TLS: u32 = 8;
const TLS_FIRST: u32 = 16;
const IN_MEMORY: u32 = 32;
const DISCARD_NEW: u32 = 64;
const FLAGS: u32 = 127;

/// `pipeline_nats_options_t`.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the header documents the fields")]
pub struct pipeline_nats_options_t {
    pub struct_size: u32,
    pub flags: u32,
    pub servers: *const c_char,
    pub name: *const c_char,
    pub user: *const c_char,
    pub password: *const c_char,
    pub token: *const c_char,
    pub nkey_seed: *const c_char,
    pub credentials_file: *const c_char,
    pub tls_ca_file: *const c_char,
    pub tls_certificate_file: *const c_char,
    pub tls_key_file: *const c_char,
    pub stream: *const c_char,
    pub subject: *const c_char,
    pub facts_prefix: *const c_char,
    pub node: *const c_char,
    pub encoding: u32,
    pub ack_timeout_ms: u32,
    pub connect_timeout_ms: u32,
    pub reconnect_max_ms: u32,
    pub pending_messages: u32,
    pub replicas: u32,
    pub pending_bytes: u64,
    pub duplicate_window_ms: u64,
    pub max_bytes: u64,
    pub max_messages: u64,
    pub max_age_ms: u64,
    pub retry_max_age_ms: u64,
}

// SAFETY: repr(C), integers and nullable pointers, `struct_size` first.
unsafe impl Sized32 for pipeline_nats_options_t {
    const NAME: &'static str = "pipeline_nats_options_t";
}

pub(super) fn defaults() -> pipeline_nats_options_t {
    let none = std::ptr::null();
    pipeline_nats_options_t {
        struct_size: size_of::<pipeline_nats_options_t>() as u32,
        flags: 0,
        servers: c"127.0.0.1:4222".as_ptr(),
        name: c"capture_pipeline".as_ptr(),
        user: none,
        password: none,
        token: none,
        nkey_seed: none,
        credentials_file: none,
        tls_ca_file: none,
        tls_certificate_file: none,
        tls_key_file: none,
        stream: c"CAPTURE".as_ptr(),
        subject: c"capture.events.{host}".as_ptr(),
        facts_prefix: c"capture".as_ptr(),
        node: none,
        encoding: abi::PIPELINE_JOURNAL_RAW,
        ack_timeout_ms: 5_000,
        connect_timeout_ms: 5_000,
        reconnect_max_ms: 500,
        pending_messages: 4_096,
        replicas: 1,
        pending_bytes: 64 << 20,
        duplicate_window_ms: 120_000,
        max_bytes: 0,
        max_messages: 0,
        max_age_ms: 0,
        retry_max_age_ms: 60_000,
    }
}

/// The options for the thread, which looks at the numbers only.
pub(super) struct Numbers(pub pipeline_nats_options_t);

// SAFETY: the pointers are not used.
unsafe impl Send for Numbers {}

impl Numbers {
    pub(super) fn get(&self) -> &pipeline_nats_options_t {
        &self.0
    }
}

/// The texts of the options, copied.
pub(super) struct Texts {
    servers: String,
    name: String,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    nkey_seed: Option<String>,
    credentials_file: Option<String>,
    tls_ca_file: Option<String>,
    tls_certificate_file: Option<String>,
    tls_key_file: Option<String>,
    stream: String,
    subject: String,
    facts_prefix: String,
    node: Option<String>,
}

impl Texts {
    /// # Safety
    /// Every text is NULL or NUL-terminated.
    pub(super) unsafe fn copy(c: &pipeline_nats_options_t) -> Result<Self, Failure> {
        let text = |pointer: *const c_char, field: &str| {
            if pointer.is_null() {
                return Ok(None);
            }
            // SAFETY: by contract.
            let text = unsafe { CStr::from_ptr(pointer) }.to_str();
            text.map(|text| Some(text.to_owned()))
                .map_err(|_| invalid(format!("{field}: text in UTF-8 expected")))
        };
        let needed = |pointer, field: &str| {
            text(pointer, field)?.ok_or_else(|| (abi::PIPELINE_ERR_NULL, format!("options.{field} is NULL")))
        };
        Ok(Self {
            servers: needed(c.servers, "servers")?,
            name: needed(c.name, "name")?,
            user: text(c.user, "user")?,
            password: text(c.password, "password")?,
            token: text(c.token, "token")?,
            nkey_seed: text(c.nkey_seed, "nkey_seed")?,
            credentials_file: text(c.credentials_file, "credentials_file")?,
            tls_ca_file: text(c.tls_ca_file, "tls_ca_file")?,
            tls_certificate_file: text(c.tls_certificate_file, "tls_certificate_file")?,
            tls_key_file: text(c.tls_key_file, "tls_key_file")?,
            stream: needed(c.stream, "stream")?,
            subject: needed(c.subject, "subject")?,
            facts_prefix: needed(c.facts_prefix, "facts_prefix")?,
            node: text(c.node, "node")?,
        })
    }
}

/// Checks the options.
pub(super) fn read(c: &pipeline_nats_options_t, t: Texts) -> Result<Options, String> {
    if c.flags & !FLAGS != 0 {
        return Err(format!("flags: PIPELINE_NATS_... expected, {:#x} given", c.flags));
    }
    let has = |flag| c.flags & flag != 0;
    let within = |field: &str, value: u64, least: u64, most: u64| {
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        Err(format!("{field}: {least} to {most} allowed, {value} given"))
    };
    let ms =
        |field: &str, value: u64, least, most| within(field, value, least, most).map(Duration::from_millis);
    let century = 3_155_760_000_000;
    within("encoding", c.encoding.into(), 0, abi::PIPELINE_JOURNAL_COLUMNS_ZSTD.into())?;
    let per_event = has(MESSAGE_PER_EVENT);
    let create = Limits {
        replicas: within("replicas", c.replicas.into(), 1, 5)? as u32,
        in_memory: has(IN_MEMORY),
        discard_new: has(DISCARD_NEW),
        duplicate_window: ms("duplicate_window_ms", c.duplicate_window_ms, 100, century)?,
        max_bytes: within("max_bytes", c.max_bytes, 0, i64::MAX as u64)?,
        max_messages: within("max_messages", c.max_messages, 0, i64::MAX as u64)?,
        max_age: ms("max_age_ms", c.max_age_ms, 0, century)?,
    };
    if c.max_age_ms != 0 && c.max_age_ms < c.duplicate_window_ms {
        return Err(format!(
            "max_age_ms: at least duplicate_window_ms ({}) or 0 allowed, {} given",
            c.duplicate_window_ms, c.max_age_ms
        ));
    }
    Ok(Options {
        servers: options::servers(&t.servers)?,
        name: t.name,
        tls: Tls {
            required: has(TLS) || has(TLS_FIRST),
            first: has(TLS_FIRST),
            ca_file: t.tls_ca_file,
            client: match (t.tls_certificate_file, t.tls_key_file) {
                (None, None) => None,
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (Some(_), None) => {
                    return Err("tls_key_file: NULL, and tls_certificate_file is set".to_owned());
                }
                (None, Some(_)) => {
                    return Err("tls_certificate_file: NULL, and tls_key_file is set".to_owned());
                }
            },
        },
        login: login(t.user, t.password, t.token, t.nkey_seed, t.credentials_file)?,
        stream: options::stream(&t.stream)?,
        create: has(CREATE_STREAM).then_some(create),
        subject: Template::parse(&t.subject, &host_name(), t.node.as_deref(), per_event)?,
        facts_prefix: options::facts_prefix(&t.facts_prefix)?,
        per_event,
        start_offline: has(START_OFFLINE),
        encoding: c.encoding,
        ack_timeout: ms("ack_timeout_ms", c.ack_timeout_ms.into(), 10, 3_600_000)?,
        connect_timeout: ms("connect_timeout_ms", c.connect_timeout_ms.into(), 10, 3_600_000)?,
        reconnect_max: ms("reconnect_max_ms", c.reconnect_max_ms.into(), 1, 60_000)?,
        retry_max_age: Duration::from_millis(c.retry_max_age_ms),
        pending_messages: within("pending_messages", c.pending_messages.into(), 1, 1 << 20)? as usize,
        pending_bytes: within("pending_bytes", c.pending_bytes, 1, 1 << 40)? as usize,
    })
}

fn login(
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    nkey_seed: Option<String>,
    credentials_file: Option<String>,
) -> Result<Login, String> {
    let mut all = Vec::new();
    match (user, password) {
        (None, None) => {}
        (Some(user), Some(password)) => all.push(("user", Login::User { user, password })),
        (Some(_), None) => return Err("password: NULL, and user is set".to_owned()),
        (None, Some(_)) => return Err("user: NULL, and password is set".to_owned()),
    }
    all.extend(token.map(|token| ("token", Login::Token(token))));
    all.extend(nkey_seed.map(|seed| ("nkey_seed", Login::Nkey(seed))));
    if let Some(file) = credentials_file {
        let text =
            std::fs::read_to_string(&file).map_err(|error| format!("credentials_file: {file}: {error}"))?;
        all.push(("credentials_file", Login::Credentials(text)));
    }
    if let [(first, _), (second, _), ..] = &all[..] {
        return Err(format!("{second}: NULL expected, because {first} is set: one login at most"));
    }
    Ok(all.pop().map_or(Login::None, |(_, login)| login))
}

fn host_name() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the call writes at most so many bytes; the last one stays 0.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_string_lossy();
    if name.is_empty() { "localhost".to_owned() } else { name.into_owned() }
}
