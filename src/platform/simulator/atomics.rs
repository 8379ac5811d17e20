//! The standard library's atomics, with a point before each access.

use super::scheduler::point;
use std::sync::atomic as std_atomic;
use std::sync::atomic::Ordering;

/// A fence, which is only a point because memory is sequentially consistent here.
pub fn fence(_: Ordering) {
    point();
}

macro_rules! common {
    ($name:ident, $value:ty $(, $parameter:ident)?) => {
        impl$(<$parameter>)? $name$(<$parameter>)? {
            /// See the standard library.
            pub const fn new(value: $value) -> Self {
                Self(std_atomic::$name::new(value))
            }
            /// See the standard library.
            pub fn load(&self, _: Ordering) -> $value {
                point();
                self.0.load(Ordering::SeqCst)
            }
            /// See the standard library.
            pub fn store(&self, value: $value, _: Ordering) {
                point();
                self.0.store(value, Ordering::SeqCst);
            }
            /// See the standard library.
            pub fn swap(&self, value: $value, _: Ordering) -> $value {
                point();
                self.0.swap(value, Ordering::SeqCst)
            }
            /// See the standard library.
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                _: Ordering,
                _: Ordering,
            ) -> Result<$value, $value> {
                point();
                self.0.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
            }
            /// See the standard library.
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }
            /// See the standard library.
            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                mut change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut seen = self.load(failure);
                while let Some(next) = change(seen) {
                    match self.compare_exchange(seen, next, success, failure) {
                        Ok(before) => return Ok(before),
                        Err(now) => seen = now,
                    }
                }
                Err(seen)
            }
            /// See the standard library.
            pub fn as_ptr(&self) -> *mut $value {
                self.0.as_ptr()
            }
        }
    };
}

macro_rules! integer {
    ($name:ident, $value:ty) => {
        /// See the standard library.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(std_atomic::$name);

        common!($name, $value);

        impl $name {
            /// See the standard library.
            pub fn fetch_add(&self, value: $value, _: Ordering) -> $value {
                point();
                self.0.fetch_add(value, Ordering::SeqCst)
            }
            /// See the standard library.
            pub fn fetch_sub(&self, value: $value, _: Ordering) -> $value {
                point();
                self.0.fetch_sub(value, Ordering::SeqCst)
            }
            /// See the standard library.
            pub fn fetch_or(&self, value: $value, _: Ordering) -> $value {
                point();
                self.0.fetch_or(value, Ordering::SeqCst)
            }
            /// See the standard library.
            pub fn fetch_and(&self, value: $value, _: Ordering) -> $value {
                point();
                self.0.fetch_and(value, Ordering::SeqCst)
            }
            /// See the standard library.
            pub fn fetch_max(&self, value: $value, _: Ordering) -> $value {
                point();
                self.0.fetch_max(value, Ordering::SeqCst)
            }
            /// See the standard library.
            pub fn get_mut(&mut self) -> &mut $value {
                self.0.get_mut()
            }
            /// See the standard library.
            ///
            /// # Safety
            /// As there.
            pub unsafe fn from_ptr<'a>(pointer: *mut $value) -> &'a Self {
                // SAFETY: passed on; the layout is that of the value.
                unsafe { &*pointer.cast::<Self>() }
            }
        }
    };
}

integer!(AtomicU32, u32);
integer!(AtomicU64, u64);

/// See the standard library.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct AtomicBool(std_atomic::AtomicBool);

common!(AtomicBool, bool);

impl AtomicBool {
    /// See the standard library.
    pub fn fetch_or(&self, value: bool, _: Ordering) -> bool {
        point();
        self.0.fetch_or(value, Ordering::SeqCst)
    }
}

/// See the standard library.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct AtomicPtr<T>(std_atomic::AtomicPtr<T>);

common!(AtomicPtr, *mut T, T);
