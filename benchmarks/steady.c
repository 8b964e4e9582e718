/* A steady load: JSON requests at a given mean rate, at random moments, whatever the server does meanwhile.
 *
 * Usage: steady PORT BODY_FILE KEY REQUESTS_A_SECOND SECONDS CONNECTIONS
 * The gaps between requests are exponential, to the microsecond, as of many callers who know nothing of each other. A
 * request's time counts from when it was due, even if no connection was free then: what a slow server makes others
 * wait is not left out. Prints one line of JSON, as request.lua does. Replies must have a content-length.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_ROOM = 1 << 18, MOST_CONNECTIONS = 1024 };
static const double GRACE_S = 10;
static const double START_S = 0.2; /* whoever started it may need a moment to set its priority */

typedef struct { int fd; double due; size_t size; char *reply; } Connection;

static Connection connections[MOST_CONNECTIONS], *idle[MOST_CONNECTIONS];
static int idle_count, poll_fd;
static double *due, *latencies;
static long due_count, sent_count, done_count, failed_count;
static char *request;
static size_t request_size;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void dial(Connection *connection, int port) {
    struct sockaddr_in address = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->reply = malloc(REPLY_ROOM + 1);
    struct epoll_event event = {EPOLLIN, {.ptr = connection}};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, connection->fd, &event);
    idle[idle_count++] = connection;
}

static void send_due(double moment) {
    while (idle_count && sent_count < due_count && due[sent_count] <= moment) {
        Connection *connection = idle[--idle_count];
        connection->due = due[sent_count++];
        connection->size = 0;
        if (send(connection->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) fail("send");
    }
}

static int whole(Connection *connection) {
    char *end = strstr(connection->reply, "\r\n\r\n"), *length = strcasestr(connection->reply, "\r\ncontent-length:");
    if (!end) return 0;
    if (!length || length > end) fail("a reply without content-length");
    return connection->size >= end + 4 - connection->reply + strtoul(length + 17, 0, 10);
}

static void receive(Connection *connection) {
    ssize_t size = recv(connection->fd, connection->reply + connection->size, REPLY_ROOM - connection->size, 0);
    if (size <= 0) fail("recv");
    connection->size += size;
    connection->reply[connection->size] = 0;
    if (!whole(connection)) return;
    if (strncmp(connection->reply + 8, " 200", 4)) failed_count++;
    latencies[done_count++] = now() - connection->due;
    idle[idle_count++] = connection;
}

static void plan(double rate, double seconds) {
    long room = rate * seconds * 2 + 100;
    due = calloc(room, sizeof *due);
    latencies = calloc(room, sizeof *latencies);
    srand48(1); /* the same moments for everybody */
    double begun = now() + START_S;
    for (double moment = 0; due_count < room; due[due_count++] = begun + moment) {
        moment -= log(1 - drand48()) / rate;
        if (moment > seconds) break;
    }
}

static void write_request(const char *body_file, const char *key) {
    static char body[65536];
    FILE *file = fopen(body_file, "r");
    if (!file) fail(body_file);
    size_t size = fread(body, 1, sizeof body - 1, file);
    fclose(file);
    request_size = asprintf(&request,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        "authorization: Bearer %s\r\ncontent-length: %zu\r\n\r\n%s", key, size, body);
}

static void wake_at(int timer_fd, double moment) {
    struct itimerspec times = {{0, 0}, {(time_t)moment, (long)(fmod(moment, 1) * 1e9) + 1}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &times, 0);
}

static int by_size(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

static double percentile_ms(double part) {
    return done_count ? 1000 * latencies[(long)(part * (done_count - 1))] : 0;
}

int main(int count, char **arguments) {
    if (count != 7) return fprintf(stderr, "usage: steady PORT BODY_FILE KEY RATE SECONDS CONNECTIONS\n"), 2;
    double seconds = atof(arguments[5]);
    int connection_count = atoi(arguments[6]);
    poll_fd = epoll_create1(0);
    write_request(arguments[2], arguments[3]);
    for (int index = 0; index < connection_count && index < MOST_CONNECTIONS; index++)
        dial(&connections[index], atoi(arguments[1]));
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {EPOLLIN | EPOLLET, {.ptr = &timer_fd}}, ready[64];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &event);
    plan(atof(arguments[4]), seconds);
    double begun = now();
    while (done_count < due_count && now() < begun + START_S + seconds + GRACE_S) {
        send_due(now());
        if (idle_count && sent_count < due_count) wake_at(timer_fd, due[sent_count]);
        int ready_count = epoll_wait(poll_fd, ready, 64, 1000);
        for (int index = 0; index < ready_count; index++)
            if (ready[index].data.ptr != &timer_fd) receive(ready[index].data.ptr);
    }
    double duration = now() - begun - START_S;
    qsort(latencies, done_count, sizeof *latencies, by_size);
    printf("{\"requests\": %ld, \"failed\": %ld, \"timeouts\": %ld, \"duration_s\": %.6f, \"p50_ms\": %.4f, "
           "\"p99_ms\": %.4f}\n", done_count, failed_count, due_count - done_count, duration,
           percentile_ms(0.5), percentile_ms(0.99));
}
