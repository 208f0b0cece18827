/* ABACUS's sparse matrices, text and binary, up to the blocks of a graph. */
#include "base/memory.h"
#include "formats/abacus/csr.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

/* Two atoms with 2s1p and 1s: six orbitals. */
static nh_structure six_orbitals(void)
{
    static const size_t count[2] = {3, 1};
    static const int l[4] = {0, 0, 1, 0};
    nh_structure s;
    nh_error err;
    if (nh_structure_new(2, 2, &s, &err)) abort();
    for (size_t i = 0; i < 3; i++)
        s.lattice[4 * i] = 4;
    s.position[3] = 2;
    s.species[1] = 1;
    s.atomic_number[0] = 3;
    s.atomic_number[1] = 1;
    if (nh_structure_set_shells(&s, count, l, &err)) abort();
    return s;
}

void fuzz_csr(const uint8_t *data, size_t size)
{
    enum { N_SPIN = 4 };
    const double rydberg = 13.6;
    nh_error err;
    nh_csr m;
    if (nh_csr_read(fuzz_file(data, size), &m, &err)) return;
    nh_structure s = six_orbitals();
    size_t spinor, count = 0;
    nh_pair *pair = NULL;
    nh_pairs pairs;
    bool placed = !nh_csr_spinor(&m, &s, &spinor, &err) && !nh_csr_pairs(&m, &s, &count, &pair, &err);
    if (placed)
        placed = !nh_pairs_build(&s, count, pair, &pairs, &err); /* which takes `pair` over */
    else
        free(pair);
    if (placed) {
        double *out = NH_ARRAY(double, 2 * N_SPIN * pairs.n_elem);
        if (out != NULL) {
            (void)!nh_csr_scatter(&m, &s, &pairs, rydberg, N_SPIN, spinor == 2 ? -1 : 0, out, &err);
            (void)!nh_csr_scatter(&m, &s, &pairs, rydberg, N_SPIN, -1, out, &err);
        }
        free(out);
        nh_pairs_free(&pairs);
    }
    nh_structure_free(&s);
    nh_csr_free(&m);
}
