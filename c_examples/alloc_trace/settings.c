/* The settings. They are read once, when a process image starts: a program may clear its environment or change its working
 * directory before it forks, and the child must use the same settings as its parent.
 *
 * An exec passes the settings on in the environment:
 *   - a relative ALLOC_TRACE_DIR is replaced by the absolute path, in the environment of the process itself;
 *   - if the new environment preloads this library but lacks settings, interpose_exec.c adds them.
 * An environment without LD_PRELOAD is left unchanged: the new program is not traced.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "settings.h"

#include "unwind.h"

#include <capture_pipeline.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_MS = 1000, EXIT_MS = 10000, ENTRIES = 9, ENTRY_BYTES = 96, MAX_WORDS = 8192 };

struct settings settings = {.block_ms = BLOCK_MS, .exit_ms = EXIT_MS};

static char directory_entry[sizeof "ALLOC_TRACE_DIR=" + PATH_MAX];
static char other_entries[ENTRIES - 1][ENTRY_BYTES];
static char *entries[ENTRIES]; /* "NAME=VALUE" of each setting that is set */
static size_t entries_count;
static const char *library;    /* path of this library, as written in LD_PRELOAD */

static unsigned number_from(const char *name, unsigned default_value, unsigned maximum) {
    const char *text = getenv(name);
    if (text == NULL || *text < '0' || *text > '9') return default_value;
    unsigned long number = strtoul(text, NULL, 10);
    return number > maximum ? maximum : (unsigned)number;
}

/* A ring has a power of two bytes. */
enum { LEAST_LAST = 1 << 16, MOST_LAST = 1 << 30 };

/* ALLOC_TRACE_LAST in bytes, or with K, M or G. */
static unsigned long last_bytes_from(const char *text) {
    if (text == NULL || *text < '0' || *text > '9') return 0;
    char *unit;
    unsigned long number = strtoul(text, &unit, 10), bytes = LEAST_LAST;
    unsigned shift = *unit == 'G' ? 30 : *unit == 'M' ? 20 : *unit == 'K' ? 10 : 0;
    if (number == 0) return 0;
    number = number > (unsigned long)MOST_LAST >> shift ? MOST_LAST : number << shift;
    while (bytes < number) bytes *= 2;
    return bytes;
}

/* The length of the name including its '='; 0: the entry has no '='. */
static size_t name_length(const char *entry) {
    const char *end = strchr(entry, '=');
    return end == NULL ? 0 : (size_t)(end - entry) + 1;
}

static unsigned columns_from(const char *text) {
    static const char *const names[] = {[PIPELINE_JOURNAL_COLUMNS] = "plain", [PIPELINE_JOURNAL_COLUMNS_LZ4] = "lz4",
                                        [PIPELINE_JOURNAL_COLUMNS_ZSTD] = "zstd"};
    for (unsigned at = PIPELINE_JOURNAL_COLUMNS; text != NULL && at < sizeof names / sizeof *names; at++)
        if (strcmp(text, names[at]) == 0) return at;
    return PIPELINE_JOURNAL_RAW;
}

static void read_directory(void) {
    const char *wanted = getenv("ALLOC_TRACE_DIR");
    if (wanted == NULL || wanted[0] == '\0') wanted = "alloc_trace.out";
    int length;
    if (wanted[0] == '/') {
        length = snprintf(settings.directory, sizeof settings.directory, "%s", wanted);
    } else {
        char here[PATH_MAX];
        if (getcwd(here, sizeof here) == NULL) return;
        length = snprintf(settings.directory, sizeof settings.directory, "%s/%s", here, wanted);
    }
    if (length >= (int)sizeof settings.directory) {
        settings.directory[0] = '\0';
        return;
    }
    snprintf(directory_entry, sizeof directory_entry, "ALLOC_TRACE_DIR=%s", settings.directory);
    entries[entries_count++] = directory_entry;
}

