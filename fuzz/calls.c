/* Fuzzes sequences of calls. The bytes of the input take the place of the random numbers of tests/c/random/random_calls.c: they choose the
 * configuration, the storage, each call and its structs. The model of that program checks the results; a failed check ends the run. */
#define main random_calls_main
#include "../tests/c/random/random_calls.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t seed = 0;
    if (size < 8)
        return -1;
    memcpy(&seed, data, 4);
    round_of(seed, data + 4, size - 4);
    if (checks_failed != 0)
        abort();
    return 0;
}
