/* Makes flat terms, and learns whether that is possible: see flat.h. Their parts are in flat_words.h. */
#include "term/flat.h"
#include "term/flat_words.h"

#include <string.h>

enum {
    DEPTH = 64,                     /* of the containers that are being copied; one whose last element is being copied does not count */
    ADDRESSES = FLAT_WORDS,
    SHAPED = FLAT_WORDS / 4         /* a map has at least four words */
};

ERL_NIF_TERM flat_nil;

static struct {
    enum flat_reason reason;
    ERL_NIF_TERM reference;         /* the first word of ordinary references */
    uint32_t reference_mark;        /* the lower half of their second word, where references to resources have an address */
} flats;

bool flat_known(void)
{
    return flats.reason == FLAT_TESTED;
}

/* ---- making ---- */

/* Words still to be copied, and their destination. */
struct rest {
    const ERL_NIF_TERM *from;
    ERL_NIF_TERM *to;
    size_t left;
};

struct making {
    ErlNifEnv *env;
    ERL_NIF_TERM *words, *top, *end;
    uint16_t addresses[ADDRESSES];
    uint16_t shaped[SHAPED];
    size_t address_count, shaped_count;
    unsigned char *inserts;         /* in the second half of the flat term's memory; moved behind the tables at the end */
    size_t insert_count, insert_bytes;
};

static inline ERL_NIF_TERM offset_of(const struct making *m, const ERL_NIF_TERM *word, unsigned tag)
{
    return (ERL_NIF_TERM)((const char *)word - (const char *)m->words) | tag;
}

static inline void note_address(struct making *m, const ERL_NIF_TERM *word)
{
    m->addresses[m->address_count++] = (uint16_t)(word - m->words);
}

static bool add_insert(struct making *m, ERL_NIF_TERM *word, uint32_t bytes, const void *data)
{
    struct insert insert = { (uint32_t)(word - m->words), bytes };
    size_t padded = data ? (bytes + WORD - 1) / WORD * WORD : 0;
    if (m->insert_bytes + sizeof insert + padded > FLAT_BYTES / 2)
        return false;
    *word = flat_nil;
    memcpy(m->inserts + m->insert_bytes, &insert, sizeof insert);
    if (data)
        memcpy(m->inserts + m->insert_bytes + sizeof insert, data, bytes);
    m->insert_bytes += sizeof insert + padded;
    m->insert_count++;
    return true;
}

/* A term that is neither a container nor a run of words. */
static __attribute__((noinline)) bool make_other(struct making *m, ERL_NIF_TERM term, ERL_NIF_TERM *word)
{
    ErlNifBinary binary;
    size_t slice, pairs;
    int arity;
    const ERL_NIF_TERM *elements;
    if (enif_get_tuple(m->env, term, &arity, &elements))
        return arity == 0 && add_insert(m, word, EMPTY_TUPLE, NULL);
    if (enif_get_map_size(m->env, term, &pairs))
        return pairs == 0 && add_insert(m, word, EMPTY_MAP, NULL);
    if (layout_slice(term, &slice) && slice > FLAT_BYTES / 2)
        return false;
    return enif_inspect_binary(m->env, term, &binary) && binary.size <= FLAT_BYTES / 2 &&
        add_insert(m, word, (uint32_t)binary.size, binary.data);
}

/* Not a reference to a resource, which is linked into a list of its heap and must not be copied as words. */
static inline bool is_plain(const ERL_NIF_TERM *words)
{
    return (*words & 63) != (flats.reference & 63) ||
        (*words == flats.reference && (uint32_t)words[1] == flats.reference_mark);
}

