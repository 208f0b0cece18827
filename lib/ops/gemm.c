/* Matrix products of the sizes that tiles have: tens to hundreds of rows, widths of 4 to 1000. BLAS is made for large
 * ones: it copies both matrices, clears the result in a pass of its own, and has no kernels for narrow ones. Here one
 * panel of B, as wide as two registers, is copied where its rows are far apart, and stays in the first-level cache
 * while strips of rows of A pass, as many rows as there are registers for. Each number of the result is one sum in the
 * order of k (two where a strip is one register wide, joined at the end of a block of k), so a row's result does not depend
 * on the rows beside it. */
#include "ops/ops.h"
#include "ops/vector.h"

#include <cblas.h>

enum {
#if NH_VECTOR == 64
    ROWS = 14, /* of a strip: 28 of the 32 registers hold sums, 2 B, 1 A */
#else
    ROWS = 6, /* of a strip: 12 of the 16 registers hold sums, 2 B, 1 A */
#endif
    PART = 6,            /* of one that is not full */
    WIDE = 2 * NH_LANES, /* columns of a panel */
    DEPTH = 256,         /* k at once: a panel of single precision has 16 kB */
    HEIGHT = 32 * ROWS,  /* rows of A that are copied at once, where it is transposed */
    NEAR = 4 * WIDE      /* rows of B that are not farther apart need no copy */
};

/* rows x (lanes NH_LANES) numbers of C, columns beyond n left alone. rows and lanes are constants where it is called.
 * a(r,k) = a[r*row + k*step]; b: rows of a panel, `wide` apart. */
