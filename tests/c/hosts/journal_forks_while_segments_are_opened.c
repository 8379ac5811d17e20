/* A host forks again and again while other threads open and close journals, and segments are rotated. A child has no descriptor of a journal's files,
 * even if the fork falls between the system call and the library's record of it. With such a descriptor it would keep the locks after its parent has died. */
#include "journal.h"

enum { THREADS = 3 };

static atomic_bool done;

static void *opens_and_closes(void *at)
{
    unsigned long id = (unsigned long)at, round;
    pipeline_journal_options_t o = journal_options();
    static const char payload[20000];
    char name[64];
    o.segment_bytes = 65536;
    o.max_bytes = 1 << 20;
    snprintf(name, sizeof name, "opened-%lu", id);
    for (round = 0; !atomic_load(&done); round++) {
        pipeline_t *p = start_journal_with(name, &o);
        int i;
        for (i = 0; i < 20; i++)
            CHECK_STATUS(pipeline_capture(p, 1, payload, sizeof payload), PIPELINE_OK);
        END(p);
    }
    return NULL;
}

/* How many descriptors of this process are of a journal's files. */
static int inherited(void)
{
    char link[300], path[4096];
    struct dirent *entry;
    int found = 0;
    DIR *all = opendir("/proc/self/fd");
    if (all == NULL)
        return -1;
    while ((entry = readdir(all)) != NULL) {
        ssize_t got;
        snprintf(link, sizeof link, "/proc/self/fd/%s", entry->d_name);
        got = readlink(link, path, sizeof path - 1);
        if (got <= 0)
            continue;
        path[got] = '\0';
        if (strstr(path, "/opened-") != NULL) {
            fprintf(stderr, "  a child has inherited %s\n", path);
            found++;
        }
    }
    closedir(all);
    return found;
}

int main(void)
{
    pthread_t threads[THREADS];
    unsigned long i;
    int forks = count_of(600, 30);
    for (i = 0; i < THREADS; i++)
        threads[i] = start_thread(opens_and_closes, (void *)i);
    while (forks-- > 0 && checks_failed == 0) {
        pid_t child = fork();
        if (child == 0) {
            begin_child();
            CHECK(inherited() == 0);
            end_child();
        }
        AWAIT_CHILD(child);
    }
    atomic_store(&done, true);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return SUMMARY();
}
