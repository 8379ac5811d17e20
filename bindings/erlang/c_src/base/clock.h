/* Converts times of the system's monotonic clock, by which the library stamps events, to the VM's monotonic time, and back.
 *
 * The two clocks run in parallel, but the VM corrects its own. An offset that is measured for each batch would vary by the error of the
 * measurement, so that a batch could get times before those of the previous batch. Therefore the VM has one piecewise linear function for the
 * conversion. A piece never changes once a time was converted by it, each piece begins where the previous one ends, and each rises: of two
 * times the later one always stays the later one. */
#ifndef CAPTURE_NIF_CLOCK_H
#define CAPTURE_NIF_CLOCK_H

#include "base/resource.h"

/* Called when the NIF is loaded or upgraded. */
void clock_load(ErlNifEnv *env);

/* (vm | system, Time) -> {From, Until, FromThere, Rise, Run}, in nanoseconds. The first argument is the clock to convert to; Time is of the other
 * one. The piece covers From =< Time < Until. A time of it converts to FromThere + (Time - From) * Rise div Run. */
ERL_NIF_TERM clock_piece(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