/* A child that is started in another directory must find the same folder. */
static void make_directory_absolute(void) {
    const size_t name = sizeof "ALLOC_TRACE_DIR=" - 1;
    if (settings.directory[0] == '\0' || environ == NULL) return;
    for (char **entry = environ; *entry != NULL; entry++)
        if (strncmp(*entry, directory_entry, name) == 0 && (*entry)[name] != '/' && (*entry)[name] != '\0')
            *entry = directory_entry;
}

void settings_read(void) {
    static const char *const names[ENTRIES - 1] = {"ALLOC_TRACE_MODE", "ALLOC_TRACE_BLOCK_MS", "ALLOC_TRACE_EXIT_MS",
                                                   "ALLOC_TRACE_LIVE", "ALLOC_TRACE_STACKS", "ALLOC_TRACE_TO",
                                                   "ALLOC_TRACE_COLUMNS", "ALLOC_TRACE_LAST"};
    Dl_info info;
    if (dladdr(&settings, &info) != 0) library = info.dli_fname;
    const char *mode = getenv("ALLOC_TRACE_MODE"), *to = getenv("ALLOC_TRACE_TO");
    settings.to = to != NULL && strcmp(to, "sqlite") == 0 ? TO_SQLITE : TO_JOURNAL;
    settings.drop = mode != NULL && strcmp(mode, "drop") == 0;
    settings.columns = columns_from(getenv("ALLOC_TRACE_COLUMNS"));
    settings.live = getenv("ALLOC_TRACE_LIVE") != NULL;
    settings.block_ms = number_from("ALLOC_TRACE_BLOCK_MS", BLOCK_MS, 60000);
    settings.exit_ms = number_from("ALLOC_TRACE_EXIT_MS", EXIT_MS, 600000);
    settings.frames = number_from("ALLOC_TRACE_STACKS", 0, MAX_FRAMES);
    settings.last_bytes = last_bytes_from(getenv("ALLOC_TRACE_LAST"));
    if (settings.last_bytes != 0) {
        settings.to = TO_JOURNAL; /* snapshots are journals */
        settings.frames = 0;      /* a stack is captured once, and would be overwritten */
    }
    read_directory();
    for (size_t at = 0; at < ENTRIES - 1; at++) {
        const char *value = getenv(names[at]);
        if (value == NULL) continue;
        int length = snprintf(other_entries[at], ENTRY_BYTES, "%s=%s", names[at], value);
        if (length < ENTRY_BYTES) entries[entries_count++] = other_entries[at];
    }
    make_directory_absolute();
}

/* --- Environments of exec and posix_spawn. Nothing here allocates: a vfork child may run it. ------------------------ */

static bool preloads_us(char *const environment[]) {
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, "LD_PRELOAD=", sizeof "LD_PRELOAD=" - 1) == 0)
            return library != NULL && strstr(*environment, library) != NULL;
    return false;
}

static bool carries(char *const environment[], const char *entry) {
    size_t name = name_length(entry);
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, entry, name) == 0) return entry != directory_entry || (*environment)[name] == '/';
    return false;
}

size_t settings_words_needed(char *const environment[]) {
    if (environment == NULL || !preloads_us(environment)) return 0;
    size_t words = 0, missing = 0;
    while (environment[words] != NULL) words++;
    for (size_t at = 0; at < entries_count; at++) missing += !carries(environment, entries[at]);
    return missing == 0 || words > MAX_WORDS ? 0 : words + missing + 1;
}

void settings_complete(char *const environment[], char *to[]) {
    for (size_t at = 0; at < entries_count; at++)
        if (!carries(environment, entries[at])) *to++ = entries[at];
    const size_t name = sizeof "ALLOC_TRACE_DIR=" - 1;
    for (; *environment != NULL; environment++) {
        bool relative = strncmp(*environment, "ALLOC_TRACE_DIR=", name) == 0 && (*environment)[name] != '/';
        if (!relative) *to++ = *environment;
    }
    *to = NULL;
}
