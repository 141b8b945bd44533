/* Preloaded into a process: a thread that gets SIGURG can wait for events no more. And while a file is there that DOOM_GATE
   names, the main thread waits with each thread that it would start. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static __thread volatile sig_atomic_t doomed __attribute__((tls_model("initial-exec")));

static void doom(int signal) {
    (void)signal;
    doomed = 1;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    static int (*real)(int, struct epoll_event *, int, int);
    if (doomed) {
        errno = EINVAL;
        return -1;
    }
    if (!real) real = dlsym(RTLD_NEXT, "epoll_wait");
    return real(epoll, events, most, timeout);
}

long syscall(long number, ...) {
    static long (*real)(long, ...);
    va_list list;
    long at[6];
    va_start(list, number);
    for (int place = 0; place < 6; place++) at[place] = va_arg(list, long);
    va_end(list);
    if (doomed && number == SYS_io_uring_enter) {
        errno = EBADF;
        return -1;
    }
    if (!real) real = dlsym(RTLD_NEXT, "syscall");
    return real(number, at[0], at[1], at[2], at[3], at[4], at[5]);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *with, void *(*run)(void *), void *on) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    static const struct timespec look_interval = {.tv_nsec = 1000000};
    const char *gate = getenv("DOOM_GATE");
    if (gate && gettid() == getpid())
        while (!access(gate, F_OK)) nanosleep(&look_interval, 0);
    if (!real) real = dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, with, run, on);
}

__attribute__((constructor)) static void listen_for_it(void) {
    struct sigaction action = {.sa_handler = doom};
    sigaction(SIGURG, &action, 0);
}
