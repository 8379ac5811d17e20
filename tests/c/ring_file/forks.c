/* A process with a ring file forks, and is killed while its child lives. The child of a fork has neither the lock nor the mapping, and the next start recovers the file.
 * The child of a clone without handlers inherits both, but changes nothing; the file is recovered all the same, because its owner's process is known to have ended.
 * The parent's captures go on meanwhile, and a child may have a ring file of its own in the same directory. */
#include "../life_cycle/fork.h"
#include "ring_file.h"

enum { EVENTS = 100 };

static recorder_t rec = RECORDER_INIT;

static bool is_mapped(const char *path)
{
    char line[1024];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK_OR_STOP(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        found |= strstr(line, path) != NULL;
    fclose(maps);
    return found;
}

static void told(int to, char what)
{
    CHECK(write(to, &what, 1) == 1);
}


/* The child of the owner: lives until `go` is closed. */
static void child(enum fork_way way, const char *directory, const char *path, pipeline_t *p, int tell, int go)
{
    char byte;
    begin_child();
    everything_is_refused(p, NULL, 1);
    if (way == WAY_FORK) {
        CHECK(!is_mapped(path));
        /* A ring file of its own, beside its parent's, which it does not recover because that one lives. */
        if (children_can_start_threads()) {
            pipeline_config_t c = ring_file_config(directory);
            pipeline_storage_t s;
            pipeline_t *own = NULL;
            uint64_t n;
            CHECK_STATUS(pipeline_storage_init(&s, sizeof s), PIPELINE_OK);
            s.store = child_store;
            CHECK_STATUS(pipeline_start(&c, &s, &own), PIPELINE_OK);
            for (n = 0; n < EVENTS; n++)
                CHECK_STATUS(pipeline_capture(own, 1, &n, sizeof n), PIPELINE_OK);
            CHECK_STATUS(pipeline_close(own, PATIENCE_MS), PIPELINE_OK);
            CHECK_STATUS(pipeline_destroy(own), PIPELINE_OK);
            CHECK_U64(child_numbers, EVENTS);
        }
    }
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    told(tell, checks_failed ? 'f' : 'c');
    alarm(60);
    (void)!read(go, &byte, 1);
    _exit(0);
}

/* The owner: captures before and after the fork, and is killed. */
static void owner(enum fork_way way, const char *directory, int tell, int go, int go_write)
{
    pipeline_config_t c = ring_file_config(directory);
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p;
    const char *path;
    pid_t pid;
    begin_child();
    default_config();
    c.writers = 0;
    p = start_pipeline(&c, &s);
    path = find_ring_file(directory);
    CHECK_OR_STOP(path != NULL);
    CHECK(is_mapped(path));
    capture_numbers(p, 0, EVENTS);
    fflush(NULL);
    pid = fork_by(way);
    if (pid == 0) {
        close(go_write);
        child(way, directory, path, p, tell, go);
    }
    CHECK(pid > 0);
    capture_numbers(p, EVENTS, 2 * EVENTS);
    told(tell, checks_failed ? 'f' : 'o');
    for (;;)
        pause();
}

static void play(enum fork_way way)
{
    const char *directory = new_ring_dir(way == WAY_FORK ? "fork" : way == WAY_PLAIN_FORK ? "plain" : "clone"), *path;
    pipeline_config_t c = ring_file_config(directory);
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p;
    pid_t pid;
    char first = 0, second = 0;
    int tell[2], go[2], status, failed = checks_failed;
    rec.stored.count = rec.seen.count = 0;
    CHECK_OR_STOP(pipe(tell) == 0 && pipe(go) == 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        owner(way, directory, tell[1], go[0], go[1]);
    close(go[0]);
    CHECK(read(tell[0], &first, 1) == 1 && read(tell[0], &second, 1) == 1);
    CHECK((first == 'c' && second == 'o') || (first == 'o' && second == 'c'));
    path = find_ring_file(directory);
    CHECK_OR_STOP(path != NULL);
    CHECK(owner_has_lock(path));
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(owner_has_lock(path) == (way != WAY_FORK));
    /* Recovered while the child lives: there is no process with the owner's id any more. */
    p = start_pipeline(&c, &s);
    WAIT_FOR(metrics_of(p).recovered == 2 * EVENTS);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    END(p);
    CHECK_VALUES(&rec.stored, 0, 2 * EVENTS);
    CHECK_DISTINCT(&rec.stored);
    CHECK(access(path, F_OK) != 0);
    close(go[1]);
    close(tell[0]);
    close(tell[1]);
    remove_ring_dir(directory);
    if (checks_failed != failed)
        fprintf(stderr, "  in the case: %s\n", fork_ways[way]);

}

int main(void)
{
    enum fork_way way;
    for (way = WAY_FORK; way < FORK_WAYS; way++)
        if (has_fork_way(way))
            play(way);
    return SUMMARY();
}
