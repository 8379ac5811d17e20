/* dlclose: the rules for unwinding that were learnt of the code of an unloaded module hold no more.
 *
 * Licence: MIT OR Apache-2.0. */
#include "interpose.h"
#include "real_functions.h"
#include "unwind.h"

#include <dlfcn.h>

EXPORT int dlclose(void *module) {
    int failed = real_functions()->dlclose(module);
    unwind_after_unload();
    return failed;
}
