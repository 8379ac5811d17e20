/* Names of kinds reach the storages that ask for them, in batches of their own and outside of all counts. Invalid names are refused. */
#include "../recorder.h"

static uint64_t names_seen, threads_seen;
static int32_t names(recorder_t *r, const pipeline_batch_t *batch)
{
    size_t i, meta = 0;
    (void)r;
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *e = PIPELINE_BATCH_EVENT(batch, i);
        meta += e->kind >= PIPELINE_KIND_RESERVED;
        if (e->kind == PIPELINE_KIND_KIND_NAME) {
            char expected[32];
            snprintf(expected, sizeof expected, "kind number %u", (unsigned)e->node_id);
            CHECK(e->len == strlen(expected) && memcmp(e->data, expected, e->len) == 0);
            names_seen++;
        }
        if (e->kind == PIPELINE_KIND_THREAD) {
            CHECK(e->correlation_id != 0);
            threads_seen++;
        }
    }
    CHECK(meta == 0 || meta == batch->count);
    return PIPELINE_STORE_OK;
}

static void names_of_kinds(uint32_t flags, uint64_t expected)
{
    static char long_name[300];
    recorder_t *rec = recorder_new();
    pipeline_storage_t s;
    pipeline_t *p;
    uint32_t k;
    char name[32];
    names_seen = threads_seen = 0;
    s = recorder_storage(rec);
    s.flags = flags;
    s.release = recorder_release;
    rec->answer = names;
    p = start_pipeline(NULL, &s);
    for (k = 0; k < 20; k++) {
        snprintf(name, sizeof name, "kind number %u", k);
        CHECK_STATUS(pipeline_kind_name(p, k, name), PIPELINE_OK);
        CHECK_STATUS(pipeline_capture(p, k, &k, sizeof k), PIPELINE_OK);
    }
    CHECK_FAILS(pipeline_kind_name(p, PIPELINE_KIND_RESERVED, "no"), PIPELINE_ERR_INVALID, "kind");
    CHECK_FAILS(pipeline_kind_name(p, UINT32_MAX, "no"), PIPELINE_ERR_INVALID, "kind");
    memset(long_name, 'x', 256);
    CHECK_FAILS(pipeline_kind_name(p, 1, long_name), PIPELINE_ERR_INVALID, "255");
    CHECK_HAS(pipeline_last_error(), "256");
    CHECK_STATUS(pipeline_flush(p, PATIENCE_MS), PIPELINE_OK);
    WAIT_FOR(names_seen == expected);
    /* One for each of the two ring buffers of the thread. */
    CHECK_U64(threads_seen, flags ? 2 : 0);
    CHECK_U64(metrics_of(p).offered, 20);
    CHECK_U64(metrics_of(p).stored, 20);
    CHECK_U64(metrics_of(p).bytes_captured, 80);
    END(p);
    CHECK_U64(rec->released.count, 20);
    recorder_free(rec);
}

int main(void)
{
    names_of_kinds(PIPELINE_STORAGE_META, 20);
    names_of_kinds(0, 0);
    return SUMMARY();
}
