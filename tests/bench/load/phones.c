/* Phones that register: the load generator of the benches.
 *
 *   phones udp|tcp|tls HOST PORT REALM COUNT BASE
 *
 * Phone i is user "p<i>" with password "secret-<i>" and has a loopback address of its own, from 127.BASE.0.1 on.
 * Commands come on standard input, one a line; each is answered by one line of JSON on standard output:
 *
 *   run full|refresh HOW_MANY IN_FLIGHT     as fast as the server answers, IN_FLIGHT at a time
 *   rate full|refresh HOW_MANY PER_SECOND   at a pace, whatever the server does
 *   flood full|refresh HOW_MANY PER_SECOND  at a pace, 503 or not; who has no answer at the end gives up
 *   storm LIMIT_SECONDS                     all at once; 503 is obeyed, silence retried; until all are registered
 *   wait SECONDS                            answer what comes
 *
 * "full" is REGISTER, 401, REGISTER, 200; "refresh" goes on with the nonce of the last 401 and a grown nc.
 * Requests are sent again as RFC 3261 17.1.2 says; requests that come (NOTIFY, OPTIONS) are answered 200.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "md5.h"
#include "tls.h"

#define BATCH 64
#define LARGEST 2048
#define T1 0.5
#define T2 4.0
#define TIMER_F 32.0
#define SCAN 0.05 /* seconds between looks at the timers */

enum state { IDLE, BARE, SIGNED, RESTING };

struct phone {
    enum state state;
    int fd;
    SSL *tls;
    unsigned cseq, nc, again, connected, place;
    double began, sent, due, interval;
    char ha1[33], nonce[128];
    char *stream;
    unsigned filled;
};

static struct {
    unsigned ok, failed, unanswered, rechallenged, repeated, served, requests, refused_503, finished;
    double retry_low, retry_high, first_ok, last_ok;
} tally;

static struct phone *phones;
static unsigned *active, active_count, total, base_octet, next_phone;
static float *latencies;
static unsigned latency_room;
static int reliable, secure, wire = -1, poller, refreshing, storming;
static unsigned port;
static struct sockaddr_in server;
static const char *realm, *via_transport, *uri_transport;
static char ha2[33], uri[160];

static struct mmsghdr out_headers[BATCH], in_headers[BATCH];
static struct iovec out_parts[BATCH], in_parts[BATCH];
static char out_data[BATCH][LARGEST], in_data[BATCH][LARGEST], out_control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))],
    in_control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
static struct sockaddr_in in_from[BATCH];
static unsigned out_count;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint32_t address_of(unsigned i) {
    return htonl(0x7f000000u + (base_octet << 16) + ((i / 250) << 8) + i % 250 + 1);
}

/* ---- sending */

static void flush_out(void) {
    for (unsigned sent = 0; sent < out_count;) {
        int n = sendmmsg(wire, out_headers + sent, out_count - sent, 0);
        if (n < 0 && errno != EINTR && errno != EAGAIN) n = 1; /* lost, as on any network */
        if (n > 0) sent += n;
    }
    out_count = 0;
}

static void send_udp(uint32_t from, const char *text, unsigned length) {
    unsigned at = out_count++;
    memcpy(out_data[at], text, length);
    out_parts[at] = (struct iovec){out_data[at], length};
    struct msghdr *header = &out_headers[at].msg_hdr;
    *header = (struct msghdr){&server, sizeof server, &out_parts[at], 1, out_control[at], sizeof out_control[at], 0};
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    control->cmsg_level = IPPROTO_IP;
    control->cmsg_type = IP_PKTINFO;
    control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    struct in_pktinfo info = {0};
    info.ipi_spec_dst.s_addr = from;
    memcpy(CMSG_DATA(control), &info, sizeof info);
    if (out_count == BATCH) flush_out();
}

