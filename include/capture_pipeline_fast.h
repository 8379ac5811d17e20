/* capture_pipeline_fast.h: captures through a producer that are compiled into the caller's own code.
 *
 *     pipeline_fast_t *fast = pipeline_fast_of(producer);         (once; NULL: captures cannot be inlined)
 *     status = pipeline_fast_capture(producer, fast, 7, &point, sizeof point);
 *
 * They do what pipeline_producer_capture and pipeline_producer_capture_event do, return and count the same, and may be mixed with them
 * on one producer, also in signal handlers. An inlined capture saves the call, and the copy where the compiler knows `len`. It declines
 * a ring buffer without room, an event that is refused or has PIPELINE_EVENT_PRIORITY, a payload of more than 128 bytes, a closed pipeline
 * and a forked child before it changes anything, and then makes the call.
 *
 * All captures are calls where the compiler or the processor is not known here, under ThreadSanitizer, and with PIPELINE_FAST_CALLS_ONLY
 * defined. C89 or later, C++98 or later. Programs use pipeline_fast_of, pipeline_fast_capture, pipeline_fast_capture_event and
 * pipeline_fast_pressure; nothing else in this file is for them.
 *
 * The steps pipeline_fast_begin, pipeline_fast_record and pipeline_fast_publish are those of src/capture/protocol.rs: they read and
 * write the same words in the same order. A library that does it otherwise has another PIPELINE_FAST_VERSION, and pipeline_fast_of
 * returns NULL.
 *
 * Licence: MIT OR Apache-2.0. */
#ifndef CAPTURE_PIPELINE_FAST_H
#define CAPTURE_PIPELINE_FAST_H

#include "capture_pipeline.h"

#include <string.h>

/* ThreadSanitizer would take the library, which is not instrumented, for a thread that races with them. */
#if defined(__SANITIZE_THREAD__) && !defined(PIPELINE_FAST_CALLS_ONLY)
#define PIPELINE_FAST_CALLS_ONLY
#elif defined(__has_feature) && !defined(PIPELINE_FAST_CALLS_ONLY)
#if __has_feature(thread_sanitizer)
#define PIPELINE_FAST_CALLS_ONLY
#endif
#endif

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

/* The version of pipeline_fast_t, of the order in which it is read and written, and of a record's header. */
#define PIPELINE_FAST_VERSION 2

/* The two words that each capture looks at: one before it writes, one after it has published. */
typedef struct pipeline_fast_doorbell_t {
    /* Not 0: captures must be calls, which know the reason. */
    uint32_t slow_path;
    /* Not 0 in the lowest two bits: a writer may have to be woken. */
    uint32_t state;
} pipeline_fast_doorbell_t;

/* The words of a producer that an inlined capture works on. They are a part of the producer. */
typedef struct pipeline_fast_t {
    /* sizeof(pipeline_fast_t) of the library. */
    uint32_t struct_size;
    /* Not 0: a capture is under way, or a reservation open. */
    uint32_t busy;
    /* The position at which the next record goes. */
    uint64_t head;
    /* Where position 0 would lie, if the memory of the window began there. In the window records may be written without a look at the
     * ring buffer. */
    unsigned char *base;
    /* The position at which the window ends; 0: there is none. */
    uint64_t end;
    /* Where the head is published. */
    uint64_t *published;
    /* The latest reading of the processor's counter in the producer's ring buffers. */
    uint64_t last_ticks;
    /* Events captured. */
    uint64_t captured;
    /* Payload bytes captured. */
    uint64_t bytes;
    /* What makes a sequence number of `captured`. */
    uint64_t sequence_offset;
    /* The longest payload that an inlined capture copies; at most 128. */
    size_t max_len;
    /* 0 there: this is a forked child. */
    const uint32_t *alive;
    /* The pipeline's. */
    const pipeline_fast_doorbell_t *doorbell;
    /* The pipeline's pressure, 0 to 100, in the bits PIPELINE_FAST_PRESSURE; the others count its changes. */
    const uint32_t *pressure;
} pipeline_fast_t;

