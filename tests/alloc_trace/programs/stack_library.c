/* Two libraries are built of this, with another FRAME. Their code differs in that number alone, so the call returns to the same offset. Licence: MIT OR Apache-2.0. */
#include <stddef.h>

__attribute__((visibility("default"))) void through_library(size_t size, void (*call)(size_t)) {
    volatile char bytes[FRAME];
    bytes[size & 255] = 1;
    call(size);
    bytes[0] = 2;
}
