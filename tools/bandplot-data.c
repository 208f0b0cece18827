/* bandplot-data - eigenvalues to a table, a picture's script, or JSON. */
#include "base/memory.h"
#include "base/options.h"
#include "base/outfile.h"
#include "formats/report/bandplot.h"
#include "formats/netcdf/eigen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const SPIN_AXES[] = {"x", "y", "z", NULL};
static const char *const FORMATS[] = {"tsv", "gnuplot", "json", "summary", "kpoints", NULL};

typedef struct arguments {
    nh_list references, reference_names;
    double efermi, nelec, top, window[2];
    bool has_efermi, has_nelec, has_window, has_picture, align;
    int format;
    const char *name, *title, *picture, *fermi, *dos;
    int project, spin;
    bool has_project, has_spin;
    nh_dos_table density; /* of --dos */
} arguments;

static int read_bands(const char *path, nh_bands *out, nh_error *err)
{
    nh_nc *f = NULL;
    if (nh_nc_open(path, &f, err) != 0) return -1;
    const int status = nh_eigen_read(f, out, err);
    nh_nc_close(f);
    return status;
}

/* The zero of energy: as asked for, from the file, or from filling the bands. `fallback`: of the bands that
 * these are compared with. */
static int set_fermi_level(const arguments *a, const char *file, const nh_bands *b,
                           const nh_band_curve *fallback, nh_band_curve *c, nh_error *err)
{
    const bool own = fallback == NULL;
    if (own && a->dos != NULL && !a->has_efermi && !a->has_nelec) {
        c->efermi = a->density.efermi;
        c->efermi_from = "from the density of states";
    } else if (own && a->has_efermi) {
        c->efermi = a->efermi;
        c->efermi_from = a->fermi != NULL ? "--fermi" : "--efermi";
    } else if (a->has_nelec) {
        if (nh_fermi_level(b, a->nelec, &c->efermi, err) != 0) return nh_fail_at(err, "%s", file);
        c->efermi_from = "--nelec fills the bands";
    } else if (!isnan(b->efermi)) {
        c->efermi = b->efermi;
        c->efermi_from = "from the file";
    } else if (!own && a->has_efermi) {
        c->efermi = fallback->efermi;
        c->efermi_from = fallback->efermi_from;
    } else if (!isnan(b->nelec)) {
        if (nh_fermi_level(b, b->nelec, &c->efermi, err) != 0) return nh_fail_at(err, "%s", file);
        c->efermi_from = "the file's electrons fill the bands";
    } else if (!own) {
        c->efermi = fallback->efermi;
        c->efermi_from = fallback->efermi_from;
    } else {
        return nh_fail(err,
                       "%s: neither a Fermi level nor a number of electrons: give --efermi or --nelec "
                       "(--efermi 0 takes energies as they are)",
                       file);
    }
    c->zero = c->efermi;
    return 0;
}

/* --fermi: the level that fills the bands of another file, on a mesh. */
static int read_fermi_level(arguments *a, nh_error *err)
{
    nh_bands b;
    if (read_bands(a->fermi, &b, err) != 0) return -1;
    const int status = isnan(b.nelec) ? nh_fail(err, "%s: --fermi: no number of electrons in it", a->fermi)
                       : nh_fermi_level(&b, b.nelec, &a->efermi, err) != 0
                           ? nh_fail_at(err, "%s: --fermi", a->fermi)
                           : 0;
    a->has_efermi = true;
    nh_bands_free(&b);
    return status;
}

/* --project, --spin: what the file says of its states. */
static int read_states(const arguments *a, const char *file, nh_bands *b, nh_state_weights *out,
                       nh_error *err)
{
    nh_nc *f = NULL;
    if (nh_nc_open(file, &f, err) != 0) return -1;
    int status = nh_eigen_read(f, b, err);
    if (status == 0 && (a->has_project || a->has_spin)) {
        status = nh_eigen_read_weights(f, b, out, err);
        if (status == 0 && a->has_project && out->n_group == 0)
            status = nh_fail(err, "%s: no projections in it: geneig --project %s", file,
                             nh_group_kinds[a->project]);
        if (status == 0 && a->has_spin && out->spin == NULL)
            status = nh_fail(err, "%s: no <sigma> in it: geneig --spin", file);
        if (status == 0 && a->has_project && nh_state_weights_merge(out, (nh_group_kind)a->project, err) != 0)
            status = nh_fail_at(err, "%s", file);
    }
    nh_nc_close(f);
    return status;
}

