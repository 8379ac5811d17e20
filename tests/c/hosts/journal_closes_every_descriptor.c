/* A daemon closes every descriptor from 3 on and opens files of its own, which get the numbers that the journal had. The library writes nothing into
 * them and closes none of them, every event is in the journal, and the live figures go on. */
#include "journal.h"

#include <sys/syscall.h>

enum { FILES = 24, EVENTS = 500 };
static const char content[] = "what the host keeps in a file of its own";

static void close_all(void)
{
    int fd;
    if (syscall(SYS_close_range, 3u, ~0u, 0u) != 0)
        for (fd = 3; fd < 1024; fd++)
            close(fd);
}

/* Files that were opened right after all was closed, and what they must contain. */
static int own[FILES];

static void open_own(const char *prefix, int flags)
{
    char name[64];
    int i;
    for (i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%s.%d", prefix, i);
        own[i] = open(name, O_RDWR | O_CREAT | flags, 0600);
        CHECK_OR_STOP(own[i] >= 0);
        CHECK_U64(write(own[i], content, sizeof content), sizeof content);
    }
}

static void check_own(const char *prefix)
{
    char name[64], read_back[sizeof content + 1];
    struct stat st;
    int i;
    for (i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%s.%d", prefix, i);
        CHECK(stat(name, &st) == 0 && st.st_size == sizeof content);
        CHECK_U64(pread(own[i], read_back, sizeof read_back, 0), sizeof content);
        CHECK(memcmp(read_back, content, sizeof content) == 0);
        CHECK(lseek(own[i], 0, SEEK_CUR) == (off_t)sizeof content);
    }
}

static void between_events(uint32_t sync)
{
    pipeline_journal_options_t o = journal_options();
    pipeline_t *p;
    char directory[32];
    journal_state_t state;
    snprintf(directory, sizeof directory, "closed.%u", (unsigned)sync);
    o.sync = sync;
    p = start_journal_with(directory, &o);
    JOURNAL_EVENTS(p, EVENTS);
    close_all();
    open_own("first", O_TRUNC);
    JOURNAL_EVENTS(p, EVENTS);
    check_own("first");
    /* The file of live figures has a new descriptor as well. */
    WAIT_FOR(live_captured(directory) == 2 * EVENTS);
    check_own("first");
    /* Again, and then nothing but the end. */
    close_all();
    open_own("second", O_APPEND | O_TRUNC);
    END(p);
    check_own("second");
    CHECK_EVENTS(directory, 2 * EVENTS);
    (void)count_events(directory, &state);
    CHECK_U64(state.sealed, state.segments);
}

/* All descriptors in the middle of the work of the writers. */
static void again_and_again(void)
{
    pipeline_t *p = start_journal("again");
    unsigned i, round, captured = 0;
    CHECK_STATUS(pipeline_scale(p, 3), PIPELINE_OK);
    for (round = 0; round < 50; round++) {
        for (i = 0; i < 200; i++, captured++)
            CHECK_STATUS(pipeline_capture(p, 1, &i, sizeof i), PIPELINE_OK);
        close_all();
        open_own("again", O_TRUNC);
        CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    }
    check_own("again");
    CHECK_U64(metrics_of(p).stored, captured);
    END(p);
    CHECK_EVENTS("again", captured);
}

int main(void)
{
    uint32_t sync;
    for (sync = PIPELINE_JOURNAL_SYNC_NEVER; sync <= PIPELINE_JOURNAL_SYNC_BATCH; sync++)
        between_events(sync);
    again_and_again();
    return SUMMARY();
}
