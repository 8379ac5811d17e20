/* A storage on Kafka, with your own librdkafka: an event is stored when the brokers have acknowledged its message.
 *
 *   kafka                    against librdkafka's mock cluster in this process; its broker is away for a moment
 *   kafka BROKERS TOPIC      against a real cluster, with a topic that exists
 *
 * What makes it safe:
 * - The producer is idempotent: librdkafka's own retries leave no duplicates and keep the order.
 * - The payload is not copied. It stays valid until the batch is completed, and that is after the last report of its messages.
 * - A message that fails is not lost: the batch comes again, from its first event that is not stored on. Events behind that one may then
 *   be in the topic twice. The header "capture-id" is the event's identity, so that a consumer can tell.
 * - A message that is too large is rejected alone. (The pipeline's dead letter gets it, if there is one.)
 * - If the producer's queue is full, the batch comes again later, and events wait in the ring buffers.
 *
 * The key of a message is the event's ring, so that the events of one thread are in one partition.
 *
 * Needs: <librdkafka/rdkafka.h> (Debian: librdkafka-dev)
 * Build flags: -lrdkafka */
#include <capture_pipeline.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 2, EVENTS_EACH = 20000, EVENTS = THREADS * EVENTS_EACH, PATIENCE_S = 60 };

/* What became of one message. */
enum { WAITING, STORED, TOO_LARGE, FAILED };

/* A batch whose messages are on their way. */
typedef struct {
    const pipeline_batch_t *batch;
    atomic_size_t open;     /* messages without a report, and one while store still produces */
    unsigned char became[]; /* for each event */
} sending_t;

typedef struct {
    sending_t *sending;
    unsigned char *became;
} opaque_t;

typedef struct {
    rd_kafka_t *producer;
    const char *topic;
    pthread_t reports;
    atomic_int ending;
    atomic_ulong messages, failures, batches_again;
} kafka_t;

static kafka_t kafka;

/* Answers for the batch, if nothing of it is open any more. */
static void one_less(sending_t *sending)
{
    const pipeline_batch_t *batch = sending->batch;
    size_t i, stored = 0;
    int32_t result = PIPELINE_STORE_OK;
    if (atomic_fetch_sub(&sending->open, 1) != 1)
        return;
    for (i = 0; i < batch->count; i++)
        if (sending->became[i] == TOO_LARGE)
            pipeline_batch_set_rejected(batch, i);
    while (stored < batch->count && sending->became[stored] != WAITING && sending->became[stored] != FAILED)
        stored++;
    if (stored < batch->count) {
        result = PIPELINE_STORE_RETRY;
        atomic_fetch_add(&kafka.batches_again, 1);
    }
    pipeline_batch_complete_at(batch->token, stored, result);
    free(sending);
}

static unsigned char fate_of(rd_kafka_resp_err_t error)
{
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        return STORED;
    return error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? TOO_LARGE : FAILED;
}

/* librdkafka's report on a message, on the thread that polls. */
static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *unused)
{
    opaque_t *opaque = message->_private;
    sending_t *sending = opaque->sending;
    (void)producer, (void)unused;
    *opaque->became = fate_of(message->err);
    atomic_fetch_add(message->err ? &kafka.failures : &kafka.messages, 1);
    free(opaque);
    one_less(sending);
}

static int32_t store(void *user_data, const pipeline_batch_t *batch)
{
    sending_t *sending = calloc(1, sizeof *sending + batch->count);
    size_t i;
    (void)user_data;
    if (sending == NULL)
        return PIPELINE_STORE_RETRY;
    sending->batch = batch;
    atomic_init(&sending->open, 1);
    for (i = 0; i < batch->count; i++) {
        const pipeline_event_view_t *event = PIPELINE_BATCH_EVENT(batch, i);
        const uint64_t key[2] = {batch->generation, event->ring_id};
        opaque_t *opaque = malloc(sizeof *opaque);
        rd_kafka_resp_err_t error;
        char id[64];
        if (opaque == NULL)
            break;
        opaque->sending = sending;
        opaque->became = &sending->became[i];
        snprintf(id, sizeof id, "%016llx-%llx-%llx", (unsigned long long)batch->generation, (unsigned long long)event->ring_id,
                 (unsigned long long)event->sequence);
        atomic_fetch_add(&sending->open, 1);
        error = rd_kafka_producev(kafka.producer, RD_KAFKA_V_TOPIC(kafka.topic), RD_KAFKA_V_KEY(key, sizeof key),
                                  RD_KAFKA_V_VALUE((void *)event->data, event->len), RD_KAFKA_V_HEADER("capture-id", id, -1),
                                  RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            sending->became[i] = fate_of(error);
            atomic_fetch_sub(&sending->open, 1); /* not the last one: store's own is still there */
            free(opaque);
            if (sending->became[i] == FAILED)
                break; /* the queue is full: the rest comes again as well */
        }
    }
    one_less(sending);
    return PIPELINE_STORE_PENDING;
}