/* A gap is looked for where the k-points are: a mesh without Gamma misses the edges of most. */
static bool misses_gamma(const nh_kpoints *k)
{
    for (size_t i = 0; i < k->count; i++) {
        double off = 0;
        for (size_t x = 0; x < 3; x++)
            off = fmax(off, fabs(k->k[3 * i + x] - round(k->k[3 * i + x])));
        if (off < 1e-9) return false;
    }
    return k->mode == NH_K_MESH;
}

static const char *curve_name(const char *asked, const nh_bands *b, const char *otherwise)
{
    return asked != NULL ? asked : b->matrix != NULL ? b->matrix : otherwise;
}

static int write_plot(const nh_common *common, const nh_bandplot *p, int format, nh_error *err)
{
    nh_outfile *o = NULL;
    if (nh_outfile_begin(common->output, &o, err) != 0) return -1;
    FILE *out = nh_outfile_stream(o, err);
    if (out == NULL) {
        nh_outfile_abort(o);
        return -1;
    }
    nh_bandplot_write(out, p, (nh_bandplot_format)format);
    return nh_outfile_commit(o, err);
}

static int run(const nh_program *program, const arguments *a, const nh_common *common, nh_error *err)
{
    const size_t n = a->references.count;
    const char *file = nh_input(common);
    nh_bands own = {0}, *bands = NH_ARRAY(nh_bands, n);
    nh_band_curve *reference = NH_ARRAY(nh_band_curve, n);
    nh_band_errors errors = {0};
    nh_state_weights states = {0};
    int status = -1;
    if (bands == NULL || reference == NULL) {
        nh_fail_memory(err, "bands");
        goto done;
    }
    nh_bandplot p = {
        .title = a->title, .n_reference = n, .reference = reference, .top = a->top, .picture = a->picture};
    p.window[0] = a->window[0];
    p.window[1] = a->window[1];
    if (a->format == NH_BANDPLOT_GNUPLOT && !a->has_window) { /* all bands would fill no readable picture */
        p.window[0] = -10;
        p.window[1] = 10;
    }
    if (read_states(a, file, &own, &states, err) != 0 ||
        set_fermi_level(a, file, &own, NULL, &p.curve, err) != 0)
        goto done;
    p.curve.bands = &own;
    p.states = a->has_project || a->has_spin ? &states : NULL;
    p.spin_axis = a->has_spin ? a->spin : -1;
    p.dos = a->dos != NULL ? &a->density : NULL;
    if (a->format == NH_BANDPLOT_GNUPLOT && a->has_project && states.n_group > NH_BANDPLOT_GROUPS)
        nh_warn(program, common, "%s: %zu projections: the picture has the %d that most of its states are on",
                file, states.n_group, NH_BANDPLOT_GROUPS);
    if (misses_gamma(&own.k))
        nh_warn(
            program, common,
            "%s: the mesh misses Gamma: the gap that is found can be too large (geneig --mesh ... --gamma)",
            file);
    p.curve.name = curve_name(a->name, &own, "bands");
    if (p.title == NULL) p.title = own.title;
    for (size_t i = 0; i < n; i++) {
        const char *path = a->references.item[i];
        if (read_bands(path, &bands[i], err) != 0 ||
            set_fermi_level(a, path, &bands[i], &p.curve, &reference[i], err) != 0)
            goto done;
        reference[i].bands = &bands[i];
        reference[i].name = curve_name(i < a->reference_names.count ? a->reference_names.item[i] : NULL,
                                       &bands[i], "reference");
        nh_band_errors e = {0};
        if (nh_band_compare(i == 0 ? &own : &bands[i], &bands[0], reference[0].efermi + a->top, &e, err) !=
            0) {
            nh_fail_at(err, i == 0 ? "%s" : "%s (against the first --ref)", i == 0 ? file : path);
            goto done;
        }
        if (i == 0) {
            errors = e;
            p.errors = &errors;
            if (a->align) p.curve.zero = reference[0].efermi - e.shift;
        } else {
            if (a->align) reference[i].zero = reference[0].efermi - e.shift;
            nh_band_errors_free(&e);
        }
    }
    const double nelec = a->has_nelec ? a->nelec : own.nelec;
    p.has_gap = nelec > 0 && nh_band_gap(&own, nelec, &p.gap);
    status = write_plot(common, &p, a->format, err);
done:
    nh_band_errors_free(&errors);
    nh_state_weights_free(&states);
    for (size_t i = 0; i < n && bands != NULL; i++)
        nh_bands_free(&bands[i]);
    free(bands);
    free(reference);
    nh_bands_free(&own);
    return status;
}

