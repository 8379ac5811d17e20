/* LTTng-UST. The session daemon, another process, writes a trace, which is read back at the end. The payload is always 64 bytes.
 *
 * In discard mode the harness never fills the buffers. As a storage, the channel blocks the application while its buffers are full. It does so
 * only if LTTNG_UST_ALLOW_BLOCKING is set in the environment of the harness. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_event.h"

#include "../harness/contender.h"
#include "../harness/store.h"

#include <lttng/lttng.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct bench_setup setup;
static char name[64], place[256];
static const char *failed;

static int run(const char *format, const char *more) {
    char command[1024];
    snprintf(command, sizeof command, format, name, place, more);
    return system(command);
}

static const char *start_with(const struct bench_setup *given, const char *channel) {
    const char *under = getenv("TMPDIR");
    setup = *given;
    if (setup.payload != 64) return "the tracepoint supports payloads of 64 bytes only";
    snprintf(name, sizeof name, "bench-%d", (int)getpid());
    snprintf(place, sizeof place, "%s/%s", under ? under : "/tmp", name);
    if (run("lttng create %1$s --output=%2$s >/dev/null 2>&1", "")) return "a session cannot be created; is lttng-sessiond running?";
    if (run("lttng enable-channel -s %1$s --userspace %3$s c >/dev/null 2>&1 &&"
            "lttng enable-event -s %1$s --userspace --channel=c bench:event >/dev/null 2>&1 && lttng start %1$s >/dev/null 2>&1", channel))
        return "the session cannot be started";
    return NULL;
}

static const char *start(const struct bench_setup *given) { return start_with(given, "--discard --subbuf-size=2M --num-subbuf=8"); }

static void *open_nothing(uint32_t thread) { return (void)thread, &setup; }

static void capture(void *handle, const struct bench_burst *burst) {
    (void)handle;
    for (uint32_t i = 0; i < burst->count; i++)
        lttng_ust_tracepoint(bench, event, burst->payloads + (size_t)(i & burst->mask) * burst->stride);
}

static void close_nothing(void *handle) { (void)handle; }

/* Stores all events of the trace. */
static void read_trace(void) {
    char command[512], line[1024];
    snprintf(command, sizeof command, "babeltrace2 --names=none --clock-seconds %s 2>/dev/null", place);
    FILE *trace = popen(command, "r");
    if (!trace) { failed = "babeltrace2 cannot be run"; return; }
    struct bench_batch batch = batch_begin(setup.store);
    while (fgets(line, sizeof line, trace)) {
        char *fields = strrchr(line, '{');
        if (!fields || !strstr(line, "bench:event")) continue;
        uint64_t value[2] = {strtoull(fields + 1, NULL, 10), 0};
        batch_event(&batch, value);
    }
    batch_end(&batch);
    pclose(trace);
}

static void remove_trace(void) { run("rm -rf '%2$s'", ""); }

static const char *destroy(void) { return run("lttng destroy %1$s >/dev/null 2>&1", "") ? "the session cannot be destroyed" : NULL; }

static const char *stop(void) {
    const char *reason;
    if (run("lttng stop %1$s >/dev/null 2>&1", "")) return "the session cannot be stopped";
    if ((reason = destroy())) return reason;
    read_trace();
    remove_trace();
    return failed;
}

const struct contender *contenders(size_t *count) {
    static const struct contender all[] = {
        {"LTTng-UST", "per-user buffers of 8 x 2 MiB per processor, discard; the trace is read back at the end", start, open_nothing,
         capture, close_nothing, stop, NULL, 1, 0},
    };
    *count = 1;
    return all;
}

/* --- as a storage --- */
static const char *start_blocking(const struct bench_setup *given) {
    if (!getenv("LTTNG_UST_ALLOW_BLOCKING")) return "LTTNG_UST_ALLOW_BLOCKING is not set: events would be lost";
    /* Of several sizes, these were the fastest. */
    return start_with(given, "--blocking-timeout=inf --subbuf-size=4M --num-subbuf=32");
}

/* `lttng stop` looks only every 200 ms whether everything is written. */
static const char *stop_and_write(void) {
    struct timespec pause = {0, 500000};
    int pending;
    if (lttng_stop_tracing_no_wait(name) < 0) return "the session cannot be stopped";
    while ((pending = lttng_data_pending(name)) == 1) nanosleep(&pause, NULL);
    return pending < 0 ? "the session does not say whether everything is written" : NULL;
}

static const char *read_back(uint64_t *bytes) {
    char command[512], line[64];
    snprintf(command, sizeof command, "du -sb '%s'", place);
    FILE *size = popen(command, "r");
    if (!size || !fgets(line, sizeof line, size)) return "the size of the trace is unknown";
    *bytes = strtoull(line, NULL, 10);
    pclose(size);
    read_trace();
    return failed;
}

const struct storage_contender *storage_contenders(size_t *count) {
    static const struct storage_contender all[] = {
        {{"LTTng-UST, blocking", "per-user buffers of 32 x 4 MiB per processor, blocking; until the session has stopped and the consumer daemon has written all",
          start_blocking, open_nothing, capture, close_nothing, destroy, NULL, 1, 0}, stop_and_write, NULL, read_back, remove_trace, 0},
    };
    *count = 1;
    return all;
}