static inline bool make_words(struct making *m, const ERL_NIF_TERM *root, ERL_NIF_TERM *to_root)
{
    struct rest rests[DEPTH];
    size_t depth = 0;
    const ERL_NIF_TERM *from = root;
    ERL_NIF_TERM *to = to_root;
    size_t left = 1;
    for (;;) {
        while (left > 0) {
            ERL_NIF_TERM term = *from++;
            left--;
            if (layout_immediate(term)) {
                *to++ = term;
                continue;
            }
            const ERL_NIF_TERM *next;
            ERL_NIF_TERM *copy = m->top;
            size_t count, before;
            int shape = -1;
            unsigned tag = (term & TAG_BITS) == TAG_LIST ? TAG_LIST : TAG_BOXED;
            if (tag == TAG_LIST) {
                next = layout_words(term, TAG_LIST);
                before = 0;
                count = 2;
            } else {
                next = layout_words(term, TAG_BOXED);
                enum kind kind = layout.kinds[*next & 63];
                count = layout_arity(*next);
                before = 1;
                if (kind == KIND_SIZED && is_plain(next)) {
                    if ((size_t)(m->end - copy) <= count)
                        return false;
                    for (size_t i = 0; i <= count; i++)
                        copy[i] = next[i];
                    m->top = copy + count + 1;
                    note_address(m, to);
                    *to++ = offset_of(m, copy, TAG_BOXED);
                    continue;
                }
                if (kind == KIND_MAP && *next == layout.small_map && next[1] > 0) {
                    shape = shape_of(m->env, layout_words(next[2], TAG_BOXED));
                    /* Without a shape the tuple of the keys is copied too: it is the first term after the size. */
                    before = shape < 0 ? 2 : 3;
                    count = 3 - before + next[1];
                } else if (kind != KIND_TUPLE || count == 0) {
                    if (kind == KIND_SIZED || !make_other(m, term, to))
                        return false;
                    to++;
                    continue;
                }
            }
            if ((size_t)(m->end - copy) < before + count || (left > 0 && depth == DEPTH))
                return false;
            for (size_t i = 0; i < before; i++)
                copy[i] = next[i];
            if (shape >= 0) {
                copy[2] = (ERL_NIF_TERM)shape;
                m->shaped[m->shaped_count++] = (uint16_t)(copy + 2 - m->words);
            }
            m->top = copy + before + count;
            note_address(m, to);
            *to++ = offset_of(m, copy, tag);
            /* After the last element nothing is left to come back to: a list needs no stack, however long it is. */
            if (left > 0)
                rests[depth++] = (struct rest) { from, to, left };
            from = next + before;
            to = copy + before;
            left = count;
        }
        if (depth == 0)
            return true;
        depth--;
        from = rests[depth].from;
        to = rests[depth].to;
        left = rests[depth].left;
    }
}

/* The root lies in front of the words, and is relocated apart from them. */
static inline bool make(ErlNifEnv *env, ERL_NIF_TERM term, struct flat *flat)
{
    struct making m; /* not cleared, because it is large and this is a hot path */
    m.env = env;
    m.words = m.top = (ERL_NIF_TERM *)flat->words + 2;
    m.end = m.words + FLAT_WORDS;
    m.address_count = m.shaped_count = 0;
    m.inserts = (unsigned char *)(flat->words + 2 + FLAT_WORDS) + FLAT_BYTES / 2;
    m.insert_count = m.insert_bytes = 0;
    if (layout_immediate(term) || !make_words(&m, &term, (ERL_NIF_TERM *)flat->words + 1) || m.top == m.words)
        return false;
    /* The first address is the root's, which is not among the words. */
    size_t words = (size_t)(m.top - m.words), addresses = m.address_count - 1, tables = tables_bytes(addresses + m.shaped_count);
    uint16_t *behind = (uint16_t *)m.top;
    flat->words[0] = 1 | (uint64_t)m.shaped_count << 1 | (uint64_t)words << 16 | (uint64_t)addresses << 32 |
        (uint64_t)m.insert_count << 48;
    memcpy(behind, m.addresses + 1, addresses * sizeof *behind);
    memcpy(behind + addresses, m.shaped, m.shaped_count * sizeof *behind);
    if (m.insert_bytes)
        memmove((unsigned char *)behind + tables, m.inserts, m.insert_bytes);
    flat->bytes = (2 + words) * WORD + tables + m.insert_bytes;
    return true;
}

bool flat_make(ErlNifEnv *env, ERL_NIF_TERM term, struct flat *flat)
{
    return flat_known() && make(env, term, flat);
}

/* ---- learning ---- */

/* The versions of the VM (erts) on which all tests of terms have passed with flat terms: those of OTP 25, 27 and 29. The layout of terms and the
 * collector change with a major version only. A version is added here after a run of tests/otp.sh; all others take blocks. */
static const char *const tested_with[] = { "13.", "15.", "17." };

static const char *erts_version(void)
{
    ErlNifSysInfo info;
    enif_system_info(&info, sizeof info);
    return info.erts_version ? info.erts_version : "";
}

static bool is_tested_version(void)
{
    const char *version = erts_version();
#ifdef FLAT_UNKNOWN /* for tests of blocks on a VM with a known layout */
    version = "";
#endif
    for (size_t i = 0; i < sizeof tested_with / sizeof *tested_with; i++)
        if (strncmp(version, tested_with[i], strlen(tested_with[i])) == 0)
            return true;
    return false;
}

