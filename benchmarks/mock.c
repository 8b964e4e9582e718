/* A fake provider that is far faster than any gateway: epoll, one thread, canned replies, HTTP/1.1 keep-alive.
 *
 * Usage: mock PORT FOLDER, where FOLDER holds openai.json, openai.sse, anthropic.json and anthropic.sse.
 * A path with /messages is answered in Anthropic's format, any other in OpenAI's. `"stream": true` gives the events
 * at once; a model's name with `paced-N` in it gives one every N ms. GET /stats says how many requests were answered,
 * how many events were sent and how many paced streams are open. It checks no key and no body: it is load's other end, not a simulator.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { OPENAI, ANTHROPIC, FORMATS };
enum { MOST_EVENTS = 4096, BATCH = 512, TICK_MS = 1 };

typedef struct { char *data; size_t size, room; } Buffer;
typedef struct { char *data; size_t size; } Event;

typedef struct Connection {
    int fd, writing, format, position, pace_ms;
    long due_ms, active_index; /* active_index: where it stands in `active`, or -1 */
    Buffer in, out;
} Connection;

static Buffer reply[FORMATS];
static Event events[FORMATS][MOST_EVENTS];
static int event_count[FORMATS];
static long requests_answered, events_sent, active_count;
static Connection *active[65536];
static int poll_fd, timer_fd;

static const char STREAM_HEAD[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                                  "transfer-encoding: chunked\r\n\r\n";

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void reserve(Buffer *buffer, size_t size) {
    if (buffer->room >= size) return;
    buffer->room = size * 2;
    buffer->data = realloc(buffer->data, buffer->room);
    if (!buffer->data) fail("realloc");
}

static void append(Buffer *buffer, const char *data, size_t size) {
    reserve(buffer, buffer->size + size + 1);
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = 0;
}

static void cut_front(Buffer *buffer, size_t size) {
    memmove(buffer->data, buffer->data + size, buffer->size - size + 1);
    buffer->size -= size;
}

static Buffer read_file(const char *folder, const char *name) {
    char path[1024], part[65536];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) fail(path);
    Buffer content = {0};
    for (size_t size; (size = fread(part, 1, sizeof part, file)) > 0;) append(&content, part, size);
    fclose(file);
    return content;
}

/* The events keep the blank line that ends them. */
static void split_events(int format, Buffer stream) {
    char *start = stream.data;
    for (char *end; (end = strstr(start, "\n\n")) && event_count[format] < MOST_EVENTS; start = end + 2)
        events[format][event_count[format]++] = (Event){start, end + 2 - start};
}

static void watch(Connection *connection, int operation) {
    struct epoll_event event = {EPOLLIN | (connection->writing ? EPOLLOUT : 0), {.ptr = connection}};
    epoll_ctl(poll_fd, operation, connection->fd, &event);
}

static void set_ticking(int ticking) {
    long interval_ns = ticking ? TICK_MS * 1000000L : 0;
    struct itimerspec times = {{0, interval_ns}, {0, interval_ns}};
    timerfd_settime(timer_fd, 0, &times, 0);
}

static void start_pacing(Connection *connection) {
    if (active_count == (long)(sizeof active / sizeof *active)) fail("too many streams");
    if (active_count == 0) set_ticking(1);
    connection->due_ms = now_ms();
    connection->active_index = active_count;
    active[active_count++] = connection;
}

static void stop_pacing(Connection *connection) {
    Connection *last = active[--active_count];
    active[connection->active_index] = last;
    last->active_index = connection->active_index;
    connection->active_index = -1;
    if (active_count == 0) set_ticking(0);
}

static void close_connection(Connection *connection) {
    if (connection->active_index >= 0) stop_pacing(connection);
    close(connection->fd);
    free(connection->in.data);
    free(connection->out.data);
    free(connection);
}

/* Sends what waits. 0 if the connection still stands. */
static int flush(Connection *connection) {
    size_t sent = 0;
    while (sent < connection->out.size) {
        ssize_t size = send(connection->fd, connection->out.data + sent, connection->out.size - sent, MSG_NOSIGNAL);
        if (size < 0 && errno == EAGAIN) break;
        if (size < 0) return -1;
        sent += size;
    }
    if (sent) cut_front(&connection->out, sent);
    int waits = connection->out.size > 0;
    if (waits != connection->writing) {
        connection->writing = waits;
        watch(connection, EPOLL_CTL_MOD);
    }
    return 0;
}

static void append_event(Connection *connection) {
    Event event = events[connection->format][connection->position++];
    char head[32];
    append(&connection->out, head, snprintf(head, sizeof head, "%zx\r\n", event.size));
    append(&connection->out, event.data, event.size);
    append(&connection->out, "\r\n", 2);
    events_sent++;
    if (connection->position == event_count[connection->format]) append(&connection->out, "0\r\n\r\n", 5);
}

