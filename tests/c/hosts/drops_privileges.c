/* A daemon opens its database as root, in a folder of root's, and then becomes the user nobody, or changes its root. The path leads
 * nowhere from then on, but the open files still work: every event is stored, and the database is intact at the end. */
#include "database.h"

#include <grp.h>

enum { EVENTS = 300, NOBODY = 65534 };

static void become_nobody(void)
{
    CHECK_OR_STOP(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
}

static void change_root(void)
{
    CHECK_OR_STOP(chroot("empty") == 0 && chdir("/") == 0);
}

/* The new root has a database at the same path, which belongs to another program. */
static void change_root_to_another(void)
{
    CHECK_OR_STOP(chroot("other") == 0 && chdir("/") == 0);
}

static void goes_on(const char *database, void (*change)(void), bool orderly)
{
    pid_t child = fork();
    if (child == 0) {
        pipeline_t *p;
        begin_child();
        p = start_into(database);
        STORE_EVENTS(p, EVENTS);
        change();
        STORE_EVENTS(p, EVENTS);
        CHECK_U64(metrics_of(p).retries, 0);
        if (orderly)
            END(p);
        end_child();
    }
    AWAIT_CHILD(child);
    CHECK_ROWS(database, 2 * EVENTS);
}

/* The same path as here, below the folder "other". */
static void make_another(const char *database)
{
    char here[1024], path[2200];
    char *slash;
    int fd;
    CHECK_OR_STOP(getcwd(here, sizeof here) != NULL);
    snprintf(path, sizeof path, "other%s/root", here);
    for (slash = path + sizeof "other"; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    mkdir(path, 0755);
    snprintf(path, sizeof path, "other%s/%s", here, database);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    CHECK_OR_STOP(fd >= 0);
    CHECK_U64(write(fd, "another's", 9), 9);
    close(fd);
    snprintf(path, sizeof path, "other%s/%s-wal", here, database);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    CHECK_OR_STOP(fd >= 0);
    CHECK_U64(write(fd, "another's", 9), 9);
    close(fd);
}

static void check_another(const char *database)
{
    char here[1024], path[2200];
    struct stat st;
    CHECK_OR_STOP(getcwd(here, sizeof here) != NULL);
    snprintf(path, sizeof path, "other%s/%s", here, database);
    CHECK(stat(path, &st) == 0 && st.st_size == 9);
    snprintf(path, sizeof path, "other%s/%s-wal", here, database);
    CHECK(stat(path, &st) == 0 && st.st_size == 9);
}

int main(void)
{
    if (geteuid() != 0) {
        printf("not run: only root can give up its privileges\n");
        return SUMMARY();
    }
    CHECK_OR_STOP(mkdir("root", 0700) == 0 && mkdir("empty", 0755) == 0 && mkdir("other", 0755) == 0);
    make_another("root/another.db");
    make_another("root/another_end.db");
    goes_on("root/nobody.db", become_nobody, false);
    goes_on("root/nobody_end.db", become_nobody, true);
    goes_on("root/chroot.db", change_root, false);
    goes_on("root/chroot_end.db", change_root, true);
    goes_on("root/another.db", change_root_to_another, false);
    goes_on("root/another_end.db", change_root_to_another, true);
    check_another("root/another.db");
    check_another("root/another_end.db");
    return SUMMARY();
}
