/* The file of live figures of a journal, read as docs/format.md specifies it: it is there while the pipeline lives, and what a killed process leaves is deleted by
 * the next start. */
#include "../check.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

enum { FILE_BYTES = 32768, BODY = 128 };

static uint64_t word(const unsigned char *at)
{
    uint64_t value = 0;
    int i;
    for (i = 7; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/* The path of the one file of live figures in the directory. How many there are. */
static int find(const char *directory, char *path, size_t size)
{
    DIR *open = opendir(directory);
    struct dirent *entry;
    int count = 0;
    while (open != NULL && (entry = readdir(open)) != NULL)
        if (strlen(entry->d_name) == 24 && strcmp(entry->d_name + 16, ".figures") == 0) {
            snprintf(path, size, "%s/%s", directory, entry->d_name);
            count++;
        }
    if (open != NULL)
        closedir(open);
    return count;
}

/* The count `captured` in a file; UINT64_MAX: it is being written, or is not there. */
static uint64_t captured_in(const char *path)
{
    static unsigned char bytes[FILE_BYTES];
    const unsigned char *at = bytes + BODY;
    FILE *file = fopen(path, "rb");
    size_t got = file == NULL ? 0 : fread(bytes, 1, sizeof bytes, file);
    int i;
    if (file != NULL)
        fclose(file);
    if (got != FILE_BYTES || memcmp(bytes, "\x89" "CPF\r\n\x1a\n", 8) != 0 || word(bytes + 64) % 2 != 0)
        return UINT64_MAX;
    for (i = 0; i < 2; i++) /* the names of the pipeline and of the storage */
        at += 8 + (word(at) + 7) / 8 * 8;
    return word(at + 8 * 3); /* behind the count of members, `reserved` and `offered` */
}

static pipeline_t *start(const char *directory, uint32_t flags)
{
    pipeline_journal_options_t options;
    pipeline_storage_t storage;
    pipeline_t *p = NULL;
    CHECK_STATUS(pipeline_journal_options_init(&options, sizeof options), PIPELINE_OK);
    CHECK_U64(options.flags, 0);
    options.flags = flags;
    CHECK_STATUS(pipeline_storage_journal(directory, &options, sizeof storage, &storage), PIPELINE_OK);
    CHECK_STATUS(pipeline_start(NULL, &storage, &p), PIPELINE_OK);
    CHECK_OR_STOP(p != NULL);
    return p;
}

static void capture(pipeline_t *p, int events)
{
    while (events-- > 0)
        CHECK_STATUS(pipeline_capture(p, 1, "event", 5), PIPELINE_OK);
}

static void it_shows_what_is_counted_and_goes_with_the_pipeline(void)
{
    char path[512];
    struct stat stat_;
    pipeline_t *p = start("shown", PIPELINE_JOURNAL_LIVE_FIGURES);
    CHECK_U64(find("shown", path, sizeof path), 1);
    CHECK(stat(path, &stat_) == 0);
    CHECK_U64(stat_.st_mode & 0777, 0600);
    CHECK_U64(stat_.st_size, FILE_BYTES);
    capture(p, 100);
    WAIT_FOR(captured_in(path) == 100);
    /* Somebody deletes it: it is made again. */
    CHECK(unlink(path) == 0);
    capture(p, 11);
    WAIT_FOR(captured_in(path) == 111);
    CHECK(stat(path, &stat_) == 0);
    CHECK_U64(stat_.st_size, FILE_BYTES);
    END(p);
    WAIT_FOR(find("shown", path, sizeof path) == 0);
}

static void there_is_none_unless_it_is_asked_for(void)
{
    char path[512];
    pipeline_t *p = start("none", 0);
    capture(p, 1);
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_U64(find("none", path, sizeof path), 0);
    END(p);
}

static void that_of_a_killed_process_is_deleted_by_the_next(void)
{
    char path[512], next[512];
    pipeline_t *p;
    int status;
    pid_t child = fork();
    if (child == 0) {
        p = start("killed", PIPELINE_JOURNAL_LIVE_FIGURES);
        capture(p, 7);
        find("killed", path, sizeof path);
        WAIT_FOR(captured_in(path) == 7);
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    CHECK_U64(find("killed", path, sizeof path), 1);
    CHECK_U64(captured_in(path), 7);
    p = start("killed", PIPELINE_JOURNAL_LIVE_FIGURES);
    CHECK_U64(find("killed", next, sizeof next), 1);
    CHECK(strcmp(path, next) != 0);
    END(p);
}

int main(void)
{
    that_of_a_killed_process_is_deleted_by_the_next();
    it_shows_what_is_counted_and_goes_with_the_pipeline();
    there_is_none_unless_it_is_asked_for();
    return SUMMARY();
}
