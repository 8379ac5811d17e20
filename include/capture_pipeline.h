/* capture_pipeline: captures events at the price of a copy and brings every one of them to a storage.
 *
 *     #include <capture_pipeline.h>
 *
 *     int main(void) {
 *         pipeline_storage_t storage;
 *         pipeline_t *p;
 *         if (pipeline_storage_sqlite("events.db", NULL, sizeof storage, &storage) != PIPELINE_OK ||
 *             pipeline_start(NULL, &storage, &p) != PIPELINE_OK)
 *             return 1;
 *         pipeline_capture(p, 7, "hello", 5);
 *         pipeline_close(p, 5000);
 *         return pipeline_destroy(p) == PIPELINE_OK ? 0 : 1;
 *     }
 *
 * That captures an event of kind 7 with a payload of 5 bytes, and stores it in the table `events` of the database
 * events.db. Any thread may capture. pipeline_close() stores everything that was captured, within 5 seconds. After
 * a failure, pipeline_last_error() says why.
 *
 * This file has: results of calls; 1. start; 2. capture; 3. storage; 4. watch; 5. end; 6. read a journal; 7. advanced;
 * 8. messages: events for a transport; 9. recover: what processes that have ended have left.
 *
 * Conventions:
 * - A function returns an int32_t status, unless its description says otherwise: PIPELINE_OK, a small
 *   positive number that informs, or a negative PIPELINE_ERR_... pipeline_last_error() returns the detail of
 *   an error: the field, the limit and the value.
 * - Output parameters come last, and are written only on success.
 * - Every function checks its pointers for NULL.
 * - A struct begins with struct_size. Its caller sets it, best by the struct's init function.
 * - "Any thread" does not include signal handlers, unless the description says so.
 * - A callback is a function of the program that the library calls: those of a storage, the transform, the log
 *   callback, the pressure callback and the thread hooks.
 * - In a forked child, every call on a pipeline of the parent returns PIPELINE_ERR_FORKED.
 * - If memory runs out, any function but a capture may return PIPELINE_ERR_NO_MEMORY. None ends the process,
 *   and every event is still counted.
 * - No function is a cancellation point of pthread_cancel.
 * - Every function runs on a stack of PTHREAD_STACK_MIN bytes.
 *
 * Licence: MIT OR Apache-2.0. Generated from the Rust sources and include/capture_pipeline.h.in by
 * `make header`: do not edit. */
#ifndef CAPTURE_PIPELINE_H
#define CAPTURE_PIPELINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A running pipeline. */
typedef struct pipeline_t pipeline_t;
/** One thread's ring buffer, and its counts. */
typedef struct pipeline_producer_t pipeline_producer_t;
/** Makes messages. */
typedef struct pipeline_message_encoder_t pipeline_message_encoder_t;
/** Reads messages. */
typedef struct pipeline_message_reader_t pipeline_message_reader_t;
/** A reader of a journal. */
typedef struct pipeline_reader_t pipeline_reader_t;
/** What a caller offers. */
typedef struct pipeline_event_t pipeline_event_t;
/** How a pipeline works. */
typedef struct pipeline_config_t pipeline_config_t;
/** An event as a storage sees it. */
typedef struct pipeline_event_view_t pipeline_event_view_t;
/** A batch as a storage sees it. */
typedef struct pipeline_batch_t pipeline_batch_t;
/** The storage of a pipeline: the functions that receive its events. */
typedef struct pipeline_storage_t pipeline_storage_t;
/** The metrics of a pipeline. */
typedef struct pipeline_metrics_t pipeline_metrics_t;
/** The metrics of one writer. */
typedef struct pipeline_writer_metrics_t pipeline_writer_metrics_t;
/** The health of a pipeline. */
typedef struct pipeline_health_t pipeline_health_t;
/** A value of an enum and its name. */
typedef struct pipeline_enum_value_t pipeline_enum_value_t;
/** A field of a payload. */
typedef struct pipeline_field_t pipeline_field_t;
/** The definition of a kind. */
typedef struct pipeline_kind_definition_t pipeline_kind_definition_t;
/** What is in a message. */
typedef struct pipeline_message_t pipeline_message_t;
/** An event of a journal. */
typedef struct pipeline_reader_event_t pipeline_reader_event_t;
/** A kind that has a name or a definition. */
typedef struct pipeline_reader_kind_t pipeline_reader_kind_t;
/** The kinds of a journal, by generation and kind. */
typedef struct pipeline_reader_kinds_t pipeline_reader_kinds_t;
/** The thread of a ring buffer. */
typedef struct pipeline_reader_thread_t pipeline_reader_thread_t;
/** An attribute of a run: see `pipeline_attribute`. */
typedef struct pipeline_reader_attribute_t pipeline_reader_attribute_t;
/** What a reader could not give so far. */
typedef struct pipeline_reader_losses_t pipeline_reader_losses_t;
/** What a reader gives. */
typedef struct pipeline_reader_options_t pipeline_reader_options_t;
/** What became of one ring file. */
typedef struct pipeline_recovered_file_t pipeline_recovered_file_t;
/** The options of a recovery. */
typedef struct pipeline_recover_options_t pipeline_recover_options_t;
/** What a recovery has done, over all files of the directory. */
typedef struct pipeline_recovery_t pipeline_recovery_t;
/** A rule: what becomes of the events that all of its conditions choose. */
typedef struct pipeline_rule_t pipeline_rule_t;
/** What is known of a rule. */
typedef struct pipeline_rule_metrics_t pipeline_rule_metrics_t;
/** The options of a snapshot. */
typedef struct pipeline_snapshot_options_t pipeline_snapshot_options_t;
/** What a snapshot has. */
typedef struct pipeline_snapshot_t pipeline_snapshot_t;
/** The options of a journal storage. */
typedef struct pipeline_journal_options_t pipeline_journal_options_t;
/** The options of a Perfetto storage. */
typedef struct pipeline_perfetto_options_t pipeline_perfetto_options_t;
/** The options of a SQLite storage. */
typedef struct pipeline_sqlite_options_t pipeline_sqlite_options_t;
/** What a transform makes of an event. */
typedef struct pipeline_rewrite_t pipeline_rewrite_t;
/**
 * A function that sees each event before the storage does, and may filter or rewrite it: see
 * `pipeline_transform`.
 */
typedef struct pipeline_transform_t pipeline_transform_t;
/**
 * The payload of an event of kind `PIPELINE_KIND_CLOCK`: which clock stamps a pipeline's events, and its
 * reading beside those of others.
 */
typedef struct pipeline_clock_facts_t pipeline_clock_facts_t;

/* ---- Results of calls ---------------------------------------------------------------------------------- */

/** Done; for a capture: the event is captured. */
#define PIPELINE_OK 0

/** The event was sampled out; it is counted as `dropped_sampled`. This is not an error. */
#define PIPELINE_SAMPLED 1

/** A rule dropped the event; it is counted as `dropped_rule`. This is not an error. */
#define PIPELINE_DROPPED_BY_RULE 2

/** There are no more events: a reader has given the last one. This is not an error. */
#define PIPELINE_END 3

/** A pointer that must not be NULL is NULL. */
#define PIPELINE_ERR_NULL -1

/**
 * A value is out of its range or a flag is unknown; `pipeline_last_error` names the field, the limit and the
 * value.
 */
#define PIPELINE_ERR_INVALID -2

/**
 * A `struct_size` is unknown to this library, or a longer struct has non-zero members that this library does
 * not know.
 */
#define PIPELINE_ERR_VERSION -3

/** The ring buffer is full and the overflow policy drops the new event; it is counted as `dropped_full`. */
#define PIPELINE_ERR_FULL -4

/** The payload is larger than `max_event_bytes`; it is counted as `refused_too_large`. */
#define PIPELINE_ERR_TOO_LARGE -5

/** The pipeline (or the producer handle's pipeline) is closed. */
#define PIPELINE_ERR_CLOSED -6

/**
 * The ring buffer is in use by an interrupted capture or an open reservation of the same thread; or a
 * callback is running, so that the pipeline cannot be destroyed yet.
 */
#define PIPELINE_ERR_BUSY -7

/** There is no ring buffer to capture into. */
#define PIPELINE_ERR_NO_RING -8

/** The pipeline belongs to the parent of this (forked) process. */
#define PIPELINE_ERR_FORKED -9

/** The timeout has passed. */
#define PIPELINE_ERR_TIMEOUT -10

/** A configured or built-in limit is reached. */
#define PIPELINE_ERR_LIMIT -11

/** The call would wait for its own thread: a callback has made it on a thread of the pipeline. */
#define PIPELINE_ERR_WOULD_DEADLOCK -12

/** There is not enough memory. The call may be made again when there is some. */
#define PIPELINE_ERR_NO_MEMORY -13

/** The operating system has refused a call; `pipeline_last_error` has its message. */
#define PIPELINE_ERR_SYSTEM -14

/** The token was never issued, or its attempt has already been answered. */
#define PIPELINE_ERR_UNKNOWN_TOKEN -15

/** The configuration field, or the definition of a kind, cannot change while the pipeline runs. */
#define PIPELINE_ERR_FIXED -16

/** The storage has failed; `pipeline_last_error` has its message. */
#define PIPELINE_ERR_STORAGE -17

/** An internal error of this library was caught. Please report it. */
#define PIPELINE_ERR_INTERNAL -18

/** This build does not have the feature. */
#define PIPELINE_ERR_UNSUPPORTED -19

/** There is no object with that index or name. */
#define PIPELINE_ERR_NOT_FOUND -20

/** The call is out of order: a commit without a reservation, for example. */
#define PIPELINE_ERR_STATE -21

/**
 * Returns the detail of this thread's last call that failed: the field, the limit and the value. It is never
 * NULL, and empty before the first failure. The text is in a buffer of the thread, and valid until the
 * thread's next call that fails. A capture that is dropped or refused for lack of space does not change it.
 * Any thread. Since 0.1.0.
 */
const char *pipeline_last_error(void);

/** Returns a sentence for a status. It is static and never NULL. Any thread, at any time. Since 0.1.0. */
const char *pipeline_status_message(int32_t status);

/* ---- 1. Start ------------------------------------------------------------------------------------------ */

/** The version of this header: major * 1000000 + minor * 1000 + patch. */
#define PIPELINE_VERSION 1000

/**
 * Returns the version of the library at run time, in the form of `PIPELINE_VERSION`. Any thread, at any time,
 * callbacks and signal handlers included. Since 0.1.0.
 */
uint32_t pipeline_version(void);

/**
 * Returns the version of the library at run time as a text, such as "0.1.0". The text is static. Any thread,
 * at any time. Since 0.1.0.
 */
const char *pipeline_version_string(void);

/** The highest number of writers of a pipeline. */
#define PIPELINE_MAX_WRITERS 256

/** `pipeline_config_t.overflow`: the new event is dropped, and counted as `dropped_full`. */
#define PIPELINE_OVERFLOW_DROP_NEWEST 0

/**
 * `pipeline_config_t.overflow`: the new event overwrites the oldest one that no writer has claimed, which is
 * counted as `overwritten`. If the oldest events in the ring buffer are claimed, the new event is dropped.
 */
#define PIPELINE_OVERFLOW_DROP_OLDEST 1

/**
 * `pipeline_config_t.overflow`: the capture waits for space, for at most `block_timeout_us`. Then the new
 * event is dropped. Captures on the library's own threads never wait.
 */
#define PIPELINE_OVERFLOW_BLOCK 2

/**
 * `pipeline_config_t.ordering`: batches may be stored in parallel, and a batch may have events of several
 * ring buffers.
 */
#define PIPELINE_ORDERING_NONE 0

/**
 * `pipeline_config_t.ordering`: the events of one ring buffer reach the storage in their order, one batch at
 * a time.
 */
#define PIPELINE_ORDERING_PER_PRODUCER 1

/**
 * `pipeline_config_t.clock`: the processor's counter stamps events where it is invariant and the kernel keeps
 * its own time by it (Linux: the clock source is `tsc` or `arch_sys_counter`), else the clock does.
 */
#define PIPELINE_CLOCK_AUTO 0

/** `pipeline_config_t.clock`, `pipeline_metrics_t.clock`: `clock_gettime(CLOCK_MONOTONIC)` stamps events. */
#define PIPELINE_CLOCK_MONOTONIC 1

/**
 * `pipeline_config_t.clock`, `pipeline_metrics_t.clock`: the processor's counter stamps events, at half the
 * price. What a storage sees is CLOCK_MONOTONIC all the same, converted by the writer.
 */
#define PIPELINE_CLOCK_TICKS 2

/** `pipeline_config_t.writer_class`: the class of the thread that starts the writer. */
#define PIPELINE_SCHED_INHERIT 0

/** `pipeline_config_t.writer_class`: `SCHED_OTHER`, the usual class. */
#define PIPELINE_SCHED_OTHER 1

/**
 * `pipeline_config_t.writer_class`: `SCHED_BATCH`. A woken writer takes a free processor or waits. It does
 * not preempt the thread whose capture has woken it.
 */
#define PIPELINE_SCHED_BATCH 2

/**
 * `pipeline_config_t.writer_class`: `SCHED_IDLE`. Writers use only processor time that no other thread wants.
 */
#define PIPELINE_SCHED_IDLE 3

/**
 * `pipeline_config_t.writer_class`: `SCHED_FIFO`, with `writer_priority`. It needs a privilege
 * (`RLIMIT_RTPRIO` or `CAP_SYS_NICE`). Processes and threads that the storage's functions start do not
 * inherit it.
 */
#define PIPELINE_SCHED_FIFO 4

/** `pipeline_config_t.writer_class`: `SCHED_RR`, otherwise as `PIPELINE_SCHED_FIFO`. */
#define PIPELINE_SCHED_RR 5

/**
 * How a pipeline works. `pipeline_config_init` writes every default. 0 does not stand for the default, unless
 * the description of the field says so. A field marked "Fixed" cannot change while the pipeline runs;
 * `pipeline_update` changes the others.
 */
struct pipeline_config_t {
    /** `sizeof(pipeline_config_t)` in the caller's program. The caller sets it. */
    uint32_t struct_size;
    /** Must be 0. */
    uint32_t flags;
    /**
     * The pipeline's name in thread names and messages, at most 255 bytes. The text is copied. NULL means
     * "pipeline". Fixed.
     */
    const char *name;
    /**
     * The number of writers at the start, 0 to `PIPELINE_MAX_WRITERS`. Default 1. With 0, events are only
     * buffered. `pipeline_scale` changes the number later. If `max_writers` is not 0, the number is first
     * brought into the range from `min_writers` to `max_writers`.
     */
    uint32_t writers;
    /**
     * The lowest number of writers under autoscaling, 0 to `max_writers`. Default 0. With 0, an idle pipeline
     * has no writer, and the first event may wait for `poll_interval_ms` (at most 100 ms) until one is
     * started.
     */
    uint32_t min_writers;
    /**
     * The highest number of writers under autoscaling, 0 to `PIPELINE_MAX_WRITERS`. Default 0. If it is
     * higher than `min_writers`, the pipeline chooses the number between the two, until `pipeline_scale` sets
     * both to 0. If the two are equal, the number is constant. If both are 0, there is no autoscaling.
     *
     * The number grows, at most doubling at each step, while events wait and the writers spend their time in
     * calls of the storage. It does not grow while the pipeline is paused or while every attempt of the
     * storage fails. It does not grow beyond the calls that can run at once: one if the storage is not
     * `PIPELINE_STORAGE_CONCURRENT`, at most `max_in_flight`, and with `PIPELINE_ORDERING_PER_PRODUCER` at
     * most one for each ring buffer that holds events. The number shrinks by one at a time, after a second in
     * which one writer less would have been enough. `pipeline_metrics_t` shows the last decision.
     */
    uint32_t max_writers;
    /**
     * A batch is closed when it has this number of events, 1 to 65536. Default 512. It does not apply to
     * storages of this library that take the records as they lie in the ring buffers; the storage's own
     * description says so.
     */
    uint32_t batch_size;
    /**
     * A batch is closed when its payloads have this number of bytes, 1 to 2^32. Default 262144. An event that
     * is larger gets a batch of its own. A storage that takes the records as they lie counts the bytes of
     * whole records, and may ask for smaller batches.
     */
    uint64_t batch_bytes;
    /**
     * Microseconds that a writer waits for a batch to fill, 0 to 60000000. Default 0: the writer takes the
     * events that are there. It takes events with `PIPELINE_EVENT_PRIORITY` at once, whatever the value.
     */
    uint64_t linger_us;
    /**
     * Milliseconds after which an idle writer looks for events by itself, 1 to 60000. Default 1000. This is
     * only an upper bound, because captures wake the writers.
     */
    uint64_t poll_interval_ms;
    /**
     * The number of batches that may be claimed and not yet settled, 1 to 4096. Default 64. At most two of
     * them are of recovered events, and one place is never theirs; where that leaves them none, one batch of
     * recovered events comes in addition.
     */
    uint32_t max_in_flight;
    /**
     * The number of batches that may be in doubt (see `storage_deadline_ms`) in addition to those in flight,
     * 0 to 4096. Default 16. It also limits how many writers are replaced that are stuck in a call without a
     * batch.
     */
    uint32_t max_in_doubt;
    /** The size of each ring buffer in bytes, a power of two from 4096 to 2^32. Default 1048576. Fixed. */
    uint64_t ring_bytes;
    /**
     * The number of ring buffers for capturing threads and producers, 1 to 65536. Default 64. Threads beyond
     * this number share one more ring buffer. Fixed.
     */
    uint32_t max_rings;
    /**
     * The number of additional ring buffers, 0 to 4096. Default 8. Such a ring buffer replaces one that a
     * batch has pinned for longer than `storage_deadline_ms`. Fixed.
     */
    uint32_t max_retired_rings;
    /**
     * The largest payload in bytes, 1 to `ring_bytes`/4 - 64. 0 stands for the default: 65536, or that limit
     * if it is smaller. Fixed.
     */
    uint64_t max_event_bytes;
    /**
     * What a capture does when its ring buffer is full, `PIPELINE_OVERFLOW_...`. Default
     * `PIPELINE_OVERFLOW_DROP_NEWEST`.
     */
    uint32_t overflow;
    /**
     * The order in which events reach the storage, `PIPELINE_ORDERING_...`. Default `PIPELINE_ORDERING_NONE`.
     * Fixed.
     */
    uint32_t ordering;
    /**
     * With `PIPELINE_OVERFLOW_BLOCK`: the longest time in microseconds that a capture waits for space, 0 to a
     * day (86400000000). Default 100000.
     */
    uint64_t block_timeout_us;
    /**
     * The number of attempts that a batch gets in all, at least 1. Default 100. With the other defaults,
     * `retry_max_age_ms` is reached first.
     */
    uint32_t retry_limit;
    /** Must be 0. */
    uint32_t reserved;
    /**
     * Microseconds between the first attempt and the second, 0 to a day (86400000000). Default 1000. The time
     * is doubled from one attempt to the next. Each wait is shortened at random, by up to half.
     */
    uint64_t retry_initial_us;
    /** The longest time in microseconds between two attempts, 0 to a day (86400000000). Default 1000000. */
    uint64_t retry_max_us;
    /**
     * The time in milliseconds after its first attempt from which a failed attempt of a batch is its last
     * one, 0 to 18446744073709. Default 60000.
     */
    uint64_t retry_max_age_ms;
    /**
     * Milliseconds after which a call of the storage, or the answer to a pending batch, is late, 1 to a day
     * (86400000). Default 30000. It applies to every function of the storage that a writer calls. From then
     * on `pipeline_health` reports `PIPELINE_HEALTH_STUCK` and names the function and the writer. If the
     * writer has a batch, the batch is in doubt. If the storage is `PIPELINE_STORAGE_CONCURRENT`, another
     * writer is started in its place, within the limit `max_in_doubt`. The call is not interrupted, and its
     * result counts when it returns.
     */
    uint64_t storage_deadline_ms;
    /**
     * Milliseconds that the exit of the process, and the destructor of the C++ wrapper, wait for a pipeline
     * that was not closed, 0 to a day (86400000). Default 1000. The exit waits for at most 200 milliseconds
     * if there is nothing to store. It gives up when every attempt of the storage has failed for 200
     * milliseconds and none is under way. It does not wait if nothing was ever captured and the writers are
     * idle.
     */
    uint64_t exit_timeout_ms;
    /**
     * The directory for the file that the ring buffers lie in, so that captured events outlive the process.
     * The text is copied. NULL means that they lie in memory. Fixed.
     *
     * `pipeline_start` makes the directory, with the permissions 0700, if it is not there; its parent must
     * be. It must belong to the process's user, and others may not write to it. It must be on tmpfs (such as
     * /dev/shm) or, with `ring_disk`, on ext4 or XFS. The whole file is allocated at the start: (`max_rings`
     * + `max_retired_rings` + 1) * (`ring_bytes` + `priority_ring_bytes`) bytes, and some 1.2 MB. If the file
     * system has less space, `pipeline_start` returns `PIPELINE_ERR_STORAGE`, and `pipeline_last_error` tells
     * which `max_rings` would fit.
     *
     * A pipeline that was closed with all its events stored deletes the file. Otherwise the file stays, with
     * every event that the storage has not acknowledged, and the next pipeline that starts on the directory
     * stores them (`recovered` of `pipeline_metrics_t`), in the background and under the old identities. No
     * other process may truncate the file while the pipeline runs. A storage with a `release` must set
     * `PIPELINE_STORAGE_RELEASE_MARKED`: events that are handles do not outlive the process.
     */
    const char *ring_dir;
    /**
     * The number of failed attempts in a row that open the circuit, counted over all batches, with no event
     * stored or rejected in between. Default 16. 0 means never. While the circuit is open, batches wait.
     * Waiting does not use up their `retry_limit`, but `retry_max_age_ms` goes on. The storage gets one batch
     * at a time, after a pause that doubles up to `retry_max_us`. The first batch that is stored or rejected
     * closes the circuit, and all batches go on.
     */
    uint32_t breaker_failures;
    /**
     * 1: `ring_dir` may be on a disk, with ext4 or XFS. The kernel writes the ring buffers to it from time to
     * time, and a capture may then have to wait for some milliseconds. Default 0. Fixed.
     */
    uint32_t ring_disk;
    /**
     * The clock that stamps events without a time of their own, `PIPELINE_CLOCK_...`. Default
     * `PIPELINE_CLOCK_AUTO`. Fixed. With `PIPELINE_CLOCK_TICKS`, `pipeline_start` returns
     * `PIPELINE_ERR_UNSUPPORTED` if the processor's counter is not invariant or cannot be read.
     * `pipeline_metrics_t` shows the clock in use.
     */
    uint32_t clock;
    /**
     * The scheduling class of the writers' threads, `PIPELINE_SCHED_...`. Default `PIPELINE_SCHED_INHERIT`.
     * Fixed.
     *
     * `pipeline_start` tries this field and the next three on a thread of its own. If the system refuses one
     * of them, `pipeline_start` returns `PIPELINE_ERR_SYSTEM`, and `pipeline_last_error` names the field. If
     * the system refuses one to a writer later, the writer works without it, and `pipeline_health` reports
     * `PIPELINE_HEALTH_PLACEMENT`.
     *
     * Only the writers' threads are changed. Each writer changes its own thread before it calls the start
     * hook (see `pipeline_thread_hooks`). That may be after `pipeline_start` has returned. So a program that
     * is about to give up privileges waits until `pipeline_writer_metrics` shows no writer in the state
     * `PIPELINE_WRITER_OPENING`.
     */
    uint32_t writer_class;
    /**
     * The priority of the writers' threads: 1 to 99 with `PIPELINE_SCHED_FIFO` and `PIPELINE_SCHED_RR`, else
     * 0. Default 0. Fixed.
     */
    uint32_t writer_priority;
    /**
     * The nice value of the writers' threads, -20 to 19. Default 0: that of the thread that starts the
     * writer. It must be 0 with `PIPELINE_SCHED_IDLE`, `PIPELINE_SCHED_FIFO` and `PIPELINE_SCHED_RR`. Fixed.
     */
    int32_t writer_nice;
    /**
     * The processors that the writers may use: a list of numbers and ranges as `taskset` takes it, such as
     * "0-3,6". The text is copied. Default NULL: those of the thread that starts the writer. Fixed.
     */
    const char *writer_cpus;
    /**
     * The time slice in microseconds that the writers' threads ask of the scheduler, 100 to 100000. Default
     * 0: the slice of the thread that starts the writer. Fixed.
     *
     * A thread with a short slice gets the processor sooner, and for a shorter time; its share of the
     * processor is the same. This matters when no other processor is free: a woken writer then preempts the
     * capturing thread at once, usually for some microseconds. With the default, the writer may have to wait
     * until the slice of the capturing thread is over, which takes milliseconds.
     *
     * The slice is a request. Linux 6.12 and later follow it, for writers under `SCHED_OTHER`; earlier
     * versions ignore it without an error. Threads that the storage's functions start inherit the slice. The
     * writers set it by `sched_setattr(2)`. Some sandboxes kill a process for this call; with 0 it is not
     * made.
     */
    uint32_t writer_slice_us;
    /**
     * The percentage of a ring buffer's size, 1 to 100, from which on a fuller ring buffer raises the
     * pressure at once (`pipeline_pressure`). Default 75. Below it, writers and the supervisor measure the
     * pressure.
     */
    uint32_t watermark_percent;
    /**
     * The age of the oldest event that is not settled, in milliseconds, at which the pressure is 100, 1 to a
     * day (86400000). Default 5000.
     */
    uint64_t pressure_age_ms;
    /**
     * Adaptive sampling: the number of events that a kept one may stand for at most, a power of two up to
     * 1048576. 0 and 1 mean that nothing is sampled out. Default 0.
     *
     * Sampling begins when a capture would fill its ring buffer beyond `watermark_percent`. From then on the
     * events of a trace (`correlation_id`) are kept or dropped as a whole, and kept ones have a `weight`.
     * Events without a trace are kept or dropped one by one. A capture that drops its event for this returns
     * `PIPELINE_SAMPLED`. Events with `PIPELINE_EVENT_PRIORITY` are always kept. With
     * `PIPELINE_OVERFLOW_DROP_OLDEST`, a full ring buffer is no reason to sample.
     */
    uint32_t sampling_max_weight;
    /**
     * The number of traces whose weight is remembered while events are sampled, 64 to 1048576. Default 8192.
     * Each takes 9 bytes, from the moment at which sampling is first allowed. Fixed.
     */
    uint32_t sampling_traces;
    /**
     * The time in milliseconds without an event after which a sampled trace is forgotten, 1 to a day
     * (86400000). Sampling ends when it has dropped no event for this time. Default 10000.
     */
    uint64_t sampling_hold_ms;
    /**
     * Which traces sampling keeps depends on this number and on their id alone. Pipelines with the same
     * number keep the same traces. Default 0. Fixed.
     */
    uint64_t sampling_seed;
    /**
     * The pipeline's share of the storage calls that `pipeline_limit_calls` permits, 1 to 1000. Default 1. It
     * has no effect without such a limit.
     */
    uint32_t share;
    /** Must be 0. */
    uint32_t reserved3;
    /**
     * The size in bytes of the second ring buffer that each thread and producer has, for events with
     * `PIPELINE_EVENT_PRIORITY`: 0, or a power of two from 4096 to 2^32. Default 65536. It is never larger
     * than `ring_bytes`; a higher value counts as `ring_bytes`. It is mapped together with the first one, at
     * the first capture. Writers store its events before those of the others. An event whose payload is
     * larger than a quarter of it - 64 goes to the first ring buffer all the same. With 0 there is no second
     * ring buffer, and events with the flag are events like all others. Fixed.
     */
    uint64_t priority_ring_bytes;
};

