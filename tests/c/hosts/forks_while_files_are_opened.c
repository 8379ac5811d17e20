/* A host forks again and again while other threads open and close databases. A child has no descriptor of a database's files, even if
 * the fork falls between the system call and the library's record of it. With such a descriptor it would keep the locks after its
 * parent has died. */
#include "database.h"

#include <dirent.h>

enum { THREADS = 3, DATABASES = 8 };

static atomic_bool done;

static void *opens_and_closes(void *at)
{
    unsigned long id = (unsigned long)at, round;
    char name[64];
    for (round = 0; !atomic_load(&done); round++) {
        pipeline_t *p;
        snprintf(name, sizeof name, "opened-%lu-%lu.db", id, round % DATABASES);
        p = start_into(name);
        CHECK_STATUS(pipeline_capture(p, 1, &round, sizeof round), PIPELINE_OK);
        END(p);
    }
    return NULL;
}

/* How many descriptors of this process are of a database's files. */
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
