/* CIF: structures of known groups and settings, everything that must be refused. */
#include "check.h"

#include "crystal/neighbours.h"
#include "formats/structure/file.h"
#include "formats/structure/symmetry.h"

#include <unistd.h>

static char scratch[] = "/tmp/nh_test_cif_XXXXXX";
static char scratch_file[64];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(scratch) == NULL) return -1;
    snprintf(scratch_file, sizeof scratch_file, "%s/file", scratch);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(scratch_file);
    return rmdir(scratch);
}

static int read_cif(const char *text, nh_structure_file *out)
{
    FILE *f = fopen(scratch_file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    err.text[0] = '\0';
    return nh_structure_file_read(scratch_file, NULL, out, &err);
}

#define CELL(a, b, c, alpha, beta, gamma)                                                                    \
    "_cell_length_a " #a "\n_cell_length_b " #b "\n_cell_length_c " #c "\n_cell_angle_alpha " #alpha         \
    "\n_cell_angle_beta " #beta "\n_cell_angle_gamma " #gamma "\n"
#define SITES "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"

/* Crystals of handbooks: number of atoms, and the distance and number of nearest neighbours of one atom. */
static void crystals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n_atom;
        const char *formula;
        int atom; /* whose neighbours are counted */
        double nearest;
        size_t n_near;
    } table[] = {
        {"# zincblende\ndata_GaAs\n" CELL(5.6533(2), 5.6533(2), 5.6533(2), 90, 90,
                                          90.) "_symmetry_space_group_name_H-M 'F -4 3 m'\n" SITES
                                               "Ga1 0 0 0\nAs1 0.25 .25 2.5e-1(3)\n",
         8, "Ga4As4", 0, 5.6533 * 0.43301270189, 4},
        {"data_diamond\n" CELL(3.567, 3.567, 3.567, 90, 90,
                               90) "_space_group_name_H-M_alt \"F d -3 m :2\"\n" SITES
                                   "C 0.125 0.125 0.125\n",
         8, "C8", 3, 3.567 * 0.43301270189, 4},
        {"data_diamond\n" CELL(3.567, 3.567, 3.567, 90, 90,
                               90) "_symmetry_space_group_name_H-M 'F d -3 m S'\n" SITES "C 0 0 0\n",
         8, "C8", 0, 3.567 * 0.43301270189, 4},
        {"data_diamond\n" CELL(
             3.567, 3.567, 3.567, 90, 90,
             90) "_space_group_name_H-M_alt 'F d -3 m'\n_space_group_name_Hall '-F 4vw 2vw 3'\n" SITES
                 "C 0.125 0.125 0.125\n",
         8, "C8", 0, 3.567 * 0.43301270189, 4},
        /* 0.3333 is 1/3 where the symmetry says so; capitals of a type symbol; a formula; multiplicities */
        {"data_MoS2\n" CELL(3.16, 3.16, 12.294, 90, 90,
                            120) "_symmetry_Int_Tables_number 194\n_chemical_formula_sum 'Mo "
                                 "S2'\nloop_\n_atom_site_type_symbol\n"
                                 "_atom_site_label\n_atom_site_symmetry_multiplicity\n_atom_site_fract_x\n_"
                                 "atom_site_fract_y\n"
                                 "_atom_site_fract_z\n_atom_site_occupancy\nMO4+ Mo1 2 0.3333 0.6667 0.25 "
                                 "1.0\nS2- S1 4 0.3333 0.6667 0.621 1\n",
         6, "Mo2S4", 0, 0, 6},
        {"data_Bi2Te3\n" CELL(4.386, 4.386, 30.497, 90, 90,
                              120) "_symmetry_space_group_name_H-M 'R -3 m'\n" SITES
                                   "Bi 0 0 0.4\nTe1 0 0 0\nTe2 0 0 0.2095\n",
         15, "Bi6Te9", 0, 0, 3},
        {"data_Bi2Te3\n" CELL(10.476, 10.476, 10.476, 24.16, 24.16,
                              24.16) "_space_group_IT_number 166\n" SITES
                                     "Bi 0.4 0.4 0.4\nTe1 0 0 0\nTe2 0.2095 0.2095 0.2095\n",
         5, "Bi2Te3", 0, 0, 3},
        /* a molecule's crystal: listed operations, D for H, text of several lines, comments, blocks
         * without sites */
        {"#\\#CIF_1.1\ndata_global\n_publ_title\n;\n a 'title'; with _tags and\nloop_\n;\ndata_ice\n"
         "_cell_length_a 4.5\n_cell_length_b 5\n_cell_length_c 6\n_cell_angle_alpha 90\n_cell_angle_beta "
         "100\n"
         "_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P 1 21/c 1'\nloop_ "
         "_symmetry_equiv_pos_site_id\n"
         "_symmetry_equiv_pos_as_xyz\n1 'x, y, z'\n2 -x,1/2+y,1/2-z\n3 \"-X, -Y, -Z\" 4 'x,-y+0.5, +z +1/2'\n"
         "_chemical_formula_sum 'H2 O'\n" SITES
         "O1 0.2 0.2 0.2 # comment\nD1 0.35 0.3 0.2\nH1B 0.1 .2 0.32\n",
         12, "O4H8", 0, 0, 0},
        {"\xef\xbb\xbf"
         "data_P1\n" CELL(3, 3, 3, 90, 90, 90) "_space_group_IT_number 1\n" SITES "Fe2+ -0.1 1.3 0\n",
         1, "Fe", 0, 3, 6},
        {"data_\n" CELL(3.9, 3.9, 3.9, 90, 90, 90) "_space_group_name_H-M_alt 'Pm-3m'\n" SITES
                                                   "Ba1 .5 .5 .5\nTi1 0 0 0\nO1 0.5 0 0\n",
         5, "BaTiO3", 1, 1.95, 6},
        {"data_mono\r\n_cell_length_a 5\r\n_cell_length_b 6\r\n_cell_length_c 7\r\n_cell_angle_alpha 90\r\n"
         "_cell_angle_beta 95\r\n_cell_angle_gamma 90\r\n_symmetry_space_group_name_H-M 'P 21/n'\r\n"
         "loop_\r\n_atom_site_label\r\n_atom_site_fract_x\r\n_atom_site_fract_y\r\n_atom_site_fract_z\r\n"
         "Si1 0.1 0.2 0.3\r\n",
         4, "Si4", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        nh_structure_file file;
        if (read_cif(table[i].text, &file)) fail_msg("case %zu: %s", i, err.text);
        assert_string_equal(file.format, "CIF");
        const nh_structure *const s = &file.structure;
        assert_int_equal(s->n_atom, table[i].n_atom);
        char *const formula = nh_structure_formula(s);
        assert_string_equal(formula, table[i].formula);
        free(formula);
        nh_pair *pair;
        size_t n, near = 0;
        OK(nh_neighbours(s, 3.1, &n, &pair, &err));
        double nearest = 1e9;
        for (int pass = 0; pass < 2; pass++)
            for (size_t k = 0; k < n; k++) {
                double v[3];
                nh_pair_vector(s, &pair[k], v);
                const double r = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
                if (pair[k].src != table[i].atom || r < 1e-9) continue;
                if (pass == 0)
                    nearest = fmin(nearest, r);
                else
                    near += r < nearest + 1e-6;
            }
        free(pair);
        if (table[i].n_near > 0 && near != table[i].n_near) fail_msg("case %zu: %zu neighbours", i, near);
        if (table[i].nearest > 0) assert_true(fabs(nearest - table[i].nearest) < 1e-6);
        nh_structure_file_free(&file);
    }
}

