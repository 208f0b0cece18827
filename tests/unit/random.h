/* random.h - reproducible numbers for tests and benchmarks, of a state that is any number to begin with. */
#ifndef NH_TESTS_RANDOM_H
#define NH_TESTS_RANDOM_H

#include <stdint.h>

/* The next number, in [-1, 1). */
static inline double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-52 - 1;
}

#endif
