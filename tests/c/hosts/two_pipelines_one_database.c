/* Two pipelines of one process store into one database, and one of them is idle. SQLite shares its knowledge of an open file between
 * all connections of a process. So when the host closes the descriptors, opens files of its own under their numbers, or removes the log
 * or its index, the idle connection must be closed as well, or the other one never recovers. */
#include "database.h"

#include <sys/syscall.h>

enum { EVENTS = 50 };

/* Opens a file of the host's under the number of the first descriptor whose path ends so. */
static void take_the_number(const char *suffix)
{
    char link[64], path[4096];
    size_t end = strlen(suffix);
    int fd;
    for (fd = 3; fd < 64; fd++) {
        ssize_t got;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        got = readlink(link, path, sizeof path);
        if (got > (ssize_t)end && memcmp(path + got - end, suffix, end) == 0) {
            int own = open("own", O_RDWR | O_CREAT | O_TRUNC, 0600);
            CHECK_OR_STOP(own >= 0);
            CHECK(dup2(own, fd) == fd);
            close(own);
            return;
        }
    }
    CHECK(!"a descriptor of that file");
}

static void close_all(void)
{
    int fd;
    if (syscall(SYS_close_range, 3u, ~0u, 0u) != 0)
        for (fd = 3; fd < 1024; fd++)
            close(fd);
}

/* `as`: the path of the second pipeline, which may be another than the first one's. */
static void with(const char *database, const char *as, void (*what)(const char *), const char *suffix)
{
    pipeline_t *busy = start_into(database), *idle = start_into(as);
    struct stat st;
    STORE_EVENTS(busy, EVENTS);
    STORE_EVENTS(idle, EVENTS);
    what(suffix);
    STORE_EVENTS(busy, EVENTS);
    STORE_EVENTS(busy, EVENTS);
    STORE_EVENTS(idle, EVENTS);
    if (stat("own", &st) == 0)
        CHECK_U64(st.st_size, 0);
    END(busy);
    END(idle);
    CHECK_ROWS(database, 5 * EVENTS);
}

static const char *current;

static void closes(const char *unused)
{
    (void)unused;
    close_all();
}

static void removes(const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", current, suffix);
    CHECK(unlink(name) == 0);
}

int main(void)
{
    CHECK(mkdir("folder", 0700) == 0 && symlink("folder", "link") == 0);
    with("closed.db", "closed.db", closes, "");
    with("folder/linked.db", "link/linked.db", closes, "");
    with("main.db", "main.db", take_the_number, ".db");
    with("log.db", "log.db", take_the_number, ".db-wal");
    with("index.db", "index.db", take_the_number, ".db-shm");
    with(current = "nolog.db", "nolog.db", removes, "-wal");
    with(current = "noindex.db", "noindex.db", removes, "-shm");
    return SUMMARY();
}
