/* The tracepoint: the first 8 bytes as a number, the rest as text. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER bench

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./lttng_event.h"

#if !defined(BENCH_LTTNG_EVENT_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define BENCH_LTTNG_EVENT_H

#include <lttng/tracepoint.h>
#include <stdint.h>

LTTNG_UST_TRACEPOINT_EVENT(bench, event,
    LTTNG_UST_TP_ARGS(const unsigned char *, payload),
    LTTNG_UST_TP_FIELDS(
        lttng_ust_field_integer(uint64_t, value, *(const uint64_t *)(const void *)payload)
        lttng_ust_field_array_text(char, rest, (const char *)payload + 8, 56)))

#endif

#include <lttng/tracepoint-event.h>
