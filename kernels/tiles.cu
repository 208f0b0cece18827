/* Orbitals on the grid, on a device: matrix elements of a potential and the density (lib/lcao/grid_device.c).
 *
 * The tiles come in batches. Of a batch, phi[tile][orbital][point] is made, dense: zero where an orbital does not reach. Matrix elements are
 * products (v phi) phi^T of all tiles at once, whose blocks are added to those of the pairs, tile after tile: the sums do not depend on the
 * order of the blocks of threads. The density is phi o (P phi). cuBLAS has no batched product of which only one triangle is made (syrk, trmm),
 * so that both are. */
#include "kernels/blas.h"
#include "kernels/table.h"

#include <cstdlib>
#include <vector>

enum { LMAX = 6, SUMS = (LMAX + 1) * (LMAX + 1) };

/* The orbitals of a species; pointers on the device. */
typedef struct species {
    int n_shell, n_orbital, lmax, n_row, width;
    double radius, step;
    const int *l;
    const double *row;
} species;

/* Links of one pair in one batch. */
typedef struct segment {
    int pair;
    unsigned first, count;
} segment;

typedef struct batch {
    size_t tile, n_tile;   /* first one */
    size_t image, n_image; /* of all of its tiles */
    size_t link, n_link, segment, n_segment;
} batch;

struct nhk_tiles {
    nh_gpu *gpu;
    nhk_tiles_input in; /* its pointers are on the device */
    size_t n_segment, most_tiles;
    std::vector<species> *all; /* pointers on the device */
    species *placed;           /* the same, there */
    segment *segments;
    nhk_tiles_link *links; /* by batch, pair, tile */
    std::vector<batch> *batches;
    double *phi, *other, *square; /* [tile][most_rows][points] twice, [tile][most_rows][most_rows] */
    double *v, *elements;
};

/* Recursion of the harmonics, as in lib/lcao/orbital_table.c: y[l*l + l + m]. */
__device__ static inline void harmonics(int lmax, double x, double y, double z, double *out)
{
    double cosine = 1, sine = 0, diagonal = 0.28209479177387814; /* 1/sqrt(4 pi) */
    for (int m = 0; m <= lmax; m++) {
        if (m > 0) diagonal *= m == 1 ? sqrt(3.0) : sqrt((2 * m + 1) / (2.0 * m));
        double last = 0, now = diagonal;
        for (int l = m; l <= lmax; l++) {
            out[l * l + l - m] = now * sine;
            out[l * l + l + m] = now * cosine;
            const double above = (l + 1) * (l + 1), before = l * l;
            const double up = sqrt((4 * above - 1) / (above - m * m)),
                         down = l == m ? 0 : sqrt((before - m * m) / (4 * before - 1));
            const double next = up * (z * now - down * last);
            last = now;
            now = next;
        }
        const double c = x * cosine - y * sine;
        sine = x * sine + y * cosine;
        cosine = c;
    }
}

/* A thread for each image and point. Bytes: four rows of the table (from the caches) and 8 a number of phi. */
static __global__ void phi_kernel(nhk_tiles_input in, const species *all, batch b, int rows, double *phi)
{
    const int points = in.points;
    NHK_FOR(i, b.n_image * (size_t)points)
    {
        const nhk_tiles_image im = in.image[b.image + i / points];
        const int k = (int)(i % points), at = in.point[(size_t)im.tile * points + k];
        if (at < 0) continue;
        const double g[3] = {(double)(at / (in.n[1] * in.n[2])) / in.n[0],
                             (double)(at / in.n[2] % in.n[1]) / in.n[1], (double)(at % in.n[2]) / in.n[2]};
        double d[3];
        for (int x = 0; x < 3; x++)
            d[x] = g[0] * in.lattice[x] + g[1] * in.lattice[3 + x] + g[2] * in.lattice[6 + x] - im.place[x];
        const species s = all[im.species];
        const double r = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
        if (!(r < s.radius - 1e-10)) continue;
        const bool centre = r < 1e-9;
        double y[SUMS];
        harmonics(s.lmax, centre ? 0 : d[0] / r, centre ? 0 : d[1] / r, centre ? 1 : d[2] / r, y);
        const double place = r / s.step;
        const int row = (int)place < s.n_row - 2 ? (int)place : s.n_row - 2;
        const double u = place - row, v = 1 - u;
        const double w0 = (1 + 2 * u) * v * v, w1 = u * v * v, w2 = u * u * (3 - 2 * u), w3 = -u * u * v;
        const double *table = s.row + (size_t)2 * row * s.width;
        double *to = phi + ((size_t)(im.tile - (int)b.tile) * rows + im.row) * points + k;
        for (int n = 0; n < s.n_shell; n++) {
            const double f = w0 * table[n] + w1 * table[s.width + n] + w2 * table[2 * s.width + n] +
                             w3 * table[3 * s.width + n];
            const int l = s.l[n];
            for (int m = 0; m <= 2 * l; m++, to += points)
                *to = f * y[l * l + m];
        }
    }
}

