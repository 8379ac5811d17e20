//! Another library written in Rust, for the installation tests: a program must be able to link it statically beside
//! capture_pipeline, and unwinding must work in both.

/// Returns 1 if a panic in this library was caught in it.
#[unsafe(no_mangle)]
pub extern "C" fn other_rust_catches_its_own_panic() -> i32 {
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| {
        let numbers: Vec<usize> = std::env::args().map(|a| a.len()).collect();
        numbers[numbers.len()]
    });
    i32::from(caught.is_err())
}