/* The same crystal from the names of its group and from the operations. P 21/n of above: four images that
 * are known. */
static void positions(void **state)
{
    (void)state;
    nh_structure_file file;
    const char *const text =
        "data_a\n" CELL(5, 6, 7, 90, 95, 90) "_symmetry_space_group_name_H-M 'P 1 21/n 1'\n" SITES
                                             "Si1 0.1 0.2 0.3\n";
    if (read_cif(text, &file)) fail_msg("%s", err.text);
    const double x[4][3] = {{0.1, 0.2, 0.3}, {0.9, 0.8, 0.7}, {0.4, 0.7, 0.2}, {0.6, 0.3, 0.8}};
    const double beta = 95 * acos(-1) / 180, *const a = file.structure.lattice;
    assert_true(fabs(a[0] - 5) < 1e-12 && fabs(a[4] - 6) < 1e-12);
    assert_true(fabs(a[6] - 7 * cos(beta)) < 1e-12 && fabs(a[8] - 7 * sin(beta)) < 1e-12);
    for (int i = 0; i < 4; i++) {
        bool found = false;
        for (int k = 0; k < 4; k++) {
            const double *const r = file.structure.position + 3 * k;
            found = found || (fabs(r[0] - (5 * x[i][0] + a[6] * x[i][2])) < 1e-9 &&
                              fabs(r[1] - 6 * x[i][1]) < 1e-9 && fabs(r[2] - a[8] * x[i][2]) < 1e-9);
        }
        assert_true(found);
    }
    nh_structure_file_free(&file);
}