static void *poll_reports(void *unused)
{
    while (!atomic_load(&kafka.ending))
        rd_kafka_poll(kafka.producer, 100);
    return unused;
}

static void quiet(const rd_kafka_t *of, int level, const char *facility, const char *text)
{
    (void)of, (void)level, (void)facility, (void)text;
}

/* Without librdkafka's messages about the broker that is away. A real program logs them. */
static rd_kafka_conf_t *quiet_conf(void)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, quiet);
    return conf;
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *brokers)
{
    static const char *const of_producers[][2] = {
        {"enable.idempotence", "true"},
        {"linger.ms", "5"},
        /* Less than storage_deadline_ms: a batch has its answer before it counts as late. Shorter than the broker is away below, so that
         * batches do come again. */
        {"message.timeout.ms", "1000"},
        {"reconnect.backoff.max.ms", "500"},
        /* Usually 1 MB; here so little that one event of the example is too large. */
        {"message.max.bytes", "4000"},
    };
    rd_kafka_conf_t *conf = quiet_conf();
    rd_kafka_t *made;
    char error[256] = "";
    int good = rd_kafka_conf_set(conf, "bootstrap.servers", brokers, error, sizeof error) == RD_KAFKA_CONF_OK;
    size_t i;
    if (type == RD_KAFKA_PRODUCER) {
        for (i = 0; good && i < sizeof of_producers / sizeof *of_producers; i++)
            good = rd_kafka_conf_set(conf, of_producers[i][0], of_producers[i][1], error, sizeof error) == RD_KAFKA_CONF_OK;
        rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    } else {
        good = good && rd_kafka_conf_set(conf, "group.id", "check", error, sizeof error) == RD_KAFKA_CONF_OK &&
               rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", error, sizeof error) == RD_KAFKA_CONF_OK;
    }
    made = good ? rd_kafka_new(type, conf, error, sizeof error) : NULL;
    if (made == NULL) {
        fprintf(stderr, "kafka: %s\n", error);
        exit(1);
    }
    return made;
}

static void sleep_ms(long ms)
{
    struct timespec t;
    t.tv_sec = ms / 1000;
    t.tv_nsec = ms % 1000 * 1000000;
    nanosleep(&t, NULL);
}

typedef struct {
    pipeline_t *pipeline;
    unsigned first;
} capturing_t;

static void *capture(void *arg)
{
    capturing_t *own = arg;
    unsigned number;
    for (number = own->first; number < own->first + EVENTS_EACH; number++)
        if (pipeline_capture(own->pipeline, 1, &number, sizeof number) != PIPELINE_OK)
            fprintf(stderr, "event %u: %s\n", number, pipeline_last_error());
    return NULL;
}

/* Reads the topic, and checks that each event is in it: how often, and always under the same identity. Answers how many events are missing. */
static unsigned long check(const char *brokers, const char *topic, unsigned long *twice)
{
    static char ids[EVENTS][64];
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, brokers);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    time_t until = time(NULL) + PATIENCE_S;
    unsigned long missing = EVENTS, wrong = 0;
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(consumer, topics);
    while (missing > 0 && time(NULL) < until) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 200);
        rd_kafka_headers_t *headers;
        const void *id;
        size_t len;
        unsigned number;
        if (message == NULL)
            continue;
        if (message->err == 0 && message->len == sizeof number && rd_kafka_message_headers(message, &headers) == 0 &&
            rd_kafka_header_get_last(headers, "capture-id", &id, &len) == 0 && len < sizeof *ids) {
            memcpy(&number, message->payload, sizeof number);
            if (number >= EVENTS) {
                wrong++;
            } else if (ids[number][0] == '\0') {
                memcpy(ids[number], id, len);
                missing--;
            } else {
                *twice += 1;
                wrong += strlen(ids[number]) != len || memcmp(ids[number], id, len) != 0;
            }
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return missing + wrong;
}

