#include "formats/pseudo/upf.h"

#include "base/memory.h"
#include "base/stream.h"
#include "formats/pseudo/orbital.h"

#include <ctype.h>
#include <expat.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LARGEST_FILE = 256 << 20, /* bytes; a real one has about one million */
    LARGEST_MESH = 1000000,
    MOST_PROJECTORS = 200,
    LARGEST_L = 6
};

static const double cut_radius = 15;       /* bohr: ABACUS's pseudo_rcut */
static const double smallest_beta = 1e-10; /* of r beta: smaller ones at the end of the mesh are dropped */

/* The sections whose numbers are kept. */
enum section { R, RAB, LOCAL, NLCC, RHOATOM, DIJ, BETA, NOTHING };
static const char *const section_names[] = {"PP_R", "PP_RAB", "PP_LOCAL", "PP_NLCC", "PP_RHOATOM", "PP_DIJ"};

typedef struct upf {
    const char *path, *element;
    XML_Parser parser;
    bool seen_header, has_so, core_correction, failed;
    char of[4];
    double z_valence;
    size_t mesh, n_beta;
    double *data[BETA]; /* [mesh], DIJ [n_beta][n_beta] */
    double **beta;      /* [n_beta][mesh] */
    int *l;             /* [n_beta]; -1: no section yet */
    double *j;          /* [n_beta]; NaN: not given */
    enum section section;
    size_t index; /* of the projector whose section is open */
    char *text;   /* of the open section */
    size_t used, room;
    nh_error *err;
} upf;

static size_t line(const upf *u)
{
    return (size_t)XML_GetCurrentLineNumber(u->parser);
}

/* Says what is wrong (already in u->err) and ends the parsing. */
static void stop(upf *u)
{
    u->failed = true;
    u->section = NOTHING;
    XML_StopParser(u->parser, XML_FALSE);
}

static void stop_memory(upf *u)
{
    nh_fail_memory(u->err, "a pseudopotential");
    stop(u);
}

/* --- attributes: their values have blanks inside the quotes ------------------------------------------------ */

static const char *attribute(const char **pairs, const char *name)
{
    for (; pairs[0] != NULL; pairs += 2)
        if (strcmp(pairs[0], name) == 0) {
            const char *at = pairs[1];
            while (isspace((unsigned char)*at))
                at++;
            return at;
        }
    return NULL;
}

/* "T", "true", ".true."; anything else, also none, is false. */
static bool is_true(const char *value)
{
    if (value != NULL && *value == '.') value++;
    return value != NULL && (*value == 'T' || *value == 't');
}

/* The words of the value but for blanks at its end equal `word`, in any case. */
static bool is_word(const char *value, const char *word)
{
    const size_t n = strlen(word);
    if (value == NULL || strncasecmp(value, word, n) != 0) return false;
    for (value += n; *value != '\0'; value++)
        if (!isspace((unsigned char)*value)) return false;
    return true;
}

static bool number(const char *value, double *out)
{
    if (value == NULL) return false;
    char *end;
    *out = strtod(value, &end);
    return end != value && isfinite(*out);
}

static bool whole_number(const char *value, double most, size_t *out)
{
    double x;
    if (!number(value, &x) || x != floor(x) || x < 0 || x > most) return false;
    *out = (size_t)x;
    return true;
}

/* --- the parts ----------------------------------------------------------------------------------------------- */

/* One line about a pseudopotential of a kind that is not for us, or NULL. */
static const char *unfit(const char **a)
{
    const char *const type = attribute(a, "pseudo_type");
    if (is_true(attribute(a, "is_paw")) || is_word(type, "PAW")) return "a PAW data set";
    if (is_true(attribute(a, "is_ultrasoft")) || is_word(type, "US") || is_word(type, "USPP") ||
        is_word(type, "ultrasoft"))
        return "an ultrasoft pseudopotential";
    if (is_true(attribute(a, "is_coulomb")) || is_word(type, "1/r")) return "a Coulomb potential";
    if (!is_word(type, "NC")) return "of an unknown pseudo_type";
    return NULL;
}

