// The other side of every comparison: the same client for each server, so that it is never what is measured.
//
//   client echo PORT CONNECTIONS SIZE SECONDS [tls]     each connection sends a binary message, waits for its echo, again
//   client open PORT CONNECTIONS SECONDS                each opens, upgrades, closes by the closing handshake, again
//   client idle PORT CONNECTIONS [tls] [deflate]        opens and upgrades all, says "connected", and stays until its input ends,
//          [join=QUEUE [updates=exact]]                 reading; may join a queue first
//
// Once all are open `idle` reads every 100 ms. A reader that sleeps until something comes is woken by the sender on the same
// machine, and the sender pays: little where the reader was not quite asleep yet, 5 µs where its core had halted. Which of the
// two it is hangs on the pace of the sender, so that a few per cent more work would show as twenty. Over a network nobody pays it.
//
// At its end `echo` and `open` print how many times that was done. Path and Host are what every server here takes.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT = 32768, BUFFER = 256 * 1024 };
enum stage { CONNECTING, SECURING, UPGRADING, OPEN, CLOSING };

static struct { SSL *ssl; enum stage stage; int got, out; char tail[4]; } connections[LIMIT];
static char buffer[BUFFER], *message;
static int epoll, port, wanted, started, upgraded, mode, message_size, echo_size;
static long done;
static SSL_CTX *tls;
static const char *extensions = "", *queue, *updates = "predicted";

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int put(int fd, const char *bytes, int count) {
    int sent = connections[fd].ssl ? SSL_write(connections[fd].ssl, bytes, count) : send(fd, bytes, count, MSG_NOSIGNAL);
    return sent > 0 ? sent : 0;
}

