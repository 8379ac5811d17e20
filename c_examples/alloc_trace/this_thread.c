/* The tracer's state of the current thread.
 *
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include "this_thread.h"

#include <sys/syscall.h>
#include <unistd.h>

__thread struct thread_state this_thread __attribute__((tls_model("initial-exec")));

uint32_t look_up_thread_id(void) {
    this_thread.tid = (uint32_t)syscall(SYS_gettid);
    return this_thread.tid;
}
