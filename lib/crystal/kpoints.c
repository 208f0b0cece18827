#include "crystal/kpoints.h"

#include "base/memory.h"
#include "crystal/lattice.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_POINTS = 100000000 }; /* a slip of the keyboard must not ask for terabytes */

int nh_kpoints_new(size_t count, nh_k_mode mode, nh_kpoints *out, nh_error *err)
{
    *out = (nh_kpoints){.count = count, .mode = mode};
    if (count == 0) return nh_fail(err, "no k-points");
    if (count > MOST_POINTS) return nh_fail(err, "%zu k-points: at most %d are possible", count, MOST_POINTS);
    out->k = NH_ARRAY(double, 3 * count);
    out->weight = NH_ARRAY(double, count);
    out->distance = NH_ARRAY(double, count);
    out->label = nh_calloc(count, sizeof *out->label);
    if (out->k == NULL || out->weight == NULL || out->distance == NULL || out->label == NULL) {
        nh_kpoints_free(out);
        return nh_fail_memory(err, "k-points");
    }
    for (size_t i = 0; i < count; i++)
        out->weight[i] = 1.0 / (double)count;
    return 0;
}

void nh_kpoints_free(nh_kpoints *k)
{
    free(k->k);
    free(k->weight);
    free(k->distance);
    free(k->label);
    *k = (nh_kpoints){0};
}

int nh_reciprocal(const double lattice[9], double b[9], nh_error *err)
{
    const double volume = nh_lattice_volume(lattice);
    if (!(fabs(volume) > 1e-12)) return nh_fail(err, "lattice: volume %g Å^3", volume);
    double inverse[9];
    nh_lattice_inverse(lattice, inverse);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            b[3 * i + k] = 2 * M_PI * inverse[3 * k + i];
    return 0;
}

double nh_k_length(const double b[9], const double k[3])
{
    double sum = 0;
    for (int x = 0; x < 3; x++) {
        double v = k[0] * b[x] + k[1] * b[3 + x] + k[2] * b[6 + x];
        sum += v * v;
    }
    return sqrt(sum);
}

int nh_kpoints_mesh(const int n[3], bool gamma, const double shift[3], nh_kpoints *out, nh_error *err)
{
    *out = (nh_kpoints){0};
    size_t count = 1;
    for (int x = 0; x < 3; x++) {
        if (n[x] < 1)
            return nh_fail(err, "mesh %d x %d x %d: every number must be at least 1", n[0], n[1], n[2]);
        if (!nh_size_mul(count, (size_t)n[x], &count) || count > MOST_POINTS)
            return nh_fail(err, "mesh %d x %d x %d: at most %d k-points are possible", n[0], n[1], n[2],
                           MOST_POINTS);
    }
    if (nh_kpoints_new(count, NH_K_MESH, out, err) != 0) return -1;
    for (size_t i = 0; i < count; i++) {
        size_t rest = i;
        for (int x = 0; x < 3; x++) {
            double at = (double)(rest % (size_t)n[x]) + 1;
            rest /= (size_t)n[x];
            out->k[3 * i + (size_t)x] =
                gamma ? (at - 1 + shift[x]) / n[x] : (2 * at - n[x] - 1 + shift[x]) / (2.0 * n[x]);
        }
    }
    return 0;
}

void nh_mesh_of_length(const double lattice[9], double length, int n[3])
{
    for (size_t i = 0; i < 3; i++) {
        const double *a = lattice + 3 * i;
        n[i] = (int)fmax(1, ceil(length / sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])));
    }
}

size_t nh_mesh_opposite(const int n[3], size_t i)
{
    size_t opposite = 0, stride = 1;
    for (size_t x = 0; x < 3; x++) {
        const size_t points = (size_t)n[x], at = i % points;
        opposite += stride * ((points - at) % points);
        stride *= points;
        i /= points;
    }
    return opposite;
}

/* A number or a fraction "1/3"; moves *at behind it. */
static bool parse_fraction(const char **at, double *out)
{
    char *end;
    double v = strtod(*at, &end);
    if (end == *at) return false;
    if (*end == '/') {
        const char *below = end + 1;
        double d = strtod(below, &end);
        if (end == below || d == 0) return false;
        v /= d;
    }
    if (!isfinite(v) || (*end != '\0' && !isspace((unsigned char)*end))) return false;
    *at = end;
    *out = v;
    return true;
}

/* One corner, "[LABEL] x y z". */
static int parse_node(const char *text, size_t n, nh_k_node *node, nh_error *err)
{
    char copy[256];
    if (n >= sizeof copy) return nh_fail(err, "path: a corner of %zu characters", n);
    memcpy(copy, text, n);
    copy[n] = '\0';
    const char *at = copy;
    while (isspace((unsigned char)*at))
        at++;
    const char *first = at;
    double ignored;
    if (!parse_fraction(&first, &ignored)) {
        size_t length = strcspn(at, " \t\r\n");
        if (length >= NH_K_LABEL)
            return nh_fail(err, "path: label of more than %d characters in \"%s\"", NH_K_LABEL - 1, copy);
        memcpy(node->label, at, length);
        at += length;
    }
    bool good = true;
    for (int x = 0; x < 3 && good; x++)
        good = parse_fraction(&at, &node->k[x]);
    while (isspace((unsigned char)*at))
        at++;
    if (!good || *at != '\0') return nh_fail(err, "path: \"%s\" found, \"[LABEL] k1 k2 k3\" expected", copy);
    return 0;
}

