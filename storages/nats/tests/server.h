/* A nats-server of the test's own: on a free port of the loopback interface, with a folder of its own. NATS_SERVER is the path of the program. */
#ifndef NATS_TESTS_SERVER_H
#define NATS_TESTS_SERVER_H

#include "wire.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>

typedef struct {
    pid_t pid;
    int port;
    char folder[512], file[640], address[64];
} server_t;

CHECK_UNUSED static int free_port(void)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_OR_STOP(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK_OR_STOP(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* Writes the server's configuration: where it listens and stores, and what the test adds. It counts from the next start. */
CHECK_UNUSED static void server_configure(server_t *s, const char *more)
{
    FILE *f = fopen(s->file, "w");
    CHECK_OR_STOP(f != NULL);
    fprintf(f, "listen: \"127.0.0.1:%d\"\njetstream { store_dir: \"%s\", max_file: 2000000000, max_mem: 200000000 }\n%s\n", s->port, s->folder, more);
    fclose(f);
}

/* Starts the server, and does not wait until it is ready. */
CHECK_UNUSED static void server_launch(server_t *s)
{
    const char *program = getenv("NATS_SERVER");
    CHECK_OR_STOP(program != NULL);
    s->pid = fork();
    CHECK_OR_STOP(s->pid >= 0);
    if (s->pid == 0) {
        int log = open("server.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive the test */
        dup2(log, 1);
        dup2(log, 2);
        execl(program, "nats-server", "-c", s->file, (char *)NULL);
        _exit(127);
    }
}

/* Starts the server. It is ready when the test can log in with `login` and JetStream answers. */
CHECK_UNUSED static void server_start(server_t *s, const char *login)
{
    wire_t w;
    bool ready = false;
    server_launch(s);
    WAIT_FOR(ready || (ready = wire_open(&w, s->port, login)));
    if (ready) {
        char answer[4096];
        /* JetStream is ready a little later. */
        do
            wire_request(&w, "$JS.API.INFO", "", answer, sizeof answer);
        while (strstr(answer, "\"limits\"") == NULL && strstr(answer, "\"code\":503") != NULL);
        wire_close(&w);
    }
}

CHECK_UNUSED static void server_kill(server_t *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
}

/* A server that has never run. */
CHECK_UNUSED static void server_new(server_t *s, const char *more)
{
    char here[400];
    CHECK_OR_STOP(getcwd(here, sizeof here) != NULL);
    memset(s, 0, sizeof *s);
    s->port = free_port();
    snprintf(s->folder, sizeof s->folder, "%s/store-%d", here, s->port);
    snprintf(s->file, sizeof s->file, "%s/server-%d.conf", here, s->port);
    snprintf(s->address, sizeof s->address, "127.0.0.1:%d", s->port);
    server_configure(s, more);
}

#endif