static int check_arguments(const arguments *a, const nh_common *common, nh_error *err)
{
    size_t pipes = common->inputs.count == 0 || common->inputs.item[0][0] == '-';
    for (size_t i = 0; i < a->references.count; i++)
        pipes += a->references.item[i][0] == '-' && a->references.item[i][1] == '\0';
    pipes += a->dos != NULL && strcmp(a->dos, "-") == 0;
    if (pipes > 1) return nh_fail(err, "only one of the inputs can be standard input");
    if (a->has_efermi && a->has_nelec) return nh_fail(err, "--efermi or --nelec expected, found both");
    if (a->fermi != NULL && (a->has_efermi || a->has_nelec))
        return nh_fail(err, "--fermi, --efermi or --nelec expected, found several");
    if (a->has_nelec && !(a->nelec > 0))
        return nh_fail(err, "--nelec: a positive number expected, found %g", a->nelec);
    if (a->reference_names.count > a->references.count)
        return nh_fail(err, "--ref-name: more names than --ref");
    if (a->format == NH_BANDPLOT_KPOINTS && a->references.count == 0)
        return nh_fail(err, "--format kpoints compares: --ref missing");
    if (a->has_project && a->has_spin && a->format == NH_BANDPLOT_GNUPLOT)
        return nh_fail(err, "--project or --spin expected: one picture shows one of them");
    if (a->has_picture && a->format != NH_BANDPLOT_GNUPLOT)
        return nh_fail(err, "--picture belongs to --format gnuplot");
    return 0;
}

