/* LTTng-UST in discard mode: a session of its own daemon, and a trace that is read back at the end. The writer is another process,
 * and the payload is always 64 bytes. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_event.h"

#include "../harness/contender.h"
#include "../harness/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct bench_setup setup;
static char name[64], place[256];
static const char *failed;

static int run(const char *format) {
    char command[1024];
    snprintf(command, sizeof command, format, name, place);
    return system(command);
}

static const char *start(const struct bench_setup *given) {
    const char *under = getenv("TMPDIR");
    setup = *given;
    if (setup.payload != 64) return "the tracepoint has 64 bytes";
    snprintf(name, sizeof name, "bench-%d", (int)getpid());
    snprintf(place, sizeof place, "%s/%s", under ? under : "/tmp", name);
    if (run("lttng create %1$s --output=%2$s >/dev/null 2>&1")) return "no session: is lttng-sessiond running?";
    if (run("lttng enable-channel -s %1$s --userspace --discard --subbuf-size=2M --num-subbuf=8 c >/dev/null 2>&1 &&"
            "lttng enable-event -s %1$s --userspace --channel=c bench:event >/dev/null 2>&1 && lttng start %1$s >/dev/null 2>&1"))
        return "the session does not start";
    return NULL;
}

static void *open_nothing(uint32_t thread) { return (void)thread, &setup; }

static void capture(void *handle, const struct bench_burst *burst) {
    (void)handle;
    for (uint32_t i = 0; i < burst->count; i++)
        lttng_ust_tracepoint(bench, event, burst->payloads + (size_t)(i & burst->mask) * burst->stride);
}

static void close_nothing(void *handle) { (void)handle; }

/* Everything of the trace is with the storage. */
static void read_trace(void) {
    char command[512], line[1024];
    snprintf(command, sizeof command, "babeltrace2 --names=none --clock-seconds %s 2>/dev/null", place);
    FILE *trace = popen(command, "r");
    if (!trace) { failed = "no babeltrace2"; return; }
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

static const char *stop(void) {
    if (run("lttng stop %1$s >/dev/null 2>&1")) return "the session does not stop";
    if (run("lttng destroy %1$s >/dev/null 2>&1")) return "the session does not end";
    read_trace();
    run("rm -rf '%2$s'");
    return failed;
}

const struct contender *contenders(size_t *count) {
    static const struct contender all[] = {
        {"LTTng-UST", "per-user buffers of 8 x 2 MiB for each processor, discard; the trace is read back at the end", start, open_nothing,
         capture, close_nothing, stop, NULL, 1, 0},
    };
    *count = 1;
    return all;
}