/**
 * Writes every default to `config` and sets its `struct_size`. Pass `sizeof(pipeline_config_t)` as
 * `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `config` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_config_init(pipeline_config_t *config, size_t struct_size);

/**
 * Starts a pipeline: its bookkeeping of ring buffers, its writers and its supervisor. `config` may be NULL:
 * all defaults. `storage` is copied.
 *
 * The pipeline owns the storage as soon as it has accepted the storage's `struct_size`. From then on,
 * `destroy` of the storage runs exactly once, also if the start fails. The first start of a process registers
 * an exit handler. The handler drains the pipelines that were not closed, each for at most its
 * `exit_timeout_ms`.
 *
 * The first start takes some ten milliseconds if the process has several threads by then, because the kernel
 * registers such a process for `membarrier(2)` more slowly; with one thread it takes about one.
 *
 * End the pipeline by `pipeline_close` and `pipeline_destroy`, or by `pipeline_abandon`. Any thread,
 * callbacks included; not a signal handler. `*out` is written only on success. Errors: `PIPELINE_ERR_NULL`,
 * `_VERSION`, `_INVALID`, `_UNSUPPORTED`, `_NO_MEMORY`, `_SYSTEM`. Since 0.1.0.
 *
 * Requires: `config` and `storage` are NULL or as their `struct_size` says; `out` is NULL or writable.
 */
int32_t pipeline_start(const pipeline_config_t *config,
                       const pipeline_storage_t *storage,
                       pipeline_t **out);

/* ---- 2. Capture ---------------------------------------------------------------------------------------- */

/** A caller's event must have a `kind` below this. The kinds from here on are the library's own. */
#define PIPELINE_KIND_RESERVED 0xFFFF0000

/**
 * Captures an event into the ring buffer of the calling thread. The payload is copied. The thread's first
 * capture into a pipeline makes its ring buffer. Later captures allocate nothing and take no lock, and may be
 * made from a signal handler.
 *
 * A signal handler that interrupts a capture must return to it. If it leaves by `siglongjmp`, the thread's
 * ring buffer stays in use: captures of that thread return `PIPELINE_ERR_BUSY` until the thread ends,
 * `pipeline_close` returns `PIPELINE_ERR_TIMEOUT` after it has stored everything else, and `pipeline_destroy`
 * returns `PIPELINE_ERR_BUSY`.
 *
 * `kind` is in the caller's own numbering, below `PIPELINE_KIND_RESERVED`. `data` may be NULL if `len` is 0.
 * `len` is at most `max_event_bytes`.
 *
 * Any thread, callbacks included, where it never waits. It returns `PIPELINE_OK` if the event is captured,
 * and `PIPELINE_ERR_FULL` if it is dropped and counted. After `PIPELINE_ERR_TOO_LARGE`, `_CLOSED`,
 * `_INVALID`, `_BUSY` or `_NO_RING` it is refused and counted. After `PIPELINE_ERR_FORKED` or
 * `PIPELINE_ERR_NULL` (no pipeline) it is not offered, and not counted. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `data` points to `len` readable bytes.
 */
int32_t pipeline_capture(const pipeline_t *p, uint32_t kind, const void *data, size_t len);

/**
 * `pipeline_event_t.flags`: the event matters more than others. It is captured into a ring buffer of its own
 * thread or producer that is for such events alone, so it finds room where the others have filled theirs, and
 * it is stored before them. See `pipeline_config_t.priority_ring_bytes`.
 */
#define PIPELINE_EVENT_PRIORITY 1

/**
 * `pipeline_event_t.flags`: `timestamp_ns` is the caller's; otherwise the event is stamped at its capture.
 */
#define PIPELINE_EVENT_OWN_TIME 2

/**
 * `pipeline_event_t.flags`: the payload is a handle that the storage's `release` gives back. It only matters
 * to a storage with `PIPELINE_STORAGE_RELEASE_MARKED`.
 */
#define PIPELINE_EVENT_RELEASE 4

/**
 * `pipeline_event_t.flags`: the payload has a form that only the program and its storage understand, such as
 * an address. Rules see its length, but neither compare its bytes nor redact them.
 */
#define PIPELINE_EVENT_OPAQUE 8

/**
 * `pipeline_event_view_t.flags`: sampling keeps the event, and may have dropped earlier events of its trace.
 * Set by the library.
 */
#define PIPELINE_EVENT_PARTIAL (1 << 8)

/** `pipeline_event_view_t.flags`: a transform has rewritten the event. Captures must not set it. */
#define PIPELINE_EVENT_TRANSFORMED (1 << 9)

/**
 * `pipeline_event_view_t.flags`: a rule or a transform has given the event the tag 1. Captures must not set
 * it.
 */
#define PIPELINE_EVENT_TAG_1 (1 << 16)

/** `pipeline_event_view_t.flags`: the tag 2. */
#define PIPELINE_EVENT_TAG_2 (1 << 17)

/** `pipeline_event_view_t.flags`: the tag 3. */
#define PIPELINE_EVENT_TAG_3 (1 << 18)

/** `pipeline_event_view_t.flags`: the tag 4. */
#define PIPELINE_EVENT_TAG_4 (1 << 19)

/** `pipeline_event_view_t.flags`: the tag 5. */
#define PIPELINE_EVENT_TAG_5 (1 << 20)

/** `pipeline_event_view_t.flags`: the tag 6. */
#define PIPELINE_EVENT_TAG_6 (1 << 21)

/** `pipeline_event_view_t.flags`: the tag 7. */
#define PIPELINE_EVENT_TAG_7 (1 << 22)

/** `pipeline_event_view_t.flags`: the tag 8. */
#define PIPELINE_EVENT_TAG_8 (1 << 23)

/** What a caller offers. */
struct pipeline_event_t {
    /** `sizeof(pipeline_event_t)` of the caller. */
    uint32_t struct_size;
    /** The event's kind, in the caller's own numbering; below `PIPELINE_KIND_RESERVED`. */
    uint32_t kind;
    /** Nanoseconds; read only with `PIPELINE_EVENT_OWN_TIME`. */
    uint64_t timestamp_ns;
    /** The trace that the event belongs to; 0: none. */
    uint64_t correlation_id;
    /** The place in the program that the event came from (ElixirScope's `ast_node_id`); 0: none. */
    uint64_t node_id;
    /** `PIPELINE_EVENT_...`, or 0. */
    uint32_t flags;
    /** Must be 0. */
    uint32_t reserved;
    /** The payload; copied during the call. NULL only if `len` is 0. */
    const void *data;
    /** The payload's length in bytes, at most `max_event_bytes`. */
    size_t len;
};

/**
 * As `pipeline_capture`, for an event with a time, a correlation id, a node id or flags. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `event` as its `struct_size` says, its `data` to `len` readable bytes.
 */
int32_t pipeline_capture_event(const pipeline_t *p, const pipeline_event_t *event);

/**
 * Captures `count` events in their order, as `pipeline_capture_event` does one by one, at a lower cost. The
 * events lie in an array. All have the same `struct_size`, and each begins `struct_size` bytes after the one
 * before it.
 *
 * It stops at the first event that is refused, or dropped because there is no room, counts that one, and
 * returns its status. (If the event has another `struct_size` than the first, that is
 * `PIPELINE_ERR_VERSION`.) The events behind it are not offered: they are in no count, and may be offered
 * again. Events that are sampled out do not stop it. `*captured` is the number of events before the one at
 * which it stopped, whatever the call returns: those captured and those sampled out. `captured` may be NULL.
 * `events` may be NULL if `count` is 0.
 *
 * Events of one call may have the same time. It never goes back. Writers may see the first events before the
 * last ones are captured.
 *
 * Any thread, callbacks included. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `events` as said, their `data` to `len` readable bytes; `captured` is NULL
 * or writable.
 */
int32_t pipeline_capture_many(const pipeline_t *p,
                              const pipeline_event_t *events,
                              size_t count,
                              size_t *captured);

/**
 * Gives a kind a name, for storages that keep names. `name` has at most 255 bytes and is copied. When the
 * call returns, the storage can know the name before it gets any later event. Of several names of one kind
 * the last one counts. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_INVALID` (a reserved
 * kind, or a name that is too long); `_FULL` (the storage has `PIPELINE_STORAGE_META`, and too many names
 * wait to be stored); `_LIMIT` (65536 names and definitions, of 16 MiB in all, are the most in the life of a
 * pipeline; a name that a kind has already is not counted again); `_NO_MEMORY`; `_CLOSED`; `_FORKED`. Since
 * 0.1.0.
 *
 * Requires: `p` is NULL or valid; `name` is NULL or NUL-terminated.
 */
int32_t pipeline_kind_name(pipeline_t *p, uint32_t kind, const char *name);

/**
 * Sets an attribute of the pipeline: what is the same for all of its events, such as the host, the service or
 * the version. It is kept once and not in each event: the SQLite storage has it in the table
 * `run_attributes`, a journal among its facts, and a storage with `PIPELINE_STORAGE_META` gets an event of
 * the kind `PIPELINE_KIND_ATTRIBUTE`. When the call returns, the storage can know the attribute before it
 * gets any later event. Of several values of one attribute the last one counts, for earlier events too.
 *
 * `name` has 1 to 63 bytes: a letter, then letters, digits, `_`, `.` and `-`. `value` has at most 1024 bytes
 * of UTF-8. Both are copied. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_INVALID` (the
 * name or the value); `_LIMIT` (64 attributes are the most of a pipeline; with the names and definitions of
 * kinds they share the limits of `pipeline_kind_name`); `_FULL` (the storage has `PIPELINE_STORAGE_META`, and
 * too many of the library's own events wait to be stored); `_NO_MEMORY`; `_CLOSED`; `_FORKED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `name` and `value` are NULL or NUL-terminated.
 */
int32_t pipeline_attribute(pipeline_t *p, const char *name, const char *value);

/* A kind can be defined: then storages and tools show the fields of its payload. */

/** `pipeline_kind_definition_t.role`: something happened at the event's time. The default. */
#define PIPELINE_ROLE_INSTANT 0

/**
 * `pipeline_kind_definition_t.role`: a span begins. It ends with the next event of the kind `pairs_with` of
 * the same thread (where the kinds have key fields: with the same key).
 */
#define PIPELINE_ROLE_BEGIN 1

/** `pipeline_kind_definition_t.role`: a span ends. It began with an event of the kind `pairs_with`. */
#define PIPELINE_ROLE_END 2

/**
 * `pipeline_kind_definition_t.role`: a whole span. It ends at the event's time, and has lasted for the
 * nanoseconds in `duration_field`.
 */
#define PIPELINE_ROLE_COMPLETE 3

/**
 * `pipeline_kind_definition_t.role`: the fields of integers and floats are measured values. With a key field,
 * each key is a series of its own.
 */
#define PIPELINE_ROLE_COUNTER 4

/**
 * `pipeline_kind_definition_t.role`: a step of something that moves from thread to thread. The steps of one
 * flow have the same key or, without a key field, the same correlation id.
 */
#define PIPELINE_ROLE_FLOW 5

/** `pipeline_kind_definition_t.role`: a message. */
#define PIPELINE_ROLE_LOG 6

/**
 * `pipeline_field_t.type`: an unsigned integer of 1 byte. Numbers are little-endian, and need not be aligned.
 */
#define PIPELINE_TYPE_U8 1

/** `pipeline_field_t.type`: an unsigned integer of 2 bytes. */
#define PIPELINE_TYPE_U16 2

/** `pipeline_field_t.type`: an unsigned integer of 4 bytes. */
#define PIPELINE_TYPE_U32 3

/** `pipeline_field_t.type`: an unsigned integer of 8 bytes. */
#define PIPELINE_TYPE_U64 4

/** `pipeline_field_t.type`: a signed integer of 1 byte. */
#define PIPELINE_TYPE_I8 5

/** `pipeline_field_t.type`: a signed integer of 2 bytes. */
#define PIPELINE_TYPE_I16 6

/** `pipeline_field_t.type`: a signed integer of 4 bytes. */
#define PIPELINE_TYPE_I32 7

/** `pipeline_field_t.type`: a signed integer of 8 bytes. */
#define PIPELINE_TYPE_I64 8

/** `pipeline_field_t.type`: a float of 4 bytes. */
#define PIPELINE_TYPE_F32 9

/** `pipeline_field_t.type`: a float of 8 bytes. */
#define PIPELINE_TYPE_F64 10

/** `pipeline_field_t.type`: a byte; 0 is false, all else is true. */
#define PIPELINE_TYPE_BOOL 11

/** `pipeline_field_t.type`: an address, 8 bytes. */
#define PIPELINE_TYPE_ADDRESS 12

/** `pipeline_field_t.type`: a text in UTF-8. It ends before its first NUL, or with the field. */
#define PIPELINE_TYPE_STRING 13

/** `pipeline_field_t.type`: bytes. */
#define PIPELINE_TYPE_BYTES 14

/** `pipeline_field_t.type`: an integer of the type `integer` whose values have names. */
#define PIPELINE_TYPE_ENUM 15

/** `pipeline_field_t.hint`: the value is shown as its type usually is. The default. */
#define PIPELINE_HINT_NONE 0

/** `pipeline_field_t.hint`: a number, an address or bytes in hexadecimal. */
#define PIPELINE_HINT_HEXADECIMAL 1

/** `pipeline_field_t.hint`: a number of bytes, shown in KiB, MiB and so on. */
#define PIPELINE_HINT_BYTES 2

/** `pipeline_field_t.hint`: a number of nanoseconds, shown in us, ms or s. */
#define PIPELINE_HINT_NANOSECONDS 3

/**
 * `pipeline_field_t.length`: all bytes of the payload from `offset` on. Only for the last field, and only for
 * a string or bytes.
 */
#define PIPELINE_LENGTH_REST 0xFFFFFFFF
/** `pipeline_kind_definition_t.pairs_with`: no kind. */
#define PIPELINE_KIND_NONE 0xFFFFFFFF
/** A value of an enum and its name. */
struct pipeline_enum_value_t {
    /** The value; that of a `PIPELINE_TYPE_U64` above the largest `int64_t` is cast to `int64_t`. */
    int64_t value;
    /** Its name: 1 to 63 bytes of UTF-8 without control characters. */
    const char *name;
};

/**
 * A field of a payload. In an array, each is `pipeline_kind_definition_t.field_size` bytes behind the one
 * before.
 */
struct pipeline_field_t {
    /**
     * Its name: a letter, then letters, digits and underscores, at most 63 bytes. Two names of a kind differ
     * by more than case.
     */
    const char *name;
    /** `PIPELINE_TYPE_...`. */
    uint32_t type;
    /**
     * For a `PIPELINE_TYPE_ENUM`, the type of its integer: `PIPELINE_TYPE_U8` to `PIPELINE_TYPE_I64`.
     * Otherwise 0.
     */
    uint32_t integer;
    /** The offset of its first byte in the payload. */
    uint32_t offset;
    /**
     * The number of its bytes, or `PIPELINE_LENGTH_REST`. For all types but strings and bytes, 0 stands for
     * the size of the type.
     */
    uint32_t length;
    /** The unit of its value: at most 31 bytes of UTF-8 without control characters. NULL: none. */
    const char *unit;
    /** How its value is shown to people: `PIPELINE_HINT_...`. */
    uint32_t hint;
    /** The number of `values`; 0 for all types but `PIPELINE_TYPE_ENUM`. */
    uint32_t value_count;
    /** The values of an enum, one behind the other. NULL if there are none. */
    const pipeline_enum_value_t *values;
};

/**
 * A `pipeline_field_t` for a member of a struct whose values are payloads: `struct_type` is the struct,
 * `field_type` is `PIPELINE_TYPE_...`. For the initializer of an array.
 */
#define PIPELINE_FIELD(struct_type, member, field_type) \
    PIPELINE_FIELD_SHOWN(struct_type, member, field_type, PIPELINE_HINT_NONE, NULL)
/** As PIPELINE_FIELD, with a `PIPELINE_HINT_...` and a unit (or NULL). */
#define PIPELINE_FIELD_SHOWN(struct_type, member, field_type, hint, unit) \
    { #member, (field_type), 0, (uint32_t)offsetof(struct_type, member), \
      (uint32_t)sizeof(((struct_type *)0)->member), (unit), (hint), 0, NULL }
/** As PIPELINE_FIELD, for an enum: the type of its integer, and an array of `pipeline_enum_value_t`. */
#define PIPELINE_FIELD_ENUM(struct_type, member, integer_type, value_array) \
    { #member, PIPELINE_TYPE_ENUM, (integer_type), (uint32_t)offsetof(struct_type, member), \
      (uint32_t)sizeof(((struct_type *)0)->member), NULL, PIPELINE_HINT_NONE, \
      (uint32_t)(sizeof(value_array) / sizeof((value_array)[0])), (value_array) }
/** As PIPELINE_FIELD, for the last member, a string or bytes that reach to the end of the payload. */
#define PIPELINE_FIELD_REST(struct_type, member, field_type) \
    { #member, (field_type), 0, (uint32_t)offsetof(struct_type, member), PIPELINE_LENGTH_REST, NULL, \
      PIPELINE_HINT_NONE, 0, NULL }
