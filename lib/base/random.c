#include "base/random.h"

#include <math.h>

/* SplitMix64's output function (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static const uint64_t GOLDEN_GAMMA = 0x9e3779b97f4a7c15u;

uint64_t nh_hash(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

double nh_hash_uniform(uint64_t h, uint64_t i)
{
    return (double)(mix(h + (i + 1) * GOLDEN_GAMMA) >> 11) * 0x1p-52 - 1.0;
}

void nh_random_seed(nh_random *r, uint64_t seed, const char *stream)
{
    /* The name is mixed before the seed is added, so that (seed, stream) and (seed + 1, stream) share no
     * numbers with each other or with another stream. mix is a bijection: the four words cannot all be zero.
     */
    uint64_t z = mix(nh_hash(stream)) + mix(seed + GOLDEN_GAMMA);
    for (int i = 0; i < 4; i++) {
        z += GOLDEN_GAMMA;
        r->state[i] = mix(z);
    }
}

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

/* xoshiro256** 1.0 (Blackman, Vigna 2018). */
uint64_t nh_random_bits(nh_random *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

double nh_random_uniform(nh_random *r)
{
    return (double)(nh_random_bits(r) >> 11) * 0x1p-53;
}

double nh_random_normal(nh_random *r)
{
    /* 1 - u is in (0,1], where the logarithm is finite. */
    double radius = sqrt(-2 * log(1 - nh_random_uniform(r)));
    return radius * cos(2 * 3.14159265358979323846 * nh_random_uniform(r));
}
