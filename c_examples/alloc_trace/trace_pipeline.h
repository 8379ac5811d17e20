/* The pipeline of this process image: its start and its end. */
#ifndef ALLOC_TRACE_TRACE_PIPELINE_H
#define ALLOC_TRACE_TRACE_PIPELINE_H

#include <capture_pipeline.h>
#include <stdbool.h>
#include <stddef.h>

/* Starts the pipeline on the storage of files.c. The hooks run on each of its threads. false: problem holds the reason. */
bool trace_pipeline_start(void (*thread_begins)(void *), void (*thread_ends)(void *), char *problem, size_t problem_size);

/* Stores everything captured so far. Returns PIPELINE_OK or why not, after at most ALLOC_TRACE_EXIT_MS. */
int32_t trace_pipeline_flush(pipeline_t *p);
int32_t trace_pipeline_close(pipeline_t *p);
/* With ALLOC_TRACE_LAST: writes the last calls to the journal, without ending anything. */
int32_t trace_pipeline_snapshot(pipeline_t *p);

#endif
