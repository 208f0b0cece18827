/* random.h - reproducible random numbers: the same seed and stream name give the same numbers on every machine. */
#ifndef NH_BASE_RANDOM_H
#define NH_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a hash of a string (docs/network.md 10). */
uint64_t nh_hash(const char *text);
/* Number i of the stream with hash h: u in [-1,1), exact in double (docs/network.md 10). */
double nh_hash_uniform(uint64_t h, uint64_t i);

typedef struct nh_random {
    uint64_t state[4]; /* xoshiro256**, plain data: can be stored and restored */
} nh_random;

void nh_random_seed(nh_random *r, uint64_t seed, const char *stream);
uint64_t nh_random_bits(nh_random *r);
double nh_random_uniform(nh_random *r); /* [0,1), 53 bits */
double nh_random_normal(nh_random *r);  /* mean 0, variance 1; Box-Muller, two uniforms a number */

#endif
