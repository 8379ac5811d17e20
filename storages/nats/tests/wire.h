/* A small client of the NATS protocol, for what a test asks the server itself: requests, and all messages of a stream. It shares nothing
 * with the client of the storage. */
#ifndef NATS_TESTS_WIRE_H
#define NATS_TESTS_WIRE_H

#include "../../../tests/c/check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/socket.h>

/* A connection, with what was read and not used yet. */
typedef struct {
    int fd;
    char *data;
    size_t start, end, room;
    int inboxes;
} wire_t;

/* A message. Its parts are valid until the next one is read. */
typedef struct {
    char subject[256], reply[256];
    const char *headers, *payload;
    size_t headers_len, payload_len;
} wire_message_t;

CHECK_UNUSED static bool wire_fill(wire_t *w)
{
    ssize_t got;
    if (w->start > 0 && w->start == w->end)
        w->start = w->end = 0;
    if (w->room - w->end < 65536) {
        memmove(w->data, w->data + w->start, w->end - w->start);
        w->end -= w->start, w->start = 0;
        if (w->room - w->end < 65536)
            w->data = (char *)realloc(w->data, w->room = 2 * w->room + 131072);
    }
    got = read(w->fd, w->data + w->end, w->room - w->end - 1);
    if (got <= 0)
        return false;
    w->end += (size_t)got;
    return true;
}

/* The next line without its end; `false`: the connection is closed, or nothing has come for a minute. It is valid until the next read. */
CHECK_UNUSED static bool wire_line(wire_t *w, char *line, size_t size)
{
    for (;;) {
        char *end = w->end > w->start ? (char *)memchr(w->data + w->start, '\n', w->end - w->start) : NULL;
        if (end != NULL) {
            size_t length = (size_t)(end - w->data) - w->start;
            snprintf(line, size, "%.*s", (int)(length > 0 && end[-1] == '\r' ? length - 1 : length), w->data + w->start);
            w->start += length + 1;
            return true;
        }
        if (!wire_fill(w))
            return false;
    }
}

CHECK_UNUSED static void wire_send(wire_t *w, const char *format, ...)
{
    char text[8192];
    va_list list;
    int length;
    va_start(list, format);
    length = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    CHECK_OR_STOP(length > 0 && (size_t)length < sizeof text);
    CHECK(send(w->fd, text, (size_t)length, MSG_NOSIGNAL) == length);
}

/* Connects, with the options of CONNECT as JSON without braces ("" for none). `false`: nobody listens, or the login is refused. */
CHECK_UNUSED static bool wire_open(wire_t *w, int port, const char *options)
{
    struct sockaddr_in address;
    struct timeval minute = {60, 0};
    char line[8192];
    int one = 1;
    memset(w, 0, sizeof *w);
    memset(&address, 0, sizeof address);
    w->data = (char *)malloc(w->room = 1 << 20);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_OR_STOP(w->fd >= 0);
    setsockopt(w->fd, SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof minute);
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(w->fd, (struct sockaddr *)&address, sizeof address) == 0 && wire_line(w, line, sizeof line)) {
        wire_send(w, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"lang\":\"c\",\"version\":\"1\"%s%s}\r\nPING\r\n",
                  *options ? "," : "", options);
        while (wire_line(w, line, sizeof line) && strncmp(line, "-ERR", 4) != 0)
            if (strcmp(line, "PONG") == 0)
                return true;
    }
    close(w->fd);
    free(w->data);
    w->data = NULL;
    return false;
}

CHECK_UNUSED static void wire_close(wire_t *w)
{
    close(w->fd);
    free(w->data);
    w->data = NULL;
}

CHECK_UNUSED static bool wire_next(wire_t *w, wire_message_t *m)
{
    char line[2048], words[5][256];
    while (wire_line(w, line, sizeof line)) {
        size_t headers = 0, total;
        int count;
        if (strcmp(line, "PING") == 0)
            wire_send(w, "PONG\r\n");
        if (strncmp(line, "MSG ", 4) != 0 && strncmp(line, "HMSG ", 5) != 0)
            continue;
        count = sscanf(strchr(line, ' '), "%255s %255s %255s %255s %255s", words[0], words[1], words[2], words[3], words[4]);
        total = strtoul(words[count - 1], NULL, 10);
        if (line[0] == 'H')
            headers = strtoul(words[count - 2], NULL, 10);
        snprintf(m->subject, sizeof m->subject, "%s", words[0]);
        snprintf(m->reply, sizeof m->reply, "%s", count == (line[0] == 'H' ? 5 : 4) ? words[2] : "");
        while (w->end - w->start < total + 2) {
            if (w->room - w->start < total + 65536)
                w->data = (char *)realloc(w->data, w->room = w->start + total + 131072);
            if (!wire_fill(w))
                return false;
        }
        m->headers = w->data + w->start, m->headers_len = headers;
        m->payload = m->headers + headers, m->payload_len = total - headers;
        w->start += total + 2;
        return true;
    }
    return false;
}