static bool is_pbe(const char *functional)
{
    static const char *const names[] = {"PBE", "SLA PW PBX PBC", "SLA+PW+PBX+PBC", "SLA-PW-PBX-PBC"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_word(functional, names[i])) return true;
    return functional == NULL || *functional == '\0'; /* does not say: taken as meant */
}

static void read_header(upf *u, const char **a)
{
    const char *const type = attribute(a, "pseudo_type"), *const wrong = unfit(a);
    const char *const symbol = attribute(a, "element"), *const functional = attribute(a, "functional");
    if (u->seen_header) {
        nh_fail(u->err, "%s:%zu: PP_HEADER twice", u->path, line(u));
    } else if (wrong != NULL) {
        nh_fail(u->err, "%s: %s (pseudo_type \"%s\"); norm-conserving (NC) expected", u->path, wrong,
                type != NULL ? type : "");
    } else if (symbol == NULL || sscanf(symbol, "%3[A-Za-z]", u->of) != 1) {
        nh_fail(u->err, "%s: PP_HEADER does not name an element", u->path);
    } else if (u->element != NULL && strcasecmp(u->element, u->of) != 0) {
        nh_fail(u->err, "%s: a pseudopotential of %s where that of %s is needed", u->path, u->of, u->element);
    } else if (!is_pbe(functional)) {
        nh_fail(u->err, "%s: made for the functional \"%s\"; PBE expected", u->path, functional);
    } else if (!number(attribute(a, "z_valence"), &u->z_valence) || !(u->z_valence > 0)) {
        nh_fail(u->err, "%s: PP_HEADER: z_valence: a positive number expected", u->path);
    } else if (!whole_number(attribute(a, "mesh_size"), LARGEST_MESH, &u->mesh) || u->mesh < 4) {
        nh_fail(u->err, "%s: PP_HEADER: mesh_size: 4 to %d points expected", u->path, (int)LARGEST_MESH);
    } else if (!whole_number(attribute(a, "number_of_proj"), MOST_PROJECTORS, &u->n_beta)) {
        nh_fail(u->err, "%s: PP_HEADER: number_of_proj: at most %d expected", u->path, (int)MOST_PROJECTORS);
    } else {
        u->seen_header = true;
        u->has_so = is_true(attribute(a, "has_so"));
        u->core_correction = is_true(attribute(a, "core_correction"));
        u->beta = NH_ARRAY(double *, u->n_beta);
        u->l = NH_ARRAY(int, u->n_beta);
        u->j = NH_ARRAY(double, u->n_beta);
        if (u->beta == NULL || u->l == NULL || u->j == NULL) {
            stop_memory(u);
            return;
        }
        for (size_t i = 0; i < u->n_beta; i++) {
            u->l[i] = -1;
            u->j[i] = NAN;
        }
        return;
    }
    stop(u);
}

/* The number behind "PP_BETA." and the like, from 0. */
static bool numbered(const upf *u, const char *name, const char *prefix, size_t *index)
{
    const size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0) return false;
    char *end;
    const long i = isdigit((unsigned char)name[n]) ? strtol(name + n, &end, 10) : 0;
    *index = i >= 1 && (size_t)i <= u->n_beta && *end == '\0' ? (size_t)i - 1 : SIZE_MAX;
    return true;
}

