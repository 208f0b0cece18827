#include "formats/convert.h"

#include "base/memory.h"
#include "base/outfile.h"
#include "formats/abacus/run.h"
#include "formats/abacus/stru.h"
#include "formats/abacus/write.h"
#include "formats/deeph/deeph.h"
#include "formats/netcdf/graph.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const nh_format_names[] = {"graph", "abacus-csr", "abacus-text", "abacus-binary",
                                       "deeph", "deeph-old",  "wannier90",   NULL};

/* --- reading --- */

static bool ends_with(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n >= m && strcasecmp(path + n - m, end) == 0;
}

/* A file that is no netCDF: what it seems to be. */
static int refuse_file(const char *path, const unsigned char *head, size_t n, nh_error *err)
{
    static const struct {
        const char *end, *what;
    } known[] = {
        {".scfout", "OpenMX's scfout is not read: DeepH-dock turns it into a DeepH folder, which is"},
        {".hsx", "SIESTA's HSX is not read: DeepH-dock turns it into a DeepH folder, which is"},
        {".tshs", "SIESTA's TSHS is not read"},
        {"_hr.dat", "Wannier functions are not the orbitals of a structure: _hr.dat is written, not read"},
        {"_tb.dat", "Wannier functions are not the orbitals of a structure: _tb.dat is written, not read"},
        {".csr", "a matrix of ABACUS needs its run folder, or mkgraph with a structure"},
        {".npz", "HamGNN's npz is not read"},
    };
    if (n >= 4 && memcmp(head, "PK\3\4", 4) == 0)
        return nh_fail(err, "%s: a zip archive: HamGNN's npz is not read", path);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (ends_with(path, known[i].end)) return nh_fail(err, "%s: %s", path, known[i].what);
    return nh_fail(err, "%s: neither a graph.nc nor a folder of ABACUS or DeepH", path);
}

static bool is_netcdf(const unsigned char *head, size_t n)
{
    return (n >= 8 && memcmp(head, "\211HDF\r\n\032\n", 8) == 0) || (n >= 3 && memcmp(head, "CDF", 3) == 0);
}

static int read_graph(const char *path, nh_threads *threads, nh_found *out, nh_error *err)
{
    static const char *const dims[] = {"xyz", "elem"};
    nh_nc *f;
    size_t n;
    out->is_graph = true;
    if (nh_nc_open(path, &f, err)) return -1;
    nh_nc_use_threads(f, threads);
    int status =
        nh_graph_read(f, NH_WANT_H0 | NH_WANT_LABEL | NH_WANT_PRED | NH_WANT_OVERLAP, &out->graph, err);
    if (status == 0 && nh_nc_has(f, "position_matrix")) {
        if (!nh_size_mul(3, out->graph->pairs.n_elem, &n) || (out->position = NH_ARRAY(double, n)) == NULL)
            status = nh_fail_memory(err, "the position matrix");
        else
            status = nh_nc_get_double(f, "position_matrix", 2, dims, n, out->position, err);
    }
    nh_nc_close(f);
    return status;
}

static bool is_abacus(const char *folder)
{
    static const char *const runs[] = {"scf", "h0"};
    bool found = nh_abacus_is_run(folder);
    for (size_t i = 0; i < sizeof runs / sizeof runs[0] && !found; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", folder, runs[i]) < 0) return false;
        found = nh_abacus_is_run(path);
        free(path);
    }
    return found;
}

static int read_folder(const char *path, const nh_import_settings *set, nh_threads *threads,
                       const nh_log *messages, nh_found *out, nh_error *err)
{
    if (nh_deeph_recognise(path) != NH_DEEPH_NONE) {
        if (nh_deeph_read(path, set->cutoff, messages, &out->graph, err)) return -1;
        if (!isnan(set->efermi)) out->graph->efermi = set->efermi;
        if (!isnan(set->nelec)) out->graph->nelec = set->nelec;
        return 0;
    }
    if (!is_abacus(path))
        return nh_fail(err, "%s: neither a run of ABACUS (STRU, INPUT) nor a folder of DeepH (info.json)",
                       path);
    nh_log_say(messages, false, "%s: a run of ABACUS", path);
    nh_import_settings import = *set;
    import.abacus = path;
    if (isnan(import.cutoff)) import.cutoff = 8; /* mkgraph's */
    return nh_import(&import, threads, messages, &out->graph, err);
}

