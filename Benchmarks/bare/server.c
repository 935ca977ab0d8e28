// The references: what loops in C cost that do nothing but the work itself. They check nothing, limit nothing, and know
// only what the clients beside them send.
//
//   server push COUNT SIZE ROUNDS      accepts COUNT connections and once a second sends SIZE bytes to each, ROUNDS times
//   server echo [CERTIFICATE KEY]      upgrades and echoes WebSocket messages; over TLS with a certificate
//
// Prints "ready PORT"; `push` also "connected" and at its end its CPU time a frame in microseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
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

enum { LIMIT = 32768, BUFFER = 128 * 1024 };

static int listener, epoll;
static char buffer[BUFFER];

static void listen_anywhere(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 4096);
    getsockname(listener, (struct sockaddr *)&address, &length);
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static int take(void) {
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    return fd;
}

// MARK: connections

static struct connection {
    SSL *ssl;
    unsigned char mask[4];
    unsigned upgraded : 1, phase : 2;
    int rest;
} connections[LIMIT];

static void finish(int fd) {
    if (connections[fd].ssl) SSL_free(connections[fd].ssl);
    memset(&connections[fd], 0, sizeof connections[fd]);
    close(fd);
}

static void put(int fd, const void *bytes, int count) {
    if (connections[fd].ssl) {
        while (count > 0) {
            int taken = SSL_write(connections[fd].ssl, bytes, count);
            if (taken <= 0) return;
            bytes = (const char *)bytes + taken, count -= taken;
        }
        return;
    }
    // Waits where there is no room: nobody here reads slowly.
    while (count > 0) {
        ssize_t taken = send(fd, bytes, count, MSG_NOSIGNAL);
        if (taken > 0) bytes = (const char *)bytes + taken, count -= taken;
        else usleep(10);
    }
}

// MARK: push

static double seconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void push(int count, int size, int rounds) {
    int *fds = calloc(count, sizeof *fds), connected = 0;
    char *frame = calloc(1, size);
    frame[0] = (char)0x81, frame[1] = 126, frame[2] = (char)((size - 4) >> 8), frame[3] = (char)((size - 4) & 255);
    memset(frame + 4, '0', size - 4);
    double due = 0, began = 0;
    long sent = 0;
    for (int round = 0; round < rounds;) {
        struct epoll_event events[256];
        double now = seconds(CLOCK_MONOTONIC);
        int ready = epoll_wait(epoll, events, 256, due == 0 ? 1000 : due > now ? (int)((due - now) * 1000) + 1 : 0);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != listener) {
                // Whoever asks gets an upgrade; what is said then is thrown away.
                ssize_t got = recv(events[i].data.fd, buffer, sizeof buffer, 0);
                if (got >= 4 && memcmp(buffer + got - 4, "\r\n\r\n", 4) == 0) put(events[i].data.fd, "HTTP/1.1 101 Switching Protocols\r\n\r\n", 36);
                continue;
            }
            while (connected < count && (fds[connected] = take()) >= 0) connected++;
            if (connected == count && due == 0) {
                due = seconds(CLOCK_MONOTONIC) + 1;
                puts("connected");
                fflush(stdout);
            }
        }
        if (due == 0 || seconds(CLOCK_MONOTONIC) < due) continue;
        if (round == 1) began = seconds(CLOCK_PROCESS_CPUTIME_ID), sent = 0;  // The first round warms the sockets.
        for (int i = 0; i < count; i++) sent += send(fds[i], frame, size, MSG_NOSIGNAL) == size;
        due += 1;
        round++;
    }
    printf("%.4f\n", (seconds(CLOCK_PROCESS_CPUTIME_ID) - began) * 1e6 / sent);
}

// MARK: echo

static void upgrade(int fd, int count) {
    buffer[count] = 0;
    char *key = strcasestr(buffer, "Sec-WebSocket-Key: ");
    char text[128], answer[256];
    unsigned char digest[20], accepted[32];
    if (!key) return finish(fd);
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    SHA1((unsigned char *)text, strlen(text), digest);
    EVP_EncodeBlock(accepted, digest, 20);
    put(fd, answer,
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accepted));
    connections[fd].upgraded = 1;
}

static void unmask(struct connection *c, unsigned char *bytes, int count) {
    unsigned char turned[8];
    for (int i = 0; i < 8; i++) turned[i] = c->mask[(c->phase + i) & 3];
    unsigned long wide;
    memcpy(&wide, turned, 8);
    int i = 0;
    for (; i + 8 <= count; i += 8) {
        unsigned long word;
        memcpy(&word, bytes + i, 8);
        word ^= wide;
        memcpy(bytes + i, &word, 8);
    }
    for (; i < count; i++) bytes[i] ^= turned[i & 7];
    c->phase = (c->phase + count) & 3;
}

// Each frame is unmasked where it lies and goes back as its bytes come; its shorter header fits in front of it.
static void echo(int fd, unsigned char *bytes, int count) {
    struct connection *c = &connections[fd];
    while (count > 0) {
        unsigned char *start = bytes;
        if (c->rest == 0) {
            int length = bytes[1] & 127, extended = length == 126 ? 2 : length == 127 ? 8 : 0;
            if (length == 126) length = bytes[2] << 8 | bytes[3];
            else if (length == 127) length = bytes[6] << 24 | bytes[7] << 16 | bytes[8] << 8 | bytes[9];
            memcpy(c->mask, bytes + 2 + extended, 4);
            c->rest = length;
            c->phase = 0;
            int closing = (bytes[0] & 15) == 8;
            memmove(bytes + 4, bytes, 2 + extended);
            start = bytes + 4;
            start[1] &= 127;
            int header = 6 + extended, here = count - header < length ? count - header : length;
            unmask(c, bytes + header, here);
            put(fd, start, 2 + extended + here);
            bytes += header + here, count -= header + here, c->rest -= here;
            if (closing) return finish(fd);
            continue;
        }
        int here = count < c->rest ? count : c->rest;
        unmask(c, bytes, here);
        put(fd, start, here);
        bytes += here, count -= here, c->rest -= here;
    }
}

static int get(int fd) {
    if (!connections[fd].ssl) return recv(fd, buffer, sizeof buffer - 1, 0);
    int count = SSL_read(connections[fd].ssl, buffer, sizeof buffer - 1);
    return count > 0 ? count : SSL_get_error(connections[fd].ssl, count) == SSL_ERROR_WANT_READ ? -1 : 0;
}

static void serve(SSL_CTX *tls) {
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = take()) >= 0) {
                    if (!tls) continue;
                    connections[fd].ssl = SSL_new(tls);
                    SSL_set_fd(connections[fd].ssl, fd);
                    SSL_set_accept_state(connections[fd].ssl);
                }
                continue;
            }
            if (!(events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))) continue;
            int count;
            while ((count = get(fd)) > 0) {
                if (!connections[fd].upgraded) upgrade(fd, count);
                else echo(fd, (unsigned char *)buffer, count);
                // A buffer that was not filled has emptied the socket; TLS keeps what it read ahead.
                if (!connections[fd].ssl && (count < (int)sizeof buffer - 1 || !connections[fd].upgraded)) break;
            }
            if (count == 0) finish(fd);
        }
    }
}

static SSL_CTX *certificate(const char *chain, const char *key) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, chain) != 1 || SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) exit(1);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return context;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) return 2;
    listen_anywhere();
    if (strcmp(argv[1], "push") == 0 && argc == 5) push(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
    else serve(argc == 4 ? certificate(argv[2], argv[3]) : NULL);
}
