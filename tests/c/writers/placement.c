/* Scheduling class, priority and processors of writers: as configured, also for writers that start later, and for no other thread.
 * pipeline_start refuses invalid values, and values that the system refuses, by name. */
#include "../recorder.h"

#include <dirent.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static recorder_t rec = RECORDER_INIT;

static int class_of(pid_t thread) { return (int)syscall(SYS_sched_getscheduler, thread); }

/* The scheduling of a thread. The slice in nanoseconds is 0 if the system does not report one. */
typedef struct {
    int class, nice, priority;
    uint64_t slice;
    cpu_set_t cpus;
} place_t;

/* The part of struct sched_attr that every kernel with it has; not all C libraries define it. */
typedef struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} attributes_t;

static attributes_t attributes_of(pid_t thread)
{
    attributes_t a;
    memset(&a, 0, sizeof a);
    if (syscall(SYS_sched_getattr, thread, &a, sizeof a, 0) != 0)
        a.policy = UINT32_MAX; /* not available under this tool */
    return a;
}

static bool has_slice(int class) { return class == SCHED_OTHER || class == SCHED_BATCH; }

static place_t place_of(pid_t thread)
{
    place_t p;
    struct sched_param param;
    memset(&p, 0, sizeof p);
    p.class = class_of(thread);
    p.nice = getpriority(PRIO_PROCESS, (id_t)thread);
    CHECK(syscall(SYS_sched_getparam, thread, &param) == 0);
    p.priority = param.sched_priority;
    CHECK(sched_getaffinity(thread, sizeof p.cpus, &p.cpus) == 0);
    if (has_slice(p.class) && attributes_of(thread).policy == (uint32_t)p.class)
        p.slice = attributes_of(thread).runtime;
    return p;
}

/* The threads of the pipeline under test; those of an earlier one may still be ending. */
static char pipeline_name[16];

static bool is_writer(const char *name)
{
    return strncmp(name, "cp-", 3) == 0 && name[3] >= '0' && name[3] <= '9' && strstr(name, pipeline_name) != NULL;
}

static bool is_earlier(const char *name)
{
    return strncmp(name, "cp-", 3) == 0 && strstr(name, pipeline_name) == NULL;
}

/* Checks every thread of this process: writers are scheduled as configured, all others as this one. Returns the number of writers. */
static int check_threads(const place_t *writers, const place_t *others)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;
    CHECK_OR_STOP(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        char path[300], name[32] = "";
        FILE *comm;
        pid_t thread = (pid_t)atoi(entry->d_name);
        const place_t *want;
        place_t got;
        if (thread == 0)
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        comm = fopen(path, "r");
        if (comm == NULL)
            continue;
        if (fgets(name, sizeof name, comm) == NULL)
            name[0] = 0;
        fclose(comm);
        if (is_earlier(name))
            continue;
        want = is_writer(name) ? writers : others;
        count += is_writer(name);
        got = place_of(thread);
        if (!CHECK(got.class == want->class && got.nice == want->nice && got.priority == want->priority &&
                   (!has_slice(got.class) || got.slice == want->slice) &&
                   CPU_EQUAL(&got.cpus, &want->cpus)))
            fprintf(stderr, "  thread %s: class %x, nice %d, priority %d, slice %llu ns\n", name,
                    (unsigned)got.class, got.nice, got.priority, (unsigned long long)got.slice);
    }
    closedir(tasks);
    return count;
}

static void all_opened(uint64_t writers)
{
    pthread_mutex_lock(&rec.mutex);
    while (rec.opened < writers)
        pthread_cond_wait(&rec.changed, &rec.mutex);
    pthread_mutex_unlock(&rec.mutex);
}

static int32_t open_writer(void *user_data, uint32_t writer_id, void **writer_data)
{
    (void)user_data;
    (void)writer_id;
    *writer_data = NULL;
    pthread_mutex_lock(&rec.mutex);
    rec.opened++;
    pthread_cond_broadcast(&rec.changed);
    pthread_mutex_unlock(&rec.mutex);
    return 0;
}