int nh_path_parse(const char *text, size_t points, size_t *count, nh_k_node **node, nh_error *err)
{
    *count = 0;
    *node = NULL;
    size_t most = 1;
    for (const char *c = text; *c != '\0'; c++)
        most += *c == ';' || *c == '|';
    nh_k_node *list = NH_ARRAY(nh_k_node, most);
    if (list == NULL) return nh_fail_memory(err, "the path");
    size_t n = 0;
    for (const char *at = text;;) {
        size_t length = strcspn(at, ";|");
        const char *end = at + length;
        if (*end == '\0' && n > 0 && strspn(at, " \t\r\n") == length) break; /* a final ';' */
        if (parse_node(at, length, &list[n], err) != 0) {
            free(list);
            return -1;
        }
        list[n].points = points;
        list[n].jump = *end == '|';
        n++;
        if (*end == '\0') break;
        at = end + 1;
    }
    list[n - 1].jump = false;
    *count = n;
    *node = list;
    return 0;
}

static double segment_length(const double b[9], const nh_k_node *from)
{
    double step[3];
    for (int x = 0; x < 3; x++)
        step[x] = from[1].k[x] - from[0].k[x];
    return nh_k_length(b, step);
}

int nh_path_share(const double lattice[9], size_t total, size_t count, nh_k_node *node, nh_error *err)
{
    double b[9], length = 0;
    if (nh_reciprocal(lattice, b, err) != 0) return -1;
    size_t fixed = 1, segments = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        if (node[i].jump) {
            fixed++;
        } else {
            segments++;
            length += segment_length(b, node + i);
        }
    }
    if (total < fixed + segments)
        return nh_fail(err, "path: %zu k-points in all, at least %zu needed for its corners", total,
                       fixed + segments);
    size_t spare = total - fixed - segments; /* one per segment is given already */
    double *left = NH_ARRAY(double, count);
    if (left == NULL) return nh_fail_memory(err, "the path");
    size_t given = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        left[i] = -INFINITY;
        if (node[i].jump) continue;
        double share = length > 0 ? segment_length(b, node + i) / length * (double)spare : 0;
        size_t whole = (size_t)share;
        node[i].points = 1 + whole;
        left[i] = share - (double)whole;
        given += whole;
    }
    while (given < spare && segments > 0) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (left[i] > left[best]) best = i;
        node[best].points++;
        left[best] -= 1;
        given++;
    }
    free(left);
    return 0;
}

int nh_kpoints_path(const double lattice[9], size_t count, const nh_k_node *node, nh_kpoints *out,
                    nh_error *err)
{
    *out = (nh_kpoints){0};
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t points = i + 1 == count || node[i].jump ? 1 : node[i].points;
        if (points < 1) return nh_fail(err, "path: corner %zu has no points", i + 1);
        if (!nh_size_add(total, points, &total)) return nh_fail(err, "path: too many k-points");
    }
    if (nh_kpoints_new(total, NH_K_PATH, out, err) != 0) return -1;
    bool *jump = NH_ARRAY(bool, total);
    if (jump == NULL) {
        nh_kpoints_free(out);
        return nh_fail_memory(err, "the path");
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t points = i + 1 == count || node[i].jump ? 1 : node[i].points;
        memcpy(out->label[at], node[i].label, NH_K_LABEL);
        jump[at] = i > 0 && node[i - 1].jump;
        for (size_t j = 0; j < points; j++, at++)
            for (int x = 0; x < 3; x++) {
                double to = points > 1 ? node[i + 1].k[x] : node[i].k[x];
                out->k[3 * at + (size_t)x] = node[i].k[x] + (to - node[i].k[x]) * (double)j / (double)points;
            }
    }
    int status = nh_kpoints_distances(lattice, jump, out, err);
    free(jump);
    if (status != 0) nh_kpoints_free(out);
    return status;
}

int nh_kpoints_distances(const double lattice[9], const bool *jump, nh_kpoints *k, nh_error *err)
{
    double b[9];
    if (nh_reciprocal(lattice, b, err) != 0) return -1;
    k->distance[0] = 0;
    for (size_t i = 1; i < k->count; i++) {
        double step[3];
        for (size_t x = 0; x < 3; x++)
            step[x] = k->k[3 * i + x] - k->k[3 * (i - 1) + x];
        k->distance[i] = k->distance[i - 1] + (jump != NULL && jump[i] ? 0 : nh_k_length(b, step));
    }
    return 0;
}

int nh_kpoints_normalise(nh_kpoints *k, nh_error *err)
{
    double sum = 0;
    for (size_t i = 0; i < k->count; i++) {
        if (!(k->weight[i] >= 0) || !isfinite(k->weight[i]))
            return nh_fail(err, "k-point %zu: weight %g", i + 1, k->weight[i]);
        sum += k->weight[i];
    }
    if (!(sum > 0)) return nh_fail(err, "the weights of the k-points add up to %g", sum);
    for (size_t i = 0; i < k->count; i++)
        k->weight[i] /= sum;
    return 0;
}
