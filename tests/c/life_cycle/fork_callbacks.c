/* A program forks inside each function that the library calls, in every way that gives it a copy of itself. In the child, calls on the parent's pipeline are
 * refused. If the function returns in a child of fork, no other function of the program's is called: a thread of the library ends, and a thread of the program's comes back
 * from its call. The parent goes on: each event is stored once and released once, and the storage is destroyed once.
 * docs/guarantees.md has the table. */
#include "fork.h"

#include <sys/mman.h>

enum { EVENTS = 10 };

/* The functions that the library calls. */
enum function { STORE, FLUSH, OPEN_WRITER, CLOSE_WRITER, DEAD_LETTER, RELEASE, FINISH, DESTROY, TRANSFORM, TRANSFORM_DESTROY, PRESSURE, FUNCTIONS };
static const char *const functions[FUNCTIONS] = {
    "store", "flush", "open_writer", "close_writer", "dead_letter", "release", "finish", "destroy", "transform", "destroy of a transform", "the pressure callback",
};
/* How the pipeline ends, and who calls release and destroy. */
enum end { CLOSES, DESTROYS, ABANDONS, ENDS };
static const char *const ends[ENDS] = {"close and destroy", "destroy with events left", "abandon with events left"};

static enum function target;
static enum end end;
static enum fork_way way;
static bool child_returns;

static pid_t parent;
static pipeline_t *p;
static atomic_int forked; /* the child; 0: none yet */
static atomic_int *in_child; /* functions that were called in children; shared with them */
static atomic_int stored[2 * EVENTS], released[2 * EVENTS], destroyed;

static void child(void)
{
    if (p != NULL)
        everything_is_refused(p, NULL, 1);
    if (way == WAY_FORK)
        childs_own_pipeline(EVENTS);
    if (p != NULL)
        CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    if (way == WAY_FORK)
        childs_own_pipeline(EVENTS);
    _exit(checks_failed ? 1 : 0);
}

/* To be called by each function that the library calls. */
static void inside(enum function function)
{
    pid_t pid;
    if (getpid() != parent) {
        ++*in_child;
        return;
    }
    if (function != target || forked != 0)
        return;
    pid = fork_by(way);
    if (pid == 0) {
        begin_child();
        if (!child_returns)
            child();
        return;
    }
    CHECK_OR_STOP(pid > 0);
    forked = pid;
}

/* A child that comes back from a call of the program's ends here. */
static void only_in_the_parent(void)
{
    if (getpid() != parent)
        _exit(checks_failed ? 1 : 0);
}

static void count(atomic_int *times, const void *data)
{
    uint64_t n = *(const uint64_t *)data;
    CHECK_OR_STOP(n < 2 * EVENTS);
    times[n]++;
}

static int32_t on_store(void *user_data, const pipeline_batch_t *batch)
{
    size_t i;
    (void)user_data;
    inside(STORE);
    if (target == DEAD_LETTER)
        return PIPELINE_STORE_REJECT;
    for (i = 0; i < batch->count && getpid() == parent; i++)
        count(stored, PIPELINE_BATCH_EVENT(batch, i)->data);
    return PIPELINE_STORE_OK;
}

static int32_t on_dead_letter(void *user_data, const pipeline_batch_t *batch, int32_t reason)
{
    size_t i;
    (void)user_data, (void)reason;
    inside(DEAD_LETTER);
    for (i = 0; i < batch->count && getpid() == parent; i++)
        count(stored, PIPELINE_BATCH_EVENT(batch, i)->data);
    return 0;
}

static int32_t on_flush(void *user_data, int64_t timeout_ms)
{
    (void)user_data, (void)timeout_ms;
    inside(FLUSH);
    return 0;
}

static int32_t on_finish(void *user_data, int64_t timeout_ms)
{
    (void)user_data, (void)timeout_ms;
    inside(FINISH);
    return 0;
}

static int32_t on_open_writer(void *user_data, uint32_t writer_id, void **writer_data)
{
    (void)user_data, (void)writer_id, (void)writer_data;
    inside(OPEN_WRITER);
    return 0;
}

static void on_close_writer(void *user_data, uint32_t writer_id, void *writer_data)
{
    (void)user_data, (void)writer_id, (void)writer_data;
    inside(CLOSE_WRITER);
}

static void on_release(void *user_data, const pipeline_event_view_t *event)
{
    (void)user_data;
    inside(RELEASE);
    if (getpid() == parent)
        count(released, event->data);
}

