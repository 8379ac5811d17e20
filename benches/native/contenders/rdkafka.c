/* librdkafka against its own mock broker, in the same process: an event is stored when the broker has acknowledged it. */
#include "../harness/contender.h"
#include "../harness/store.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <sched.h>

static struct bench_setup setup;
static rd_kafka_t *producer;
static rd_kafka_topic_t *topic;
static pthread_t reports;
static int ending;

static void delivered(rd_kafka_t *of, const rd_kafka_message_t *message, void *unused) {
    (void)of, (void)unused;
    if (message->err) return;
    struct bench_batch batch = batch_begin(setup.store);
    batch_event(&batch, message->payload);
    batch_end(&batch);
}

static void *poll_reports(void *unused) {
    while (!__atomic_load_n(&ending, __ATOMIC_ACQUIRE)) rd_kafka_poll(producer, 100);
    return unused;
}

static void quiet(const rd_kafka_t *of, int level, const char *facility, const char *text) { (void)of, (void)level, (void)facility, (void)text; }

static const char *start(const struct bench_setup *given) {
    static const char *const options[][2] = {
        {"test.mock.num.brokers", "1"}, {"linger.ms", "1"}, {"acks", "1"}, {"queue.buffering.max.messages", "1000000"},
        {"batch.num.messages", "10000"}, {"statistics.interval.ms", "0"},
    };
    static char error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    setup = *given;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (rd_kafka_conf_set(conf, options[i][0], options[i][1], error, sizeof error) != RD_KAFKA_CONF_OK) return error;
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_log_cb(conf, quiet);
    if (!(producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error))) return error;
    if (!(topic = rd_kafka_topic_new(producer, "bench", NULL))) return "the topic cannot be created";
    return pthread_create(&reports, NULL, poll_reports, NULL) ? "a thread cannot be created" : NULL;
}

static void *open_topic(uint32_t thread) { return (void)thread, topic; }

static void capture(void *handle, const struct bench_burst *burst) {
    for (uint32_t i = 0; i < burst->count; i++) {
        void *payload = (void *)(burst->payloads + (size_t)(i & burst->mask) * burst->stride);
        while (rd_kafka_produce(handle, 0, RD_KAFKA_MSG_F_COPY, payload, burst->payload, NULL, 0, NULL)) sched_yield();
    }
}

static void close_topic(void *handle) { (void)handle; }

static const char *stop(void) {
    if (rd_kafka_flush(producer, 20000)) return "not everything was acknowledged within 20 s";
    __atomic_store_n(&ending, 1, __ATOMIC_RELEASE);
    pthread_join(reports, NULL);
    return NULL;
}

const struct contender *contenders(size_t *count) {
    static const struct contender all[] = {
        {"librdkafka, mock broker", "linger 1 ms, acks 1, payloads copied; stored when acknowledged", start, open_topic, capture, close_topic,
         stop, NULL, 0, 0},
    };
    *count = 1;
    return all;
}