#define HEAD "data_a\n" CELL(4, 4, 4, 90, 90, 90)
#define ONE "Si1 0 0 0\n"
#define P1 "_space_group_IT_number 1\n"
#define OPERATIONS(list) "loop_\n_symmetry_equiv_pos_as_xyz\n" list

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } table[] = {
        {HEAD SITES ONE, "neither symmetry operations nor a space group"},
        {HEAD "_symmetry_Int_Tables_number ?\n" SITES ONE, "neither symmetry operations nor a space group"},
        {HEAD "_symmetry_Int_Tables_number 231\n" SITES ONE, "no space group of number \"231\""},
        {HEAD "_symmetry_Int_Tables_number 227\n" SITES ONE, "several settings"},
        {HEAD "_symmetry_space_group_name_H-M 'F d -3 m'\n" SITES ONE, "several settings"},
        {HEAD "_symmetry_space_group_name_H-M 'F d -3 n'\n" SITES ONE, "no space group \"F d -3 n\""},
        {HEAD "_symmetry_space_group_name_Hall 'P 99'\n" SITES ONE, "no space group \"P 99\""},
        {HEAD "_symmetry_Int_Tables_number 194\n" SITES ONE,
         "the cell does not fit the space group number 194"},
        {HEAD "_space_group_IT_number 225\n" OPERATIONS("x,y,z\n") SITES ONE, "1 symmetry operations"},
        {HEAD OPERATIONS("x,y,z\n-x,-y\n") SITES ONE, "three parts"},
        {HEAD OPERATIONS("x,y,z\n-x,-y,-z,x\n") SITES ONE, "three parts"},
        {HEAD OPERATIONS("x,y,z\n-x,-y,w\n") SITES ONE, "no symmetry operation"},
        {HEAD OPERATIONS("x,y,z\nx+1/0,y,z\n") SITES ONE, "no symmetry operation"},
        {HEAD OPERATIONS("x,y,z\nx,x,z\n") SITES ONE, "determinant"},
        {HEAD OPERATIONS("x,y,z\nx+y,y,z\n") SITES ONE, "does not fit the lengths"},
        {HEAD OPERATIONS("x,y,z\ny,z,x\n") SITES ONE, "no group"},
        {HEAD OPERATIONS("x,y,z\nX,Y,Z+1\n") SITES ONE, "are the same"},
        {HEAD OPERATIONS("-x,-y,-z\n") SITES ONE, "x, y, z is not among"},
        {HEAD P1 "loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1\n" SITES ONE, "magnetic"},
        {HEAD P1 SITES "Xx1 0 0 0\n", "no chemical element"},
        {HEAD P1 SITES "CA1 0 0 0\n", "_atom_site_type_symbol would tell"},
        {HEAD P1 SITES "Si1 0 0 ?\n", "_atom_site_fract_z expected"},
        {HEAD P1 SITES "Si1 0 0 nan\n", "_atom_site_fract_z expected"},
        {HEAD P1 SITES "Si1 0 0 1e999\n", "not finite"},
        {HEAD P1 SITES "Si1 0 0 0.1(2\n", "_atom_site_fract_z expected"},
        {HEAD P1 SITES "Si1 0 0 0.1()\n", "_atom_site_fract_z expected"},
        {HEAD P1 SITES "Si1 0 0\n", "4 columns with 3 values"},
        {HEAD P1 SITES, "no atoms"},
        {HEAD P1 SITES ONE "Si2 0 0 0\n", "nearer than"},
        {HEAD OPERATIONS("x,y,z\n-x,-y,-z\n") SITES "Si1 0.02 0 0\n", "nearer than"},
        {HEAD P1 "loop_\n_atom_site_label\n_atom_site_occupancy\n_atom_site_fract_x\n_atom_site_fract_y\n"
                 "_atom_site_fract_z\nSi1 0.5 0 0 0\n",
         "occupancy 0.5"},
        {HEAD P1 "loop_\n_atom_site_label\n_atom_site_calc_flag\n_atom_site_fract_x\n_atom_site_fract_y\n"
                 "_atom_site_fract_z\nSi1 dum 0 0 0\n",
         "dummy"},
        {HEAD P1
         "loop_\n_atom_site_label\n_atom_site_symmetry_multiplicity\n_atom_site_fract_x\n_atom_site_fract_y\n"
         "_atom_site_fract_z\nSi1 2 0 0 0\n",
         "multiplicity 2, and 1 images"},
        {HEAD P1 "loop_\n_atom_site_label\n_atom_site_Cartn_x\nSi1 0\n", "Cartesian"},
        {HEAD P1 "_chemical_formula_sum 'Si H4'\n" SITES ONE, "the formula says Si H4"},
        {"data_a\n_cell_length_a 4\n" P1 SITES ONE, "no _cell_length_b"},
        {"data_a\n" CELL(-4, 4, 4, 90, 90, 90) P1 SITES ONE, "0.5 to 10000"},
        {"data_a\n" CELL(4, 4, 1e-9, 90, 90, 90) P1 SITES ONE, "0.5 to 10000"},
        {"data_a\n" CELL(4, 4, 4, 90, 90, 180) P1 SITES ONE, "an angle"},
        {"data_a\n" CELL(4, 4, 4, 60, 60, 150) P1 SITES ONE, "no volume"},
        {"data_a\n" CELL(4, 4, 4, 90, 90, 1) P1 SITES ONE, "thinner"},
        {HEAD P1 SITES ONE "data_b\n" SITES ONE, "2 crystals (data blocks a, b)"},
        {HEAD P1 P1 SITES ONE, "is there twice"},
        {HEAD P1 "_tag\n" SITES ONE, "\"_tag\" has no value"},
        {HEAD P1 "_tag 1 2\n" SITES ONE, "a value without a tag"},
        {HEAD P1 "loop_\nvalue\n", "a loop without tags"},
        {HEAD P1 "_tag 'open\n", "does not end in its line"},
        {HEAD P1 "_tag\n;open\n", "does not end"},
        {HEAD P1 "_tag '''text'''\n", "CIF 2.0"},
        {HEAD P1 "_tag [1 2]\n", "begins no value"},
        {HEAD P1 "save_frame\n", "is not read"},
        {"data_a", "no atoms"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        nh_structure_file file;
        if (read_cif(table[i].text, &file) == 0) fail_msg("case %zu (%s) was read", i, table[i].message);
        if (strstr(err.text, table[i].message) == NULL || strstr(err.text, scratch_file) == NULL ||
            strchr(err.text, '\n') != NULL)
            fail_msg("case %zu: no \"%s\" in \"%s\"", i, table[i].message, err.text);
    }
}

