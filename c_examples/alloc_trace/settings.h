/* The settings: read from the environment once in a process image; forked children inherit them in memory. */
#ifndef ALLOC_TRACE_SETTINGS_H
#define ALLOC_TRACE_SETTINGS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum storage {
    TO_JOURNAL, /* all process images into one journal, the directory `journal` in the folder */
    TO_SQLITE   /* each process image into a database of its own */
};

struct settings {
    enum storage to;          /* ALLOC_TRACE_TO=journal or sqlite */
    bool drop;                /* ALLOC_TRACE_MODE=drop */
    bool live;                /* ALLOC_TRACE_LIVE */
    unsigned columns;         /* ALLOC_TRACE_COLUMNS: PIPELINE_JOURNAL_..., how events lie in the journal */
    unsigned block_ms;        /* ALLOC_TRACE_BLOCK_MS */
    unsigned exit_ms;         /* ALLOC_TRACE_EXIT_MS */
    unsigned long last_bytes; /* ALLOC_TRACE_LAST: only the last calls are kept, so many bytes a thread; 0: all are stored */
    unsigned frames;          /* ALLOC_TRACE_STACKS: the return addresses of a stack at most; 0: no stacks */
    char directory[PATH_MAX]; /* ALLOC_TRACE_DIR, absolute; empty: the current directory could not be read */
};
extern struct settings settings;

void settings_read(void);

/* How many words, with the NULL at the end, an environment needs to carry the settings. 0: it needs no change, because it
 * carries them already or does not preload this library. */
size_t settings_words_needed(char *const environment[]);
/* Writes that environment to `to`. Allocates nothing: a vfork child may call it. */
void settings_complete(char *const environment[], char *to[]);

#endif