/** Sets the fields of a `pipeline_kind_definition_t` to those of an array. */
#define PIPELINE_KIND_FIELDS(definition, field_array) \
    ((definition)->fields = (field_array), \
     (definition)->field_size = (uint32_t)sizeof((field_array)[0]), \
     (definition)->field_count = (uint32_t)(sizeof(field_array) / sizeof((field_array)[0])))
/**
 * The definition of a kind. `pipeline_kind_definition_init` writes every default. Only `kind` and `name` must
 * be set.
 */
struct pipeline_kind_definition_t {
    /** `sizeof(pipeline_kind_definition_t)` of the caller. */
    uint32_t struct_size;
    /** The kind; below `PIPELINE_KIND_RESERVED`. */
    uint32_t kind;
    /**
     * Its name: a letter, then letters, digits and underscores, at most 63 bytes. No other defined kind of
     * the pipeline has it.
     */
    const char *name;
    /**
     * A category, by which viewers group kinds: at most 63 bytes of UTF-8 without control characters. Default
     * NULL: none.
     */
    const char *category;
    /** What an event of the kind says about the time: `PIPELINE_ROLE_...`. */
    uint32_t role;
    /**
     * For `PIPELINE_ROLE_BEGIN` and `_END`: the kind of the other end, whose definition names this one.
     * Default `PIPELINE_KIND_NONE`.
     */
    uint32_t pairs_with;
    /** The name of the field that tells one series, flow or pair from another. Default NULL: none. */
    const char *key_field;
    /**
     * For `PIPELINE_ROLE_COMPLETE`: the name of the field with the duration in nanoseconds, an integer.
     * Default NULL: none.
     */
    const char *duration_field;
    /** The fields. NULL if there are none. */
    const pipeline_field_t *fields;
    /** The number of fields, at most 64. */
    uint32_t field_count;
    /** `sizeof(pipeline_field_t)` of the caller; 0 if there are no fields. */
    uint32_t field_size;
    /**
     * The size of the payload, without what the field of `PIPELINE_LENGTH_REST` has: fields lie within it.
     * For a struct its `sizeof`, because it may have padding behind its last member. Default 0: up to the end
     * of the last field.
     */
    uint32_t payload_size;
    /** Must be 0. */
    uint32_t reserved;
};

/**
 * Writes every default to `definition` and sets its `struct_size`. Pass `sizeof(pipeline_kind_definition_t)`
 * as `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `definition` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_kind_definition_init(pipeline_kind_definition_t *definition, size_t struct_size);

/**
 * Defines a kind: its name, what its events say about the time, and the fields of its payload. Captures stay
 * as they are: the payload is the caller's bytes, and is not checked. The definition goes to storages that
 * keep facts (`PIPELINE_STORAGE_META`), which can then show the fields: the SQLite storage makes a view
 * `kind_NAME` with a column for each. It also gives the kind its name, as `pipeline_kind_name` does.
 *
 * It holds for all events of the kind, also for those that were captured before. A storage may see some of
 * them before it sees the definition. The definition cannot change while the pipeline runs: to define the
 * kind again with the same layout is `PIPELINE_OK` and changes nothing, also if category, units or hints
 * differ; with another layout it is `PIPELINE_ERR_FIXED`, and `pipeline_last_error` names the first field
 * that differs. At most 1,024 kinds can be defined, and a definition may take 16,384 bytes in all.
 *
 * `definition` and what it points to are copied during the call. Any thread, callbacks included. Errors:
 * `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID` (`pipeline_last_error` names the field, the limit and the
 * value); `_FIXED`; `_LIMIT`; `_FULL` (too many names and definitions wait to be stored); `_NO_MEMORY`;
 * `_CLOSED`; `_FORKED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `definition` is NULL or as its `struct_size` says, with `field_count`
 * fields, each `field_size` bytes behind the one before, with `value_count` values; texts are NULL or
 * NUL-terminated.
 */
int32_t pipeline_kind_define(pipeline_t *p, const pipeline_kind_definition_t *definition);

/* Rules say what becomes of an event that is offered: it may be kept, dropped, sampled, redacted, tagged. */

/** `pipeline_rule_t.actions`: the event is dropped. No other action goes with it. */
#define PIPELINE_RULE_DROP 1

/** `pipeline_rule_t.actions`: the event is kept: no later rule sees it, and it is not sampled. */
#define PIPELINE_RULE_KEEP 2

/**
 * `pipeline_rule_t.actions`: as `PIPELINE_RULE_KEEP`, and later events of its trace (`correlation_id`) are
 * not sampled either.
 */
#define PIPELINE_RULE_KEEP_TRACE 4

/** `pipeline_rule_t.actions`: the event gets the flag `PIPELINE_EVENT_PRIORITY`. */
#define PIPELINE_RULE_PRIORITY 8

/**
 * `pipeline_rule_t.actions`: a snapshot is asked for, to the directory that `pipeline_snapshot_on_trigger`
 * has set. The event goes on.
 */
#define PIPELINE_RULE_SNAPSHOT 16

/** `pipeline_rule_t.flags`: the rule only counts. */
#define PIPELINE_RULE_DRY 1

/** `pipeline_rule_t.flags`: only events with a `correlation_id`, of any number but 0. */
#define PIPELINE_RULE_HAS_CORRELATION_ID 2

/** `pipeline_rule_t.flags`: only events with a `node_id`, of any number but 0. */
#define PIPELINE_RULE_HAS_NODE_ID 4

/** For the calls that set rules: all rules only count. */
#define PIPELINE_RULES_DRY 1

/**
 * A rule: what becomes of the events that all of its conditions choose. Fill it in over the defaults that
 * `pipeline_rule_init` writes: no action, and no condition, which chooses every event.
 *
 * Actions: those in `actions`, and `sample_one_in`, `limit_per_second`, `tags` and `redact` if they are
 * given. At least one is needed.
 */
struct pipeline_rule_t {
    /** `sizeof(pipeline_rule_t)` of the caller. */
    uint32_t struct_size;
    /** `PIPELINE_RULE_DRY`, `PIPELINE_RULE_HAS_...`, or 0. */
    uint32_t flags;
    /**
     * `PIPELINE_RULE_DROP`, `PIPELINE_RULE_KEEP`, `PIPELINE_RULE_KEEP_TRACE`, `PIPELINE_RULE_PRIORITY`,
     * `PIPELINE_RULE_SNAPSHOT`, or 0.
     */
    uint32_t actions;
    /**
     * Tags that the event gets, as flags `PIPELINE_EVENT_TAG_1` to `PIPELINE_EVENT_TAG_8`: bit 0 for the tag
     * 1, up to bit 7. 0: none.
     */
    uint32_t tags;
    /**
     * The rule's name: a letter, then letters, digits, `_`, `-` and `.`, at most 63 bytes. Unique in its set.
     * NULL: none.
     */
    const char *name;
    /** A condition: an expression, as behind `if` in the text of a rule. NULL: none. */
    const char *when;
    /** A condition: the event's kind is one of these. NULL: any. */
    const uint32_t *kinds;
    /** The number of `kinds`, at least 1 unless they are NULL. */
    size_t kind_count;
    /** A condition: the least kind. Default 0. */
    uint32_t kind_min;
    /** A condition: the greatest kind. Default `UINT32_MAX`. */
    uint32_t kind_max;
    /** A condition: the event's `correlation_id` is one of these. NULL: any. */
    const uint64_t *correlation_ids;
    /** The number of `correlation_ids`, at least 1 unless they are NULL. */
    size_t correlation_id_count;
    /** A condition: the event's `node_id` is one of these. NULL: any. */
    const uint64_t *node_ids;
    /** The number of `node_ids`, at least 1 unless they are NULL. */
    size_t node_id_count;
    /** A condition: the least number of payload bytes. Default 0. */
    uint64_t payload_min;
    /** A condition: the greatest number of payload bytes. Default `UINT64_MAX`. */
    uint64_t payload_max;
    /** A condition: the bytes that the payload begins with. NULL: any. */
    const void *payload_prefix;
    /** The number of these bytes: 1 to 4,096 unless `payload_prefix` is NULL. */
    size_t payload_prefix_len;
    /**
     * What is zeroed in the copy of the payload: `FIELD`, `KIND.FIELD`, `payload` or `payload[A..B]`. NULL:
     * nothing.
     */
    const char *const *redact;
    /** The number of these texts: 1 to 8 unless `redact` is NULL. */
    size_t redact_count;
    /** At most so many events in a second; what exceeds that is dropped. 1 to 1,000,000,000; 0: no limit. */
    uint64_t limit_per_second;
    /** How many events may come at once after a pause: 1 to 1,000,000,000; 0: `limit_per_second`. */
    uint64_t limit_burst;
    /**
     * One of so many events is kept, and stands for all of them (`weight`): 1 to 1,048,576; 0: the rule does
     * not sample.
     */
    uint32_t sample_one_in;
    /** Must be 0. */
    uint32_t reserved;
};

/**
 * Writes every default to `rule` and sets its `struct_size`. Pass `sizeof(pipeline_rule_t)` as `struct_size`.
 * Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `rule` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_rule_init(pipeline_rule_t *rule, size_t struct_size);

/**
 * Sets the rules of a pipeline, in place of those before. From then on each offered event is judged by them
 * before it is captured: a rule may keep it, drop it, sample it, limit its rate, make it a priority event,
 * tag it, or redact a part of its payload. Rules are applied in their order. An event that a rule drops is
 * counted as `dropped_rule`, and its capture returns `PIPELINE_DROPPED_BY_RULE`. `count` 0 ends all rules.
 * See `docs/rules.md`.
 *
 * The rules lie in an array. All have the same `struct_size`, and each begins `struct_size` bytes after the
 * one before it. At most 10,000 rules are allowed, with 262,144 ids in all their sets together. `flags` is
 * `PIPELINE_RULES_DRY` or 0.
 *
 * The set is refused as a whole, or takes effect as a whole: for captures that begin after the call; others
 * may still follow the former rules. It waits for no capture. A rule that names a kind or a field that is not
 * known yet is accepted, and takes effect when `pipeline_kind_define` or `pipeline_kind_name` makes it known.
 * Counts begin at 0.
 *
 * Everything that the rules point to is copied during the call. Any thread, callbacks included; not a signal
 * handler. Errors: `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID` (`pipeline_last_error` names the rule and what
 * is wrong); `_LIMIT`; `_BUSY` (64 former sets are still read by captures that were interrupted: try again);
 * `_NO_MEMORY`; `_SYSTEM`; `_CLOSED`; `_FORKED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `rules` is NULL or has `count` rules, each as its `struct_size` says; texts
 * are NULL or NUL-terminated; sets have the number of values that is given.
 */
int32_t pipeline_rules_set(pipeline_t *p,
                           const pipeline_rule_t *rules,
                           size_t count,
                           uint32_t flags);

/**
 * Sets the rules of a pipeline, as `pipeline_rules_set` does, from a text with one rule a line: `errors: keep
 * trace if status = "error"`, for example. The name and the condition may be missing. A line that begins with
 * white space goes on with the rule before it, and `#` begins a comment.
 *
 * The actions are `keep`, `keep trace`, `drop`, `sample 1/N`, `limit N/s`, `priority`, `snapshot`, `tag N`
 * and `redact FIELD`. The conditions are those of `capture-pipeline cat --where`. `docs/rules.md` has the
 * grammar. At most 4 MiB of text.
 *
 * Threads, limits and errors as for `pipeline_rules_set`; for `PIPELINE_ERR_INVALID`, `pipeline_last_error`
 * names the line, the column, the rule and what is expected. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `text` is NULL or NUL-terminated.
 */
int32_t pipeline_rules_set_text(pipeline_t *p, const char *text, uint32_t flags);

/**
 * Sets the rules of a pipeline, as `pipeline_rules_set_text` does, from the text in a file. Call it again
 * when the file has changed: the library does not watch it. If anything is wrong, the rules before stay in
 * force.
 *
 * The file must be a regular one, at most 4 MiB; a symbolic link is followed. The calling thread waits while
 * it is read.
 *
 * Threads and limits as for `pipeline_rules_set`. Errors: those of `pipeline_rules_set_text`;
 * `PIPELINE_ERR_INVALID` if it is no regular file or not in UTF-8, `_LIMIT` if it is too large, `_SYSTEM` if
 * it cannot be read. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `path` is NULL or NUL-terminated.
 */
int32_t pipeline_rules_load(pipeline_t *p, const char *path, uint32_t flags);

/**
 * Ends all rules, as `pipeline_rules_set` with a `count` of 0 does. Threads and errors as there; a closed
 * pipeline is no error. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid.
 */
int32_t pipeline_rules_clear(pipeline_t *p);

/**
 * Writes the number of rules in force to `*count`: 0 if there are none. Any thread, callbacks included; also
 * on a closed pipeline. Errors: `PIPELINE_ERR_NULL`, `_FORKED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `count` is NULL or writable.
 */
int32_t pipeline_rule_count(const pipeline_t *p, uint32_t *count);

/** What is known of a rule. */
struct pipeline_rule_metrics_t {
    /** `sizeof(pipeline_rule_metrics_t)` of the caller. */
    uint32_t struct_size;
    /** The line of the text that the rule begins in, from 1. 0: the rule was not given as text. */
    uint32_t line;
    /** 1 if the rule is in effect. 0 if it waits for a kind or a field that it names: see `waits_for`. */
    uint32_t active;
    /** 1 if the rule only counts, because it is dry or the set is. */
    uint32_t dry;
    /**
     * Events that it matched. An event that an earlier rule dropped or kept does not come as far as to this
     * one.
     */
    uint64_t matched;
    /**
     * Events that it dropped: all that matched if it drops, those beyond its limit if it has one. 0 if it is
     * dry.
     */
    uint64_t dropped;
    /** Events beyond its limit, also if it is dry. */
    uint64_t limited;
    /** Events that were sampled out at its rate. */
    uint64_t sampled_out;
    /** Its name, NUL-terminated; may be empty. */
    char name[64];
    /** Why it is not in effect: a text, NUL-terminated, cut if it is too long. Empty if it is. */
    char waits_for[256];
    /** Events that have asked for a snapshot; 0 if it is dry. Several may be answered by one snapshot. */
    uint64_t snapshots_asked;
};

/**
 * Writes what is known of the rule with this index, 0 being the first, to `out`, whose `struct_size` the
 * caller has set. Counts of an event may be seen shortly after its capture. If the rules are replaced
 * meanwhile, the index is that of a rule of the new set.
 *
 * Any thread, callbacks included; also on a closed pipeline. Errors: `PIPELINE_ERR_NULL`, `_VERSION`,
 * `_NOT_FOUND`, `_FORKED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `out` is NULL or as its `struct_size` says.
 */
int32_t pipeline_rule_metrics(const pipeline_t *p,
                              uint32_t index,
                              pipeline_rule_metrics_t *out);

/* A producer is a ring buffer that its caller holds: captures through it take less time. */

/**
 * Opens a producer: a ring buffer that its caller holds, for the fastest captures. One thread at a time may
 * use it. It keeps its memory until it is closed by `pipeline_producer_close`, also after `pipeline_destroy`.
 * Once the pipeline is closed, captures through it return `PIPELINE_ERR_CLOSED`.
 *
 * Any thread. Errors: `PIPELINE_ERR_NULL`, `_CLOSED`, `_FORKED`, `_LIMIT` (`max_rings` are in use),
 * `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `out` is NULL or writable.
 */
int32_t pipeline_producer_open(const pipeline_t *p, pipeline_producer_t **out);

/**
 * As `pipeline_capture`, through a producer. Since 0.1.0.
 *
 * Requires: `r` is NULL or open and used by no other thread; `data` points to `len` readable bytes.
 */
int32_t pipeline_producer_capture(pipeline_producer_t *r, uint32_t kind, const void *data, size_t len);

/**
 * As `pipeline_capture_event`, through a producer. Since 0.1.0.
 *
 * Requires: `r` is NULL or open and used by no other thread; `event` as its `struct_size` says.
 */
int32_t pipeline_producer_capture_event(pipeline_producer_t *r, const pipeline_event_t *event);

/**
 * As `pipeline_capture_many`, through a producer. Since 0.1.0.
 *
 * Requires: `r` is NULL or open and used by no other thread; the rest as for `pipeline_capture_many`.
 */
int32_t pipeline_producer_capture_many(pipeline_producer_t *r,
                                       const pipeline_event_t *events,
                                       size_t count,
                                       size_t *captured);

/**
 * Reserves room for a payload of up to `len` bytes, to be written in place. `head` is the event without its
 * payload: its `data` and `len` are not read. NULL stands for an event of kind 0 and nothing else. `*payload`
 * is 8-byte aligned and valid until commit, abort or close. Until then every other capture through this
 * producer returns `PIPELINE_ERR_BUSY`. The event is offered when it is committed, and is stamped then.
 *
 * A reservation that finds no room counts as a dropped event (`PIPELINE_ERR_FULL`). One that is too large
 * counts as a refused event, as with `pipeline_capture`. Since 0.1.0.
 *
 * Requires: `r` is NULL or open and used by no other thread; `payload` is NULL or writable.
 */
int32_t pipeline_producer_reserve(pipeline_producer_t *r,
                                  const pipeline_event_t *head,
                                  size_t len,
                                  void **payload);

/**
 * Captures the reserved event with the first `used_len` bytes of its payload. If that is more than was
 * reserved, it returns `PIPELINE_ERR_INVALID`, and the reservation stays open. Without a reservation it
 * returns `PIPELINE_ERR_STATE`. If the pipeline was closed meanwhile, the reservation is gone, and the event
 * is counted as `refused_closed`. Since 0.1.0.
 *
 * Requires: `r` is NULL or open and used by no other thread.
 */
int32_t pipeline_producer_commit(pipeline_producer_t *r, size_t used_len);

/**
 * Gives a reservation up. Its event is not offered, and not counted. Without a reservation it returns
 * `PIPELINE_ERR_STATE`. Since 0.1.0.
 *
 * Requires: `r` is NULL or open and used by no other thread.
 */
int32_t pipeline_producer_abort(pipeline_producer_t *r);

/**
 * Closes a producer. An open reservation is aborted, captured events are still stored, and the handle is
 * invalid afterwards. It may be called before or after the pipeline's own close and destroy. Since 0.1.0.
 *
 * Requires: `r` is NULL or open and used by no other thread; it must not be used again.
 */
int32_t pipeline_producer_close(pipeline_producer_t *r);

/* ---- 3. Storage: SQLite -------------------------------------------------------------------------------- */

/** `pipeline_sqlite_options_t.flags`: the storage makes no indexes when it ends. */
#define PIPELINE_SQLITE_NO_INDEXES 1

/**
 * `pipeline_sqlite_options_t.synchronous`: SQLite never waits for the disk. After a crash of the process,
 * every acknowledged event is there. A power loss may damage the database.
 */
#define PIPELINE_SQLITE_SYNC_OFF 0

/**
 * `pipeline_sqlite_options_t.synchronous`: SQLite waits for the disk at checkpoints and at `pipeline_flush`.
 * After a crash of the process, every acknowledged event is there. A power loss may lose events acknowledged
 * since then, but does not damage the database.
 */
#define PIPELINE_SQLITE_SYNC_NORMAL 1

/**
 * `pipeline_sqlite_options_t.synchronous`: SQLite waits for the disk at each commit. Acknowledged events
 * survive a power loss.
 */
#define PIPELINE_SQLITE_SYNC_FULL 2

/**
 * `pipeline_sqlite_options_t.on_full`: the oldest events are deleted, and counted in the table `runs`, column
 * `deleted`.
 */
#define PIPELINE_SQLITE_DELETE_OLDEST 0

/** `pipeline_sqlite_options_t.on_full`: new events are rejected, and counted as `discarded`. */
#define PIPELINE_SQLITE_REJECT 1

/** The options of a SQLite storage. `pipeline_sqlite_options_init` writes every default. */
struct pipeline_sqlite_options_t {
    /** `sizeof(pipeline_sqlite_options_t)` of the caller. */
    uint32_t struct_size;
    /** `PIPELINE_SQLITE_NO_INDEXES`, or 0. */
    uint32_t flags;
    /**
     * The bytes that the database and its write-ahead log may take, 4194304 to 2^47. Default 0: no limit.
     * Unless `PIPELINE_SQLITE_NO_INDEXES` is set, 30 % of it is kept for the indexes. A database that is
     * larger already does not shrink.
     */
    uint64_t max_bytes;
    /**
     * Milliseconds after which an event is deleted, counted from when it was stored, at most a hundred years.
     * Default 0: never.
     */
    uint64_t max_age_ms;
    /**
     * The bytes that must stay free on the database's file system, at most 2^47. Default 0: no check. If less
     * is free, the database does not grow (its write-ahead log may, by some megabytes), and `on_full`
     * decides.
     */
    uint64_t min_free_disk;
    /** When SQLite waits for the disk, `PIPELINE_SQLITE_SYNC_...`. Default `PIPELINE_SQLITE_SYNC_NORMAL`. */
    uint32_t synchronous;
    /**
     * What happens when there is no space: `PIPELINE_SQLITE_DELETE_OLDEST`, the default, or
     * `PIPELINE_SQLITE_REJECT`.
     */
    uint32_t on_full;
    /**
     * Microseconds between two commits of small groups of events, at most 1000000. Default 1000. The first
     * event after a pause is committed at once.
     */
    uint32_t commit_interval_us;
    /**
     * The number of events after which a transaction is committed, 1 to 1000000. Default 4096. Events stay in
     * the ring buffers until they are committed.
     */
    uint32_t commit_events;
    /**
     * Milliseconds to wait while another process holds the database's lock, at most 60000. Default 5000. Then
     * the batch is tried again later.
     */
    uint32_t busy_timeout_ms;
    /** The size of SQLite's page cache in KiB, 256 to 1048576. Default 2048. */
    uint32_t cache_kib;
    /**
     * The permissions of the files that the storage makes (database, write-ahead log and its index), as the
     * bits of chmod(2): 0600 and any of 0066. Default 0600: the owner alone. They are applied exactly,
     * whatever the umask of the process. An existing database keeps its permissions. A user who may read the
     * files can also block the storage, by a lock on the log's index. Since 0.1.0.
     */
    uint32_t file_mode;
    /** 0. */
    uint32_t reserved;
};

