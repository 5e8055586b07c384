// Sends the same request over and over on a number of connections, one after the other on each: one thread, epoll.
//
//   load PORT CONNECTIONS MILLISECONDS REQUESTS MINIMUM_EVENTS ABANDON_AFTER STAGGER < REQUEST
//
// REQUEST is a whole HTTP request. Ends after MILLISECONDS, or after REQUESTS responses when that is not 0. A response
// with fewer than MINIMUM_EVENTS "data:" lines is an error. With ABANDON_AFTER above 0, a connection is closed after as
// many events and a new one opened. Connections are opened STAGGER milliseconds apart, so that streams which all take
// the same time do not run in step. Prints one line of JSON; latencies in microseconds, -1 where nothing was measured.
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

enum { HEAD = 8192, LONGEST_US = 10000000, AT_ONCE = 512 };

typedef enum { IN_HEAD, LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, UNTIL_CLOSED } Where;

typedef struct {
    int fd;
    long began_us;
    Where where;
    char head[HEAD + 1];
    size_t head_length;
    long left;     // bytes of the body, or of the chunk
    int line;      // bytes of the current line of a trailer
    int matched;   // bytes of "data:"
    long events;
    int status;
} Connection;

typedef struct {
    unsigned *counts;  // per microsecond
    long total;
} Times;

static char request[64 << 20];
static size_t request_length;
static int port, poller, minimum_events, abandon_after;
static long responses, other_statuses, errors, events, abandoned, reconnects, body_bytes;
static Times whole, first;

static long now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

static void count(Times *times, long us) {
    times->counts[us < LONGEST_US ? us : LONGEST_US]++;
    times->total++;
}

static long percentile(const Times *times, double share) {
    long wanted = (long)(times->total * share), seen = 0;
    if (times->total == 0) return -1;
    for (long us = 0; us <= LONGEST_US; us++)
        if ((seen += times->counts[us]) > wanted) return us;
    return LONGEST_US;
}

static void begin(Connection *connection) {
    connection->began_us = now_us();
    connection->where = IN_HEAD;
    connection->head_length = 0;
    connection->events = 0;
    connection->matched = 0;
    connection->line = 0;
    const char *at = request;
    size_t left = request_length;
    while (left > 0) {
        ssize_t sent = write(connection->fd, at, left);
        if (sent < 0) {
            if (errno == EAGAIN) { usleep(20); continue; }
            return;  // its end will be noticed when it is read
        }
        at += sent, left -= sent;
    }
}

static void open_connection(Connection *connection) {
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("load: connect");
        exit(2);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event);
    begin(connection);
}

static void reopen(Connection *connection) {
    close(connection->fd);
    reconnects++;
    open_connection(connection);
}

static void finished(Connection *connection) {
    if (connection->status != 200) {
        if (other_statuses++ == 0) fprintf(stderr, "load: %.*s\n", (int)connection->head_length, connection->head);
    } else if (connection->events < minimum_events) {
        errors++;
    } else {
        responses++;
        count(&whole, now_us() - connection->began_us);
    }
}

static void read_head(Connection *connection) {
    connection->status = atoi(connection->head + 9);
    const char *length = strcasestr(connection->head, "\r\ncontent-length:");
    if (strcasestr(connection->head, "\r\ntransfer-encoding: chunked")) {
        connection->where = CHUNK_SIZE;
        connection->left = 0;
    } else if (length) {
        connection->where = LENGTH;
        connection->left = atol(length + 17);
    } else {
        connection->where = UNTIL_CLOSED;
    }
}

static void body(Connection *connection, const char *data, long length) {
    static const char wanted[] = "data:";
    body_bytes += length;
    for (const char *end = data + length; data < end; data++) {
        if (connection->matched == 0) {  // most bytes are not the beginning of one
            data = memchr(data, 'd', end - data);
            if (!data) return;
        }
        connection->matched = *data == wanted[connection->matched] ? connection->matched + 1 : *data == 'd';
        if (connection->matched == 5) {
            connection->matched = 0;
            events++;
            if (connection->events++ == 0) count(&first, now_us() - connection->began_us);
        }
    }
}

