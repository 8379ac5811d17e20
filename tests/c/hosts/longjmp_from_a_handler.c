/* A signal handler interrupts a capture and leaves it by siglongjmp, which is forbidden. From then on the ring of that thread returns
 * BUSY. All other events are stored, pipeline_close ends, even without a timeout, and reports it, and the ledger balances. The ring is
 * given back when the thread ends, and then the pipeline can be destroyed. */
#include "../recorder.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static char *page;
static sigjmp_buf back;
static recorder_t rec = RECORDER_INIT;
static pipeline_t *p;
static pthread_barrier_t jumped, closed;

static void on_fault(int signal)
{
    (void)signal;
    siglongjmp(back, 1);
}

static void *jumps(void *unused)
{
    (void)unused;
    capture_numbers(p, 0, 10);
    if (sigsetjmp(back, 1) == 0) {
        (void)pipeline_capture(p, 1, page, 100);
        CHECK(!"the payload cannot be read");
    }
    CHECK_STATUS(capture_number(p, 99), PIPELINE_ERR_BUSY);
    pthread_barrier_wait(&jumped);
    pthread_barrier_wait(&closed);
    return NULL;
}

int main(void)
{
    pipeline_storage_t s = recorder_storage(&rec);
    struct sigaction action;
    pipeline_metrics_t m;
    pthread_t thread;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_fault;
    CHECK_OR_STOP(sigaction(SIGSEGV, &action, NULL) == 0);
    page = (char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(page != MAP_FAILED && mprotect(page, 4096, PROT_NONE) == 0);
    pthread_barrier_init(&jumped, NULL, 2);
    pthread_barrier_init(&closed, NULL, 2);
    p = start_pipeline(NULL, &s);
    thread = start_thread(jumps, NULL);
    pthread_barrier_wait(&jumped);
    capture_numbers(p, 10, 100);
    alarm(60);
    CHECK_FAILS(pipeline_close(p, -1), PIPELINE_ERR_TIMEOUT, "a capture");
    CHECK_HAS(pipeline_last_error(), "siglongjmp");
    m = metrics_of(p);
    CHECK_U64(m.stored, 100);
    CHECK_U64(m.captured, 100);
    CHECK_U64(m.refused_busy, 1);
    CHECK_LEDGER(p);
    CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "a capture is under way");
    pthread_barrier_wait(&closed);
    pthread_join(thread, NULL);
    CHECK_STATUS(pipeline_close(p, PATIENCE_MS), PIPELINE_OK);
    CHECK_LEDGER(p);
    CHECK_STATUS(pipeline_destroy(p), PIPELINE_OK);
    CHECK_VALUES(&rec.stored, 0, 100);
    munmap(page, 4096);
    return SUMMARY();
}