static void destroy_nothing(struct resource *resource)
{
    (void)resource;
}

/* An ordinary reference always has the same mark. A reference to a resource has half of an address there, which is even. */
static bool learn_references(ErlNifEnv *env)
{
    static const struct ops ops = { sizeof ops, destroy_nothing, NULL };
    for (int i = 0; i < 3; i++) {
        const ERL_NIF_TERM *words = layout_words(enif_make_ref(env), TAG_BOXED);
        if (i > 0 && (words[0] != flats.reference || (uint32_t)words[1] != flats.reference_mark))
            return false;
        flats.reference = words[0];
        flats.reference_mark = (uint32_t)words[1];
    }
    struct resource *resource = resource_new(RESOURCE_CURSOR, &ops, sizeof *resource);
    if (!resource)
        return false;
    const ERL_NIF_TERM *words = layout_words(enif_make_resource(env, resource), TAG_BOXED);
    enif_release_resource(resource);
    return layout.kinds[flats.reference & 63] == KIND_SIZED && flats.reference_mark % 2 == 1 && !is_plain(words);
}

static bool comes_back(ErlNifEnv *env, ERL_NIF_TERM term)
{
    struct flat flat;
    struct shapes_made made = { 0 };
    ERL_NIF_TERM copy;
    return make(env, term, &flat) && (copy = flat_term(env, &made, flat.words)) && enif_is_identical(term, copy);
}

static bool learn(ErlNifEnv *env)
{
    ERL_NIF_TERM some[16], map = enif_make_new_map(env), shaped = map, large;
    unsigned count = 0;
    memset(enif_make_new_binary(env, 1000, &large), 'x', 1000);
    for (unsigned bytes = 0; bytes <= 64; bytes += 8) {
        ERL_NIF_TERM binary;
        memset(enif_make_new_binary(env, bytes, &binary), 'b', bytes);
        some[count++] = binary;
    }
    some[count++] = enif_make_double(env, -1.5);
    some[count++] = enif_make_uint64(env, UINT64_MAX);
    some[count++] = enif_make_int64(env, INT64_MIN);
    some[count++] = enif_make_ref(env);
    some[count++] = enif_make_sub_binary(env, large, 3, 500);
    some[count++] = enif_make_tuple(env, 0);
    some[count++] = map;
    ERL_NIF_TERM tuple = enif_make_tuple_from_array(env, some, count);
    ERL_NIF_TERM list = enif_make_list_from_array(env, some, count);
    ERL_NIF_TERM improper = enif_make_list_cell(env, tuple, enif_make_atom(env, "end"));
    for (unsigned i = 0; i < count; i++)
        if (!enif_make_map_put(env, map, enif_make_tuple1(env, enif_make_uint(env, i)), some[i], &map))
            return false;
    if (!enif_make_map_put(env, shaped, atom_ok, improper, &shaped) || !enif_make_map_put(env, shaped, atom_error, map, &shaped))
        return false;
    flat_nil = enif_make_list(env, 0);
    return comes_back(env, tuple) && comes_back(env, list) && comes_back(env, improper) && comes_back(env, map) &&
        comes_back(env, shaped) && comes_back(env, enif_make_list5(env, shaped, map, list, tuple, shaped));
}

void flat_load(ErlNifEnv *env)
{
    flats.reason = FLAT_VERSION;
    if (!is_tested_version())
        return;
    bool learnt = layout.small_map && layout.cells && sizeof(ERL_NIF_TERM) == 8 && learn_references(env) && learn(env);
    flats.reason = learnt ? FLAT_TESTED : FLAT_LAYOUT;
}

ERL_NIF_TERM capture_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    static const char *const reasons[] = { [FLAT_TESTED] = "tested", [FLAT_VERSION] = "version", [FLAT_LAYOUT] = "layout" };
    (void)argc;
    (void)argv;
    return enif_make_tuple3(env, enif_make_atom(env, flat_known() ? "flat" : "blocks"),
        enif_make_atom(env, reasons[flats.reason]), enif_make_string(env, erts_version(), ERL_NIF_LATIN1));
}

ERL_NIF_TERM term_flat(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct flat flat;
    struct shapes_made made = { 0 };
    (void)argc;
    if (!flat_make(env, argv[0], &flat))
        return enif_make_atom(env, "no");
    ERL_NIF_TERM copy = flat_term(env, &made, flat.words);
    return copy ? enif_make_tuple3(env, atom_ok, enif_make_uint64(env, flat.bytes), copy) : answer_error(env, "no_memory");
}
