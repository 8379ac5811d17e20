/* The pipeline of this process image.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "trace_pipeline.h"

#include "descriptors.h"
#include "events.h"
#include "files.h"
#include "ledger.h"
#include "platform.h"
#include "producers.h"
#include "settings.h"
#include "stacks.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum {
    RING_BYTES = 1 << 20,  /* RINGS of them, and one that is shared, bound the tracer's memory */
    BATCH_EVENTS = 4096,
    LINGER_US = 50,        /* a writer that takes each event at once takes the cache lines away that the program's thread writes */
    LEAST_FILE_BYTES = 1 << 17, /* twice the least segment of a journal */
    BUSY_MS = 100,
    RETRIES = 1000,        /* retry_max_age_ms is reached first */
    FLUSH_SLICE_MS = 50,
    FAILING_MS = 500,      /* how long a flush waits for a storage whose attempts all fail */
    CLOSE_PART = 20        /* a close after a flush waits for this part of ALLOC_TRACE_EXIT_MS, or FAILING_MS if that is longer */
};

/* --- Start --------------------------------------------------------------------------------------------------------- */

/* The first event: which process image this is. */
static void capture_image(void) {
    const struct ledger *page = atomic_load(&ledger);
    struct image_payload image = {.pid = page->pid, .parent = page->parent, .number = files_image(), .frames = page->frames,
                                  .started_realtime_ns = page->started_realtime_ns};
    memcpy(image.name, page->comm, sizeof image.name);
    if (event_capture_image(&image) == PIPELINE_OK) atomic_fetch_add(&ledger->records, 1);
}

static int32_t open_database(pipeline_storage_t *storage) {
    pipeline_sqlite_options_t options;
    int32_t status = pipeline_sqlite_options_init(&options, sizeof options);
    if (status != PIPELINE_OK) return status;
    options.flags = PIPELINE_SQLITE_NO_INDEXES;     /* creating them would delay the program's exit */
    options.synchronous = PIPELINE_SQLITE_SYNC_OFF; /* the program does not wait for the disk because of a trace */
    options.busy_timeout_ms = BUSY_MS;              /* then the attempt fails and is counted as a retry */
    return pipeline_storage_sqlite(files_storage(), &options, sizeof *storage, storage);
}

/* A segment stays below the limit on the size of files (ulimit -f); it may be larger than segment_bytes by a batch. */
static void fit_into_file_size(pipeline_journal_options_t *options, pipeline_config_t *config) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
    if (options->segment_bytes > limit.rlim_cur / 2) options->segment_bytes = limit.rlim_cur / 2;
    if (config->batch_bytes > limit.rlim_cur / 8) config->batch_bytes = limit.rlim_cur / 8;
}

static int32_t open_journal(pipeline_storage_t *storage, pipeline_config_t *config) {
    pipeline_journal_options_t options;
    int32_t status = pipeline_journal_options_init(&options, sizeof options);
    if (status != PIPELINE_OK) return status;
    options.sync = PIPELINE_JOURNAL_SYNC_NEVER; /* the program does not wait for the disk because of a trace */
    options.encoding = settings.columns;
    fit_into_file_size(&options, config);
    return pipeline_storage_journal(files_storage(), &options, sizeof *storage, storage);
}

