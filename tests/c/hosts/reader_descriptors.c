/* A reader of a journal with more segments than the process may have files open; and a program that closes the reader's descriptors, and opens files
 * of its own in their place, while it reads. Every event is given, and the program's files are left alone. */
#include "../journal/journal.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define SEGMENTS 40
#define EVENTS 25

/* Closes every descriptor but the standard ones, and opens the program's own in their place. */
static int taken[512];
static int takers;

static void take_descriptors(const char *mine)
{
    int fd;
    for (fd = 3; fd < 512; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            close(fd);
    for (takers = 0; takers < 30; takers++)
        CHECK((taken[takers] = open(mine, O_RDONLY)) >= 0);
}

static void check_taken(const char *mine)
{
    struct stat at_path, there;
    int i;
    CHECK(stat(mine, &at_path) == 0);
    for (i = 0; i < takers; i++)
        CHECK(fstat(taken[i], &there) == 0 && there.st_ino == at_path.st_ino && lseek(taken[i], 0, SEEK_CUR) == 0);
}

static uint64_t read_all(uint32_t flags, const char *mine)
{
    pipeline_reader_options_t o = reader_defaults();
    pipeline_reader_event_t event;
    pipeline_reader_t *reader;
    uint64_t count = 0;
    o.flags = flags;
    reader = open_reader(JOURNAL, &o);
    event.struct_size = sizeof event;
    while (pipeline_reader_next(reader, 0, &event) == PIPELINE_OK) {
        count++;
        if (mine != NULL && count % 100 == 0)
            take_descriptors(mine);
    }
    CHECK_U64(losses_of(reader).any, 0);
    CHECK_STATUS(pipeline_reader_close(reader), PIPELINE_OK);
    return count;
}

int main(void)
{
    static const char mine[] = "a file of the program";
    struct rlimit limit;
    FILE *file = fopen(mine, "w");
    int i;
    CHECK_OR_STOP(file != NULL && fputs("contents", file) >= 0 && fclose(file) == 0);
    for (i = 0; i < SEGMENTS; i++)
        write_journal(EVENTS);
    CHECK_U64(read_all(0, mine), SEGMENTS * EVENTS);
    check_taken(mine);
    CHECK_U64(read_all(PIPELINE_READER_TIME_ORDER, mine), SEGMENTS * EVENTS);
    check_taken(mine);
    for (i = 0; i < takers; i++)
        close(taken[i]);
    CHECK_OR_STOP(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 10;
    CHECK_OR_STOP(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_U64(read_all(0, NULL), SEGMENTS * EVENTS);
    CHECK_U64(read_all(PIPELINE_READER_TIME_ORDER, NULL), SEGMENTS * EVENTS);
    return SUMMARY();
}
