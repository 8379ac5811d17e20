/* What daemons and shells do with descriptors: closes every low one, then opens files of its own there, and checks that
 * nobody else writes into them. Licence: MIT OR Apache-2.0. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count < 2) return 2;
    for (int fd = 3; fd < 256; fd++) close(fd);
    int mine = open(words[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (mine != 3) return 3;
    for (int fd = 4; fd < 64; fd++)
        if (dup2(mine, fd) != fd) return 4;
    for (int i = 0; i < 20000; i++) free(malloc(32));
    if (write(mine, "mine", 4) != 4) return 5;
    for (int i = 0; i < 20000; i++) free(malloc(32));
    struct stat state;
    char text[8] = "";
    if (fstat(mine, &state) != 0 || pread(mine, text, sizeof text, 0) != 4 || memcmp(text, "mine", 4) != 0) return 6;
    printf("%ld bytes\n", (long)state.st_size);
    return 0;
}
