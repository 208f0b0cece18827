#include "formats/pseudo/orbital.h"

#include "base/memory.h"
#include "base/random.h"
#include "formats/abacus/orb.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LARGEST_FILE = 256 << 20, /* bytes; a real one has less than one million */
    LARGEST_MESH = 1000000
};

void nh_content_hash(const char *text, char hash[NH_HASH_TEXT])
{
    snprintf(hash, NH_HASH_TEXT, "%016" PRIx64, nh_hash(text));
}

/* int f^2 r^2 dr by Simpson; an even mesh gets one more point, where f is 0. */
static double norm(size_t n, double dr, const double *f)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double r = (double)i * dr, weight = i == 0 || (i == n - 1 && n % 2 == 1) ? 1
                                                  : i % 2 == 1                         ? 4
                                                                                       : 2;
        sum += weight * f[i] * f[i] * r * r;
    }
    return sum * dr / 3;
}

/* "Mesh 701", "dr 0.01": a word and a number. */
static int read_named(nh_stream *s, const char *name, double *out, nh_error *err)
{
    char word[32];
    if (nh_scan_word(s, word, sizeof word, name, err)) return -1;
    if (strcmp(word, name) != 0)
        return nh_fail(err, "%s:%zu: \"%s\" where \"%s\" is expected", nh_stream_name(s), nh_stream_line(s),
                       word, name);
    return nh_scan_real(s, out, name, err);
}

/* One block: "Type L N", three numbers, the values. `done` marks the shells that are there. */
static int read_shell(nh_stream *s, nh_orbital_set *o, bool *done, nh_error *err)
{
    static const char *const names[] = {"Type", "L", "N"};
    const char *const path = nh_stream_name(s);
    char word[32];
    for (size_t i = 0; i < 3; i++) {
        if (nh_scan_word(s, word, sizeof word, "a block \"Type L N\"", err)) return -1;
        if (strcmp(word, names[i]) != 0)
            return nh_fail(err, "%s:%zu: \"%s\" where \"Type L N\" is expected", path, nh_stream_line(s),
                           word);
    }
    long type, l, n;
    if (nh_scan_long(s, &type, "a type", err) || nh_scan_long(s, &l, "L", err) ||
        nh_scan_long(s, &n, "N", err))
        return -1;
    size_t first = 0;
    while (first < o->n_shell && o->l[first] != l)
        first++;
    size_t count = 0;
    while (first + count < o->n_shell && o->l[first + count] == l)
        count++;
    if (n < 0 || (size_t)n >= count)
        return nh_fail(err, "%s:%zu: orbital L %ld, N %ld, of which the head says nothing", path,
                       nh_stream_line(s), l, n);
    const size_t shell = first + (size_t)n;
    if (done[shell]) return nh_fail(err, "%s:%zu: orbital L %ld, N %ld twice", path, nh_stream_line(s), l, n);
    done[shell] = true;
    double *const f = o->f + shell * o->n_mesh;
    for (size_t i = 0; i < o->n_mesh; i++) {
        if (nh_scan_real(s, &f[i], "a value of an orbital", err)) return -1;
        if (!isfinite(f[i])) return nh_fail(err, "%s:%zu: a value is not finite", path, nh_stream_line(s));
    }
    const double square = norm(o->n_mesh, o->dr, f);
    if (!(square > 0) || !isfinite(square))
        return nh_fail(err, "%s: orbital L %ld, N %ld has no norm", path, l, n);
    const double scale = 1 / sqrt(square);
    for (size_t i = 0; i < o->n_mesh; i++)
        f[i] *= scale;
    return 0;
}

static int read_set(nh_stream *s, const char *element, nh_orbital_set *o, nh_error *err)
{
    const char *const path = nh_stream_name(s);
    nh_orb_header h;
    if (nh_orb_read_header(s, &h, err)) return -1;
    o->n_shell = h.n_shell;
    o->l = h.l;
    if (element != NULL && h.element[0] != '\0' && strcmp(h.element, element) != 0)
        return nh_fail(err, "%s: orbitals of %s where those of %s are needed", path, h.element, element);
    double mesh;
    if (read_named(s, "Mesh", &mesh, err) || read_named(s, "dr", &o->dr, err)) return -1;
    if (!(mesh >= 3 && mesh <= LARGEST_MESH) || mesh != floor(mesh))
        return nh_fail(err, "%s: a mesh of %g points", path, mesh);
    if (!(o->dr > 0 && o->dr <= 1)) return nh_fail(err, "%s: dr = %g bohr", path, o->dr);
    o->n_mesh = (size_t)mesh;
    size_t numbers;
    bool *const done = NH_ARRAY(bool, o->n_shell);
    if (nh_size_mul(o->n_shell, o->n_mesh, &numbers)) o->f = NH_ARRAY(double, numbers);
    int status = done != NULL && o->f != NULL ? 0 : nh_fail_memory(err, "orbitals");
    for (size_t i = 0; i < o->n_shell && status == 0; i++)
        status = read_shell(s, o, done, err);
    free(done);
    if (status == 0 && nh_skip_space(s) >= 0)
        status = nh_fail(err, "%s:%zu: more orbitals than the head says", path, nh_stream_line(s));
    return status;
}

int nh_orbital_read(const char *path, const char *element, nh_orbital_set *out, nh_error *err)
{
    *out = (nh_orbital_set){.n_shell = 0};
    char *text;
    nh_stream *s;
    if (nh_read_text(path, LARGEST_FILE, &text, err)) return -1;
    nh_content_hash(text, out->hash);
    free(text);
    if (nh_stream_open(path, &s, err)) return -1;
    const int status = read_set(s, element, out, err);
    nh_stream_close(s);
    if (status != 0) nh_orbital_set_free(out);
    return status;
}
