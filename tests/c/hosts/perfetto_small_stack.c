/* A thread with the smallest stack that the system allows, and with a pthread_cancel pending, makes a Perfetto storage, uses its functions and gives it up; another
 * one destroys a pipeline that was not closed. Neither ends the process, and the traces are whole. */
#include "perfetto.h"

#include <limits.h>

enum { EVENTS = 200 };

static void *makes_a_storage(void *cancelled)
{
    pipeline_storage_t s;
    memset(&s, 0, sizeof s);
    if (cancelled != NULL)
        CHECK(pthread_cancel(pthread_self()) == 0);
    CHECK_STATUS(pipeline_storage_perfetto(cancelled != NULL ? "cancelled" : "small", NULL, sizeof s, &s), PIPELINE_OK);
    CHECK_FAILS(pipeline_storage_perfetto("no/such/folder", NULL, sizeof s, &s), PIPELINE_ERR_STORAGE, "no/such");
    if (s.flush != NULL)
        CHECK_U64(s.flush(s.user_data, 0), 0);
    s.destroy(s.user_data);
    if (cancelled != NULL) {
        *(bool *)cancelled = true;
        pthread_testcancel();
        CHECK(!"the cancellation was lost");
    }
    return NULL;
}

/* What is open in its file is ended on the way. */
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
    unsigned done;
    CHECK_OR_STOP(pthread_attr_init(&attributes) == 0);
    CHECK_OR_STOP(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN) == 0);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, makes_a_storage, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, makes_a_storage, &came_to_the_end) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED && came_to_the_end);
    p = start_traces("destroyed", NULL);
    done = trace_events(p, 0, EVENTS);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, destroys, p) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_TRACES("destroyed", done);
    return SUMMARY();
}
