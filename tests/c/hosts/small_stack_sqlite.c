/* A thread with the smallest stack that the system allows, and with a pthread_cancel pending, makes a SQLite storage and its indexes.
 * Neither ends the process: a thread of the library does the work, and waiting for it is not a cancellation point. */
#include "database.h"

#include <limits.h>

static void *makes_a_storage(void *cancelled)
{
    pipeline_storage_t s;
    memset(&s, 0, sizeof s);
    if (cancelled != NULL)
        CHECK(pthread_cancel(pthread_self()) == 0);
    CHECK_STATUS(pipeline_storage_sqlite((const char *)(cancelled != NULL ? "cancelled.db" : "small.db"), NULL, sizeof s, &s),
                 PIPELINE_OK);
    CHECK_FAILS(pipeline_storage_sqlite("no/such/folder.db", NULL, sizeof s, &s), PIPELINE_ERR_STORAGE, "no/such");
    CHECK_STATUS(pipeline_sqlite_create_indexes(cancelled != NULL ? "cancelled.db" : "small.db"), PIPELINE_OK);
    CHECK_FAILS(pipeline_sqlite_create_indexes("none.db"), PIPELINE_ERR_STORAGE, "none.db");
    if (cancelled != NULL) {
        pipeline_storage_t *out = (pipeline_storage_t *)cancelled;
        *out = s;
        pthread_testcancel();
        CHECK(!"the cancellation was lost");
    }
    s.destroy(s.user_data);
    return NULL;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pipeline_storage_t left;
    void *result = NULL;
    CHECK_OR_STOP(pthread_attr_init(&attributes) == 0);
    CHECK_OR_STOP(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN) == 0);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, makes_a_storage, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    memset(&left, 0, sizeof left);
    CHECK_OR_STOP(pthread_create(&thread, &attributes, makes_a_storage, &left) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
    CHECK(left.destroy != NULL);
    if (left.destroy != NULL)
        left.destroy(left.user_data);
    CHECK_ROWS("small.db", 0);
    CHECK_ROWS("cancelled.db", 0);
    return SUMMARY();
}