static void send_text(unsigned i, const char *text, unsigned length) {
    struct phone *p = &phones[i];
    if (!reliable) send_udp(address_of(i), text, length);
    else if ((secure ? SSL_write(p->tls, text, length) : send(p->fd, text, length, MSG_NOSIGNAL)) != (ssize_t)length)
        tally.failed++;
}

static unsigned sign(struct phone *p, unsigned i, char *out) {
    char text[512], response[33];
    int n = sprintf(text, "%s:%s:%08x:%08x:auth:%s", p->ha1, p->nonce, p->nc, i, ha2);
    md5_hex(text, n, response);
    return sprintf(out,
        "Authorization: Digest username=\"p%u\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", response=\"%s\", "
        "algorithm=MD5, cnonce=\"%08x\", qop=auth, nc=%08x\r\n", i, realm, p->nonce, uri, response, i, p->nc);
}

static void send_register(unsigned i) {
    struct phone *p = &phones[i];
    char text[LARGEST], host[INET_ADDRSTRLEN], *at = text;
    uint32_t address = address_of(i);
    inet_ntop(AF_INET, &address, host, sizeof host);
    at += sprintf(at,
        "REGISTER %s SIP/2.0\r\nVia: SIP/2.0/%s %s:%u;branch=z9hG4bK%08x%08x;rport\r\nMax-Forwards: 70\r\n"
        "From: \"Phone %u\" <sip:p%u@%s>;tag=%08x\r\nTo: \"Phone %u\" <sip:p%u@%s>\r\nCall-ID: 3c26700857a8-%u@%s\r\n"
        "CSeq: %u REGISTER\r\nContact: <sip:p%u@%s:%u;transport=%s>\r\nExpires: 3600\r\n",
        uri, via_transport, host, port, i, p->cseq, i, i, realm, i * 2654435761u, i, i, realm, i, host, p->cseq, i, host,
        port, uri_transport);
    if (p->state == SIGNED) at += sign(p, i, at);
    at += sprintf(at,
        "User-Agent: Yealink SIP-T46S 66.84.0.%u\r\nAllow: INVITE, INFO, PRACK, ACK, BYE, CANCEL, OPTIONS, NOTIFY, "
        "REGISTER, SUBSCRIBE, REFER, PUBLISH, UPDATE, MESSAGE\r\nSupported: replaces\r\nContent-Length: 0\r\n\r\n", i % 8);
    send_text(i, text, at - text);
}

/* ---- the life of a registration */

static void transmit(unsigned i, enum state state) {
    struct phone *p = &phones[i];
    p->state = state;
    p->cseq++;
    p->nc += state == SIGNED;
    p->sent = now();
    p->interval = T1;
    p->due = p->sent + (reliable ? TIMER_F : T1);
    send_register(i);
}

static void begin(unsigned i) {
    struct phone *p = &phones[i];
    if (p->state == IDLE) {
        p->place = active_count;
        active[active_count++] = i;
    }
    p->began = now();
    p->again = 0;
    transmit(i, refreshing && p->nonce[0] ? SIGNED : BARE);
}

static void end(unsigned i) {
    struct phone *p = &phones[i];
    active[p->place] = active[--active_count];
    phones[active[p->place]].place = p->place;
    p->state = IDLE;
    tally.finished++;
}

static void rest(unsigned i, double seconds) {
    phones[i].state = RESTING;
    phones[i].due = now() + seconds;
}

static void succeed(unsigned i) {
    double t = now();
    if (tally.ok < latency_room) latencies[tally.ok] = t - phones[i].began;
    if (!tally.ok++) tally.first_ok = t;
    tally.last_ok = t;
    end(i);
}

static void fail(unsigned i) {
    if (storming) rest(i, 1 + 4.0 * rand() / RAND_MAX);
    else tally.failed++, end(i);
}

static void refused(unsigned i, const char *text) {
    const char *header = strcasestr(text, "\r\nRetry-After:");
    double after = header ? atof(header + 14) : 5;
    tally.refused_503++;
    if (!tally.retry_low || after < tally.retry_low) tally.retry_low = after;
    if (after > tally.retry_high) tally.retry_high = after;
    if (storming) rest(i, after);
    else tally.failed++, end(i);
}

