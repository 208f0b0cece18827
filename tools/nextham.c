/* nextham - the front door: a structure in, bands out; and the other programs by their names, as git does. */
#include "base/memory.h"
#include "base/options.h"
#include "base/progress.h"
#include "crystal/kpoints.h"
#include "properties/projection.h"
#include "formats/netcdf/graph.h"
#include "formats/netcdf/nc.h"
#include "formats/shipped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_WORDS = 48, MOST_STEPS = 12 };
static const double MESH_LENGTH = 25; /* Å: where the Fermi level and the gap are looked for */

typedef struct arguments {
    const char *model, *folder, *path, *pseudo, *orbital;
    int project; /* nh_group_kind */
    int mesh[3], points, nspin;
    double ecut, window[2];
    bool has_mesh, has_ecut, has_nspin, has_window, has_project, dry, no_check;
} arguments;

/* One program to run; words are owned. `out`: where standard output goes; NULL: nowhere of its own. */
typedef struct step {
    const char *what; /* for the reader; NULL: not worth a line */
    char *word[MOST_WORDS];
    size_t n_word;
    char *out;
    bool may_fail; /* then the chain goes on, and says so */
} step;

typedef struct chain {
    step step[MOST_STEPS];
    size_t count;
    char *bin; /* folder of the programs */
    double seconds[MOST_STEPS];
    bool failed[MOST_STEPS];
    bool broken; /* out of memory while it was put together */
} chain;

/* --- putting the chain together --- */

