/* kernels.h - what a device can do, as the library sees it: devices, device memory, sub-models, losses, H(k),
 * eigenproblems.
 *
 * kernels/ implements it. Its archive (libnhkernels.a) needs CUDA's libraries and nothing of libnextham. The
 * programs load the same code as libnhkernels.so where a device is asked for (device/device.h); the table
 * nhk_calls is the one way in.
 *
 * An nh_gpu is one open device with a stream, used by one thread at a time. Operations are queued and return
 * at once; the first thing that goes wrong is kept in the nh_gpu, everything queued after it does nothing,
 * and `sync`, which waits for the stream, reports it. Row numbers on the device are int; host tables
 * (layouts, maps) are those of lib/plan. */
#ifndef NH_DEVICE_KERNELS_H
#define NH_DEVICE_KERNELS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- devices (gpu.cu) */

typedef struct nh_gpu nh_gpu;
typedef struct nh_gpu_options {
    int index;
    bool tf32; /* matrix products of single precision in TF32: ten bits of mantissa, faster */
} nh_gpu_options;

/* ---- blocks of a crystal and irreps (embedding.cu): nextham/embedding.h */

/* The transforms of one selection of irreps for the species of one structure, as sparse rows:
 * nh_embedding_tables makes them. Numbers of a shell pair count as in its vector's real half; i and j are the
 * m of its two shells, from 0. The factor 1/sqrt2 of the spin matrices is in all values. */
typedef struct nhk_up {          /* a number of a pair's vector from the elements of the sub-block */
    unsigned char i, j, channel; /* of the four spin blocks: 0 uu+dd, 1 i(ud-du), 2 uu-dd, 3 ud+du */
    double value, dual;          /* D <- vector, transposed; block -> vector */
} nhk_up;
typedef struct nhk_down { /* an element of a sub-block of D from the pair's vector */
    int number;
    double value;
} nhk_down;
typedef struct nhk_number { /* of a vector */
    int row;                /* of `up`; -1: it is always 0 */
    short slot[2], imaginary;
} nhk_number;
typedef struct nhk_orbital {
    short slot, m;
} nhk_orbital;
typedef struct nhk_embedding {
    int n_slot, n_species, dim;
    int n_orbital, n_up_row, n_up, n_down_row, n_down; /* lengths */
    nhk_number *number;                                /* [dim] */
    int *first;           /* [n_species][n_slot] first orbital in the slot; -1: none */
    int *orbital_start;   /* [n_species+1] first of a species in `orbital` */
    nhk_orbital *orbital; /* [n_orbital] */
    int *offset;          /* [n_slot^2] first number of a shell pair in the vector; -1: not selected */
    int *
        down_row; /* [n_slot^2] its first row of `down`: elements row-major, columns of the second slot's degree */
    int *width;                 /* [n_slot] 2l+1 */
    int *up_start, *down_start; /* [rows+1] */
    nhk_up *up;
    nhk_down *down;
} nhk_embedding;
typedef struct nhk_block { /* of an edge */
    size_t start;          /* its first element */
    int a, b;              /* species of its rows and columns; a = -1: no block */
} nhk_block;

/* ---- sub-models (network.cu), for float and double: suffix _f, _d */

/* What a sub-model that is trained has on the device: each as many numbers as its parameters together. */
typedef enum nhk_array {
    NHK_WEIGHTS,
    NHK_GRADIENT,
    NHK_FIRST_MOMENT,
    NHK_SECOND_MOMENT,
    NHK_AVERAGE,
    NHK_N_ARRAYS
} nhk_array;

/* Numbers of one step of Adam (training/adam.h): g = factor*gradient + decay*w, moments with beta,
 * w <- keep*w - size m/(sqrt(v) scale + eps). */
typedef struct nhk_adam {
    double beta[2], eps, factor, size, scale, decay, keep;
} nhk_adam;

struct nh_network_f; /* network/network.h, as are nh_edges and what the three callbacks are */
struct nh_network_d;
struct nh_edges;
struct nh_network_f_ends;
struct nh_network_d_ends;
struct nh_network_f_probe;
struct nh_network_d_probe;

