#include "formats/structure/file.h"

#include "base/stream.h"
#include "crystal/neighbours.h"
#include "formats/abacus/stru.h"
#include "formats/structure/cif.h"
#include "formats/structure/poscar.h"
#include "formats/structure/xyz.h"

#include <stdlib.h>
#include <string.h>

/* In order: the first that recognises the text reads it. */
static const struct {
    const char *name;
    nh_structure_recognise *recognise;
    nh_structure_parse *parse;
} formats[] = {
    {"ABACUS STRU", nh_stru_recognise, nh_stru_parse},
    {"extended XYZ", nh_xyz_recognise, nh_xyz_parse},
    {"VASP POSCAR", nh_poscar_recognise, nh_poscar_parse},
    {"CIF", nh_cif_recognise, nh_cif_parse},
};

int nh_structure_file_read(const char *path, const char *latname, nh_structure_file *out, nh_error *err)
{
    *out = (nh_structure_file){.format = NULL};
    char *text;
    if (nh_read_text(path, NH_TEXT_LIMIT, &text, err)) return -1;
    nh_text t = {.name = strcmp(path, "-") == 0 ? "(standard input)" : path, .at = text};
    int status = -1;
    size_t i = 0;
    while (i < sizeof formats / sizeof formats[0] && !formats[i].recognise(text))
        i++;
    if (i == sizeof formats / sizeof formats[0]) {
        nh_fail(err, "%s: no structure file (ABACUS STRU, VASP POSCAR, CIF or extended XYZ expected)",
                t.name);
    } else {
        out->format = formats[i].name;
        status = formats[i].parse(&t, latname, out, err);
        if (status == 0 && nh_atoms_check(&out->structure, err)) status = nh_fail_at(err, "%s", t.name);
    }
    free(text);
    if (status != 0) nh_structure_file_free(out);
    return status;
}

static void free_names(char ***names, size_t n)
{
    for (size_t i = 0; *names != NULL && i < n; i++)
        free((*names)[i]);
    free(*names);
    *names = NULL;
}

void nh_structure_file_forget(nh_structure_file *f)
{
    free_names(&f->orbital_file, f->structure.n_species);
    free_names(&f->pseudo_file, f->structure.n_species);
    free_names(&f->label, f->structure.n_species);
    free(f->mass);
    free(f->magnetism);
    free(f->moment);
    free(f->moment_size);
    f->mass = f->magnetism = f->moment = NULL;
    f->moment_size = NULL;
}

void nh_structure_file_free(nh_structure_file *f)
{
    if (f == NULL) return;
    nh_structure_file_forget(f);
    nh_structure_free(&f->structure);
    *f = (nh_structure_file){.format = NULL};
}