static char *text_of(chain *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static char *text_of(chain *c, const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    if (vasprintf(&text, format, list) < 0) text = NULL;
    va_end(list);
    if (text == NULL) c->broken = true;
    return text;
}

static step *add(chain *c, const char *program, const char *what)
{
    step *s = &c->step[c->count++];
    s->what = what;
    s->word[s->n_word++] = text_of(c, "%s/%s", c->bin, program);
    return s;
}

static void word(chain *c, step *s, const char *text)
{
    if (s->n_word + 1 < MOST_WORDS) s->word[s->n_word++] = text_of(c, "%s", text);
}

static void words(chain *c, step *s, const char *const *text)
{
    for (; *text != NULL; text++)
        word(c, s, *text);
}

static void option(chain *c, step *s, const char *name, const char *value)
{
    if (value == NULL) return;
    word(c, s, name);
    word(c, s, value);
}

static void number(chain *c, step *s, const char *name, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.15g", value);
    option(c, s, name, text);
}

static void mesh_words(chain *c, step *s, const char *name, const int mesh[3])
{
    word(c, s, name);
    for (int i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", mesh[i]);
        word(c, s, text);
    }
}

static void chain_free(chain *c)
{
    for (size_t i = 0; i < c->count; i++) {
        for (size_t w = 0; w < c->step[i].n_word; w++)
            free(c->step[i].word[w]);
        free(c->step[i].out);
    }
    free(c->bin);
}

/* --- running it --- */

/* As a shell would take it. */
static void print_word(FILE *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+%@";
    if (*text != '\0' && text[strspn(text, plain)] == '\0') {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text != '\0'; text++)
        if (*text == '\'')
            fputs("'\\''", out);
        else
            fputc(*text, out);
    fputc('\'', out);
}

static void print_step(FILE *out, const step *s)
{
    for (size_t w = 0; w < s->n_word; w++) {
        if (w > 0) fputc(' ', out);
        const char *slash = w == 0 ? strrchr(s->word[0], '/') : NULL;
        print_word(out, slash != NULL ? slash + 1 : s->word[w]);
    }
    if (s->out != NULL) {
        fputs(" > ", out);
        print_word(out, s->out);
    }
    fputc('\n', out);
}

/* In the child. */
static void become(const step *s)
{
    if (s->out != NULL) {
        const int file = open(s->out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (file < 0 || dup2(file, STDOUT_FILENO) < 0) {
            fprintf(stderr, "nextham: %s: %s\n", s->out, strerror(errno));
            _exit(1);
        }
    }
    execvp(s->word[0], s->word);
    fprintf(stderr, "nextham: %s: %s\n", s->word[0], strerror(errno));
    _exit(127);
}

/* The program has said what is wrong, in its own line. */
static int run_step(const step *s, nh_error *err)
{
    const pid_t child = fork();
    int status;
    if (child < 0) return nh_fail(err, "fork: %s", strerror(errno));
    if (child == 0) become(s);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return nh_fail(err, "waitpid: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    const char *slash = strrchr(s->word[0], '/');
    if (WIFSIGNALED(status)) return nh_fail(err, "%s: ended by signal %d", slash + 1, WTERMSIG(status));
    return nh_fail(err, "%s: exit status %d", slash + 1, WEXITSTATUS(status));
}

static size_t lines_of(const chain *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++)
        n += c->step[i].what != NULL;
    return n;
}

/* `shown` lines of `of` were printed before. */
static int run_chain(chain *c, size_t shown, size_t of, bool quiet, nh_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        const step *s = &c->step[i];
        if (s->what != NULL && !quiet) fprintf(stderr, "nextham: [%zu/%zu] %s\n", ++shown, of, s->what);
        const double begin = nh_seconds();
        const int status = run_step(s, err);
        c->seconds[i] = nh_seconds() - begin;
        c->failed[i] = status != 0;
        if (status != 0 && !s->may_fail) return -1;
        if (status != 0 && !quiet) nh_remark("nextham", "%s; going on without", err->text);
    }
    return 0;
}

/* --- where things are --- */

typedef enum input_kind { INPUT_RUN, INPUT_GRAPH, INPUT_STRUCTURE } input_kind;

static int kind_of(const char *path, input_kind *out, nh_error *err)
{
    struct stat about;
    unsigned char begin[4] = {0};
    if (stat(path, &about) != 0) return nh_fail(err, "%s: %s", path, strerror(errno));
    *out = INPUT_RUN;
    if (S_ISDIR(about.st_mode)) return 0;
    FILE *f = fopen(path, "rbe");
    if (f == NULL) return nh_fail(err, "%s: %s", path, strerror(errno));
    const size_t n = fread(begin, 1, sizeof begin, f);
    fclose(f);
    *out = n == 4 && memcmp(begin, "\x89HDF", 4) == 0 ? INPUT_GRAPH : INPUT_STRUCTURE;
    return 0;
}

/* "GaAs.vasp" -> "GaAs"; "run/" -> "run". The caller frees. */
static char *stem(const char *path)
{
    char *copy = nh_strdup(path);
    if (copy == NULL) return NULL;
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    char *slash = strrchr(copy, '/'), *name = nh_strdup(slash != NULL && slash[1] != '\0' ? slash + 1 : copy);
    free(copy);
    if (name == NULL) return NULL;
    char *dot = strrchr(name, '.');
    if (dot != NULL && dot != name) *dot = '\0';
    return name;
}

/* --- bands --- */

typedef struct results {
    char *graph, *ham, *bands, *mesh, *dos, *summary, *script, *picture, *check;
} results;

static void results_new(chain *c, const char *folder, results *r)
{
    *r = (results){.graph = text_of(c, "%s/graph.nc", folder),
                   .ham = text_of(c, "%s/ham.nc", folder),
                   .bands = text_of(c, "%s/bands.nc", folder),
                   .mesh = text_of(c, "%s/mesh.nc", folder),
                   .dos = text_of(c, "%s/dos.tsv", folder),
                   .summary = text_of(c, "%s/summary.tsv", folder),
                   .script = text_of(c, "%s/bands.gp", folder),
                   .picture = text_of(c, "%s/bands.svg", folder),
                   .check = text_of(c, "%s/check.txt", folder)};
}

static void results_free(results *r)
{
    char **const all[] = {&r->graph,   &r->ham,    &r->bands,   &r->mesh, &r->dos,
                          &r->summary, &r->script, &r->picture, &r->check};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(*all[i]);
}

static void common_words(chain *c, step *s, const nh_common *common)
{
    if (common->quiet) word(c, s, "-q");
    number(c, s, "-j", common->threads);
}

/* Structure or run -> graph -> prediction. */
static void first_half(chain *c, const arguments *a, const nh_common *common, input_kind kind,
                       const char *input, const char *model, const results *r)
{
    step *s;
    if (kind == INPUT_STRUCTURE) {
        s = add(c, "h0build", "zeroth-step Hamiltonian from the structure");
        common_words(c, s, common);
        option(c, s, "--pseudo-dir", a->pseudo);
        option(c, s, "--orbital-dir", a->orbital);
        if (a->has_ecut) number(c, s, "--ecut", a->ecut);
        if (a->has_nspin) number(c, s, "--nspin", a->nspin);
        words(c, s, (const char *const[]){input, "-o", r->graph, NULL});
    } else if (kind == INPUT_RUN) {
        s = add(c, "mkgraph", "matrices of the ABACUS run");
        common_words(c, s, common);
        words(c, s, (const char *const[]){"--abacus", input, "-o", r->graph, NULL});
    }
    s = add(c, "nhinfer", "prediction");
    common_words(c, s, common);
    words(c, s,
          (const char *const[]){"-m", model, "-o", r->ham, kind == INPUT_GRAPH ? input : r->graph, NULL});
}

/* Prediction -> bands, gap, picture, certificate. */
static void second_half(chain *c, const arguments *a, const nh_common *common, const int mesh[3],
                        const results *r)
{
    step *s = add(c, "geneig", "gap and Fermi level on a mesh");
    common_words(c, s, common);
    mesh_words(c, s, "--mesh", mesh);
    const char *const kind = nh_group_kinds[a->has_project ? a->project : NH_BY_ELEMENT];
    words(c, s, (const char *const[]){"--gamma", "--project", kind, "-o", r->mesh, r->ham, NULL});
    s = add(c, "dos", NULL);
    words(c, s, (const char *const[]){"-q", "--project", kind, "-o", r->dos, r->mesh, NULL});
    number(c, s, "-j", common->threads);
    s = add(c, "bandplot-data", NULL);
    words(c, s, (const char *const[]){"-q", "--format", "summary", "--dos", r->dos, r->mesh, NULL});
    s->out = text_of(c, "%s", r->summary);

    s = add(c, "geneig", "bands");
    common_words(c, s, common);
    words(c, s, (const char *const[]){"--path", a->path, "--total", NULL});
    char points[16];
    snprintf(points, sizeof points, "%d", a->points);
    word(c, s, points);
    if (a->has_project) option(c, s, "--project", kind);
    words(c, s, (const char *const[]){"-o", r->bands, r->ham, NULL});
    s = add(c, "bandplot-data", NULL);
    char window[64];
    snprintf(window, sizeof window, "--window=%g:%g", a->window[0], a->window[1]);
    words(c, s,
          (const char *const[]){"-q", "--format", "gnuplot", "--dos", r->dos, window, "--picture", r->picture,
                                "-o", r->script, r->bands, NULL});
    if (a->has_project) option(c, s, "--project", kind);
    s = &c->step[c->count++];
    s->word[s->n_word++] = text_of(c, "gnuplot");
    word(c, s, r->script);
    s->may_fail = true; /* no gnuplot: everything but the picture is there */

    if (a->no_check) return;
    s = add(c, "nhscf", "certificate: how far from self-consistency");
    common_words(c, s, common);
    word(c, s, "--check");
    mesh_words(c, s, "--mesh", mesh);
    option(c, s, "--pseudo-dir", a->pseudo);
    option(c, s, "--orbital-dir", a->orbital);
    word(c, s, r->ham);
    s->out = text_of(c, "%s", r->check);
    s->may_fail = true; /* no pseudopotentials at hand */
}

/* One column of the summary; NULL where it is not there. */
static const char *column(char *const header[], char *const value[], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(header[i], name) == 0) return value[i];
    return NULL;
}

