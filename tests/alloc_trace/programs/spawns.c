/* Children that borrow their parent's memory: vfork with exec, with a failing exec, posix_spawn, system, popen.
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int code_of(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (volatile int i = 0; i < 5; i++) {
        free(malloc(200));
        pid_t child = vfork();
        if (child == 0) {
            execl("/nonexistent/program", "program", (char *)NULL);
            if (i % 2 == 0) _exit(7);
            execl("/bin/echo", "echo", "from vfork", (char *)NULL);
            _exit(8);
        }
        free(malloc(201));
        printf("vfork child: %d\n", code_of(child));
    }
    char *words[] = {"echo", "from posix_spawn", NULL};
    pid_t child;
    int failed = posix_spawn(&child, "/bin/echo", NULL, NULL, words, environ);
    printf("posix_spawn: %d %d\n", failed, code_of(child));
    printf("system: %d\n", system("echo from system"));
    FILE *pipe = popen("echo from popen", "r");
    char line[64] = "";
    if (pipe == NULL || fgets(line, sizeof line, pipe) == NULL) return 1;
    printf("%s%d\n", line, pclose(pipe));
    return 5;
}
