/* Events to files: how fast a number of events is written and read, and what a capture costs while a contender writes.
 *
 * In the end the contender is stopped, the files are read back, and the caller compares count and sum. */
#include "harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* In the paced measurement, captures come in groups, because the clock costs half as much as a capture. */
enum { BURST = 256, GROUP = 16, TOUCHED_PER_EVENT = 160 };

static void check(const struct measurement *m, const char *failed) {
    if (failed) fail("%s: %s", m->contender->name, failed);
}

/* Writes a file that is larger than what the contender will write, and deletes it. A virtual machine gives free memory back to its host after some
 * seconds, and then the first use of each page costs several times what writing to it costs. */
static void touch_page_cache(uint64_t bytes) {
    static char zeros[256 << 10], path[512];
    const char *under = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/touch-%d", under ? under : "/tmp", (int)getpid());
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) fail("%s cannot be made", path);
    for (uint64_t at = 0; at < bytes; at += sizeof zeros)
        if (write(file, zeros, sizeof zeros) != sizeof zeros) fail("%s cannot be written", path);
    close(file);
    unlink(path);
}

static void share_of_events(struct capturer *c) {
    uint64_t events = c->m->events / c->m->setup.threads;
    while (c->offered < events) {
        struct bench_burst burst = capturer_fill(c, events - c->offered < BURST ? (uint32_t)(events - c->offered) : BURST);
        c->m->contender->capture(c->handle, &burst);
    }
}

static struct offered capture_all(const struct measurement *m) {
    struct capturer all[MAX_THREADS];
    struct offered offered = {m->events, 0};
    if (m->storage->write_own) check(m, m->storage->write_own(&offered.count, &offered.sum));
    else offered = capturers_run(m, all, share_of_events);
    return offered;
}

/* Reads the files back and deletes them, unless they are kept. `took` is the time of writing them. Returns the processor time of reading. */
static double read_back(const struct measurement *m, struct offered *offered, double took) {
    uint64_t bytes = 0;
    double began = processor_s();
    const char *failed = m->storage->read_back ? m->storage->read_back(&bytes) : NULL;
    double reading = processor_s() - began;
    if (m->storage->remove_files && !m->keep) m->storage->remove_files();
    check(m, failed);
    if (m->storage->counts_only) offered->sum = m->store->sum;
    if (bytes) printf("\"bytes\": %llu, \"bytes_per_event\": %.2f, ", (unsigned long long)bytes, (double)bytes / (double)offered->count);
    if (bytes && took > 0) printf("\"bytes_per_s\": %.0f, ", (double)bytes / took);
    return reading;
}

struct offered measure_storage(const struct measurement *m) {
    touch_page_cache(m->events * TOUCHED_PER_EVENT);
    double used = processor_s(), began = now_s();
    struct offered offered = capture_all(m);
    /* If events are written only by stop(), stop() is part of the measured time. */
    check(m, m->storage->wait_until_written ? m->storage->wait_until_written() : m->contender->stop());
    double took = now_s() - began;
    used = processor_s() - used;
    if (m->storage->wait_until_written) check(m, m->contender->stop());
    printf("\"events_per_s\": %.0f, \"cpu_ns\": %.2f, ", (double)offered.count / took, used * 1e9 / (double)offered.count);
    read_back(m, &offered, took);
    return offered;
}

struct offered measure_read(const struct measurement *m) {
    if (!m->storage->read_back) fail("%s: has no files to read", m->contender->name);
    struct offered offered = capture_all(m);
    if (m->storage->wait_until_written) check(m, m->storage->wait_until_written());
    check(m, m->contender->stop());
    double reading = read_back(m, &offered, 0);
    printf("\"events_per_cpu_s\": %.0f, ", (double)offered.count / reading);
    return offered;
}

static void groups(struct capturer *c) {
    const struct measurement *m = c->m;
    uint64_t count = (uint64_t)(m->rate * m->seconds) / GROUP, late = 0;
    double interval = 1e9 / m->rate / m->ns_per_tick * GROUP, due = (double)ticks();
    if (!(c->samples = malloc(count * sizeof *c->samples))) fail("out of memory");
    memset(c->samples, 1, count * sizeof *c->samples);
    for (uint64_t i = 0; i < count; i++) {
        struct bench_burst burst = capturer_fill(c, GROUP);
        if ((double)ticks() > due + interval) late++;
        while ((double)ticks() < due) relax();
        uint64_t began = ticks();
        m->contender->capture(c->handle, &burst);
        c->samples[c->sample_count++] = ticks() - began;
        due += interval;
    }
    printf("\"late\": %.4f, ", (double)late / (double)count);
}

struct offered measure_paced(const struct measurement *m) {
    struct capturer all[MAX_THREADS];
    if (m->setup.threads != 1) fail("paced: threads is %u; allowed is 1", m->setup.threads);
    touch_page_cache((uint64_t)(m->rate * m->seconds) * TOUCHED_PER_EVENT);
    struct offered offered = capturers_run(m, all, groups);
    if (m->storage->wait_until_written) check(m, m->storage->wait_until_written());
    check(m, m->contender->stop());
    double sum = 0;
    for (uint64_t i = 0; i < all[0].sample_count; i++) sum += (double)all[0].samples[i];
    printf("\"mean_ns\": %.2f, ", sum * m->ns_per_tick / (double)all[0].sample_count / GROUP);
    print_percentiles(m, "ns", all[0].samples, all[0].sample_count, GROUP);
    free(all[0].samples);
    read_back(m, &offered, 0);
    return offered;
}
