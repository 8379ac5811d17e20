/* Directories that cannot hold ring files are refused at the start, with the reason; nothing is left there. */
#include "ring_file.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

static recorder_t rec = RECORDER_INIT;

static void refused(const char *directory, int32_t status, const char *words)
{
    pipeline_config_t c = ring_file_config(directory);
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    rec.destroy_calls = 0;
    CHECK_FAILS(pipeline_start(&c, &s, &p), status, words);
    CHECK_HAS(pipeline_last_error(), "pipeline_config_t.ring_dir");
    CHECK(p == NULL);
    CHECK_U64(rec.destroy_calls, 1);
    CHECK(find_ring_file(directory) == NULL);
    if (p != NULL)
        CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
}

static void wrong_directories(void)
{
    const char *directory = new_ring_dir("wrong");
    char other[600];
    int fd;
    refused("", PIPELINE_ERR_INVALID, "ring_dir");
    refused("/dev/shm/not/there", PIPELINE_ERR_STORAGE, "/dev/shm/not/there");
    CHECK_OR_STOP(mkdir(directory, 0700) == 0);
    snprintf(other, sizeof other, "%s/file", directory);
    fd = open(other, O_CREAT | O_WRONLY, 0600);
    close(fd);
    refused(other, PIPELINE_ERR_STORAGE, "is no directory");
    unlink(other);
    snprintf(other, sizeof other, "%s/link", directory);
    CHECK(symlink(directory, other) == 0);
    refused(other, PIPELINE_ERR_STORAGE, "symbolic link");
    unlink(other);
    CHECK(chmod(directory, 0770) == 0);
    refused(directory, PIPELINE_ERR_INVALID, "0770");
    CHECK(chmod(directory, 0702) == 0);
    refused(directory, PIPELINE_ERR_INVALID, "0702");
    CHECK(chmod(directory, 0700) == 0);
    if (geteuid() == 0) {
        CHECK(chown(directory, 12345, (gid_t)-1) == 0);
        refused(directory, PIPELINE_ERR_STORAGE, "uid 12345");
    }
    /* The process's own file systems know no space to promise. */
    refused("/proc/rings", PIPELINE_ERR_UNSUPPORTED, "does not promise space");
    remove_ring_dir(directory);
}

/* The limit on the size of files is a full disk's like. The library's call sends no signal. */
static void too_little_space(void)
{
    const char *directory = new_ring_dir("small");
    struct rlimit limit, before;
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    limit = before;
    limit.rlim_cur = 1 << 20;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    refused(directory, PIPELINE_ERR_STORAGE, "RLIMIT_FSIZE");
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    remove_ring_dir(directory);
}

/* Larger than the memory of the machine: the error says what would fit. */
static void more_than_there_is(void)
{
    const char *directory = new_ring_dir("large");
    pipeline_config_t c = ring_file_config(directory);
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    const char *would;
    unsigned long fits = 0;
    c.ring_bytes = 1 << 26;
    c.max_rings = 65536;
    CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_STORAGE, "max_rings: ");
    would = strstr(pipeline_last_error(), "max_rings: ");
    CHECK(would != NULL && sscanf(would, "max_rings: %lu would fit", &fits) == 1);
    CHECK(fits < 65536);
    CHECK(find_ring_file(directory) == NULL);
    remove_ring_dir(directory);
}

/* A file system as small as that of a container's /dev/shm. What the error says would fit does fit, and no more. */
static void a_small_file_system(void)
{
    const char *directory = new_ring_dir("mount");
    char rings[600];
    pipeline_config_t c = config_defaults();
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    const char *would;
    unsigned fits = 0;
    pid_t child = fork();
    if (child != 0) {
        AWAIT_CHILD(child);
        rmdir(directory);
        return;
    }
    begin_child();
    if (mkdir(directory, 0700) != 0 || unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("rings", directory, "tmpfs", 0, "size=64m") != 0) {
        printf("a small file system: left out, mount: %s\n", strerror(errno));
        end_child();
    }
    snprintf(rings, sizeof rings, "%s/rings", directory);
    c.ring_dir = rings;
    CHECK_FAILS(pipeline_start(&c, &s, &p), PIPELINE_ERR_STORAGE, "would fit, 64 given");
    would = strstr(pipeline_last_error(), "max_rings: ");
    CHECK(would != NULL && sscanf(would, "max_rings: %u would fit", &fits) == 1);
    CHECK(fits > 40 && fits < 64);
    for (c.max_rings = fits + 1; c.max_rings >= fits && fits > 0; c.max_rings--) {
        s = recorder_storage(&rec);
        CHECK_STATUS(pipeline_start(&c, &s, &p), c.max_rings > fits ? PIPELINE_ERR_STORAGE : PIPELINE_OK);
    }
    /* Every byte of the rings is there, however full the file system is. */
    if (p != NULL) {
        char payload[4000] = {0};
        uint64_t n;
        int fd;
        CHECK_STATUS(pipeline_pause(p), PIPELINE_OK);
        snprintf(rings, sizeof rings, "%s/fill", directory);
        fd = open(rings, O_CREAT | O_WRONLY, 0600);
        while (write(fd, payload, sizeof payload) > 0)
            ;
        close(fd);
        for (n = 0; pipeline_capture(p, 1, payload, sizeof payload) == PIPELINE_OK; n++)
            ;
        CHECK(n > 200);
        CHECK_STATUS(pipeline_resume(p), PIPELINE_OK);
        END(p);
    }
    umount2(directory, MNT_DETACH);
    end_child();
}

/* Each pipeline has a file of its own, in one directory as well. */
static void two_pipelines(void)
{
    static recorder_t other = RECORDER_INIT;
    pipeline_config_t c = ring_file_config(new_ring_dir("two"));
    pipeline_storage_t s = recorder_storage(&rec), t = recorder_storage(&other);
    pipeline_t *p = NULL, *q = NULL;
    uint64_t before = RECORDED(&rec, stored.count);
    CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
    capture_numbers(p, 0, 100);
    CHECK_STATUS(pipeline_start(&c, &t, &q), PIPELINE_OK);
    capture_numbers(q, 0, 200);
    END(p);
    CHECK(find_ring_file(c.ring_dir) != NULL);
    END(q);
    CHECK(find_ring_file(c.ring_dir) == NULL);
    CHECK_U64(RECORDED(&rec, stored.count) - before, 100);
    CHECK_U64(RECORDED(&other, stored.count), 200);
    remove_ring_dir(c.ring_dir);
}

/* A directory on a disk needs a word of its own. */
static void on_a_disk(void)
{
    const char *directory = "rings";
    pipeline_config_t c = ring_file_config(directory);
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p = NULL;
    int32_t status = pipeline_start(&c, &s, &p);
    CHECK_STATUS(status, PIPELINE_ERR_UNSUPPORTED);
    CHECK(access(directory, F_OK) != 0);
    if (strstr(pipeline_last_error(), "ring_disk") != NULL) {
        c.ring_disk = 1;
        s = recorder_storage(&rec);
        CHECK_STATUS(pipeline_start(&c, &s, &p), PIPELINE_OK);
        capture_numbers(p, 0, 1000);
        CHECK(find_ring_file(directory) != NULL);
        END(p);
        CHECK(find_ring_file(directory) == NULL);
    }
    remove_ring_dir(directory);
}

int main(void)
{
    wrong_directories();
    too_little_space();
    more_than_there_is();
    a_small_file_system();
    two_pipelines();
    on_a_disk();
    return SUMMARY();
}