/* Runs a pipeline with two writers, then three, with this configuration. Returns false if the system refused it. */
static bool placed(const pipeline_config_t *config, const place_t *writers)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = *config;
    place_t own = place_of(0);
    pipeline_t *p = NULL;
    int32_t status;
    static int number = 100;
    char cpus[64] = "";
    s.open_writer = open_writer;
    rec.opened = 0;
    c.writers = 2;
    snprintf(pipeline_name, sizeof pipeline_name, "nr%d", ++number);
    c.name = pipeline_name;
    if (config->writer_cpus != NULL) {
        snprintf(cpus, sizeof cpus, "%s", config->writer_cpus);
        c.writer_cpus = cpus;
    }
    status = pipeline_start(&c, &s, &p);
    memset(cpus, 'x', sizeof cpus - 1); /* copied */
    if (status == PIPELINE_ERR_SYSTEM) {
        CHECK_HAS(pipeline_last_error(), "pipeline_config_t.writer_");
        CHECK(p == NULL);
        return false;
    }
    CHECK_STATUS(status, PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    all_opened(2);
    CHECK(check_threads(writers, &own) == 2);
    CHECK_STATUS(pipeline_scale(p, 3), PIPELINE_OK);
    all_opened(3);
    CHECK(check_threads(writers, &own) == 3);
    CHECK_U64(health_of(p).reasons & PIPELINE_HEALTH_PLACEMENT, 0);
    capture_numbers(p, 0, 100);
    END(p);
    return true;
}

static void refused(const char *cpus)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p = NULL;
    uint64_t before = rec.destroy_calls;
    c.writer_cpus = cpus;
    CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID, "pipeline_config_t.writer_cpus");
    CHECK_HAS(pipeline_last_error(), "0-3,6");
    CHECK_HAS(pipeline_last_error(), cpus);
    CHECK(p == NULL);
    CHECK_U64(rec.destroy_calls, before + 1);
}

static void number_refused(uint32_t class, uint32_t priority, int32_t nice_value, const char *field)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p = NULL;
    c.writer_class = class;
    c.writer_priority = priority;
    c.writer_nice = nice_value;
    CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_INVALID, field);
}

static void fixed(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    char list[16];
    snprintf(list, sizeof list, "%d", sched_getcpu());
    c.writer_cpus = list;
    p = start_pipeline(&c, &s);
    c.writer_cpus = "0-1023";
    CHECK_FAILS(pipeline_update(p, &c), PIPELINE_ERR_FIXED, "writer_cpus");
    CHECK_HAS(pipeline_last_error(), list);
    c.writer_cpus = list;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    c.writer_cpus = NULL;
    CHECK_STATUS(pipeline_update(p, &c), PIPELINE_OK);
    END(p);
}

/* A writer that cannot get its class later still works. In a child process, which gives up its privileges. */
static void without_privilege(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_config_t c = config_defaults();
    pipeline_writer_metrics_t w;
    struct rlimit none = {0, 0};
    pipeline_t *p = NULL;
    c.writer_class = PIPELINE_SCHED_FIFO;
    c.writer_priority = 5;
    if (geteuid() != 0 || pipeline_start(&c, &s, &p) != PIPELINE_OK)
        return; /* no privilege to give up */
    /* It takes its place on its own thread, before it opens itself. */
    w.struct_size = sizeof w;
    WAIT_FOR(pipeline_writer_metrics(p, 0, &w) == PIPELINE_OK && w.state != PIPELINE_WRITER_OPENING);
    CHECK_OR_STOP(setrlimit(RLIMIT_RTPRIO, &none) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
    CHECK_STATUS(pipeline_scale(p, 2), PIPELINE_OK);
    WAIT_FOR((health_of(p).reasons & PIPELINE_HEALTH_PLACEMENT) != 0);
    CHECK_U64(health_of(p).status, PIPELINE_DEGRADED);
    CHECK_HAS(health_of(p).message, "writer 1 was refused its writer_priority");
    CHECK_STATUS(pipeline_scale(p, 1), PIPELINE_OK);
    WAIT_FOR((health_of(p).reasons & PIPELINE_HEALTH_PLACEMENT) == 0);
    capture_numbers(p, 0, 100);
    END(p);
    c.name = "again";
    CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_SYSTEM, "pipeline_config_t.writer_priority");
}

