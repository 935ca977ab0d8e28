// What Glibc's module map leaves out of <sys/*.h> and of what is GNU's: epoll, eventfd, accept4, pipe2, closefrom.
// Thin functions over the system calls; each returns -errno instead of -1, so that no caller can read a stale errno.
#pragma once

#include <stdint.h>
#include <sys/socket.h>

/// One readiness report: `data` is what was registered, `events` the EPOLL* bits.
typedef struct {
    uint64_t data;
    uint32_t events;
} clinux_event;

enum {
    CLINUX_IN = 0x001,
    CLINUX_OUT = 0x004,
    CLINUX_ERR = 0x008,
    CLINUX_HUP = 0x010,
    CLINUX_RDHUP = 0x2000,
};

int clinux_epoll_create(void);
/// Registers `fd` edge-triggered.
int clinux_epoll_add(int epoll, int fd, uint32_t events, uint64_t data);
int clinux_epoll_modify(int epoll, int fd, uint32_t events, uint64_t data);
int clinux_epoll_remove(int epoll, int fd);
/// Waits at most `milliseconds` (-1: for ever) for a first event, and fetches as many as there are, at most `capacity`; an
/// interruption by a signal counts as no event.
int clinux_epoll_wait(int epoll, clinux_event *events, int capacity, int milliseconds);

int clinux_eventfd(void);

// The calls of every message, straight to the kernel: Glibc's own are cancellation points, which no thread here needs
// and each call would pay for (pthreads(7)). None raises SIGPIPE.
int clinux_accept(int listener, struct sockaddr *address, socklen_t *length);
ssize_t clinux_receive(int fd, void *buffer, size_t count);
ssize_t clinux_send(int fd, const void *bytes, size_t count);
/// Two pieces in one call.
ssize_t clinux_send_two(int fd, const void *first, size_t first_count, const void *second, size_t second_count);
/// Bytes of a socket that were sent and not acknowledged; 0 where the kernel does not say.
int clinux_unacknowledged(int fd);
/// A pointer that belongs to the calling thread: what it set last; NULL before that.
void *clinux_thread_owner(void);
void clinux_set_thread_owner(void *owner);
/// Bytes that the peer of a TCP socket has acknowledged since it was opened; 0 where the kernel does not say.
uint64_t clinux_acknowledged(int fd);
void clinux_close(int fd);

/// A descriptor from which the named signals are read, as long as the process lives. One a process.
int clinux_signal_pipe(const int *signals, int count);
/// The next signal from that descriptor, 0 when there is none.
int clinux_next_signal(int fd);
/// Sets the soft limit on descriptors to the hard one; returns the limit.
int64_t clinux_raise_descriptor_limit(void);
/// Processors that this process may run on.
int clinux_processor_count(void);
/// Names the calling thread, for top and perf (15 bytes at most).
void clinux_name_thread(const char *name);

/// A pipe whose ends no program inherits.
int clinux_pipe(int ends[2]);
/// Starts a program that is found by its name, and returns its number. It inherits nothing but `output` and `errors`:
/// no other descriptor, no blocked or ignored signal. -ENOENT: there is none of that name.
int clinux_spawn(char *const arguments[], int output, int errors);

/// Has the processor fetch what will soon be read (a hint, which cannot fail).
static inline void clinux_prefetch(const void *address) { __builtin_prefetch(address); }
