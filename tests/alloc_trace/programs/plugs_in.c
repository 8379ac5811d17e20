/* A C program that loads C++ in a scope of its own: libstdc++ is not in the program's. Twice, as a plug-in may be unloaded
 * and come back elsewhere. Licence: MIT OR Apache-2.0. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static int has_libstdcxx(void) {
    char line[512];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps == NULL) return -1;
    while (fgets(line, sizeof line, maps) != NULL) found |= strstr(line, "libstdc++") != NULL;
    fclose(maps);
    return found;
}

int main(int count, char **words) {
    if (count < 2) return 1;
    printf("libstdc++ loaded: %d\n", has_libstdcxx());
    for (int turn = 0; turn < 2; turn++) {
        void *library = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return 2;
        }
        int (*plug_in)(void);
        *(void **)(void *)&plug_in = dlsym(library, "plug_in");
        printf("plug-in: %d\n", plug_in());
        dlclose(library);
    }
    return 0;
}
