/* The helper: the tracer's thread that starts, flushes and closes the pipeline. */
#ifndef ALLOC_TRACE_HELPER_H
#define ALLOC_TRACE_HELPER_H

#include <stdbool.h>

enum request { REQUEST_NONE, REQUEST_FLUSH, REQUEST_EXEC, REQUEST_DAEMON, REQUEST_CLOSE };

/* Starts the thread. It calls begin(loud), then serves requests if that returned true. 0, or an errno value if there is no
 * thread. */
int helper_start(bool (*begin)(bool loud), bool loud);
/* Passes a request to the helper and waits until it is done, for at most ALLOC_TRACE_EXIT_MS. */
void helper_request(enum request request);
/* Waits, for as long, until the helper has no request. */
void helper_wait_until_idle(void);
void helper_after_fork(void); /* the thread exists in the parent only */

#endif
