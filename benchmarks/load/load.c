/*
 * A load generator: thousands of SSE and WebSocket clients in one thread, which judge what they get while they count it.
 *
 *   load HOST PORT
 *
 * It takes one command a line on stdin, and answers each with one line of JSON on stdout:
 *
 *   open GROUP COUNT sse|ws PATH [key=value ...]   connect; answered when all have what they wait for, or were refused or lost
 *   reopen GROUP [key=value ...]                   connect those again that are not connected, each from its last cursor
 *   pause GROUP | read GROUP                       stop reading its sockets, and go on
 *   drop GROUP rst|fin                             close all
 *   vanish GROUP                                   acknowledge nothing any more, and answer nothing, until all are dropped by rst
 *   wait GROUP NUMBER MILLISECONDS                 answered when each of its clients has got an event with that number or a later one
 *   closed GROUP MILLISECONDS                      answered when the server has ended each of its connections
 *   stats GROUP | reset GROUP                      what it has counted since the start or the last reset
 *   quit
 *
 * In PATH, {i} stands for a client's index, {m} for its index modulo the key `modulo`. Other keys: `until` (text that has to come
 * before a client counts as connected; by default the response's head will do), `inflight` (handshakes at once), `rcvbuf` (bytes),
 * `spread` (milliseconds: each waits a random time up to it first), `retry` (1: come back after what Retry-After says).
 *
 * An event is recognised by "n":NUMBER, and the time it was sent at by ,"t":NANOSECONDS (CLOCK_MONOTONIC) behind it. Each client
 * expects consecutive numbers from its first one on. Server frames are not masked, and events are never cut by the borders of
 * chunks, so text is looked for in what arrives; WebSocket frames are read for pings and close codes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { GROUPS = 16, BUFFER = 1 << 20, EVENTS = 1024, CURSOR = 132, FINE = 2000, COARSE = 60000, CODES = 5000 };
enum state { IDLE, DUE, CONNECTING, HEAD, WAITING, OPEN, ENDED };

typedef struct group group;

typedef struct {
    group *group;
    int fd, index;
    enum state state;
    int64_t next;      /* the number that is expected; -1 before the first */
    int64_t due, told; /* ns: when to connect; when it was connected, after the command */
    char *carry;
    size_t kept;
    char cursor[CURSOR];
    int clean; /* whether the body came to its end */
} client;

struct group {
    char name[32], path[512], until[64];
    int count, ws, modulo, inflight, rcvbuf, retry, paused, opening, pending, handshakes;
    client *clients;
    int64_t began, deliveries, bytes, reads, gaps, duplicates, refused[600], codes[CODES], clean, cut, retries, failures;
    int64_t fine[FINE], coarse[COARSE], longest, timed;
};

static struct sockaddr_in server;
static int epoll;
static group groups[GROUPS];
static int group_count;
static char buffer[BUFFER];
static struct { char kind; group *of; int64_t number, deadline; } asked; /* the command that is under way: o, w or c */

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static group *find(const char *name) {
    for (int i = 0; i < group_count; i++)
        if (!strcmp(groups[i].name, name)) return &groups[i];
    return NULL;
}

static void clear_counts(group *g) {
    g->deliveries = g->bytes = g->reads = g->gaps = g->duplicates = g->clean = g->cut = g->retries = g->failures = 0;
    g->longest = g->timed = 0;
    memset(g->refused, 0, sizeof g->refused);
    memset(g->codes, 0, sizeof g->codes);
    memset(g->fine, 0, sizeof g->fine);
    memset(g->coarse, 0, sizeof g->coarse);
}

static void settle(client *c, enum state state) {
    group *g = c->group;
    if (c->state == CONNECTING || c->state == HEAD || c->state == WAITING) g->handshakes--;
    if (state == OPEN) c->told = now() - g->began;
    if (g->opening && (state == OPEN || state == ENDED)) g->pending--;
    c->state = state;
}