static void challenged(unsigned i, const char *text) {
    struct phone *p = &phones[i];
    const char *nonce = strstr(text, "nonce=\"");
    const char *quote = nonce ? strchr(nonce + 7, '"') : NULL;
    if (p->state == SIGNED) {
        tally.rechallenged++;
        if (p->again++) nonce = NULL;
    }
    if (!nonce || !quote || quote - nonce - 7 >= (int)sizeof p->nonce) {
        fail(i);
        return;
    }
    memcpy(p->nonce, nonce + 7, quote - nonce - 7);
    p->nonce[quote - nonce - 7] = 0;
    p->nc = 0;
    transmit(i, SIGNED);
}

static void answer_request(unsigned i, uint32_t from, const char *text) {
    static const char *copied[] = {"\r\nVia:", "\r\nFrom:", "\r\nTo:", "\r\nCall-ID:", "\r\nCSeq:"};
    char answer[LARGEST], *at = answer;
    at += sprintf(at, "SIP/2.0 200 OK");
    for (int n = 0; n < 5; n++) {
        const char *line = strstr(text, copied[n]), *stop = line ? strstr(line + 2, "\r\n") : NULL;
        if (!stop) return;
        at += sprintf(at, "%.*s%s", (int)(stop - line), line, n == 2 ? ";tag=phone" : "");
    }
    at += sprintf(at, "\r\nContent-Length: 0\r\n\r\n");
    tally.requests++;
    if (reliable) send_text(i, answer, at - answer);
    else send_udp(from, answer, at - answer);
}

static void receive(unsigned known, uint32_t to, const char *text) {
    if (strncmp(text, "SIP/2.0 ", 8)) {
        answer_request(known, to, text);
        return;
    }
    const char *call = strstr(text, "\r\nCall-ID: 3c26700857a8-"), *cseq = strstr(text, "\r\nCSeq: ");
    unsigned i = call ? strtoul(call + 24, NULL, 10) : total;
    if (!cseq || i >= total) return;
    struct phone *p = &phones[i];
    if ((p->state != BARE && p->state != SIGNED) || strtoul(cseq + 8, NULL, 10) != p->cseq) return; /* late */
    int status = atoi(text + 8);
    if (status == 200) succeed(i);
    else if (status == 401) challenged(i, text);
    else if (status == 503) refused(i, text);
    else if (status >= 200) fail(i);
}

static void look_at_timers(void) {
    double t = now();
    for (unsigned n = active_count; n-- > 0;) {
        unsigned i = active[n];
        struct phone *p = &phones[i];
        if (p->due > t) continue;
        if (p->state == RESTING) begin(i);
        else if (t - p->sent >= TIMER_F) fail(i);
        else if (!reliable) {
            p->interval = p->interval * 2 > T2 ? T2 : p->interval * 2;
            p->due = t + p->interval;
            tally.repeated++;
            send_register(i);
        }
    }
}

/* ---- receiving */

static void drain_udp(void) {
    for (;;) {
        for (int n = 0; n < BATCH; n++) {
            in_parts[n] = (struct iovec){in_data[n], LARGEST - 1};
            in_headers[n].msg_hdr =
                (struct msghdr){&in_from[n], sizeof in_from[n], &in_parts[n], 1, in_control[n], sizeof in_control[n], 0};
        }
        int count = recvmmsg(wire, in_headers, BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0) break;
        for (int n = 0; n < count; n++) {
            struct cmsghdr *control = CMSG_FIRSTHDR(&in_headers[n].msg_hdr);
            struct in_pktinfo info = {0};
            if (control) memcpy(&info, CMSG_DATA(control), sizeof info);
            in_data[n][in_headers[n].msg_len] = 0;
            receive(0, info.ipi_addr.s_addr, in_data[n]);
        }
        if (count < BATCH) break;
    }
}

