#include "properties/projection.h"

#include "base/memory.h"

#include <cblas.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const nh_group_kinds[NH_N_GROUP_KIND + 1] = {"element", "atom", "shell", "atom-shell", NULL};

static void name_group(const nh_structure *s, nh_group_kind kind, size_t atom, int l,
                       char name[NH_GROUP_NAME])
{
    static const char letters[] = "spdfghi";
    const char *symbol = nh_element_symbol(s->atomic_number[s->species[atom]]);
    char number[24] = "", shell[16] = "";
    if (kind == NH_BY_ATOM || kind == NH_BY_ATOM_SHELL) snprintf(number, sizeof number, "%zu", atom + 1);
    if (kind == NH_BY_SHELL || kind == NH_BY_ATOM_SHELL) {
        if ((size_t)l + 1 < sizeof letters)
            snprintf(shell, sizeof shell, "-%c", letters[l]);
        else
            snprintf(shell, sizeof shell, "-l%d", l);
    }
    snprintf(name, NH_GROUP_NAME, "%.8s%.12s%.10s", symbol != NULL ? symbol : "X", number, shell);
}

/* Index of a name in a growing list, which it is added to if need be; the last ones are looked at first. -1: no memory. */
static long find_group(char (**list)[NH_GROUP_NAME], size_t *count, size_t *room, const char *name)
{
    for (size_t i = *count; i-- > 0;)
        if (strcmp((*list)[i], name) == 0) return (long)i;
    if (!nh_grow(list, room, *count + 1, sizeof **list)) return -1;
    memset((*list)[*count], 0, NH_GROUP_NAME);
    memcpy((*list)[*count], name, strlen(name));
    return (long)(*count)++;
}

int nh_projection_new(const nh_structure *s, nh_group_kind kind, nh_projection *out, nh_error *err)
{
    size_t room = 0, at = 0;
    *out = (nh_projection){.kind = kind, .n_orbital = nh_structure_orbitals(s)};
    if (out->n_orbital == 0) return nh_fail(err, "a structure without basis has no projections");
    out->group = NH_ARRAY(size_t, out->n_orbital);
    bool good = out->group != NULL;
    for (size_t atom = 0; atom < s->n_atom && good; atom++) {
        const size_t species = (size_t)s->species[atom];
        for (size_t shell = s->shell_start[species]; shell < s->shell_start[species + 1] && good; shell++) {
            const int l = s->shell_l[shell];
            char name[NH_GROUP_NAME];
            name_group(s, kind, atom, l, name);
            const long group = find_group(&out->name, &out->n_group, &room, name);
            good = group >= 0;
            for (int m = 0; m < 2 * l + 1 && good; m++)
                out->group[at++] = (size_t)group;
        }
    }
    if (good) return 0;
    nh_projection_free(out);
    return nh_fail_memory(err, "the projections");
}

void nh_projection_free(nh_projection *p)
{
    free(p->name);
    free(p->group);
    *p = (nh_projection){0};
}

static double *all_nan(size_t a, size_t b, size_t c)
{
    size_t size;
    double *v = nh_size_mul(a, b, &size) && nh_size_mul(size, c, &size) ? NH_ARRAY(double, size) : NULL;
    for (size_t i = 0; v != NULL && i < size; i++)
        v[i] = NAN;
    return v;
}

int nh_state_weights_new(size_t n_k, size_t n_band, const nh_projection *p, bool spin, nh_state_weights *out,
                         nh_error *err)
{
    *out = (nh_state_weights){.n_k = n_k, .n_band = n_band};
    bool good = true;
    if (p != NULL) {
        out->kind = p->kind;
        out->n_group = p->n_group;
        out->name = nh_calloc(p->n_group, sizeof *out->name);
        out->weight = all_nan(n_k, n_band, p->n_group);
        good = out->name != NULL && out->weight != NULL;
        if (good) memcpy(out->name, p->name, p->n_group * sizeof *p->name);
    }
    if (spin) out->spin = all_nan(n_k, n_band, 3);
    if (good && (!spin || out->spin != NULL)) return 0;
    nh_state_weights_free(out);
    return nh_fail_memory(err, "the projections");
}

void nh_state_weights_free(nh_state_weights *w)
{
    free(w->name);
    free(w->weight);
    free(w->spin);
    *w = (nh_state_weights){0};
}

/* "Ga1-d" without the number of the atom, without the shell. */
static void coarser_name(const char *name, nh_group_kind kind, char out[NH_GROUP_NAME])
{
    const char *shell = strchr(name, '-');
    size_t n = 0;
    for (const char *c = name; *c != '\0' && c != shell && n + 1 < NH_GROUP_NAME; c++)
        if (kind == NH_BY_ATOM || !isdigit((unsigned char)*c)) out[n++] = *c;
    for (const char *c = shell; kind == NH_BY_SHELL && c != NULL && *c != '\0' && n + 1 < NH_GROUP_NAME; c++)
        out[n++] = *c;
    out[n] = '\0';
}

