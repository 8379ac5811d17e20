/* A container as they are run in production: root file system and /tmp are read-only, one volume is writable. The indexes of more
 * events than SQLite sorts in memory are made there, and close says so; where they cannot be made, it says that.
 *
 * Needs a mount namespace: as root, or where the system lets users have one. */
#include "../check.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

static bool write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    bool done = f != NULL && fputs(text, f) >= 0;
    return f != NULL && fclose(f) == 0 && done;
}

/* `volume` becomes the only place that can be written. */
static bool seal(const char *volume)
{
    static const char *const sealed[] = {"/", "/tmp", "/var", "/var/tmp"};
    char map[64];
    size_t i;
    unsigned uid = getuid(), gid = getgid();
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            return false;
        snprintf(map, sizeof map, "0 %u 1", uid);
        if (!write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", map))
            return false;
        snprintf(map, sizeof map, "0 %u 1", gid);
        if (!write_text("/proc/self/gid_map", map))
            return false;
    }
    if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 || mount(volume, volume, "none", MS_BIND, NULL) != 0)
        return false;
    /* The volume is a mount of its own now; these are others, or parts of "/". */
    for (i = 0; i < sizeof sealed / sizeof *sealed; i++)
        (void)mount("none", sealed[i], "none", MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
    unsetenv("TMPDIR");
    unsetenv("SQLITE_TMPDIR");
    return chdir("/") == 0 && access("/tmp", W_OK) != 0 && access("/var/tmp", W_OK) != 0 && access(volume, W_OK) == 0;
}

static pipeline_t *start(const char *database)
{
    pipeline_config_t config = config_defaults();
    pipeline_storage_t storage;
    pipeline_t *p = NULL;
    config.overflow = PIPELINE_OVERFLOW_BLOCK;
    config.block_timeout_us = 60000000;
    CHECK_STATUS(pipeline_storage_sqlite(database, NULL, sizeof storage, &storage), PIPELINE_OK);
    CHECK_STATUS(pipeline_start(&config, &storage, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

static void capture(pipeline_t *p, uint64_t count)
{
    uint64_t n;
    for (n = 0; n < count; n++) {
        pipeline_event_t e = event_of(1, NULL, 0);
        e.correlation_id = n * 0x9e3779b97f4a7c15u;
        e.node_id = n * 0xbf58476d1ce4e5b9u;
        CHECK_STATUS(pipeline_capture_event(p, &e), PIPELINE_OK);
    }
}

int main(void)
{
    char volume[] = "/var/tmp/capture_pipeline-volume-XXXXXX", database[96], log[96];
    uint64_t count = (uint64_t)count_of(300000, 2000); /* more than 8 MiB of keys */
    pid_t child;
    int status = 0;
    CHECK_OR_STOP(mkdtemp(volume) != NULL);
    snprintf(database, sizeof database, "%s/events.db", volume);
    snprintf(log, sizeof log, "%s/events.db-wal", volume);
    child = fork();
    if (child == 0) {
        leave_leaks();
        if (!seal(volume)) {
            printf("not run: no mount namespace, or no read-only root here\n");
            _exit(checks_failed != 0);
        }
        pipeline_t *p = start(database);
        capture(p, count);
        /* All the indexes, and nothing else left in the folder: rmdir below. */
        CHECK_STATUS(pipeline_close(p, 100000), PIPELINE_OK);
        CHECK_LEDGER(p);
        CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
        CHECK(access(log, F_OK) != 0);
        CHECK_STATUS(pipeline_sqlite_create_indexes(database), PIPELINE_OK);
        _exit(checks_failed != 0);
    }
    CHECK_OR_STOP(child > 0);
    CHECK_U64(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    unlink(database);
    CHECK(rmdir(volume) == 0);
    return SUMMARY();
}
