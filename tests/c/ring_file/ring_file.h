/* Reads ring files as docs/format.md specifies them, without the library. The files lie in a folder of the test's own on tmpfs. */
#ifndef CAPTURE_PIPELINE_TEST_RING_FILE_H
#define CAPTURE_PIPELINE_TEST_RING_FILE_H

#include "../recorder.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define RING_HEADERS_AT UINT64_C(1220608)

/* An event that lies in a ring file. */
typedef struct {
    uint64_t ring_id, sequence, value;
    uint32_t kind, flags;
    size_t len;
    bool priority;
} lying_t;

/* What a ring file has: its events in the order of the rings. */
typedef struct {
    char path[600];
    unsigned char *bytes;
    size_t size;
    lying_t *events;
    size_t count, facts;
    uint64_t generation, rings_used;
    uint32_t pid;
} ring_file_t;

static char ring_dir[512];

/* Makes the path of a folder of the program's own, which is not there yet. */
CHECK_UNUSED static const char *new_ring_dir(const char *name)
{
    snprintf(ring_dir, sizeof ring_dir, "/dev/shm/capture-pipeline-%d-%s", (int)getpid(), name);
    return ring_dir;
}

/* The path of the only ring file in a directory; NULL: there is none. */
CHECK_UNUSED static const char *find_ring_file(const char *directory)
{
    static char path[600];
    struct dirent *entry;
    DIR *dir = opendir(directory);
    const char *found = NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len == 22 && strcmp(entry->d_name + 16, ".rings") == 0) {
            CHECK(found == NULL);
            snprintf(path, sizeof path, "%.300s/%.200s", directory, entry->d_name);
            found = path;
        }
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

CHECK_UNUSED static void remove_ring_dir(const char *directory)
{
    char path[600];
    struct dirent *entry;
    DIR *dir = opendir(directory);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof path, "%.300s/%.200s", directory, entry->d_name);
        unlink(path);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(directory);
}

static uint64_t word_at(const ring_file_t *f, uint64_t at)
{
    uint64_t word;
    CHECK_OR_STOP(at + 8 <= f->size);
    memcpy(&word, f->bytes + at, 8);
    return word;
}

/* The events of one ring, from `released` to `head`. */
static void read_ring(ring_file_t *f, uint64_t header_at, uint64_t memory_at, uint64_t ring_bytes, bool priority)
{
    uint64_t head = word_at(f, header_at), claimed = word_at(f, header_at + 128), at = word_at(f, header_at + 256);
    uint64_t ring_id = word_at(f, header_at + 384);
    f->rings_used += ring_id != 0;
    CHECK(at <= claimed && claimed <= head && head - at <= ring_bytes);
    while (at < head) {
        uint64_t place = memory_at + at % ring_bytes, tag = word_at(f, place), len = (uint32_t)tag;
        uint32_t flags = (uint32_t)(tag >> 32);
        if (flags >> 31) {
            CHECK_U64(at % ring_bytes + len, ring_bytes);
            at += len;
            continue;
        }
        lying_t e = {.ring_id = ring_id, .flags = flags & ~(UINT32_C(1) << 30), .len = len, .priority = priority};
        CHECK_OR_STOP(at % ring_bytes + 48 + len <= ring_bytes);
        e.kind = (uint32_t)word_at(f, place + 8);
        e.sequence = word_at(f, place + 16);
        memcpy(&e.value, f->bytes + place + 48, len < 8 ? len : 8);
        f->events = (lying_t *)realloc(f->events, (f->count + 1) * sizeof e);
        CHECK_OR_STOP(f->events != NULL);
        f->events[f->count++] = e;
        at += 48 + (len + 7) / 8 * 8;
    }
    CHECK_U64(at, head);
}

CHECK_UNUSED static ring_file_t read_ring_file(const char *path)
{
    ring_file_t f = {0};
    struct stat status;
    uint64_t ring_bytes, priority_bytes, rings, priority_rings, n, at;
    int fd = open(path, O_RDONLY);
    CHECK_OR_STOP(fd >= 0 && fstat(fd, &status) == 0);
    snprintf(f.path, sizeof f.path, "%s", path);
    f.size = (size_t)status.st_size;
    f.bytes = (unsigned char *)malloc(f.size);
    CHECK_OR_STOP(f.bytes != NULL && read(fd, f.bytes, f.size) == (ssize_t)f.size);
    close(fd);
    CHECK(memcmp(f.bytes, "\x89" "CPR\r\n\x1a\n", 8) == 0);
    CHECK_U64(word_at(&f, 8), UINT64_C(0x0000000101020304));
    f.generation = word_at(&f, 32);
    ring_bytes = word_at(&f, 40);
    priority_bytes = word_at(&f, 48);
    rings = word_at(&f, 56);
    priority_rings = word_at(&f, 64);
    CHECK_U64(word_at(&f, 72), f.size);
    /* Every byte has its place on the file system. */
    CHECK((uint64_t)status.st_blocks * 512 >= f.size);
    CHECK_U64(status.st_mode & 07777, 0600);
    f.pid = (uint32_t)word_at(&f, 96);
    at = word_at(&f, 139264);
    for (n = 0; n < at; f.facts++)
        n += 48 + (word_at(&f, 139264 + 64 + n) % (UINT64_C(1) << 32) + 7) / 8 * 8;
    at = (RING_HEADERS_AT + (rings + priority_rings) * 512 + 4095) / 4096 * 4096;
    for (n = 0; n < rings + priority_rings; n++) {
        bool priority = n >= rings;
        read_ring(&f, RING_HEADERS_AT + n * 512, at, priority ? priority_bytes : ring_bytes, priority);
        at += priority ? priority_bytes : ring_bytes;
    }
    CHECK_U64(at, f.size);
    return f;
}

CHECK_UNUSED static void free_ring_file(ring_file_t *f)
{
    free(f->bytes);
    free(f->events);
}

/* Whether the first byte of a file is locked by another open file. */
CHECK_UNUSED static bool owner_has_lock(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    int fd = open(path, O_RDWR);
    bool held;
    CHECK_OR_STOP(fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0);
    held = lock.l_type != F_UNLCK;
    close(fd);
    return held;
}

/* Small rings, so that a file is small; the other fields as they are by default. */
CHECK_UNUSED static pipeline_config_t ring_file_config(const char *directory)
{
    pipeline_config_t c = config_defaults();
    c.ring_dir = directory;
    c.ring_bytes = 1 << 16;
    c.priority_ring_bytes = 1 << 14;
    c.max_rings = 8;
    c.max_retired_rings = 2;
    return c;
}

#endif