int nh_state_weights_merge(nh_state_weights *w, nh_group_kind kind, nh_error *err)
{
    if (w->n_group == 0) return nh_fail(err, "no projections");
    if (kind == w->kind) return 0;
    if (kind != NH_BY_ELEMENT && w->kind != NH_BY_ATOM_SHELL)
        return nh_fail(err, "projections by %s do not give those by %s", nh_group_kinds[w->kind],
                       nh_group_kinds[kind]);
    char(*name)[NH_GROUP_NAME] = NULL;
    size_t n = 0, room = 0, size;
    size_t *to = NH_ARRAY(size_t, w->n_group);
    double *weight = NULL;
    bool good = to != NULL;
    for (size_t i = 0; i < w->n_group && good; i++) {
        char coarse[NH_GROUP_NAME];
        coarser_name(w->name[i], kind, coarse);
        const long group = find_group(&name, &n, &room, coarse);
        good = group >= 0;
        if (good) to[i] = (size_t)group;
    }
    if (good && nh_size_mul(w->n_k * w->n_band, n, &size)) weight = NH_ARRAY(double, size);
    if (weight == NULL) {
        free(to);
        free(name);
        return nh_fail_memory(err, "the projections");
    }
    for (size_t state = 0; state < w->n_k * w->n_band; state++)
        for (size_t i = 0; i < w->n_group; i++)
            weight[state * n + to[i]] += w->weight[state * w->n_group + i];
    free(to);
    free(w->name);
    free(w->weight);
    w->name = name;
    w->weight = weight;
    w->n_group = n;
    w->kind = kind;
    return 0;
}

int nh_weigher_new(const nh_graph *g, const nh_group_kind *kind, bool spin, size_t n_k, size_t n_band,
                   int n_thread, nh_weigher *out, nh_error *err)
{
    size_t size;
    *out = (nh_weigher){.n_thread = n_thread,
                        .basis = nh_structure_orbitals(&g->structure) * (g->n_spin == 1 ? 1 : 2)};
    if (spin && g->n_spin == 1) return nh_fail(err, "no <sigma> in a Hamiltonian without spin");
    if (kind != NULL && nh_projection_new(&g->structure, *kind, &out->by, err) != 0) return -1;
    bool good = false;
    if (nh_state_weights_new(n_k, n_band, kind != NULL ? &out->by : NULL, spin, &out->states, err) != 0)
        goto fail;
    out->work = NH_ARRAY(double *, (size_t)n_thread);
    good = out->work != NULL && nh_size_mul(2 * out->basis, n_band, &size);
    for (int i = 0; i < n_thread && good; i++)
        good = (out->work[i] = NH_ARRAY(double, size)) != NULL;
    if (good) return 0;
    nh_fail_memory(err, "the projections");
fail:
    nh_weigher_free(out);
    return -1;
}

void nh_weigher_free(nh_weigher *w)
{
    for (int i = 0; w->work != NULL && i < w->n_thread; i++)
        free(w->work[i]);
    free(w->work);
    nh_projection_free(&w->by);
    nh_state_weights_free(&w->states);
    *w = (nh_weigher){0};
}

/* c, sc [basis][2]: C and S C of one state. */
static void add_groups(const nh_projection *by, size_t basis, const double *c, const double *sc,
                       double *weight)
{
    const size_t spins = basis / by->n_orbital;
    for (size_t i = 0; i < by->n_group; i++)
        weight[i] = 0;
    for (size_t a = 0; a < basis; a++)
        weight[by->group[a / spins]] += c[2 * a] * sc[2 * a] + c[2 * a + 1] * sc[2 * a + 1];
}

static void add_spin(size_t basis, const double *c, const double *sc, double spin[3])
{
    spin[0] = spin[1] = spin[2] = 0;
    for (size_t a = 0; a + 1 < basis; a += 2) {
        const double *cu = c + 2 * a, *cd = cu + 2, *su = sc + 2 * a, *sd = su + 2;
        /* real parts of C*_u (SC)_d + C*_d (SC)_u and of -i C*_u (SC)_d + i C*_d (SC)_u */
        spin[0] += cu[0] * sd[0] + cu[1] * sd[1] + cd[0] * su[0] + cd[1] * su[1];
        spin[1] += cu[0] * sd[1] - cu[1] * sd[0] - (cd[0] * su[1] - cd[1] * su[0]);
        spin[2] += cu[0] * su[0] + cu[1] * su[1] - cd[0] * sd[0] - cd[1] * sd[1];
    }
}

void nh_weigher_take(nh_weigher *w, size_t k, int thread, size_t count, const double *s, const double *vector)
{
    const double one[2] = {1, 0}, zero[2] = {0, 0};
    const size_t basis = w->basis;
    const int n = (int)basis;
    double *work = w->work[thread];
    if (count == 0) return;
    /* A vector is a row: the product is with S transposed. */
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count, n, n, one, vector, n, s, n, zero, work,
                n);
    for (size_t band = 0; band < count; band++) {
        const double *c = vector + 2 * band * basis, *sc = work + 2 * band * basis;
        const size_t state = k * w->states.n_band + band;
        if (w->states.weight != NULL)
            add_groups(&w->by, basis, c, sc, w->states.weight + state * w->states.n_group);
        if (w->states.spin != NULL) add_spin(basis, c, sc, w->states.spin + 3 * state);
    }
}