static void begin(void *context, const char *name, const char **a)
{
    upf *const u = context;
    if (u->failed) return;
    if (u->section != NOTHING) {
        nh_fail(u->err, "%s:%zu: <%s> inside a section of numbers", u->path, line(u), name);
        stop(u);
        return;
    }
    if (strcmp(name, "UPF") == 0) {
        const char *const version = attribute(a, "version");
        if (version == NULL || version[0] != '2') {
            nh_fail(u->err, "%s: UPF version %s; version 2 is needed", u->path,
                    version != NULL ? version : "not given");
            stop(u);
        }
        return;
    }
    if (strcmp(name, "PP_HEADER") == 0) {
        read_header(u, a);
        return;
    }
    enum section found = NOTHING;
    for (enum section s = R; s < BETA; s++)
        if (strcmp(name, section_names[s]) == 0) found = s;
    size_t index = 0;
    const bool rel = numbered(u, name, "PP_RELBETA.", &index);
    if (numbered(u, name, "PP_BETA.", &index)) found = BETA;
    if (found == NOTHING && !rel) return;
    if (!u->seen_header) {
        nh_fail(u->err, "%s:%zu: <%s> before PP_HEADER", u->path, line(u), name);
        stop(u);
    } else if (index == SIZE_MAX) {
        nh_fail(u->err, "%s:%zu: <%s> where PP_HEADER says %zu projectors", u->path, line(u), name,
                u->n_beta);
        stop(u);
    } else if (rel) {
        if (!number(attribute(a, "jjj"), &u->j[index])) {
            nh_fail(u->err, "%s:%zu: <%s>: jjj: a number expected", u->path, line(u), name);
            stop(u);
        }
    } else {
        size_t l = 0;
        if (found == BETA && !whole_number(attribute(a, "angular_momentum"), LARGEST_L, &l)) {
            nh_fail(u->err, "%s:%zu: <%s>: angular_momentum: 0 to %d expected", u->path, line(u), name,
                    (int)LARGEST_L);
            stop(u);
        } else if (found == BETA ? u->l[index] >= 0 : u->data[found] != NULL) {
            nh_fail(u->err, "%s:%zu: <%s> twice", u->path, line(u), name);
            stop(u);
        } else {
            if (found == BETA) u->l[index] = (int)l;
            u->section = found;
            u->index = index;
            u->used = 0;
        }
    }
}

static void characters(void *context, const char *text, int n)
{
    upf *const u = context;
    if (u->section == NOTHING) return;
    const size_t wanted = u->used + (size_t)n + 1; /* at most the size of the file */
    if (wanted > u->room) {
        char *const grown = realloc(u->text, 2 * wanted);
        if (grown == NULL) {
            stop_memory(u);
            return;
        }
        u->text = grown;
        u->room = 2 * wanted;
    }
    for (int i = 0; i < n; i++) /* Fortran's exponents */
        u->text[u->used++] = text[i] == 'D' || text[i] == 'd' ? 'e' : text[i];
    u->text[u->used] = '\0';
}

/* Exactly n numbers from the text of the open section. */
static double *numbers(upf *u, const char *name, size_t n)
{
    double *const x = NH_ARRAY(double, n);
    if (x == NULL) {
        nh_fail_memory(u->err, "a pseudopotential");
        return NULL;
    }
    const char *at = u->used > 0 ? u->text : "";
    size_t found = 0;
    for (;; found++) {
        char *end;
        const double value = strtod(at, &end);
        if (end == at) break;
        if (!isfinite(value)) {
            nh_fail(u->err, "%s:%zu: <%s>: a value is not finite", u->path, line(u), name);
            free(x);
            return NULL;
        }
        if (found < n) x[found] = value;
        at = end;
    }
    while (isspace((unsigned char)*at))
        at++;
    if (*at != '\0')
        nh_fail(u->err, "%s:%zu: <%s>: number %zu is no number", u->path, line(u), name, found + 1);
    else if (found != n)
        nh_fail(u->err, "%s:%zu: <%s>: %zu numbers where %zu are expected", u->path, line(u), name, found, n);
    else
        return x;
    free(x);
    return NULL;
}

static void finish(void *context, const char *name)
{
    upf *const u = context;
    if (u->section == NOTHING) return;
    double *const x = numbers(u, name, u->section == DIJ ? u->n_beta * u->n_beta : u->mesh);
    if (x == NULL) {
        stop(u);
        return;
    }
    if (u->section == BETA)
        u->beta[u->index] = x;
    else
        u->data[u->section] = x;
    u->section = NOTHING;
}

/* --- from the file's numbers to those that are used (docs/h0.md 2) ----------------------------------------- */

/* Composite Simpson with weight rab, n odd. */
static double simpson(size_t n, const double *rab, const double *f)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (i == 0 || i == n - 1 ? 1 : i % 2 == 1 ? 4 : 2) * rab[i] * f[i];
    return sum / 3;
}

