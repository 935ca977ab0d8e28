// The reference: what a loop in C costs that does nothing but epoll and send. It accepts `count` connections, reads
// whatever they say, and once a second sends `size` bytes to each of them, `rounds` times. No checks, no frames built.
// Prints "ready PORT", "connected", and at its end its own CPU time a frame in microseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int count = atoi(argv[1]), size = atoi(argv[2]), rounds = atoi(argv[3]), connected = 0, one = 1;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 4096);
    socklen_t length = sizeof address;
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
    int *fds = calloc(count, sizeof *fds), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = listener}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    char buffer[65536], *frame = calloc(1, size);
    frame[0] = (char)0x81;
    frame[1] = 126;
    frame[2] = (char)((size - 4) >> 8);
    frame[3] = (char)((size - 4) & 255);
    memset(frame + 4, '0', size - 4);
    double due = 0, began = 0;
    long sent = 0;
    for (int round = 0; round < rounds;) {
        int ready = epoll_wait(epoll, events, 256, due == 0 ? 1000 : due > now() ? (int)((due - now()) * 1000) + 1 : 0);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != listener) {
                while (recv(events[i].data.fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0) {}
                continue;
            }
            int fd;
            while (connected < count && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP;
                event.data.fd = fds[connected++] = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
            if (connected == count && due == 0) {
                due = now() + 1;
                printf("connected\n");
                fflush(stdout);
            }
        }
        if (due == 0 || now() < due) continue;
        if (round == 1) began = cpu(), sent = 0;  // The first round warms up.
        for (int i = 0; i < count; i++) sent += send(fds[i], frame, size, MSG_NOSIGNAL) == size;
        due += 1;
        round++;
    }
    printf("%.4f\n", (cpu() - began) * 1e6 / sent);
    return 0;
}