static void drain_stream(unsigned i) {
    struct phone *p = &phones[i];
    char *room = p->stream + p->filled;
    size_t size = LARGEST - 1 - p->filled;
    ssize_t n = secure ? tls_receive(p->tls, room, size) : recv(p->fd, room, size, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        epoll_ctl(poller, EPOLL_CTL_DEL, p->fd, NULL);
        p->connected = 0;
        return;
    }
    if (n < 0) return;
    p->filled += n;
    for (char *stop; p->stream[p->filled] = 0, (stop = strstr(p->stream, "\r\n\r\n"));) {
        unsigned length = stop + 4 - p->stream;
        stop[2] = 0;
        if (length > 4) receive(i, 0, p->stream);
        p->filled -= length;
        memmove(p->stream, stop + 4, p->filled);
    }
    if (secure && SSL_pending(p->tls)) drain_stream(i); /* of this the socket tells nothing */
}

static int turn(double timeout) {
    struct epoll_event events[256];
    static double next_look;
    struct timespec wait = {(time_t)timeout, (long)((timeout - (time_t)timeout) * 1e9)};
    int command = 0, count = epoll_pwait2(poller, events, 256, &wait, NULL);
    for (int n = 0; n < count; n++) {
        if (events[n].data.u32 == total) command = 1;
        else if (reliable) drain_stream(events[n].data.u32);
        else drain_udp();
    }
    double t = now();
    if (t >= next_look) look_at_timers(), next_look = t + SCAN;
    flush_out();
    return command;
}