/**
 * Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_sqlite_options_t)` as
 * `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `options` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_sqlite_options_init(pipeline_sqlite_options_t *options, size_t struct_size);

/**
 * Opens or makes the SQLite database at `path`, and fills `out` with a storage for it, to be given to
 * `pipeline_start`. `options` may be NULL: all defaults. `out_size` is `sizeof(pipeline_storage_t)`.
 *
 * The database has a table `events` with a row for each event, and a view `events_view` of it for people. The
 * key of a row is the identity of its event, so an event that is delivered twice is stored once. An event
 * whose key is there with another content is rejected. 64-bit values are stored as signed integers; the view
 * shows them unsigned. Other programs may read the database while it is written. A second copy of SQLite in
 * this process must not write to it meanwhile.
 *
 * `pipeline_close` makes indexes on time, correlation id and node id. That takes about a second for each
 * million of events. If it takes longer than the timeout of the close, a thread of the storage goes on with
 * it, also after `pipeline_destroy`. Without a close, that thread makes the indexes, too. If they cannot be
 * made, the close returns `PIPELINE_ERR_STORAGE`, and a log message gives the reason. The indexes are removed
 * when the database is opened again.
 *
 * The files are made with `file_mode`. If the last part of `path` is a symbolic link, it is not followed.
 *
 * A thread of the library does SQLite's work, and the call waits for it. So the call is no cancellation
 * point, runs on a stack of `PTHREAD_STACK_MIN` bytes, and does not send SIGXFSZ to its caller.
 *
 * Until `pipeline_start` has accepted the storage, the caller owns it. To give it up, call
 * `out->destroy(out->user_data)` once. The storage must be made in the process that uses it, not before a
 * fork. Any thread; not in a callback of a pipeline. `out` is written only on success. Errors:
 * `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`, `_STORAGE`. `_STORAGE` means that the
 * file cannot be opened or written (also because of the limit on the size of files, which
 * `pipeline_last_error` then names), is locked, is not a database, belongs to another program, or has a
 * schema that is not this library's. Such a file is not changed. Since 0.1.0.
 *
 * Requires: `path` is NULL or NUL-terminated; `options` is NULL or as its `struct_size` says; `out` is NULL
 * or points to `out_size` writable bytes.
 */
int32_t pipeline_storage_sqlite(const char *path,
                                const pipeline_sqlite_options_t *options,
                                size_t out_size,
                                pipeline_storage_t *out);

/**
 * Makes the indexes on time, correlation id and node id in an existing database of this library, at any time.
 * Indexes that exist are kept. It takes about a second for each million of events. A storage that writes to
 * the database waits meanwhile. A thread of the library does the work, as for `pipeline_storage_sqlite`. Any
 * thread; not in a callback of a pipeline. Errors: `PIPELINE_ERR_NULL`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`,
 * `_STORAGE`. Since 0.1.0.
 *
 * Requires: `path` is NULL or NUL-terminated.
 */
int32_t pipeline_sqlite_create_indexes(const char *path);

/* ---- 3. Storage: journal ------------------------------------------------------------------------------- */

/**
 * `pipeline_journal_options_t.sync`: the storage never waits for the disk. After a crash of the process,
 * every acknowledged event is there. A power loss may lose events, also those before a `pipeline_flush`.
 */
#define PIPELINE_JOURNAL_SYNC_NEVER 0

/**
 * `pipeline_journal_options_t.sync`: the storage waits for the disk at `pipeline_flush` and `pipeline_close`.
 * Events acknowledged before survive a power loss.
 */
#define PIPELINE_JOURNAL_SYNC_FLUSH 1

/**
 * `pipeline_journal_options_t.sync`: as `PIPELINE_JOURNAL_SYNC_FLUSH`, and a thread of the storage writes
 * events through to the disk `sync_interval_ms` after they were acknowledged.
 */
#define PIPELINE_JOURNAL_SYNC_INTERVAL 2

/**
 * `pipeline_journal_options_t.sync`: a batch is acknowledged when it is on the disk. Acknowledged events
 * survive a power loss. Batches that come at the same time share the waiting.
 */
#define PIPELINE_JOURNAL_SYNC_BATCH 3

/**
 * `pipeline_journal_options_t.encoding`: events lie in the files as in the ring buffers, from which they are
 * written without a copy.
 */
#define PIPELINE_JOURNAL_RAW 0

/**
 * `pipeline_journal_options_t.encoding`: the fields of events lie in columns, which takes half the space or
 * less, and some ten nanoseconds of a writer's time for each event.
 */
#define PIPELINE_JOURNAL_COLUMNS 1

/** `pipeline_journal_options_t.encoding`: columns, compressed by LZ4. */
#define PIPELINE_JOURNAL_COLUMNS_LZ4 2

/**
 * `pipeline_journal_options_t.encoding`: columns, compressed by Zstandard, which takes the least space. A
 * build without the cargo feature `zstd` refuses it.
 */
#define PIPELINE_JOURNAL_COLUMNS_ZSTD 3

/**
 * `pipeline_journal_options_t.on_full`: the oldest segments are deleted. The journal itself says how many
 * events they had.
 */
#define PIPELINE_JOURNAL_DELETE_OLDEST 0

/** `pipeline_journal_options_t.on_full`: new events are rejected, and counted as `discarded`. */
#define PIPELINE_JOURNAL_REJECT 1

/**
 * `pipeline_journal_options_t.flags`: a file in the directory shows the figures of the pipeline to other
 * processes, such as `capture-pipeline metrics`. A thread of the storage writes it, at most once a second and
 * only if the figures have changed. It has 32 KiB and the permissions 0600, and is deleted when the pipeline
 * ends. That of a process that was killed is there until the next pipeline with this flag starts in the
 * directory. If it cannot be written, that is logged, and events are stored all the same.
 */
#define PIPELINE_JOURNAL_LIVE_FIGURES 1

/** The options of a journal storage. `pipeline_journal_options_init` writes every default. */
struct pipeline_journal_options_t {
    /** `sizeof(pipeline_journal_options_t)` of the caller. */
    uint32_t struct_size;
    /** 0, or `PIPELINE_JOURNAL_LIVE_FIGURES`. */
    uint32_t flags;
    /**
     * The bytes after which a segment is sealed and the next one is begun, 65536 to 2^40. Default 67108864
     * (64 MiB). With `max_bytes` it is at most an eighth of that. A batch is never divided for it, so a
     * segment may be larger by one batch.
     */
    uint64_t segment_bytes;
    /**
     * The bytes that all segments in the directory may take, 1048576 to 2^47. Default 0: no limit. Segments
     * of other pipelines in the same directory count as well.
     */
    uint64_t max_bytes;
    /**
     * Milliseconds after which a segment is deleted, counted from when it was last written, 100 to a hundred
     * years. Default 0: never. A segment is sealed when it is an eighth of that old, so no event stays for
     * more than nine eighths of its age.
     */
    uint64_t max_age_ms;
    /**
     * The bytes that must stay free on the directory's file system, at most 2^47. Default 0: no check. If
     * less is free, `on_full` decides.
     */
    uint64_t min_free_disk;
    /**
     * Milliseconds after which a segment that has events is sealed, however small it is, 100 to a hundred
     * years. Default 0: never. Only sealed segments are deleted to make room.
     */
    uint64_t segment_age_ms;
    /**
     * When the storage waits for the disk, `PIPELINE_JOURNAL_SYNC_...`. Default
     * `PIPELINE_JOURNAL_SYNC_NEVER`.
     */
    uint32_t sync;
    /**
     * With `PIPELINE_JOURNAL_SYNC_INTERVAL`: milliseconds from the acknowledgement of an event to the disk, 1
     * to 3600000. Default 1000.
     */
    uint32_t sync_interval_ms;
    /**
     * What happens when there is no space: `PIPELINE_JOURNAL_DELETE_OLDEST`, the default, or
     * `PIPELINE_JOURNAL_REJECT`.
     */
    uint32_t on_full;
    /** How events lie in the files: `PIPELINE_JOURNAL_RAW`, the default, or `PIPELINE_JOURNAL_COLUMNS...`. */
    uint32_t encoding;
    /**
     * The permissions of the files that the storage makes, as the bits of chmod(2): 0600 and any of 0066.
     * Default 0600: the owner alone. They are applied exactly, whatever the umask of the process. A directory
     * that the storage makes can be listed by those who may read its files.
     */
    uint32_t file_mode;
    /** 0. */
    uint32_t reserved;
};

/**
 * Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_journal_options_t)` as
 * `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `options` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_journal_options_init(pipeline_journal_options_t *options, size_t struct_size);

/**
 * Opens the directory `dir`, or makes it, and fills `out` with a storage that keeps a journal there, to be
 * given to `pipeline_start`. `options` may be NULL: all defaults. `out_size` is `sizeof(pipeline_storage_t)`.
 *
 * A journal is the fastest storage: each writer appends its batches to a file of its own, a segment.
 * docs/format.md specifies the files. Several pipelines, also of several processes, may use one directory at
 * the same time.
 *
 * An acknowledged event is written: it survives the death of the process. `sync` says when it is on the disk.
 * `pipeline_flush` waits for the disk unless `sync` is `PIPELINE_JOURNAL_SYNC_NEVER`; if that fails it
 * returns `PIPELINE_ERR_STORAGE`, once. `pipeline_close` seals the segments; if that fails, it returns
 * `PIPELINE_ERR_STORAGE`, and all events are readable even so.
 *
 * An event with `PIPELINE_EVENT_RELEASE` is rejected, because its payload means nothing outside the process.
 *
 * A missing directory is made with permissions as `file_mode` says; its parent must be there. If the last
 * part of `dir` is a symbolic link, it is not followed. In a folder that all users may write to, another
 * user's directory is refused.
 *
 * A thread of the library does the work, and the call waits for it. So the call is no cancellation point,
 * runs on a stack of `PTHREAD_STACK_MIN` bytes, and does not send SIGXFSZ to its caller.
 *
 * Until `pipeline_start` has accepted the storage, the caller owns it. To give it up, call
 * `out->destroy(out->user_data)` once. The storage must be made in the process that uses it, not before a
 * fork. Any thread; not in a callback of a pipeline. `out` is written only on success. Errors:
 * `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`, `_STORAGE` (the directory cannot be
 * opened, made or written to, or is refused), `_UNSUPPORTED` (an encoding that this build does not have; a
 * machine with another byte order). Since 0.1.0.
 *
 * Requires: `dir` is NULL or NUL-terminated; `options` is NULL or as its `struct_size` says; `out` is NULL or
 * points to `out_size` writable bytes.
 */
int32_t pipeline_storage_journal(const char *dir,
                                 const pipeline_journal_options_t *options,
                                 size_t out_size,
                                 pipeline_storage_t *out);

/* ---- 3. Storage: Perfetto ------------------------------------------------------------------------------ */

/**
 * `pipeline_perfetto_options_t.sync`: the storage never waits for the disk. After a crash of the process,
 * every acknowledged event is there. A power loss may lose events, also those before a `pipeline_flush`.
 */
#define PIPELINE_PERFETTO_SYNC_NEVER 0

/**
 * `pipeline_perfetto_options_t.sync`: the storage waits for the disk at `pipeline_flush`, at the end of each
 * file and at `pipeline_close`. Events acknowledged before survive a power loss.
 */
#define PIPELINE_PERFETTO_SYNC_FLUSH 1

/** The options of a Perfetto storage. `pipeline_perfetto_options_init` writes every default. */
struct pipeline_perfetto_options_t {
    /** `sizeof(pipeline_perfetto_options_t)` of the caller. */
    uint32_t struct_size;
    /** 0. */
    uint32_t flags;
    /**
     * The bytes after which another file is begun, 65536 to 2^40. Default 536870912 (512 MiB), which the
     * viewer opens in a browser. With `max_bytes` it is at most a quarter of that. A batch is never divided
     * for it, so a file may be larger by one batch.
     */
    uint64_t file_bytes;
    /**
     * Milliseconds after which another file is begun, 100 to a hundred years. Default 0: never for its age.
     * The next event begins it: while there are none, the file stays as it is.
     */
    uint64_t file_age_ms;
    /**
     * The bytes that all traces in the directory may take, 1048576 to 2^47. Default 0: no limit. When a file
     * is begun, the oldest ones that nobody writes to are deleted, those of other pipelines in the same
     * directory too. The log says how many.
     */
    uint64_t max_bytes;
    /**
     * When the storage waits for the disk: `PIPELINE_PERFETTO_SYNC_NEVER`, the default, or
     * `PIPELINE_PERFETTO_SYNC_FLUSH`.
     */
    uint32_t sync;
    /**
     * The permissions of the files that the storage makes, as the bits of chmod(2): 0600 and any of 0066.
     * Default 0600: the owner alone. They are applied exactly, whatever the umask of the process. A directory
     * that the storage makes can be listed by those who may read its files.
     */
    uint32_t file_mode;
    /** 0. */
    uint64_t reserved;
};

/**
 * Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_perfetto_options_t)` as
 * `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `options` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_perfetto_options_init(pipeline_perfetto_options_t *options, size_t struct_size);

/**
 * Opens the directory `dir`, or makes it, and fills `out` with a storage that writes traces for Perfetto
 * there, to be given to `pipeline_start`. `options` may be NULL: all defaults. `out_size` is
 * `sizeof(pipeline_storage_t)`.
 *
 * The files are called `<generation>-<number>.perfetto-trace`; ui.perfetto.dev and trace_processor open each
 * alone. How events are drawn follows from the definitions of their kinds (`pipeline_kind_define`): slices,
 * instants, flows, counters. docs/timelines.md has the details. A program that wants to read its events again
 * uses `pipeline_storage_journal`, from which the command exports the same and other formats.
 *
 * An acknowledged event is written: it survives the death of the process, and a file that ends anywhere is
 * read up to its last whole packet. A batch that comes again after a failed write is in the files once. If a
 * file cannot even be cut back after a failed write, the whole events in it count as stored, and the rest
 * goes to another file. What other programs delete or change is outside of that.
 *
 * One file is written at a time, and the storage gets the events of each ring buffer in their order, as if
 * `ordering` were `PIPELINE_ORDERING_PER_PRODUCER`. More than one writer does not make it faster. A program
 * that puts a storage of its own around this one sets that ordering itself.
 *
 * An event with `PIPELINE_EVENT_RELEASE` is rejected, because its payload means nothing outside the process,
 * and so is one whose time is 2^63 ns or more, because viewers take none.
 *
 * A missing directory is made with permissions as `file_mode` says; its parent must be there. If the last
 * part of `dir` is a symbolic link, it is not followed. In a folder that all users may write to, another
 * user's directory is refused.
 *
 * A thread of the library does the work, and the call waits for it. So the call is no cancellation point,
 * runs on a stack of `PTHREAD_STACK_MIN` bytes, and does not send SIGXFSZ to its caller.
 *
 * Until `pipeline_start` has accepted the storage, the caller owns it. To give it up, call
 * `out->destroy(out->user_data)` once. The storage must be made in the process that uses it, not before a
 * fork. Any thread; not in a callback of a pipeline. `out` is written only on success. Errors:
 * `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`, `_STORAGE` (the directory cannot be
 * opened, made or written to, or is refused). Since 0.1.0.
 *
 * Requires: `dir` is NULL or NUL-terminated; `options` is NULL or as its `struct_size` says; `out` is NULL or
 * points to `out_size` writable bytes.
 */
int32_t pipeline_storage_perfetto(const char *dir,
                                  const pipeline_perfetto_options_t *options,
                                  size_t out_size,
                                  pipeline_storage_t *out);

/* ---- 3. Storage: your own functions -------------------------------------------------------------------- */

/** An event as a storage sees it. It is valid until its batch is settled. */
struct pipeline_event_view_t {
    /**
     * The ring buffer that the event was captured into. With the batch's `generation` and `sequence` this is
     * the event's identity: the key for a storage that must store a redelivered event once.
     */
    uint64_t ring_id;
    /** The event's number in its ring buffer, from 0. A gap is an event that was dropped or overwritten. */
    uint64_t sequence;
    /** CLOCK_MONOTONIC in nanoseconds at capture, or the caller's own with `PIPELINE_EVENT_OWN_TIME`. */
    uint64_t timestamp_ns;
    /** As offered, or as a transform has rewritten it. */
    uint64_t correlation_id;
    /** As offered, or as a transform has rewritten it. */
    uint64_t node_id;
    /** As offered, or as a transform has rewritten it. */
    uint32_t kind;
    /** As offered; with `PIPELINE_EVENT_TRANSFORMED` if a transform has rewritten the event. */
    uint32_t flags;
    /** How many offered events this one stands for: 1 unless it was sampled. */
    double weight;
    /**
     * The payload, 8-byte aligned, in the ring buffer, or where the library keeps a rewritten one. Not NULL,
     * also when `len` is 0.
     */
    const void *data;
    /** The payload's length in bytes. */
    size_t len;
};

/** A batch as a storage sees it. */
struct pipeline_batch_t {
    /** `sizeof(pipeline_batch_t)` of the library. */
    uint32_t struct_size;
    /** Bytes from one event to the next; use `PIPELINE_BATCH_EVENT(batch, i)`. */
    uint32_t event_stride;
    /** Which pipeline of the process; never reused. */
    uint64_t pipeline_id;
    /**
     * 64 random bits drawn when the pipeline started: the first part of every event's identity. A batch of
     * recovered events has the generation of the run that captured them.
     */
    uint64_t generation;
    /** Unique among the batches of the pipeline; the same at each attempt. */
    uint64_t batch_id;
    /** Names this attempt; for `pipeline_batch_complete`. */
    uint64_t token;
    /** 1 at the first attempt. */
    uint32_t attempt;
    /** The writer that makes the attempt. */
    uint32_t writer_id;
    /**
     * When the writer took the batch up, CLOCK_MONOTONIC in nanoseconds. For recovered events it is on the
     * clock of their run.
     */
    uint64_t processed_at_ns;
    /**
     * Add it to a `timestamp_ns` for wall time (nanoseconds since 1970), own-time events excepted. For
     * recovered events it is that of their run.
     */
    int64_t realtime_offset_ns;
    /** From `open_writer`; NULL without. */
    void *writer_data;
    /** How many events. */
    size_t count;
    /** The events, `event_stride` bytes apart. */
    const pipeline_event_view_t *events;
};

/**
 * The event at index i of a batch, a `const pipeline_event_view_t *`. It steps by the batch's own
 * `event_stride`, so that a program built with an older header reads the events of a newer library.
 */
#define PIPELINE_BATCH_EVENT(batch, i) \
    ((const pipeline_event_view_t *)(const void *)((const char *)(const void *)(batch)->events + \
                                                   (size_t)(i) * (batch)->event_stride))

/** `store`: every event of the batch is stored, except those named by `pipeline_batch_set_rejected`. */
#define PIPELINE_STORE_OK 0

/**
 * `store`: not now. The batch is tried again later, from the end of the prefix named by
 * `pipeline_batch_set_stored` on.
 */
#define PIPELINE_STORE_RETRY 1

/** `store`: never. The events behind the stored prefix go to the dead letter. */
#define PIPELINE_STORE_REJECT 2

/** `store`: the answer comes later, through `pipeline_batch_complete` with the batch's token. */
#define PIPELINE_STORE_PENDING 3

/** `dead_letter`'s `reason`: the storage rejected the event. */
#define PIPELINE_REASON_REJECTED 1

/** `dead_letter`'s `reason`: the batch was tried `retry_limit` times. */
#define PIPELINE_REASON_RETRY_LIMIT 2

/** `dead_letter`'s `reason`: the batch is older than `retry_max_age_ms`. */
#define PIPELINE_REASON_RETRY_AGE 3

/**
 * `pipeline_storage_t.flags`: calls of `store`, `flush` and `dead_letter` may overlap, on different threads.
 */
#define PIPELINE_STORAGE_CONCURRENT 1

/**
 * `pipeline_storage_t.flags`: the storage also gets the library's own events, with kinds from
 * `PIPELINE_KIND_RESERVED` on: names of kinds, the threads of rings, facts about the clock. They come in
 * batches of their own, in their order and one batch at a time, and are in no count of the ledger. A flush
 * and a close wait for them as for other events.
 */
#define PIPELINE_STORAGE_META 2

/**
 * `pipeline_storage_t.flags`: under `PIPELINE_OVERFLOW_DROP_OLDEST`, the capture that overwrites an event
 * calls `release` for it, on its own thread. Such a `release` must be short and must not capture. Without the
 * flag a writer calls `release` later, and new events are dropped if the writers are too slow for that.
 */
#define PIPELINE_STORAGE_RELEASE_ANYWHERE 4

/**
 * `pipeline_storage_t.flags`: `release` is called only for events captured with `PIPELINE_EVENT_RELEASE`.
 * This is for storages with few events that are handles: releasing a batch without handles has no extra cost.
 */
#define PIPELINE_STORAGE_RELEASE_MARKED 8

/**
 * `pipeline_storage_t.flags`: the storage releases by itself what it has stored. `release` is not called for
 * the events of a batch that is answered `PIPELINE_STORE_OK` while all of them are still to be stored and
 * none is rejected. All others come to `release`: those of batches that were stored in parts, dead-lettered
 * or given up, and those that were overwritten or left. An answer by token counts once the call has returned
 * `PIPELINE_OK`; from then on the batch's memory is no longer valid, so that the storage notes before what it
 * will release. Events with `PIPELINE_EVENT_TRANSFORMED` are never the storage's to release: `release` is
 * called with the event as it was captured.
 */
#define PIPELINE_STORAGE_RELEASE_UNSTORED 16

/**
 * The storage of a pipeline: the functions that receive its events. The library calls them on writer threads,
 * unless a function's description says otherwise, and holds no lock meanwhile. They must not throw, call
 * `longjmp` or end their thread.
 */
