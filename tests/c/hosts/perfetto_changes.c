/* A host that does things to the files of its traces: it closes every descriptor, moves or deletes the directory, deletes the file, appends to it, changes its own
 * directory. No event that is acknowledged later is missing, and the library writes into no file of the host. */
#include "perfetto.h"

#include <sys/syscall.h>

enum { EVENTS = 500, FILES = 24 };
static const char content[] = "what the host keeps in a file of its own";

static void close_all(void)
{
    int fd;
    if (syscall(SYS_close_range, 3u, ~0u, 0u) != 0)
        for (fd = 3; fd < 1024; fd++)
            close(fd);
}

static void closes_every_descriptor(void)
{
    pipeline_t *p = start_traces("closed", NULL);
    unsigned done = trace_events(p, 0, EVENTS), round;
    char name[64], back[sizeof content + 1];
    int own[FILES], i;
    for (round = 0; round < 3; round++) {
        close_all();
        for (i = 0; i < FILES; i++) {
            snprintf(name, sizeof name, "own.%d", i);
            own[i] = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
            CHECK_OR_STOP(own[i] >= 0 && write(own[i], content, sizeof content) == sizeof content);
        }
        done = trace_events(p, done, EVENTS);
        for (i = 0; i < FILES; i++) {
            CHECK_U64(pread(own[i], back, sizeof back, 0), sizeof content);
            CHECK(memcmp(back, content, sizeof content) == 0);
        }
    }
    close_all();
    END(p);
    CHECK_TRACES("closed", done);
    CHECK_U64(read_traces("closed", 0)->files, 1);
}

static void moves_the_directory(void)
{
    pipeline_perfetto_options_t o = trace_options();
    pipeline_t *p;
    unsigned done, i;
    o.file_bytes = 65536;
    p = start_traces("from", &o);
    done = trace_events(p, 0, EVENTS);
    CHECK_OR_STOP(rename("from", "to") == 0);
    for (i = 0; i < 10; i++)
        done = trace_events(p, done, EVENTS);
    CHECK_OR_STOP(mkdir("elsewhere", 0700) == 0 && chdir("elsewhere") == 0);
    for (i = 0; i < 10; i++)
        done = trace_events(p, done, EVENTS);
    CHECK_OR_STOP(chdir("..") == 0);
    END(p);
    CHECK_TRACES("to", done);
    CHECK(read_traces("to", 0)->files > 3);
    CHECK(access("from", F_OK) != 0 && rmdir("elsewhere") == 0);
}

static void deletes(void)
{
    pipeline_t *p = start_traces("deleted", NULL);
    traces_t *read;
    unsigned done = trace_events(p, 0, EVENTS), at;
    CHECK_OR_STOP(system("rm -r deleted") == 0);
    at = done;
    done = trace_events(p, done, EVENTS);
    CHECK_OR_STOP(system("rm deleted/*.perfetto-trace") == 0);
    at = done;
    done = trace_events(p, done, EVENTS);
    /* Another program appends to the file: it is left as it is. */
    CHECK_OR_STOP(system("for f in deleted/*.perfetto-trace; do printf '\\n\\002P\\001' >>$f; done") == 0);
    done = trace_events(p, done, EVENTS);
    END(p);
    read = read_traces("deleted", done);
    CHECK_U64(read->twice, 0);
    CHECK_U64(read->lost, at);
    CHECK_U64(read->files, 2);
}

static void a_file_is_locked_while_it_is_written(void)
{
    pipeline_perfetto_options_t o = trace_options();
    pipeline_t *first, *second;
    unsigned done, i;
    o.file_bytes = 65536;
    o.max_bytes = 1 << 20;
    first = start_traces("shared", NULL);
    done = trace_events(first, 0, EVENTS);
    second = start_traces("shared", &o);
    for (i = 0; i < 890; i++)
        (void)trace_events(second, 10000 + 100 * i, 100);
    END(second);
    done = trace_events(first, done, EVENTS);
    END(first);
    CHECK_U64(read_traces("shared", done)->lost, 0);
}

int main(void)
{
    closes_every_descriptor();
    moves_the_directory();
    deletes();
    a_file_is_locked_while_it_is_written();
    return SUMMARY();
}
