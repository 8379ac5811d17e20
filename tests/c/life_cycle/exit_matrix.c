/* Every way in which a program ends, from each kind of thread: main, another one, and a writer inside the storage's store. The exit status is the program's, no
 * event is there twice, all that was acknowledged is there, and where exit handlers run, so is all else that was captured. Nothing keeps the process for
 * longer than exit_timeout_ms. docs/guarantees.md has the table. */
#include "../recorder.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

enum { ACKNOWLEDGED = 100, CAPTURED = 300, STATUS = 7 };

/* How it ends. */
enum way { RETURN, EXIT, PTHREAD_EXIT, QUICK_EXIT, UNDERSCORE_EXIT, EXIT_GROUP, ABORT, SEGMENTATION_FAULT, TERMINATE, KILL, EXECUTE, DAEMON, WAYS };
/* On which thread. */
enum origin { MAIN, THREAD, IN_STORE, ORIGINS };

static const char *const ways[WAYS] = {
    "return from main", "exit", "pthread_exit of main", "quick_exit", "_exit", "exit_group", "abort", "a segmentation fault", "SIGTERM", "SIGKILL", "exec", "daemon",
};
static const char *const origins[ORIGINS] = {"main", "another thread", "a writer in store"};

static int out; /* a file, open in parent and child alike */
static enum way way;
static atomic_bool ends_in_store;
static atomic_bool main_ends; /* main calls pthread_exit */
static pipeline_t *running;

static void end_here(void)
{
    static char *const nothing[] = {(char *)"true", NULL};
    switch (way) {
    case RETURN: /* by main alone */
    case EXIT:
        exit(STATUS);
    case PTHREAD_EXIT:
        main_ends = true;
        pthread_exit(NULL);
    case QUICK_EXIT:
        quick_exit(STATUS);
    case UNDERSCORE_EXIT:
        _exit(STATUS);
    case EXIT_GROUP:
        syscall(SYS_exit_group, STATUS);
        break;
    case ABORT:
        abort();
    case SEGMENTATION_FAULT:
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        break;
    case TERMINATE:
        signal(SIGTERM, SIG_DFL);
        kill(getpid(), SIGTERM);
        for (;;)
            pause();
    case KILL:
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    case EXECUTE:
        execvp(nothing[0], nothing);
        break;
    case DAEMON: /* the calling process ends by _exit, and its child goes on */
        if (daemon(1, 1) == 0)
            _exit(0);
        break;
    case WAYS:
        break;
    }
    _exit(99);
}

static int32_t write_numbers(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data;
    if (ends_in_store)
        end_here();
    for (i = 0; i < batch->count; i++)
        if (write(out, PIPELINE_BATCH_EVENT(batch, i)->data, 8) != 8)
            return PIPELINE_STORE_RETRY;
    return PIPELINE_STORE_OK;
}

static void *ends(void *unused)
{
    (void)unused;
    end_here();
    return NULL;
}

/* Whether a thread of this process has this name. */
static bool has_thread(const char *name)
{
    char path[64], comm[32];
    struct dirent *entry;
    bool found = false;
    DIR *all = opendir("/proc/self/task");
    CHECK_OR_STOP(all != NULL);
    while (!found && (entry = readdir(all)) != NULL) {
        FILE *file;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", entry->d_name);
        file = fopen(path, "re");
        if (file == NULL)
            continue;
        found = fgets(comm, sizeof comm, file) != NULL && strncmp(comm, name, strlen(name)) == 0;
        fclose(file);
    }
    closedir(all);
    return found;
}

/* The last thread of a program whose main has ended by pthread_exit: the process then ends as by exit(0). It does not end before, so the last event is captured
 * while the library looks which threads are left. */
static void *is_last(void *alone)
{
    uint64_t looks_again;
    WAIT_FOR(main_ends);
    if (alone == NULL)
        WAIT_FOR(has_thread("cp-last-thread"));
    looks_again = now_ms() + 100;
    WAIT_FOR(now_ms() > looks_again);
    capture_numbers(running, CAPTURED - 1, CAPTURED);
    return NULL;
}

/* The thread of a storage in a library of its own: it is one of the library's, and keeps no process. */
static void never_ends(void *unused)
{
    (void)unused;
    for (;;)
        pause();
}