static size_t split(char *line, char *out[], size_t most)
{
    size_t n = 0;
    if (*line == '#') line++;
    line[strcspn(line, "\n")] = '\0';
    for (char *rest = line, *w; n < most && (w = strsep(&rest, "\t")) != NULL;)
        out[n++] = w;
    return n;
}

/* `first`: seconds of the steps before those of c. */
static int print_summary(const chain *c, const arguments *a, const nh_graph *g, const char *model,
                         const int mesh[3], double first, const results *r, nh_error *err)
{
    enum { MOST = 32, LINE = 2048 };
    char header[LINE], line[LINE], *name[MOST], *value[MOST];
    FILE *f = fopen(r->summary, "re");
    const bool read = f != NULL && fgets(header, LINE, f) != NULL && fgets(line, LINE, f) != NULL;
    if (f != NULL) fclose(f);
    if (!read) return nh_fail(err, "%s: no summary", r->summary);
    const size_t n = split(header, name, MOST), m = split(line, value, MOST);
    const size_t both = n < m ? n : m;
    const char *efermi = column(name, value, both, "efermi_eV"), *gap = column(name, value, both, "gap_eV"),
               *kind = column(name, value, both, "gap_kind");
    if (efermi == NULL || gap == NULL || kind == NULL)
        return nh_fail(err, "%s: not a summary of bands", r->summary);
    char *formula = nh_structure_formula(&g->structure);
    if (formula == NULL) return nh_fail_memory(err, "the formula");
    printf("crystal       %s, %zu atoms, %zu orbitals\n", formula, g->structure.n_atom,
           nh_structure_orbitals(&g->structure));
    free(formula);
    printf("model         %s\n", model);
    if (strtod(gap, NULL) > 0)
        printf("gap           %s eV, %s\n", gap, kind);
    else
        printf("gap           none\n");
    printf("Fermi level   %s eV, from filling the predicted bands by tetrahedra on a %dx%dx%d mesh\n", efermi,
           mesh[0], mesh[1], mesh[2]);
    printf("states        %s, by %s\n", r->dos, nh_group_kinds[a->has_project ? a->project : NH_BY_ELEMENT]);
    printf("picture       %s\n", r->picture);
    double all = first;
    for (size_t i = 0; i < c->count; i++)
        all += c->seconds[i];
    for (size_t i = 0; i < c->count; i++) {
        if (strstr(c->step[i].word[0], "/nhscf") == NULL) continue;
        printf("certificate   %s\n", c->failed[i] ? "none (nhscf --check failed)" : r->check);
        FILE *check = c->failed[i] ? NULL : fopen(r->check, "re");
        while (check != NULL && fgets(line, LINE, check) != NULL)
            printf("    %s", line);
        if (check != NULL) fclose(check);
    }
    printf("seconds       %.1f\n", all);
    return 0;
}