/* Asks for something, and writes the answer to `answer`, NUL-terminated. */
CHECK_UNUSED static void wire_request(wire_t *w, const char *subject, const char *payload, char *answer, size_t size)
{
    wire_message_t m;
    char inbox[64];
    int id = ++w->inboxes;
    snprintf(inbox, sizeof inbox, "_INBOX.test.%d.%d", (int)getpid(), id);
    wire_send(w, "SUB %s %d\r\nUNSUB %d 1\r\nPUB %s %s %zu\r\n%s\r\n", inbox, id, id, subject, inbox, strlen(payload), payload);
    *answer = '\0';
    while (wire_next(w, &m))
        if (strcmp(m.subject, inbox) == 0) {
            snprintf(answer, size, "%.*s", (int)m.payload_len, m.payload);
            return;
        }
    CHECK(!"the server answers");
}

/* The number behind "name": in JSON; UINT64_MAX if it is not there. */
CHECK_UNUSED static uint64_t json_number(const char *json, const char *name)
{
    char key[64];
    const char *found;
    snprintf(key, sizeof key, "\"%s\":", name);
    found = strstr(json, key);
    return found != NULL ? strtoull(found + strlen(key), NULL, 10) : UINT64_MAX;
}

/* The value of a header, or "". */
CHECK_UNUSED static const char *wire_header(const wire_message_t *m, const char *name, char *value, size_t size)
{
    size_t length = strlen(name), at;
    *value = '\0';
    for (at = 0; at + length + 2 < m->headers_len; at++)
        if (m->headers[at] == '\n' && strncmp(m->headers + at + 1, name, length) == 0 && m->headers[at + 1 + length] == ':') {
            const char *from = m->headers + at + length + 2, *end;
            while (*from == ' ')
                from++;
            end = (const char *)memchr(from, '\r', (size_t)(m->headers + m->headers_len - from));
            snprintf(value, size, "%.*s", end != NULL ? (int)(end - from) : 0, from);
            break;
        }
    return value;
}

/* How many messages a stream has. */
CHECK_UNUSED static uint64_t stream_messages(wire_t *w, const char *stream)
{
    char subject[128], answer[8192];
    snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    wire_request(w, subject, "", answer, sizeof answer);
    return json_number(answer, "messages");
}

/* Calls `each` with every message that the stream has, in order. */
CHECK_UNUSED static void each_message(int port, const char *options, const char *stream, void (*each)(void *data, const wire_message_t *m), void *data)
{
    wire_t w;
    wire_message_t m;
    static int calls;
    char subject[128], deliver[64], body[512], answer[8192];
    uint64_t left;
    CHECK_OR_STOP(wire_open(&w, port, options));
    left = stream_messages(&w, stream);
    if (left == UINT64_MAX || left == 0) {
        wire_close(&w);
        return;
    }
    /* A subject of its own, because the consumer of an earlier call may still be there. */
    snprintf(deliver, sizeof deliver, "deliver.%d.%d", (int)getpid(), ++calls);
    wire_send(&w, "SUB %s 9999\r\n", deliver);
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.%s", stream);
    snprintf(body, sizeof body, "{\"stream_name\":\"%s\",\"config\":{\"deliver_subject\":\"%s\",\"deliver_policy\":\"all\",\"ack_policy\":\"none\",\"replay_policy\":\"instant\",\"mem_storage\":true}}",
             stream, deliver);
    snprintf(answer, sizeof answer, "PUB %s %zu\r\n%s\r\n", subject, strlen(body), body);
    wire_send(&w, "%s", answer);
    while (left > 0 && wire_next(&w, &m))
        if (strncmp(m.reply, "$JS.ACK.", 8) == 0) {
            each(data, &m);
            left--;
        }
    CHECK_U64(left, 0);
    wire_close(&w);
}

#endif