static inline __attribute__((always_inline)) void strip(size_t rows, size_t lanes, size_t k, const real *a,
                                                        size_t row, size_t step, const real *b, size_t wide,
                                                        bool add, real *c, size_t ldc, size_t n)
{
    R(nh_vec) sum[ROWS][2];
    for (size_t r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = (R(nh_vec)){0};
    size_t i = 0;
    if (lanes == 2) {
        for (; i < k; i++, a += step, b += wide) {
            const R(nh_vec) b0 = R(nh_load)(b), b1 = R(nh_load)(b + NH_LANES);
            for (size_t r = 0; r < rows; r++) {
                sum[r][0] += a[r * row] * b0;
                sum[r][1] += a[r * row] * b1;
            }
        }
    } else { /* even and odd k apart, to have as many sums under way */
        for (; i + 1 < k; i += 2, a += 2 * step, b += 2 * wide) {
            const R(nh_vec) b0 = R(nh_load)(b), b1 = R(nh_load)(b + wide);
            for (size_t r = 0; r < rows; r++) {
                sum[r][0] += a[r * row] * b0;
                sum[r][1] += a[r * row + step] * b1;
            }
        }
        if (i < k) {
            const R(nh_vec) b0 = R(nh_load)(b);
            for (size_t r = 0; r < rows; r++)
                sum[r][0] += a[r * row] * b0;
        }
        for (size_t r = 0; r < rows; r++)
            sum[r][0] += sum[r][1];
    }
    for (size_t r = 0; r < rows; r++) {
        real *to = c + r * ldc;
        if (n == lanes * NH_LANES) {
            for (size_t j = 0; j < lanes; j++) {
                if (add) sum[r][j] += R(nh_load)(to + j * NH_LANES);
                R(nh_store)(to + j * NH_LANES, sum[r][j]);
            }
        } else {
            for (size_t j = 0; j < n; j++)
                to[j] = (add ? to[j] : 0) + sum[r][j / NH_LANES][j % NH_LANES];
        }
    }
}

static inline __attribute__((always_inline)) void strips(size_t lanes, size_t m, size_t k, const real *a,
                                                         size_t row, size_t step, size_t next, const real *b,
                                                         size_t wide, bool add, real *c, size_t ldc, size_t n)
{
    for (; m >= ROWS; m -= ROWS, a += next, c += ROWS * ldc)
        strip(ROWS, lanes, k, a, row, step, b, wide, add, c, ldc, n);
    for (; ROWS > PART && m >= PART; m -= PART, a += PART * row, c += PART * ldc)
        strip(PART, lanes, k, a, row, step, b, wide, add, c, ldc, n);
    switch (m) {
    case 5:
        strip(5, lanes, k, a, row, step, b, wide, add, c, ldc, n);
        break;
    case 4:
        strip(4, lanes, k, a, row, step, b, wide, add, c, ldc, n);
        break;
    case 3:
        strip(3, lanes, k, a, row, step, b, wide, add, c, ldc, n);
        break;
    case 2:
        strip(2, lanes, k, a, row, step, b, wide, add, c, ldc, n);
        break;
    case 1:
        strip(1, lanes, k, a, row, step, b, wide, add, c, ldc, n);
        break;
    default:
        break;
    }
}

/* n columns and k rows of B, which begin at b, as a panel with rows of WIDE; zeros beside them. */
static void copy_panel(bool transposed, size_t n, size_t k, const real *restrict b, size_t ldb,
                       real *restrict to)
{
    if (!transposed && n == WIDE) {
        for (size_t i = 0; i < k; i++, b += ldb, to += WIDE)
            for (size_t j = 0; j < 2; j++)
                R(nh_store)(to + j * NH_LANES, R(nh_load)(b + j * NH_LANES));
    } else if (!transposed) {
        for (size_t i = 0; i < k; i++, b += ldb, to += WIDE)
            for (size_t j = 0; j < WIDE; j++)
                to[j] = j < n ? b[j] : 0;
    } else {
        for (size_t j = 0; j < WIDE; j++)
            for (size_t i = 0; i < k; i++)
                to[i * WIDE + j] = j < n ? b[j * ldb + i] : 0;
    }
}

/* m columns and k rows of A, transposed, as strips with rows of ROWS. */
static void copy_strips(size_t m, size_t k, const real *restrict a, size_t lda, real *restrict to)
{
    for (size_t r = 0; r < m; r += ROWS, a += ROWS) {
        const size_t rows = m - r < ROWS ? m - r : ROWS;
        for (size_t i = 0; i < k; i++, to += ROWS)
            for (size_t j = 0; j < ROWS; j++)
                to[j] = j < rows ? a[i * lda + j] : 0;
    }
}

static void panel_product(size_t m, size_t n, size_t k, const real *a, size_t row, size_t step, size_t next,
                          const real *b, size_t wide, bool add, real *c, size_t ldc)
{
    if (n > NH_LANES)
        strips(2, m, k, a, row, step, next, b, wide, add, c, ldc, n);
    else
        strips(1, m, k, a, row, step, next, b, wide, add, c, ldc, n);
}

/* A block of k, all columns. */
static void block(size_t m, size_t n, size_t k, const real *a, size_t row, size_t step, size_t next,
                  bool b_transposed, const real *b, size_t ldb, bool add, real *c, size_t ldc)
{
    real panel[DEPTH * WIDE];
    for (size_t j = 0; j < n; j += WIDE) {
        const size_t left = n - j, width = left < WIDE ? left : WIDE;
        const real *from = b + (b_transposed ? j * ldb : j);
        size_t wide = ldb;
        if (b_transposed || ldb > NEAR || width % NH_LANES != 0) {
            copy_panel(b_transposed, width, k, from, ldb, panel);
            from = panel;
            wide = WIDE;
        }
        panel_product(m, width, k, a, row, step, next, from, wide, add, c + j, ldc);
    }
}

void R(nh_gemm)(nh_method method, bool a_transposed, bool b_transposed, size_t m, size_t n, size_t k,
                const real *a, size_t lda, const real *b, size_t ldb, bool add, real *c, size_t ldc)
{
    real strips_of_a[DEPTH * HEIGHT];
    if (method == NH_METHOD_REFERENCE) {
        NH_GEMM(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans,
                b_transposed ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb,
                add ? 1 : 0, c, (int)ldc);
        return;
    }
    for (size_t first = 0; first < k; first += DEPTH) {
        const size_t depth = k - first < DEPTH ? k - first : DEPTH;
        const real *from_b = b + (b_transposed ? first : first * ldb);
        if (!a_transposed) {
            block(m, n, depth, a + first, lda, 1, ROWS * lda, b_transposed, from_b, ldb, add, c, ldc);
        } else {
            for (size_t i = 0; i < m; i += HEIGHT) {
                const size_t height = m - i < HEIGHT ? m - i : HEIGHT;
                const real *from_a = a + first * lda + i;
                if (n <= WIDE) { /* each strip is needed once */
                    block(height, n, depth, from_a, 1, lda, ROWS, b_transposed, from_b, ldb, add, c + i * ldc,
                          ldc);
                    continue;
                }
                copy_strips(height, depth, from_a, lda, strips_of_a);
                block(height, n, depth, strips_of_a, 1, ROWS, ROWS * depth, b_transposed, from_b, ldb, add,
                      c + i * ldc, ldc);
            }
        }
        add = true;
    }
}

size_t R(nh_panels_size)(size_t n, size_t k)
{
    return (n + WIDE - 1) / WIDE * WIDE * k;
}

void R(nh_panels)(bool b_transposed, size_t n, size_t k, const real *b, size_t ldb, real *panels)
{
    for (size_t j = 0; j < n; j += WIDE, panels += WIDE * k)
        copy_panel(b_transposed, n - j < WIDE ? n - j : WIDE, k, b + (b_transposed ? j * ldb : j), ldb,
                   panels);
}

void R(nh_gemm_panels)(size_t m, size_t n, size_t k, const real *a, size_t lda, const real *panels, bool add,
                       real *c, size_t ldc)
{
    for (size_t first = 0; first < k; first += DEPTH, add = true) {
        const size_t depth = k - first < DEPTH ? k - first : DEPTH;
        for (size_t j = 0; j < n; j += WIDE)
            panel_product(m, n - j < WIDE ? n - j : WIDE, depth, a + first, lda, 1, ROWS * lda,
                          panels + j * k + first * WIDE, WIDE, add, c + j, ldc);
    }
}
