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

void nh_structure_file_forget(nh_structure_file *f)
{
    char **const names[] = {f->orbital_file, f->pseudo_file};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        for (size_t i = 0; names[k] != NULL && i < f->structure.n_species; i++)
            free(names[k][i]);
        free(names[k]);
    }
    f->orbital_file = f->pseudo_file = NULL;
}

void nh_structure_file_free(nh_structure_file *f)
{
    if (f == NULL) return;
    nh_structure_file_forget(f);
    nh_structure_free(&f->structure);
    *f = (nh_structure_file){.format = NULL};
}
