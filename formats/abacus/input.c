#include "formats/abacus/input.h"

#include "base/memory.h"
#include "base/outfile.h"
#include "crystal/kpoints.h"
#include "formats/abacus/stru.h"
#include "formats/abacus/orb.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- INPUT --- */

/* True where a KEY=VALUE of the user has this key. */
static bool is_set(const nh_list *set, const char *key)
{
    const size_t n = strlen(key);
    for (size_t i = 0; i < set->count; i++)
        if (strncmp(set->item[i], key, n) == 0 && set->item[i][n] == '=') return true;
    return false;
}

static void keyword(FILE *out, const nh_abacus_input *in, const char *key, const char *value)
{
    if (!is_set(&in->set, key)) fprintf(out, "%s %s\n", key, value);
}

static void write_input(FILE *out, const nh_abacus_input *in, size_t n_type, const char *pseudo_dir,
                        const char *orbital_dir)
{
    char types[32];
    snprintf(types, sizeof types, "%zu", n_type);
    const char *const usual[][2] = {
        {"suffix", "ABACUS"},
        {"pseudo_dir", pseudo_dir},
        {"orbital_dir", orbital_dir},
        {"ntype", types},
        {"calculation", "scf"},
        {"scf_nmax", in->zeroth ? "1" : "100"},
        {"init_chg", "atomic"},
        {"nspin", in->nspin == 4 ? "4" : "1"},
        {"lspinorb", in->nspin == 4 ? "1" : "0"},
        {"basis_type", "lcao"},
        {"ecutwfc", "100"},
        {"scf_thr", "1e-6"},
        {"gamma_only", "0"},
        {"smearing_method", "gauss"},
        {"smearing_sigma", "0.01"},
        {"symmetry", "0"},
        {"mixing_type", "broyden"},
        {"out_mat_hs2", "1"},
        {"out_chg", "0"},
    };
    fprintf(out, "INPUT_PARAMETERS\n");
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        keyword(out, in, usual[i][0], usual[i][1]);
    for (size_t i = 0; i < in->set.count; i++) {
        const char *value = strchr(in->set.item[i], '=');
        fprintf(out, "%.*s %s\n", (int)(value - in->set.item[i]), in->set.item[i], value + 1);
    }
}

/* --- KPT --- */

static int choose_mesh(const nh_abacus_input *in, const nh_structure *s, int mesh[3], nh_error *err)
{
    double b[9];
    if (nh_reciprocal(s->lattice, b, err)) return -1;
    for (int d = 0; d < 3; d++) {
        const double length =
            sqrt(b[3 * d] * b[3 * d] + b[3 * d + 1] * b[3 * d + 1] + b[3 * d + 2] * b[3 * d + 2]);
        mesh[d] = in->mesh[d] > 0 ? in->mesh[d] : (int)fmax(1, ceil(length / in->spacing - 1e-9));
    }
    return 0;
}

/* --- the three files --- */

typedef struct files {
    size_t count;
    char **path;       /* [count] as found; owned */
    const char **name; /* [count] without folder; points into path */
} files;

static void files_free(files *f)
{
    for (size_t i = 0; i < f->count && f->path != NULL; i++)
        free(f->path[i]);
    free(f->path);
    free(f->name);
}

static int find_files(const nh_structure *s, const char *folder, const char *suffix, files *f, nh_error *err)
{
    *f = (files){.count = s->n_species,
                 .path = NH_ARRAY(char *, s->n_species),
                 .name = NH_ARRAY(const char *, s->n_species)};
    if (f->path == NULL || f->name == NULL) return nh_fail_memory(err, "names of files");
    for (size_t i = 0; i < f->count; i++) {
        const char *symbol = nh_element_symbol(s->atomic_number[i]);
        if (symbol == NULL) return nh_fail(err, "no element has the number %d", s->atomic_number[i]);
        if (nh_element_file(folder, symbol, suffix, &f->path[i], err)) return -1;
        f->name[i] = strrchr(f->path[i], '/') + 1;
    }
    return 0;
}

/* All that stands in the three files. */
typedef struct content {
    const nh_abacus_input *in;
    const nh_structure_file *file;
    const char *pseudo_dir, *orbital_dir;
    files pseudo, orbital;
    int mesh[3];
} content;

static void put_stru(FILE *out, const content *c)
{
    nh_stru_write_file(out, c->file, c->pseudo.name, c->orbital.name);
}

static void put_kpt(FILE *out, const content *c)
{
    fprintf(out, "K_POINTS\n0\nGamma\n%d %d %d 0 0 0\n", c->mesh[0], c->mesh[1], c->mesh[2]);
}

static void put_input(FILE *out, const content *c)
{
    write_input(out, c->in, nh_stru_types(c->file), c->pseudo_dir, c->orbital_dir);
}

static int put(const char *folder, const char *name, void (*write)(FILE *out, const content *c),
               const content *c, nh_error *err)
{
    nh_outfile *o;
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return nh_fail_memory(err, "a file name");
    int status = nh_outfile_begin(path, &o, err);
    free(path);
    if (status != 0) return -1;
    FILE *out = nh_outfile_stream(o, err);
    if (out == NULL) {
        nh_outfile_abort(o);
        return -1;
    }
    write(out, c);
    return nh_outfile_commit(o, err);
}

static int write_files(const nh_abacus_input *in, const nh_structure_file *file, const char *folder,
                       const char *pseudo_dir, const char *orbital_dir, nh_error *err)
{
    const nh_structure *s = &file->structure;
    content c = {.in = in, .file = file, .pseudo_dir = pseudo_dir, .orbital_dir = orbital_dir};
    int status = find_files(s, pseudo_dir, ".upf", &c.pseudo, err);
    if (status == 0) status = find_files(s, orbital_dir, ".orb", &c.orbital, err);
    if (status == 0) status = choose_mesh(in, s, c.mesh, err);
    if (status == 0 && mkdir(folder, 0777) != 0 && errno != EEXIST)
        status = nh_fail(err, "%s: %s", folder, strerror(errno));
    if (status == 0) status = put(folder, "STRU", put_stru, &c, err);
    if (status == 0) status = put(folder, "KPT", put_kpt, &c, err);
    if (status == 0) status = put(folder, "INPUT", put_input, &c, err);
    files_free(&c.pseudo);
    files_free(&c.orbital);
    return status;
}

int nh_abacus_input_write(const nh_abacus_input *in, const nh_structure_file *file, const char *folder,
                          nh_error *err)
{
    for (size_t i = 0; i < in->set.count; i++)
        if (strchr(in->set.item[i], '=') == NULL)
            return nh_fail(err, "--set: KEY=VALUE expected, found '%s'", in->set.item[i]);
    /* The run is started in its own folder. */
    char *pseudo = realpath(in->pseudo_dir, NULL), *orbital = realpath(in->orbital_dir, NULL);
    int status = -1;
    if (pseudo == NULL)
        nh_fail(err, "%s: %s", in->pseudo_dir, strerror(errno));
    else if (orbital == NULL)
        nh_fail(err, "%s: %s", in->orbital_dir, strerror(errno));
    else
        status = write_files(in, file, folder, pseudo, orbital, err);
    free(pseudo);
    free(orbital);
    return status;
}