/* other = v dV phi. Bytes: 16 a number. */
static __global__ void weigh_kernel(nhk_tiles_input in, batch b, int rows, const double *v, const double *phi,
                                    double *other)
{
    NHK_FOR(i, b.n_tile * (size_t)rows * in.points)
    {
        const size_t tile = i / ((size_t)rows * in.points);
        const int at = in.point[(b.tile + tile) * in.points + i % in.points];
        other[i] = at < 0 ? 0 : in.dv * v[at] * phi[i];
    }
}

/* A block for each pair, a thread for an element: the blocks of its links one after another. Bytes: 8 an element and link. */
static __global__ void add_kernel(nhk_tiles_input in, batch b, const segment *segments,
                                  const nhk_tiles_link *links, int rows, const double *square, double *h)
{
    for (size_t s = blockIdx.x; s < b.n_segment; s += gridDim.x) {
        const segment q = segments[b.segment + s];
        const nhk_tiles_pair p = in.pair[q.pair];
        for (int e = (int)threadIdx.x; e < p.rows * p.columns; e += (int)blockDim.x) {
            const int i = e / p.columns, j = e % p.columns;
            double sum = h[p.start + e];
            for (unsigned k = 0; k < q.count; k++) {
                const nhk_tiles_link n = links[q.first + k];
                if (n.row == n.column && j < i) continue;
                sum += square[((size_t)(n.tile - (int)b.tile) * rows + n.row + i) * rows + n.column + j];
            }
            h[p.start + e] = sum;
        }
    }
}

/* P of each tile from the pairs, both triangles. A block for each link. Bytes: 24 an element. */
static __global__ void gather_kernel(nhk_tiles_input in, batch b, const nhk_tiles_link *links, int rows,
                                     const double *p, double *square)
{
    for (size_t k = blockIdx.x; k < b.n_link; k += gridDim.x) {
        const nhk_tiles_link n = links[b.link + k];
        const nhk_tiles_pair q = in.pair[n.pair];
        double *to = square + (size_t)(n.tile - (int)b.tile) * rows * rows;
        for (int e = (int)threadIdx.x; e < q.rows * q.columns; e += (int)blockDim.x) {
            const int i = n.row + e / q.columns, j = n.column + e % q.columns;
            if (n.row == n.column && j < i) continue;
            to[(size_t)i * rows + j] = p[q.start + e];
            to[(size_t)j * rows + i] = p[q.start + e];
        }
    }
}

/* rho = sum over orbitals of phi o other. A thread for each point. Bytes: 16 a number of phi. */
static __global__ void sum_kernel(nhk_tiles_input in, batch b, int rows, const double *phi,
                                  const double *other, double *rho)
{
    NHK_FOR(i, b.n_tile * (size_t)in.points)
    {
        const size_t tile = i / in.points, k = i % in.points;
        const int at = in.point[(b.tile + tile) * in.points + k];
        if (at < 0) continue;
        double sum = 0;
        for (int r = 0; r < rows; r++) {
            const size_t place = (tile * rows + r) * in.points + k;
            sum += phi[place] * other[place];
        }
        rho[at] = sum;
    }
}