static void watch(int fd, unsigned as) {
    struct epoll_event event = {EPOLLIN, {.u32 = as}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void connect_all(void) {
    int one = 1;
    for (unsigned i = 0; i < total; i++) {
        struct phone *p = &phones[i];
        struct sockaddr_in mine = {AF_INET, 0, {address_of(i)}, {0}};
        p->fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (p->fd < 0 || bind(p->fd, (void *)&mine, sizeof mine)) die("bind");
        if (connect(p->fd, (void *)&server, sizeof server)) die("connect");
        if (secure && !(p->tls = tls_open(p->fd))) die("TLS handshake");
        fcntl(p->fd, F_SETFL, O_NONBLOCK);
        p->stream = malloc(LARGEST);
        p->connected = 1;
        watch(p->fd, i);
    }
}

static void open_wire(void) {
    int one = 1, size = 8 << 20;
    struct sockaddr_in any = {AF_INET, 0, {INADDR_ANY}, {0}};
    socklen_t length = sizeof any;
    wire = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(wire, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
    setsockopt(wire, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(wire, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (wire < 0 || bind(wire, (void *)&any, sizeof any)) die("bind");
    getsockname(wire, (void *)&any, &length);
    port = ntohs(any.sin_port);
    watch(wire, 0);
}

/* ---- commands */

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(double q) {
    unsigned n = tally.ok < latency_room ? tally.ok : latency_room;
    return n ? latencies[(unsigned)(q * (n - 1))] * 1e3 : 0;
}

static void report(double wall, double spent) {
    qsort(latencies, tally.ok < latency_room ? tally.ok : latency_room, sizeof *latencies, by_size);
    printf("{\"ok\": %u, \"failed\": %u, \"unanswered\": %u, \"rechallenged\": %u, \"repeated\": %u, \"requests\": %u, \"refused\": %u, "
           "\"retry_low\": %g, \"retry_high\": %g, \"wall\": %.6f, \"cpu\": %.6f, \"ok_span\": %.6f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.3f}\n",
        tally.ok, tally.failed, tally.unanswered, tally.rechallenged, tally.repeated, tally.requests, tally.refused_503, tally.retry_low,
        tally.retry_high, wall, spent, tally.last_ok - tally.first_ok, quantile(0.5), quantile(0.99), quantile(0.999),
        quantile(1));
    fflush(stdout);
}

static void start_next(void) {
    for (unsigned tried = 0; tried < total && active_count < total; tried++) {
        unsigned i = next_phone++ % total;
        if (phones[i].state == IDLE && (!reliable || phones[i].connected)) {
            begin(i);
            return;
        }
    }
}

static void run(unsigned how_many, unsigned in_flight) {
    unsigned started = 0;
    while (started < how_many || active_count) {
        while (active_count < in_flight && started < how_many) start_next(), started++;
        flush_out();
        turn(SCAN);
    }
}

static void pace(unsigned how_many, double per_second, int patient) {
    double from = now();
    unsigned started = 0;
    while (started < how_many || (patient && active_count)) {
        double t = now() - from;
        while (started < how_many && started <= t * per_second) start_next(), started++;
        flush_out();
        double due = started < how_many ? started / per_second - (now() - from) : SCAN;
        turn(due < 0 ? 0 : due > SCAN ? SCAN : due);
    }
    for (; active_count; tally.unanswered++) end(active[0]);
}

static void storm(double limit) {
    double until = now() + limit;
    storming = 1;
    refreshing = 0;
    for (unsigned i = 0; i < total; i++) {
        begin(i);
        if (i % 256 == 255) turn(0);
    }
    while (tally.ok < total && now() < until) turn(SCAN);
    storming = 0;
    while (active_count) end(active[0]);
}

static void obey(char *line) {
    char what[16], kind[16] = "";
    double a = 0, b = 0, wall = now(), spent = cpu();
    memset(&tally, 0, sizeof tally);
    if (sscanf(line, "%15s %15s", what, kind) < 1) return;
    refreshing = !strcmp(kind, "refresh");
    if (!strcmp(what, "run") || !strcmp(what, "rate") || !strcmp(what, "flood")) {
        if (sscanf(line, "%*s %*s %lf %lf", &a, &b) < 2) die("command");
        if (what[1] == 'u') run(a, b);
        else pace(a, b, what[0] == 'r');
    } else if (!strcmp(what, "storm")) {
        storm(atof(kind));
    } else if (!strcmp(what, "wait")) {
        for (double until = now() + atof(kind); now() < until;) turn(SCAN);
    }
    report(now() - wall, cpu() - spent);
}

int main(int argc, char **argv) {
    if (argc != 7) return fprintf(stderr, "usage: phones udp|tcp|tls HOST PORT REALM COUNT BASE\n"), 2;
    secure = !strcmp(argv[1], "tls");
    reliable = secure || !strcmp(argv[1], "tcp");
    uri_transport = argv[1];
    via_transport = secure ? "TLS" : reliable ? "TCP" : "UDP";
    if (secure) tls_begin(), signal(SIGPIPE, SIG_IGN);
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[3]));
    inet_pton(AF_INET, argv[2], &server.sin_addr);
    realm = argv[4];
    total = atoi(argv[5]);
    base_octet = atoi(argv[6]);
    phones = calloc(total, sizeof *phones);
    active = calloc(total, sizeof *active);
    latency_room = 1 << 20;
    latencies = calloc(latency_room, sizeof *latencies);
    poller = epoll_create1(0);
    sprintf(uri, "sip:%s", realm);
    char text[512];
    md5_hex(text, sprintf(text, "REGISTER:%s", uri), ha2);
    for (unsigned i = 0; i < total; i++)
        md5_hex(text, sprintf(text, "p%u:%s:secret-%u", i, realm, i), phones[i].ha1);
    if (reliable) port = secure ? 5061 : 5060, connect_all();
    else open_wire();
    watch(0, total);
    printf("{\"ready\": %u}\n", total);
    fflush(stdout);
    for (char line[128];;) {
        if (!turn(SCAN)) continue;
        ssize_t n = read(0, line, sizeof line - 1);
        if (n <= 0) return 0;
        line[n] = 0;
        obey(line);
    }
}
