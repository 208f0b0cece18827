#include "lcao/tile_kernels.h"

#include "lcao/lanes.h"

/* The block of sums that fits into the registers beside its operands. */
#if defined __AVX512F__
enum { ROWS = 5, COLUMNS = 5, CHUNK = 4 };
#else
enum { ROWS = 3, COLUMNS = 3, CHUNK = 2 };
#endif
enum { LANES = NH_WIDE, PARTS = NH_GROUP / NH_WIDE };
typedef nh_wide vec;

/* Part i of n cut into nearly equal parts. */
NH_INLINE size_t cut(size_t n, size_t parts, size_t i)
{
    return n * i / parts;
}

/* The sums over lanes of eight registers, side by side. */
#if defined __AVX512F__
NH_INLINE vec lane_sums(const vec x[8])
{
    vec pair[4], four[2];
    for (int i = 0; i < 4; i++)
        pair[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14) +
                  __builtin_shufflevector(x[2 * i], x[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    for (int i = 0; i < 2; i++)
        four[i] = __builtin_shufflevector(pair[2 * i], pair[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) +
                  __builtin_shufflevector(pair[2 * i], pair[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    return __builtin_shufflevector(four[0], four[1], 0, 1, 2, 3, 8, 9, 10, 11) +
           __builtin_shufflevector(four[0], four[1], 4, 5, 6, 7, 12, 13, 14, 15);
}
#endif

NH_INLINE void product(const int rows, const int columns, size_t n, const nh_group_pair *at, const double *a,
                       size_t stride_a, const double *b, size_t stride_b, double *m, size_t ld)
{
    vec sum[ROWS * COLUMNS + 7] = {{0}};
    for (size_t t = 0; t < n; t++)
        for (int part = 0; part < PARTS; part++) {
            const double *const pa = a + at[t].a + part * LANES, *const pb = b + at[t].b + part * LANES;
            vec x[ROWS];
            for (int i = 0; i < rows; i++)
                x[i] = *(const vec *)(pa + (size_t)i * stride_a);
            for (int j = 0; j < columns; j++) {
                const vec y = *(const vec *)(pb + (size_t)j * stride_b);
                for (int i = 0; i < rows; i++)
                    sum[i * columns + j] += x[i] * y;
            }
        }
#if defined __AVX512F__
    double out[ROWS * COLUMNS + 7];
    for (int k = 0; k < rows * columns; k += 8)
        *(vec *)(out + k) = lane_sums(sum + k);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            m[(size_t)i * ld + (size_t)j] = out[i * columns + j];
#else
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            double total = 0;
            for (int k = 0; k < LANES; k++)
                total += sum[i * columns + j][k];
            m[(size_t)i * ld + (size_t)j] = total;
        }
#endif
}

#define CASE(r, c)                                                                                           \
    case 8 * (r) + (c):                                                                                      \
        product(r, c, n, at, a, stride_a, b, stride_b, m, ld);                                               \
        break;

static void block(size_t rows, size_t columns, size_t n, const nh_group_pair *at, const double *a,
                  size_t stride_a, const double *b, size_t stride_b, double *m, size_t ld)
{
    switch (8 * rows + columns) {
        /* clang-format off */
        CASE(1, 1) CASE(1, 2) CASE(1, 3) CASE(2, 1) CASE(2, 2) CASE(2, 3) CASE(3, 1) CASE(3, 2) CASE(3, 3)
#if defined __AVX512F__
        CASE(1, 4) CASE(1, 5) CASE(2, 4) CASE(2, 5) CASE(3, 4) CASE(3, 5) CASE(4, 1) CASE(4, 2) CASE(4, 3)
        CASE(4, 4) CASE(4, 5) CASE(5, 1) CASE(5, 2) CASE(5, 3) CASE(5, 4) CASE(5, 5)
#endif
        /* clang-format on */
    }
}

void nh_tile_product(size_t n, const nh_group_pair *at, size_t rows, const double *a, size_t stride_a,
                     size_t columns, const double *b, size_t stride_b, double *m, size_t ld)
{
    const size_t down = (rows + ROWS - 1) / ROWS, across = (columns + COLUMNS - 1) / COLUMNS;
    for (size_t x = 0; x < down; x++) {
        const size_t i = cut(rows, down, x), i1 = cut(rows, down, x + 1);
        for (size_t y = 0; y < across; y++) {
            const size_t j = cut(columns, across, y), j1 = cut(columns, across, y + 1);
            block(i1 - i, j1 - j, n, at, a + i * stride_a, stride_a, b + j * stride_b, stride_b,
                  m + i * ld + j, ld);
        }
    }
}

NH_INLINE void sums(const int rows, const double *p, size_t ld, size_t columns,
                    const double *const b[NH_CHUNK], const size_t stride[NH_CHUNK], double *sum)
{
    for (int first = 0; first < NH_CHUNK * PARTS; first += CHUNK) {
        vec s[ROWS][CHUNK];
        const double *at[CHUNK];
        size_t step[CHUNK];
        for (int g = 0; g < CHUNK; g++) {
            const int group = (first + g) / PARTS, part = (first + g) % PARTS;
            at[g] = b[group] + part * LANES;
            step[g] = stride[group];
            for (int i = 0; i < rows; i++)
                s[i][g] = *(const vec *)(sum + (i * NH_CHUNK + group) * NH_GROUP + part * LANES);
        }
        for (size_t j = 0; j < columns; j++) {
            vec y[CHUNK];
            for (int g = 0; g < CHUNK; g++) {
                y[g] = *(const vec *)at[g];
                at[g] += step[g];
            }
            for (int i = 0; i < rows; i++) {
                const vec x = p[(size_t)i * ld + j] - (vec){0};
                for (int g = 0; g < CHUNK; g++)
                    s[i][g] += x * y[g];
            }
        }
        for (int g = 0; g < CHUNK; g++) {
            const int group = (first + g) / PARTS, part = (first + g) % PARTS;
            for (int i = 0; i < rows; i++)
                *(vec *)(sum + (i * NH_CHUNK + group) * NH_GROUP + part * LANES) = s[i][g];
        }
    }
}

void nh_tile_sums(size_t rows, const double *p, size_t ld, size_t columns, const double *const b[NH_CHUNK],
                  const size_t stride[NH_CHUNK], double *sum)
{
    const size_t down = (rows + ROWS - 1) / ROWS;
    for (size_t x = 0; x < down; x++) {
        const size_t i = cut(rows, down, x), height = cut(rows, down, x + 1) - i;
        const double *const of = p + i * ld;
        double *const to = sum + i * NH_CHUNK * NH_GROUP;
        switch (height) {
        case 1:
            sums(1, of, ld, columns, b, stride, to);
            break;
        case 2:
            sums(2, of, ld, columns, b, stride, to);
            break;
        case 3:
            sums(3, of, ld, columns, b, stride, to);
            break;
#if defined __AVX512F__
        case 4:
            sums(4, of, ld, columns, b, stride, to);
            break;
        case 5:
            sums(5, of, ld, columns, b, stride, to);
            break;
#endif
        default:
            break;
        }
    }
}