int nh_convert_read(const char *path, const nh_import_settings *set, nh_threads *threads,
                    const nh_log *messages, nh_found *out, nh_error *err)
{
    *out = (nh_found){.graph = NULL};
    struct stat kind;
    int status;
    if (strcmp(path, "-") == 0) {
        status = read_graph(path, threads, out, err);
    } else if (stat(path, &kind) != 0) {
        status = nh_fail(err, "%s: %s", path, strerror(errno));
    } else if (S_ISDIR(kind.st_mode)) {
        status = read_folder(path, set, threads, messages, out, err);
    } else {
        unsigned char head[8];
        FILE *const f = S_ISREG(kind.st_mode) ? fopen(path, "rb") : NULL;
        const size_t n = f != NULL ? fread(head, 1, sizeof head, f) : 0;
        if (f != NULL) fclose(f);
        if (S_ISREG(kind.st_mode) && f == NULL)
            status = nh_fail(err, "%s: %s", path, strerror(errno));
        else if (f != NULL && !is_netcdf(head, n))
            status = refuse_file(path, head, n, err);
        else
            status = read_graph(path, threads, out, err);
    }
    if (status != 0) nh_found_free(out);
    return status;
}

void nh_found_free(nh_found *f)
{
    nh_graph_free(f->graph);
    free(f->position);
    *f = (nh_found){.graph = NULL};
}

/* --- writing: a folder of ABACUS --- */

/* "Ga.upf" and "Ga_2s2p1d.orb", whose shells are read from the name. */
static int name_files(const nh_structure *s, char **pseudo, char **orbital, nh_error *err)
{
    for (size_t i = 0; i < s->n_species; i++) {
        const char *const symbol = nh_element_symbol(s->atomic_number[i]);
        char *const shells =
            nh_shells_text(s->shell_start[i + 1] - s->shell_start[i], s->shell_l + s->shell_start[i]);
        if (shells == NULL || asprintf(&orbital[i], "%s_%s.orb", symbol, shells) < 0) orbital[i] = NULL;
        if (asprintf(&pseudo[i], "%s.upf", symbol) < 0) pseudo[i] = NULL;
        free(shells);
        if (orbital[i] == NULL || pseudo[i] == NULL) return nh_fail_memory(err, "names of files");
    }
    return 0;
}

static int write_stru(const nh_structure *s, const char *path, nh_error *err)
{
    char **const pseudo = NH_ARRAY(char *, s->n_species), **const orbital = NH_ARRAY(char *, s->n_species);
    nh_outfile *o = NULL;
    int status = pseudo == NULL || orbital == NULL ? nh_fail_memory(err, "names of files")
                                                   : name_files(s, pseudo, orbital, err);
    if (status == 0) {
        FILE *const out = nh_outfile_begin_stream(path, &o, err);
        if (out != NULL) nh_stru_write(out, s, (const char *const *)pseudo, (const char *const *)orbital);
        status = out == NULL ? -1 : nh_outfile_commit(o, err);
    }
    for (size_t i = 0; i < s->n_species && pseudo != NULL && orbital != NULL; i++) {
        free(pseudo[i]);
        free(orbital[i]);
    }
    free(pseudo);
    free(orbital);
    return status;
}

static int write_matrix(const nh_graph *g, bool overlap, nh_matrix which, const nh_abacus_output *how,
                        const char *folder, nh_error *err)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, nh_abacus_matrix_name(how->dialect, overlap, 0)) < 0)
        return nh_fail_memory(err, "a file name");
    const int status = nh_abacus_write_matrix(g, overlap, which, how, path, err);
    free(path);
    return status;
}

int nh_convert_to_abacus(const nh_graph *g, nh_matrix which, nh_format format, const char *folder,
                         nh_error *err)
{
    const nh_abacus_output how = {.dialect = format == NH_FORMAT_ABACUS_CSR      ? NH_ABACUS_CSR
                                             : format == NH_FORMAT_ABACUS_BINARY ? NH_ABACUS_BINARY
                                                                                 : NH_ABACUS_TEXT,
                                  .digits = 16};
    bool made = false;
    char *stru;
    if (g->overlap == NULL) return nh_fail(err, "no overlap to write");
    if (asprintf(&stru, "%s/STRU", folder) < 0) return nh_fail_memory(err, "a file name");
    int status = nh_outfolder(folder, &made, err);
    if (status == 0) status = write_matrix(g, false, which, &how, folder, err);
    if (status == 0) status = write_matrix(g, true, which, &how, folder, err);
    if (status == 0) status = write_stru(&g->structure, stru, err);
    if (status != 0 && made)
        rmdir(folder); /* stays where a file is in it already: without STRU it is no run */
    free(stru);
    return status;
}
