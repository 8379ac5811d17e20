/* Starts children as Java does: by a helper that closes every descriptor which it did not ask for, and then becomes the
 * command. "exit": the helper ends instead. "chroot DIR": the process itself changes its root and goes on.
 * Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <dirent.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void allocate(int times) {
    for (int i = 0; i < times; i++) free(malloc(100 + (size_t)i % 50));
}

static void close_all(void) {
    DIR *descriptors = opendir("/proc/self/fd");
    if (descriptors == NULL) _exit(90);
    for (struct dirent *entry; (entry = readdir(descriptors)) != NULL;) {
        int fd = atoi(entry->d_name);
        if (fd > 2 && fd != dirfd(descriptors)) close(fd);
    }
    closedir(descriptors);
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IONBF, 0);
    const char *how = count > 1 ? words[1] : "exec";
    if (strcmp(how, "chroot") == 0) {
        allocate(100);
        if (chroot(words[2]) != 0 || chdir("/") != 0) return 91;
        allocate(5000);
        printf("in another root\n");
        return 6;
    }
    if (count > 2) { /* the helper */
        close_all();
        allocate(20);
        if (strcmp(how, "exit") == 0) _exit(atoi(words[2]));
        execl("/bin/sh", "sh", "-c", "echo child $0; exit $0", words[2], (char *)NULL);
        _exit(92);
    }
    for (int child = 1; child <= 3; child++) {
        char number[16];
        snprintf(number, sizeof number, "%d", child);
        char *arguments[] = {words[0], (char *)(size_t)how, number, NULL};
        pid_t pid;
        int status = 0;
        if (posix_spawn(&pid, words[0], NULL, NULL, arguments, environ) != 0) return 93;
        if (waitpid(pid, &status, 0) != pid) return 94;
        printf("status %d\n", WEXITSTATUS(status));
    }
    return 0;
}