static void refused_later(void)
{
    pid_t child;
    if (!children_can_start_threads())
        return;
    child = fork();
    if (child == 0) {
        begin_child();
        without_privilege();
        end_child();
    }
    AWAIT_CHILD(child);
}

/* Whether this system knows slices: tried on a thread of its own. */
static void *tries_slice(void *known)
{
    attributes_t a = attributes_of(0);
    a.size = sizeof a;
    a.runtime = 700000;
    *(bool *)known = a.policy == SCHED_OTHER && syscall(SYS_sched_setattr, 0, &a, 0) == 0 &&
                     attributes_of(0).runtime == 700000;
    return NULL;
}

/* Slices are asked for under SCHED_OTHER alone, and are no reason to refuse anything anywhere. */
static void slices(void)
{
    pipeline_config_t c = config_defaults();
    place_t own = place_of(0), want = own;
    bool known = false;
    pthread_t thread;
    CHECK_OR_STOP(pthread_create(&thread, NULL, tries_slice, &known) == 0);
    pthread_join(thread, NULL);
    printf("slices: %s\n", known ? "known here" : "not known here");
    c.writer_slice_us = 300;
    if (known)
        want.slice = 300000;
    CHECK(placed(&c, &want));
    if (own.nice < 15) {
        c.writer_nice = want.nice = 15;
        CHECK(placed(&c, &want));
        c.writer_nice = 0;
    }
    c.writer_class = PIPELINE_SCHED_BATCH;
    want = own;
    want.class = SCHED_BATCH;
    CHECK(placed(&c, &want));
}

int main(void)
{
    static const char *const bad[] = {"", "x", "3-1", "1024", "0,", "0x1"};
    pipeline_config_t c = config_defaults();
    place_t own = place_of(0), want = own;
    char list[16];
    size_t i;
    CHECK(placed(&c, &want)); /* nothing asked for */
    snprintf(list, sizeof list, "%d", sched_getcpu());
    c.writer_cpus = list;
    CPU_ZERO(&want.cpus);
    CPU_SET(atoi(list), &want.cpus);
    CHECK(placed(&c, &want));
    c.writer_class = PIPELINE_SCHED_BATCH;
    want.class = SCHED_BATCH;
    if (own.nice < 15) {
        c.writer_nice = 15;
        want.nice = 15;
    }
    CHECK(placed(&c, &want));
    slices();
    c = config_defaults();
    want = own;
    c.writer_class = PIPELINE_SCHED_IDLE;
    want.class = SCHED_IDLE;
    CHECK(placed(&c, &want));
    c.writer_class = PIPELINE_SCHED_RR;
    c.writer_priority = 2;
    want.class = SCHED_RR | SCHED_RESET_ON_FORK;
    want.priority = 2;
    printf("real-time writers: %s\n", placed(&c, &want) ? "placed" : pipeline_last_error());
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(bad[i]);
    number_refused(PIPELINE_SCHED_FIFO, 0, 0, "pipeline_config_t.writer_priority: 1 to 99");
    number_refused(PIPELINE_SCHED_RR, 100, 0, "pipeline_config_t.writer_priority: 1 to 99");
    number_refused(PIPELINE_SCHED_BATCH, 5, 0, "pipeline_config_t.writer_priority: 0 ");
    number_refused(PIPELINE_SCHED_FIFO, 5, 1, "pipeline_config_t.writer_nice: 0 ");
    number_refused(PIPELINE_SCHED_IDLE, 0, 1, "pipeline_config_t.writer_nice: 0 ");
    number_refused(PIPELINE_SCHED_OTHER, 0, -21, "pipeline_config_t.writer_nice: -20 to 19");
    fixed();
    refused_later();
    return SUMMARY();
}
