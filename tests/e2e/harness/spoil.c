/* Preloaded into a process: at SIGWINCH the descriptors that the file $SPOIL lists lead to stdin. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static const char *list;

static void spoil(int signal) {
    char text[4096];
    int file = open(list, O_RDONLY), descriptor = -1;
    ssize_t length = read(file, text, sizeof text);
    (void)signal;
    close(file);
    for (ssize_t at = 0; at < length; at++) {
        if (text[at] >= '0' && text[at] <= '9') {
            descriptor = (descriptor < 0 ? 0 : descriptor * 10) + text[at] - '0';
        } else {
            if (descriptor >= 0) dup2(0, descriptor);
            descriptor = -1;
        }
    }
}

__attribute__((constructor)) static void listen_for_it(void) {
    struct sigaction action = {.sa_handler = spoil, .sa_flags = SA_RESTART};
    list = getenv("SPOIL");
    if (list) sigaction(SIGWINCH, &action, 0);
}