/* Points of the mesh for local potential, density and core: ends at the first one beyond pseudo_rcut. */
static size_t cut_mesh(size_t n, const double *r)
{
    for (size_t i = 0; i < n; i++)
        if (r[i] > cut_radius) {
            const size_t cut = 2 * ((i + 2) / 2) - 1;
            return cut < n ? cut : n;
        }
    return n;
}

static int check_parts(const upf *u, bool spin_orbit, nh_error *err)
{
    if (!u->seen_header) return nh_fail(err, "%s: no PP_HEADER", u->path);
    if (spin_orbit && !u->has_so)
        return nh_fail(
            err,
            "%s: a scalar-relativistic pseudopotential; spin-orbit coupling needs a fully relativistic one",
            u->path);
    for (enum section s = R; s < BETA; s++)
        if (u->data[s] == NULL && (s != NLCC || u->core_correction) && (s != DIJ || u->n_beta > 0))
            return nh_fail(err, "%s: no <%s>", u->path, section_names[s]);
    for (size_t i = 0; i < u->n_beta; i++) {
        if (u->beta[i] == NULL) return nh_fail(err, "%s: no <PP_BETA.%zu>", u->path, i + 1);
        if (!u->has_so) continue;
        if (isnan(u->j[i])) return nh_fail(err, "%s: no <PP_RELBETA.%zu>", u->path, i + 1);
        if (fabs(fabs(u->j[i] - u->l[i]) - 0.5) > 1e-6 || u->j[i] < 0)
            return nh_fail(err, "%s: projector %zu: l = %d with j = %g", u->path, i + 1, u->l[i], u->j[i]);
    }
    const double *const r = u->data[R], *const rab = u->data[RAB];
    for (size_t i = 0; i < u->mesh; i++)
        if (!(r[i] >= 0) || !(rab[i] > 0) || (i > 0 && !(r[i] > r[i - 1])))
            return nh_fail(err, "%s: point %zu of the radial mesh is out of order", u->path, i + 1);
    for (size_t a = 0; a < u->n_beta; a++)
        for (size_t b = 0; b < u->n_beta; b++)
            if (u->data[DIJ][a * u->n_beta + b] != 0 &&
                (u->l[a] != u->l[b] || (u->has_so && fabs(u->j[a] - u->j[b]) > 0.1)))
                return nh_fail(err, "%s: PP_DIJ couples projectors %zu and %zu of different l or j", u->path,
                               a + 1, b + 1);
    return 0;
}

/* The array, which is the caller's from now on. */
static double *take(double **from)
{
    double *const x = *from;
    *from = NULL;
    return x;
}

static int take_projectors(upf *u, nh_pseudo *p, nh_error *err)
{
    if ((p->projector = NH_ARRAY(nh_projector, u->n_beta)) == NULL) return nh_fail_memory(err, "projectors");
    p->n_projector = u->n_beta;
    for (size_t i = 0; i < u->n_beta; i++) {
        size_t c = p->n_full;
        while (c > 0 && !(fabs(u->beta[i][c - 1]) > smallest_beta))
            c--;
        if (c == 0) return nh_fail(err, "%s: projector %zu is zero", u->path, i + 1);
        c--; /* the last index that counts; ABACUS's rule drops it where it is odd */
        if (c % 2 == 0) c++;
        if (c > p->n_full) c = p->n_full;
        p->projector[i] =
            (nh_projector){.l = u->l[i], .j = u->has_so ? u->j[i] : NAN, .n = c, .f = take(&u->beta[i])};
    }
    p->d = u->data[DIJ] != NULL ? take(&u->data[DIJ]) : NH_ARRAY(double, 0);
    return p->d != NULL ? 0 : nh_fail_memory(err, "projectors");
}

static double *copy(const double *from, size_t n)
{
    double *const x = NH_ARRAY(double, n);
    if (x != NULL) memcpy(x, from, n * sizeof *x);
    return x;
}

