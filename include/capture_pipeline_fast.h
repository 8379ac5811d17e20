/* capture_pipeline_fast.h: captures through a producer that are compiled into the caller's own code.
 *
 *     pipeline_fast_t *fast = pipeline_fast_of(producer);         (once; NULL: where there is no such way)
 *     status = pipeline_fast_capture(producer, fast, 7, &point, sizeof point);
 *
 * They do what pipeline_producer_capture and pipeline_producer_capture_event do, answer what those answer, count what those count and
 * may be mixed with them on one producer, also in signal handlers. Whatever is out of the ordinary (a ring buffer without room, an event
 * that is refused, a longer payload, a pipeline that is closed, a forked child) they leave to those calls, before anything is done. What is
 * gained is the call itself, and the copy where the compiler knows `len`.
 *
 * Where the compiler or the processor is not known here, or with PIPELINE_FAST_CALLS_ONLY defined, they are those calls. C89 or later,
 * C++98 or later. Nothing in this file but pipeline_fast_of, pipeline_fast_capture and pipeline_fast_capture_event is for programs.
 *
 * It does by hand what src/ring/producer/at_once.rs does, on the same words and in the same order; a library that does it otherwise has
 * another PIPELINE_FAST_VERSION, and gives pipeline_fast_of nothing.
 *
 * Licence: MIT OR Apache-2.0. */
#ifndef CAPTURE_PIPELINE_FAST_H
#define CAPTURE_PIPELINE_FAST_H

#include "capture_pipeline.h"

#include <string.h>

#if !defined(PIPELINE_FAST_CALLS_ONLY) && defined(__GNUC__) && defined(__LP64__) && (defined(__x86_64__) || defined(__aarch64__)) && \
    defined(__BYTE_ORDER__) && defined(__ORDER_LITTLE_ENDIAN__)
#if (defined(__clang__) || __GNUC__ > 4 || (__GNUC__ == 4 && __GNUC_MINOR__ >= 7)) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define PIPELINE_FAST_INLINED 1
#endif
#endif

#if defined(__GNUC__)
#define PIPELINE_FAST_FUNCTION static __inline__ __attribute__((__always_inline__, __unused__))
#elif defined(__cplusplus) || (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 199901L)
#define PIPELINE_FAST_FUNCTION static inline
#else
#define PIPELINE_FAST_FUNCTION static
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifdef PIPELINE_FAST_INLINED

/* What became of an event. */
#define PIPELINE_FAST_CAPTURED 0
#define PIPELINE_FAST_CAPTURED_WAKE 1
#define PIPELINE_FAST_NOTHING 2

/* A record: a tag of 8 bytes, a head of 40, the payload. The tag says that the time is a reading of the counter. */
#define PIPELINE_FAST_HEADER 48
#define PIPELINE_FAST_TICKS ((uint32_t)1 << 30)
/* The weight of an event, 1.0. */
#define PIPELINE_FAST_WEIGHT ((uint64_t)0x3F800000 << 32)
/* How far ahead of a record lines are fetched. */
#define PIPELINE_FAST_AHEAD 2048
#define PIPELINE_FAST_FLAGS (PIPELINE_EVENT_PRIORITY | PIPELINE_EVENT_OWN_TIME | PIPELINE_EVENT_RELEASE)

#define PIPELINE_FAST_RARELY(condition) __builtin_expect(!!(condition), 0)

PIPELINE_FAST_FUNCTION uint64_t pipeline_fast_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    uint64_t ticks;
    __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
}

/* Has a line fetched that will be written. */
PIPELINE_FAST_FUNCTION void pipeline_fast_fetch(const unsigned char *line) {
#if defined(__x86_64__)
    /* What __builtin_prefetch is for writing only where a flag allows it; processors without it take it for no operation. */
    __asm__ __volatile__("prefetchw %0" : : "m"(*line));
#else
    __builtin_prefetch(line, 1, 3);
#endif
}

/* The first and the last `size` bytes of `len`. */
#define PIPELINE_FAST_ENDS(size) (memcpy(to, from, (size)), memcpy(to + len - (size), from + len - (size), (size)))

/* At most 128 bytes: two overlapping moves of a known size cover every length between that size and its double. */
PIPELINE_FAST_FUNCTION void pipeline_fast_copy(unsigned char *to, const unsigned char *from, size_t len) {
    if (__builtin_constant_p(len)) {
        memcpy(to, from, len);
        return;
    }
    /* A compiler that knows where the payload lies would warn of the moves that its length rules out. */
    __asm__("" : "+r"(from));
    if (len > 64)
        PIPELINE_FAST_ENDS(64);
    else if (len > 32)
        PIPELINE_FAST_ENDS(32);
    else if (len >= 16)
        PIPELINE_FAST_ENDS(16);
    else if (len >= 8)
        PIPELINE_FAST_ENDS(8);
    else if (len >= 4)
        PIPELINE_FAST_ENDS(4);
    else if (len >= 2)
        PIPELINE_FAST_ENDS(2);
    else if (len == 1)
        *to = *from;
}

/* Only this thread and its signal handlers write what is read plainly here; a handler leaves `busy` as it was, and what changes with it is
 * read behind the fence. What others write or read is atomic. */
