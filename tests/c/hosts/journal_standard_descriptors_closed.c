/* A daemon has closed its standard descriptors. The library leaves them closed, and keeps the journal's descriptors off the numbers 0 to 2. */
#include "journal.h"

enum { EVENTS = 1000 };

static bool is_closed(int fd)
{
    return fcntl(fd, F_GETFD) < 0 && errno == EBADF;
}

int main(void)
{
    pipeline_storage_t storage;
    pipeline_journal_options_t options = journal_options();
    pipeline_metrics_t m = {.struct_size = sizeof m};
    pipeline_t *p = NULL;
    bool closed_while_open, closed_after;
    int32_t opened, started, flushed, ended;
    int out = fcntl(1, F_DUPFD_CLOEXEC, 10), err = fcntl(2, F_DUPFD_CLOEXEC, 10);
    uint32_t i;
    CHECK_OR_STOP(out >= 0 && err >= 0);
    options.sync = PIPELINE_JOURNAL_SYNC_FLUSH;
    options.max_bytes = 1 << 20;
    close(0);
    close(1);
    close(2);
    opened = pipeline_storage_journal("events", &options, sizeof storage, &storage);
    started = opened == PIPELINE_OK ? pipeline_start(NULL, &storage, &p) : opened;
    for (i = 0; i < EVENTS; i++)
        pipeline_capture(p, 1, &i, sizeof i);
    flushed = pipeline_flush(p, 20000);
    closed_while_open = is_closed(0) && is_closed(1) && is_closed(2);
    ended = pipeline_close(p, 20000);
    pipeline_metrics(p, &m);
    if (p != NULL)
        pipeline_destroy(p);
    closed_after = is_closed(0) && is_closed(1) && is_closed(2);
    dup2(out, 1);
    dup2(err, 2);
    CHECK_STATUS(opened, PIPELINE_OK);
    CHECK_STATUS(started, PIPELINE_OK);
    CHECK_STATUS(flushed, PIPELINE_OK);
    CHECK_STATUS(ended, PIPELINE_OK);
    CHECK(m.stored == EVENTS);
    CHECK(closed_while_open);
    CHECK(closed_after);
    CHECK_EVENTS("events", EVENTS);
    return SUMMARY();
}
