/* capture_pipeline_nats: a storage for capture_pipeline that publishes events to a stream of NATS JetStream.
 *
 *     #include <capture_pipeline.h>
 *     #include <capture_pipeline_nats.h>
 *
 *     int main(void)
 *     {
 *         pipeline_t *p;
 *         pipeline_storage_t storage;
 *         pipeline_nats_options_t options;
 *         pipeline_nats_options_init(&options, sizeof options);
 *         options.servers = "nats://127.0.0.1:4222";
 *         options.flags = PIPELINE_NATS_CREATE_STREAM;
 *         if (pipeline_storage_nats(&options, sizeof storage, &storage) != PIPELINE_OK ||
 *             pipeline_start(NULL, &storage, &p) != PIPELINE_OK)
 *             return fprintf(stderr, "%s\n", pipeline_last_error()), 1;
 *         pipeline_capture(p, 1, "hello", 5);
 *         pipeline_close(p, 5000);
 *         return pipeline_destroy(p);
 *     }
 *
 * Compile with: cc ... $(pkg-config --cflags --libs capture_pipeline_nats)
 *
 * The rules of <capture_pipeline.h> hold here too: statuses, `struct_size`, ownership. A function that fails explains it in
 * `pipeline_last_error`. docs/nats.md explains the storage. */
#ifndef CAPTURE_PIPELINE_NATS_H
#define CAPTURE_PIPELINE_NATS_H

#include <capture_pipeline.h>

