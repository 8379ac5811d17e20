/* A reader that follows a journal gives what this and another process write into it, waits as long as it is told, and can be given to another
 * thread. */
#include "journal.h"

#include <signal.h>

static pipeline_reader_t *reader;

static uint64_t next_number(int64_t timeout_ms)
{
    pipeline_reader_event_t event;
    event.struct_size = sizeof event;
    if (!CHECK_STATUS(pipeline_reader_next(reader, timeout_ms, &event), PIPELINE_OK))
        return UINT64_MAX;
    return number_of(&event);
}

static void *reads_in_another_thread(void *argument)
{
    uint64_t n;
    (void)argument;
    for (n = 100; n < 200; n++)
        CHECK_U64(next_number(-1), n);
    return NULL;
}

int main(void)
{
    pipeline_reader_options_t o = reader_defaults();
    pipeline_reader_event_t event;
    pipeline_t *p;
    pthread_t thread;
    pid_t child;
    uint64_t n;
    int to_child[2], from_child[2];
    char byte = 0;
    CHECK_OR_STOP(pipe(to_child) == 0 && pipe(from_child) == 0);
    CHECK_OR_STOP(mkdir(JOURNAL, 0700) == 0);
    o.flags = PIPELINE_READER_FOLLOW;
    reader = open_reader(JOURNAL, &o);
    event.struct_size = sizeof event;
    CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_ERR_TIMEOUT);
    CHECK_STATUS(pipeline_reader_next(reader, 30, &event), PIPELINE_ERR_TIMEOUT);
    p = start_journal();
    for (n = 0; n < 100; n++) {
        CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_OK);
        if (n % 10 == 0)
            CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    for (n = 0; n < 100; n++)
        CHECK_U64(next_number(PATIENCE_MS), n);
    CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_ERR_TIMEOUT);
    thread = start_thread(reads_in_another_thread, NULL);
    for (n = 100; n < 200; n++)
        CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    END(p);
    CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_ERR_TIMEOUT);
    /* Another process, which is killed. */
    child = fork();
    CHECK_OR_STOP(child >= 0);
    if (child == 0) {
        begin_child();
        p = start_journal();
        for (n = 500; n < 600; n++)
            CHECK_STATUS(pipeline_capture(p, 1, &n, sizeof n), PIPELINE_OK);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
        CHECK(write(from_child[1], checks_failed ? "F" : "S", 1) == 1);
        CHECK(read(to_child[0], &byte, 1) == 0);
        end_child();
    }
    if (children_can_start_threads()) {
        CHECK(read(from_child[0], &byte, 1) == 1 && byte == 'S');
        for (n = 500; n < 600; n++)
            CHECK_U64(next_number(PATIENCE_MS), n);
        CHECK(kill(child, SIGKILL) == 0);
        CHECK(waitpid(child, NULL, 0) == child);
        CHECK_STATUS(pipeline_reader_next(reader, 0, &event), PIPELINE_ERR_TIMEOUT);
        CHECK_U64(losses_of(reader).any, 0);
    } else {
        kill(child, SIGKILL);
    }
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    return SUMMARY();
}