// What has arrived belongs to the response that is being read. True: it is complete.
static bool take(Connection *connection, const char *data, long length) {
    const char *end = data + length;
    while (data < end) {
        long many = end - data;
        switch (connection->where) {
        case IN_HEAD: {
            size_t before = connection->head_length, room = HEAD - before, taken = (size_t)many < room ? (size_t)many : room;
            memcpy(connection->head + before, data, taken);
            connection->head_length += taken;
            connection->head[connection->head_length] = 0;
            char *over = strstr(connection->head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
            if (!over) {
                if (room == taken) { fprintf(stderr, "load: a head of more than %d bytes\n", HEAD); exit(2); }
                return false;
            }
            data += over + 4 - connection->head - before;
            over[2] = 0;
            connection->head_length = over + 2 - connection->head;
            read_head(connection);
            if (connection->where == LENGTH && connection->left == 0) return true;
            break;
        }
        case LENGTH:
        case CHUNK:
            if (many > connection->left) many = connection->left;
            body(connection, data, many);
            data += many;
            connection->left -= many;
            if (connection->left > 0) break;
            if (connection->where == LENGTH) return true;
            connection->where = CHUNK_END;
            break;
        case CHUNK_SIZE: {
            char digit = *data++ | 32;
            if (digit >= '0' && digit <= '9') connection->left = connection->left * 16 + digit - '0';
            else if (digit >= 'a' && digit <= 'f') connection->left = connection->left * 16 + digit - 'a' + 10;
            else if (data[-1] == '\n') connection->where = connection->left ? CHUNK : TRAILER, connection->line = 0;
            break;
        }
        case CHUNK_END:
            if (*data++ == '\n') connection->where = CHUNK_SIZE, connection->left = 0;
            break;
        case TRAILER:
            if (*data == '\n' && connection->line == 0) return true;
            connection->line = *data == '\n' ? 0 : connection->line + (*data != '\r');
            data++;
            break;
        case UNTIL_CLOSED:
            body(connection, data, many);
            return false;
        }
    }
    return false;
}

int main(int argument_count, char **arguments) {
    if (argument_count != 8) { fprintf(stderr, "load: see the comment at the top of load.c\n"); return 2; }
    port = atoi(arguments[1]);
    int many = atoi(arguments[2]);
    long milliseconds = atol(arguments[3]), wanted = atol(arguments[4]);
    minimum_events = atoi(arguments[5]);
    abandon_after = atoi(arguments[6]);
    long stagger_us = atol(arguments[7]) * 1000;
    signal(SIGPIPE, SIG_IGN);
    request_length = fread(request, 1, sizeof request, stdin);
    whole.counts = calloc(LONGEST_US + 1, sizeof(unsigned));
    first.counts = calloc(LONGEST_US + 1, sizeof(unsigned));
    poller = epoll_create1(0);
    Connection *connections = calloc(many, sizeof(Connection));
    struct epoll_event ready[AT_ONCE];
    static char buffer[1 << 18];
    long began_us = now_us(), end_us = began_us + milliseconds * 1000;
    int opened = 0;
    while (now_us() < end_us && (wanted == 0 || responses + abandoned + errors + other_statuses < wanted)) {
        while (opened < many && now_us() >= began_us + opened * stagger_us) open_connection(&connections[opened++]);
        int waiting = epoll_wait(poller, ready, AT_ONCE, opened < many ? 1 : 50);
        for (int i = 0; i < waiting; i++) {
            Connection *connection = ready[i].data.ptr;
            ssize_t got = read(connection->fd, buffer, sizeof buffer);
            if (got <= 0) {
                if (connection->where == UNTIL_CLOSED) finished(connection);
                else if (connection->where != IN_HEAD || connection->head_length > 0) errors++;
                reopen(connection);
            } else if (take(connection, buffer, got)) {
                finished(connection);
                begin(connection);
            } else if (abandon_after > 0 && connection->events >= abandon_after) {
                abandoned++;
                reopen(connection);
            }
        }
    }
    double seconds = (now_us() - began_us) / 1e6;
    printf("{\"seconds\":%.4f,\"responses\":%ld,\"events\":%ld,\"body_bytes\":%ld,\"abandoned\":%ld,\"errors\":%ld,"
           "\"other_statuses\":%ld,\"reconnects\":%ld,\"p50_us\":%ld,\"p99_us\":%ld,\"first_p50_us\":%ld,"
           "\"first_p99_us\":%ld}\n",
           seconds, responses, events, body_bytes, abandoned, errors, other_statuses, reconnects,
           percentile(&whole, 0.5), percentile(&whole, 0.99), percentile(&first, 0.5), percentile(&first, 0.99));
    return 0;
}
