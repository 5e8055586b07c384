// An OpenAI-shaped model server that costs almost nothing: one thread, epoll.
//
//   upstream PORT [PACE_US]
//
// A request without "stream": true gets one small answer. With it: CHUNKS events, each its own write, usage with the
// last, then [DONE]. When the model's name contains "paced", one event every PACE_US microseconds, else at once.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNKS = 50, LARGEST = 64 << 20, AT_ONCE = 256 };

typedef struct Connection {
    int fd;
    char *in;             // what has arrived and is not answered
    size_t length, room;  // of `in`
    int left;             // events of the running stream that are not written
    size_t sent;          // bytes of the current event that are
    bool paced, waits_for_room, gone, close_after;
    long due_us;              // of the next event, when paced
    struct Connection *next;  // in the queue of paced ones, which is ordered because all have the same pace
} Connection;

static char answer[1024], stream_head[512], events[4][1024];
static size_t answer_length, stream_head_length, event_length[4];  // events: first, middle, last, [DONE] and the end
static Connection *first_due, *last_due;
static long pace_us = 10000;
static int poller;

static long now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

static void prepare(void) {
    const char *body =
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1763800000,\"model\":\"bench\",\"choices\":"
        "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello from here.\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":42,\"completion_tokens\":7,\"total_tokens\":49}}";
    answer_length = sprintf(answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                            strlen(body), body);
    stream_head_length = sprintf(stream_head, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                                              "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n");
    const char *deltas[3] = {
        "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":42,\"completion_tokens\":50,\"total_tokens\":92}}",
    };
    for (int i = 0; i < 3; i++) {
        char event[900];
        sprintf(event, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1763800000,"
                       "\"model\":\"bench\",\"choices\":[%s\n\n", deltas[i]);
        event_length[i] = sprintf(events[i], "%zx\r\n%s\r\n", strlen(event), event);
    }
    event_length[3] = sprintf(events[3], "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
}

static void watch(Connection *connection, int operation, unsigned wanted) {
    struct epoll_event event = {.events = wanted, .data.ptr = connection};
    epoll_ctl(poller, operation, connection->fd, &event);
}

static void forget(Connection *connection) {
    if (connection->fd >= 0) close(connection->fd);
    connection->fd = -1;
    if (connection->paced && connection->left > 0) {
        connection->gone = true;  // the queue still points to it
        return;
    }
    free(connection->in);
    free(connection);
}

static bool write_all(Connection *connection, const char *data, size_t length) {
    while (length > 0) {
        ssize_t written = write(connection->fd, data, length);
        if (written < 0) {
            if (errno == EAGAIN) { usleep(20); continue; }  // heads and answers: smaller than any socket's buffer
            return false;
        }
        data += written, length -= written;
    }
    return true;
}

// One event, or what the socket takes of it. 1: written, 0: no room, -1: the peer has gone.
static int emit(Connection *connection) {
    int kind = connection->left == 1 ? 3 : connection->left == 2 ? 2 : connection->left == CHUNKS + 1 ? 0 : 1;
    while (connection->sent < event_length[kind]) {
        ssize_t written = write(connection->fd, events[kind] + connection->sent, event_length[kind] - connection->sent);
        if (written < 0) return errno == EAGAIN ? 0 : -1;
        connection->sent += written;
    }
    connection->sent = 0;
    connection->left--;
    return 1;
}

static void queue(Connection *connection) {
    connection->next = NULL;
    if (last_due) last_due->next = connection; else first_due = connection;
    last_due = connection;
}

static bool contains(const char *data, size_t length, const char *text) {
    return memmem(data, length, text, strlen(text)) != NULL;
}

static bool wants_stream(const char *body, size_t length) {
    const char *at = memmem(body, length, "\"stream\"", 8), *end = body + length;
    if (!at) return false;
    for (at += 8; at < end && (*at == ':' || *at == ' '); at++) {}
    return end - at >= 4 && memcmp(at, "true", 4) == 0;
}

// The length of the first request when all of it has arrived, else 0.
static size_t whole(Connection *connection, size_t *head_length) {
    char *end = memmem(connection->in, connection->length, "\r\n\r\n", 4);
    if (!end) return 0;
    *head_length = end + 4 - connection->in;
    *end = 0;
    const char *found = strcasestr(connection->in, "\r\ncontent-length:");
    bool chunked = strcasestr(connection->in, "\r\ntransfer-encoding: chunked") != NULL;
    connection->close_after = strcasestr(connection->in, "\r\nconnection: close") != NULL;
    *end = '\r';
    if (chunked) {
        char *last = memmem(end, connection->length - *head_length + 4, "\r\n0\r\n\r\n", 7);
        return last ? (size_t)(last + 7 - connection->in) : 0;
    }
    size_t total = *head_length + (found ? strtoul(found + 17, NULL, 10) : 0);
    return connection->length >= total ? total : 0;
}

// Answer what has arrived. False: the connection is over.
static bool serve(Connection *connection) {
    for (;;) {
        while (connection->left > 0) {
            if (connection->paced) return true;  // its time will come
            int done = emit(connection);
            if (done < 0) return false;
            if (done == 0) {
                if (!connection->waits_for_room) watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
                connection->waits_for_room = true;
                return true;
            }
        }
        if (connection->waits_for_room) {
            watch(connection, EPOLL_CTL_MOD, EPOLLIN);
            connection->waits_for_room = false;
        }
        size_t head_length, total = whole(connection, &head_length);
        if (total == 0) return true;
        const char *body = connection->in + head_length;
        bool stream = wants_stream(body, total - head_length);
        connection->paced = stream && contains(body, total - head_length, "paced");
        memmove(connection->in, connection->in + total, connection->length - total);
        connection->length -= total;
        if (!stream) {
            if (!write_all(connection, answer, answer_length) || connection->close_after) return false;
            continue;
        }
        if (!write_all(connection, stream_head, stream_head_length)) return false;
        connection->left = CHUNKS + 1;
        if (connection->paced) {
            connection->due_us = now_us() + pace_us;
            queue(connection);
        }
    }
}

static void accept_all(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *connection = calloc(1, sizeof *connection);
        connection->fd = fd;
        connection->room = 16384;
        connection->in = malloc(connection->room);
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void receive(Connection *connection) {
    if (connection->length == connection->room) {
        if (connection->room >= LARGEST) { forget(connection); return; }
        connection->in = realloc(connection->in, connection->room *= 2);
    }
    ssize_t got = read(connection->fd, connection->in + connection->length, connection->room - connection->length);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { forget(connection); return; }
    connection->length += got;
    if (!serve(connection)) forget(connection);
}

static void emit_due(void) {
    long now = now_us();
    while (first_due && first_due->due_us <= now) {
        Connection *connection = first_due;
        first_due = connection->next;
        if (!first_due) last_due = NULL;
        if (connection->gone) {
            connection->left = 0;
            forget(connection);
            continue;
        }
        int done = emit(connection);
        if (connection->left == 1 && done > 0) done = emit(connection);  // the end goes with the last event
        if (done < 0) {
            connection->left = 0;
            forget(connection);
        } else if (connection->left > 0) {
            connection->due_us += pace_us;
            queue(connection);
        } else if (!serve(connection)) {
            forget(connection);
        }
    }
}

int main(int count, char **arguments) {
    int port = count > 1 ? atoi(arguments[1]) : 9000, on = 1;
    if (count > 2) pace_us = atol(arguments[2]);
    signal(SIGPIPE, SIG_IGN);
    prepare();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("upstream");
        return 1;
    }
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, ready[AT_ONCE];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int wait_ms = -1;
        if (first_due) {
            long left_us = first_due->due_us - now_us();
            wait_ms = left_us <= 0 ? 0 : left_us / 1000;
        }
        int many = epoll_wait(poller, ready, AT_ONCE, wait_ms);
        for (int i = 0; i < many; i++) {
            Connection *connection = ready[i].data.ptr;
            if (!connection) {
                accept_all(listener);
            } else if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                receive(connection);
            } else if (!serve(connection)) {
                forget(connection);
            }
        }
        emit_due();
    }
}