bool trace_pipeline_start(void (*thread_begins)(void *), void (*thread_ends)(void *), char *problem, size_t problem_size) {
    pipeline_storage_t storage;
    pipeline_config_t config;
    pipeline_t *p;
    struct rlimit limit;
    if (settings.to == TO_JOURNAL && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < LEAST_FILE_BYTES) {
        file_size_problem(problem, problem_size);
        return false;
    }
    if (settings.frames != 0 && !stacks_open()) {
        snprintf(problem, problem_size, "there is no memory for the table of stacks");
        return false;
    }
    pipeline_thread_hooks(thread_begins, thread_ends, NULL);
    int32_t status = pipeline_config_init(&config, sizeof config);
    if (status == PIPELINE_OK) status = settings.to == TO_SQLITE ? open_database(&storage) : open_journal(&storage, &config);
    if (status == PIPELINE_OK) {
        config.name = "trace";
        config.writers = 1;
        config.batch_size = BATCH_EVENTS;
        config.linger_us = LINGER_US;
        config.ring_bytes = RING_BYTES;
        config.max_rings = RINGS;
        config.max_event_bytes = sizeof(struct stack_payload);
        config.retry_limit = RETRIES;
        config.overflow = settings.drop ? PIPELINE_OVERFLOW_DROP_NEWEST : PIPELINE_OVERFLOW_BLOCK;
        config.block_timeout_us = settings.block_ms * UINT64_C(1000);
        if (settings.last_bytes != 0) { /* a flight recorder: the rings keep the last calls, and nothing is stored until the end */
            config.writers = 0;
            config.overflow = PIPELINE_OVERFLOW_DROP_OLDEST;
            config.ring_bytes = settings.last_bytes;
        }
        status = pipeline_start(&config, &storage, &p);
    }
    if (status == PIPELINE_OK && (status = events_define(p)) != PIPELINE_OK) pipeline_abandon(p);
    if (status != PIPELINE_OK) {
        const char *detail = pipeline_last_error();
        snprintf(problem, problem_size, "%s", detail[0] != '\0' ? detail : pipeline_status_message(status));
        return false;
    }
    atomic_store(&trace_pipeline, p);
    capture_image();
    return true;
}

/* --- End ----------------------------------------------------------------------------------------------------------- */

int32_t trace_pipeline_snapshot(pipeline_t *p) {
    pipeline_snapshot_options_t options;
    int32_t status = pipeline_snapshot_options_init(&options, sizeof options);
    if (status != PIPELINE_OK) return status;
    options.encoding = settings.columns;
    return pipeline_snapshot(p, files_storage(), &options, NULL);
}

/* Waits for at most ALLOC_TRACE_EXIT_MS. If nothing gets stored because attempts fail, or because the program has closed the
 * storage's descriptors (SQLite may then try for ten seconds before an attempt fails), it waits for at most FAILING_MS. */
int32_t trace_pipeline_flush(pipeline_t *p) {
    if (settings.last_bytes != 0) return trace_pipeline_snapshot(p); /* there are no writers */
    pipeline_metrics_t m = {.struct_size = sizeof m};
    pipeline_health_t health = {.struct_size = sizeof health};
    uint64_t now = monotonic_ns(), deadline = now + settings.exit_ms * UINT64_C(1000000);
    uint64_t settled = UINT64_MAX, retries = 0, since = now;
    for (;;) {
        uint64_t left_ms = (deadline - now) / 1000000;
        int32_t status = pipeline_flush(p, left_ms < FLUSH_SLICE_MS ? (int64_t)left_ms : FLUSH_SLICE_MS);
        now = monotonic_ns();
        if (status != PIPELINE_ERR_TIMEOUT || now >= deadline) return status;
        if (pipeline_metrics(p, &m) != PIPELINE_OK || pipeline_health(p, &health) != PIPELINE_OK) return status;
        if (m.buffered + m.in_flight + m.in_doubt == 0) return PIPELINE_OK; /* nothing is left to store */
        uint64_t settled_now = m.stored + m.filtered + m.dead_lettered + m.discarded + m.overwritten;
        if (settled_now != settled) {
            settled = settled_now;
            retries = m.retries;
            since = now;
        } else if (now - since >= FAILING_MS * UINT64_C(1000000) &&
                   (m.retries != retries || health.batches_retrying != 0 || descriptors_were_closed())) {
            return status;
        }
    }
}

int32_t trace_pipeline_close(pipeline_t *p) {
    if (settings.last_bytes != 0) return pipeline_close(p, settings.exit_ms); /* which stores what the rings keep */
    int32_t status = trace_pipeline_flush(p);
    /* Waits only once. Everything is stored, so what is left is to close the files. That takes milliseconds, unless the machine is busy. */
    int64_t most_ms = settings.exit_ms / CLOSE_PART > FAILING_MS ? settings.exit_ms / CLOSE_PART : FAILING_MS;
    int32_t closed = pipeline_close(p, status == PIPELINE_OK ? most_ms : 0);
    return status == PIPELINE_OK ? closed : status;
}