/* Cut off anywhere: an error or a crystal, never a crash (the sanitizers look). */
static void cut_off(void **state)
{
    (void)state;
    const char *const text = "data_a 'x'\n" CELL(3, 4, 5, 90, 90, 90)
        OPERATIONS("'x, y, z'\n'-x, -y, 1/2+z'\n") SITES "Si1 0.1 0.2 0.3\n;\ntext\n;\n";
    char copy[1024];
    for (size_t n = 0; n <= strlen(text); n++) {
        nh_structure_file file;
        snprintf(copy, sizeof copy, "%.*s", (int)n, text);
        if (read_cif(copy, &file) == 0) nh_structure_file_free(&file);
    }
}

/* Settings of all crystal systems by their Hall symbols: groups that fit a cell of their kind. */
static void settings(void **state)
{
    (void)state;
    static const double cubic[9] = {5, 0, 0, 0, 5, 0, 0, 0, 5},
                        hexagonal[9] = {5, 0, 0, -2.5, 4.33012701892, 0, 0, 0, 7};
    static const char *const hall[] = {"P 1",        "-P 2ybc",        "C 2c -2",    "P 2ac 2ab",
                                       "-F 2uv 2vw", "I 4bw 2bw -1bw", "-R 3 2\"c",  "P 61",
                                       "-P 6c 2c",   "F 4d 2 3 -1d",   "-I 4bd 2c 3"};
    static const size_t count[] = {1, 4, 8, 4, 32, 32, 36, 6, 24, 192, 96};
    nh_symmetry *const s = test_malloc(sizeof *s);
    for (size_t i = 0; i < sizeof hall / sizeof hall[0]; i++) {
        const nh_space_group g = {.hall = hall[i]};
        const double *const lattice = i >= 6 && i <= 8 ? hexagonal : cubic;
        if (nh_symmetry_find(&g, lattice, s, &err)) fail_msg("%s: %s", hall[i], err.text);
        if (s->count != count[i]) fail_msg("%s: %zu operations", hall[i], s->count);
        OK(nh_symmetry_check(s, lattice, &err));
        assert_true(nh_symmetry_count_fits(&g, count[i]));
        assert_false(nh_symmetry_count_fits(&g, count[i] + 1));
    }
    test_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crystals), cmocka_unit_test(positions), cmocka_unit_test(refused),
        cmocka_unit_test(cut_off),  cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests_name("cif", tests, set_up, tear_down);
}
