/* The life of a storage: its thread ends with it, a forked child has its own, a process that ends without a close drains what it can, and a
 * storage that no pipeline takes is given up.
 * Build flags: -lcapture_pipeline_nats */
#include "stored.h"
#include <dirent.h>

/* How many threads of storages this process has. */
static int storage_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;
    while ((entry = readdir(tasks)) != NULL) {
        char path[300], name[32] = "";
        FILE *f;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        f = fopen(path, "r");
        if (f == NULL)
            continue;
        count += fgets(name, sizeof name, f) != NULL && strncmp(name, "cp-nats", 7) == 0;
        fclose(f);
    }
    closedir(tasks);
    return count;
}

static pipeline_t *start(const server_t *server, pipeline_storage_t *storage)
{
    pipeline_config_t config = patient_config();
    pipeline_nats_options_t options = nats_options(server);
    pipeline_t *p = NULL;
    config.exit_timeout_ms = 30000;
    CHECK_OR_STOP(CHECK_STATUS(pipeline_storage_nats(&options, sizeof *storage, storage), PIPELINE_OK));
    CHECK_OR_STOP(CHECK_STATUS(pipeline_start(&config, storage, &p), PIPELINE_OK));
    return p;
}

static void ends_with_its_pipeline(const server_t *server)
{
    pipeline_storage_t storage;
    pipeline_nats_options_t options = nats_options(server);
    pipeline_t *p = start(server, &storage);
    CHECK_U64(storage_threads(), 1);
    capture_range(p, 0, 100, 64);
    END(p);
    WAIT_FOR(storage_threads() == 0);
    p = start(server, &storage);
    capture_range(p, 100, 200, 64);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
    WAIT_FOR(storage_threads() == 0);
    CHECK_STATUS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_OK);
    CHECK_U64(storage_threads(), 1);
    storage.destroy(storage.user_data);
    WAIT_FOR(storage_threads() == 0);
    /* A failure leaves none behind. */
    options.stream = "ANOTHER";
    CHECK_FAILS(pipeline_storage_nats(&options, sizeof storage, &storage), PIPELINE_ERR_STORAGE, "overlap");
    WAIT_FOR(storage_threads() == 0);
}

static int of_child(pid_t child)
{
    int status = -1;
    CHECK_OR_STOP(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

static void forks(const server_t *server)
{
    pipeline_storage_t storage;
    pipeline_t *p = start(server, &storage);
    pid_t child;
    capture_range(p, 200, 300, 64);
    child = fork();
    if (child == 0) {
        pipeline_nats_status_t status;
        pipeline_storage_t own;
        pipeline_t *q;
        memset(&status, 0, sizeof status);
        status.struct_size = sizeof status;
        CHECK_U64(storage_threads(), 0);
        CHECK_STATUS(pipeline_nats_status(&storage, &status), PIPELINE_ERR_FORKED);
        CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
        q = start(server, &own);
        capture_range(q, 300, 400, 64);
        CHECK_STATUS(pipeline_close(q, 60000), PIPELINE_OK);
        CHECK_STATUS(pipeline_destroy(q), PIPELINE_OK);
        _exit(SUMMARY());
    }
    capture_range(p, 400, 500, 64);
    CHECK_U64(of_child(child), 0);
    CHECK_STATUS(pipeline_flush(p, 60000), PIPELINE_OK);
    CHECK_U64(nats_status(&storage).connects, 1);
    END(p);
}

/* In a process of its own, which exits without a close. */
static int exits(const char *port)
{
    server_t server;
    pipeline_storage_t storage;
    memset(&server, 0, sizeof server);
    server.port = atoi(port);
    snprintf(server.address, sizeof server.address, "127.0.0.1:%s", port);
    capture_range(start(&server, &storage), 500, 2000, 64);
    return checks_failed != 0;
}

int main(int argc, char **argv)
{
    server_t server;
    stored_t stored;
    pid_t child;
    char port[16];
    if (argc > 1)
        return exits(argv[1]);
    server_new(&server, "");
    server_start(&server, "");
    ends_with_its_pipeline(&server);
    forks(&server);
    snprintf(port, sizeof port, "%d", server.port);
    child = fork();
    if (child == 0) {
        execl("/proc/self/exe", argv[0], port, (char *)NULL);
        _exit(127);
    }
    CHECK_U64(of_child(child), 0);
    stored = stored_in(&server, "", 2000);
    CHECK_U64(seen_times(&stored, 0, 2000, 1), 2000);
    free(stored.seen);
    server_kill(&server);
    return SUMMARY();
}
