/* Texts and hooks: the version, a sentence for each status, the last error of each thread, the log callback, and the hooks that run in
 * the library's threads. */
#include "../recorder.h"

static const int32_t statuses[] = {
    PIPELINE_OK,           PIPELINE_SAMPLED,           PIPELINE_DROPPED_BY_RULE, PIPELINE_END,          PIPELINE_ERR_NULL,     PIPELINE_ERR_INVALID,
    PIPELINE_ERR_VERSION,  PIPELINE_ERR_FULL,          PIPELINE_ERR_TOO_LARGE, PIPELINE_ERR_CLOSED,
    PIPELINE_ERR_BUSY,     PIPELINE_ERR_NO_RING,       PIPELINE_ERR_FORKED,   PIPELINE_ERR_TIMEOUT,
    PIPELINE_ERR_LIMIT,    PIPELINE_ERR_WOULD_DEADLOCK, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_SYSTEM,
    PIPELINE_ERR_UNKNOWN_TOKEN, PIPELINE_ERR_FIXED,    PIPELINE_ERR_STORAGE,  PIPELINE_ERR_INTERNAL,
    PIPELINE_ERR_UNSUPPORTED, PIPELINE_ERR_NOT_FOUND,  PIPELINE_ERR_STATE,
};
#define STATUSES (sizeof statuses / sizeof *statuses)

static void messages(void)
{
    static const int32_t unknown[] = {4, 1000, -1000, INT32_MAX, INT32_MIN};
    size_t i, j;
    const char *none = pipeline_status_message(INT32_MIN);
    CHECK(none != NULL && *none != '\0');
    for (i = 0; i < STATUSES; i++) {
        const char *text = pipeline_status_message(statuses[i]);
        CHECK(text != NULL && *text != '\0');
        CHECK(text == pipeline_status_message(statuses[i]));
        CHECK(strcmp(text, none) != 0);
        for (j = 0; j < i; j++) {
            CHECK(strcmp(text, pipeline_status_message(statuses[j])) != 0);
            CHECK(statuses[i] != statuses[j]);
        }
    }
    for (i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK(strcmp(pipeline_status_message(unknown[i]), none) == 0);
}

static void version(void)
{
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", PIPELINE_VERSION / 1000000, PIPELINE_VERSION / 1000 % 1000,
             PIPELINE_VERSION % 1000);
    CHECK_U64(pipeline_version(), PIPELINE_VERSION);
    CHECK(strcmp(pipeline_version_string(), text) == 0);
}

static void *another_thread(void *unused)
{
    (void)unused;
    CHECK(strcmp(pipeline_last_error(), "") == 0);
    CHECK_FAILS(pipeline_scale(NULL, 1), PIPELINE_ERR_NULL, "pipeline");
    CHECK_FAILS(pipeline_config_init(NULL, 0), PIPELINE_ERR_NULL, "config");
    return NULL;
}

static void last_error(void)
{
    char kept[600];
    CHECK(pipeline_last_error() != NULL);
    CHECK_FAILS(pipeline_batch_complete(UINT64_MAX, 0), PIPELINE_ERR_UNKNOWN_TOKEN, "18446744073709551615");
    snprintf(kept, sizeof kept, "%s", pipeline_last_error());
    pthread_join(start_thread(another_thread, NULL), NULL);
    CHECK(strcmp(pipeline_last_error(), kept) == 0);
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, 0), PIPELINE_OK); /* a success leaves the last error as it is */
    CHECK(strcmp(pipeline_last_error(), kept) == 0);
}