struct pipeline_storage_t {
    /** `sizeof(pipeline_storage_t)` of the caller. */
    uint32_t struct_size;
    /**
     * `PIPELINE_STORAGE_...`, or 0. Without `PIPELINE_STORAGE_CONCURRENT`, calls of `store`, `flush` and
     * `dead_letter` never overlap. A call of `finish` never overlaps with one of those in any case.
     */
    uint32_t flags;
    /** The first argument of every function below. The library does not use it otherwise. */
    void *user_data;
    /**
     * Stores a batch. Required. It returns `PIPELINE_STORE_...`. Any other value counts as
     * `PIPELINE_STORE_RETRY`, and in `bad_results`. The batch is valid until the call returns, or, after
     * `PIPELINE_STORE_PENDING`, until its token is completed.
     */
    int32_t (*store)(void *user_data, const pipeline_batch_t *batch);
    /**
     * Called when a writer starts, on the writer's thread. The function may set `*writer_data`; it is then in
     * each batch of this writer. If it returns anything but 0, the writer calls it again later. May be NULL.
     */
    int32_t (*open_writer)(void *user_data, uint32_t writer_id, void **writer_data);
    /** Called when a writer ends, on the writer's thread, if `open_writer` has returned 0. May be NULL. */
    void (*close_writer)(void *user_data, uint32_t writer_id, void *writer_data);
    /**
     * Makes the stored events durable, within `timeout_ms` milliseconds (-1: no limit). It returns 0, or a
     * negative status, which `pipeline_flush` returns to its caller. May be NULL.
     */
    int32_t (*flush)(void *user_data, int64_t timeout_ms);
    /**
     * Receives events that cannot be stored; `reason` is `PIPELINE_REASON_...`. If it returns 0, the events
     * are kept, and counted as `dead_lettered`. If it returns `PIPELINE_STORE_REJECT`, they are counted as
     * `discarded`. After any other value it is called again with the same events, within `retry_limit` and
     * `retry_max_age_ms`. May be NULL: the events are counted as `discarded`.
     */
    int32_t (*dead_letter)(void *user_data, const pipeline_batch_t *batch, int32_t reason);
    /**
     * Called exactly once for every captured event, when it leaves the pipeline in any way: for payloads that
     * are handles. With `PIPELINE_STORAGE_RELEASE_MARKED`, it is called only for events that have
     * `PIPELINE_EVENT_RELEASE`. It is called on writer threads and on the threads that call `destroy`; with
     * `PIPELINE_STORAGE_RELEASE_ANYWHERE` also on threads that capture. With
     * `PIPELINE_STORAGE_RELEASE_UNSTORED`, it is not called for batches that were stored as a whole. It is
     * not called for recovered events: what they may have been handles of has gone with their process. May be
     * NULL.
     */
    void (*release)(void *user_data, const pipeline_event_view_t *event);
    /**
     * Called exactly once, after all other calls, when the pipeline needs the storage no longer; also if
     * `pipeline_start` fails after it has accepted the `struct_size`. It is called by `pipeline_start`, by
     * `pipeline_destroy`, or, after `pipeline_abandon`, on a thread of the library. May be NULL.
     */
    void (*destroy)(void *user_data);
    /**
     * Does the storage's final work that takes long or may fail, such as building indexes or writing a seal.
     * May be NULL. It is taken as NULL if the caller's `struct_size` ends before it.
     *
     * `pipeline_close` lets a writer call it, at most once in the life of a pipeline, when every event is
     * settled. No call of `store`, `flush`, `dead_letter` and `release` overlaps with it or follows it.
     * `close_writer` of other writers may run meanwhile. It is not called by `pipeline_destroy` without a
     * close, by `pipeline_abandon`, or at the exit of a process that has not closed the pipeline. So stored
     * events must be readable without it.
     *
     * `timeout_ms` is the time in milliseconds that the caller of `pipeline_close` still waits; -1: no limit.
     * A call that takes longer goes on in the background. It returns 0 or a negative status; for anything but
     * 0, `pipeline_close` returns `PIPELINE_ERR_STORAGE`.
     */
    int32_t (*finish)(void *user_data, int64_t timeout_ms);
};

/**
 * Sets every member of `storage` to its default (NULL or 0), and `struct_size` to the caller's. Pass
 * `sizeof(pipeline_storage_t)` as `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since
 * 0.1.0.
 *
 * Requires: `storage` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_storage_init(pipeline_storage_t *storage, size_t struct_size);

/**
 * Reports that the first `stored_prefix` events of a batch are stored. If the batch is tried again, the next
 * attempt has only the events behind them; if it is rejected, these events are not.
 *
 * To be called during `store`, or until the token is completed. Any thread. Errors: `PIPELINE_ERR_NULL`;
 * `PIPELINE_ERR_INVALID` if the batch has fewer events; `PIPELINE_ERR_UNKNOWN_TOKEN` if the attempt is
 * already completed. Since 0.1.0.
 *
 * Requires: `batch` is NULL or the batch that `store` was given.
 */
int32_t pipeline_batch_set_stored(const pipeline_batch_t *batch, size_t stored_prefix);

/**
 * Reports that the event at `index` can never be stored. It goes to `dead_letter`. The other events are
 * treated as the result of the attempt says.
 *
 * To be called during `store`, or until the token is completed. Any thread. Errors: `PIPELINE_ERR_NULL`;
 * `PIPELINE_ERR_INVALID` if there is no such event; `PIPELINE_ERR_UNKNOWN_TOKEN` if the attempt is already
 * completed; `PIPELINE_ERR_NO_MEMORY`, after which `store` must return `PIPELINE_STORE_RETRY`. Since 0.1.0.
 *
 * Requires: `batch` is NULL or the batch that `store` was given.
 */
int32_t pipeline_batch_set_rejected(const pipeline_batch_t *batch, size_t index);

/* Completing a batch later, after `store` has returned PIPELINE_STORE_PENDING. */

/**
 * Completes a batch for which `store` has returned, or is about to return, `PIPELINE_STORE_PENDING`. `token`
 * is the batch's. `result` is `PIPELINE_STORE_OK`, `_RETRY` or `_REJECT`; any other value counts as
 * `PIPELINE_STORE_RETRY`, and in `bad_results`. The batch is no longer valid afterwards.
 *
 * Any thread, at any time, callbacks included. `PIPELINE_ERR_UNKNOWN_TOKEN`: the token was never issued or is
 * already completed; nothing is changed. Since 0.1.0.
 */
int32_t pipeline_batch_complete(uint64_t token, int32_t result);

/**
 * As `pipeline_batch_complete`, but the first `stored_prefix` events count as stored, whatever `result` says.
 * `PIPELINE_ERR_INVALID` if the batch has fewer events. Since 0.1.0.
 */
int32_t pipeline_batch_complete_at(uint64_t token, size_t stored_prefix, int32_t result);

/**
 * As `pipeline_batch_complete`, but never blocks. If the call would have to wait for a lock that another
 * thread holds, it returns `PIPELINE_ERR_BUSY` and changes nothing. Then call it again later, or let another
 * thread complete the token. For threads that must not block, such as the schedulers of a virtual machine.
 * Since 0.1.0.
 */
int32_t pipeline_batch_try_complete(uint64_t token, int32_t result);

/**
 * Completes a batch as `pipeline_batch_try_complete` does, and returns the next batch in the same call. So a
 * thread that stores batches needs no writer to wake it for each of them.
 *
 * `*next` is the next batch, as if `store` had been called with it on the same writer and had returned
 * `PIPELINE_STORE_PENDING`. The caller completes it by its own token. It is valid until then, counts as in
 * flight, and `storage_deadline_ms` applies to it.
 *
 * `*next` is NULL if there is no next batch for the caller; later ones go to `store`. This is so if a writer
 * would not claim a batch (there are no events, the pipeline is paused, `linger_us` has not passed,
 * `max_in_flight` is reached, the circuit is open), if an older batch is due, if the writer has ended or its
 * call of `store` has not returned yet, and always with `PIPELINE_ORDERING_PER_PRODUCER`.
 *
 * The call takes some tens of nanoseconds for each event of the next batch. After it has claimed the batch,
 * it blocks only while another thread updates the pipeline's counters. Any thread, at any time, callbacks
 * included. Errors: as for `pipeline_batch_try_complete`, and then `*next` is not written;
 * `PIPELINE_ERR_NULL` if `next` is NULL. Since 0.1.0.
 *
 * Requires: `next` is NULL or writable.
 */
int32_t pipeline_batch_exchange(uint64_t token, int32_t result, const pipeline_batch_t **next);

/* ---- 4. Watch ------------------------------------------------------------------------------------------ */

/** `pipeline_metrics_t.scale_reason`: the number of writers has never changed. */
#define PIPELINE_SCALE_NONE 0

/** `pipeline_metrics_t.scale_reason`: the caller asked for it (`pipeline_scale`, `pipeline_update`). */
#define PIPELINE_SCALE_CALLER 1

/**
 * `pipeline_metrics_t.scale_reason`: the number lay outside `min_writers` and `max_writers` as
 * `pipeline_update` set them.
 */
#define PIPELINE_SCALE_BOUNDS 2

/** `pipeline_metrics_t.scale_reason`: there was work, and no writer (`min_writers` is 0). */
#define PIPELINE_SCALE_NO_WRITER 3

/** `pipeline_metrics_t.scale_reason`: events waited too long, the writers being in calls of the storage. */
#define PIPELINE_SCALE_BACKLOG_AGE 4

/**
 * `pipeline_metrics_t.scale_reason`: half a ring buffer waited, the writers being in calls of the storage.
 */
#define PIPELINE_SCALE_RING_FULL 5

/** `pipeline_metrics_t.scale_reason`: whole batches waited, the writers being in calls of the storage. */
#define PIPELINE_SCALE_STORAGE_BOUND 6

/** `pipeline_metrics_t.scale_reason`: one writer less had been enough for some time. */
#define PIPELINE_SCALE_IDLE 7

/** `pipeline_metrics_t.circuit`: the storage is given every batch. */
#define PIPELINE_CIRCUIT_CLOSED 0

/** `pipeline_metrics_t.circuit`: the storage is given no batch until the next probe is due. */
#define PIPELINE_CIRCUIT_OPEN 1

/** `pipeline_metrics_t.circuit`: one batch is with the storage, as a probe. */
#define PIPELINE_CIRCUIT_HALF_OPEN 2

/**
 * The metrics of a pipeline. The first ones are the ledger, which accounts for every event. Whenever no event
 * is in motion, exactly: `offered` = `captured` + all `dropped_...` + all `refused_...`, and `captured` +
 * `recovered` = `stored` + `filtered` + `dead_lettered` + `discarded` + `overwritten` + `buffered` +
 * `in_flight` + `in_doubt` + `left`.
 */
struct pipeline_metrics_t {
    /** `sizeof(pipeline_metrics_t)` in the caller's program. The caller sets it. */
    uint32_t struct_size;
    /** 0. */
    uint32_t reserved;
    /** Events that captures were asked to take. */
    uint64_t offered;
    /** Events copied into a ring buffer. */
    uint64_t captured;
    /**
     * Events of runs that have ended, which writers have taken over from their ring files. What waits in
     * those files is in no count.
     */
    uint64_t recovered;
    /** Events dropped because the ring buffer was full. */
    uint64_t dropped_full;
    /** Events dropped by sampling (`pipeline_config_t.sampling_max_weight`). */
    uint64_t dropped_sampled;
    /** Events dropped by a rule (`pipeline_rules_set`). */
    uint64_t dropped_rule;
    /** Events refused because they are larger than `max_event_bytes`. */
    uint64_t refused_too_large;
    /** Events refused because the pipeline was closed. */
    uint64_t refused_closed;
    /** Events refused because an argument was invalid. */
    uint64_t refused_invalid;
    /**
     * Events refused because the ring buffer was in use: by an interrupted capture, by a reservation, or (the
     * shared ring buffer) by other threads.
     */
    uint64_t refused_busy;
    /** Events refused because there was no ring buffer. */
    uint64_t refused_no_ring;
    /** Events acknowledged by the storage. */
    uint64_t stored;
    /** Events filtered by a transform. */
    uint64_t filtered;
    /** Events kept by the storage's `dead_letter`. */
    uint64_t dead_lettered;
    /** Events given up: rejected or tried too often, and not kept by `dead_letter`. */
    uint64_t discarded;
    /** Events overwritten by newer ones (`PIPELINE_OVERFLOW_DROP_OLDEST`). */
    uint64_t overwritten;
    /** Events in a ring buffer that no writer has claimed. */
    uint64_t buffered;
    /**
     * Events claimed and not settled: their batch is being stored, or waits for a pending answer or for its
     * next attempt.
     */
    uint64_t in_flight;
    /**
     * Events claimed and not settled, whose batch has been with the storage for longer than
     * `storage_deadline_ms`.
     */
    uint64_t in_doubt;
    /**
     * Events that were left in the ring buffers, unclaimed, when the pipeline was closed or abandoned, and
     * those of batches that no writer tries again. Recovered ones among them are still in their ring file,
     * and are delivered by a later recovery.
     */
    uint64_t left;
    /**
     * Damaged records that were found in the ring files of runs that have ended. A process that is killed
     * leaves none.
     */
    uint64_t torn;
    /** Batches settled. */
    uint64_t batches;
    /** Attempts after the first, of batches and of dead letters. */
    uint64_t retries;
    /** Calls of the storage that returned a value which is not allowed. */
    uint64_t bad_results;
    /** Writers that were replaced because their thread ended. */
    uint64_t writer_restarts;
    /** The number of writers that there should be. */
    uint64_t writers_target;
    /** The number of writers that there are. */
    uint64_t writers_live;
    /** Writers in a call of the storage for longer than `storage_deadline_ms`. */
    uint64_t writers_stuck;
    /**
     * Ring buffers of threads and producers in use. Those that are only being drained are included. A
     * thread's or producer's priority ring buffer is not counted beside its other one.
     */
    uint64_t rings;
    /** Ring buffers retired behind a batch that does not settle, priority ring buffers included. */
    uint64_t rings_retired;
    /** Bytes in ring buffers that wait to be released, with the headers of the records. */
    uint64_t backlog_bytes;
    /**
     * Nanoseconds since the capture of the oldest event that waits. Events with a time of their own are not
     * considered.
     */
    uint64_t oldest_age_ns;
    /** Payload bytes captured. */
    uint64_t bytes_captured;
    /** Payload bytes stored. */
    uint64_t bytes_stored;
    /**
     * Nanoseconds from the capture of an event to its acknowledgement: the 50th percentile, exact to 1/16.
     * Events with a time of their own are not considered.
     */
    uint64_t latency_p50_ns;
    /** The same: the 99th percentile. */
    uint64_t latency_p99_ns;
    /** The same: the 99.9th percentile. */
    uint64_t latency_p999_ns;
    /** The same: the longest. */
    uint64_t latency_max_ns;
    /** Nanoseconds since the start. */
    uint64_t uptime_ns;
    /** Events captured per second, since a moment that is one to a few seconds ago (or since the start). */
    double capture_rate;
    /** Events stored per second, since the same moment. */
    double store_rate;
    /** How often autoscaling has added writers. */
    uint64_t scale_ups;
    /** How often autoscaling has taken a writer away. */
    uint64_t scale_downs;
    /** 1 while the pipeline scales itself (`min_writers` below `max_writers`), else 0. */
    uint32_t autoscaling;
    /** The reason of the last change of the number of writers, `PIPELINE_SCALE_...`. */
    uint32_t scale_reason;
    /** `writers_target` before that change. */
    uint32_t scale_from;
    /** `writers_target` after that change. */
    uint32_t scale_to;
    /** `uptime_ns` at that change; 0 if the number has never changed. */
    uint64_t scale_at_ns;
    /** The state of the circuit, `PIPELINE_CIRCUIT_...`; see `breaker_failures`. */
    uint64_t circuit;
    /** How often the circuit has opened. */
    uint64_t circuit_openings;
    /** Attempts made as probes while the circuit was not closed. */
    uint64_t circuit_probes;
    /** Calls in which a storage that is written in Rust panicked. Each counts as `PIPELINE_STORE_RETRY`. */
    uint64_t panics;
    /**
     * The clock that stamps events at present, `PIPELINE_CLOCK_MONOTONIC` or `PIPELINE_CLOCK_TICKS`. If the
     * processor's counter goes back, it is not used any more, and CLOCK_MONOTONIC takes over.
     */
    uint32_t clock;
    /** The pressure, 0 to 100, as `pipeline_pressure` returns it. */
    uint32_t pressure;
    /**
     * The weight that a new trace gets at present (`pipeline_config_t.sampling_max_weight`). 1 while nothing
     * is sampled out.
     */
    uint32_t sampling_weight;
    /**
     * 1 while sampling is in effect: new traces may all be kept by then, but those that were sampled out
     * still are. 0 otherwise.
     */
    uint32_t sampling;
    /** The weights of the captured events, added up. The sum estimates `captured` + `dropped_sampled`. */
    uint64_t weight_captured;
    /**
     * Sampled events for whose trace there was no place in the table (`pipeline_config_t.sampling_traces`).
     * Each was decided by the weight of its moment.
     */
    uint64_t traces_untracked;
    /** Events rewritten by a transform. */
    uint64_t transformed;
    /**
     * Events that a transform left as they were because it returned a value that is not allowed, set what no
     * event may have, or ended its thread.
     */
    uint64_t transform_faults;
    /**
     * How often the pipeline had work for another call of its storage and began to wait for a permit
     * (`pipeline_limit_calls`).
     */
    uint64_t permit_waits;
    /**
     * Events that captures were asked to put into a priority ring buffer: those with
     * `PIPELINE_EVENT_PRIORITY` that are not too large for it. Each of the counts `..._priority` is a part of
     * the one without that ending. They are a ledger of their own: `offered_priority` = `captured_priority` +
     * all `dropped_..._priority` + `refused_priority`, and `captured_priority` is the sum of the other nine.
     */
    uint64_t offered_priority;
    /** Events copied into a priority ring buffer. */
    uint64_t captured_priority;
    /** Events dropped because the priority ring buffer was full. */
    uint64_t dropped_full_priority;
    /** Events with priority dropped by sampling: by the rate of a rule. */
    uint64_t dropped_sampled_priority;
    /** Events with priority dropped by a rule. */
    uint64_t dropped_rule_priority;
    /** Events that were to go to a priority ring buffer and were refused, for any reason. */
    uint64_t refused_priority;
    /** Events of priority ring buffers acknowledged by the storage. */
    uint64_t stored_priority;
    /** Events of priority ring buffers filtered by a transform. */
    uint64_t filtered_priority;
    /** Events of priority ring buffers kept by the storage's `dead_letter`. */
    uint64_t dead_lettered_priority;
    /** Events of priority ring buffers given up. */
    uint64_t discarded_priority;
    /** Events of priority ring buffers overwritten by newer ones with priority. */
    uint64_t overwritten_priority;
    /** Events in a priority ring buffer that no writer has claimed. */
    uint64_t buffered_priority;
    /** Events of priority ring buffers claimed and not settled. */
    uint64_t in_flight_priority;
    /**
     * Events of priority ring buffers claimed and not settled, whose batch has been with the storage for
     * longer than `storage_deadline_ms`.
     */
    uint64_t in_doubt_priority;
    /**
     * Events that were left in the priority ring buffers, unclaimed, when the pipeline was closed or
     * abandoned.
     */
    uint64_t left_priority;
};

/**
 * Reads the metrics of a pipeline. The caller sets `out->struct_size` before. The call does not slow captures
 * down. Any thread, callbacks included, also after `pipeline_close`. Errors: `PIPELINE_ERR_NULL`, `_VERSION`,
 * `_FORKED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `out` as its `struct_size` says.
 */
int32_t pipeline_metrics(const pipeline_t *p, pipeline_metrics_t *out);

/** `pipeline_writer_metrics_t.state`: the writer looks for events. */
#define PIPELINE_WRITER_SEARCHING 0

/** `pipeline_writer_metrics_t.state`: the writer sleeps until there are events. */
#define PIPELINE_WRITER_ASLEEP 1

/** `pipeline_writer_metrics_t.state`: the writer is in a call of the storage. */
#define PIPELINE_WRITER_IN_CALL 2

/** `pipeline_writer_metrics_t.state`: the writer starts, or waits to try that again. */
#define PIPELINE_WRITER_OPENING 3

/** The metrics of one writer. */
struct pipeline_writer_metrics_t {
    /** `sizeof(pipeline_writer_metrics_t)` in the caller's program. The caller sets it. */
    uint32_t struct_size;
    /** The writer's id. It is not used again while its thread lives. */
    uint32_t writer_id;
    /** What the writer does, `PIPELINE_WRITER_...`. */
    uint32_t state;
    /** The id of the thread in the operating system. */
    uint32_t thread_id;
    /** The writer's attempts, of batches and of dead letters. */
    uint64_t attempts;
    /** Events that the writer gave to the storage and that were acknowledged at once. */
    uint64_t events;
    /** Payload bytes of those events. */
    uint64_t bytes;
    /** Attempts after which the batch is tried again. */
    uint64_t retries;
    /** Nanoseconds in calls of the storage. */
    uint64_t call_ns;
    /** Nanoseconds that the present call of the storage has taken; 0 if there is none. */
    uint64_t in_call_ns;
    /**
     * How often a writer with this id was replaced. The metrics above began again at 0 each time. This one
     * and the next two did not.
     */
    uint64_t restarts;
    /** Calls of the storage by writers with this id that returned a value which is not allowed. */
    uint64_t bad_results;
    /** Calls of the storage by writers with this id in which the storage panicked. */
    uint64_t panics;
};

/**
 * Reads the metrics of one writer. `index` is 0 to `writers_live` - 1; `PIPELINE_ERR_NOT_FOUND` if there is
 * no such writer. Otherwise as `pipeline_metrics`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `out` as its `struct_size` says.
 */
int32_t pipeline_writer_metrics(const pipeline_t *p,
                                uint32_t index,
                                pipeline_writer_metrics_t *out);

/** `pipeline_health_t.status`: everything works. */
#define PIPELINE_HEALTHY 0

/**
 * `pipeline_health_t.status`: something needs attention, but events get stored, or would if the pipeline's
 * owner let them.
 */
#define PIPELINE_DEGRADED 1

/**
 * `pipeline_health_t.status`: nothing gets stored at present: the circuit is open, every call that may run is
 * stuck, or no writer can open.
 */
#define PIPELINE_FAILING 2

/** `pipeline_health_t.reasons`: `membarrier(2)` is refused here, so each capture pays for a fence. */
#define PIPELINE_HEALTH_NO_MEMBARRIER 1

/** `pipeline_health_t.reasons`: batches wait for their next attempt. */
#define PIPELINE_HEALTH_RETRYING 2

/** `pipeline_health_t.reasons`: a storage call or a pending answer has outlived `storage_deadline_ms`. */
#define PIPELINE_HEALTH_STUCK 4

/** `pipeline_health_t.reasons`: there are no writers; events are only buffered. */
#define PIPELINE_HEALTH_NO_WRITERS 8

/** `pipeline_health_t.reasons`: the pipeline is paused. */
#define PIPELINE_HEALTH_PAUSED 16

