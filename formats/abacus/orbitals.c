#include "formats/abacus/orbitals.h"

#include "base/memory.h"

size_t nh_abacus_orbital(int l, size_t index, double *sign)
{
    const int m = index % 2 == 1 ? (int)(index + 1) / 2 : -(int)(index / 2);
    *sign = m % 2 == 0 ? 1 : -1;
    return (size_t)(m + l);
}

nh_abacus_place *nh_abacus_places(const nh_structure *s, const size_t *atom)
{
    nh_abacus_place *const out = NH_ARRAY(nh_abacus_place, nh_structure_orbitals(s));
    if (out == NULL) return NULL;
    nh_abacus_place *p = out;
    for (size_t k = 0; k < s->n_atom; k++) {
        size_t first = 0;
        const size_t a = atom != NULL ? atom[k] : k, species = (size_t)s->species[a];
        for (size_t shell = s->shell_start[species]; shell < s->shell_start[species + 1]; shell++) {
            const int l = s->shell_l[shell];
            const size_t n = 2 * (size_t)l + 1;
            for (size_t i = 0; i < n; i++, p++) {
                p->orbital = (unsigned)(first + nh_abacus_orbital(l, i, &p->sign));
                p->atom = (int)a;
            }
            first += n;
        }
    }
    return out;
}