#ifdef __cplusplus
extern "C" {
#endif

/** `pipeline_nats_options_t.flags`: a message for each event, not for each batch. It costs many times as much. */
#define PIPELINE_NATS_MESSAGE_PER_EVENT 1
/**
 * `pipeline_nats_options_t.flags`: the stream is made if it is not there. If it is there, it must be as the options say. It is never
 * changed.
 */
#define PIPELINE_NATS_CREATE_STREAM 2
/**
 * `pipeline_nats_options_t.flags`: `pipeline_storage_nats` does not wait for a server. Events wait in their ring buffers until one is there.
 */
#define PIPELINE_NATS_START_OFFLINE 4
/** `pipeline_nats_options_t.flags`: the connection must be encrypted. It also is if the server wants it, or the address begins with tls://. */
#define PIPELINE_NATS_TLS 8
/** `pipeline_nats_options_t.flags`: as `PIPELINE_NATS_TLS`, with the handshake before the server's first line (`handshake_first`). */
#define PIPELINE_NATS_TLS_FIRST 16
/** `pipeline_nats_options_t.flags`: a stream that is made keeps its messages in memory, not in files. */
#define PIPELINE_NATS_IN_MEMORY 32
/**
 * `pipeline_nats_options_t.flags`: a stream that is made refuses new messages when it is full, instead of deleting its oldest. Events then wait
 * in their ring buffers.
 */
#define PIPELINE_NATS_DISCARD_NEW 64

/** The options of a NATS storage. `pipeline_nats_options_init` writes every default. Texts are in UTF-8, and are copied. */
typedef struct pipeline_nats_options_t {
    /** `sizeof(pipeline_nats_options_t)` of the caller. */
    uint32_t struct_size;
    /** `PIPELINE_NATS_...`, or 0. */
    uint32_t flags;
    /** Addresses, with commas between: `host:port`, `nats://host:port` or `tls://host:port`. Default `127.0.0.1:4222`. */
    const char *servers;
    /** The name of the connection, which the server's tools show. Default `capture_pipeline`. */
    const char *name;
    /** A user, with `password`. Default NULL. One login at most: user and password, token, nkey_seed or credentials_file. */
    const char *user;
    /** The user's password. Default NULL. */
    const char *password;
    /** A token. Default NULL. */
    const char *token;
    /** The seed of an nkey, `SU...`. Default NULL. */
    const char *nkey_seed;
    /** A file with a JWT and a seed (`.creds`). It is read once. Default NULL. */
    const char *credentials_file;
    /** A file in PEM with the authorities that are trusted. It is read at each connection. Default NULL: those of the system. */
    const char *tls_ca_file;
    /** A file in PEM with the client's certificate, with `tls_key_file`. Default NULL. */
    const char *tls_certificate_file;
    /** A file in PEM with the key of that certificate. Default NULL. */
    const char *tls_key_file;
    /** The name of the stream. Default `CAPTURE`. */
    const char *stream;
    /**
     * The subject of messages with events. `{host}` stands for the name of the machine, `{node}` for `node`, and, with
     * `PIPELINE_NATS_MESSAGE_PER_EVENT`, `{kind}` and `{ring}` for the event's kind and ring buffer, as numbers. Characters of names that have a
     * meaning in subjects become `_`. Default `capture.events.{host}`.
     */
    const char *subject;
    /** The beginning of the subjects of facts (names and definitions of kinds): `facts_prefix.facts.…`. Default `capture`. */
    const char *facts_prefix;
    /** What `{node}` in `subject` stands for. Default NULL. */
    const char *node;
    /** How messages are encoded, `PIPELINE_JOURNAL_RAW`, `_COLUMNS`, `_COLUMNS_LZ4` or `_COLUMNS_ZSTD`. Default `PIPELINE_JOURNAL_RAW`. */
    uint32_t encoding;
    /**
     * Milliseconds from the call of `store` until a batch that is not acknowledged is tried again, 10 to 3600000. Default 5000. Keep it
     * below the pipeline's `storage_deadline_ms`.
     */
    uint32_t ack_timeout_ms;
    /** Milliseconds that connecting to one server may take, 10 to 3600000. Default 5000. */
    uint32_t connect_timeout_ms;
    /** The longest pause in milliseconds between two attempts to connect again, 1 to 60000. Default 500. */
    uint32_t reconnect_max_ms;
    /** How many messages may wait for their acknowledgement, 1 to 2^20. Default 4096. */
    uint32_t pending_messages;
    /** A stream that is made: on how many servers of a cluster it is, 1 to 5. Default 1. */
    uint32_t replicas;
    /** How many bytes of messages may wait for their acknowledgement, 1 to 2^40; one message more may be on its way. Default 67108864 (64 MiB). */
    uint64_t pending_bytes;
    /**
     * A stream that is made: milliseconds in which it recognises a message that it has already, at least 100. Default 120000. It
     * should be longer than the pipeline's `retry_max_age_ms` and `ack_timeout_ms` together.
     */
    uint64_t duplicate_window_ms;
    /** A stream that is made: its size in bytes at most. Default 0: no limit. */
    uint64_t max_bytes;
    /** A stream that is made: how many messages it has at most. Default 0: no limit. */
    uint64_t max_messages;
    /** A stream that is made: milliseconds after which a message is deleted, at least `duplicate_window_ms`. Default 0: never. */
    uint64_t max_age_ms;
    /**
     * The pipeline's `retry_max_age_ms`, which the storage compares with the stream's duplicate window. If the window is shorter than
     * this and `ack_timeout_ms` together, a message in the log and in `pipeline_nats_status_t.text` has both numbers, because events
     * may then be in the stream twice. Default 60000, as the pipeline's; 0: no comparison.
     */
    uint64_t retry_max_age_ms;
} pipeline_nats_options_t;

/**
 * Writes every default to `options` and sets its `struct_size`. Pass `sizeof(pipeline_nats_options_t)` as `struct_size`. Any thread. Errors:
 * `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
 *
 * Requires: `options` is NULL or points to `struct_size` writable bytes.
 */
int32_t pipeline_nats_options_init(pipeline_nats_options_t *options, size_t struct_size);

/**
 * Connects to a server, finds or makes the stream, and fills `out` with a storage, to be given to `pipeline_start`. `options` may be NULL: all
 * defaults. `out_size` is `sizeof(pipeline_storage_t)`.
 *
 * A batch is stored when the server has acknowledged all its messages. The server recognises a message that is published again, so
 * that the stream has every event once as long as its duplicate window lasts. While no server is there, events wait in their ring
 * buffers. A batch that is not acknowledged within `ack_timeout_ms` is tried again, within `retry_limit` and `retry_max_age_ms` of the pipeline.
 *
 * A thread of the storage does all its work; it ends after the storage's `destroy`. The client library allocates memory in ways that
 * cannot fail, so a process in which memory runs out may be ended by it.
 *
 * Until `pipeline_start` has accepted the storage, the caller owns it. To give it up, call `out->destroy(out->user_data)` once. The storage
 * must be made in the process that uses it, not before a fork. Any thread; not in a callback of a pipeline. `out` is written only on success.
 * Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID`, `_NO_MEMORY`, `_SYSTEM`, `_UNSUPPORTED` (an encoding that libcapture_pipeline does not have),
 * `_STORAGE` (no server, a refused login, a certificate that is not trusted, a stream that is missing or not as it must be). Since 0.1.0.
 *
 * Requires: `options` is NULL or as its `struct_size` says; `out` is NULL or points to `out_size` writable bytes.
 */
int32_t pipeline_storage_nats(const pipeline_nats_options_t *options, size_t out_size, pipeline_storage_t *out);

/** `pipeline_nats_status_t.state`: no server is connected. */
#define PIPELINE_NATS_DISCONNECTED 0
/** `pipeline_nats_status_t.state`: a server is connected, and the stream takes messages. */
#define PIPELINE_NATS_READY 1
/** `pipeline_nats_status_t.state`: a server is connected. The stream is not known yet, missing, or not as it must be. */
#define PIPELINE_NATS_NO_STREAM 2

/** The state of a NATS storage. */
typedef struct pipeline_nats_status_t {
    /** `sizeof(pipeline_nats_status_t)` of the caller. */
    uint32_t struct_size;
    /** `PIPELINE_NATS_DISCONNECTED`, `_READY` or `_NO_STREAM`. */
    uint32_t state;
    /** How often a server was connected. */
    uint64_t connects;
    /** Messages given to the connection, repeated ones included. */
    uint64_t published;
    /** Messages that the server has acknowledged. */
    uint64_t acknowledged;
    /** Those among them that the server had already. */
    uint64_t duplicates;
    /** Messages that the server has refused, because the stream is full, say. */
    uint64_t refused;
    /** Attempts of batches that were not acknowledged within `ack_timeout_ms`. */
    uint64_t timeouts;
    /** Events that were rejected because no message can have them. */
    uint64_t too_large;
    /** Messages that wait for their acknowledgement. */
    uint64_t pending_messages;
    /** Their bytes, without headers. */
    uint64_t pending_bytes;
    /** The most bytes of a message to this server and stream, headers included. */
    uint64_t max_payload;
    /** The stream's duplicate window in milliseconds. */
    uint64_t duplicate_window_ms;
    /** The server that is connected or was last, as it names itself: `host:port`. NUL-terminated. */
    char server[128];
    /** What is wrong, by server where no server is connected; or the last thing that was. NUL-terminated. */
    char text[1024];
} pipeline_nats_status_t;

/**
 * Writes the state of a storage to `out`, whose `struct_size` the caller has set. `storage` is the struct that `pipeline_storage_nats` has
 * filled in, or a copy. It may be called until the storage's `destroy` is called, as by `pipeline_destroy`.
 *
 * Any thread, callbacks included; not a signal handler. Errors: `PIPELINE_ERR_NULL`, `_VERSION`, `_INVALID` (another storage), `_FORKED`. Since 0.1.0.
 *
 * Requires: `storage` is NULL or as said; `out` is NULL or as its `struct_size` says.
 */
int32_t pipeline_nats_status(const pipeline_storage_t *storage, pipeline_nats_status_t *out);

#ifdef __cplusplus
}
#endif

#endif /* CAPTURE_PIPELINE_NATS_H */