/* Batches of as many tiles as half of the free memory holds; links sorted by batch, pair, tile. */
static bool make_batches(nhk_tiles *g, const nhk_tiles_input *in)
{
    const size_t rows = (size_t)in->most_rows,
                 tile_bytes = (2 * rows * (size_t)in->points + rows * rows) * sizeof(double);
    size_t most = tile_bytes > 0 ? nhk_available(g->gpu) / 2 / tile_bytes : 1;
    if (most < 1) most = 1;
    if (most > 256) most = 256;
    if (most > in->n_tile) most = in->n_tile;
    g->most_tiles = most;
    std::vector<segment> segments;
    std::vector<nhk_tiles_link> links(in->n_link);
    std::vector<unsigned> count(in->n_pair + 1);
    std::vector<int> touched;
    size_t link = 0;
    for (size_t tile = 0; tile < in->n_tile; tile += most) {
        batch b = {};
        b.tile = tile;
        b.n_tile = in->n_tile - tile < most ? in->n_tile - tile : most;
        b.image = in->first_image[tile];
        b.n_image = in->first_image[tile + b.n_tile] - b.image;
        b.link = link;
        b.segment = segments.size();
        touched.clear();
        size_t end = link;
        for (; end < in->n_link && (size_t)in->link[end].tile < tile + b.n_tile; end++)
            if (count[(size_t)in->link[end].pair]++ == 0) touched.push_back(in->link[end].pair);
        unsigned place = (unsigned)link;
        for (const int pair : touched) {
            const segment s = {pair, place, 0};
            place += count[(size_t)pair];
            count[(size_t)pair] = (unsigned)segments.size(); /* from now on: where its segment is */
            segments.push_back(s);
        }
        for (size_t k = link; k < end; k++) {
            segment &s = segments[count[(size_t)in->link[k].pair]];
            links[s.first + s.count++] = in->link[k];
        }
        for (const int pair : touched)
            count[(size_t)pair] = 0;
        b.n_link = end - link;
        b.n_segment = segments.size() - b.segment;
        link = end;
        g->batches->push_back(b);
    }
    g->n_segment = segments.size();
    g->segments = nhk_uploaded(g->gpu, segments.data(), segments.size());
    g->links = nhk_uploaded(g->gpu, links.data(), links.size());
    return link == in->n_link;
}

static void tiles_drop(nhk_tiles *t);

static int tiles_make(nh_gpu *gpu, const nhk_tiles_input *in, nhk_tiles **out, nh_error *err)
{
    *out = nullptr;
    nhk_tiles *g = static_cast<nhk_tiles *>(calloc(1, sizeof *g));
    if (g == nullptr) return nhk_error(err, "out of memory for the grid");
    g->gpu = gpu;
    g->in = *in;
    g->batches = new std::vector<batch>;
    g->all = new std::vector<species>;
    for (size_t x = 0; x < in->n_species; x++) {
        const nhk_tiles_species *s = &in->species[x];
        if (s->lmax > LMAX) {
            tiles_drop(g);
            return nhk_error(err, "orbitals: l up to %d expected, found %d", LMAX, s->lmax);
        }
        g->all->push_back({s->n_shell, s->n_orbital, s->lmax, s->n_row, s->width, s->radius, s->step,
                           nhk_uploaded(gpu, s->l, (size_t)s->n_shell),
                           nhk_uploaded(gpu, s->row, (size_t)2 * s->n_row * s->width)});
    }
    g->placed = nhk_uploaded(gpu, g->all->data(), g->all->size());
    g->in.species = nullptr;
    g->in.first_image = nullptr;
    g->in.link = nullptr;
    g->in.image = nhk_uploaded(gpu, in->image, in->n_image);
    g->in.point = nhk_uploaded(gpu, in->point, in->n_tile * (size_t)in->points);
    g->in.pair = nhk_uploaded(gpu, in->pair, in->n_pair);
    g->v = static_cast<double *>(nhk_alloc(gpu, in->n_point, sizeof(double)));
    g->elements = static_cast<double *>(nhk_alloc(gpu, in->n_elem, sizeof(double)));
    if (!make_batches(g, in)) nhk_fail(gpu, "grid: links that are not in the order of the tiles");
    const size_t rows = (size_t)in->most_rows, phi = g->most_tiles * rows * (size_t)in->points;
    g->phi = static_cast<double *>(nhk_alloc(gpu, phi, sizeof(double)));
    g->other = static_cast<double *>(nhk_alloc(gpu, phi, sizeof(double)));
    g->square = static_cast<double *>(nhk_alloc(gpu, g->most_tiles * rows * rows, sizeof(double)));
    if (nhk_sync(gpu, err) == 0) {
        *out = g;
        return 0;
    }
    tiles_drop(g);
    return -1;
}

