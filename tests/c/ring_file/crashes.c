/* Every way in which a process with a ring file ends, by itself or by force, on main and on another thread: nothing that was captured is lost. What it has not
 * stored is recovered into the same journal, where each event is found once, the last one before the end among them; also its time is right. */
#include "ring_file.h"
#include "../journal/journal.h"

#include <sys/resource.h>
#include <sys/syscall.h>

enum { EVENTS = 500 };
enum way { EXIT, UNDERSCORE_EXIT, QUICK_EXIT, ABORT, READS_NULL, DIVIDES, NO_MEMORY, TERMINATE, KILL, EXECUTE, WAYS };
static const char *const ways[WAYS] = {
    "exit", "_exit", "quick_exit", "abort", "a store to NULL", "a division by zero", "no memory", "SIGTERM", "SIGKILL", "exec",
};

static enum way way;
static pipeline_t *p;
static volatile int zero;

/* The way of a program that does not handle what malloc returns. */
static void use_up_memory(void)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_AS, &limit);
    for (;;)
        memset(malloc(1 << 20), 1, 1 << 20);
}

static void end_here(void)
{
    static char *const nothing[] = {(char *)"true", NULL};
    switch (way) {
    case EXIT:
        exit(0);
    case UNDERSCORE_EXIT:
        _exit(0);
    case QUICK_EXIT:
        quick_exit(0);
    case ABORT:
        abort();
    case READS_NULL:
        *(volatile int *)(uintptr_t)(unsigned)zero = 1;
        break;
    case DIVIDES:
        signal(SIGFPE, SIG_DFL);
        kill(getpid(), SIGFPE); /* (Not every processor stops at one.) */
        break;
    case NO_MEMORY:
        use_up_memory();
        break;
    case TERMINATE:
        kill(getpid(), SIGTERM);
        break;
    case KILL:
        kill(getpid(), SIGKILL);
        break;
    case EXECUTE:
        execvp(nothing[0], nothing);
        break;
    case WAYS:
        break;
    }
    for (;;)
        pause();
}

static void *capture_and_end(void *unused)
{
    uint64_t n;
    (void)unused;
    for (n = 0; n < EVENTS; n++)
        if (pipeline_capture(p, 1, &n, sizeof n) != PIPELINE_OK)
            _exit(9);
    end_here();
    return NULL;
}

/* In the child. With `writers`, most is stored already. */
static void run(const char *directory, uint32_t writers, bool on_main)
{
    static const int fatal[] = {SIGSEGV, SIGABRT, SIGFPE, SIGTERM};
    pipeline_config_t c = ring_file_config(directory);
    pipeline_storage_t s;
    struct rlimit none = {0, 0};
    size_t n;
    leave_leaks();
    alarm(60);
    setrlimit(RLIMIT_CORE, &none);
    for (n = 0; n < sizeof fatal / sizeof *fatal; n++)
        signal(fatal[n], SIG_DFL);
    c.writers = writers;
    if (pipeline_storage_journal(JOURNAL, NULL, sizeof s, &s) != PIPELINE_OK || pipeline_start(&c, &s, &p) != PIPELINE_OK)
        _exit(9);
    if (on_main)
        capture_and_end(NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, capture_and_end, NULL);
    for (;;)
        pause();
}

/* Each number is there once, and was captured between two times. */
static void check_journal(const char *what, uint64_t from_ns, uint64_t to_ns)
{
    pipeline_reader_options_t options = reader_defaults();
    pipeline_reader_t *reader = open_reader(JOURNAL, &options);
    pipeline_reader_event_t event;
    uint64_t count = 0, sum = 0;
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    while (pipeline_reader_next(reader, 0, &event) == PIPELINE_OK) {
        count++;
        sum += number_of(&event);
        if (!CHECK(event.timestamp_ns >= from_ns && event.timestamp_ns <= to_ns))
            break;
    }
    if (!CHECK_U64(count, EVENTS) || !CHECK_U64(sum, (uint64_t)EVENTS * (EVENTS - 1) / 2))
        fprintf(stderr, "  after %s\n", what);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
}

static uint64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void ends(uint32_t writers, bool on_main)
{
    const char *directory = new_ring_dir("crash");
    /* The timeline may be off by some microseconds. */
    const uint64_t slack = 5000000;
    uint64_t from = monotonic_ns() - slack;
    int status = 0;
    pipeline_storage_t s;
    pipeline_recovery_t recovery;
    pid_t child = fork();
    if (child == 0) {
        run(directory, writers, on_main);
        _exit(9);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (!CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 9) && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)))
        fprintf(stderr, "  %s, status %d\n", ways[way], status);
    CHECK_STATUS(pipeline_storage_journal(JOURNAL, NULL, sizeof s, &s), PIPELINE_OK);
    memset(&recovery, 0, sizeof recovery);
    recovery.struct_size = sizeof recovery;
    CHECK_STATUS(pipeline_recover(directory, &s, NULL, &recovery), PIPELINE_OK);
    CHECK_U64(recovery.torn, 0);
    CHECK(find_ring_file(directory) == NULL);
    check_journal(ways[way], from, monotonic_ns() + slack);
    remove_journal();
    remove_ring_dir(directory);
}

int main(void)
{
    for (way = 0; way < WAYS; way++) {
        /* Valgrind and the sanitizers need memory of their own. */
        if (way == NO_MEMORY && !memory_is_ours())
            continue;
        ends(0, true);
        ends(2, false);
    }
    return SUMMARY();
}