int main(int argc, char **argv)
{
    const int mock = argc < 3;
    pipeline_config_t config;
    pipeline_storage_t storage;
    pipeline_metrics_t m;
    pipeline_t *pipeline = NULL;
    static const char large[8000];
    rd_kafka_mock_cluster_t *cluster = NULL;
    rd_kafka_t *host = NULL; /* a client without brokers: the mock cluster belongs to one */
    pthread_t threads[THREADS];
    capturing_t capturing[THREADS];
    const char *brokers = mock ? "" : argv[1];
    unsigned long wrong = 0, twice = 0;
    int32_t closed;
    int i, good;

    kafka.topic = mock ? "events" : argv[2];
    if (mock) {
        char error[256] = "";
        host = rd_kafka_new(RD_KAFKA_PRODUCER, quiet_conf(), error, sizeof error);
        cluster = host == NULL ? NULL : rd_kafka_mock_cluster_new(host, 1);
        if (cluster == NULL || rd_kafka_mock_topic_create(cluster, kafka.topic, 4, 1) != 0) {
            fprintf(stderr, "kafka: no mock cluster: %s\n", error);
            return 1;
        }
        brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    }
    kafka.producer = client(RD_KAFKA_PRODUCER, brokers);
    if (pthread_create(&kafka.reports, NULL, poll_reports, NULL) != 0)
        return 1;

    pipeline_config_init(&config, sizeof config);
    config.name = "kafka";
    config.overflow = PIPELINE_OVERFLOW_BLOCK; /* so that each event of this example can be expected in the topic */
    config.block_timeout_us = PATIENCE_S * 1000000u;
    config.retry_limit = 100000; /* no event is given up while the brokers are away */
    pipeline_storage_init(&storage, sizeof storage);
    storage.store = store;
    if (pipeline_start(&config, &storage, &pipeline) < 0) {
        fprintf(stderr, "start: %s\n", pipeline_last_error());
        return 1;
    }
    for (i = 0; i < THREADS; i++) {
        capturing[i].pipeline = pipeline;
        capturing[i].first = (unsigned)i * EVENTS_EACH;
        if (pthread_create(&threads[i], NULL, capture, &capturing[i]) != 0)
            return 1;
    }
    if (mock) {
        /* The broker is away while events are captured and sent. */
        rd_kafka_mock_broker_set_down(cluster, 1);
        sleep_ms(2500);
        rd_kafka_mock_broker_set_up(cluster, 1);
    }
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pipeline_capture(pipeline, 2, large, sizeof large); /* no message can take it */
    closed = pipeline_close(pipeline, PATIENCE_S * 1000);
    memset(&m, 0, sizeof m);
    m.struct_size = sizeof m;
    pipeline_metrics(pipeline, &m);
    good = closed == PIPELINE_OK && m.captured == EVENTS + 1 && m.stored == EVENTS && m.discarded == 1;
    if (pipeline_destroy(pipeline) < 0)
        return 1;

    /* Every batch is settled, so no message is open. */
    atomic_store(&kafka.ending, 1);
    pthread_join(kafka.reports, NULL);
    if (mock)
        wrong = check(brokers, kafka.topic, &twice);
    printf("captured %llu, stored %llu, too large %llu; %lu messages acknowledged, %lu failed; %lu batches came again\n",
           (unsigned long long)m.captured, (unsigned long long)m.stored, (unsigned long long)m.discarded, atomic_load(&kafka.messages), atomic_load(&kafka.failures), atomic_load(&kafka.batches_again));
    if (mock)
        printf("in the topic: %lu events missing or wrong, %lu there twice under the same identity\n", wrong, twice);
    good = good && wrong == 0;
    rd_kafka_destroy(kafka.producer);
    if (mock) {
        rd_kafka_mock_cluster_destroy(cluster);
        rd_kafka_destroy(host);
    }
    printf("%s\n", good ? "good" : "WRONG");
    return good ? 0 : 1;
}
