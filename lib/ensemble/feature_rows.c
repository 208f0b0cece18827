#include "base/real.h"
#include "ensemble/features.h"

#include <string.h>

void R(nh_feature_rows_take)(const nh_feature_rows *r, size_t dim, size_t first, size_t n, real *out)
{
#ifdef NH_REAL_DOUBLE
    const real *const same = r->as_double;
#else
    const real *const same = r->as_float;
#endif
    memset(out, 0, n * dim * sizeof *out);
    for (size_t e = first; e < first + n; e++, out += dim) {
        const size_t at = (r->row ? r->row[e] : e) * r->width;
        for (size_t i = 0; i < r->n_run; i++) {
            const nh_feature_run *q = &r->run[i];
            if (same && r->scale == 1)
                memcpy(out + q->to, same + at + q->from, q->count * sizeof *out);
            else if (r->as_double)
                for (size_t k = 0; k < q->count; k++)
                    out[q->to + k] = (real)(r->scale * r->as_double[at + q->from + k]);
            else
                for (size_t k = 0; k < q->count; k++)
                    out[q->to + k] = (real)(r->scale * (double)r->as_float[at + q->from + k]);
        }
    }
}