/** `pipeline_health_t.reasons`: a writer cannot start (`open_writer` fails). */
#define PIPELINE_HEALTH_WRITER_OPEN 32

/** `pipeline_health_t.reasons`: the pipeline is closed. */
#define PIPELINE_HEALTH_CLOSED 64

/** `pipeline_health_t.reasons`: ring buffers are retired behind a batch that does not settle. */
#define PIPELINE_HEALTH_RETIRED 128

/**
 * `pipeline_health_t.reasons`: the storage has failed `breaker_failures` times in a row; it is given one
 * batch now and then, until it keeps one.
 */
#define PIPELINE_HEALTH_CIRCUIT_OPEN 256

/**
 * `pipeline_health_t.reasons`: a call of the storage ended its writer's thread, panicked or returned a number
 * that is no answer, and the storage has given no proper answer since.
 */
#define PIPELINE_HEALTH_FAULT 512

/**
 * `pipeline_health_t.reasons`: a writer was refused what `writer_class`, `writer_priority`, `writer_nice` or
 * `writer_cpus` ask for, and works without.
 */
#define PIPELINE_HEALTH_PLACEMENT 1024

/**
 * `pipeline_health_t.reasons`: `pipeline_close` has found everything settled, and the storage's `finish`
 * runs.
 */
#define PIPELINE_HEALTH_FINISHING 2048

/**
 * `pipeline_health_t.reasons`: the storage's `finish` has failed. Everything is stored, but the storage's
 * final work (indexes, a seal) is missing.
 */
#define PIPELINE_HEALTH_FINISH_FAILED 4096

/**
 * `pipeline_health_t.reasons`: the pressure is at `watermark_percent` or above it: a ring buffer is that
 * full, or the oldest event that old against `pressure_age_ms`.
 */
#define PIPELINE_HEALTH_PRESSURE 8192

/**
 * `pipeline_health_t.reasons`: a transform (`pipeline_transform`) returned a value that is not allowed, set
 * what no event may have, or ended its thread. The reason stays until it has answered for all events of a
 * batch as it should, or is replaced.
 */
#define PIPELINE_HEALTH_TRANSFORM 16384

/**
 * `pipeline_health_t.reasons`: a ring file of a run that has ended was refused, or cannot be read or
 * released. What is in it stays there.
 */
#define PIPELINE_HEALTH_RECOVERY 32768

/**
 * `pipeline_health_t.reasons`: the last snapshot that a rule has asked for (`pipeline_snapshot_on_trigger`)
 * has failed.
 */
#define PIPELINE_HEALTH_SNAPSHOT_FAILED 65536

/** `pipeline_health_t.fault`: there was none. */
#define PIPELINE_FAULT_NONE 0

/** `pipeline_health_t.fault`: a callback ended its writer's thread; the writer was replaced. */
#define PIPELINE_FAULT_ENDED 1

/** `pipeline_health_t.fault`: a storage that is written in Rust panicked; its writer goes on. */
#define PIPELINE_FAULT_PANIC 2

/**
 * `pipeline_health_t.fault`: the storage returned a number that is no answer; it counts as
 * `PIPELINE_STORE_RETRY`.
 */
#define PIPELINE_FAULT_ANSWER 3

/** The health of a pipeline. */
struct pipeline_health_t {
    /** `sizeof(pipeline_health_t)` in the caller's program. The caller sets it. */
    uint32_t struct_size;
    /** `PIPELINE_HEALTHY`, `PIPELINE_DEGRADED` or `PIPELINE_FAILING`. */
    uint32_t status;
    /** The reasons for it, bits `PIPELINE_HEALTH_...`. */
    uint32_t reasons;
    /** The number of writers that there are. */
    uint32_t writers_live;
    /** Writers stuck in a call of the storage. */
    uint32_t writers_stuck;
    /** Batches that wait for their next attempt. */
    uint32_t batches_retrying;
    /**
     * The reasons in words, the gravest first: the writers, the batches and the times. It is NUL-terminated.
     * A text that is too long is cut and ends in "...". It is for people; the wording may change.
     */
    char message[256];
    /** The state of the circuit, `PIPELINE_CIRCUIT_...`. */
    uint32_t circuit;
    /** The last fault of the storage, `PIPELINE_FAULT_...`. */
    uint32_t fault;
    /** The writer that made the call with that fault. */
    uint32_t fault_writer;
    /** With `PIPELINE_FAULT_ANSWER`: the value that the storage returned. */
    int32_t fault_answer;
    /** The batch of that call; 0 if it had none. */
    uint64_t fault_batch;
    /** Nanoseconds since that call. */
    uint64_t fault_age_ns;
    /** The number of faults: `writer_restarts`, `panics` and `bad_results` together. */
    uint64_t faults;
    /**
     * The time in nanoseconds of the longest call or pending answer past `storage_deadline_ms`; 0 if there is
     * none.
     */
    uint64_t stuck_ns;
    /** The batch of that call or answer; 0 if it has none. */
    uint64_t stuck_batch;
    /** The writer of that call, or the one that gave the batch to the storage. */
    uint32_t stuck_writer;
    /** 0. */
    uint32_t reserved;
};

/**
 * Reads the health of a pipeline. The caller sets `out->struct_size` before. Any thread, callbacks included,
 * also after `pipeline_close`. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_FORKED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `out` as its `struct_size` says.
 */
int32_t pipeline_health(const pipeline_t *p, pipeline_health_t *out);

/** `pipeline_metrics_text`: Prometheus' text format, version 0.0.4 (`text/plain; version=0.0.4`). */
#define PIPELINE_METRICS_PROMETHEUS 0

/**
 * `pipeline_metrics_text`: OpenMetrics, version 1.0.0 (`application/openmetrics-text; version=1.0.0;
 * charset=utf-8`).
 */
#define PIPELINE_METRICS_OPENMETRICS 1

/**
 * Writes the metrics of pipelines as text, in a format that Prometheus and others read: what
 * `pipeline_metrics` and `pipeline_writer_metrics` have, the health, and a histogram of the time from capture
 * to acknowledgement. docs/metrics.md lists them. `format` is `PIPELINE_METRICS_...`.
 *
 * The text of several pipelines is not that of each one after the other, because the samples of a metric
 * stand together: give all of them in one call. The labels are `pipeline` (the name), `storage` ("journal",
 * "sqlite" or "custom") and, of a writer's metrics, `writer` (its id). Of pipelines with the same name, the
 * one that was started first has the plain name, and the others have `NAME#` and a number.
 *
 * `buffer` has `size` bytes. The text ends in a NUL. `*length` becomes its length, without the NUL. With
 * `buffer` NULL and `size` 0, `*length` becomes a length that is enough for the next call as well: `*length`
 * + 1 bytes suffice for the same pipelines, whatever they count meanwhile, unless writers are added. The same
 * length is in `*length` after `PIPELINE_ERR_LIMIT`: `size` is too small, and `buffer` has an empty text.
 *
 * The figures of each pipeline are of one moment. It takes a few microseconds for each pipeline, and captures
 * are not slowed down. Any thread, callbacks included, also after `pipeline_close`. Errors:
 * `PIPELINE_ERR_NULL`; `_INVALID` (`format`, or a pipeline that is given twice); `_LIMIT`; `_FORKED`;
 * `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: `pipelines` has `count` pointers, each NULL or valid; it may be NULL if `count` is 0. `buffer` is
 * NULL or has `size` writable bytes; `length` is NULL or writable.
 */
int32_t pipeline_metrics_text(const pipeline_t *const *pipelines,
                              size_t count,
                              uint32_t format,
                              char *buffer,
                              size_t size,
                              size_t *length);

/**
 * Returns how urgently the pipeline needs relief, 0 to 100: the larger of how full its fullest ring buffer is
 * (in percent of its size), and of the age of its oldest event that is not settled (in percent of
 * `pressure_age_ms`; events with a time of their own are not considered). At 100, a ring buffer is full, or
 * the oldest event is as old as `pressure_age_ms`. A program may use it to capture less.
 *
 * The call reads one word, which is kept up to date by others: by a capture at once when it finds its ring
 * buffer filled beyond `watermark_percent`; by writers when they settle a batch, at most once in a
 * millisecond, and when they find nothing to do; and ten times in a second while writers are stuck, paused or
 * missing. With `PIPELINE_OVERFLOW_DROP_OLDEST`, ring buffers are full by design, so the pressure is high as
 * soon as a ring buffer is filled for the first time.
 *
 * Any thread; also in callbacks and signal handlers. 0 for NULL, for a pipeline without events, and in a
 * forked child. `pipeline_fast_pressure` does the same without a call. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid.
 */
uint32_t pipeline_pressure(const pipeline_t *p);

/**
 * Sets the function that is called when the pressure (see `pipeline_pressure`) rises to `high` or more, and
 * then when it falls to `low` or less, and so on by turns. A pipeline has one such function; NULL removes it,
 * and then `low` and `high` are not read.
 *
 * The library calls it on a thread of its own, which it starts for this and which ends when there is nothing
 * more to tell of; two calls never overlap. A rise that is over before the call begins is not told of. If the
 * pressure is `high` already, the first call comes at once. `user_data` must stay valid until the function is
 * replaced or the pipeline is destroyed or (after `pipeline_abandon`) the storage's `destroy` has been
 * called. After `pipeline_close`, `pipeline_destroy` or `pipeline_abandon` no call begins; `pipeline_destroy`
 * returns `PIPELINE_ERR_BUSY` while one runs.
 *
 * The function may call this library, except what waits for the pipeline (`PIPELINE_ERR_WOULD_DEADLOCK`). It
 * may take any time, which delays only its own next call. It must not throw or call `longjmp`; if it ends its
 * thread, the next call is made on another one.
 *
 * Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_INVALID` unless 0 <= `low` < `high` <= 100;
 * `_BUSY` (the former function is being called: nothing is changed, try again); `_CLOSED` (and no call runs,
 * or will); `_FORKED`; `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `callback` may be called on any thread with `user_data`.
 */
int32_t pipeline_pressure_callback(pipeline_t *p,
                                   uint32_t low,
                                   uint32_t high,
                                   void (*callback)(void *user_data, uint32_t pressure, int32_t is_high),
                                   void *user_data);

/** `pipeline_log_callback`'s `level`: something failed. */
#define PIPELINE_LOG_ERROR 1

/** `pipeline_log_callback`'s `level`: something needs attention. */
#define PIPELINE_LOG_WARN 2

/** `pipeline_log_callback`'s `level`: something is worth knowing. Rare. */
#define PIPELINE_LOG_INFO 3

/** `pipeline_log_callback`'s `level`: a single step, for debugging. */
#define PIPELINE_LOG_DEBUG 4

/**
 * Sets the function that receives the library's messages up to `level` (`PIPELINE_LOG_...`), for the whole
 * process. NULL, the default, turns messages off. The library calls it on writer threads and on threads that
 * are in a call of this library, but never in a capture. It holds no lock meanwhile.
 *
 * A call of the former callback may still be running when this function returns, so the former `user_data`
 * must stay valid. Each replacement keeps some dozens of bytes allocated.
 *
 * The callback must return: it must not throw, call `longjmp` or end its thread. If it forks, the child must
 * call `exec` or `_exit`, because the files that the thread was writing to do not exist in the child.
 *
 * Any thread. Errors: `PIPELINE_ERR_INVALID` (unknown level); `PIPELINE_ERR_STATE` (the program, in Rust, has
 * set its own logger). Since 0.1.0.
 */
int32_t pipeline_log_callback(void (*callback)(void *user_data, int32_t level, const char *message),
                              void *user_data,
                              int32_t level);

/* ---- 5. End -------------------------------------------------------------------------------------------- */

/**
 * Waits until every event captured before the call is settled and the storage's `flush` has returned, for at
 * most `timeout_ms` milliseconds. -1 waits without a limit. 0 does not wait and does not call `flush`: it
 * only asks whether every event is settled. It also waits for the events of runs that have ended and that
 * count as `recovered` at the call, not for those that are still in their ring files.
 *
 * Any thread but the pipeline's own (`PIPELINE_ERR_WOULD_DEADLOCK`). Errors: `PIPELINE_ERR_NULL`, `_TIMEOUT`,
 * `_CLOSED`, `_FORKED`, `_STORAGE`, or the status that the storage's `flush` returned. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid.
 */
int32_t pipeline_flush(pipeline_t *p, int64_t timeout_ms);

/**
 * Closes a pipeline: new events are refused, the captured ones are stored, the storage is flushed and
 * finished, and the writers end. It waits for at most `timeout_ms` milliseconds; -1: without a limit. The
 * handle stays valid until `pipeline_destroy`. If the pipeline is paused, the pause ends. If it has no
 * writers, one is started.
 *
 * A recovery of runs that have ended stops. The events that writers have claimed are stored, and the call
 * waits until their ring files are released up to there. All others stay in the ring files, for the next
 * recovery.
 *
 * `PIPELINE_ERR_TIMEOUT`: some events are not settled. `pipeline_metrics` shows how many are `left`, in
 * flight and in doubt. A call of the storage that is running goes on. If events were left, another close
 * continues. Otherwise another close returns `PIPELINE_ERR_CLOSED`. A close that is waiting also returns
 * `PIPELINE_ERR_CLOSED` if the close of another thread reaches its time limit.
 *
 * The call waits for captures that other threads have begun, for at most 2 seconds and never longer than
 * `timeout_ms`. A capture takes less than a microsecond while its thread runs. If one has not ended after 2
 * seconds (because its thread does not run, or a signal handler has left it by `siglongjmp`), every other
 * event is stored, and the call returns `PIPELINE_ERR_TIMEOUT`.
 *
 * If the storage has a `finish`, it is called when every event is settled. If it fails, the call returns
 * `PIPELINE_ERR_STORAGE`: every event is stored, and `pipeline_last_error` and `pipeline_health`
 * (`PIPELINE_HEALTH_FINISH_FAILED`) describe the failure. If it is still running when the time is over, the
 * call returns `PIPELINE_OK`: every event is stored. `finish` then goes on in the background,
 * `pipeline_health` reports `PIPELINE_HEALTH_FINISHING`, and `pipeline_destroy` returns `PIPELINE_ERR_BUSY`
 * until it has ended. The exit of the process does not wait for it. If it could not start in time because
 * another call of the storage does not return, the call returns `PIPELINE_ERR_TIMEOUT`, and another close has
 * it called.
 *
 * Any thread but the pipeline's own (`PIPELINE_ERR_WOULD_DEADLOCK`). Errors: `PIPELINE_ERR_NULL`, `_TIMEOUT`,
 * `_CLOSED`, `_FORKED`, `_STORAGE`, or the status that the storage's `flush` returned. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid.
 */
int32_t pipeline_close(pipeline_t *p, int64_t timeout_ms);

/**
 * Frees a pipeline. It never waits. `PIPELINE_ERR_BUSY`: a callback runs, a writer has not ended, a token is
 * not completed, or a capture is under way; the handle stays valid. A pipeline that was not closed is then
 * told to stop, without storing what is left.
 *
 * After `PIPELINE_OK`, no callback runs and the handle is invalid. The storage's `release` (for the events
 * that were left) and its `destroy` have run on the calling thread, so they should be short. Work that takes
 * long belongs in `finish`. Producers that are still open keep their memory.
 *
 * In a forked child the call frees the parent's pipeline without calling the storage, and returns
 * `PIPELINE_OK`. Any thread but the pipeline's own (`PIPELINE_ERR_WOULD_DEADLOCK`). Errors:
 * `PIPELINE_ERR_NULL`, `_BUSY`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid, and not used again after `PIPELINE_OK`.
 */
int32_t pipeline_destroy(pipeline_t *p);

/**
 * Gives a pipeline up at once, whatever is running: new events are refused, and no further event is stored.
 * The handle is invalid afterwards. The call waits for nothing, neither for a callback nor for a capture of
 * another thread. When the last callback, token and capture has ended, a thread of the library (never the
 * caller's) calls `release` for the events that are left, calls the storage's `destroy`, and frees the
 * pipeline.
 *
 * For the destructors of garbage-collected languages. A destructor at the end of a scope should first call
 * `pipeline_close` with `exit_timeout_ms`, as the C++ wrapper's does. Any thread, callbacks included; but in
 * a `release` or `destroy` that `pipeline_destroy` calls, it returns `PIPELINE_ERR_WOULD_DEADLOCK` and does
 * nothing. Errors: `PIPELINE_ERR_NULL`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid, and not used again.
 */
int32_t pipeline_abandon(pipeline_t *p);

/* ---- 6. Read a journal --------------------------------------------------------------------------------- */

/**
 * `pipeline_reader_options_t.flags`: the events come in the order of (time, generation, ring, sequence), over
 * all rings and segments. Runs of different boots of the machine come one after the other. Without this flag
 * the events come as they are stored, segment after segment, which is faster.
 */
#define PIPELINE_READER_TIME_ORDER 1

/**
 * `pipeline_reader_options_t.flags`: the reader goes on with what is written after it was opened. What comes
 * later is given in the order in which it is found; only events of one ring keep their order, as far as they
 * were written in it.
 */
#define PIPELINE_READER_FOLLOW 2

/** What a reader gives. `pipeline_reader_options_init` writes every default: everything, as it is stored. */
struct pipeline_reader_options_t {
    /** `sizeof(pipeline_reader_options_t)` of the caller. */
    uint32_t struct_size;
    /** `PIPELINE_READER_...`, or 0. */
    uint32_t flags;
    /** Only events whose `timestamp_ns` is at least this. Default 0. */
    uint64_t from_ns;
    /** Only events whose `timestamp_ns` is less than this. Default `UINT64_MAX`: no bound. */
    uint64_t to_ns;
    /** Only events whose `realtime_ns` is at least this. Default 0. */
    uint64_t from_realtime_ns;
    /** Only events whose `realtime_ns` is less than this. Default `UINT64_MAX`: no bound. */
    uint64_t to_realtime_ns;
    /** Only events with this correlation id. Default 0: all. */
    uint64_t correlation_id;
    /** Only events of this run. Default 0: of all runs. */
    uint64_t generation;
    /** The kinds of the events that are given; copied during the call. Default NULL: all kinds. */
    const uint32_t *kinds;
    /** The number of `kinds`. Default 0. */
    size_t kind_count;
    /**
     * How much memory the reader may use, in bytes; at least 16 MiB. An event that takes more than a quarter
     * (compressed: an eighth) is counted in `pipeline_reader_losses_t`, and not given. Default 192 MiB.
     */
    uint64_t memory_bytes;
};

/**
 * Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_reader_options_t)` as
 * `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `options` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_reader_options_init(pipeline_reader_options_t *options, size_t struct_size);

/**
 * Opens the journal in the directory `path`, or the single segment `path`. It reads the headers of all
 * blocks, and what the journal says about kinds, threads and clocks. `options` may be NULL: everything is
 * given, as it is stored. A directory without a segment is an empty journal. A reader needs no pipeline,
 * writes nothing, and may be used while the journal is written, by this process or another.
 *
 * Any thread, callbacks included (it waits for the disk); not in a signal handler. Errors:
 * `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID` (an option, or the file is no segment); `_NOT_FOUND`;
 * `_UNSUPPORTED` (`path` is a segment of another version or byte order; in a directory, such segments are
 * counted in `pipeline_reader_losses_t`); `_LIMIT` (`memory_bytes` is too little for so many blocks);
 * `_SYSTEM`; `_NO_MEMORY`. `pipeline_last_error` names the file or the option. Since 0.1.0.
 *
 * Requires: `path` is NULL or NUL-terminated; `options` is NULL or as its `struct_size` says, with
 * `kind_count` kinds; `out` is NULL or writable.
 */
int32_t pipeline_reader_open(const char *path,
                             const pipeline_reader_options_t *options,
                             pipeline_reader_t **out);

/** An event of a journal. */
struct pipeline_reader_event_t {
    /** `sizeof(pipeline_reader_event_t)` of the caller. */
    uint32_t struct_size;
    /** As captured. */
    uint32_t kind;
    /**
     * The run of the pipeline. With `ring_id` and `sequence` this is the event's identity: a reader gives
     * each once.
     */
    uint64_t generation;
    /** The ring buffer that the event was captured into. */
    uint64_t ring_id;
    /**
     * The event's number in its ring buffer. A gap is an event that was dropped, overwritten, or is in a part
     * that is missing.
     */
    uint64_t sequence;
    /** CLOCK_MONOTONIC in nanoseconds at capture, or the caller's own with `PIPELINE_EVENT_OWN_TIME`. */
    uint64_t timestamp_ns;
    /** The same in nanoseconds since 1970, by the difference of the two clocks when the event was stored. */
    uint64_t realtime_ns;
    /** As captured; 0: none. */
    uint64_t correlation_id;
    /** As captured; 0: none. */
    uint64_t node_id;
    /** As captured: `PIPELINE_EVENT_...`. */
    uint32_t flags;
    /** 0. */
    uint32_t reserved;
    /** How many captured events this one stands for. */
    double weight;
    /**
     * The payload, valid until the next event is asked for. It need not be aligned. Not NULL, also when `len`
     * is 0.
     */
    const void *data;
    /** The payload's length in bytes. */
    size_t len;
};

/**
 * Gives the next event. Set `event->struct_size` to `sizeof(pipeline_reader_event_t)`. The payload is valid
 * until the next call of this function, of `pipeline_reader_next_many` or of `pipeline_reader_close`.
 *
 * Returns `PIPELINE_OK`, or `PIPELINE_END` after the last event; a reader with `PIPELINE_READER_FOLLOW` never
 * ends: if there is no event within `timeout_ms`, it returns `PIPELINE_ERR_TIMEOUT` (-1 waits for ever, 0
 * does not wait). Other readers ignore `timeout_ms`. What is damaged or missing is skipped and counted: see
 * `pipeline_reader_losses`.
 *
 * One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`; `_NO_MEMORY`, `_SYSTEM`, `_LIMIT`: the call
 * may be made again. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `event` is NULL or as its `struct_size`
 * says.
 */
int32_t pipeline_reader_next(pipeline_reader_t *reader,
                             int64_t timeout_ms,
                             pipeline_reader_event_t *event);

/**
 * As `pipeline_reader_next`, for up to `capacity` events at less than they cost one by one. `events` is an
 * array whose elements each follow the one before by the `struct_size` of the first. `*count` is set to the
 * number of events, at least 1, if the call returns `PIPELINE_OK`; it may be less than `capacity` at any
 * time. All payloads are valid until the next call of either function. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `events` is NULL or as said; `count` is
 * NULL or writable.
 */
