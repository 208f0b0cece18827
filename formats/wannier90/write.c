#include "formats/wannier90/write.h"

#include "base/memory.h"
#include "base/outfile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHTS_A_LINE = 15 };

typedef struct content {
    const nh_graph *g;
    const nh_lowdin *l;
    const char *what;
    const size_t *atom; /* [n_orbital] of each orbital */
} content;

void nh_wannier90_quality(const nh_lowdin *l, char *out, size_t size)
{
    char below[64] = "", ceiling[64] = "no ceiling";
    if (!isnan(l->below))
        snprintf(below, sizeof below, "%.2g eV (up to 5 eV above the Fermi level) and ", l->error_below);
    if (!isnan(l->ceiling)) snprintf(ceiling, sizeof ceiling, "ceiling %.4f eV", l->ceiling);
    snprintf(out, size,
             "mesh %d x %d x %d, %s: bands between k-points of the mesh are within %s%.2g eV (%s), outermost "
             "|H(R)| %.1e of the largest",
             l->mesh[0], l->mesh[1], l->mesh[2], ceiling, below, l->error,
             isnan(l->ceiling) ? "all" : "all below the ceiling", l->outer);
}

static void put_title(FILE *out, const content *c)
{
    char quality[256];
    nh_wannier90_quality(c->l, quality, sizeof quality);
    fprintf(out, "nextham: %s, Loewdin orbitals%s; %s\n", c->what,
            c->l->basis > c->l->n_orbital ? ", all up, then all down" : "", quality);
}

static void put_weights(FILE *out, const nh_lowdin *l)
{
    fprintf(out, "%zu\n%zu\n", l->basis, l->n_cell);
    for (size_t c = 0; c < l->n_cell; c++)
        fprintf(out, "%5d%s", l->weight[c],
                c % WEIGHTS_A_LINE == WEIGHTS_A_LINE - 1 || c + 1 == l->n_cell ? "\n" : "");
}

/* Columns are the slow index. */
static void put_hr(FILE *out, const content *c)
{
    const nh_lowdin *const l = c->l;
    put_title(out, c);
    put_weights(out, l);
    for (size_t r = 0; r < l->n_cell; r++)
        for (size_t n = 0; n < l->basis; n++)
            for (size_t m = 0; m < l->basis; m++) {
                const double *const h = l->h + 2 * ((r * l->basis + m) * l->basis + n);
                fprintf(out, "%4d %4d %4d %5zu %5zu %18.12f %18.12f\n", l->cell[r][0], l->cell[r][1],
                        l->cell[r][2], m + 1, n + 1, h[0], h[1]);
            }
}

/* <0 m| r_k |R n> */
static void position(const content *c, size_t r, size_t m, size_t n, size_t k, double out[2])
{
    const nh_lowdin *const l = c->l;
    const size_t a = m % l->n_orbital, b = n % l->n_orbital;
    out[0] = out[1] = 0;
    if (m / l->n_orbital != n / l->n_orbital) return; /* r does not turn spins */
    if (l->r != NULL)
        memcpy(out, l->r + 2 * (((k * l->n_cell + r) * l->n_orbital + a) * l->n_orbital + b),
               2 * sizeof *out);
    else if (m == n && l->cell[r][0] == 0 && l->cell[r][1] == 0 && l->cell[r][2] == 0)
        out[0] = c->g->structure.position[3 * c->atom[a] + k];
}

static void put_tb(FILE *out, const content *c)
{
    const nh_lowdin *const l = c->l;
    const double *const a = c->g->structure.lattice;
    put_title(out, c);
    for (int k = 0; k < 3; k++)
        fprintf(out, "%18.12f %18.12f %18.12f\n", a[3 * k], a[3 * k + 1], a[3 * k + 2]);
    put_weights(out, l);
    for (size_t r = 0; r < l->n_cell; r++) {
        fprintf(out, "\n%5d%5d%5d\n", l->cell[r][0], l->cell[r][1], l->cell[r][2]);
        for (size_t n = 0; n < l->basis; n++)
            for (size_t m = 0; m < l->basis; m++) {
                const double *const h = l->h + 2 * ((r * l->basis + m) * l->basis + n);
                fprintf(out, "%5zu %5zu %18.12f %18.12f\n", m + 1, n + 1, h[0], h[1]);
            }
    }
    for (size_t r = 0; r < l->n_cell; r++) {
        fprintf(out, "\n%5d%5d%5d\n", l->cell[r][0], l->cell[r][1], l->cell[r][2]);
        for (size_t n = 0; n < l->basis; n++)
            for (size_t m = 0; m < l->basis; m++) {
                double x[3][2];
                for (size_t k = 0; k < 3; k++)
                    position(c, r, m, n, k, x[k]);
                const bool none = x[0][0] == 0 && x[0][1] == 0 && x[1][0] == 0 && x[1][1] == 0 &&
                                  x[2][0] == 0 && x[2][1] == 0;
                if (none) /* most of them without a position matrix */
                    fprintf(out, "%5zu %5zu 0.0 0.0 0.0 0.0 0.0 0.0\n", m + 1, n + 1);
                else
                    fprintf(out, "%5zu %5zu %18.12f %18.12f %18.12f %18.12f %18.12f %18.12f\n", m + 1, n + 1,
                            x[0][0], x[0][1], x[1][0], x[1][1], x[2][0], x[2][1]);
            }
    }
}