/* ---- the log ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char heard[20][300];
static int heard_levels[20];
static int heard_count;
static int word;

static void hear(void *user_data, int32_t level, const char *message)
{
    CHECK(user_data == &word);
    CHECK(level >= PIPELINE_LOG_ERROR && level <= PIPELINE_LOG_DEBUG);
    pthread_mutex_lock(&mutex);
    if (heard_count < 20) {
        snprintf(heard[heard_count], sizeof heard[0], "%s", message);
        heard_levels[heard_count++] = level;
    }
    pthread_mutex_unlock(&mutex);
}

static int heard_with(const char *part)
{
    int i, count = 0;
    pthread_mutex_lock(&mutex);
    for (i = 0; i < heard_count; i++)
        count += strstr(heard[i], part) != NULL;
    pthread_mutex_unlock(&mutex);
    return count;
}

static void one_failing_open(const char *name)
{
    recorder_t *rec = recorder_new();
    pipeline_storage_t s;
    pipeline_config_t c = config_defaults();
    pipeline_t *p;
    s = recorder_storage(rec);
    s.open_writer = recorder_open;
    s.close_writer = recorder_close;
    rec->open_failures = 1;
    c.name = name;
    p = start_pipeline(&c, &s);
    capture_numbers(p, 0, 1);
    END(p);
    recorder_free(rec);
}

static void log_callback(void)
{
    int i;
    CHECK_FAILS(pipeline_log_callback(hear, &word, 0), PIPELINE_ERR_INVALID, "level");
    CHECK_FAILS(pipeline_log_callback(hear, &word, 5), PIPELINE_ERR_INVALID, "5");
    CHECK_FAILS(pipeline_log_callback(hear, &word, -1), PIPELINE_ERR_INVALID, "-1");
    one_failing_open("unheard");
    CHECK_U64(heard_count, 0);
    CHECK_STATUS(pipeline_log_callback(hear, &word, PIPELINE_LOG_WARN), PIPELINE_OK);
    one_failing_open("nautilus");
    CHECK(heard_with("open_writer") == 1);
    CHECK(heard_with("nautilus") == heard_with(""));
    for (i = 0; i < heard_count; i++)
        CHECK(heard_levels[i] <= PIPELINE_LOG_WARN);
    heard_count = 0;
    CHECK_STATUS(pipeline_log_callback(hear, &word, PIPELINE_LOG_DEBUG), PIPELINE_OK);
    one_failing_open("chatty");
    CHECK(heard_with("") > 1);
    heard_count = 0;
    CHECK_STATUS(pipeline_log_callback(hear, &word, PIPELINE_LOG_ERROR), PIPELINE_OK);
    one_failing_open("quiet");
    CHECK_U64(heard_count, 0);
    CHECK_STATUS(pipeline_log_callback(NULL, NULL, 99), PIPELINE_OK);
    one_failing_open("silent");
    CHECK_U64(heard_count, 0);
}

/* ---- hooks of threads ---- */

static atomic_int started, stopped, wrong_thread;
static pthread_t main_thread;
static void on_start(void *user_data)
{
    CHECK(user_data == &word);
    wrong_thread += pthread_equal(pthread_self(), main_thread) != 0;
    started++;
}
static void on_stop(void *user_data)
{
    CHECK(user_data == &word);
    stopped++;
}

static void thread_hooks(void)
{
    static recorder_t rec = RECORDER_INIT;
    pipeline_storage_t s = recorder_storage(&rec);
    pipeline_t *p;
    main_thread = pthread_self();
    CHECK_STATUS(pipeline_thread_hooks(on_start, on_stop, &word), PIPELINE_OK);
    p = start_pipeline(NULL, &s);
    CHECK_STATUS(pipeline_scale(p, 4), PIPELINE_OK);
    capture_numbers(p, 0, 10);
    WAIT_FOR(started == 6); /* four writers, the supervisor, and the thread on which pipeline_start did its work */
    END(p);
    WAIT_FOR(stopped == 6);
    CHECK_U64(wrong_thread, 0);
    CHECK_STATUS(pipeline_thread_hooks(NULL, NULL, NULL), PIPELINE_OK);
    p = start_pipeline(NULL, &s);
    END(p);
    CHECK_U64(started, 6);
}

int main(void)
{
    thread_hooks(); /* first: a thread that began before the hooks were set still calls the second hook */
    messages();
    version();
    last_error();
    log_callback();
    return SUMMARY();
}