PIPELINE_FAST_FUNCTION int pipeline_fast_offer(pipeline_fast_t *fast, uint32_t kind, uint32_t flags, uint64_t own_time,
                                               uint64_t correlation_id, uint64_t node_id, const void *data, size_t len) {
    const pipeline_fast_signs_t *signs;
    unsigned char *record;
    uint64_t *words, *published;
    uint64_t at, end, reach, time, captured, sequence, bytes;
    if (PIPELINE_FAST_RARELY(data == NULL || len > fast->longest || kind >= PIPELINE_KIND_RESERVED ||
                             (flags & ~(uint32_t)PIPELINE_FAST_FLAGS) != 0 || *fast->alive == 0 || fast->busy != 0))
        return PIPELINE_FAST_NOTHING;
    __atomic_store_n(&fast->busy, 1, __ATOMIC_RELAXED);
    /* Between "busy" and the look at "closed"; the closing side pays for the fence. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    signs = fast->signs;
    at = fast->head;
    reach = fast->reach;
    end = at + (PIPELINE_FAST_HEADER + (((uint64_t)len + 7) & ~(uint64_t)7));
    if (PIPELINE_FAST_RARELY(__atomic_load_n(&signs->unusual, __ATOMIC_RELAXED) != 0 || end > reach)) {
        __atomic_store_n(&fast->busy, 0, __ATOMIC_RELEASE);
        return PIPELINE_FAST_NOTHING;
    }
    record = (unsigned char *)((uintptr_t)fast->lap + (uintptr_t)at);
    /* Only what may be written: lines that a writer still reads would be taken from it. */
    if (at + PIPELINE_FAST_AHEAD < reach) {
        pipeline_fast_fetch(record + PIPELINE_FAST_AHEAD);
        pipeline_fast_fetch(record + PIPELINE_FAST_AHEAD + 64);
    }
    published = fast->published;
    captured = fast->captured;
    sequence = captured + fast->shift;
    bytes = fast->bytes + (uint64_t)len;
    time = own_time;
    if (!(flags & PIPELINE_EVENT_OWN_TIME)) {
        const uint64_t last = fast->last_ticks;
        /* Another processor's counter may be a little behind. */
        time = pipeline_fast_ticks();
        time = time > last ? time : last;
        fast->last_ticks = time;
        flags |= PIPELINE_FAST_TICKS;
    }
    pipeline_fast_copy(record + PIPELINE_FAST_HEADER, (const unsigned char *)data, len);
    words = (uint64_t *)(void *)record;
    /* The one word that may be read while it is being overwritten. */
    __atomic_store_n(&words[0], (uint64_t)len | (uint64_t)flags << 32, __ATOMIC_RELAXED);
    words[1] = kind | PIPELINE_FAST_WEIGHT;
    words[2] = sequence;
    words[3] = time;
    words[4] = correlation_id;
    words[5] = node_id;
    /* Counted before it is published: whoever sees the event sees it counted. */
    __atomic_store_n(&fast->captured, captured + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&fast->bytes, bytes, __ATOMIC_RELAXED);
    fast->head = end;
    __atomic_store_n(published, end, __ATOMIC_RELEASE);
    __atomic_store_n(&fast->busy, 0, __ATOMIC_RELEASE);
    /* Between the publication and the look at the gate; whoever goes to sleep pays for the fence. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return (__atomic_load_n(&signs->gate, __ATOMIC_RELAXED) & 3) != 0 ? PIPELINE_FAST_CAPTURED_WAKE : PIPELINE_FAST_CAPTURED;
}

#endif /* PIPELINE_FAST_INLINED */

/**
 * What the functions below want as `fast`: valid until pipeline_producer_close. NULL: not here, and they are calls. Sets
 * pipeline_last_error then. The thread that uses the producer. Since 0.1.0.
 */
PIPELINE_FAST_FUNCTION pipeline_fast_t *pipeline_fast_of(pipeline_producer_t *r) {
    pipeline_fast_t *fast = NULL;
#ifdef PIPELINE_FAST_INLINED
    if (pipeline_producer_fast(r, PIPELINE_FAST_VERSION, &fast) != PIPELINE_OK)
        fast = NULL;
#else
    (void)r;
#endif
    return fast;
}

/**
 * As pipeline_producer_capture. `fast` is what pipeline_fast_of has answered for this producer, or NULL. Since 0.1.0.
 */
PIPELINE_FAST_FUNCTION int32_t pipeline_fast_capture(pipeline_producer_t *r, pipeline_fast_t *fast, uint32_t kind, const void *data,
                                                     size_t len) {
#ifdef PIPELINE_FAST_INLINED
    if (fast != NULL) {
        const int became = pipeline_fast_offer(fast, kind, 0, 0, 0, 0, data, len);
        if (became == PIPELINE_FAST_CAPTURED)
            return PIPELINE_OK;
        if (became == PIPELINE_FAST_CAPTURED_WAKE)
            return pipeline_producer_wake(r);
    }
#else
    (void)fast;
#endif
    return pipeline_producer_capture(r, kind, data, len);
}

/**
 * As pipeline_producer_capture_event. `fast` is what pipeline_fast_of has answered for this producer, or NULL. An `event` that is
 * filled in just before need not be written to memory. Since 0.1.0.
 */
PIPELINE_FAST_FUNCTION int32_t pipeline_fast_capture_event(pipeline_producer_t *r, pipeline_fast_t *fast, const pipeline_event_t *event) {
#ifdef PIPELINE_FAST_INLINED
    if (event != NULL && event->struct_size == sizeof(pipeline_event_t)) {
        /* A copy, so that the address of the caller's is not passed on. */
        const pipeline_event_t same = *event;
        if (fast != NULL && same.reserved == 0) {
            const int became = pipeline_fast_offer(fast, same.kind, same.flags, same.timestamp_ns, same.correlation_id, same.node_id,
                                                   same.data, same.len);
            if (became == PIPELINE_FAST_CAPTURED)
                return PIPELINE_OK;
            if (became == PIPELINE_FAST_CAPTURED_WAKE)
                return pipeline_producer_wake(r);
        }
        return pipeline_producer_capture_event(r, &same);
    }
#else
    (void)fast;
#endif
    return pipeline_producer_capture_event(r, event);
}

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CAPTURE_PIPELINE_FAST_H */
