//! The configuration in C: `pipeline_config_t`, reading and writing it, changing that of a running pipeline.

use super::guard::{guard, guard_pipeline_new};
use super::sized;
use crate::config::fields::config_fields;
use crate::config::{Choice, Class, Clock, Config, Ordering, Overflow, Reserved};
use crate::manager::Pipeline;
use crate::status::{Error, PIPELINE_ERR_INVALID, Result};
use std::ffi::{CStr, c_char};
use std::ptr::null;

macro_rules! c_struct {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $limits:expr, $when:ident;)*) => {
        /// How a pipeline works. `pipeline_config_init` writes every default. 0 does not stand for the default, unless the description of
        /// the field says so. A field marked "Fixed" cannot change while the pipeline runs; `pipeline_update` changes the others.
        // (For the header, tests/header.rs writes it out.)
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct pipeline_config_t {
            /// `sizeof(pipeline_config_t)` of the caller.
            pub struct_size: u32,
            $($(#[$doc])* pub $name: <$type as Field>::C,)*
        }

        /// In C; texts are NULL.
        fn to_c(config: &Config) -> pipeline_config_t {
            pipeline_config_t {
                struct_size: size_of::<pipeline_config_t>() as u32,
                $($name: config.$name.to_c(),)*
            }
        }

        /// From C, checked. A text that is NULL is that of `base`.
        ///
        /// # Safety
        /// The texts are NULL or NUL-terminated.
        unsafe fn from_c(c: &pipeline_config_t, base: &Config) -> Result<Config> {
            let config = Config {
                // SAFETY: passed on.
                $($name: unsafe { Field::from_c(c.$name, &base.$name, stringify!($name)) }?,)*
            };
            config.validate()?;
            Ok(config)
        }
    };
}

config_fields!(c_struct);

// SAFETY: repr(C), plain integers and pointers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_config_t {
    const NAME: &'static str = "pipeline_config_t";
}

/// A type of a configuration's field.
pub trait Field: Sized {
    /// The type in C.
    type C: Copy;
    /// The value in C; NULL for a text.
    fn to_c(&self) -> Self::C;
    /// The value that C gives to the field `name`; `base` for a text that is NULL.
    ///
    /// # Safety
    /// A text is NULL or NUL-terminated.
    unsafe fn from_c(c: Self::C, base: &Self, name: &str) -> Result<Self>;
}

macro_rules! field {
    ($($type:ty as $c:ty: |$value:ident| $to:expr, |$given:ident, $base:ident, $name:ident| $from:expr;)*) => {
        $(impl Field for $type {
            type C = $c;
            fn to_c(&self) -> $c {
                let $value = self;
                $to
            }
            unsafe fn from_c($given: $c, $base: &Self, $name: &str) -> Result<Self> {
                $from
            }
        })*
    };
}

field! {
    u32 as u32: |n| *n, |c, _base, _name| Ok(c);
    u64 as u64: |n| *n, |c, _base, _name| Ok(c);
    i32 as i32: |n| *n, |c, _base, _name| Ok(c);
    // 0: the default.
    Option<u64> as u64: |n| n.unwrap_or(0), |c, _base, _name| Ok((c != 0).then_some(c));
    Reserved as u32: |_zero| 0, |c, _base, name| if c == 0 { Ok(Self) } else { Err(refuse(name, "0", c)) };
    Overflow as u32: |choice| choice.constant().0, |c, _base, name| chosen(c, name);
    Ordering as u32: |choice| choice.constant().0, |c, _base, name| chosen(c, name);
    Clock as u32: |choice| choice.constant().0, |c, _base, name| chosen(c, name);
    Class as u32: |choice| choice.constant().0, |c, _base, name| chosen(c, name);
    // SAFETY (of both): by contract.
    String as *const c_char: |_text| null(),
        |c, base, name| Ok(unsafe { text(c, 255, name) }?.unwrap_or_else(|| base.clone()));
    Option<String> as *const c_char: |_text| null(),
        |c, base, name| Ok(unsafe { text(c, 4096, name) }?.or_else(|| base.clone()));
}

fn chosen<T: Choice>(c: u32, name: &str) -> Result<T> {
    T::from_constant(c).ok_or_else(|| refuse(name, &format!("0 to {}", T::ALL.len() - 1), c))
}

/// A caller's text of at most `most` bytes.
///
/// # Safety
/// It is NULL or NUL-terminated.
unsafe fn text(given: *const c_char, most: usize, name: &str) -> Result<Option<String>> {
    if given.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and NUL-terminated by contract.
    let given = unsafe { CStr::from_ptr(given) };
    let bytes = given.count_bytes();
    if bytes > most {
        return Err(refuse(name, &format!("{most} bytes"), bytes));
    }
    Ok(Some(given.to_string_lossy().into_owned()))
}

fn refuse(field: &str, allowed: &str, given: impl std::fmt::Display) -> Error {
    Error::new(PIPELINE_ERR_INVALID, format!("pipeline_config_t.{field}: {allowed} allowed, {given} given"))
}

/// Reads a caller's configuration for a start; NULL means all defaults.
///
/// # Safety
/// `config` is NULL or as its `struct_size` says.
pub(super) unsafe fn start_config(config: *const pipeline_config_t) -> Result<Config> {
    let defaults = Config::default();
    if config.is_null() {
        return Ok(defaults);
    }
    // SAFETY: by contract.
    unsafe {
        let (c, _) = sized::read(config, to_c(&defaults), "config")?;
        from_c(&c, &defaults)
    }
}

/// Writes every default to `config` and sets its `struct_size`. Pass `sizeof(pipeline_config_t)` as `struct_size`. Any thread. Errors:
/// `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `config` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_config_init(config: *mut pipeline_config_t, struct_size: usize) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(config, struct_size, &to_c(&Config::default()), "config") })
}

/// Changes the configuration of a running pipeline: all fields at once, or none if it fails. It is best to read the configuration by
/// `pipeline_config_read` first. Fields beyond the caller's `struct_size`, and texts that are NULL, stay as they are.
///
/// A field marked "Fixed" cannot change. A different value there is `PIPELINE_ERR_FIXED`, and `pipeline_last_error` names
/// the field. `overflow` cannot become `PIPELINE_OVERFLOW_DROP_OLDEST` if the storage has a `release` without
/// `PIPELINE_STORAGE_RELEASE_ANYWHERE`.
///
/// `writers` is the number of writers from then on. While autoscaling is on and stays on, `writers` is ignored, so that a configuration that was
/// read can be written back. `min_writers` and `max_writers` turn autoscaling on and off; `pipeline_scale` has set both to 0. A number of
/// writers outside of the two is brought to the nearer one.
///
/// Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_FIXED`, `_CLOSED`, `_FORKED`,
/// `_SYSTEM` (a writer's thread could not be started). Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `config` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_update(p: *mut Pipeline, config: *const pipeline_config_t) -> i32 {
    // SAFETY: by contract.
    unsafe {
        guard_pipeline_new(p, |p| {
            let running = p.config();
            let (c, _) = sized::read(config, to_c(&running), "config")?;
            p.update(from_c(&c, &running)?)
        })
    }
}

/// Reads the configuration of a running pipeline. The caller sets `out->struct_size` before. `name`, `ring_dir` and `writer_cpus` are
/// read as NULL. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_FORKED`. Since 0.1.0.
///
/// # Safety
/// `p` is NULL or valid; `out` as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_config_read(p: *const Pipeline, out: *mut pipeline_config_t) -> i32 {
    // SAFETY: by contract.
    unsafe { guard_pipeline_new(p, |p| sized::write_sized(out, &to_c(&p.config()), "out")) }
}