static void tiles_drop(nhk_tiles *g)
{
    if (g == nullptr) return;
    for (const species &s : *g->all) {
        nhk_free(g->gpu, const_cast<int *>(s.l));
        nhk_free(g->gpu, const_cast<double *>(s.row));
    }
    const void *arrays[] = {g->placed, g->segments, g->links,  g->in.image, g->in.point, g->in.pair,
                            g->phi,    g->other,    g->square, g->v,        g->elements};
    for (const void *p : arrays)
        nhk_free(g->gpu, const_cast<void *>(p));
    delete g->all;
    delete g->batches;
    free(g);
}

static void make_phi(nhk_tiles *g, const batch &b)
{
    const size_t rows = (size_t)g->in.most_rows, points = (size_t)g->in.points;
    nhk_zero(g->gpu, g->phi, b.n_tile * rows * points * sizeof(double));
    if (!nhk_ready(g->gpu, b.n_image)) return;
    const dim3 grid = nhk_grid(g->gpu, b.n_image * points, NHK_BLOCK);
    NHK_RUN(g->gpu, phi_kernel, grid, NHK_BLOCK, 0, g->in, g->placed, b, (int)rows, g->phi);
}

static int tiles_matrix(nhk_tiles *g, const double *v, double *h, nh_error *err)
{
    nh_gpu *gpu = g->gpu;
    const size_t rows = (size_t)g->in.most_rows, points = (size_t)g->in.points;
    nhk_good(gpu, cudaSetDevice(gpu->index), "cudaSetDevice");
    nhk_upload(gpu, g->v, v, g->in.n_point * sizeof(double));
    nhk_zero(gpu, g->elements, g->in.n_elem * sizeof(double));
    for (const batch &b : *g->batches) {
        if (!nhk_ready(gpu, b.n_segment)) continue;
        make_phi(g, b);
        NHK_RUN(gpu, weigh_kernel, nhk_grid(gpu, b.n_tile * rows * points, NHK_BLOCK), NHK_BLOCK, 0, g->in, b,
                (int)rows, g->v, g->phi, g->other);
        nhk_gemm_batched(gpu, true, rows, rows, points, b.n_tile, g->other, g->phi, g->square);
        NHK_RUN(gpu, add_kernel, nhk_grid(gpu, b.n_segment, 1), NHK_BLOCK, 0, g->in, b, g->segments, g->links,
                (int)rows, g->square, g->elements);
    }
    nhk_download(gpu, h, g->elements, g->in.n_elem * sizeof(double));
    return nhk_sync(gpu, err);
}

static int tiles_density(nhk_tiles *g, const double *p, double *rho, nh_error *err)
{
    nh_gpu *gpu = g->gpu;
    const size_t rows = (size_t)g->in.most_rows, points = (size_t)g->in.points;
    nhk_good(gpu, cudaSetDevice(gpu->index), "cudaSetDevice");
    nhk_upload(gpu, g->elements, p, g->in.n_elem * sizeof(double));
    nhk_zero(gpu, g->v, g->in.n_point * sizeof(double));
    for (const batch &b : *g->batches) {
        if (!nhk_ready(gpu, b.n_link)) continue;
        make_phi(g, b);
        nhk_zero(gpu, g->square, b.n_tile * rows * rows * sizeof(double));
        NHK_RUN(gpu, gather_kernel, nhk_grid(gpu, b.n_link, 1), NHK_BLOCK, 0, g->in, b, g->links, (int)rows,
                g->elements, g->square);
        nhk_gemm_batched(gpu, false, rows, points, rows, b.n_tile, g->square, g->phi, g->other);
        NHK_RUN(gpu, sum_kernel, nhk_grid(gpu, b.n_tile * points, NHK_BLOCK), NHK_BLOCK, 0, g->in, b,
                (int)rows, g->phi, g->other, g->v);
    }
    nhk_download(gpu, rho, g->v, g->in.n_point * sizeof(double));
    return nhk_sync(gpu, err);
}

const nhk_tiles_calls nhk_tiles_table = {tiles_make, tiles_drop, tiles_matrix, tiles_density};
