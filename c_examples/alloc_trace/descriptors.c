/* open, openat and close as the storage inside this library calls them (the linker's --wrap redirects the calls to here).
 *
 * Each descriptor is moved to a high number. A shell's "exec 3>file", or a daemon that closes and reuses low descriptors,
 * would otherwise put its file under our storage. Files that are open for writing are remembered with their inode, so that
 * the tracer notices when the program has closed one.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "descriptors.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The linker fixes these names. */
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat64(int folder, const char *path, int flags, ...);
int __real_openat(int folder, const char *path, int flags, ...);
int __wrap_close(int fd);
int __real_close(int fd);

/* High, but low enough that the kernel's table of descriptors does not grow by megabytes. */
enum { HIGHEST_BASE = 4096, NUMBERS_ABOVE_BASE = 96 };

/* The files that the storage has open for writing. Only threads of the storage open and close them. */
enum { MAX_FILES = 16 };
static struct {
    int fd; /* 0: unused entry; our descriptors are never that low */
    dev_t device;
    ino_t number;
} files[MAX_FILES];
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

static void remember(int fd, int flags) {
    struct stat state;
    if (fd <= 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(fd, &state) != 0) return;
    pthread_mutex_lock(&files_lock);
    unsigned at = 0;
    while (at < MAX_FILES - 1 && files[at].fd != fd && files[at].fd != 0) at++;
    files[at].fd = fd;
    files[at].device = state.st_dev;
    files[at].number = state.st_ino;
    pthread_mutex_unlock(&files_lock);
}

int __wrap_close(int fd) {
    pthread_mutex_lock(&files_lock);
    for (unsigned at = 0; at < MAX_FILES; at++)
        if (files[at].fd == fd) files[at].fd = 0;
    pthread_mutex_unlock(&files_lock);
    return __real_close(fd);
}

bool descriptors_were_closed(void) {
    bool closed = false;
    struct stat state;
    pthread_mutex_lock(&files_lock);
    for (unsigned at = 0; at < MAX_FILES; at++)
        if (files[at].fd != 0 && (fstat(files[at].fd, &state) != 0 || state.st_dev != files[at].device ||
                                  state.st_ino != files[at].number))
            closed = true;
    pthread_mutex_unlock(&files_lock);
    return closed;
}

void descriptors_after_fork(void) {
    files_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* the thread that held it exists in the parent only */
    memset(files, 0, sizeof files);
}

static int move_up(int fd) {
    if (fd < 0) return fd;
    struct rlimit limit;
    rlim_t top = HIGHEST_BASE;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < top) top = limit.rlim_cur;
    int base = (int)(top > 2 * NUMBERS_ABOVE_BASE ? top - NUMBERS_ABOVE_BASE : top / 2);
    if (fd >= base) return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, base);
    if (high < 0) return fd;
    __real_close(fd);
    return high;
}

void descriptors_make_room(void) {
    int fd = move_up(__real_openat(AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0));
    if (fd >= 0) __real_close(fd);
}

static int open_high(int folder, const char *path, int flags, mode_t mode) {
    int fd = move_up(__real_openat(folder, path, flags | O_CLOEXEC, mode));
    remember(fd, flags);
    return fd;
}

#define MODE_ARGUMENT(mode, flags)               \
    mode_t mode = 0;                             \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {     \
        va_list rest;                            \
        va_start(rest, flags);                   \
        mode = (mode_t)va_arg(rest, unsigned);   \
        va_end(rest);                            \
    }

int __wrap_open(const char *path, int flags, ...) {
    MODE_ARGUMENT(mode, flags)
    return open_high(AT_FDCWD, path, flags, mode);
}

int __wrap_open64(const char *path, int flags, ...) {
    MODE_ARGUMENT(mode, flags)
    return open_high(AT_FDCWD, path, flags, mode);
}

int __wrap_openat(int folder, const char *path, int flags, ...) {
    MODE_ARGUMENT(mode, flags)
    return open_high(folder, path, flags, mode);
}

int __wrap_openat64(int folder, const char *path, int flags, ...) {
    MODE_ARGUMENT(mode, flags)
    return open_high(folder, path, flags, mode);
}
