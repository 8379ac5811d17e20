/* A chain of execs by each function of the family, each after one that fails; and fork followed by exec.
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IONBF, 0);
    int step = count > 1 ? atoi(words[1]) : 0;
    char next[16];
    snprintf(next, sizeof next, "%d", step + 1);
    char *arguments[] = {words[0], next, NULL};
    for (int i = 0; i < 20 * (step + 1); i++) free(malloc(64));
    if (execl("/nonexistent/program", "program", NULL) == 0 || errno != ENOENT) return 90;
    free(malloc(65)); /* goes on after a failed exec */
    printf("step %d\n", step);
    switch (step) {
    case 0: execl(words[0], words[0], next, (char *)NULL); break;
    case 1: execlp(words[0], words[0], next, (char *)NULL); break;
    case 2: execle(words[0], words[0], next, (char *)NULL, environ); break;
    case 3: execv(words[0], arguments); break;
    case 4: execvp(words[0], arguments); break;
    case 5: execvpe(words[0], arguments, environ); break;
    case 6: execve(words[0], arguments, environ); break;
    case 7: fexecve(open(words[0], O_RDONLY | O_CLOEXEC), arguments, environ); break;
    case 8: execveat(AT_FDCWD, words[0], arguments, environ, 0); break;
    case 9: {
        pid_t child = fork();
        if (child == 0) {
            free(malloc(66)); /* between fork and exec */
            execl("/bin/echo", "echo", "exec in a forked child", (char *)NULL);
            _exit(91);
        }
        int status;
        waitpid(child, &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 42 : 92;
    }
    default: break;
    }
    return 93;
}