static void begin(enum origin origin)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_t *p;
    c.exit_timeout_ms = PATIENCE_MS;
    /* A writer that ends the process has a batch of its own: nobody waits for that. */
    if (origin == IN_STORE)
        c.exit_timeout_ms = 200;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = write_numbers;
    p = start_pipeline(&c, &s);
    CHECK_STATUS(pipeline_thread_start("storage", never_ends, NULL), PIPELINE_OK);
    capture_numbers(p, 0, ACKNOWLEDGED);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    if (origin == IN_STORE)
        ends_in_store = true;
    else
        CHECK_STATUS(pipeline_pause(p), PIPELINE_OK); /* so that the end finds events that nobody has stored */
    capture_numbers(p, ACKNOWLEDGED, way == PTHREAD_EXIT ? CAPTURED - 1 : CAPTURED);
    running = p;
}

/* The pipeline of a program whose main has never called the library: that main has ended is noticed when this thread ends. */
static void *begins_and_is_last(void *unused)
{
    begin(THREAD);
    (void)unused;
    return is_last(&running);
}

static int child(enum origin origin)
{
    begin_child();
    if (way == PTHREAD_EXIT) {
        if (origin == MAIN)
            begin(origin);
        start_thread(origin == MAIN ? is_last : begins_and_is_last, NULL);
        end_here();
    }
    begin(origin);
    if (origin == THREAD)
        pthread_join(start_thread(ends, NULL), NULL);
    if (origin != MAIN)
        for (;;)
            pause();
    if (way != RETURN)
        end_here();
    return STATUS;
}

/* Whether exit handlers run, so that what was captured is stored. */
static bool drains(void)
{
    return way == RETURN || way == EXIT || way == PTHREAD_EXIT;
}

static void check_end(enum origin origin, int status)
{
    switch (way) {
    case ABORT:
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        break;
    case SEGMENTATION_FAULT:
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
        break;
    case TERMINATE:
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
        break;
    case KILL:
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        break;
    case PTHREAD_EXIT:
    case EXECUTE:
    case DAEMON:
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        break;
    default:
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == STATUS);
    }
    (void)origin;
}

static void check_file(enum origin origin)
{
    static uint64_t numbers[1 << 16];
    static unsigned char times[CAPTURED];
    uint64_t i, there = 0;
    ssize_t got = pread(out, numbers, sizeof numbers, 0);
    memset(times, 0, sizeof times);
    CHECK_OR_STOP(got >= 0 && got % 8 == 0);
    for (i = 0; i < (uint64_t)got / 8; i++) {
        CHECK_OR_STOP(numbers[i] < CAPTURED);
        times[numbers[i]]++;
    }
    for (i = 0; i < CAPTURED; i++) {
        CHECK(times[i] <= 1);
        there += times[i] != 0;
        if (i < ACKNOWLEDGED)
            CHECK_U64(times[i], 1);
    }
    /* The storage is not concurrent: inside its call no other can drain. */
    CHECK_U64(there, drains() && origin != IN_STORE ? CAPTURED : ACKNOWLEDGED);
}

static bool has_ended(pid_t pid)
{
    siginfo_t info;
    info.si_pid = 0;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* main returns from here only in a child that ends so. */
int main(void)
{
    char name[] = "exit_matrix.XXXXXX";
    enum origin origin;
    out = mkstemp(name);
    CHECK_OR_STOP(out >= 0);
    unlink(name);
    CHECK(fcntl(out, F_SETFL, O_APPEND) == 0);
    for (way = RETURN; way < WAYS; way++)
        for (origin = MAIN; origin < ORIGINS; origin++) {
            int failed = checks_failed, status = 0;
            pid_t pid;
            /* Only main returns from main. Another thread: the one that has started the pipeline, and that ends last. */
            if ((way == RETURN && origin != MAIN) || (way == PTHREAD_EXIT && origin == IN_STORE))
                continue;
            CHECK(ftruncate(out, 0) == 0);
            fflush(NULL);
            pid = fork();
            CHECK_OR_STOP(pid >= 0);
            if (pid == 0)
                return child(origin);
            WAIT_FOR(has_ended(pid));
            kill(pid, SIGKILL); /* one that has not ended; the others are only waited for now */
            CHECK_OR_STOP(waitpid(pid, &status, 0) == pid);
            check_end(origin, status);
            check_file(origin);
            if (checks_failed != failed)
                fprintf(stderr, "  in the case: %s, from %s (status %x)\n", ways[way], origins[origin], (unsigned)status);
        }
    return SUMMARY();
}
