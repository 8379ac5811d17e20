/* What a library that extends this one calls: it starts a thread as the library starts its own, logs where the library logs, and explains
 * the status that it returns. */
#include "../check.h"
#include <signal.h>
#include <sys/prctl.h>

static int word;
static atomic_int started, stopped, body_calls, ended_between;
static __thread bool between_hooks;

static void on_start(void *user_data)
{
    CHECK(user_data == &word);
    between_hooks = true;
    started++;
}

static void on_stop(void *user_data)
{
    CHECK(user_data == &word);
    CHECK(between_hooks);
    between_hooks = false;
    stopped++;
}

static void body(void *argument)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    static const int asynchronous[] = {SIGTERM, SIGINT, SIGUSR1, SIGCHLD, SIGPIPE, SIGXFSZ};
    char name[16] = "";
    sigset_t mask;
    size_t i;
    CHECK(argument == &word);
    CHECK_U64(prctl(PR_GET_NAME, name), 0);
    CHECK(strcmp(name, "a-name-of-more-") == 0);
    CHECK_U64(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    for (i = 0; i < sizeof faults / sizeof *faults; i++)
        CHECK(!sigismember(&mask, faults[i]));
    for (i = 0; i < sizeof asynchronous / sizeof *asynchronous; i++)
        CHECK(sigismember(&mask, asynchronous[i]));
    ended_between += between_hooks;
    body_calls++;
}

static void threads(void)
{
    sigset_t before, after;
    CHECK_STATUS(pipeline_thread_hooks(on_start, on_stop, &word), PIPELINE_OK);
    CHECK_FAILS(pipeline_thread_start(NULL, body, &word), PIPELINE_ERR_NULL, "name");
    CHECK_FAILS(pipeline_thread_start("a", NULL, &word), PIPELINE_ERR_NULL, "body");
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    CHECK_STATUS(pipeline_thread_start("a-name-of-more-than-15-bytes", body, &word), PIPELINE_OK);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    CHECK(sigismember(&before, SIGTERM) == sigismember(&after, SIGTERM));
    WAIT_FOR(stopped == 1);
    CHECK_U64(started, 1);
    CHECK_U64(body_calls, 1);
    CHECK_U64(ended_between, 1);
    CHECK_STATUS(pipeline_thread_hooks(NULL, NULL, NULL), PIPELINE_OK);
    CHECK_STATUS(pipeline_thread_start("a-name-of-more-than-15-bytes", body, &word), PIPELINE_OK);
    WAIT_FOR(body_calls == 2);
    CHECK_U64(started, 1);
}

static char heard[2000];
static int heard_level, heard_count;

static void hear(void *user_data, int32_t level, const char *message)
{
    CHECK(user_data == &word);
    heard_level = level;
    heard_count++;
    snprintf(heard, sizeof heard, "%s", message);
}

static void messages(void)
{
    char text[3000];
    CHECK_STATUS(pipeline_log(PIPELINE_LOG_ERROR, "nobody listens"), PIPELINE_OK);
    CHECK_STATUS(pipeline_log_callback(hear, &word, PIPELINE_LOG_WARN), PIPELINE_OK);
    CHECK_U64(heard_count, 0);
    CHECK_STATUS(pipeline_log(PIPELINE_LOG_WARN, "the server is gone %s %d"), PIPELINE_OK);
    CHECK(strcmp(heard, "the server is gone %s %d") == 0);
    CHECK_U64(heard_level, PIPELINE_LOG_WARN);
    CHECK_STATUS(pipeline_log(PIPELINE_LOG_INFO, "not wanted"), PIPELINE_OK);
    CHECK_U64(heard_count, 1);
    CHECK_STATUS(pipeline_log(PIPELINE_LOG_ERROR, "a\xff" "b"), PIPELINE_OK);
    CHECK(strcmp(heard, "a\xef\xbf\xbd" "b") == 0);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK_STATUS(pipeline_log(PIPELINE_LOG_ERROR, text), PIPELINE_OK);
    CHECK_U64(strlen(heard), 1023);
    CHECK_FAILS(pipeline_log(0, "a"), PIPELINE_ERR_INVALID, "level: 1 to 4 allowed, 0 given");
    CHECK_FAILS(pipeline_log(5, "a"), PIPELINE_ERR_INVALID, "5");
    CHECK_FAILS(pipeline_log(PIPELINE_LOG_ERROR, NULL), PIPELINE_ERR_NULL, "message");
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK);
}

static void *another_thread(void *unused)
{
    (void)unused;
    CHECK_STATUS(pipeline_set_last_error("of the other thread"), PIPELINE_OK);
    CHECK(strcmp(pipeline_last_error(), "of the other thread") == 0);
    return NULL;
}

static void explanations(void)
{
    char text[600];
    CHECK_STATUS(pipeline_set_last_error("servers: no address given"), PIPELINE_OK);
    CHECK(strcmp(pipeline_last_error(), "servers: no address given") == 0);
    pthread_join(start_thread(another_thread, NULL), NULL);
    CHECK(strcmp(pipeline_last_error(), "servers: no address given") == 0);
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK_STATUS(pipeline_set_last_error(text), PIPELINE_OK);
    CHECK_U64(strlen(pipeline_last_error()), 511);
    CHECK_STATUS(pipeline_set_last_error(""), PIPELINE_OK);
    CHECK(strcmp(pipeline_last_error(), "") == 0);
    CHECK_FAILS(pipeline_set_last_error(NULL), PIPELINE_ERR_NULL, "detail");
}

int main(void)
{
    threads();
    messages();
    explanations();
    return SUMMARY();
}