#define NHK_NETWORK_DECLARE(real, name, training, host)                                                             \
    typedef struct name name;                                                                                       \
    typedef void name##_source(void *context, size_t first, size_t n, real *out);                                   \
    typedef void name##_sink(void *context, size_t n, const size_t *edge, const real *ham,                          \
                             const real *trace);                                                                    \
    typedef void name##_seed(void *context, size_t n, const size_t *edge, real *g_ham, real *g_trace);              \
    typedef struct name##_calls { /* network.cu */                                                                  \
        /* `host` with its weights as they are now, on the device; it must outlive the object. */                   \
        int (*make)(nh_gpu * g, const struct host *net, name **out, nh_error *err);                                 \
        void (*drop)(name * d); /* NULL is fine */                                                                  \
        int (*update)(name * d, nh_error *err);                                                                     \
        /* nh_network_connect */                                                                                    \
        void (*connect)(name * d, const struct host##_ends *ends);                                                  \
        /* As nh_network_forward; where `kept` is not NULL as nh_network_forward_keep, and *kept is the number of \
         * the run that is kept, the last one only. The callbacks run in the calling thread. Where the features   \
         * do not fit, tiles become smaller, down to 64 rows. */ \
        int (*forward)(name * d, const struct nh_edges *graph, name##_source *source, void *source_context,         \
                       name##_sink *sink, void *sink_context, bool everywhere,                                      \
                       const struct host##_probe *probe, size_t *kept, nh_error *err);                              \
        /* As nh_network_backward for the run with that number; adds to the gradient, which stays on the          \
         * device. */ \
        int (*backward)(name * d, size_t kept, name##_seed *seed, void *seed_context, nh_error *err);               \
    } name##_calls;                                                                                                 \
    /* A sub-model in training. One array from the host and back: values[i] are the numbers of parameter i as     \
     * nh_weights has them; parameters that the sub-model does not use are ignored, and read skips NULL. An       \
     * array is there once it has been written (the gradient always: zeros at first). The sub-model computes      \
     * with what was loaded last, or brought from the host by update. */ \
    typedef struct training##_calls { /* training.cu */                                                             \
        int (*write)(name * d, nhk_array which, real *const *values, nh_error *err);                                \
        int (*read)(name * d, nhk_array which, real *const *values, nh_error *err);                                 \
        int (*load)(name * d, nhk_array which, nh_error *err); /* the weights, or the average, packed */            \
        int (*clear)(name * d, nh_error *err);                 /* gradient = 0 */                                   \
        int (*norm)(name * d, double *norm, nh_error *err); /* 2-norm of the gradient, summed in double */          \
        /* Adam's step, the moving average where there is one (decay `ema`), and the new weights are loaded. */     \
        int (*step)(name * d, const nhk_adam *o, double ema, nh_error *err);                                        \
    } training##_calls;
NHK_NETWORK_DECLARE(float, nhk_network_f, nhk_training_f, nh_network_f)
NHK_NETWORK_DECLARE(double, nhk_network_d, nhk_training_d, nh_network_d)

/* ---- a crystal at the ends of the runs of its sub-models (crystal.cu): features from its H0, corrections
 * from their answers */

typedef struct nhk_crystal_input {
    size_t n_edge, n_elem;
    int spin_blocks;               /* 1 or 4 */
    const nhk_block *edge;         /* [n_edge] ascending in `start` */
    const double *matrix;          /* [spin_blocks][n_elem][2]; NULL: features are not made here */
    const nhk_embedding *in, *out; /* of the features (NULL without a matrix), of the answers */
    double scale;                  /* of the features; answers are divided by it */
} nhk_crystal_input;
typedef struct nhk_crystal nhk_crystal;
typedef struct nhk_crystal_calls {
    /* It takes at most a quarter of the memory that is free, for the corrections and for as much of the
     * matrix as that allows (the rest comes piece by piece, once for each run). *out is NULL where that is
     * too little. What `in` points to must outlive it. */
    int (*make)(nh_gpu *g, const nhk_crystal_input *in, nhk_crystal **out, nh_error *err);
    void (*drop)(nhk_crystal *c); /* NULL is fine */
    void (*ends_f)(nhk_crystal *c, struct nh_network_f_ends *ends);
    void (*ends_d)(nhk_crystal *c, struct nh_network_d_ends *ends);
    /* d[n_elem] on the host: the sum of the corrections of all runs. */
    int (*corrections)(nhk_crystal *c, double *d, nh_error *err);
} nhk_crystal_calls;

/* ---- outputs of the sub-models and the loss (loss.cu): training/loss.c, all in double */

/* The outputs of a crystal's sub-models on the device, what the loss needs in between, and the gradients by
 * them. One for all crystals. */
typedef struct nhk_outputs nhk_outputs;
typedef struct nhk_outputs_calls {
    /* dim: of the answers; n_pair: traces of an edge, 0 where the sub-models give none. */
    int (*make)(nh_gpu *g, size_t dim, size_t n_pair, nhk_outputs **out, nh_error *err);
    void (*drop)(nhk_outputs *x); /* NULL is fine */
    /* Sinks that write rows of the outputs, and seeds that read rows of the gradients. */
    void (*ends_f)(nhk_outputs *x, struct nh_network_f_ends *ends);
    void (*ends_d)(nhk_outputs *x, struct nh_network_d_ends *ends);
    /* ham[n_edge][dim] and trace[n_edge][n_pair] from and to the host (NULL: not that one); `gradients`:
     * those by them. */
    int (*upload)(nhk_outputs *x, const double *ham, const double *trace, nh_error *err);
    int (*download)(nhk_outputs *x, bool gradients, double *ham, double *trace, nh_error *err);
} nhk_outputs_calls;

typedef struct nhk_loss_pair {
    size_t start, d;                      /* first element; first number of its D (SIZE_MAX: none) */
    int edge;                             /* -1: none */
    int rows, columns, a, b, row, column; /* orbitals, species, first orbitals of its atoms */
    int cell[3];
} nhk_loss_pair;
typedef struct nhk_loss_input { /* nh_loss_data, which says what the arrays mean */
    size_t n_edge, n_pair, n_elem, n_group, n_orbital, n_full, n_d;
    int spin_blocks, n_slot, n_species;
    bool padding;
    double scale, trace_eps;       /* the latter: of the label's layer norm */
    const nhk_embedding *tables;   /* of D */
    const nhk_block *block;        /* [n_edge] D of each edge */
    const nhk_loss_pair *pair;     /* [n_pair] */
    const int *edge_pair, *group;  /* [n_edge], [n_group+1] */
    const int *species_at, *place; /* [n_species+1], [..] */
    const int *first;              /* [n_species][n_slot] first orbital of the shell in a slot; -1: none */
    const unsigned char *occupied, *mask; /* [n_species][n_full], [n_species^2][n_slot^2] */
    const double *h0, *label, *overlap;
} nhk_loss_input;
/* What of a crystal does not change from step to step, on the device: 16 bytes an element and spin block, 8
 * for the overlap. */
typedef struct nhk_loss nhk_loss;
struct nh_kstates;
typedef struct nhk_loss_sums {
    double error, trace, trace_mu; /* over the edges: real-space loss, trace loss, its derivative by mu */
} nhk_loss_sums;
typedef struct nhk_loss_calls {
    /* *out is NULL where the crystals that are there would take more than a quarter of the device's
     * memory. */
    int (*make)(nh_gpu *g, const nhk_loss_input *in, nhk_loss **out, nh_error *err);
    void (*drop)(nhk_loss *l); /* NULL is fine */
    /* Before the sub-models run: zeros for their outputs, and room for the evaluation. *ready: there is
     * enough memory. */
    int (*begin)(nhk_loss *l, nhk_outputs *x, bool gradient, size_t n_state, const struct nh_kstates *state,
                 bool *ready, nh_error *err);
    /* The three steps of nh_loss_evaluate on a device; in between it does what is left of scalars.
     * 1: D, and C^* (H_gt - H_pred) C^T at the k-points of `begin`: *shift of mu, trace[n_state][2] of the
     * parts P and Q. */
    int (*project)(nhk_loss *l, nhk_outputs *x, bool paper, const struct nh_kstates *state, double *shift,
                   double (*trace)[2], nh_error *err);
    /* 2: the errors at that mu. weight[n_state][3]: what the derivatives of the parts P, Q, PQ are multiplied
     * by;
     * part[n_state][3]: their sums. */
    int (*errors)(nhk_loss *l, nhk_outputs *x, bool squared, bool paper, bool with_trace, double mu,
                  const double (*weight)[3], nhk_loss_sums *sums, double (*part)[3], nh_error *err);
    /* 3: gradients by the outputs: weight_r of the real-space part, `shift` of the overlap in D,
     * diagonal[n_state][2] added
     * to the parts P and Q, weight_trace of the trace loss. */
    int (*gradients)(nhk_loss *l, nhk_outputs *x, double weight_r, double shift, const double (*diagonal)[2],
                     bool with_trace, double weight_trace, nh_error *err);
} nhk_loss_calls;

/* ---- H(k) and S(k) (fourier.cu): crystal/fourier.c */

typedef struct
    nhk_fourier_group { /* pairs first..first+count-1 of two atoms, all cells: blocks of rows x columns */
    size_t start;       /* first element of the first one */
    int width, first, count;  /* elements of a block; pairs */
    int row, column, columns; /* orbitals */
} nhk_fourier_group;
typedef struct nhk_fourier_input {
    size_t n_group, n_pair, n_cell, n_elem, basis;
    int spin_blocks;                /* 1 or 4 */
    const nhk_fourier_group *group; /* [n_group] */
    const int *cell_of;             /* [n_pair] */
    const double *matrix, *overlap; /* [spin_blocks][n_elem][2], [n_elem] */
} nhk_fourier_input;
typedef struct nhk_fourier nhk_fourier;
typedef struct nhk_fourier_calls {
    int (*make)(nh_gpu *g, const nhk_fourier_input *in, nhk_fourier **out, nh_error *err);
    void (*drop)(nhk_fourier *f); /* NULL is fine */
    /* phase[n][n_cell][2] of n k-points -> h, s [n][basis][basis][2] on the host, complete; either may be
     * NULL. */
    int (*at)(nhk_fourier *f, size_t n, const double *phase, double *h, double *s, nh_error *err);
} nhk_fourier_calls;

/* ---- H C = E S C (eigen.cu) for many matrices n x n, in batches: crystal/eigen.c
 *
 * Two batches can be in progress: queue the next one before the last one is solved; its matrices arrive while
 * the device works. Up to n = NHK_BATCHED the matrices of a batch are solved together by the libraries'
 * batched routines, larger ones, and those that come one by one, by zhegvd: a large one keeps the whole
 * device busy, a small one is a chain of launches that are too short. The border has not been measured.
 *
 * threshold > 0: the eigenvectors of S with eigenvalues below it are projected out; their energies are the
 * last ones, and mean nothing. */

enum { NHK_BATCHED = 512, NHK_IN_HAND = 2 /* batches, at the most */ };
typedef struct nhk_eigen nhk_eigen;
typedef struct nhk_eigen_options {
    size_t n, batch; /* matrices in a batch at the most */
    double threshold;
    bool vectors;
} nhk_eigen_options;
typedef struct nhk_eigen_result { /* on the host, valid until the next batch is solved */
    size_t count;
    const double *energy, *overlap; /* [count][n]; eigenvalues of S, with a threshold */
    int *factor, *info; /* [count] LAPACK's info for S (> 0: not positive definite) and for the eigenvalues */
    double *s;          /* the room, where the batch came from there */
} nhk_eigen_result;
typedef struct nhk_eigen_calls {
    int (*make)(nh_gpu *g, const nhk_eigen_options *o, nhk_eigen **out, nh_error *err);
    void (*drop)(nhk_eigen *w); /* NULL is fine */
    /* Where the host writes the matrices of the next batch, h, s [batch][n][n][2], pinned. They stay until
     * the batch after it is queued. */
    int (*room)(nhk_eigen *w, double **h, double **s, nh_error *err);
    /* Queues `count` matrices: H(k), S(k) of these phases, which never leave the device (f may be on another
     * nh_gpu of the same one), or with f NULL those in the room. */
    int (*queue)(nhk_eigen *w, size_t count, nhk_fourier *f, const double *phase, nh_error *err);
    /* Solves the batch that was queued first. */
    int (*solve)(nhk_eigen *w, nhk_eigen_result *r, nh_error *err);
    /* Of the batch solved last, columns first[i] .. first[i]+columns[i]-1 of matrix i:
     * *out[count][most][n][2], pinned. */
    int (*vectors)(nhk_eigen *w, size_t count, const size_t *first, const size_t *columns, size_t most,
                   const double **out, nh_error *err);
} nhk_eigen_calls;

/* ---- orbitals on the grid (tiles.cu): lib/lcao/grid_device.c, which says what the tiles are */

typedef struct nhk_tiles_species {
    int n_shell, n_orbital, lmax, n_row, width;
    double radius, step;
    const int *l;      /* [n_shell] */
    const double *row; /* [n_row][2][width] values and slopes (lcao/orbital_table.h) */
} nhk_tiles_species;
typedef struct nhk_tiles_image { /* of an atom, which reaches a tile */
    int species, tile, row;      /* its first orbital among those of the tile */
    double place[3];             /* bohr */
} nhk_tiles_image;
typedef struct nhk_tiles_pair { /* a block: its first element, its size */
    size_t start;
    int rows, columns;
} nhk_tiles_pair;
typedef struct
    nhk_tiles_link { /* orbitals row.. x column.. of a tile belong to the block of a pair; row = column: its upper triangle */
    int tile, row, column, pair;
} nhk_tiles_link;
typedef struct nhk_tiles_input {
    size_t n_species, n_tile, n_image, n_pair, n_link, n_elem, n_point;
    int points, most_rows; /* of a tile */
    int n[3];
    double lattice[9], dv;            /* bohr */
    const nhk_tiles_species *species; /* [n_species] */
    const size_t *first_image;        /* [n_tile+1] */
    const nhk_tiles_image *image;     /* [n_image] */
    const int *point;                 /* [n_tile][points] place in the grid; -1: none */
    const nhk_tiles_pair *pair;       /* [n_pair] */
    const nhk_tiles_link *link;       /* [n_link] in the order of the tiles */
} nhk_tiles_input;
typedef struct nhk_tiles nhk_tiles;
typedef struct nhk_tiles_calls {
    int (*make)(nh_gpu *g, const nhk_tiles_input *in, nhk_tiles **out, nh_error *err);
    void (*drop)(nhk_tiles *t); /* NULL is fine */
    /* Of nh_grid_matrix what the tiles give: blocks with links, of (a, a, 0) the upper triangle. h[n_elem] from v[n_point]. */
    int (*matrix)(nhk_tiles *t, const double *v, double *h, nh_error *err);
    /* nh_grid_density: rho[n_point] from p[n_elem]. */
    int (*density)(nhk_tiles *t, const double *p, double *rho, nh_error *err);
} nhk_tiles_calls;

/* ---- V_H and v_xc of a density (potential.cu): lib/lcao/potential.c, xc.c */

typedef struct nhk_potential_input {
    int n[3];
    size_t n_wave;
    const short (*wave)[3]; /* [n_wave] the sphere, one of G and -G, G = 0 first (lcao/grid.h) */
    double reciprocal[9], volume;
} nhk_potential_input;
typedef struct nhk_potential nhk_potential;
typedef struct nhk_potential_calls {
    int (*make)(nh_gpu *g, const nhk_potential_input *in, nhk_potential **out, nh_error *err);
    void (*drop)(nhk_potential *p); /* NULL is fine */
    /* v[points] = V_H[rho], v_xc[rho] in PBE, unpolarised; the energies, Ry. */
    int (*hartree)(nhk_potential *p, const double *rho, double *v, double *energy, nh_error *err);
    int (*pbe)(nhk_potential *p, const double *rho, double *v, double *energy, nh_error *err);
} nhk_potential_calls;

/* ---- what libnhkernels.so offers (gpu.cu) */

enum { NHK_VERSION = 6 }; /* of this file: changes with every change of the tables */
typedef struct nhk_calls {
    int version;
    int (*count)(int *n,
                 nh_error *err); /* number of devices; an error where there is no driver or no device */
    int (*open)(const nh_gpu_options *o, nh_gpu **out, nh_error *err);
    void (*close)(nh_gpu *g);             /* NULL is fine */
    const char *(*name)(const nh_gpu *g); /* "NVIDIA H100 80GB HBM3"; valid until close */
    int (*sync)(nh_gpu *g,
                nh_error *err); /* waits; reports the first failure since the last call, and forgets it */
    /* Pinned memory of the host, which copies go to and from at full speed; NULL and a failure where there is
     * none. `g` may be any. To be freed when no copy is in flight; NULL is fine. */
    void *(*pinned)(nh_gpu *g, size_t count, size_t size);
    void (*pinned_free)(void *p);
    void (*traffic)(const nh_gpu *g, size_t *up,
                    size_t *down); /* bytes that went to and from it since it was opened */
    const nhk_network_f_calls *network_f;
    const nhk_network_d_calls *network_d;
    const nhk_training_f_calls *training_f;
    const nhk_training_d_calls *training_d;
    const nhk_crystal_calls *crystal;
    const nhk_outputs_calls *outputs;
    const nhk_loss_calls *loss;
    const nhk_fourier_calls *fourier;
    const nhk_eigen_calls *eigen;
    const nhk_tiles_calls *tiles;
    const nhk_potential_calls *potential;
} nhk_calls;
const nhk_calls *nhk_table(void);

#ifdef __cplusplus
}
#endif
#endif