static size_t home_cell(const nh_lowdin *l)
{
    size_t r = 0;
    while (l->cell[r][0] != 0 || l->cell[r][1] != 0 || l->cell[r][2] != 0)
        r++;
    return r;
}

static void put_centres(FILE *out, const content *c)
{
    const nh_structure *const s = &c->g->structure;
    const size_t home = home_cell(c->l);
    fprintf(out, "%zu\nnextham: %s: centres of the orbitals, then the atoms\n", c->l->basis + s->n_atom,
            c->what);
    for (size_t m = 0; m < c->l->basis; m++) {
        double x[3][2];
        for (size_t k = 0; k < 3; k++)
            position(c, home, m, m, k, x[k]);
        fprintf(out, "X %18.12f %18.12f %18.12f\n", x[0][0], x[1][0], x[2][0]);
    }
    for (size_t i = 0; i < s->n_atom; i++)
        fprintf(out, "%-2s %18.12f %18.12f %18.12f\n", nh_element_symbol(s->atomic_number[s->species[i]]),
                s->position[3 * i], s->position[3 * i + 1], s->position[3 * i + 2]);
}

static void put_win(FILE *out, const content *c)
{
    const nh_structure *const s = &c->g->structure;
    const nh_lowdin *const l = c->l;
    fprintf(out, "! nextham: %s: for programs that read the lattice here; Wannier90 has nothing to do\n",
            c->what);
    fprintf(out, "num_wann = %zu\nmp_grid = %d %d %d\n", l->basis, l->mesh[0], l->mesh[1], l->mesh[2]);
    if (l->basis > l->n_orbital) fputs("spinors = true\n", out);
    if (!isnan(c->g->efermi)) fprintf(out, "fermi_energy = %.12f\n", c->g->efermi);
    fputs("\nbegin unit_cell_cart\nang\n", out);
    for (int k = 0; k < 3; k++)
        fprintf(out, "%18.12f %18.12f %18.12f\n", s->lattice[3 * k], s->lattice[3 * k + 1],
                s->lattice[3 * k + 2]);
    fputs("end unit_cell_cart\n\nbegin atoms_cart\nang\n", out);
    for (size_t i = 0; i < s->n_atom; i++)
        fprintf(out, "%-2s %18.12f %18.12f %18.12f\n", nh_element_symbol(s->atomic_number[s->species[i]]),
                s->position[3 * i], s->position[3 * i + 1], s->position[3 * i + 2]);
    fputs("end atoms_cart\n", out);
}

static int put(const char *name, const char *end, void (*write)(FILE *out, const content *c),
               const content *c, nh_error *err)
{
    nh_outfile *o;
    char *path;
    if (asprintf(&path, "%s%s", name, end) < 0) return nh_fail_memory(err, "a file name");
    FILE *const out = nh_outfile_begin_stream(path, &o, err);
    free(path);
    if (out == NULL) return -1;
    write(out, c);
    return nh_outfile_commit(o, err);
}

int nh_wannier90_write(const char *name, const nh_graph *g, const nh_lowdin *l, const char *what,
                       nh_error *err)
{
    size_t *const atom = NH_ARRAY(size_t, l->n_orbital), n = 0;
    if (atom == NULL) return nh_fail_memory(err, "orbitals");
    for (size_t i = 0; i < g->structure.n_atom; i++)
        for (size_t k = nh_atom_orbitals(&g->structure, i); k-- > 0;)
            atom[n++] = i;
    const content c = {g, l, what, atom};
    const int status = put(name, "_hr.dat", put_hr, &c, err) || put(name, "_tb.dat", put_tb, &c, err) ||
                               put(name, "_centres.xyz", put_centres, &c, err) ||
                               put(name, ".win", put_win, &c, err)
                           ? -1
                           : 0;
    free(atom);
    return status;
}