static void append_json(Connection *connection, const char *data, size_t size) {
    char head[256];
    int length = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\nrequest-id: req_1\r\n\r\n", size);
    append(&connection->out, head, length);
    append(&connection->out, data, size);
}

static void answer(Connection *connection, const char *head, size_t head_size, const char *body) {
    if (!strncmp(head, "GET /stats", 10)) {
        char text[160];
        int length = snprintf(text, sizeof text, "{\"requests\": %ld, \"events\": %ld, \"open_streams\": %ld}",
                              requests_answered, events_sent, active_count);
        append_json(connection, text, length);
        return;
    }
    requests_answered++;
    connection->format = memmem(head, head_size, "/messages", 9) ? ANTHROPIC : OPENAI;
    const char *stream = strstr(body, "\"stream\"");
    if (stream) stream += 8 + strspn(stream + 8, " :");
    if (!stream || strncmp(stream, "true", 4)) {
        append_json(connection, reply[connection->format].data, reply[connection->format].size);
        return;
    }
    append(&connection->out, STREAM_HEAD, sizeof STREAM_HEAD - 1);
    connection->position = 0;
    const char *pace = strstr(body, "paced-");
    connection->pace_ms = pace ? atoi(pace + 6) : 0;
    if (connection->pace_ms > 0) start_pacing(connection);
    else
        while (connection->position < event_count[connection->format]) append_event(connection);
}

/* Size of the first request in the buffer with its body, or 0 if it is not all there. */
static size_t request_size(Buffer *in, size_t *head_size) {
    char *end = strstr(in->data, "\r\n\r\n");
    if (!end) return 0;
    *head_size = end + 4 - in->data;
    char *length = strcasestr(in->data, "\r\ncontent-length:");
    if (length && length < end) {
        size_t size = *head_size + strtoul(length + 17, 0, 10);
        return in->size >= size ? size : 0;
    }
    char *chunked = strcasestr(in->data, "\r\ntransfer-encoding: chunked");
    if (!chunked || chunked > end) return *head_size;
    char *last = strstr(end + 2, "\r\n0\r\n\r\n");
    return last ? (size_t)(last + 7 - in->data) : 0;
}

static int answer_all(Connection *connection) {
    size_t head_size, size;
    while (connection->in.size && (size = request_size(&connection->in, &head_size))) {
        char next = connection->in.data[size];
        connection->in.data[size] = 0;
        answer(connection, connection->in.data, head_size, connection->in.data + head_size);
        connection->in.data[size] = next;
        cut_front(&connection->in, size);
    }
    return flush(connection);
}

static int receive(Connection *connection) {
    for (;;) {
        Buffer *in = &connection->in;
        reserve(in, in->size + 16384);
        ssize_t size = recv(connection->fd, in->data + in->size, in->room - in->size - 1, 0);
        if (size == 0 || (size < 0 && errno != EAGAIN)) return -1;
        if (size < 0) return answer_all(connection);
        in->size += size;
        in->data[in->size] = 0;
    }
}

static void accept_all(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *connection = calloc(1, sizeof *connection);
        connection->fd = fd;
        connection->active_index = -1;
        watch(connection, EPOLL_CTL_ADD);
    }
}

static void tick(void) {
    unsigned long long expirations;
    if (read(timer_fd, &expirations, sizeof expirations) < 0) return;
    long now = now_ms();
    for (long index = active_count - 1; index >= 0; index--) {
        Connection *connection = active[index];
        if (connection->due_ms > now) continue;
        connection->due_ms += connection->pace_ms;
        append_event(connection);
        if (connection->position == event_count[connection->format]) stop_pacing(connection);
        flush(connection); /* a broken one is closed when epoll reports it */
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) fail("bind");
    return fd;
}

int main(int count, char **arguments) {
    if (count != 3) return fprintf(stderr, "usage: mock PORT FOLDER\n"), 2;
    reply[OPENAI] = read_file(arguments[2], "openai.json");
    reply[ANTHROPIC] = read_file(arguments[2], "anthropic.json");
    split_events(OPENAI, read_file(arguments[2], "openai.sse"));
    split_events(ANTHROPIC, read_file(arguments[2], "anthropic.sse"));
    int listener = listen_on(atoi(arguments[1]));
    poll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {EPOLLIN, {.ptr = &listener}}, ready[BATCH];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &timer_fd;
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &event);
    for (;;) {
        int ready_count = epoll_wait(poll_fd, ready, BATCH, -1);
        for (int index = 0; index < ready_count; index++) {
            void *source = ready[index].data.ptr;
            if (source == &listener) accept_all(listener);
            else if (source == &timer_fd) tick();
            else if ((ready[index].events & EPOLLOUT && flush(source)) ||
                     (ready[index].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && receive(source)))
                close_connection(source);
        }
    }
}
