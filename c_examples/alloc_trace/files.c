/* The folder and the files of a process: PID-N.ledger, PID-N.maps, and with a database PID-N-COMM.db. N distinguishes the images of a process
 * that replace each other by exec. If a name exists already, the next N is used. The journal makes its files itself, in the directory
 * `journal` of the folder.
 *
 * A trace reveals the address layout of a program. Therefore the folder is created with mode 0700 and the files with mode
 * 0600. A folder that belongs to another user, or that others may write to, is refused, because they could plant links in
 * it. Symbolic links are not followed, and existing files are not opened.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "files.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEM_BYTES = 32, NAME_BYTES = 128, MAX_IMAGES = 100000 };

static unsigned image_number;            /* N */
static char stem[STEM_BYTES];            /* PID-N */
static char ledger_name[NAME_BYTES], maps_name[NAME_BYTES], storage_name[NAME_BYTES];
static char storage[PATH_MAX + NAME_BYTES];

const char *files_storage(void) {
    return storage;
}

unsigned files_image(void) {
    return image_number;
}

const char *files_storage_name(void) {
    return storage_name;
}

/* Descriptor of the folder, or -1. */
static int open_folder(bool may_create, char *problem, size_t problem_size) {
    if (settings.directory[0] == '\0') {
        snprintf(problem, problem_size, "ALLOC_TRACE_DIR is too long, or relative while the working directory is not known");
        return -1;
    }
    if (may_create && mkdir(settings.directory, 0700) != 0 && errno != EEXIST) {
        snprintf(problem, problem_size, "%s", strerror(errno));
        return -1;
    }
    int folder = openat(AT_FDCWD, settings.directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat state;
    if (folder < 0 || fstat(folder, &state) != 0) {
        snprintf(problem, problem_size, "%s", errno == ENOTDIR || errno == ELOOP ? "is a symbolic link or no folder" : strerror(errno));
    } else if (state.st_uid != geteuid()) {
        snprintf(problem, problem_size, "the folder belongs to user %u, and this is user %u", (unsigned)state.st_uid,
                 (unsigned)geteuid());
    } else if ((state.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        snprintf(problem, problem_size, "other users may write to the folder (mode %04o); chmod 0700 it or use another",
                 (unsigned)state.st_mode & 07777);
    } else {
        return folder;
    }
    if (folder >= 0) close(folder);
    return -1;
}

static bool exists(int folder, const char *name, const char *suffix) {
    char path[NAME_BYTES + 16];
    struct stat state;
    snprintf(path, sizeof path, "%s%s", name, suffix);
    return fstatat(folder, path, &state, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static int create(int folder, const char *name) {
    int fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0) fchmod(fd, 0600); /* the umask may have removed bits */
    return fd;
}

/* Returns the ledger's descriptor, or -1 with errno and no file left. */
static int create_all(int folder) {
    static const char *const sqlite_suffixes[] = {"-wal", "-shm", "-journal"}; /* files that SQLite adds */
    for (unsigned at = 0; settings.to == TO_SQLITE && at < sizeof sqlite_suffixes / sizeof *sqlite_suffixes; at++) {
        if (!exists(folder, storage_name, sqlite_suffixes[at])) continue;
        errno = EEXIST;
        return -1;
    }
    int page = create(folder, ledger_name);
    if (page < 0) return -1;
    int maps = create(folder, maps_name);
    int rows = maps >= 0 && settings.to == TO_SQLITE ? create(folder, storage_name) : -1;
    int failed = errno;
    if (rows >= 0) close(rows);
    if (maps >= 0) close(maps);
    if (rows >= 0 || (maps >= 0 && settings.to == TO_JOURNAL)) return page;
    close(page);
    unlinkat(folder, ledger_name, 0);
    if (maps >= 0) unlinkat(folder, maps_name, 0);
    errno = failed;
    return -1;
}

static void set_names(unsigned image, const char *comm) {
    char safe[32];
    size_t length = 0;
    for (; comm[length] != '\0' && length < sizeof safe - 1; length++) {
        char c = comm[length];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                     c == '-' || c == '+';
        safe[length] = plain ? c : '_';
    }
    safe[length] = '\0';
    image_number = image;
    snprintf(stem, sizeof stem, "%d-%u", (int)getpid(), image);
    snprintf(ledger_name, sizeof ledger_name, "%s.ledger", stem);
    snprintf(maps_name, sizeof maps_name, "%s.maps", stem);
    if (settings.to == TO_SQLITE)
        snprintf(storage_name, sizeof storage_name, "%s-%s.db", stem, safe);
    else
        snprintf(storage_name, sizeof storage_name, "journal");
    snprintf(storage, sizeof storage, "%s/%s", settings.directory, storage_name);
}

int files_create(bool may_create_folder, const char *comm, char *problem, size_t problem_size) {
    int folder = open_folder(may_create_folder, problem, problem_size);
    if (folder < 0) return -1;
    int page = -1;
    for (unsigned image = 0; page < 0 && image < MAX_IMAGES; image++) {
        set_names(image, comm);
        page = create_all(folder);
        if (page < 0 && errno != EEXIST) break;
    }
    if (page < 0) snprintf(problem, problem_size, "%s: %s", ledger_name, strerror(errno));
    close(folder);
    return page;
}

/* The folder's descriptor, opened anew by its path and checked again; -1 if it fails the check now. */
static int reopen_folder(void) {
    char problem[128];
    return open_folder(false, problem, sizeof problem);
}

bool files_snapshot_wanted(void) {
    static struct timespec seen;
    static bool looked;
    struct stat state = {0};
    int folder = reopen_folder();
    if (folder < 0) return false;
    bool there = fstatat(folder, "snapshot", &state, AT_SYMLINK_NOFOLLOW) == 0;
    close(folder);
    bool touched = there && (state.st_mtim.tv_sec != seen.tv_sec || state.st_mtim.tv_nsec != seen.tv_nsec);
    bool wanted = touched && looked;
    if (touched) seen = state.st_mtim;
    looked = true;
    return wanted;
}

void files_remove(void) {
    int folder = reopen_folder();
    if (folder < 0) return;
    unlinkat(folder, ledger_name, 0);
    unlinkat(folder, maps_name, 0);
    if (settings.to == TO_SQLITE) unlinkat(folder, storage_name, 0);
    close(folder);
}

/* The maps translate addresses to symbol names after the process has ended. An earlier copy stays where there can be no new one. */
void files_save_maps(void) {
    int folder = reopen_folder();
    if (folder < 0) return;
    int from = openat(AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    int to = openat(folder, maps_name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    close(folder);
    struct stat state;
    bool ours = to >= 0 && fstat(to, &state) == 0 && S_ISREG(state.st_mode) && state.st_uid == geteuid() && state.st_nlink == 1;
    static char block[16384];
    ssize_t got = -1;
    off_t length = 0;
    while (from >= 0 && ours && (got = read(from, block, sizeof block)) > 0 && write(to, block, (size_t)got) == got) length += got;
    if (got == 0 && ftruncate(to, length) != 0) {
        /* The rest of a longer copy stays. Lines that are there twice do no harm. */
    }
    if (from >= 0) close(from);
    if (to >= 0) close(to);
}