static int read_graph(const char *path, nh_graph **out, nh_error *err)
{
    nh_nc *in;
    if (nh_nc_open(path, &in, err) != 0) return -1;
    const int status = nh_graph_read(in, 0, out, err);
    nh_nc_close(in);
    return status;
}

/* The mesh needs the crystal: known after the first half, for a dry run not at all. */
static int do_chain(chain *c, const arguments *a, const nh_common *common, input_kind kind, const char *input,
                    const char *model, const results *r, nh_error *err)
{
    int mesh[3] = {a->mesh[0], a->mesh[1], a->mesh[2]};
    nh_graph *g = NULL;
    first_half(c, a, common, kind, input, model, r);
    if (a->dry) {
        second_half(c, a, common, a->has_mesh ? mesh : (const int[3]){6, 6, 6}, r);
        if (c->broken) return nh_fail_memory(err, "the commands");
        for (size_t i = 0; i < c->count; i++)
            print_step(stdout, &c->step[i]);
        return 0;
    }
    chain rest = {.bin = nh_strdup(c->bin)};
    if (rest.bin == NULL || c->broken) return nh_fail_memory(err, "the commands");
    const size_t before = lines_of(c), all = before + (a->no_check ? 2 : 3);
    int status = run_chain(c, 0, all, common->quiet, err);
    if (status == 0) status = read_graph(r->ham, &g, err);
    if (status == 0) {
        if (!a->has_mesh) nh_mesh_of_length(g->structure.lattice, MESH_LENGTH, mesh);
        second_half(&rest, a, common, mesh, r);
        status = rest.broken ? nh_fail_memory(err, "the commands")
                             : run_chain(&rest, before, all, common->quiet, err);
    }
    double first = 0;
    for (size_t i = 0; i < c->count; i++)
        first += c->seconds[i];
    if (status == 0) status = print_summary(&rest, a, g, model, mesh, first, r, err);
    for (size_t i = 0; status == 0 && i < c->count; i++)
        if (common->verbose > 0) fprintf(stderr, "nextham: %.2f s: %s\n", c->seconds[i], c->step[i].what);
    nh_graph_free(g);
    chain_free(&rest);
    return status;
}

