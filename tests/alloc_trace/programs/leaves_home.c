/* Clears its environment and changes its directory, then forks; its child allocates. With an argument, the child then
 * replaces itself, with an environment that has LD_PRELOAD alone. Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void allocate(int times) {
    for (int i = 0; i < times; i++) free(malloc(100 + (size_t)i % 50));
}

int main(int count, char **words) {
    char preload[4096] = "";
    if (getenv("LD_PRELOAD") != NULL) snprintf(preload, sizeof preload, "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
    char program[4096];
    if (realpath(words[0], program) == NULL) return 1;
    if (count > 2) { /* replaced */
        allocate(10);
        printf("replaced\n");
        return 6;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    if (clearenv() != 0 || chdir("/") != 0) return 2;
    pid_t child = fork();
    if (child == 0) {
        allocate(1000);
        if (count == 1) _exit(5);
        char *environment[] = {preload[0] != '\0' ? preload : NULL, NULL};
        char *arguments[] = {program, words[1], "replaced", NULL};
        execve(program, arguments, environment);
        _exit(7);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child) return 3;
    printf("child: %d\n", WEXITSTATUS(status));
    return 0;
}