int32_t pipeline_reader_next_many(pipeline_reader_t *reader,
                                  int64_t timeout_ms,
                                  pipeline_reader_event_t *events,
                                  size_t capacity,
                                  size_t *count);

/** A kind that has a name or a definition. */
struct pipeline_reader_kind_t {
    /** The run of the pipeline. */
    uint64_t generation;
    /** The kind. */
    uint32_t kind;
    /** 0. */
    uint32_t reserved;
    /** Its name. NULL: it has none. */
    const char *name;
    /** Its definition. NULL: it has none. */
    const pipeline_kind_definition_t *definition;
};

/** The kinds of a journal, by generation and kind. Step through them by `PIPELINE_READER_KIND(list, i)`. */
struct pipeline_reader_kinds_t {
    /** `sizeof(pipeline_reader_kinds_t)` of the library. */
    uint32_t struct_size;
    /** The bytes from one kind to the next. */
    uint32_t stride;
    /** The number of kinds. */
    size_t count;
    /** The kinds. Not NULL, also when `count` is 0. */
    const pipeline_reader_kind_t *kinds;
};

/**
 * The kind at index i of a `pipeline_reader_kinds_t`, a `const pipeline_reader_kind_t *`. It steps by the list's
 * own `stride`, so that a program built with an older header reads the kinds of a newer library.
 */
#define PIPELINE_READER_KIND(list, i) \
    ((const pipeline_reader_kind_t *)(const void *)((const char *)(const void *)(list)->kinds + \
                                                    (size_t)(i) * (list)->stride))
/**
 * Shows the kinds that have a name or a definition, of all runs in the journal. All that is known when the
 * reader is opened is there; a reader that follows the journal may learn more later. `*out` and what it
 * points to are the reader's, and valid until the next call of this function or `pipeline_reader_close`.
 *
 * One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `out` is NULL or writable.
 */
int32_t pipeline_reader_definitions(pipeline_reader_t *reader,
                                    const pipeline_reader_kinds_t **out);

/** The thread of a ring buffer. */
struct pipeline_reader_thread_t {
    /** `sizeof(pipeline_reader_thread_t)` of the caller. */
    uint32_t struct_size;
    /** 0. */
    uint32_t reserved;
    /** The id of the thread. */
    uint64_t thread_id;
    /** The name of the thread. Never NULL. Valid until the next call on the reader. */
    const char *name;
};

/**
 * Shows which thread captured into a ring buffer. Set `out->struct_size`. One thread at a time. Errors:
 * `PIPELINE_ERR_NULL`, `_VERSION`; `_NOT_FOUND`: the journal does not say. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size`
 * says.
 */
int32_t pipeline_reader_thread(pipeline_reader_t *reader,
                               uint64_t generation,
                               uint64_t ring_id,
                               pipeline_reader_thread_t *out);

/** An attribute of a run: see `pipeline_attribute`. */
struct pipeline_reader_attribute_t {
    /** `sizeof(pipeline_reader_attribute_t)` of the caller. */
    uint32_t struct_size;
    /** 0. */
    uint32_t reserved;
    /** Its name. Never NULL. Valid until the next call on the reader. */
    const char *name;
    /** Its value. Never NULL. Valid until the next call on the reader. */
    const char *value;
};

/**
 * Shows an attribute of a run (see `pipeline_attribute`): the one at `index`, from 0, in the order of their
 * names. Set `out->struct_size`. One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_NO_MEMORY`;
 * `_NOT_FOUND`: there are not that many. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size`
 * says.
 */
int32_t pipeline_reader_attribute(pipeline_reader_t *reader,
                                  uint64_t generation,
                                  size_t index,
                                  pipeline_reader_attribute_t *out);

/** What a reader could not give so far. It is complete when all events have been read. */
struct pipeline_reader_losses_t {
    /** `sizeof(pipeline_reader_losses_t)` of the caller. */
    uint32_t struct_size;
    /** 1: something is lost; 0: nothing is. */
    uint32_t any;
    /** Blocks whose contents are not those that were written. */
    uint64_t damaged_blocks;
    /** The events that they had. */
    uint64_t damaged_events;
    /** Places where a block should begin and none does. */
    uint64_t damages;
    /** The bytes that are skipped because of both. */
    uint64_t damaged_bytes;
    /** Segments whose writer ended in the middle of a write. That write was not acknowledged. */
    uint64_t torn_tails;
    /** The bytes of those. */
    uint64_t torn_bytes;
    /** Blocks that cannot be read: by their encoding, or because of `memory_bytes`. */
    uint64_t unreadable_blocks;
    /** The events in them. */
    uint64_t unreadable_events;
    /** Events that are stored more than once and are given once. They are no loss. */
    uint64_t duplicates;
    /** Events with one identity and two contents. The one that was stored first is given. */
    uint64_t contradictions;
    /** Definitions of kinds that contradict an earlier one, or cannot be read. */
    uint64_t bad_facts;
    /**
     * Segments that are not read, or not to their end: of another version, another byte order, or no segments
     * at all.
     */
    uint64_t refused_segments;
    /** Segments that were deleted before they were read. */
    uint64_t gone_segments;
    /** The events in them, as far as they were known. */
    uint64_t gone_events;
    /**
     * What is lost and why, a line for each: for people, and not to be parsed. Never NULL; "" if nothing is
     * lost. Valid until the next call on the reader.
     */
    const char *details;
};

/**
 * Counts what the reader could not give so far. Set `out->struct_size`. One thread at a time. Errors:
 * `PIPELINE_ERR_NULL`, `_VERSION`, `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size`
 * says.
 */
int32_t pipeline_reader_losses(pipeline_reader_t *reader, pipeline_reader_losses_t *out);

/**
 * Closes a reader and frees it. NULL is allowed and does nothing. One thread at a time. Returns
 * `PIPELINE_OK`. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open, used by no other thread, and not used again.
 */
int32_t pipeline_reader_close(pipeline_reader_t *reader);

/* ---- 7. Advanced: snapshots and the flight recorder ----------------------------------------------------- */

/**
 * `pipeline_snapshot_options_t.flags`: the call returns when the snapshot is on the disk, so that it survives
 * a power loss.
 */
#define PIPELINE_SNAPSHOT_SYNC 1

/** The options of a snapshot. `pipeline_snapshot_options_init` writes every default. */
struct pipeline_snapshot_options_t {
    /** `sizeof(pipeline_snapshot_options_t)` of the caller. */
    uint32_t struct_size;
    /** 0, or `PIPELINE_SNAPSHOT_SYNC`. */
    uint32_t flags;
    /**
     * Bytes of memory that the call may use for copies of rings, at most 2^47; less than 1 MiB counts as
     * that. Default 4194304 (4 MiB). It takes no more than the rings have, and gives it back before it
     * returns. Rings that fit together are copied one right after the other, before any of them is written,
     * so that they show the same moment. A larger ring is copied and written in parts, which takes less time.
     */
    uint64_t copy_bytes;
    /** How events lie in the file: `PIPELINE_JOURNAL_RAW`, the default, or `PIPELINE_JOURNAL_COLUMNS...`. */
    uint32_t encoding;
    /**
     * The permissions of the file, as the bits of chmod(2): 0600 and any of 0066. Default 0600: the owner
     * alone. They are applied exactly, whatever the umask of the process. A directory that the call makes can
     * be listed by those who may read its files.
     */
    uint32_t file_mode;
    /**
     * For `pipeline_snapshot_on_trigger`: milliseconds from one snapshot to the next, at least; at most a
     * hundred years. What is asked for meanwhile is answered by one snapshot after that time. Default 10000.
     */
    uint64_t min_interval_ms;
    /**
     * For `pipeline_snapshot_on_trigger`: so many snapshots are taken, those that fail included, at least 1.
     * Default 100.
     */
    uint64_t max_snapshots;
};

/**
 * Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_snapshot_options_t)` as
 * `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `options` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_snapshot_options_init(pipeline_snapshot_options_t *options, size_t struct_size);

/** What a snapshot has. The caller sets `struct_size`. */
struct pipeline_snapshot_t {
    /** `sizeof(pipeline_snapshot_t)` of the caller. */
    uint32_t struct_size;
    /** 0. */
    uint32_t reserved;
    /** The run whose events it has: the first part of their identities, and of the file's name. */
    uint64_t generation;
    /**
     * The number of its file, which is named after the generation, as 16 hexadecimal digits, and this number,
     * as at least 8 decimal ones: `0123456789abcdef-00000001.journal`.
     */
    uint64_t segment;
    /** Events. */
    uint64_t events;
    /** Rings with events. */
    uint64_t rings;
    /** Bytes of the file. */
    uint64_t bytes;
    /**
     * Events that are left out because they have `PIPELINE_EVENT_RELEASE`: their payload means nothing
     * outside the process.
     */
    uint64_t left_out;
    /**
     * Bytes of rings that were stored or overwritten while they were copied, and that are left out for that.
     */
    uint64_t passed_bytes;
    /**
     * Bytes of rings that hold no records. It is 0, unless something else in the process has written to the
     * rings' memory.
     */
    uint64_t damaged_bytes;
    /**
     * The earliest time of its events, CLOCK_MONOTONIC in nanoseconds, callers' own times included; 0 without
     * events.
     */
    uint64_t first_ns;
    /** The latest one. */
    uint64_t last_ns;
    /** How long the call took, in nanoseconds. */
    uint64_t took_ns;
};

/**
 * Writes what lies in the rings of a pipeline to the directory `dir`, as a journal: a file of its own for
 * each call. `options` may be NULL: all defaults. `out` may be NULL.
 *
 * It changes nothing: the events stay in the rings, and are stored or overwritten later as if there had been
 * no snapshot. Captures and writers go on meanwhile. No capture waits for it, and no event is dropped because
 * of it. It takes every event whose capture returned before the call, unless the event is stored or
 * overwritten before it is copied; `passed_bytes` says how much was. Later events may be among them.
 *
 * With `PIPELINE_OVERFLOW_DROP_OLDEST` and no writers a pipeline is a flight recorder: it keeps the last
 * events of each thread, as many as `ring_bytes` takes, and this call writes them, as often as wanted.
 * docs/flight_recorder.md describes it. With writers, the call writes the events that are not stored yet.
 *
 * The events have their identities (generation, ring, sequence). So several snapshots may go to one
 * directory, and to that of the pipeline's journal: whoever reads it by `pipeline_reader_open`, or by the
 * command `capture-pipeline`, gets each event once. The files are never deleted by the library, unless the
 * directory is also that of a journal with limits.
 *
 * A missing directory is made with permissions as `file_mode` says; its parent must be there. If the last
 * part of `dir` is a symbolic link, it is not followed. In a folder that all users may write to, another
 * user's directory is refused. After an error there is no new file.
 *
 * A thread of the library does the work, and the call waits for it. Any thread, callbacks included, also
 * after `pipeline_close` and from several threads at once; not a signal handler: let a handler wake a thread
 * that calls it. `out` is written only on success. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`,
 * `_NO_MEMORY`, `_SYSTEM`, `_STORAGE` (the directory or the file cannot be made or written, or the disk is
 * full: the last error names it), `_UNSUPPORTED` (an encoding that this build does not have; a machine with
 * another byte order), `_FORKED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `dir` is NULL or NUL-terminated; `options` and `out` are NULL or as their
 * `struct_size` says.
 */
int32_t pipeline_snapshot(const pipeline_t *p,
                          const char *dir,
                          const pipeline_snapshot_options_t *options,
                          pipeline_snapshot_t *out);

/**
 * Sets where snapshots go that rules ask for (`PIPELINE_RULE_SNAPSHOT`, or the action `snapshot` in a text),
 * or ends that: `dir` NULL. `options` may be NULL: all defaults.
 *
 * When an event matches such a rule, a thread of the library takes a snapshot, as `pipeline_snapshot` does;
 * the event that has asked is in it. The capture does not wait for it. At most one is taken in
 * `min_interval_ms`, and `max_snapshots` in all; another call of this function begins the count anew. What is
 * asked for before the first call, or when all are taken, is forgotten.
 * `pipeline_rule_metrics_t.snapshots_asked` counts what rules have asked for.
 *
 * A snapshot that fails is logged, and `pipeline_health` says `PIPELINE_HEALTH_SNAPSHOT_FAILED` until one
 * succeeds, or this function is called again.
 *
 * The directory is opened, or made, during the call, so that most errors show at once. Any thread, callbacks
 * included; not a signal handler. Errors: those of `pipeline_snapshot`, but for a NULL `dir`;
 * `PIPELINE_ERR_CLOSED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `dir` is NULL or NUL-terminated; `options` is NULL or as its `struct_size`
 * says.
 */
int32_t pipeline_snapshot_on_trigger(pipeline_t *p,
                                     const char *dir,
                                     const pipeline_snapshot_options_t *options);

/* ---- 7. Advanced: transforms --------------------------------------------------------------------------- */

/**
 * `pipeline_transform_t.transform`: the event stays as it is. What the function wrote into `rewrite` is
 * ignored.
 */
#define PIPELINE_TRANSFORM_KEEP 0

/** `pipeline_transform_t.transform`: the event is not stored. It counts as `filtered`. */
#define PIPELINE_TRANSFORM_FILTER 1

/**
 * `pipeline_transform_t.transform`: the storage gets the event as `rewrite` says, with the flag
 * `PIPELINE_EVENT_TRANSFORMED`.
 */
#define PIPELINE_TRANSFORM_REWRITE 2

/**
 * What a transform makes of an event. Every member has the event's value before the call; the function
 * changes what it likes and returns `PIPELINE_TRANSFORM_REWRITE`.
 */
struct pipeline_rewrite_t {
    /** `sizeof(pipeline_rewrite_t)` of the library. */
    uint32_t struct_size;
    /** The kind; below `PIPELINE_KIND_RESERVED`. */
    uint32_t kind;
    /** The trace that the event belongs to. */
    uint64_t correlation_id;
    /** The place in the program that the event came from. */
    uint64_t node_id;
    /**
     * The payload. The function may set it to memory of its own, which must stay as it is until the function
     * is called again on the same thread or the thread ends; to `scratch`; or to a part of the event's
     * payload. The library copies it when the function has returned. NULL only if `len` is 0.
     */
    const void *data;
    /** The payload's length in bytes, at most `scratch_len`. */
    size_t len;
    /**
     * Memory of the library's that the function may write a new payload into, 8-byte aligned. Its contents
     * before the call have no meaning, and it is lost unless `data` points to it when the function returns.
     */
    void *scratch;
    /** Its size in bytes, which is the pipeline's `max_event_bytes`. */
    size_t scratch_len;
    /**
     * `PIPELINE_EVENT_...`. The function may set and clear the tags, `PIPELINE_EVENT_TAG_1` to `_8`, and
     * `PIPELINE_EVENT_OPAQUE`, no other flag.
     */
    uint32_t flags;
    /** Not used. */
    uint32_t reserved;
};

/**
 * A function that sees each event before the storage does, and may filter or rewrite it: see
 * `pipeline_transform`.
 */
struct pipeline_transform_t {
    /** `sizeof(pipeline_transform_t)` of the caller. */
    uint32_t struct_size;
    /** Must be 0. */
    uint32_t flags;
    /** The first argument of both functions. The library does not use it otherwise. */
    void *user_data;
    /**
     * Called with each event. Required. It returns `PIPELINE_TRANSFORM_...`. `event` is what was captured; it
     * is valid during the call. `rewrite` is the same event, to be changed for `PIPELINE_TRANSFORM_REWRITE`.
     * If the function returns any other value, or sets what no event may have, the event stays as it is,
     * `pipeline_metrics_t.transform_faults` counts it, and `pipeline_health` says what was wrong.
     */
    int32_t (*transform)(void *user_data,
                         const pipeline_event_view_t *event,
                         pipeline_rewrite_t *rewrite);
    /**
     * Called exactly once, after all calls of `transform`, when the library needs the transform no longer,
     * because it was replaced or the pipeline ends; also if `pipeline_transform` fails after it has accepted
     * the `struct_size`. It is called by `pipeline_transform`, on a writer's thread, or by what ends the
     * pipeline. May be NULL.
     */
    void (*destroy)(void *user_data);
};

/**
 * Sets every member of `transform` to its default (NULL or 0), and `struct_size` to the caller's. Pass
 * `sizeof(pipeline_transform_t)` as `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since
 * 0.1.0.
 *
 * Requires: `transform` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_transform_init(pipeline_transform_t *transform, size_t struct_size);

/**
 * Sets the transform of a pipeline: a function that a writer calls with each event of a batch, once, before
 * the batch first goes to the storage. `transform` is copied. NULL: there is none any more. A pipeline has
 * one transform at most; a new one takes the place of the former. It applies to the batches that are claimed
 * from then on; a batch that was claimed before keeps the one that it has.
 *
 * The function lets an event pass (`PIPELINE_TRANSFORM_KEEP`), filters it (`PIPELINE_TRANSFORM_FILTER`: the
 * event counts as `filtered`), or changes its kind, its ids, its tags or its payload
 * (`PIPELINE_TRANSFORM_REWRITE`). The storage, and its `dead_letter`, see what the function has made of the
 * batch: `pipeline_batch_set_stored` and `pipeline_batch_set_rejected` count in that. A batch of which
 * nothing is left does not go to the storage. An event keeps its identity and its time. `release` sees every
 * event as it was captured. A rewritten event with a new payload does not have `PIPELINE_EVENT_RELEASE`. The
 * library's own events are not shown to the function.
 *
 * The payloads that the function sets for a batch may have `batch_bytes` in all (or `max_event_bytes`, if
 * that is more). If another could make them more, the batch is cut: the storage gets the events before, and
 * when they have left the pipeline, the function is called with the others. Both parts have the same
 * `batch_id`, and the `attempt` of each begins at 1.
 *
 * The function is called on writer threads; with `PIPELINE_STORAGE_CONCURRENT` on several at a time, else
 * never beside `store`, `flush` or `dead_letter`. Its calls for a batch are together held to
 * `storage_deadline_ms`, as a call of the storage is. It may call this library, except what waits for the
 * pipeline (`PIPELINE_ERR_WOULD_DEADLOCK`); a capture in it never blocks. It must not throw or call
 * `longjmp`. If it ends its thread, the event stays as it was, and another writer goes on with the next
 * event.
 *
 * While a pipeline has a transform, `pipeline_batch_exchange` returns no next batch, and a journal copies
 * every event into its blocks.
 *
 * The pipeline owns the transform as soon as it has accepted its `struct_size`: from then on `destroy` runs
 * exactly once, also if the call fails. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL` (the
 * pipeline or `transform->transform` is NULL); `_VERSION`; `_INVALID` (`flags` is not 0); `_CLOSED`;
 * `_FORKED`; `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `transform` is NULL or as its `struct_size` says; its functions may be
 * called as documented.
 */
int32_t pipeline_transform(pipeline_t *p, const pipeline_transform_t *transform);

/* ---- 7. Advanced: changing a running pipeline ---------------------------------------------------------- */

/**
 * Reads the configuration of a running pipeline. The caller sets `out->struct_size` before. `name`,
 * `ring_dir` and `writer_cpus` are read as NULL. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`,
 * `_VERSION`, `_FORKED`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `out` as its `struct_size` says.
 */
int32_t pipeline_config_read(const pipeline_t *p, pipeline_config_t *out);

/**
 * Changes the configuration of a running pipeline: all fields at once, or none if it fails. It is best to
 * read the configuration by `pipeline_config_read` first. Fields beyond the caller's `struct_size`, and texts
 * that are NULL, stay as they are.
 *
 * A field marked "Fixed" cannot change. A different value there is `PIPELINE_ERR_FIXED`, and
 * `pipeline_last_error` names the field. `overflow` cannot become `PIPELINE_OVERFLOW_DROP_OLDEST` if the
 * storage has a `release` without `PIPELINE_STORAGE_RELEASE_ANYWHERE`.
 *
 * `writers` is the number of writers from then on. While autoscaling is on and stays on, `writers` is
 * ignored, so that a configuration that was read can be written back. `min_writers` and `max_writers` turn
 * autoscaling on and off; `pipeline_scale` has set both to 0. A number of writers outside of the two is
 * brought to the nearer one.
 *
 * Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_FIXED`, `_CLOSED`,
 * `_FORKED`, `_SYSTEM` (a writer's thread could not be started). Since 0.1.0.
 *
 * Requires: `p` is NULL or valid; `config` as its `struct_size` says.
 */
int32_t pipeline_update(pipeline_t *p, const pipeline_config_t *config);

/**
 * Sets the number of writers, 0 to `PIPELINE_MAX_WRITERS`. It takes effect at once: missing writers start,
 * and surplus writers end after their present call of the storage. No event is lost. With 0, events are only
 * buffered. The call turns autoscaling off: it sets `min_writers` and `max_writers` of the running
 * configuration to 0. `pipeline_update` turns autoscaling on again.
 *
 * Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_LIMIT` (the number is too high, or hundreds
 * of earlier writers have not ended because their calls of the storage hang); `_CLOSED`; `_FORKED`; `_SYSTEM`
 * or `_NO_MEMORY` (a thread could not be started; the writers that could be started work). Since 0.1.0.
 *
 * Requires: `p` is NULL or valid.
 */
int32_t pipeline_scale(pipeline_t *p, uint32_t writers);

/**
 * Limits how many calls of storages run at once in this process, over all its pipelines: `store`, `flush`,
 * `dead_letter`, `release`, `finish` and transforms. 0, the default, means no limit. It serves where storages
 * share a disk, a connection or a processor, and some pipelines matter more.
 *
 * Each pipeline may have one call at any time, so with more pipelines than permits there may be more calls.
 * The permits beyond one for each pipeline go to those that have work: while several wait, the next one goes
 * to the pipeline with the fewest calls for its `pipeline_config_t.share`. A call that has taken longer than
 * `storage_deadline_ms` gives its permit back. A pending answer holds none. A writer without a permit claims
 * nothing, and sleeps. `pipeline_metrics_t.permit_waits` counts how often a pipeline began to wait.
 *
 * It takes effect at once: calls that run go on. A forked child begins without a limit. Any thread, callbacks
 * included; not a signal handler. `PIPELINE_OK`, or `PIPELINE_ERR_NO_MEMORY`. Since 0.1.0.
 */
int32_t pipeline_limit_calls(uint32_t permits);