/**
 * Returns in `*out` the words that inlined captures work on; `version` is PIPELINE_FAST_VERSION of this header. They are valid until
 * pipeline_producer_close, and used by one thread at a time, the one that uses the producer. Called by pipeline_fast_of.
 *
 * PIPELINE_ERR_UNSUPPORTED: the library is of another version, inlines no captures on this processor, or the pipeline's captures cannot
 * be inlined (the monotonic clock stamps its events, or captures pay for their fences, as pipeline_last_error says). Other errors:
 * PIPELINE_ERR_NULL, PIPELINE_ERR_FORKED. Any thread that may use the producer. Since 0.1.0.
 *
 * Requires: `r` is NULL or open and used by no other thread; `out` is NULL or writable.
 */
int32_t pipeline_producer_fast(pipeline_producer_t *r, uint32_t version, pipeline_fast_t **out);

/**
 * Wakes a writer, if one is needed and none is awake. Called by an inlined capture that has published an event while the writers sleep;
 * harmless otherwise.
 *
 * The thread that uses the producer; also in callbacks and signal handlers. PIPELINE_OK, PIPELINE_ERR_NULL, PIPELINE_ERR_FORKED.
 * Since 0.1.0.
 *
 * Requires: `r` is NULL or open and used by no other thread.
 */
int32_t pipeline_producer_wake(pipeline_producer_t *r);

#ifdef PIPELINE_FAST_INLINED

/* What the fast path did with an event: captured it; captured it, and a writer may have to be woken; nothing. */
#define PIPELINE_FAST_CAPTURED 0
#define PIPELINE_FAST_CAPTURED_WAKE 1
#define PIPELINE_FAST_DECLINED 2

/* A record: a tag of 8 bytes, a head of 40, the payload. This flag of the tag says that the time is a reading of the counter. */
#define PIPELINE_FAST_HEADER 48
#define PIPELINE_FAST_TICKS ((uint32_t)1 << 30)
/* The bits of the word `pressure` that are the pressure. */
#define PIPELINE_FAST_PRESSURE ((uint32_t)0xFF)
/* The weight of an event, 1.0. */
#define PIPELINE_FAST_WEIGHT ((uint64_t)0x3F800000 << 32)
/* How far ahead of a record cache lines are fetched. */
#define PIPELINE_FAST_PREFETCH 2048
/* Events with another flag are calls. (Those with PIPELINE_EVENT_PRIORITY go to another ring buffer.) */
#define PIPELINE_FAST_FLAGS (PIPELINE_EVENT_OWN_TIME | PIPELINE_EVENT_RELEASE | PIPELINE_EVENT_OPAQUE)

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

