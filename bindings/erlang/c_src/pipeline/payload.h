/* How a term lies in an event: as a flat term (term/flat.h), as a handle of a term in a block (term/block.h), or, if it is a trace, encoded
 * (encoded/encoded.h); in a ring file as an external term (term/external.h). */
#ifndef CAPTURE_NIF_PAYLOAD_H
#define CAPTURE_NIF_PAYLOAD_H

#include "term/block.h"

#include <capture_pipeline.h>

/* The flag that says that the payload is a term and no bytes. Rules leave such a payload alone: what they would zero in it, a handle or the words of a
 * heap, would end the VM at its delivery. */
#define EVENT_TERM PIPELINE_EVENT_OPAQUE
/* A caller's kind is below this. */
#define KIND_END UINT32_C(0x7FFF0000)

/* A term and its block; NULL: the term is an immediate, which needs no block. The event's length is the memory that the term takes, so that
 * the ring is charged with it. Of that length only the handle is ever written or read. */
struct handle {
    struct block *block;
    ERL_NIF_TERM term;
};

#endif
