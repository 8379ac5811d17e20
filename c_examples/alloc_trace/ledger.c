/* The tool's own counters and the files of a process. The counters lie on a page that is shared with a file from the
 * start of the pipeline on, so that they are right up to the last instruction, however the process ends; before that,
 * and where no pipeline ever starts, in memory.
 *
 * Files, in ALLOC_TRACE_DIR (./alloc_trace.out): PID-N.ledger, PID-N-COMM.db, PID-N.maps. N tells the images of a process
 * apart that replace each other by exec.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "trace.h"

#include <capture_pipeline.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LEDGER_BYTES = 4096 };
_Static_assert(sizeof(struct ledger) <= LEDGER_BYTES, "the ledger is one page");

static struct ledger in_memory;
struct ledger *_Atomic ledger = &in_memory;

static char directory[PATH_MAX];
static char base[PATH_MAX];      /* directory/PID-N */
static char database[PATH_MAX];

const char *ledger_database(void) {
    return database;
}

void complain(bool loud, const char *what, const char *detail) {
    /* Only before main: later, descriptor 2 may be a file of the program's. */
    if (!loud) return;
    char line[600];
    int length = snprintf(line, sizeof line, "alloc_trace: %s: %s; the program runs untraced\n", what, detail);
    if (length > (int)sizeof line - 1) length = (int)sizeof line - 1;
    if (write(2, line, (size_t)length) < 0) return; /* stderr is closed: nobody wants to know */
}

static size_t read_small_file(const char *path, char *to, size_t room) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    size_t length = 0;
    ssize_t got;
    while (length < room && (got = read(fd, to + length, room - length)) > 0) length += (size_t)got;
    close(fd);
    return length;
}

/* The directory, absolute: the program may change its working directory before it forks. */
static bool find_directory(void) {
    const char *wanted = getenv("ALLOC_TRACE_DIR");
    if (wanted == NULL || wanted[0] == '\0') wanted = "alloc_trace.out";
    char here[PATH_MAX / 2];
    int length;
    if (wanted[0] == '/')
        length = snprintf(directory, sizeof directory, "%s", wanted);
    else if (getcwd(here, sizeof here) != NULL)
        length = snprintf(directory, sizeof directory, "%s/%s", here, wanted);
    else
        return false;
    if (length >= (int)sizeof directory - 64) {
        errno = ENAMETOOLONG;
        return false;
    }
    return mkdir(directory, 0777) == 0 || errno == EEXIST;
}

static int create_ledger_file(void) {
    for (unsigned image = 0; image < 100000; image++) {
        snprintf(base, sizeof base, "%s/%d-%u", directory, (int)getpid(), image);
        char path[PATH_MAX + 16];
        snprintf(path, sizeof path, "%s.ledger", base);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

static void name_database(struct ledger *page) {
    size_t length = read_small_file("/proc/self/comm", page->comm, sizeof page->comm - 1);
    while (length > 0 && page->comm[length - 1] == '\n') length--;
    page->comm[length] = '\0';
    char safe[sizeof page->comm];
    for (size_t at = 0; at <= length; at++) {
        char c = page->comm[at];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                     c == '-' || c == '+' || c == '\0';
        safe[at] = plain ? c : '_';
    }
    snprintf(database, sizeof database, "%s-%s.db", base, safe);
    snprintf(page->database, sizeof page->database, "%s", strrchr(database, '/') + 1);
    read_small_file("/proc/self/cmdline", page->command, sizeof page->command - 1);
}

/* Counts made in memory so far move to the shared page. */
static void move_counts(struct ledger *from, struct ledger *to) {
    for (unsigned call = 0; call < CALL_END; call++) atomic_fetch_add(&to->own[call], atomic_exchange(&from->own[call], 0));
    atomic_fetch_add(&to->early_lost, atomic_exchange(&from->early_lost, 0));
    atomic_fetch_add(&to->early_kept, atomic_exchange(&from->early_kept, 0));
    atomic_fetch_add(&to->held, atomic_exchange(&from->held, 0));
    atomic_fetch_add(&to->late, atomic_exchange(&from->late, 0));
}

bool ledger_open(bool loud) {
    if (!find_directory()) {
        complain(loud, directory[0] != '\0' ? directory : "no working directory", strerror(errno));
        return false;
    }
    int fd = create_ledger_file();
    if (fd < 0) {
        complain(loud, directory, strerror(errno));
        return false;
    }
    /* Space is allocated before it is mapped: a full disk must be an error here, not a SIGBUS later. */
    int failed = posix_fallocate(fd, 0, LEDGER_BYTES);
    struct ledger *page = MAP_FAILED;
    if (failed == 0) {
        page = mmap(NULL, LEDGER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED) failed = errno;
    }
    close(fd);
    if (failed != 0) {
        complain(loud, base, strerror(failed));
        char path[PATH_MAX + 16];
        snprintf(path, sizeof path, "%s.ledger", base);
        unlink(path);
        return false;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    memcpy(page->magic, "ATLEDG03", sizeof page->magic);
    page->size = sizeof *page;
    page->state = LEDGER_RUNNING;
    page->pid = (uint32_t)getpid();
    page->parent = (uint32_t)getppid();
    page->drop_mode = drop_mode;
    page->started_realtime_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    name_database(page);
    atomic_store(&ledger, page);
    move_counts(&in_memory, page);
    return true;
}

void ledger_discard(void) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s.ledger", base);
    unlink(path);
    atomic_store(&ledger, &in_memory); /* the page stays mapped: another thread may be counting on it */
}

void ledger_forget(void) {
    struct ledger *page = atomic_exchange(&ledger, &in_memory);
    memset(&in_memory, 0, sizeof in_memory);
    if (page != &in_memory) munmap(page, LEDGER_BYTES);
}

/* Apart from the pipeline's threads, so that it says what the tracer costs the program itself. The clock's number is made
 * as the kernel has it for a thread of any process: clock_getcpuclockid knows whole processes only. */
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
    move_counts(&in_memory, page); /* what a thread counted there while the page came to be */
    /* The order is known to report/ledger.py by name. */
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

/* With what the process has mapped, addresses become symbol names after it is gone. */
void ledger_save_maps(void) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s.maps", base);
    int from = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    static char block[16384];
    ssize_t got;
    while (from >= 0 && to >= 0 && (got = read(from, block, sizeof block)) > 0)
        if (write(to, block, (size_t)got) != got) break;
    if (from >= 0) close(from);
    if (to >= 0) close(to);
}
