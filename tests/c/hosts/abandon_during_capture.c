/* A thread stops in the middle of a capture. pipeline_abandon does not wait for it, pipeline_destroy returns BUSY, and the ring's
 * memory stays until the capture is done. Then its event is released like any other, and the storage is destroyed.
 *
 * The capture copies its payload from a page that cannot be read; the handler of that fault holds the thread. */
#include "../recorder.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>

static char *page;
static sem_t stopped, go_on;

static void on_fault(int signal)
{
    (void)signal;
    sem_post(&stopped);
    while (sem_wait(&go_on) != 0)
        ;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void *capture(void *producer)
{
    CHECK_STATUS(pipeline_producer_capture((pipeline_producer_t *)producer, 1, page, 100), PIPELINE_OK);
    return NULL;
}

static void stopped_in_the_middle(recorder_t *rec, bool abandoned)
{
    pipeline_storage_t s = recorder_storage(rec);
    pipeline_producer_t *producer = NULL;
    pipeline_t *p;
    pthread_t thread;
    uint64_t until;
    s.release = recorder_release;
    p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_producer_open(p, &producer), PIPELINE_OK);
    CHECK_OR_STOP(mprotect(page, 4096, PROT_NONE) == 0);
    thread = start_thread(capture, producer);
    while (sem_wait(&stopped) != 0)
        ;
    if (abandoned) {
        CHECK_STATUS(pipeline_abandon(p), PIPELINE_OK);
        /* Time is the subject here: nothing may be freed while the capture lasts, and an abandoned pipeline shows no state to wait for. */
        until = now_ms() + 300;
        while (now_ms() < until)
            pause_a_little();
    } else {
        CHECK_FAILS(pipeline_close(p, 50), PIPELINE_ERR_TIMEOUT, "");
        CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "a capture is under way");
        WAIT_FOR(metrics_of(p).writers_live == 0);
        CHECK_FAILS(pipeline_destroy(p), PIPELINE_ERR_BUSY, "a capture is under way");
    }
    CHECK_U64(RECORDED(rec, destroy_calls), 0);
    CHECK_U64(RECORDED(rec, released.count), 0);
    sem_post(&go_on);
    pthread_join(thread, NULL);
    if (!abandoned) {
        pipeline_metrics_t m = metrics_of(p);
        CHECK_U64(m.captured, 1);
        CHECK_U64(m.left, 1);
        CHECK_LEDGER(p);
        DESTROY_SOON(p); /* BUSY until the last writer's thread has ended */
    }
    WAIT_FOR(RECORDED(rec, destroy_calls) == 1);
    CHECK_U64(RECORDED(rec, released.count), 1);
    CHECK_STATUS(pipeline_producer_capture(producer, 1, "x", 1), PIPELINE_ERR_CLOSED);
    CHECK_STATUS(pipeline_producer_close(producer), PIPELINE_OK);
}

int main(void)
{
    static recorder_t first = RECORDER_INIT, second = RECORDER_INIT;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_fault;
    CHECK_OR_STOP(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK_OR_STOP(sem_init(&stopped, 0, 0) == 0 && sem_init(&go_on, 0, 0) == 0);
    page = (char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_OR_STOP(page != MAP_FAILED);
    stopped_in_the_middle(&first, true);
    stopped_in_the_middle(&second, false);
    munmap(page, 4096);
    return SUMMARY();
}