static void shut(client *c, int hard) {
    if (c->fd < 0) return;
    if (hard) {
        struct linger linger = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    close(c->fd);
    c->fd = -1;
    free(c->carry);
    c->carry = NULL;
    c->kept = 0;
}

/* The kernel drops whatever still comes for it, before TCP sees it. */
static void vanish(client *c) {
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {1, &nothing};
    if (c->fd >= 0 && setsockopt(c->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program)) {
        perror("SO_ATTACH_FILTER");
        exit(1);
    }
}

static void ended(client *c) {
    if (c->state == OPEN || c->state == WAITING) {
        if (c->clean) c->group->clean++;
        else c->group->cut++;
    } else
        c->group->failures++;
    shut(c, 0);
    settle(c, ENDED);
}

static void refused(client *c, int status, const char *head) {
    group *g = c->group;
    g->refused[status > 0 && status < 600 ? status : 0]++;
    shut(c, 1);
    const char *after = g->retry ? strcasestr(head, "\r\nretry-after: ") : NULL;
    if (after) {
        g->retries++;
        g->handshakes--;
        c->state = DUE;
        c->due = now() + (int64_t)(atof(after + 15) * 1e9 * (0.5 + drand48()));
    } else
        settle(c, ENDED);
}

static void watch(client *c) {
    group *g = c->group;
    struct epoll_event event = {.events = g->paused && c->state == OPEN ? 0 : EPOLLIN, .data.ptr = c};
    if (c->state == CONNECTING) event.events |= EPOLLOUT;
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void begin(client *c) {
    group *g = c->group;
    int one = 1;
    c->clean = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        perror("socket");
        exit(1);
    }
    if (g->rcvbuf) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &g->rcvbuf, sizeof g->rcvbuf);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* Other addresses of the loop-back, so that there are enough ports. */
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + c->index % 4);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    bind(c->fd, (struct sockaddr *)&from, sizeof from);
    c->state = CONNECTING;
    g->handshakes++;
    struct epoll_event event = {.events = EPOLLOUT | EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) ended(c);
}

static void ask(client *c) {
    group *g = c->group;
    char path[1024], text[2048], number[24];
    size_t used = 0;
    for (const char *p = g->path; *p && used < sizeof path - 64; p++) {
        if (!strncmp(p, "{i}", 3) || !strncmp(p, "{m}", 3)) {
            used += snprintf(path + used, 24, "%d", p[1] == 'i' ? c->index : c->index % (g->modulo ? g->modulo : 1));
            p += 2;
        } else
            path[used++] = *p;
    }
    path[used] = 0;
    (void)number;
    int size;
    if (g->ws)
        size = snprintf(text, sizeof text,
                        "GET %s%s%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                        path, c->cursor[0] ? (strchr(path, '?') ? "&cursor=" : "?cursor=") : "", c->cursor);
    else
        size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s%s%s\r\n", path,
                        c->cursor[0] ? "Last-Event-ID: " : "", c->cursor, c->cursor[0] ? "\r\n" : "");
    if (send(c->fd, text, size, MSG_NOSIGNAL) != size) {
        ended(c);
        return;
    }
    c->state = HEAD;
    watch(c);
}

static void note_latency(group *g, int64_t at, int64_t sent) {
    int64_t micro = (at - sent) / 1000;
    if (micro < 0) micro = 0;
    if (micro > g->longest) g->longest = micro;
    g->timed++;
    if (micro < FINE * 50) g->fine[micro / 50]++;
    else g->coarse[micro / 1000 < COARSE ? micro / 1000 : COARSE - 1]++;
}

static int64_t number_at(const char *p, const char *end, const char **after) {
    int64_t value = 0;
    while (p < end && *p >= '0' && *p <= '9') value = value * 10 + (*p++ - '0');
    *after = p;
    return value;
}

/* Look for events, and for the last cursor, in whole messages or frames. */
static void judge(client *c, const char *text, size_t size, int64_t at) {
    group *g = c->group;
    const char *end = text + size, *p = text;
    while ((p = memmem(p, end - p, "\"n\":", 4))) {
        int64_t n = number_at(p + 4, end, &p);
        g->deliveries++;
        if (c->next >= 0 && n > c->next) g->gaps++;
        if (c->next >= 0 && n < c->next) g->duplicates++;
        else c->next = n + 1;
        if (end - p > 5 && !memcmp(p, ",\"t\":", 5)) note_latency(g, at, number_at(p + 5, end, &p));
    }
    const char *mark = g->ws ? "\"next_cursor\":\"" : "\nid: ";
    size_t length = strlen(mark);
    for (const char *q = end - length; q >= text; q--) {
        if (*q != *mark) {
            q = memrchr(text, *mark, q - text);
            if (!q) break;
        }
        if (memcmp(q, mark, length)) continue;
        const char *from = q + length, *to = memchr(from, g->ws ? '"' : '\n', end - from);
        if (to && to - from < CURSOR) {
            memcpy(c->cursor, from, to - from);
            c->cursor[to - from] = 0;
        }
        break;
    }
}

