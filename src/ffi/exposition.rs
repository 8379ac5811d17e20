//! The metrics of pipelines as text.

use super::guard::{guard, null, require};
use crate::exposition::{
    Exposition, Format, PIPELINE_METRICS_OPENMETRICS, PIPELINE_METRICS_PROMETHEUS, Source,
};
use crate::manager::Pipeline;
use crate::metrics::Figures;
use crate::platform::memory;
use crate::status::{Error, PIPELINE_ERR_FORKED, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, Result};
use std::ffi::c_char;

/// Writes the metrics of pipelines as text, in a format that Prometheus and others read: what `pipeline_metrics` and `pipeline_writer_metrics` have,
/// the health, and a histogram of the time from capture to acknowledgement. docs/metrics.md lists them. `format` is `PIPELINE_METRICS_...`.
///
/// The text of several pipelines is not that of each one after the other, because the samples of a metric stand together: give all of them in one call.
/// The labels are `pipeline` (the name), `storage` ("journal", "sqlite" or "custom") and, of a writer's metrics, `writer` (its id). Of pipelines with the same
/// name, the one that was started first has the plain name, and the others have `NAME#` and a number.
///
/// `buffer` has `size` bytes. The text ends in a NUL. `*length` becomes its length, without the NUL. With `buffer` NULL and `size` 0,
/// `*length` becomes a length that is enough for the next call as well: `*length` + 1 bytes suffice for the same pipelines, whatever they count meanwhile,
/// unless writers are added. The same length is in `*length` after `PIPELINE_ERR_LIMIT`: `size` is too small, and `buffer` has an empty text.
///
/// The figures of each pipeline are of one moment. It takes a few microseconds for each pipeline, and captures are not slowed down. Any thread, callbacks
/// included, also after `pipeline_close`. Errors: `PIPELINE_ERR_NULL`; `_INVALID` (`format`, or a pipeline that is given twice); `_LIMIT`; `_FORKED`;
/// `_NO_MEMORY`. Since 0.1.0.
///
/// # Safety
/// `pipelines` has `count` pointers, each NULL or valid; it may be NULL if `count` is 0. `buffer` is NULL or has `size` writable bytes; `length` is NULL or
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_metrics_text(
    pipelines: *const *const Pipeline,
    count: usize,
    format: u32,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> i32 {
    guard(|| {
        memory::check()?;
        require(length, "length")?;
        if count > 0 {
            require(pipelines, "pipelines")?;
        }
        if size > 0 {
            require(buffer, "buffer")?;
        }
        let format = read_format(format)?;
        // SAFETY: by contract.
        let given = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(pipelines, count) } };
        // SAFETY: each is NULL or valid, by contract.
        let all = unsafe { pipelines_of(given) }?;
        let mut figures: Vec<Figures> = Vec::new();
        figures.try_reserve_exact(count).map_err(|_| memory::refused(count * size_of::<Figures>()))?;
        for pipeline in &all {
            figures.push(pipeline.figures()?);
        }
        let mut sources = Vec::new();
        sources.try_reserve_exact(count).map_err(|_| memory::refused(count * size_of::<Source<'_>>()))?;
        sources.extend(all.iter().zip(&figures).map(|(p, figures)| Source {
            name: p.name(),
            id: p.id(),
            storage: p.storage_name(),
            figures,
            process: None,
        }));
        let exposition = Exposition::new(&sources, format)?;
        // SAFETY: `buffer` has `size` writable bytes if it is not NULL, and `length` is writable, by contract.
        unsafe { write(&exposition, buffer, size, length) }
    })
}

fn read_format(format: u32) -> Result<Format> {
    match format {
        PIPELINE_METRICS_PROMETHEUS => Ok(Format::Prometheus),
        PIPELINE_METRICS_OPENMETRICS => Ok(Format::OpenMetrics),
        _ => Err(Error::new(
            PIPELINE_ERR_INVALID,
            format!(
                "format: PIPELINE_METRICS_PROMETHEUS (0) and PIPELINE_METRICS_OPENMETRICS (1) allowed, {format} given"
            ),
        )),
    }
}

/// # Safety
/// Each is NULL or a pipeline that lives for `'a`.
unsafe fn pipelines_of<'a>(given: &[*const Pipeline]) -> Result<Vec<&'a Pipeline>> {
    // First, because nothing may be allocated in a forked child: see `guard::forked`.
    // SAFETY: by contract.
    if given.iter().any(|&p| unsafe { p.as_ref() }.is_some_and(Pipeline::forked)) {
        return Err(Error::new(
            PIPELINE_ERR_FORKED,
            "pipelines: one of them belongs to the parent of this process",
        ));
    }
    let bytes = size_of_val(given);
    let (mut all, mut order) = (Vec::new(), Vec::new());
    all.try_reserve_exact(given.len()).map_err(|_| memory::refused(bytes))?;
    order.try_reserve_exact(given.len()).map_err(|_| memory::refused(bytes))?;
    for (n, &p) in given.iter().enumerate() {
        // SAFETY: by contract.
        all.push(unsafe { p.as_ref() }.ok_or_else(|| null(&format!("pipelines[{n}]")))?);
        order.push(n);
    }
    order.sort_unstable_by_key(|&n| (all[n].id(), n));
    for pair in order.windows(2) {
        if let [first, again] = *pair
            && all[first].id() == all[again].id()
        {
            let detail =
                format!("pipelines[{again}]: the same as pipelines[{first}]; each may be given once");
            return Err(Error::new(PIPELINE_ERR_INVALID, detail));
        }
    }
    Ok(all)
}

/// # Safety
/// `buffer` is NULL or has `size` writable bytes; `length` is writable.
unsafe fn write(
    exposition: &Exposition<'_>,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> Result<()> {
    if buffer.is_null() {
        // SAFETY: by contract.
        unsafe { length.write(exposition.most_bytes()) };
        return Ok(());
    }
    // SAFETY: by contract; bytes of the caller that were never written must not be read, and nothing here reads them.
    let room = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size) };
    let written = exposition.write(room);
    if let Some(end) = room.get_mut(written) {
        *end = 0;
        // SAFETY: by contract.
        unsafe { length.write(written) };
        return Ok(());
    }
    if let Some(first) = room.first_mut() {
        *first = 0;
    }
    let most = exposition.most_bytes();
    // SAFETY: by contract.
    unsafe { length.write(most) };
    Err(Error::new(PIPELINE_ERR_LIMIT, format!("size: {} needed, {size} given", most.saturating_add(1))))
}
