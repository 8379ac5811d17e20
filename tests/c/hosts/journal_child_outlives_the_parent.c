/* A child that was forked under load lives on when its parent is killed. It holds no lock of the parent's segments, so they count as abandoned: another
 * process may delete them to make room. The child can store into the same directory itself, and has written nothing into its parent's segments. */
#include "journal.h"

#include <signal.h>

enum { CHILDREN = 8 };

/* Whether the first byte of any segment, or of the live figures, is locked. */
static bool any_locked(const char *directory)
{
    struct dirent *entry;
    bool locked = false;
    DIR *all = opendir(directory);
    CHECK_OR_STOP(all != NULL);
    while ((entry = readdir(all)) != NULL) {
        struct flock lock;
        char path[512];
        int fd;
        if (strstr(entry->d_name, ".journal") == NULL && strstr(entry->d_name, ".figures") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECK_OR_STOP(fd >= 0);
        memset(&lock, 0, sizeof lock);
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_len = 1;
        CHECK(fcntl(fd, F_OFD_GETLK, &lock) == 0);
        locked |= lock.l_type != F_UNLCK;
        close(fd);
    }
    closedir(all);
    return locked;
}

int main(void)
{
    int told[2], go[2], i;
    pid_t parent;
    char byte;
    uint64_t before;
    CHECK_OR_STOP(pipe(told) == 0 && pipe(go) == 0);
    parent = fork();
    if (parent == 0) {
        pipeline_t *p;
        unsigned n = 0;
        begin_child();
        p = start_journal("orphan");
        JOURNAL_EVENTS(p, 100);
        CHECK(any_locked("orphan"));
        for (i = 0; i < CHILDREN; i++) {
            for (; n % 500 != 499; n++)
                CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_OK);
            n++;
            if (fork() == 0) {
                /* Lives until the test is over, or until the first of them is told to store something. */
                alarm(60);
                close(go[1]);
                CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_ERR_FORKED);
                CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
                if (write(told[1], "c", 1) != 1 || read(go[0], &byte, 1) != 1)
                    _exit(0);
                p = start_journal("orphan");
                JOURNAL_EVENTS(p, 10);
                END(p);
                (void)!write(told[1], checks_failed ? "f" : "s", 1);
                (void)!read(go[0], &byte, 1);
                _exit(0);
            }
        }
        for (i = 0; i < CHILDREN; i++)
            CHECK(read(told[0], &byte, 1) == 1 && byte == 'c');
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        fflush(NULL);
        (void)!write(told[1], checks_failed ? "f" : "r", 1);
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(parent, &i, 0) == parent && WIFSIGNALED(i) && WTERMSIG(i) == SIGKILL);
    CHECK(read(told[0], &byte, 1) == 1 && byte == 'r');
    CHECK(!any_locked("orphan"));
    before = count_events("orphan", NULL);
    CHECK_U64(before, 100 + CHILDREN * 499);
    CHECK(write(go[1], "g", 1) == 1);
    CHECK(read(told[0], &byte, 1) == 1 && byte == 's');
    CHECK_EVENTS("orphan", before + 10);
    close(go[1]); /* the children end */
    return SUMMARY();
}
