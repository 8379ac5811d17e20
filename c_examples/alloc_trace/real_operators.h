/* The real operators new and delete: the definitions that an untraced program would call. */
#ifndef ALLOC_TRACE_REAL_OPERATORS_H
#define ALLOC_TRACE_REAL_OPERATORS_H

#include "module.h"

/* The real operator for a call from `site`, and the module that defines it. NULL: there is none. To be called after
 * real_functions(), which sets tracer_module. */
void *real_operator(unsigned call, const void *site, struct module *module);
/* Looks up those in the global scope; part of the look-up of the real functions. */
void look_up_operators(void);

#endif