static int bands(const arguments *a, const nh_common *common, nh_error *err)
{
    const char *input = common->inputs.item[0];
    input_kind kind;
    chain c = {.bin = nh_own_folder()};
    results r = {0};
    char *name = stem(input), *folder = NULL, *model = NULL;
    int status = c.bin == NULL || name == NULL ? nh_fail_memory(err, "names") : kind_of(input, &kind, err);
    if (status == 0) {
        folder = strcmp(common->output, "-") != 0 ? nh_strdup(common->output) : text_of(&c, "%s-bands", name);
        model = nh_find_model(a->model, err);
        status = folder == NULL ? nh_fail_memory(err, "names") : model == NULL ? -1 : 0;
    }
    if (status == 0 && !a->dry && mkdir(folder, 0777) != 0 && errno != EEXIST)
        status = nh_fail(err, "%s: %s", folder, strerror(errno));
    if (status == 0) {
        results_new(&c, folder, &r);
        status = do_chain(&c, a, common, kind, input, model, &r, err);
    }
    results_free(&r);
    chain_free(&c);
    free(model);
    free(folder);
    free(name);
    return status;
}

/* --- the other programs --- */

static const char *const PROGRAMS[] = {NH_PROGRAMS NULL};

static int list_programs(void)
{
    char *bin = nh_own_folder();
    for (size_t i = 0; bin != NULL && PROGRAMS[i] != NULL; i++) {
        char *command = NULL, line[512];
        if (strcmp(PROGRAMS[i], "nextham") == 0 || asprintf(&command, "'%s/%s' --help", bin, PROGRAMS[i]) < 0)
            continue;
        FILE *f = strchr(bin, '\'') == NULL ? popen(command, "re") : NULL;
        bool usage = true;
        printf("%-14s", PROGRAMS[i]);
        while (f != NULL && fgets(line, sizeof line, f) != NULL) {
            if (!usage && line[0] != '\n') break;
            usage = usage && line[0] != '\n';
            line[0] = '\0';
        }
        if (f != NULL) {
            printf(" %s", line[0] != '\0' ? line : "\n");
            char drain[4096];
            while (fread(drain, 1, sizeof drain, f) > 0)
                continue;
            pclose(f);
        } else {
            printf("\n");
        }
        free(command);
    }
    free(bin);
    return fflush(stdout) == 0 ? 0 : 1;
}

static int run_program(char **argv)
{
    char *const bin = nh_own_folder();
    bool known = false;
    for (size_t i = 0; bin != NULL && PROGRAMS[i] != NULL && !known; i++) {
        char *path;
        known = strcmp(PROGRAMS[i], argv[1]) == 0;
        if (!known || asprintf(&path, "%s/%s", bin, argv[1]) < 0) continue;
        execv(path, argv + 1);
        fprintf(stderr, "nextham: %s: %s\n", path, strerror(errno));
        free(path);
    }
    free(bin);
    if (known) return 1;
    fprintf(stderr, "nextham: '%s' is neither bands nor a program (nextham --list)\n", argv[1]);
    return 2;
}