/* Has a cache line fetched that will be written. */
PIPELINE_FAST_FUNCTION void pipeline_fast_fetch(const unsigned char *line) {
#if defined(__x86_64__)
    /* __builtin_prefetch emits this only where a compiler flag allows it. Processors without it take it for no operation. */
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

/* What step 1 has read. A compiler could not keep it over step 2 by itself, as the record may lie anywhere. */
typedef struct pipeline_fast_room_t {
    unsigned char *record;
    uint64_t end; /* the position behind the record */
    uint64_t *published;
    uint64_t captured, sequence, bytes;
} pipeline_fast_room_t;

/* Only this thread and its signal handlers write what is read plainly here; a handler leaves `busy` as it was, and everything that changes
 * with it is read behind the fence. What others write or read is atomic. */

/* Step 1: takes the busy word, and finds the room. 0: there is none, or the call must do it; the busy word is as it was. */
PIPELINE_FAST_FUNCTION int pipeline_fast_begin(pipeline_fast_t *fast, size_t len, pipeline_fast_room_t *room) {
    uint64_t at, end;
    if (PIPELINE_FAST_RARELY(*fast->alive == 0 || fast->busy != 0))
        return 0;
    __atomic_store_n(&fast->busy, 1, __ATOMIC_RELAXED);
    /* Between the store of "busy" and the load of "closed"; the closing side pays for the fence. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    at = fast->head;
    end = fast->end;
    room->end = at + (PIPELINE_FAST_HEADER + (((uint64_t)len + 7) & ~(uint64_t)7));
    if (PIPELINE_FAST_RARELY(__atomic_load_n(&fast->doorbell->slow_path, __ATOMIC_RELAXED) != 0 || room->end > end)) {
        __atomic_store_n(&fast->busy, 0, __ATOMIC_RELEASE);
        return 0;
    }
    room->record = (unsigned char *)((uintptr_t)fast->base + (uintptr_t)at);
    /* None outside of the window: lines that a writer still reads would be taken from it. */
    if (at + PIPELINE_FAST_PREFETCH < end) {
        pipeline_fast_fetch(room->record + PIPELINE_FAST_PREFETCH);
        pipeline_fast_fetch(room->record + PIPELINE_FAST_PREFETCH + 64);
    }
    room->published = fast->published;
    room->captured = fast->captured;
    room->sequence = room->captured + fast->sequence_offset;
    room->bytes = fast->bytes;
    return 1;
}

/* Step 2: writes the record. */
PIPELINE_FAST_FUNCTION void pipeline_fast_record(pipeline_fast_t *fast, const pipeline_fast_room_t *room, uint32_t kind, uint32_t flags,
                                                 uint64_t own_time, uint64_t correlation_id, uint64_t node_id, const void *data,
                                                 size_t len) {
    uint64_t *words, time = own_time;
    if (!(flags & PIPELINE_EVENT_OWN_TIME)) {
        const uint64_t last = fast->last_ticks;
        /* Another processor's counter may be a little behind. */
        time = pipeline_fast_ticks();
        time = time > last ? time : last;
        fast->last_ticks = time;
        flags |= PIPELINE_FAST_TICKS;
    }
    pipeline_fast_copy(room->record + PIPELINE_FAST_HEADER, (const unsigned char *)data, len);
    words = (uint64_t *)(void *)room->record;
    /* The one word that may be read while it is being overwritten. */
    __atomic_store_n(&words[0], (uint64_t)len | (uint64_t)flags << 32, __ATOMIC_RELAXED);
    words[1] = kind | PIPELINE_FAST_WEIGHT;
    words[2] = room->sequence;
    words[3] = time;
    words[4] = correlation_id;
    words[5] = node_id;
}

/* Step 3: counts and publishes the event, gives the busy word back and looks at the doorbell. Answers whether a writer may have to be
 * woken. */
PIPELINE_FAST_FUNCTION int pipeline_fast_publish(pipeline_fast_t *fast, const pipeline_fast_room_t *room, size_t len) {
    const pipeline_fast_doorbell_t *doorbell = fast->doorbell;
    /* Counted before it is published: a thread that sees the event sees it counted. */
    __atomic_store_n(&fast->captured, room->captured + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&fast->bytes, room->bytes + (uint64_t)len, __ATOMIC_RELAXED);
    fast->head = room->end;
    __atomic_store_n(room->published, room->end, __ATOMIC_RELEASE);
    __atomic_store_n(&fast->busy, 0, __ATOMIC_RELEASE);
    /* Between the store of the head and the load of the doorbell; a writer that goes to sleep pays for the fence. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return (__atomic_load_n(&doorbell->state, __ATOMIC_RELAXED) & 3) != 0;
}

/* The fast path of a capture: the three steps. */
PIPELINE_FAST_FUNCTION int pipeline_fast_offer(pipeline_fast_t *fast, uint32_t kind, uint32_t flags, uint64_t own_time,
                                               uint64_t correlation_id, uint64_t node_id, const void *data, size_t len) {
    pipeline_fast_room_t room;
    if (PIPELINE_FAST_RARELY(data == NULL || len > fast->max_len || kind >= PIPELINE_KIND_RESERVED ||
                             (flags & ~(uint32_t)PIPELINE_FAST_FLAGS) != 0 || !pipeline_fast_begin(fast, len, &room)))
        return PIPELINE_FAST_DECLINED;
    pipeline_fast_record(fast, &room, kind, flags, own_time, correlation_id, node_id, data, len);
    return pipeline_fast_publish(fast, &room, len) ? PIPELINE_FAST_CAPTURED_WAKE : PIPELINE_FAST_CAPTURED;
}

#endif /* PIPELINE_FAST_INLINED */

/**
 * Returns the words that the functions below take as `fast`, valid until pipeline_producer_close. NULL: captures cannot be inlined, as
 * pipeline_last_error says, and with NULL those functions make calls. The thread that uses the producer. Since 0.1.0.
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
 * As pipeline_producer_capture. `fast` is what pipeline_fast_of returned for this producer, or NULL. Since 0.1.0.
 */
PIPELINE_FAST_FUNCTION int32_t pipeline_fast_capture(pipeline_producer_t *r, pipeline_fast_t *fast, uint32_t kind, const void *data,
                                                     size_t len) {
#ifdef PIPELINE_FAST_INLINED
    if (fast != NULL) {
        const int outcome = pipeline_fast_offer(fast, kind, 0, 0, 0, 0, data, len);
        if (outcome == PIPELINE_FAST_CAPTURED)
            return PIPELINE_OK;
        if (outcome == PIPELINE_FAST_CAPTURED_WAKE)
            return pipeline_producer_wake(r);
    }
#else
    (void)fast;
#endif
    return pipeline_producer_capture(r, kind, data, len);
}

/**
 * As pipeline_producer_capture_event. `fast` is what pipeline_fast_of returned for this producer, or NULL. An `event` that is
 * filled in just before need not be written to memory. Since 0.1.0.
 */
PIPELINE_FAST_FUNCTION int32_t pipeline_fast_capture_event(pipeline_producer_t *r, pipeline_fast_t *fast, const pipeline_event_t *event) {
#ifdef PIPELINE_FAST_INLINED
    if (event != NULL && event->struct_size == sizeof(pipeline_event_t)) {
        if (fast != NULL && event->reserved == 0) {
            const int outcome = pipeline_fast_offer(fast, event->kind, event->flags, event->timestamp_ns, event->correlation_id,
                                                   event->node_id, event->data, event->len);
            if (outcome == PIPELINE_FAST_CAPTURED)
                return PIPELINE_OK;
            if (outcome == PIPELINE_FAST_CAPTURED_WAKE)
                return pipeline_producer_wake(r);
        }
        {
            /* A copy, so that the address of the caller's is not passed on. Made member by member and only here: a compiler would copy the
             * whole by wide moves, which wait until the caller's narrow stores have left the store buffer. */
            pipeline_event_t same;
            same.struct_size = event->struct_size;
            same.kind = event->kind;
            same.timestamp_ns = event->timestamp_ns;
            same.correlation_id = event->correlation_id;
            same.node_id = event->node_id;
            same.flags = event->flags;
            same.reserved = event->reserved;
            same.data = event->data;
            same.len = event->len;
            return pipeline_producer_capture_event(r, &same);
        }
    }
#else
    (void)fast;
#endif
    return pipeline_producer_capture_event(r, event);
}

/**
 * As pipeline_pressure: two loads, where `fast` is what pipeline_fast_of returned for this producer. With NULL, or where captures are
 * calls, it calls pipeline_pressure for `p`, the producer's pipeline. Since 0.1.0.
 */
PIPELINE_FAST_FUNCTION uint32_t pipeline_fast_pressure(const pipeline_t *p, const pipeline_fast_t *fast) {
#ifdef PIPELINE_FAST_INLINED
    if (fast != NULL)
        return *fast->alive == 0 ? 0 : __atomic_load_n(fast->pressure, __ATOMIC_RELAXED) & PIPELINE_FAST_PRESSURE;
#else
    (void)fast;
#endif
    return pipeline_pressure(p);
}

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CAPTURE_PIPELINE_FAST_H */