static void begin(void) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) { perror("socket"); exit(1); }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one);
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + started++ % 8)};
    bind(fd, (struct sockaddr *)&source, sizeof source);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    connect(fd, (struct sockaddr *)&address, sizeof address);
    memset(&connections[fd], 0, sizeof connections[fd]);
    if (tls) {
        connections[fd].ssl = SSL_new(tls);
        SSL_set_fd(connections[fd].ssl, fd);
        SSL_set_connect_state(connections[fd].ssl);
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void finish(int fd) {
    if (connections[fd].ssl) SSL_free(connections[fd].ssl);
    connections[fd].ssl = NULL;
    close(fd);
    if (mode == 'o') done++, begin();
    else if (mode == 'e') fprintf(stderr, "a connection ended\n"), exit(1);
}

static void send_more(int fd) {
    while (connections[fd].out < message_size) {
        int sent = put(fd, message + connections[fd].out, message_size - connections[fd].out);
        if (sent == 0) return;
        connections[fd].out += sent;
    }
}

static void join(int fd) {
    char frame[8 + 201] = "\x81\xFE\0\xC8";  // 200 bytes; the mask is 0.
    int length = snprintf(frame + 8, 200, "{\"type\":\"join\",\"queue\":\"%s\",\"updates\":\"%s\"}", queue, updates);
    memset(frame + 8 + length, ' ', 200 - length);
    put(fd, frame, 8 + 200);
}

static void take(int fd, int count) {
    if (connections[fd].stage == UPGRADING) {
        // The answer ends with an empty line; nothing comes behind it before something was sent.
        if (count < 4 || memcmp(buffer + count - 4, "\r\n\r\n", 4) != 0) return;
        if (memcmp(buffer, "HTTP/1.1 101", 12) != 0) { fwrite(buffer, 1, count, stderr); exit(1); }
        connections[fd].stage = OPEN;
        upgraded++;
        if (mode == 'i' && started < wanted) begin();
        if (mode == 'i' && queue) join(fd);
        if (mode == 'i' && upgraded == wanted) puts("connected"), fflush(stdout);
        if (mode == 'o') {
            put(fd, "\x88\x82\0\0\0\0\x03\xe8", 8);
            connections[fd].stage = CLOSING;
        }
        if (mode == 'e') connections[fd].out = 0, send_more(fd);
        return;
    }
    if (mode != 'e') return;
    connections[fd].got += count;
    if (connections[fd].got < echo_size) return;
    done++;
    connections[fd].got = connections[fd].out = 0;
    send_more(fd);
}

static void go_on(int fd, unsigned events) {
    if (connections[fd].stage == CONNECTING && events & EPOLLOUT) connections[fd].stage = tls ? SECURING : UPGRADING, events |= 1u << 30;
    if (connections[fd].stage == SECURING) {
        int result = SSL_do_handshake(connections[fd].ssl);
        if (result != 1) {
            if (SSL_get_error(connections[fd].ssl, result) == SSL_ERROR_SSL) fprintf(stderr, "TLS failed\n"), exit(1);
            return;
        }
        connections[fd].stage = UPGRADING, events |= 1u << 30;
    }
    if (events & 1u << 30) {
        char request[512];
        int length = snprintf(request, sizeof request,
                              "GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", port, extensions);
        put(fd, request, length);
    }
    if (connections[fd].stage == OPEN && mode == 'e' && events & EPOLLOUT) send_more(fd);
    for (;;) {
        int count = connections[fd].ssl ? SSL_read(connections[fd].ssl, buffer, sizeof buffer) : recv(fd, buffer, sizeof buffer, 0);
        if (count > 0) {
            take(fd, count);
            if (!connections[fd].ssl && count < BUFFER && !(events & EPOLLRDHUP)) return;
            continue;
        }
        if (connections[fd].ssl && SSL_get_error(connections[fd].ssl, count) == SSL_ERROR_WANT_READ) return;
        if (count == 0 || connections[fd].ssl) finish(fd);
        return;
    }
}

static void make_message(int size) {
    message = calloc(1, size + 14);
    unsigned char *m = (unsigned char *)message;
    int header = 2;
    m[0] = 0x82;
    if (size > 65535) {
        m[1] = 0x80 | 127, header = 10;
        for (int i = 0; i < 4; i++) m[6 + i] = size >> (24 - 8 * i);
    } else if (size > 125) m[1] = 0x80 | 126, m[2] = size >> 8, m[3] = size, header = 4;
    else m[1] = 0x80 | size;
    memcpy(m + header, "\x12\x34\x56\x78", 4);
    for (int i = 0; i < size; i++) m[header + 4 + i] = 'a' + i % 26;
    message_size = header + 4 + size;
    echo_size = header + size;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc < 4) return 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    mode = argv[1][0], port = atoi(argv[2]), wanted = atoi(argv[3]);
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "tls") == 0) {
            tls = SSL_CTX_new(TLS_client_method());
            SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
        }
        if (strncmp(argv[i], "join=", 5) == 0) queue = argv[i] + 5;
        if (strncmp(argv[i], "updates=", 8) == 0) updates = argv[i] + 8;
        if (strcmp(argv[i], "deflate") == 0) extensions = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    }
    if (mode == 'e') make_message(atoi(argv[4]));
    double end = mode == 'e' ? now() + atof(argv[5]) : mode == 'o' ? now() + atof(argv[4]) : 0;
    epoll = epoll_create1(0);
    struct epoll_event input = {.events = EPOLLIN, .data.fd = 0};
    if (mode == 'i') epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &input);
    for (int i = 0; i < wanted && (mode != 'i' || i < 64); i++) begin();
    while (end == 0 || now() < end) {
        struct epoll_event events[256];
        int naps = mode == 'i' && upgraded == wanted;
        int ready = epoll_wait(epoll, events, 256, naps ? 0 : 100);
        if (naps && ready == 0) usleep(100000);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == 0 && mode == 'i') return 0;
            go_on(events[i].data.fd, events[i].events);
        }
    }
    printf("%ld\n", done);
}
