/* The log of a ring: see log.h. */
#include "ring/log.h"

#include <string.h>
#include <sys/mman.h>

/* Arrays of more bytes are mapped. */
enum { MAPPED = 1 << 16 };

struct slots slots_new(size_t size)
{
    size_t bytes = size * sizeof(struct slot);
    struct slots slots = { .size = size };
    if (bytes / sizeof(struct slot) != size)
        return slots;
    if (bytes > MAPPED) {
        slots.slot = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (slots.slot == MAP_FAILED)
            slots.slot = NULL;
    } else {
        slots.slot = enif_alloc(bytes);
        if (slots.slot)
            memset(slots.slot, 0, bytes);
    }
    return slots;
}

void slots_free(struct slots slots)
{
    if (!slots.slot)
        return;
    if (slots.size * sizeof(struct slot) > MAPPED)
        munmap(slots.slot, slots.size * sizeof(struct slot));
    else
        enif_free(slots.slot);
}

static inline struct slot *slot_of(struct log *log, uint64_t position)
{
    return &log->slots.slot[position & (log->slots.size - 1)];
}

static inline void set(_Atomic uint64_t *position, uint64_t value)
{
    atomic_store_explicit(position, value, memory_order_relaxed);
}

bool log_append(struct log *log, struct slot event, bool overwrite, struct block *released[2])
{
    uint64_t write = log_write(log);
    size_t bytes = SIZE_MAX;
    released[0] = released[1] = NULL;
    if (write - log_read(log) >= log->slots.size)
        log_advance(log);
    if (write - log_read(log) >= log->slots.size) {
        if (!overwrite)
            return false;
        set(&log->read, log_read(log) + 1);
        log->dropped++;
    }
    if (log->swept < log_read(log))
        /* One event makes the slot free if all are in use. One more, so that events that were acknowledged all at once are released in the end. */
        log_sweep(log, released, 2, &bytes);
    *slot_of(log, write) = event;
    set(&log->write, write + 1);
    log->total_writes++;
    return true;
}

struct slot *log_at(struct log *log, uint64_t position)
{
    return position >= log_read(log) && position < log_write(log) ? slot_of(log, position) : NULL;
}

void log_advance(struct log *log)
{
    if (!log->followers)
        return;
    uint64_t lowest = UINT64_MAX;
    for (struct ring_follower *follower = log->followers; follower; follower = follower->next)
        if (follower->settled < lowest)
            lowest = follower->settled;
    if (lowest > log_write(log))
        lowest = log_write(log);
    if (lowest > log_read(log))
        set(&log->read, lowest);
}

size_t log_sweep(struct log *log, struct block **released, size_t max, size_t *bytes)
{
    size_t count = 0;
    while (count < max && *bytes > 0 && log->swept < log_read(log)) {
        struct slot *slot = slot_of(log, log->swept++);
        released[count++] = slot->block;
        *bytes -= slot->bytes < *bytes ? slot->bytes : *bytes;
        slot->block = NULL;
    }
    return count;
}

struct slots log_restart(struct log *log, struct slots fresh, uint64_t *from, uint64_t *to)
{
    struct slots old = log->slots;
    *from = log->swept;
    *to = log_write(log);
    log->slots = fresh;
    log->swept = 0;
    set(&log->read, 0);
    set(&log->write, 0);
    set(&log->epoch, atomic_load_explicit(&log->epoch, memory_order_relaxed) + 1);
    log->total_writes = log->dropped = 0;
    for (struct ring_follower *follower = log->followers; follower; follower = follower->next)
        follower->settled = 0;
    return old;
}

struct slots log_end(struct log *log, uint64_t *from, uint64_t *to)
{
    struct slots old = log->slots;
    *from = log->swept;
    *to = log_write(log);
    log->slots.slot = NULL;
    log->swept = *to;
    set(&log->read, *to);
    return old;
}

void log_follow(struct log *log, struct ring_follower *follower)
{
    follower->settled = log_read(log);
    follower->next = log->followers;
    follower->link = &log->followers;
    if (follower->next)
        follower->next->link = &follower->next;
    log->followers = follower;
}

void log_unfollow(struct log *log, struct ring_follower *follower)
{
    if (!follower->link)
        return;
    *follower->link = follower->next;
    if (follower->next)
        follower->next->link = follower->link;
    follower->link = NULL;
    log_advance(log);
}
