/* The system calls of the library, caught by functions of the same names. The calls that the running case selects fail. */
#ifndef CAPTURE_PIPELINE_FAILING_CALLS_H
#define CAPTURE_PIPELINE_FAILING_CALLS_H

#include "../check.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum call { OPEN, WRITE, PWRITE, FSYNC, FDATASYNC, MMAP, FTRUNCATE, FCNTL, THREAD, CALLS };
static const char *const call_names[CALLS] = {"open",      "write", "pwrite",        "fsync", "fdatasync", "mmap",
                                              "ftruncate", "fcntl", "pthread_create"};
static const struct {
    const char *name;
    int number;
} errors[] = {{"EPERM", EPERM}, {"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EMFILE", EMFILE}, {"EDQUOT", EDQUOT}, {"EINTR", EINTR}};
enum { ERRORS = sizeof errors / sizeof *errors };

/* The number of EINTR in a row. SQLite repeats an interrupted call until it succeeds, so it must succeed in the end. */
enum { INTERRUPTIONS = 50 };

/* What the pipeline stores into. */
enum storage { SQLITE, JOURNAL, TRACES, STORAGES };

/* A case and its results, in memory that its process shares. */
static struct shared {
    int call, error; /* call -1: none fails */
    int storage;     /* one of enum storage */
    long at;
    bool always;
    _Atomic bool armed;
    _Atomic long count[CALLS];
    _Atomic long failed;
    bool started, timed_out;
    uint64_t captured, stored, wrong;
    int32_t refused, flushed[2], closed;
    char words[256];
} *shared;

/* Whether this call fails; then errno is set. */
static bool fails(enum call call)
{
    long n;
    if (shared == NULL || !shared->armed)
        return false;
    n = ++shared->count[call];
    if (shared->call != (int)call || n < shared->at)
        return false;
    if (n > shared->at && !shared->always)
        return false;
    if (shared->error == EINTR && n >= shared->at + INTERRUPTIONS)
        return false;
    shared->failed++;
    errno = shared->error;
    return true;
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    return fails(OPEN) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}
static mode_t mode_of(int flags, va_list list)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(list, mode_t) : 0;
}
#define OPENS_IN(folder)                                                                                               \
    {                                                                                                                  \
        va_list list;                                                                                                  \
        mode_t mode;                                                                                                   \
        va_start(list, flags);                                                                                         \
        mode = mode_of(flags, list);                                                                                   \
        va_end(list);                                                                                                  \
        return open_at(folder, path, flags, mode);                                                                     \
    }
#define OPENS(name) int name(const char *path, int flags, ...) OPENS_IN(AT_FDCWD)
#define OPENS_AT(name) int name(int folder, const char *path, int flags, ...) OPENS_IN(folder)
#define FCNTLS(name)                                                                                                   \
    int name(int fd, int command, ...)                                                                                 \
    {                                                                                                                  \
        va_list list;                                                                                                  \
        void *argument;                                                                                                \
        va_start(list, command);                                                                                       \
        argument = va_arg(list, void *);                                                                               \
        va_end(list);                                                                                                  \
        return fails(FCNTL) ? -1 : (int)syscall(SYS_fcntl, fd, command, argument);                                     \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)
FCNTLS(fcntl)
FCNTLS(fcntl64)

ssize_t write(int fd, const void *from, size_t bytes)
{
    return fails(WRITE) ? -1 : syscall(SYS_write, fd, from, bytes);
}
ssize_t pwrite(int fd, const void *from, size_t bytes, off_t at)
{
    return fails(PWRITE) ? -1 : syscall(SYS_pwrite64, fd, from, bytes, at);
}
ssize_t pwrite64(int fd, const void *from, size_t bytes, off64_t at)
{
    return fails(PWRITE) ? -1 : syscall(SYS_pwrite64, fd, from, bytes, at);
}
/* On the systems that we support the offset is one word, and the upper half is not used. */
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return fails(PWRITE) ? -1 : syscall(SYS_pwritev, fd, parts, count, at, 0);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    return fails(PWRITE) ? -1 : syscall(SYS_pwritev, fd, parts, count, at, 0);
}
int fsync(int fd)
{
    return fails(FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd)
{
    return fails(FDATASYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}
/* A sanitizer has to know of each mapping and each thread: its own functions have these names as well. */
extern void *__interceptor_mmap(void *at, size_t bytes, int access, int flags, int fd, off64_t from) __attribute__((weak));
extern int __interceptor_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*begin)(void *), void *argument)
    __attribute__((weak));
static void *map(void *at, size_t bytes, int access, int flags, int fd, off64_t from)
{
    if (fails(MMAP))
        return MAP_FAILED;
    return __interceptor_mmap != NULL ? __interceptor_mmap(at, bytes, access, flags, fd, from)
                                      : (void *)syscall(SYS_mmap, at, bytes, access, flags, fd, from);
}
void *mmap(void *at, size_t bytes, int access, int flags, int fd, off_t from)
{
    return map(at, bytes, access, flags, fd, from);
}
void *mmap64(void *at, size_t bytes, int access, int flags, int fd, off64_t from)
{
    return map(at, bytes, access, flags, fd, from);
}
int ftruncate(int fd, off_t length)
{
    return fails(FTRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}
int ftruncate64(int fd, off64_t length)
{
    return fails(FTRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}
static int (*begin_thread)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*begin)(void *), void *argument)
{
    return fails(THREAD) ? errno : begin_thread(thread, attributes, begin, argument);
}

/* Finds the system's own pthread_create, or the sanitizer's; called before any thread is started. */
static void catch_calls(void)
{
    begin_thread = __interceptor_pthread_create;
    if (begin_thread == NULL)
        begin_thread = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(RTLD_NEXT, "pthread_create");
    CHECK_OR_STOP(begin_thread != NULL);
}

#endif