int main(int argc, char **argv)
{
    arguments a = {.picture = "bands.png", .top = 10, .window = {-INFINITY, INFINITY}};
    const nh_option options[] = {
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Zero of energy"},
        {NH_OPT_REAL, 0, "efermi", "E", &a.efermi, NULL, &a.has_efermi,
         "Fermi level, eV [from the file; else from its electrons]"},
        {NH_OPT_STRING, 0, "fermi", "EIG.NC", (void *)&a.fermi, NULL, NULL,
         "Fermi level by filling the bands of this file: those of the same Hamiltonian on a mesh"},
        {NH_OPT_REAL, 0, "nelec", "N", &a.nelec, NULL, &a.has_nelec,
         "electrons: the Fermi level is found by filling the bands (exact on a mesh, and on a path where "
         "there is a gap)"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Comparison"},
        {NH_OPT_LIST, 0, "ref", "EIG.NC", &a.references, NULL, NULL,
         "bands at the same k-points to compare with; repeatable: errors are against the first, pictures "
         "show all"},
        {NH_OPT_REAL, 0, "top", "E", &a.top, NULL, NULL,
         "errors and ghosts: states whose reference energy is up to E eV above the Fermi level [10]"},
        {NH_OPT_FLAG, 0, "align", NULL, &a.align, NULL, NULL,
         "show the bands after the constant shift of the comparison, instead of each relative to its own "
         "Fermi level"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "States"},
        {NH_OPT_CHOICE, 0, "project", NULL, &a.project, nh_group_kinds, &a.has_project,
         "fat bands: the part of each state on elements, atoms or shells (geneig --project); the table has "
         "one row a "
         "state"},
        {NH_OPT_CHOICE, 0, "spin", NULL, &a.spin, SPIN_AXES, &a.has_spin,
         "bands coloured by <sigma> along an axis (geneig --spin); the table has all three"},
        {NH_OPT_STRING, 0, "dos", "DOS.TSV", (void *)&a.dos, NULL, NULL,
         "density of states (a table of dos) beside the bands in the picture; also its Fermi level, unless "
         "another is "
         "asked for"},
        {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Output"},
        {NH_OPT_CHOICE, 0, "format", NULL, &a.format, FORMATS, NULL,
         "a table, a script for gnuplot, JSON, one row of gap and errors, or one row a k-point [tsv]"},
        {NH_OPT_RANGE, 0, "window", "LO:HI", a.window, NULL, &a.has_window,
         "bands that enter LO to HI, eV relative to the Fermi level [all; gnuplot: -10:10]"},
        {NH_OPT_STRING, 0, "title", "TEXT", (void *)&a.title, NULL, NULL, "title [from the file]"},
        {NH_OPT_STRING, 0, "name", "TEXT", (void *)&a.name, NULL, NULL,
         "name of the bands in the legend [name of the matrix]"},
        {NH_OPT_LIST, 0, "ref-name", "TEXT", &a.reference_names, NULL, NULL,
         "the same for each --ref, in order"},
        {NH_OPT_STRING, 0, "picture", "FILE", (void *)&a.picture, NULL, &a.has_picture,
         "picture that the gnuplot script makes, .png, .svg or .pdf [bands.png]"},
    };
    static const char *const synopsis[] = {
        "[--ref other-eig.nc] [--efermi E | --fermi mesh.nc | --nelec N] [--format "
        "tsv|gnuplot|json|summary|kpoints] [--window LO:HI] [-o FILE] [eig.nc]",
        NULL};
    const nh_program program = {
        .name = "bandplot-data",
        .summary = "eigenvalues in, plot data out: band table, comparison of bands, picture",
        .synopsis = synopsis,
        .description =
            "Writes one row a k-point: distance along the path (1/Å, with the factor 2 pi), label, and the "
            "bands in eV relative to "
            "the Fermi level. Lines with '#' before them hold the Fermi level, the gap where the number of "
            "electrons is known, and "
            "the comparison.\n\n"
            "Comparison with --ref: band by band, at the same k-points, over the states whose reference "
            "energy is up to --top above "
            "the reference's Fermi level, after one constant shift, the median of all differences. A k-point "
            "is called a ghost "
            "k-point if its largest difference exceeds 0.1 eV and 5 times the median over k of the largest "
            "differences.\n\n"
            "Fat bands: each state is a disk whose rings have the areas of its parts on the elements, atoms "
            "or shells, the "
            "largest in the middle; parts below 5 % are left out. Of degenerate states neither these parts "
            "nor <sigma> "
            "have a meaning for each alone: they are those of the vectors that the solver chose.\n\n"
            "A script of --format gnuplot contains the data: `gnuplot bands.gp` writes the picture.\n\n"
            "--format kpoints has the largest difference at each k-point and, for bands of geneig --against "
            "the "
            "reference's matrix, the bound that no difference can exceed: kappa(S)/||S|| ||D|| + |mu + "
            "shift|.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .max_inputs = 1,
        .example = "bandplot-data eig.nc > bands.tsv\n"
                   "dos --project element -o dos.tsv mesh.nc && bandplot-data --dos dos.tsv --format gnuplot "
                   "eig.nc | gnuplot\n"
                   "bandplot-data --ref eig_scf.nc --window -6:6 --format gnuplot -o bands.gp eig.nc && "
                   "gnuplot bands.gp",
        .see_also = "geneig(1), dos(1), gnuplot(1)",
    };
    nh_common common;
    nh_error err;
    int status = nh_parse(&program, argc, argv, &common);
    if (status >= 0) return status;
    if (check_arguments(&a, &common, &err) != 0) {
        nh_report(&program, &err);
        status = 2;
    } else {
        status = (a.dos == NULL || nh_dos_table_read(a.dos, &a.density, &err) == 0) &&
                         (a.fermi == NULL || read_fermi_level(&a, &err) == 0) &&
                         run(&program, &a, &common, &err) == 0
                     ? 0
                     : nh_report(&program, &err);
    }
    nh_dos_table_free(&a.density);
    nh_list_free(&a.references);
    nh_list_free(&a.reference_names);
    nh_common_free(&common);
    return status;
}
