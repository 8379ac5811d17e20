/* Functions of libc that start a process inside: their children run little or none of the program's code.
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

static void allocate(int times) {
    for (int i = 0; i < times; i++) free(malloc(100 + (size_t)i % 50));
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    wordexp_t words;
    if (wordexp("$(echo two words)", &words, 0) != 0) return 1;
    for (size_t at = 0; at < words.we_wordc; at++) printf("wordexp: %s\n", words.we_wordv[at]);
    wordfree(&words);

    FILE *pipe = popen("cat >/dev/null", "w");
    if (pipe == NULL || fputs("text", pipe) < 0) return 2;
    printf("popen: %d\n", pclose(pipe));
    printf("system: %d\n", system("exit 3"));

    int terminal;
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    if (child == 0) {
        allocate(1000);
        _exit(5);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return 4;
    printf("forkpty: %d\n", WEXITSTATUS(status));
    return 0;
}