static void answer(client *c, int opcode, const unsigned char *payload, size_t size) {
    unsigned char frame[131] = {0x80 | opcode, 0x80 | (size > 125 ? 125 : size)}; /* masked with zeros */
    if (size > 125) size = 125;
    memcpy(frame + 6, payload, size);
    send(c->fd, frame, 6 + size, MSG_NOSIGNAL);
}

/* Read whole WebSocket frames; return how many bytes they are. */
static size_t frames(client *c, const char *text, size_t size, int64_t at) {
    size_t done = 0;
    while (size - done >= 2) {
        const unsigned char *p = (const unsigned char *)text + done;
        size_t head = 2, length = p[1] & 127;
        if (length == 126) {
            if (size - done < 4) break;
            length = p[2] << 8 | p[3], head = 4;
        } else if (length == 127) {
            if (size - done < 10) break;
            length = 0, head = 10;
            for (int i = 2; i < 10; i++) length = length << 8 | p[i];
        }
        if (size - done < head + length) break;
        int opcode = p[0] & 15;
        if (opcode == 1 || opcode == 2) judge(c, (const char *)p + head, length, at);
        else if (opcode == 9) answer(c, 10, p + head, length);
        else if (opcode == 8) {
            int code = length >= 2 ? p[head] << 8 | p[head + 1] : 1005;
            c->group->codes[code < CODES ? code : 0]++;
            c->clean = 1;
            answer(c, 8, p + head, length);
        }
        done += head + length;
    }
    return done;
}

static size_t lines(client *c, const char *text, size_t size, int64_t at) {
    /* Up to the end of the last whole message: its id, which comes first, is only then a place to come back to. */
    size_t done = size;
    while (done >= 2 && memcmp(text + done - 2, "\n\n", 2) && (done < 3 || memcmp(text + done - 3, "\n\r\n", 3))) done--;
    if (done < 2) done = 0;
    judge(c, text, done, at);
    if (size >= 5 && !memcmp(text + size - 5, "0\r\n\r\n", 5) && (size == 5 || text[size - 6] == '\n')) c->clean = 1;
    return done;
}

static void take(client *c) {
    group *g = c->group;
    size_t kept = c->kept;
    if (kept) memcpy(buffer, c->carry, kept);
    ssize_t got = recv(c->fd, buffer + kept, BUFFER - kept - 1, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        ended(c);
        return;
    }
    int64_t at = now();
    g->reads++;
    g->bytes += got;
    size_t size = kept + got, done = 0;
    buffer[size] = 0;
    if (c->state == HEAD) {
        char *end = memmem(buffer, size, "\r\n\r\n", 4);
        if (end) {
            int status = size > 12 ? atoi(buffer + 9) : 0;
            if (status != 200 && status != 101) {
                end[2] = 0;
                refused(c, status, buffer);
                return;
            }
            done = end + 4 - buffer;
            c->state = WAITING;
            if (!g->until[0]) settle(c, OPEN);
        }
    }
    if (c->state == WAITING && memmem(buffer + done, size - done, g->until, strlen(g->until))) settle(c, OPEN);
    if (c->state == WAITING || c->state == OPEN) {
        done += (g->ws ? frames : lines)(c, buffer + done, size - done, at);
        if (g->paused && c->state == OPEN) watch(c);
    }
    c->kept = size - done;
    if (c->kept) {
        c->carry = realloc(c->carry, c->kept);
        memcpy(c->carry, buffer + done, c->kept);
    }
    if (c->clean && !g->ws) ended(c);
}

/* Begin connections that are due; return whether some are left. */
static int connect_due(group *g) {
    if (!g->opening) return 0;
    int64_t at = now(), left = 0;
    for (int i = 0; i < g->count; i++) {
        if (g->clients[i].state != DUE) continue;
        left = 1;
        if (g->handshakes >= g->inflight) break;
        if (g->clients[i].due <= at) begin(&g->clients[i]);
    }
    return left || g->pending > 0;
}