static int convert(upf *u, nh_pseudo *p, nh_error *err)
{
    memcpy(p->element, u->of, sizeof p->element);
    p->z_valence = u->z_valence;
    p->spin_orbit = u->has_so;
    p->n_full = u->mesh - (u->mesh % 2 == 0);
    p->n_mesh = cut_mesh(p->n_full, u->data[R]);
    p->r = copy(u->data[R], p->n_mesh);
    p->rab = copy(u->data[RAB], p->n_mesh);
    p->r_full = take(&u->data[R]);
    p->rab_full = take(&u->data[RAB]);
    p->local = take(&u->data[LOCAL]);
    p->rho_atom = take(&u->data[RHOATOM]);
    if (u->core_correction) p->core = take(&u->data[NLCC]);
    if (p->r == NULL || p->rab == NULL) return nh_fail_memory(err, "a pseudopotential");
    const double charge = simpson(p->n_mesh, p->rab, p->rho_atom);
    if (!(charge > 0)) return nh_fail(err, "%s: PP_RHOATOM holds %g electrons", u->path, charge);
    for (size_t i = 0; i < p->n_mesh; i++)
        p->rho_atom[i] *= p->z_valence / charge;
    return take_projectors(u, p, err);
}

/* PP_INFO is free text, not XML: its < and & and > become blanks. */
static void blank_info(char *text)
{
    char *at = strstr(text, "<PP_INFO");
    if (at == NULL || (at = strchr(at, '>')) == NULL) return;
    const char *const end = strstr(at, "</PP_INFO>");
    while (end != NULL && ++at < end)
        if (*at == '<' || *at == '&' || *at == '>') *at = ' ';
}

static int parse(upf *u, const char *text, nh_error *err)
{
    if (strstr(text, "<UPF") == NULL)
        return strstr(text, "<PP_HEADER") != NULL
                   ? nh_fail(err,
                             "%s: UPF version 1; version 2 is needed (Quantum ESPRESSO's upfconv converts)",
                             u->path)
                   : nh_fail(err, "%s: no UPF pseudopotential (no <UPF version=\"2..\">)", u->path);
    if ((u->parser = XML_ParserCreate(NULL)) == NULL) return nh_fail_memory(err, "the XML parser");
    XML_SetUserData(u->parser, u);
    XML_SetElementHandler(u->parser, begin, finish);
    XML_SetCharacterDataHandler(u->parser, characters);
    const size_t size = strlen(text); /* at most LARGEST_FILE: an int */
    int status = 0;
    if (XML_Parse(u->parser, text, (int)size, 1) != XML_STATUS_OK) {
        status = -1;
        const enum XML_Error code = XML_GetErrorCode(u->parser);
        if (!u->failed &&
            (code == XML_ERROR_NO_ELEMENTS || (size_t)XML_GetCurrentByteIndex(u->parser) >= size ||
             code == XML_ERROR_UNCLOSED_TOKEN))
            nh_fail(err, "%s: truncated: it ends in line %zu, before </UPF>", u->path, line(u));
        else if (!u->failed)
            nh_fail(err, "%s:%zu: %s", u->path, line(u), XML_ErrorString(code));
    }
    XML_ParserFree(u->parser);
    return status;
}

int nh_upf_read(const char *path, const char *element, bool spin_orbit, nh_pseudo *out, nh_error *err)
{
    *out = (nh_pseudo){.n_mesh = 0};
    char *text;
    nh_error own;
    if (err == NULL) err = &own;
    if (nh_read_text(path, LARGEST_FILE, &text, err)) return -1;
    nh_content_hash(text, out->hash);
    upf u = {.path = path, .element = element, .section = NOTHING, .err = err};
    blank_info(text);
    int status = parse(&u, text, err);
    free(text);
    if (status == 0) status = check_parts(&u, spin_orbit, err);
    if (status == 0) status = convert(&u, out, err);
    for (enum section s = R; s < BETA; s++)
        free(u.data[s]);
    for (size_t i = 0; u.beta != NULL && i < u.n_beta; i++)
        free(u.beta[i]);
    free(u.beta);
    free(u.l);
    free(u.j);
    free(u.text);
    if (status != 0) nh_pseudo_free(out);
    return status;
}
