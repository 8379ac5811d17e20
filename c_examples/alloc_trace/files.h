/* The folder of the traces and the files of a process: PID-N.ledger, PID-N.maps, and PID-N-COMM.db or the journal of all processes. */
#ifndef ALLOC_TRACE_FILES_H
#define ALLOC_TRACE_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* Creates the files; fails if one exists already. Returns the ledger's descriptor, or -1 with the reason in problem. */
int files_create(bool may_create_folder, const char *comm, char *problem, size_t problem_size);
void files_remove(void);
unsigned files_image(void);            /* N */
const char *files_storage(void);       /* full path of the database, or of the journal */
const char *files_storage_name(void);
void files_save_maps(void);            /* copies /proc/self/maps, from which reports take symbol names */

/* Whether the file `snapshot` in the folder was touched since the last call. The first call notes when it was. */
bool files_snapshot_wanted(void);

#endif
