/* A timeline for ui.perfetto.dev, written by the program itself: spans of requests on their threads, and a counter of those that wait. Open one of the files
 * that it names in the browser, or in Perfetto's trace_processor. Here they are read back as far as to count their packets.
 *
 *     cc timeline.c $(pkg-config --cflags --libs capture_pipeline) -pthread -o timeline && ./timeline
 *     ./timeline traces      keeps the files in the directory `traces`
 */
#define _XOPEN_SOURCE 700
#include <capture_pipeline.h>

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KIND_BEGIN = 1, KIND_END = 2, KIND_WAITING = 3 };
enum { THREADS = 3, REQUESTS = 200 };

struct request {
    uint64_t number;
    char path[16];
};
static const pipeline_field_t request_fields[] = {
    PIPELINE_FIELD(struct request, number, PIPELINE_TYPE_U64),
    PIPELINE_FIELD(struct request, path, PIPELINE_TYPE_STRING),
};
struct waiting {
    uint64_t requests;
};
static const pipeline_field_t waiting_fields[] = { PIPELINE_FIELD(struct waiting, requests, PIPELINE_TYPE_U64) };

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, pipeline_last_error());
    return 1;
}

/* A kind that begins a span and one that ends it name each other. */
static int define_kinds(pipeline_t *pipeline)
{
    pipeline_kind_definition_t d;
    uint32_t kind;
    for (kind = KIND_BEGIN; kind <= KIND_END; kind++) {
        pipeline_kind_definition_init(&d, sizeof d);
        d.kind = kind;
        d.name = kind == KIND_BEGIN ? "request" : "response";
        d.role = kind == KIND_BEGIN ? PIPELINE_ROLE_BEGIN : PIPELINE_ROLE_END;
        d.pairs_with = KIND_BEGIN + KIND_END - kind;
        PIPELINE_KIND_FIELDS(&d, request_fields);
        d.payload_size = sizeof(struct request);
        if (pipeline_kind_define(pipeline, &d) < 0)
            return 0;
    }
    pipeline_kind_definition_init(&d, sizeof d);
    d.kind = KIND_WAITING;
    d.name = "waiting";
    d.role = PIPELINE_ROLE_COUNTER;
    PIPELINE_KIND_FIELDS(&d, waiting_fields);
    d.payload_size = sizeof(struct waiting);
    return pipeline_kind_define(pipeline, &d) >= 0;
}

static void *serve(void *argument)
{
    pipeline_t *pipeline = argument;
    struct request request = { 0, "/index" };
    struct waiting waiting;
    for (request.number = 1; request.number <= REQUESTS; request.number++) {
        pipeline_capture(pipeline, KIND_BEGIN, &request, sizeof request);
        waiting.requests = REQUESTS - request.number;
        pipeline_capture(pipeline, KIND_WAITING, &waiting, sizeof waiting);
        pipeline_capture(pipeline, KIND_END, &request, sizeof request);
    }
    return NULL;
}

/* The packets of a trace: each is a field 1 with its length, which takes one byte or more. */
static long packets_of(const char *path)
{
    long packets = 0;
    FILE *file = fopen(path, "rb");
    int byte, shift;
    while (file != NULL && (byte = fgetc(file)) != EOF) {
        unsigned long length = 0;
        if (byte != 0x0a)
            return -1;
        for (shift = 0; (byte = fgetc(file)) != EOF; shift += 7) {
            length |= (unsigned long)(byte & 0x7f) << shift;
            if (byte < 0x80)
                break;
        }
        if (fseek(file, (long)length, SEEK_CUR) != 0)
            return -1;
        packets++;
    }
    if (file != NULL)
        fclose(file);
    return packets;
}

static long look_at(const char *directory, int keep)
{
    struct dirent *entry;
    char path[600];
    long packets = 0;
    DIR *all = opendir(directory);
    while (all != NULL && (entry = readdir(all)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (strstr(entry->d_name, ".perfetto-trace") != NULL) {
            packets += packets_of(path);
            if (keep)
                printf("open %s in https://ui.perfetto.dev\n", path);
        }
        if (!keep)
            unlink(path);
    }
    if (all != NULL)
        closedir(all);
    if (!keep)
        rmdir(directory);
    return packets;
}

int main(int argc, char **argv)
{
    char made[] = "timeline-XXXXXX";
    const char *directory = argc > 1 ? argv[1] : mkdtemp(made);
    pipeline_storage_t storage;
    pipeline_t *pipeline;
    pipeline_metrics_t metrics;
    pthread_t threads[THREADS];
    long packets, slices = 2L * THREADS * REQUESTS;
    int n;

    if (directory == NULL || pipeline_storage_perfetto(directory, NULL, sizeof storage, &storage) < 0)
        return fail("pipeline_storage_perfetto");
    if (pipeline_start(NULL, &storage, &pipeline) < 0)
        return fail("pipeline_start");
    if (!define_kinds(pipeline))
        return fail("pipeline_kind_define");
    for (n = 0; n < THREADS; n++)
        pthread_create(&threads[n], NULL, serve, pipeline);
    for (n = 0; n < THREADS; n++)
        pthread_join(threads[n], NULL);
    if (pipeline_close(pipeline, 10000) < 0)
        return fail("pipeline_close");
    memset(&metrics, 0, sizeof metrics);
    metrics.struct_size = sizeof metrics;
    pipeline_metrics(pipeline, &metrics);
    pipeline_destroy(pipeline);
    packets = look_at(directory, argc > 1);
    printf("%ld events stored, in %ld packets: %d spans on %d threads, and a counter\n", (long)metrics.stored, packets,
           THREADS * REQUESTS, THREADS);
    return !((long)metrics.stored == slices + THREADS * REQUESTS && packets >= slices + THREADS * REQUESTS);
}