/**
 * Stops the writers from claiming events until `pipeline_resume`. Captures go on. Batches in flight go on
 * until they are settled. Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`, `_CLOSED`, `_FORKED`.
 * Since 0.1.0.
 *
 * Requires: `p` is NULL or valid.
 */
int32_t pipeline_pause(pipeline_t *p);

/**
 * Ends the pause that `pipeline_pause` began. Any thread, callbacks included. Errors: as for
 * `pipeline_pause`. Since 0.1.0.
 *
 * Requires: `p` is NULL or valid.
 */
int32_t pipeline_resume(pipeline_t *p);

/**
 * Sets the functions that each thread of the library calls when it begins (`start`) and when it ends
 * (`stop`), for the whole process. Either may be NULL. The threads are the writers, the supervisor of each
 * pipeline, the thread on which `pipeline_start` works, and threads of storages. They are for profilers and
 * allocators that must know each thread.
 *
 * To be called before the first `pipeline_start`. Threads that run already call neither function. The
 * supervisor may end, and call `stop`, a moment after its pipeline was destroyed, so the functions and
 * `user_data` must stay valid. Any thread. Since 0.1.0.
 */
int32_t pipeline_thread_hooks(void (*start)(void *user_data), void (*stop)(void *user_data), void *user_data);

/* ---- 7. Advanced: the library's own events (PIPELINE_STORAGE_META) ------------------------------------- */

/** The name of a kind: `node_id` is the kind, the payload is its name (not NUL-terminated). */
#define PIPELINE_KIND_KIND_NAME 0xFFFF0001
/**
 * The thread that writes to a ring buffer: `node_id` is the ring buffer, `correlation_id` the id of the thread,
 * the payload its name.
 */
#define PIPELINE_KIND_THREAD 0xFFFF0002
/** The clock of a pipeline: the payload is a `pipeline_clock_facts_t`. */
#define PIPELINE_KIND_CLOCK 0xFFFF0003
/**
 * The definition of a kind: `node_id` is the kind, the payload is as docs/format.md describes it under "Definitions".
 */
#define PIPELINE_KIND_DEFINITION 0xFFFF0004
/**
 * An attribute of the pipeline: `node_id` is its number, from 0; the payload is the length of its name as one byte, its
 * name, and its value. Of several with one number the last one counts.
 */
#define PIPELINE_KIND_ATTRIBUTE 0xFFFF0006

/**
 * The payload of an event of kind `PIPELINE_KIND_CLOCK`: which clock stamps a pipeline's events, and its
 * reading beside those of others. The event comes when the pipeline starts; once more when the rate of the
 * processor's counter has been measured, within seconds; and whenever another clock takes over. Later
 * versions may append to it. Since 0.1.0.
 */
struct pipeline_clock_facts_t {
    /** `sizeof(pipeline_clock_facts_t)` of the library. */
    uint32_t struct_size;
    /**
     * The clock that stamps events from here on, `PIPELINE_CLOCK_MONOTONIC` or `PIPELINE_CLOCK_TICKS`. Events
     * show CLOCK_MONOTONIC either way.
     */
    uint32_t clock;
    /** CLOCK_MONOTONIC in nanoseconds, at one moment. */
    uint64_t monotonic_ns;
    /** CLOCK_REALTIME in nanoseconds since 1970 at that moment, within a few microseconds. */
    uint64_t realtime_ns;
    /** The processor's counter at that moment. With `PIPELINE_CLOCK_TICKS`, else 0. */
    uint64_t ticks;
    /** How fast the counter runs, in hertz. 0: not measured yet, or not `PIPELINE_CLOCK_TICKS`. */
    uint64_t ticks_hz;
    /**
     * Which boot of the machine CLOCK_MONOTONIC and the counter belong to: the bytes of
     * `/proc/sys/kernel/random/boot_id` in the order of its digits. All 0: unknown.
     */
    uint8_t boot_id[16];
    /** The process that captures. */
    uint32_t pid;
    /** 0. */
    uint32_t reserved;
};

/* ---- 7. Advanced: for libraries that extend this one --------------------------------------------------- */

/**
 * Starts a thread as the library starts its own, for a storage that needs one. The thread blocks asynchronous
 * signals, has the stack of a writer, and calls the functions of `pipeline_thread_hooks` before and after
 * `body(argument)`. It is detached: `body` reports its end, if that matters. `name` is copied; the system
 * shows at most 15 bytes of it.
 *
 * `body` must return: it must not throw, call `longjmp` or end its thread. The thread does not exist in a
 * forked child.
 *
 * Any thread, callbacks included; not a signal handler. Errors: `PIPELINE_ERR_NULL` (`name` or `body`),
 * `_NO_MEMORY`, `_SYSTEM` (the thread cannot be started; `body` is not called). Since 0.1.0.
 *
 * Requires: `name` is NULL or NUL-terminated; `body` may be called with `argument` on another thread.
 */
int32_t pipeline_thread_start(const char *name, void (*body)(void *argument), void *argument);

/**
 * Gives a message to the function that `pipeline_log_callback` has set, if it wants messages of this level
 * (`PIPELINE_LOG_...`). For storages that report as the library does. The message is cut at 1023 bytes. Call
 * it outside of locks, because the program's function runs on the calling thread, during the call.
 *
 * Any thread, callbacks included; not a signal handler. Errors: `PIPELINE_ERR_NULL`, `_INVALID` (unknown
 * level). Since 0.1.0.
 *
 * Requires: `message` is NULL or NUL-terminated.
 */
int32_t pipeline_log(int32_t level, const char *message);

/**
 * Sets the calling thread's text of `pipeline_last_error`, so that a function of a library that extends this
 * one can explain the status that it returns. The text is copied, and cut at 511 bytes.
 *
 * Any thread, callbacks included; not a signal handler. Errors: `PIPELINE_ERR_NULL`. Since 0.1.0.
 *
 * Requires: `detail` is NULL or NUL-terminated.
 */
int32_t pipeline_set_last_error(const char *detail);

/* ---- 8. Messages: events for a transport, such as NATS -------------------------------------------------- */

/**
 * `pipeline_message_encoder_open`: messages of events begin with the names of the threads of their rings,
 * where those are known. That takes 128 bytes and 64 for each ring.
 */
#define PIPELINE_MESSAGE_THREADS 1

/** What is in a message. Set `struct_size` before a call that fills it in. */
struct pipeline_message_t {
    /** `sizeof(pipeline_message_t)` of the caller. */
    uint32_t struct_size;
    /** The blocks of events, each of one ring buffer. 0: a message of facts. */
    uint32_t blocks;
    /** The run of the pipeline: the first part of every event's identity. */
    uint64_t generation;
    /** The ring buffer of the first event. */
    uint64_t ring_id;
    /** The sequence of the first event; of a message of facts, the number of the first fact. */
    uint64_t first_sequence;
    /**
     * The facts about its events that the pipeline had when the message was encoded, as many as its list had.
     * A consumer that has so many facts of this generation knows all names and definitions that were there.
     * 0: unknown.
     */
    uint64_t schema;
    /** The events in the message, or the facts. */
    size_t count;
    /** The bytes of the message. After `PIPELINE_ERR_LIMIT`: what the first event or fact needs. */
    size_t length;
};

/**
 * Opens an encoder, which makes messages: events as blocks of a journal, for a storage that sends them
 * somewhere. docs/format.md specifies them. `encoding` is `PIPELINE_JOURNAL_RAW` or
 * `PIPELINE_JOURNAL_COLUMNS...`; `flags` is 0 or `PIPELINE_MESSAGE_THREADS`. An encoder keeps its memory from
 * message to message, some times the size of a message.
 *
 * Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_INVALID` (`encoding`, `flags`);
 * `_UNSUPPORTED` (a build without Zstandard); `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: `out` is NULL or writable.
 */
int32_t pipeline_message_encoder_open(uint32_t encoding,
                                      uint32_t flags,
                                      pipeline_message_encoder_t **out);

/**
 * Makes a message of events of `batch`, from index `first` on: at most `most` (`SIZE_MAX`: no limit), and as
 * many as fit into the `size` bytes of `buffer`. The next message begins at `first` + `message->count`. To be
 * called with the batch that `store` or `dead_letter` was given, during the call or until the batch's token
 * is completed.
 *
 * The same events make the same cut with the same encoder, `most` and `size`. A storage that sends a batch
 * again keeps the cut of the first attempt also behind a stored prefix: it remembers the sequence of the
 * first event of each message and its count, and gives the count as `most`. The bytes may differ in the
 * difference of the two clocks.
 *
 * Returns `PIPELINE_OK`, or `PIPELINE_END` if `first` is the number of the batch's events.
 * `PIPELINE_ERR_LIMIT`: the event at `first` does not fit alone, and `message->length` becomes the bytes that
 * it needs. `PIPELINE_ERR_INVALID`: the event at `first` can be in no message, because its payload is a
 * handle (`PIPELINE_EVENT_RELEASE`), or it is one of the library's own (`PIPELINE_STORAGE_META`); then
 * `message->count` becomes 0, and the rest may be encoded from `first` + 1 on. See
 * `pipeline_batch_set_rejected` for both.
 *
 * Set `message->struct_size`. One thread at a time uses an encoder; callbacks included, not in a signal
 * handler. Other errors: `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID` (`first`, `most`), and then `message` is
 * not written; `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: `encoder` is NULL, or open and used by no other thread; `batch` is NULL or valid; `buffer` has
 * `size` writable bytes; `message` is NULL or as its `struct_size` says.
 */
int32_t pipeline_message_encode(pipeline_message_encoder_t *encoder,
                                const pipeline_batch_t *batch,
                                size_t first,
                                size_t most,
                                void *buffer,
                                size_t size,
                                pipeline_message_t *message);

/**
 * Makes a message of facts about the events of the pipeline that `batch` is of: names and definitions of
 * kinds, attributes, readings of the clocks. They are a list that only grows, and a fact never changes. The
 * message begins with the fact number `first` (0: the oldest), and has as many as fit into the `size` bytes
 * of `buffer`. `message->schema` becomes the number of all facts in the list: if `first` + `message->count`
 * is less, the next message begins there. As long as `message->schema` of `pipeline_message_encode` does not
 * grow, there are no new facts.
 *
 * To be called during `store`, or until the batch's token is completed. Set `message->struct_size`. Returns
 * `PIPELINE_OK`, or `PIPELINE_END` if there are no more than `first` facts. `PIPELINE_ERR_LIMIT`: the fact
 * does not fit alone, and `message->length` becomes the bytes that it needs.
 *
 * One thread at a time uses an encoder; callbacks included, not in a signal handler. Other errors:
 * `PIPELINE_ERR_NULL`; `_VERSION`; `_UNKNOWN_TOKEN`; `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: As for `pipeline_message_encode`.
 */
int32_t pipeline_message_encode_facts(pipeline_message_encoder_t *encoder,
                                      const pipeline_batch_t *batch,
                                      size_t first,
                                      void *buffer,
                                      size_t size,
                                      pipeline_message_t *message);

/**
 * Closes an encoder and frees it. NULL is allowed and does nothing. One thread at a time. Returns
 * `PIPELINE_OK`. Since 0.1.0.
 *
 * Requires: `encoder` is NULL, or open, used by no other thread, and not used again.
 */
int32_t pipeline_message_encoder_close(pipeline_message_encoder_t *encoder);

/**
 * Opens a reader of messages, as `pipeline_message_encode` and `pipeline_message_encode_facts` make them. It
 * uses at most about `memory_bytes` bytes of memory for a message: at least 16 MiB; 0: 192 MiB. It needs no
 * pipeline.
 *
 * Any thread, callbacks included. Errors: `PIPELINE_ERR_NULL`; `_INVALID`; `_NO_MEMORY`. Since 0.1.0.
 *
 * Requires: `out` is NULL or writable.
 */
int32_t pipeline_message_reader_open(uint64_t memory_bytes, pipeline_message_reader_t **out);

/**
 * Takes a message: the `length` bytes at `data`, which stay valid and unchanged until the next call of this
 * function or of `pipeline_message_reader_close`. It checks all of it. A message that is damaged anywhere is
 * refused as a whole; `pipeline_last_error` says where, and the reader has no message then. `message` becomes
 * what the encoder said about it, but for `schema`, which is 0: the transport has it. The reader remembers
 * the facts in messages, also of earlier ones.
 *
 * Set `message->struct_size`. One thread at a time. Errors: `PIPELINE_ERR_NULL`; `_VERSION`; `_INVALID` (no
 * message, or a damaged one); `_UNSUPPORTED` (a later version wrote it, or this build has no Zstandard);
 * `_LIMIT` (`memory_bytes` is too little for it); `_NO_MEMORY`: the call may be made again. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `data` is NULL or as said; `message` is
 * NULL or as its `struct_size` says.
 */
int32_t pipeline_message_reader_take(pipeline_message_reader_t *reader,
                                     const void *data,
                                     size_t length,
                                     pipeline_message_t *message);

/**
 * Gives the next event of the message that was taken last. Set `event->struct_size`. The payload lies in the
 * message, or in the reader until the next one is taken. Returns `PIPELINE_OK`, or `PIPELINE_END` after the
 * last event, and where there is no message. One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`.
 * Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `event` is NULL or as its `struct_size`
 * says.
 */
int32_t pipeline_message_reader_next(pipeline_message_reader_t *reader,
                                     pipeline_reader_event_t *event);

/**
 * Shows the kinds of the run of the message that was taken last, as far as messages have told. `*out` and
 * what it points to are the reader's, and valid until the next call of this function or
 * `pipeline_message_reader_close`. One thread at a time. Errors: `PIPELINE_ERR_NULL`, `_NO_MEMORY`. Since
 * 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `out` is NULL or writable.
 */
int32_t pipeline_message_reader_definitions(pipeline_message_reader_t *reader,
                                            const pipeline_reader_kinds_t **out);

/**
 * Shows which thread captured into a ring buffer, as far as messages have told. Set `out->struct_size`. One
 * thread at a time. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_NO_MEMORY`; `_NOT_FOUND`. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size`
 * says.
 */
int32_t pipeline_message_reader_thread(pipeline_message_reader_t *reader,
                                       uint64_t generation,
                                       uint64_t ring_id,
                                       pipeline_reader_thread_t *out);

/**
 * Shows an attribute of a run (see `pipeline_attribute`), as far as messages have told: the one at `index`,
 * from 0, in the order of their names. Set `out->struct_size`. One thread at a time. Errors:
 * `PIPELINE_ERR_NULL`, `_VERSION`, `_NO_MEMORY`; `_NOT_FOUND`: there are not that many. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open and used by no other thread; `out` is NULL or as its `struct_size`
 * says.
 */
int32_t pipeline_message_reader_attribute(pipeline_message_reader_t *reader,
                                          uint64_t generation,
                                          size_t index,
                                          pipeline_reader_attribute_t *out);

/**
 * Closes a reader and frees it. NULL is allowed and does nothing. One thread at a time. Returns
 * `PIPELINE_OK`. Since 0.1.0.
 *
 * Requires: `reader` is NULL, or open, used by no other thread, and not used again.
 */
int32_t pipeline_message_reader_close(pipeline_message_reader_t *reader);

/* ---- 9. Recover: ring files of processes that have ended ------------------------------------------------ */

/**
 * `pipeline_recovered_file_t.outcome`: all that the file had was delivered or given up, and the file was
 * deleted.
 */
#define PIPELINE_RECOVERY_DONE 0

/**
 * `pipeline_recovered_file_t.outcome`: the storage did not take all of it. The rest is in the file, and the
 * next recovery goes on with it.
 */
#define PIPELINE_RECOVERY_LEFT 1

/**
 * `pipeline_recovered_file_t.outcome`: the process that captures into the file lives. The file was not
 * touched.
 */
#define PIPELINE_RECOVERY_LIVING 2

/** `pipeline_recovered_file_t.outcome`: another process or thread recovers the file at present. */
#define PIPELINE_RECOVERY_BUSY 3

/**
 * `pipeline_recovered_file_t.outcome`: its process died while it made the file. It held no event, and was
 * deleted.
 */
#define PIPELINE_RECOVERY_UNFINISHED 4

/**
 * `pipeline_recovered_file_t.outcome`: another process or thread has recovered and deleted the file
 * meanwhile.
 */
#define PIPELINE_RECOVERY_GONE 5

/**
 * `pipeline_recovered_file_t.outcome`: the file has another version of the layout, is damaged in its header,
 * cut, or no ring file. It was not touched.
 */
#define PIPELINE_RECOVERY_REFUSED 6

/**
 * `pipeline_recovered_file_t.outcome`: the system has refused a call, such as reading the file. The rest is
 * in the file.
 */
#define PIPELINE_RECOVERY_FAILED 7

/** What became of one ring file. Valid during the call of `report`. */
struct pipeline_recovered_file_t {
    /** `sizeof(pipeline_recovered_file_t)` of the library. */
    uint32_t struct_size;
    /** `PIPELINE_RECOVERY_...`. */
    uint32_t outcome;
    /** The run of the pipeline whose file it is. */
    uint64_t generation;
    /** Events that the storage has stored, also those that it had already under the same identity. */
    uint64_t events;
    /**
     * The library's own events that the storage has taken: names and definitions of kinds, threads, clocks,
     * attributes.
     */
    uint64_t facts;
    /** Events that the storage has rejected and its `dead_letter` keeps. */
    uint64_t dead_lettered;
    /** Events that the storage has rejected, and that its `dead_letter`, if it has one, does not keep. */
    uint64_t discarded;
    /**
     * Events with `PIPELINE_EVENT_RELEASE`, which are left out: handles mean nothing outside the process that
     * captured them.
     */
    uint64_t handles;
    /** Ring buffers that end in damage. 0 after a crash or a kill alone. */
    uint64_t torn;
    /** The bytes in them that are given up. */
    uint64_t torn_bytes;
    /** The path of the file. Never NULL. */
    const char *path;
    /**
     * What became of the file, with the place of each damage, in one or more lines for people. Never NULL.
     */
    const char *text;
};

/** The options of a recovery. `pipeline_recover_options_init` writes every default. */
struct pipeline_recover_options_t {
    /** `sizeof(pipeline_recover_options_t)` of the caller. */
    uint32_t struct_size;
    /** 0. */
    uint32_t flags;
    /**
     * For how many milliseconds a batch that the storage does not take is tried again, at most a day
     * (86400000). Default 10000. Then the recovery ends, and what is left stays in the files.
     */
    uint64_t retry_ms;
    /** Called for each ring file, when it is done with. It must not throw. Default NULL: none is called. */
    void (*report)(void *report_data, const pipeline_recovered_file_t *file);
    /** The first argument of `report`. Default NULL. */
    void *report_data;
};

/**
 * Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_recover_options_t)` as
 * `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `options` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_recover_options_init(pipeline_recover_options_t *options, size_t struct_size);

/** What a recovery has done, over all files of the directory. */
struct pipeline_recovery_t {
    /** `sizeof(pipeline_recovery_t)` of the caller. */
    uint32_t struct_size;
    /** 0. */
    uint32_t reserved;
    /** Files that were recovered and deleted: one for each run of a pipeline. */
    uint64_t runs;
    /** Files of processes that live. They were not touched. */
    uint64_t living;
    /** Files that another process or thread recovers. */
    uint64_t busy;
    /** Files that were never finished. They were deleted. */
    uint64_t unfinished;
    /** Files that this library does not recover. They were not touched, and the log says why. */
    uint64_t refused;
    /** As in `pipeline_recovered_file_t`, and so are the others. */
    uint64_t events;
    /** See there. */
    uint64_t facts;
    /** See there. */
    uint64_t dead_lettered;
    /** See there. */
    uint64_t discarded;
    /** See there. */
    uint64_t handles;
    /** See there. */
    uint64_t torn;
    /** See there. */
    uint64_t torn_bytes;
};

/**
 * Delivers to `storage` what pipelines with this `ring_dir` have left whose processes have ended, and deletes
 * their ring files. No pipeline needs to run. `options` may be NULL: all defaults. The caller sets
 * `out->struct_size`. docs/recovery.md says what is promised.
 *
 * Every event comes under the identity that it was captured with, ring buffer by ring buffer and in its order
 * there, at least once. If the storage keeps identities, as SQLite and the journal's reader do, it has each
 * event exactly once, also if a recovery is killed and another one follows: what the storage has acknowledged
 * is marked in the file. Before the events of a run, a storage with `PIPELINE_STORAGE_META` gets the
 * library's own events about them. The pipeline's transform and rules are not applied: a transform that
 * filters did not see these events.
 *
 * The files of processes that live are skipped, and so are those that another recovery has. A file that is no
 * ring file of this version of the layout is refused and left as it is. Where a ring buffer is damaged, its
 * events up to there are delivered, and the rest is given up and counted in `torn_bytes`. None of this is an
 * error; `out`, `report` and the log tell it.
 *
 * The storage passes to the library as with `pipeline_start`, and its `destroy` runs before this returns. Its
 * functions are called on a thread of the library, one call at a time: `open_writer` with the id 0, `store`,
 * `dead_letter`, `flush` for each file, `finish`, `close_writer`. `release` is never called, because events
 * that are handles are left out. `store` may answer `PIPELINE_STORE_PENDING`; the call waits for that answer
 * as long as it takes.
 *
 * Any thread; not in a callback. It takes as long as the storage does. `ring_dir` must be a directory of the
 * caller's own user that nobody else may write to, and no symbolic link. Errors: `PIPELINE_ERR_NULL`;
 * `_VERSION`; `_INVALID` (`ring_dir`, an option); `_NOT_FOUND` (there is no such directory); `_STORAGE` (the
 * storage has not taken a batch for `retry_ms`, or `flush` or `finish` has failed); `_SYSTEM` (a file could
 * not be read or changed; the others were recovered); `_NO_MEMORY`. After an error, what was not stored is in
 * the files, the call may be made again, and `pipeline_last_error` names the file. `out` is written only on
 * success. Since 0.1.0.
 *
 * Requires: `ring_dir` is NULL or NUL-terminated; `storage` and `options` are NULL or as their `struct_size`
 * says, and their functions may be called as documented; `out` is NULL or points to as many writable bytes as
 * its `struct_size` says.
 */
int32_t pipeline_recover(const char *ring_dir,
                         const pipeline_storage_t *storage,
                         const pipeline_recover_options_t *options,
                         pipeline_recovery_t *out);

#ifdef __cplusplus
}
#endif

#endif /* CAPTURE_PIPELINE_H */