static void on_destroy(void *user_data)
{
    (void)user_data;
    inside(DESTROY);
    destroyed++;
}

static int32_t on_transform(void *user_data, const pipeline_event_view_t *event, pipeline_rewrite_t *rewrite)
{
    (void)user_data, (void)event, (void)rewrite;
    inside(TRANSFORM);
    return PIPELINE_TRANSFORM_KEEP;
}

static void on_transform_destroy(void *user_data)
{
    (void)user_data;
    inside(TRANSFORM_DESTROY);
}

static void on_pressure(void *user_data, uint32_t pressure, int32_t is_high)
{
    (void)user_data, (void)pressure, (void)is_high;
    inside(PRESSURE);
}

static pipeline_t *start(void)
{
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s;
    pipeline_transform_t t;
    pipeline_t *started = NULL;
    CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
    s.store = on_store;
    s.flush = on_flush;
    s.open_writer = on_open_writer;
    s.close_writer = on_close_writer;
    s.dead_letter = on_dead_letter;
    s.release = on_release;
    s.finish = on_finish;
    s.destroy = on_destroy;
    c.ring_bytes = 4096;
    c.writers = 0; /* until `p` is set */
    CHECK_STATUS(pipeline_start(&c, &s, &started), PIPELINE_OK);
    CHECK_OR_STOP(started != NULL);
    CHECK_STATUS(pipeline_transform_init(&t, sizeof t), PIPELINE_OK);
    t.transform = on_transform;
    t.destroy = on_transform_destroy;
    CHECK_STATUS(pipeline_transform(started, &t), PIPELINE_OK);
    CHECK_STATUS(pipeline_pressure_callback(started, 0, 1, on_pressure, NULL), PIPELINE_OK);
    return started;
}

static void capture_events(uint64_t from)
{
    uint64_t n;
    for (n = from; n < from + EVENTS; n++)
        CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_OK);
}

static void end_it(void)
{
    if (end == CLOSES) {
        CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
        only_in_the_parent();
        CHECK_LEDGER(p);
    } else {
        CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
        capture_events(EVENTS);
        if (end == ABANDONS) {
            pipeline_t *given_up = p;
            p = NULL;
            CHECK_STATUS(pipeline_abandon(given_up), PIPELINE_OK);
            WAIT_FOR(destroyed == 1);
            return;
        }
    }
    DESTROY_SOON(p);
    only_in_the_parent();
}

static bool has_ended(void)
{
    siginfo_t info;
    info.si_pid = 0;
    return waitid(P_PID, (id_t)forked, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == forked;
}

static void play(void)
{
    int failed = checks_failed, status = -1, i;
    memset((void *)stored, 0, sizeof stored);
    memset((void *)released, 0, sizeof released);
    destroyed = forked = *in_child = 0;
    fflush(NULL);
    p = start();
    capture_events(0);
    if (target == PRESSURE)
        WAIT_FOR(forked != 0);
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    end_it();
    CHECK_OR_STOP(forked > 0);
    WAIT_FOR(has_ended());
    kill(forked, SIGKILL); /* one that has not ended; the others are only waited for now */
    CHECK(waitpid(forked, &status, 0) == forked);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_U64(*in_child, 0);
    for (i = 0; i < 2 * EVENTS; i++) {
        CHECK_U64(stored[i], i < EVENTS);
        CHECK_U64(released[i], i < EVENTS || end != CLOSES);
    }
    CHECK_U64(destroyed, 1);
    if (checks_failed != failed)
        fprintf(stderr, "  in the case: %s in %s, whose child %s; %s (status %x)\n", fork_ways[way], functions[target], child_returns ? "returns" : "ends", ends[end],
                (unsigned)status);
}

/* Whether this function is called before the end in question, or by it. */
static bool is_called(void)
{
    return end == CLOSES || (target != CLOSE_WRITER && target != FINISH);
}

int main(void)
{
    int returns;
    default_config();
    parent = getpid();
    in_child = (atomic_int *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(in_child != MAP_FAILED);
    for (target = STORE; target < FUNCTIONS; target++)
        for (end = CLOSES; end < ENDS; end++)
            for (way = WAY_FORK; way < FORK_WAYS; way++)
                /* Without handlers a thread of the child cannot end: the C library takes a lock of its allocator then, which another thread may have held. */
                for (returns = 0; returns < (way == WAY_FORK ? 2 : 1) && has_fork_way(way) && is_called(); returns++) {
                    child_returns = returns;
                    play();
                }
    return SUMMARY();
}
