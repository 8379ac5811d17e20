/* A thread with the smallest stack that the system allows, and with a pthread_cancel pending, makes a journal storage, uses its functions and gives it up.
 * Neither ends the process: a thread of the library opens the directory, and nothing is a cancellation point. */
#include "journal.h"

#include <limits.h>

static void *makes_a_storage(void *cancelled)
{
    pipeline_storage_t s;
    const char *directory = cancelled != NULL ? "cancelled" : "small";
    memset(&s, 0, sizeof s);
    if (cancelled != NULL)
        CHECK(pthread_cancel(pthread_self()) == 0);
    CHECK_STATUS(pipeline_storage_journal(directory, NULL, sizeof s, &s), PIPELINE_OK);
    CHECK_FAILS(pipeline_storage_journal("no/such/folder", NULL, sizeof s, &s), PIPELINE_ERR_STORAGE, "no/such");
    CHECK_U64(s.flush(s.user_data, 0), 0);
    CHECK_U64(s.finish(s.user_data, 0), 0);
    s.destroy(s.user_data);
    if (cancelled != NULL) {
        *(bool *)cancelled = true;
        pthread_testcancel();
        CHECK(!"the cancellation was lost");
    }
    return NULL;
}

/* Destroys a pipeline that was not closed, so that its segments are sealed on the way. */
static void *destroys(void *p)
{
    DESTROY_SOON((pipeline_t *)p);
    return NULL;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pipeline_t *p;
    bool came_to_the_end = false;
    void *result = NULL;
    CHECK_OR_STOP(pthread_attr_init(&attributes) == 0);
    CHECK_OR_STOP(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN) == 0);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, makes_a_storage, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, makes_a_storage, &came_to_the_end) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED && came_to_the_end);
    p = start_journal("destroyed");
    JOURNAL_EVENTS(p, 100);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, destroys, p) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EVENTS("destroyed", 100);
    return SUMMARY();
}