static int compare(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void say_opened(group *g) {
    int64_t *times = malloc(sizeof *times * (g->count + 1)), open = 0;
    for (int i = 0; i < g->count; i++)
        if (g->clients[i].state == OPEN) times[open++] = g->clients[i].told;
    qsort(times, open, sizeof *times, compare);
    printf("{\"open\": %ld, \"seconds\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"last\": %.3f, \"failures\": %ld, \"retries\": %ld, \"refused\": {",
           open, (now() - g->began) / 1e9, open ? times[open / 2] / 1e9 : 0, open ? times[open * 99 / 100] / 1e9 : 0,
           open ? times[open - 1] / 1e9 : 0, g->failures, g->retries);
    int first = 1;
    for (int i = 0; i < 600; i++)
        if (g->refused[i]) printf("%s\"%d\": %ld", first ? "" : ", ", i, g->refused[i]), first = 0;
    printf("}}\n");
    free(times);
}

static double percentile(group *g, double part) {
    int64_t wanted = (int64_t)(g->timed * part), seen = 0;
    for (int i = 0; i < FINE; i++)
        if ((seen += g->fine[i]) > wanted) return i * 0.05;
    for (int i = 0; i < COARSE; i++)
        if ((seen += g->coarse[i]) > wanted) return i;
    return g->longest / 1000.0;
}

static void say_stats(group *g) {
    int open = 0;
    int64_t least = INT64_MAX, most = -1;
    for (int i = 0; i < g->count; i++) {
        open += g->clients[i].state == OPEN;
        if (g->clients[i].next < least) least = g->clients[i].next;
        if (g->clients[i].next > most) most = g->clients[i].next;
    }
    printf("{\"open\": %d, \"deliveries\": %ld, \"bytes\": %ld, \"reads\": %ld, \"gaps\": %ld, \"duplicates\": %ld, \"least\": %ld, \"most\": %ld, "
           "\"clean\": %ld, \"cut\": %ld, \"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"max\": %.2f, \"codes\": {",
           open, g->deliveries, g->bytes, g->reads, g->gaps, g->duplicates, least, most, g->clean, g->cut, percentile(g, 0.5),
           percentile(g, 0.9), percentile(g, 0.99), g->longest / 1000.0);
    int first = 1;
    for (int i = 0; i < CODES; i++)
        if (g->codes[i]) printf("%s\"%d\": %ld", first ? "" : ", ", i, g->codes[i]), first = 0;
    printf("}}\n");
}

static void fail(const char *why) {
    printf("{\"error\": \"%s\"}\n", why);
}

static void options(group *g, char *text, double *spread) {
    for (char *part = strtok(text, " "); part; part = strtok(NULL, " ")) {
        char *value = strchr(part, '=');
        if (!value) continue;
        *value++ = 0;
        if (!strcmp(part, "until")) snprintf(g->until, sizeof g->until, "%s", value);
        else if (!strcmp(part, "modulo")) g->modulo = atoi(value);
        else if (!strcmp(part, "inflight")) g->inflight = atoi(value);
        else if (!strcmp(part, "rcvbuf")) g->rcvbuf = atoi(value);
        else if (!strcmp(part, "retry")) g->retry = atoi(value);
        else if (!strcmp(part, "spread")) *spread = atof(value);
    }
}

static void start_opening(group *g, double spread) {
    g->opening = 1;
    g->pending = 0;
    g->began = now();
    for (int i = 0; i < g->count; i++) {
        client *c = &g->clients[i];
        if (c->state != IDLE && c->state != ENDED) continue;
        c->state = DUE;
        c->due = g->began + (int64_t)(spread * 1e6 * drand48());
        g->pending++;
    }
    asked.kind = 'o', asked.of = g;
}

static void command(char *line) {
    char verb[16] = "", name[32] = "", kind[8], path[512];
    int used = 0, count = 0;
    double spread = 0;
    sscanf(line, "%15s %31s%n", verb, name, &used);
    group *g = find(name);
    if (!strcmp(verb, "quit")) exit(0);
    if (!strcmp(verb, "open")) {
        int more = 0;
        if (g || group_count == GROUPS || sscanf(line + used, "%d %7s %511s%n", &count, kind, path, &more) < 3) {
            fail("open GROUP COUNT sse|ws PATH");
            return;
        }
        g = &groups[group_count++];
        memset(g, 0, sizeof *g);
        snprintf(g->name, sizeof g->name, "%s", name);
        snprintf(g->path, sizeof g->path, "%s", path);
        g->ws = !strcmp(kind, "ws");
        g->count = count;
        g->inflight = 256;
        g->clients = calloc(count, sizeof *g->clients);
        for (int i = 0; i < count; i++) g->clients[i] = (client){.group = g, .fd = -1, .index = i, .next = -1};
        options(g, line + used + more, &spread);
        start_opening(g, spread);
        return;
    }
    if (!g) {
        fail("no such group");
        return;
    }
    if (!strcmp(verb, "reopen")) {
        options(g, line + used, &spread);
        start_opening(g, spread);
    } else if (!strcmp(verb, "pause") || !strcmp(verb, "read")) {
        g->paused = *verb == 'p';
        for (int i = 0; i < g->count; i++)
            if (g->clients[i].state == OPEN) watch(&g->clients[i]);
        printf("{}\n");
    } else if (!strcmp(verb, "drop")) {
        for (int i = 0; i < g->count; i++) {
            shut(&g->clients[i], strstr(line, "rst") != NULL);
            g->clients[i].state = IDLE;
        }
        g->opening = 0;
        printf("{}\n");
    } else if (!strcmp(verb, "vanish")) {
        for (int i = 0; i < g->count; i++) vanish(&g->clients[i]);
        printf("{}\n");
    } else if (!strcmp(verb, "wait") || !strcmp(verb, "closed")) {
        long number = 0, limit = 0;
        if (*verb == 'w') sscanf(line + used, "%ld %ld", &number, &limit);
        else sscanf(line + used, "%ld", &limit);
        asked.kind = *verb, asked.of = g, asked.number = number, asked.deadline = now() + limit * 1000000;
        g->began = now();
    } else if (!strcmp(verb, "stats"))
        say_stats(g);
    else if (!strcmp(verb, "reset")) {
        clear_counts(g);
        printf("{}\n");
    } else
        fail("unknown command");
}

/* Answer the command that is under way, if it is done. */
static void progress(void) {
    group *g = asked.of;
    if (asked.kind == 'o') {
        if (connect_due(g)) return;
        g->opening = 0;
        asked.kind = 0;
        say_opened(g);
    } else if (asked.kind == 'w' || asked.kind == 'c') {
        int done = 0;
        for (int i = 0; i < g->count; i++)
            done += asked.kind == 'w' ? g->clients[i].next > asked.number : g->clients[i].state == ENDED;
        if (done < g->count && now() < asked.deadline) return;
        asked.kind = 0;
        printf("{\"done\": %d, \"of\": %d, \"seconds\": %.3f}\n", done, g->count, (now() - g->began) / 1e9);
    }
}

int main(int argc, char **argv) {
    static char input[4096];
    size_t filled = 0;
    if (argc != 3) {
        fprintf(stderr, "load HOST PORT\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    setvbuf(stdout, NULL, _IOLBF, 0);
    srand48(7);
    epoll = epoll_create1(0);
    fcntl(0, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, asked.kind ? 2 : -1);
        for (int i = 0; i < count; i++) {
            client *c = events[i].data.ptr;
            if (c) {
                if (c->fd < 0) continue;
                if (c->state == CONNECTING) {
                    int error = 0;
                    socklen_t length = sizeof error;
                    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
                    if (error) ended(c);
                    else ask(c);
                } else if (c->group->paused && c->state == OPEN && events[i].events & (EPOLLHUP | EPOLLERR))
                    ended(c);
                else
                    take(c);
                continue;
            }
            ssize_t got = read(0, input + filled, sizeof input - filled - 1);
            if (got == 0) return 0;
            if (got > 0) filled += got;
        }
        char *line;
        while (!asked.kind && (line = memchr(input, '\n', filled))) {
            *line = 0;
            size_t length = line + 1 - input;
            command(input);
            memmove(input, input + length, filled -= length);
        }
        if (asked.kind) progress();
    }
}
