#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(CLINUX_IN == EPOLLIN && CLINUX_OUT == EPOLLOUT && CLINUX_RDHUP == EPOLLRDHUP, "epoll bits");
_Static_assert(CLINUX_ERR == EPOLLERR && CLINUX_HUP == EPOLLHUP, "epoll bits");

static int checked(int result) { return result < 0 ? -errno : result; }

int clinux_epoll_create(void) { return checked(epoll_create1(EPOLL_CLOEXEC)); }

int clinux_epoll_add(int epoll, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events | EPOLLET, .data.u64 = data};
    return checked(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

int clinux_epoll_modify(int epoll, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events | EPOLLET, .data.u64 = data};
    return checked(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
}

int clinux_epoll_remove(int epoll, int fd) { return checked(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL)); }

int clinux_epoll_wait(int epoll, clinux_event *events, int capacity, int milliseconds) {
    struct epoll_event raw[256];
    int total = 0, room, count;
    do {
        room = capacity - total < 256 ? capacity - total : 256;
        count = (int)syscall(SYS_epoll_pwait, epoll, raw, room, total == 0 ? milliseconds : 0, NULL, 0);
        if (count < 0 && total == 0) return errno == EINTR ? 0 : -errno;
        for (int i = 0; i < count; i++) events[total + i] = (clinux_event){.data = raw[i].data.u64, .events = raw[i].events};
        total += count > 0 ? count : 0;
    } while (count == room && total < capacity);
    return total;
}

int clinux_eventfd(void) { return checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int clinux_accept(int listener, struct sockaddr *address, socklen_t *length) {
    return checked((int)syscall(SYS_accept4, listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static ssize_t counted(long result) { return result < 0 ? -errno : result; }

ssize_t clinux_receive(int fd, void *buffer, size_t count) { return counted(syscall(SYS_recvfrom, fd, buffer, count, 0, NULL, NULL)); }

ssize_t clinux_send(int fd, const void *bytes, size_t count) {
    return counted(syscall(SYS_sendto, fd, bytes, count, MSG_NOSIGNAL, NULL, 0));
}

ssize_t clinux_send_two(int fd, const void *first, size_t first_count, const void *second, size_t second_count) {
    struct iovec parts[2] = {{(void *)first, first_count}, {(void *)second, second_count}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return counted(syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL));
}

int clinux_unacknowledged(int fd) {
    int count = 0;
    return ioctl(fd, SIOCOUTQ, &count) < 0 ? 0 : count;
}

static __thread void *thread_owner;

void *clinux_thread_owner(void) { return thread_owner; }

void clinux_set_thread_owner(void *owner) { thread_owner = owner; }

uint64_t clinux_acknowledged(int fd) {
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0 ? 0 : info.tcpi_bytes_acked;
}

void clinux_close(int fd) { syscall(SYS_close, fd); }

static int signal_pipe[2] = {-1, -1};

// All that may be done inside an interruption: one byte for the loop (signal-safety(7)).
static void tell_signal(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t ignored = write(signal_pipe[1], &byte, 1);
    (void)ignored;
    errno = saved;
}

int clinux_signal_pipe(const int *signals, int count) {
    if (signal_pipe[0] < 0 && pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return -errno;
    struct sigaction action = {.sa_handler = tell_signal, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    for (int i = 0; i < count; i++)
        if (sigaction(signals[i], &action, NULL) != 0) return -errno;
    return signal_pipe[0];
}

int clinux_next_signal(int fd) {
    unsigned char byte;
    return read(fd, &byte, 1) == 1 ? byte : 0;
}

int64_t clinux_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -errno;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return (int64_t)limit.rlim_cur;
}

int clinux_processor_count(void) {
    cpu_set_t set;
    // It fails only where a machine has more than CPU_SETSIZE.
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

void clinux_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

int clinux_pipe(int ends[2]) { return checked(pipe2(ends, O_CLOEXEC)); }

int clinux_spawn(char *const arguments[], int output, int errors) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_adddup2(&actions, errors, 2);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t process = 0;
    int error = posix_spawnp(&process, arguments[0], &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error != 0 ? -error : process;
}