int main(int argc, char **argv)
{
    arguments a = {.path = "auto", .points = 200, .window = {-10, 10}};
    const nh_option options[] = {
        {NH_OPT_STRING, 'm', "model", "FILE", &a.model, NULL, NULL,
         "the model [$NEXTHAM_MODEL, $NEXTHAM_DATA/model.nc, or the one that came with the programs]"},
        {NH_OPT_STRING, 0, "path", "PATH", &a.path, NULL, NULL,
         "path of the bands, as geneig's [auto: the standard path of the Bravais lattice]"},
        {NH_OPT_INT, 0, "total", "N", &a.points, NULL, NULL, "k-points on it [200]"},
        {NH_OPT_INTS3, 0, "mesh", "N1 N2 N3", a.mesh, NULL, &a.has_mesh,
         "Gamma-centred mesh for the gap, the Fermi level and the certificate [25 Å over the length of each "
         "lattice vector]"},
        {NH_OPT_RANGE, 0, "window", "LO:HI", a.window, NULL, &a.has_window,
         "energies in the picture, about the Fermi level, eV [-10:10]"},
        {NH_OPT_CHOICE, 0, "project", NULL, &a.project, nh_group_kinds, &a.has_project,
         "fat bands, and the density of states beside them, by element, atom or shell [lines; the density by "
         "element]"},
        {NH_OPT_FLAG, 0, "no-check", NULL, &a.no_check, NULL, NULL, "no certificate"},
        {NH_OPT_FLAG, 0, "dry-run", NULL, &a.dry, NULL, NULL, "print the commands, run none"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "From a structure (h0build)"},
        {NH_OPT_STRING, 0, "pseudo-dir", "DIR", &a.pseudo, NULL, NULL,
         "folder of the pseudopotentials [$NEXTHAM_PSEUDO]"},
        {NH_OPT_STRING, 0, "orbital-dir", "DIR", &a.orbital, NULL, NULL,
         "folder of the orbitals [$NEXTHAM_ORBITAL]"},
        {NH_OPT_REAL, 0, "ecut", "RY", &a.ecut, NULL, &a.has_ecut, "cutoff of the wave functions [100]"},
        {NH_OPT_INT, 0, "nspin", "4|1", &a.nspin, NULL, &a.has_nspin,
         "with spin-orbit coupling, or scalar [4]"},
    };
    static const char *const synopsis[] = {"bands [options] [-o FOLDER] STRUCTURE | RUN/ | graph.nc",
                                           "PROGRAM ...", "--list", NULL};
    nh_program program = {
        .name = "nextham",
        .summary = "a structure in, bands out; and the other programs by their names",
        .synopsis = synopsis,
        .description =
            "nextham bands runs the whole chain on one crystal: h0build on a structure (or "
            "mkgraph on an ABACUS run), nhinfer, "
            "geneig on a mesh and on the standard path, dos, bandplot-data and gnuplot, nhscf --check. "
            "Everything is left in FOLDER "
            "[NAME-bands]: graph.nc, ham.nc, bands.nc, mesh.nc, dos.tsv, bands.svg, check.txt. The summary "
            "is printed. --dry-run prints "
            "the commands, which work by themselves.\n\n"
            "nextham PROGRAM ... runs one of the other programs; nextham --list names them.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .computes = true,
        .example =
            "nextham bands GaAs.vasp\nnextham bands --dry-run -m model.nc runs/GaAs\nnextham mkgraph --help",
        .see_also = "h0build(1), nhinfer(1), geneig(1), nhscf(1)",
    };
    if (argc > 1 && strcmp(argv[1], "--list") == 0) return list_programs();
    const bool chain_wanted = argc > 1 && strcmp(argv[1], "bands") == 0;
    if (argc > 1 && argv[1][0] != '-' && !chain_wanted) return run_program(argv);
    nh_common common;
    nh_error err;
    if (chain_wanted) program.min_inputs = 1;
    int status = nh_parse(&program, chain_wanted ? argc - 1 : argc, chain_wanted ? argv + 1 : argv, &common);
    if (status >= 0) return status;
    if (!chain_wanted) {
        fprintf(stderr, "nextham: bands STRUCTURE, or the name of a program, expected (nextham --help)\n");
        status = 2;
    } else if (a.points < 2 || (a.has_mesh && (a.mesh[0] < 1 || a.mesh[1] < 1 || a.mesh[2] < 1))) {
        fprintf(stderr, "nextham: --total and --mesh: positive numbers expected\n");
        status = 2;
    } else {
        status = bands(&a, &common, &err) == 0 ? 0 : nh_report(&program, &err);
        if (status == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
            nh_fail(&err, "(standard output): write error");
            status = nh_report(&program, &err);
        }
    }
    nh_common_free(&common);
    return status;
}
