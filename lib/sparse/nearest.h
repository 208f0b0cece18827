/* nearest.h - the bands of a large crystal that are nearest to an energy, counted: none is missing.
 *
 * H(k) - sigma S(k) is factorised, block Lanczos finds the states nearest to sigma, and the inertia of the factor says how many
 * lie below. Two more factorisations, below and above what was found, count how many states there must be between
 * them; so every band has its number among all. sigma is moved where it is on a state, which has no inertia. */
#ifndef NH_SPARSE_NEAREST_H
#define NH_SPARSE_NEAREST_H

#include "base/ranks.h"
#include "crystal/bands.h"
#include "crystal/spectrum.h"
#include "sparse/factor.h"

typedef struct nh_nearest_task {
    const char *name; /* of the matrices, for messages */
    const nh_fourier *fourier;
    size_t n_k;
    const double *k;   /* [n_k][3] fractional */
    size_t first, end; /* nh_nearest_solve: only the k-points first..end-1; end 0: all */
    size_t count;      /* the bands nearest to `centre`, eV */
    double centre;
    /* With vectors: `take` receives those of each k-point, in order: vector[count][basis][2] as of nh_eigen_solve. */
    bool vectors;
    int (*take)(void *context, size_t k, const double *vector, nh_error *err);
    void *context;
    int threads;   /* of BLAS */
    double memory; /* bytes that may be used; 0: what the machine can give */
    /* One line for the user: the memory beforehand, a sigma that was moved. May be NULL. */
    void (*say)(void *context, bool warning, const char *text);
    nh_progress *progress; /* k-points; may be NULL */
    /* nh_nearest_fermi: processes that share the k-points; all call it, all get the result, a failure of one is one of all. NULL:
     * alone. */
    const nh_ranks *ranks;
} nh_nearest_task;

/* Is the sparse way the faster one? Counts operations: those of the factorisation (facts) against those of the dense
 * solution of `basis` functions. */
bool nh_nearest_pay(const nh_factor_facts *facts, size_t basis, size_t count);
/* The facts of the task's first k-point, without factorising. */
int nh_nearest_expect(const nh_nearest_task *task, nh_factor_facts *facts, bool *real, nh_error *err);

/* out: energies of bands first[k] .. first[k]+count[k]-1 of each k-point in their columns, NaN in the others; rank is the
 * basis. Fails where the memory does not suffice, where S is not positive definite, and where counts and states do not
 * agree. Errors name the k-point. */
int nh_nearest_solve(const nh_nearest_task *task, nh_spectrum *out, nh_error *err);

/* The level up to which the states of the k-points hold nelec electrons, electrons_per_band in each: what nh_fermi_level
 * gives for all bands. Energies are halved in by counting the states below, from task->centre on; those next to the level are
 * then solved for. k: the task's points, with weights. vbm, cbm: highest energy below the level and lowest above. */
int nh_nearest_fermi(const nh_nearest_task *task, const nh_kpoints *k, double nelec,
                     double electrons_per_band, double *efermi, double *vbm, double *cbm, nh_error *err);

#endif
