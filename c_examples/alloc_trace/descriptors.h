/* The file descriptors of the storage inside this library. */
#ifndef ALLOC_TRACE_DESCRIPTORS_H
#define ALLOC_TRACE_DESCRIPTORS_H

#include <stdbool.h>

/* Whether the program has closed one, and perhaps opened a file of its own under the same number. */
bool descriptors_were_closed(void);
void descriptors_after_fork(void);
/* Makes the process's table of descriptors large enough for the storage's. */
void descriptors_make_room(void);

#endif
