/* The ledger.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "ledger.h"

#include "files.h"
#include "platform.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { LEDGER_BYTES = 4096 };
_Static_assert(sizeof(struct ledger) <= LEDGER_BYTES, "the ledger is one page");

static struct ledger in_memory;
struct ledger *_Atomic ledger = &in_memory;

static size_t read_small_file(const char *path, char *to, size_t most) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    size_t length = 0;
    ssize_t got;
    while (length < most && (got = read(fd, to + length, most - length)) > 0) length += (size_t)got;
    close(fd);
    return length;
}

/* Moves counts from memory to the shared page. */
static void move_counts(struct ledger *from, struct ledger *to) {
    for (unsigned call = 0; call < CALL_COUNTERS; call++) {
        atomic_fetch_add(&to->own[call], atomic_exchange(&from->own[call], 0));
        atomic_fetch_add(&to->nested[call], atomic_exchange(&from->nested[call], 0));
    }
    atomic_fetch_add(&to->early_lost, atomic_exchange(&from->early_lost, 0));
    atomic_fetch_add(&to->early_kept, atomic_exchange(&from->early_kept, 0));
    atomic_fetch_add(&to->held, atomic_exchange(&from->held, 0));
    atomic_fetch_add(&to->late, atomic_exchange(&from->late, 0));
    atomic_fetch_add(&to->records, atomic_exchange(&from->records, 0));
    atomic_fetch_add(&to->stacks_lost, atomic_exchange(&from->stacks_lost, 0));
}

bool ledger_open(bool may_create_folder, char *problem, size_t problem_size) {
    char comm[sizeof ledger->comm] = "";
    size_t length = read_small_file("/proc/self/comm", comm, sizeof comm - 1);
    while (length > 0 && comm[length - 1] == '\n') comm[--length] = '\0';
    int fd = files_create(may_create_folder, comm, problem, problem_size);
    if (fd < 0) return false;
    /* Disk space is allocated before the page is mapped: a full disk must be an error here, not a SIGBUS later. */
    int failed = posix_fallocate(fd, 0, LEDGER_BYTES);
    struct ledger *page = MAP_FAILED;
    if (failed == 0) {
        page = mmap(NULL, LEDGER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED) failed = errno;
    }
    close(fd);
    if (failed != 0) {
        snprintf(problem, problem_size, "the ledger: %s", strerror(failed));
        files_remove();
        return false;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    memcpy(page->magic, "ATLEDG05", sizeof page->magic);
    page->size = sizeof *page;
    page->state = LEDGER_RUNNING;
    page->pid = (uint32_t)getpid();
    page->parent = (uint32_t)getppid();
    page->drop_mode = settings.drop;
    page->frames = settings.frames;
    page->started_realtime_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    memcpy(page->comm, comm, sizeof page->comm);
    snprintf(page->storage, sizeof page->storage, "%s", files_storage_name());
    page->image = files_image();
    read_small_file("/proc/self/cmdline", page->command, sizeof page->command - 1);
    atomic_store(&ledger, page);
    move_counts(&in_memory, page);
    return true;
}

void ledger_discard(void) {
    files_remove();
    atomic_store(&ledger, &in_memory); /* the page stays mapped: another thread may be writing to it */
}

void ledger_after_fork(void) {
    struct ledger *page = atomic_exchange(&ledger, &in_memory);
    memset(&in_memory, 0, sizeof in_memory);
    if (page != &in_memory) munmap(page, LEDGER_BYTES);
}

/* CPU time of the main thread alone, without the pipeline's threads: it shows what the tracer costs the program. The clock id
 * is composed as the kernel defines it for a thread, because clock_getcpuclockid supports whole processes only. */
static uint64_t main_thread_cpu_ns(void) {
    struct timespec used;
    clockid_t clock = (clockid_t)((~(unsigned)getpid() << 3) | 6);
    if (clock_gettime(clock, &used) != 0) return 0;
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

void ledger_publish(const pipeline_t *p, enum ledger_state state) {
    pipeline_metrics_t m = {.struct_size = sizeof m};
    if (pipeline_metrics(p, &m) != PIPELINE_OK) return;
    struct ledger *page = ledger;
    move_counts(&in_memory, page); /* counts that a thread added there while the page was being set up */
    /* scripts/ledger.py has the same list, in the same order. */
    const uint64_t figures[LEDGER_FIGURES] = {
        m.offered, m.captured, m.recovered, m.dropped_full, m.dropped_sampled, m.dropped_rule,
        m.refused_too_large, m.refused_closed, m.refused_invalid, m.refused_busy, m.refused_no_ring,
        m.stored, m.filtered, m.dead_lettered, m.discarded, m.overwritten, m.buffered, m.in_flight, m.in_doubt, m.left,
        m.batches, m.retries, m.backlog_bytes, m.bytes_captured, m.latency_p50_ns, m.latency_p99_ns, m.latency_max_ns,
        m.uptime_ns,
    };
    memcpy(page->figures, figures, sizeof figures);
    page->main_cpu_ns = main_thread_cpu_ns();
    page->figures_at_ns = monotonic_ns();
    page->state = state;
}
