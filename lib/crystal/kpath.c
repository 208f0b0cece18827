#include "crystal/kpath.h"

#include "base/memory.h"
#include "crystal/lattice.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <spglib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One variant of a Bravais lattice. Points in the basis of the primitive reciprocal cell: sums of fractions and of
 * the parameters that lattice_parameters() computes, one letter each. A path: corners with blanks between, '|' where
 * it is broken. */
typedef struct variant {
    char name[NH_LATTICE_TEXT];
    const char *point, *path;
} variant;

#define OC1_POINTS                                                                                           \
    "Y -1/2 1/2 0; T -1/2 1/2 1/2; Z 0 0 1/2; S 0 1/2 0; R 0 1/2 1/2; SIGMA_0 X X 0; C_0 -X 1-X 0; "         \
    "A_0 X X 1/2; E_0 -X 1-X 1/2"
#define OC1_PATH "GAMMA Y C_0|SIGMA_0 GAMMA Z A_0|E_0 T Y|GAMMA S R Z T"
#define OC2_POINTS                                                                                           \
    "Y 1/2 1/2 0; T 1/2 1/2 1/2; Z 0 0 1/2; S 0 1/2 0; R 0 1/2 1/2; DELTA_0 -X X 0; F_0 X 1-X 0; "           \
    "B_0 -X X 1/2; G_0 X 1-X 1/2"
#define OC2_PATH "GAMMA Y F_0|DELTA_0 GAMMA Z B_0|G_0 T Y|GAMMA S R Z T"
#define CF_POINTS "X 1/2 0 1/2; L 1/2 1/2 1/2; W 1/2 1/4 3/4; W_2 3/4 1/4 1/2; K 3/8 3/8 3/4; U 5/8 1/4 5/8"
#define CP_POINTS "R 1/2 1/2 1/2; M 1/2 1/2 0; X 0 1/2 0; X_1 1/2 0 0"
#define HP_POINTS "A 0 0 1/2; K 1/3 1/3 0; H 1/3 1/3 1/2; H_2 1/3 1/3 -1/2; M 1/2 0 0; L 1/2 0 1/2"

static const variant VARIANTS[] = {
    {"aP2", "Z 0 0 1/2; Y 0 1/2 0; X 1/2 0 0; V 1/2 1/2 0; U 1/2 0 1/2; T 0 1/2 1/2; R 1/2 1/2 1/2",
     "GAMMA X|Y GAMMA Z|R GAMMA T|U GAMMA V"},
    {"aP3",
     "Z 0 0 1/2; Y 0 1/2 0; X 1/2 0 0; V_2 1/2 -1/2 0; U_2 -1/2 0 1/2; T_2 0 -1/2 1/2; R_2 -1/2 -1/2 1/2",
     "GAMMA X|Y GAMMA Z|R_2 GAMMA T_2|U_2 GAMMA V_2"},
    {"cF1", CF_POINTS, "GAMMA X U|K GAMMA L W X W_2"},
    {"cF2", CF_POINTS, "GAMMA X U|K GAMMA L W X"},
    {"cI1", "H 1/2 -1/2 1/2; P 1/4 1/4 1/4; N 0 0 1/2", "GAMMA H N GAMMA P H|P N"},
    {"cP1", CP_POINTS, "GAMMA X M GAMMA R X|R M X_1"},
    {"cP2", CP_POINTS, "GAMMA X M GAMMA R X|R M"},
    {"hP1", HP_POINTS, "GAMMA M K GAMMA A L H A|L M|H K H_2"},
    {"hP2", HP_POINTS, "GAMMA M K GAMMA A L H A|L M|H K"},
    {"hR1", "T 1/2 1/2 1/2; L 1/2 0 0; F 1/2 0 1/2; S_0 N -N 0; S_2 1-N 0 N; H_0 1/2 -1+Y 1-Y; H_2 Y 1-Y 1/2",
     "GAMMA T H_2|H_0 L GAMMA S_0|S_2 F GAMMA"},
    {"hR2", "T 1/2 -1/2 1/2; P_0 H -1+H H; P_2 H H H; L 1/2 0 0; F 1/2 -1/2 0", "GAMMA L T P_0|P_2 GAMMA F"},
    {"mC1",
     "Y_2 -1/2 1/2 0; A 0 0 1/2; M_2 -1/2 1/2 1/2; V_2 0 1/2 0; L_2 0 1/2 1/2; C 1-S 1-S 0; C_2 -1+S S 0; "
     "D -1+P P 1/2; D_2 1-P 1-P 1/2",
     "GAMMA C|C_2 Y_2 GAMMA M_2 D|D_2 A GAMMA|L_2 GAMMA V_2"},
    {"mC2", "Y 1/2 1/2 0; A 0 0 1/2; M 1/2 1/2 1/2; V_2 0 1/2 0; L_2 0 1/2 1/2",
     "GAMMA Y M A GAMMA|L_2 GAMMA V_2"},
    {"mC3",
     "Y 1/2 1/2 0; A 0 0 1/2; M_2 -1/2 1/2 1/2; V_2 0 1/2 0; L_2 0 1/2 1/2; I -1+R R 1/2; I_2 1-R 1-R 1/2",
     "GAMMA A I_2|I M_2 GAMMA Y|L_2 GAMMA V_2"},
    {"mP1", "Z 0 1/2 0; B 0 0 1/2; Y_2 -1/2 0 0; C_2 -1/2 1/2 0; D 0 1/2 1/2; A -1/2 0 1/2; E -1/2 1/2 1/2",
     "GAMMA Z D B GAMMA A E Z C_2 Y_2 GAMMA"},
    {"oA1", OC1_POINTS, OC1_PATH},
    {"oA2", OC2_POINTS, OC2_PATH},
    {"oC1", OC1_POINTS, OC1_PATH},
    {"oC2", OC2_POINTS, OC2_PATH},
    {"oF1",
     "T 1 1/2 1/2; Z 1/2 1/2 0; Y 1/2 0 1/2; SIGMA_0 0 H H; U_0 1 1-H 1-H; A_0 1/2 1/2+J J; C_0 1/2 1/2-J "
     "1-J; "
     "L 1/2 1/2 1/2",
     "GAMMA Y T Z GAMMA SIGMA_0|U_0 T|Y C_0|A_0 Z|GAMMA L"},
    {"oF2",
     "T 0 1/2 1/2; Z 1/2 1/2 1; Y 1/2 0 1/2; LAMBDA_0 K K 0; Q_0 1-K 1-K 1; G_0 1/2-J 1-J 1/2; H_0 1/2+J J "
     "1/2; "
     "L 1/2 1/2 1/2",
     "GAMMA T Z Y GAMMA LAMBDA_0|Q_0 Z|T G_0|H_0 Y|GAMMA L"},
    {"oF3",
     "T 0 1/2 1/2; Z 1/2 1/2 0; Y 1/2 0 1/2; A_0 1/2 1/2+H H; C_0 1/2 1/2-H 1-H; B_0 1/2+K 1/2 K; "
     "D_0 1/2-K 1/2 1-K; G_0 P 1/2+P 1/2; H_0 1-P 1/2-P 1/2; L 1/2 1/2 1/2",
     "GAMMA Y C_0|A_0 Z B_0|D_0 T G_0|H_0 Y|T GAMMA Z|GAMMA L"},
    {"oI1",
     "X 1/2 1/2 -1/2; S 1/2 0 0; R 0 1/2 0; T 0 0 1/2; W 1/4 1/4 1/4; SIGMA_0 -Z Z Z; F_2 Z 1-Z -Z; Y_0 H -H "
     "H; "
     "U_0 1-H H -H",
     "GAMMA X F_2|SIGMA_0 GAMMA Y_0|U_0 X|GAMMA R W S GAMMA T W"},
    {"oI2",
     "X -1/2 1/2 1/2; S 1/2 0 0; R 0 1/2 0; T 0 0 1/2; W 1/4 1/4 1/4; Y_0 Z -Z Z; U_2 -Z Z 1-Z; LAMBDA_0 H H "
     "-H; "
     "G_2 -H 1-H H",
     "GAMMA X U_2|Y_0 GAMMA LAMBDA_0|G_2 X|GAMMA R W S GAMMA T W"},
    {"oI3",
     "X 1/2 -1/2 1/2; S 1/2 0 0; R 0 1/2 0; T 0 0 1/2; W 1/4 1/4 1/4; SIGMA_0 -Y Y Y; F_0 Y -Y 1-Y; LAMBDA_0 "
     "Z Z -Z; "
     "G_0 1-Z -Z Z",
     "GAMMA X F_0|SIGMA_0 GAMMA LAMBDA_0|G_0 X|GAMMA R W S GAMMA T W"},
    {"oP1", "X 1/2 0 0; Z 0 0 1/2; U 1/2 0 1/2; Y 0 1/2 0; S 1/2 1/2 0; T 0 1/2 1/2; R 1/2 1/2 1/2",
     "GAMMA X S Y GAMMA Z U R T Z|X U|Y T|S R"},
    {"tI1", "M -1/2 1/2 1/2; X 0 0 1/2; P 1/4 1/4 1/4; Z H H -H; Z_0 -H 1-H H; N 0 1/2 0",
     "GAMMA X M GAMMA Z|Z_0 M|X P N GAMMA"},
    {"tI2",
     "M 1/2 1/2 -1/2; X 0 0 1/2; P 1/4 1/4 1/4; N 0 1/2 0; S_0 -H H H; S H 1-H -H; R -Z Z 1/2; G 1/2 1/2 -Z",
     "GAMMA X P N GAMMA M S|S_0 GAMMA|X R|G M"},
    {"tP1", "Z 0 0 1/2; M 1/2 1/2 0; A 1/2 1/2 1/2; R 0 1/2 1/2; X 0 1/2 0",
     "GAMMA X M GAMMA Z R A Z|X R|M A"},
};

/* Lengths and cosines of the conventional cell. */
typedef struct cell {
    double a, b, c, cos_alpha, cos_beta, cos_gamma;
} cell;

typedef double parameters[26]; /* by letter */

static double dot(const double *u, const double *v)
{
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
}

static cell cell_of(const double rows[9])
{
    const double a = sqrt(dot(rows, rows)), b = sqrt(dot(rows + 3, rows + 3)),
                 c = sqrt(dot(rows + 6, rows + 6));
    return (cell){a,
                  b,
                  c,
                  dot(rows + 3, rows + 6) / (b * c),
                  dot(rows, rows + 6) / (a * c),
                  dot(rows, rows + 3) / (a * b)};
}

/* Tables of the paper: the free coordinates as functions of the conventional cell. */
static void lattice_parameters(const char *name, const cell *l, parameters p)
{
    const double a2 = l->a * l->a, b2 = l->b * l->b, c2 = l->c * l->c;
    const double ac = l->a * l->cos_beta / l->c; /* monoclinic: b is the axis */
    const double sin2 = 1 - l->cos_beta * l->cos_beta;
#define P(letter) p[(letter) - 'A']
    if (strcmp(name, "hR1") == 0) {
        const double delta = a2 / (4 * c2);
        P('Y') = 5.0 / 6 - 2 * delta;
        P('N') = 1.0 / 3 + delta;
    } else if (strcmp(name, "hR2") == 0) {
        P('H') = 0.5 - 2 * (1.0 / 6 - c2 / (9 * a2));
    } else if (strcmp(name, "mC1") == 0) {
        P('S') = 0.75 - b2 / (4 * a2 * sin2);
        P('P') = P('S') - (0.75 - P('S')) * ac;
    } else if (strcmp(name, "mC3") == 0) {
        P('R') = 1 - (a2 / b2 + (1 + ac) / sin2) / 4 * b2 / a2;
    } else if (strcmp(name, "oA1") == 0) {
        P('X') = (1 + b2 / c2) / 4;
    } else if (strcmp(name, "oA2") == 0) {
        P('X') = (1 + c2 / b2) / 4;
    } else if (strcmp(name, "oC1") == 0) {
        P('X') = (1 + a2 / b2) / 4;
    } else if (strcmp(name, "oC2") == 0) {
        P('X') = (1 + b2 / a2) / 4;
    } else if (strcmp(name, "oF1") == 0) {
        P('J') = (1 + a2 / b2 - a2 / c2) / 4;
        P('H') = (1 + a2 / b2 + a2 / c2) / 4;
    } else if (strcmp(name, "oF2") == 0) {
        P('J') = (1 + c2 / a2 - c2 / b2) / 4;
        P('K') = (1 + c2 / a2 + c2 / b2) / 4;
    } else if (strcmp(name, "oF3") == 0) {
        P('H') = (1 + a2 / b2 - a2 / c2) / 4;
        P('K') = (1 + b2 / a2 - b2 / c2) / 4;
        P('P') = (1 + c2 / b2 - c2 / a2) / 4;
    } else if (strcmp(name, "oI1") == 0) {
        P('Z') = (1 + a2 / c2) / 4;
        P('H') = (1 + b2 / c2) / 4;
    } else if (strcmp(name, "oI2") == 0) {
        P('Z') = (1 + b2 / a2) / 4;
        P('H') = (1 + c2 / a2) / 4;
    } else if (strcmp(name, "oI3") == 0) {
        P('Z') = (1 + c2 / b2) / 4;
        P('Y') = (1 + a2 / b2) / 4;
    } else if (strcmp(name, "tI1") == 0) {
        P('H') = (1 + c2 / a2) / 4;
    } else if (strcmp(name, "tI2") == 0) {
        P('H') = (1 + a2 / c2) / 4;
        P('Z') = a2 / (2 * c2);
    }
#undef P
}

/* Family and centring of a space group: "cF". */
static void bravais_of(int space_group, char centring, char out[3])
{
    const char family = space_group <= 2     ? 'a'
                        : space_group <= 15  ? 'm'
                        : space_group <= 74  ? 'o'
                        : space_group <= 142 ? 't'
                        : space_group <= 194 ? 'h'
                                             : 'c';
    out[0] = family;
    out[1] = centring;
    out[2] = '\0';
}

static const char *variant_name(const char *bravais, int space_group, const cell *l)
{
    const double a = l->a, b = l->b, c = l->c;
    if (strcmp(bravais, "cP") == 0) return space_group <= 206 ? "cP1" : "cP2";
    if (strcmp(bravais, "cF") == 0) return space_group <= 206 ? "cF1" : "cF2";
    if (strcmp(bravais, "cI") == 0) return "cI1";
    if (strcmp(bravais, "tP") == 0) return "tP1";
    if (strcmp(bravais, "tI") == 0) return c <= a ? "tI1" : "tI2";
    if (strcmp(bravais, "oP") == 0) return "oP1";
    if (strcmp(bravais, "oF") == 0) {
        if (1 / (a * a) > 1 / (b * b) + 1 / (c * c)) return "oF1";
        return 1 / (c * c) > 1 / (a * a) + 1 / (b * b) ? "oF2" : "oF3";
    }
    if (strcmp(bravais, "oI") == 0) return c >= a && c >= b ? "oI1" : a >= b ? "oI2" : "oI3";
    if (strcmp(bravais, "oC") == 0) return a <= b ? "oC1" : "oC2";
    if (strcmp(bravais, "oA") == 0) return b <= c ? "oA1" : "oA2";
    if (strcmp(bravais, "hR") == 0) return sqrt(3) * a <= sqrt(2) * c ? "hR1" : "hR2";
    if (strcmp(bravais, "mP") == 0) return "mP1";
    if (strcmp(bravais, "hP") == 0) {
        /* Trigonal groups whose point group maps neither K on H's plane nor its mirror: the path to -H differs. */
        static const int first[] = {143, 144, 145, 146, 147, 148, 149, 151,
                                    153, 157, 159, 160, 161, 162, 163};
        for (size_t i = 0; i < sizeof first / sizeof *first; i++)
            if (space_group == first[i]) return "hP1";
        return "hP2";
    }
    if (strcmp(bravais, "mC") == 0) {
        const double sin2 = 1 - l->cos_beta * l->cos_beta;
        if (b < a * sqrt(sin2)) return "mC1";
        return -a * l->cos_beta / c + a * a * sin2 / (b * b) <= 1 ? "mC2" : "mC3";
    }
    return NULL;
}

static int invert(const double m[9], double out[9])
{
    if (!(fabs(nh_lattice_volume(m)) > 0)) return -1;
    nh_lattice_inverse(m, out);
    return 0;
}

/* out = x y, 3 x 3. */
static void multiply(const double x[9], const double y[9], double out[9])
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            out[3 * i + j] = x[3 * i] * y[j] + x[3 * i + 1] * y[3 + j] + x[3 * i + 2] * y[6 + j];
}

static void transpose(const double m[9], double out[9])
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            out[3 * i + j] = m[3 * j + i];
}

/* Rows of the primitive cell from those of the conventional one (Table 3 of the paper). */
static void primitive_rows(const char *bravais, const double conventional[9], double out[9])
{
    static const struct {
        const char *families;
        char centring;
        double row[9];
    } cells[] = {
        {"co", 'F', {0, .5, .5, .5, 0, .5, .5, .5, 0}},
        {"cto", 'I', {-.5, .5, .5, .5, -.5, .5, .5, .5, -.5}},
        {"h", 'R', {2 / 3., 1 / 3., 1 / 3., -1 / 3., 1 / 3., 1 / 3., -1 / 3., -2 / 3., 1 / 3.}},
        {"o", 'C', {.5, -.5, 0, .5, .5, 0, 0, 0, 1}},
        {"o", 'A', {0, .5, -.5, 0, .5, .5, 1, 0, 0}},
        {"m", 'C', {.5, .5, 0, -.5, .5, 0, 0, 0, 1}},
    };
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        if (cells[i].centring == bravais[1] && strchr(cells[i].families, bravais[0]) != NULL) {
            multiply(cells[i].row, conventional, out);
            return;
        }
    memcpy(out, conventional, 9 * sizeof *out);
}

/* Reciprocal rows without 2 pi, or back: the transposed inverse. */
static int reciprocal_rows(const double rows[9], double out[9])
{
    double inverse[9];
    if (invert(rows, inverse) != 0) return -1;
    transpose(inverse, out);
    return 0;
}

/* Triclinic: the cell whose reciprocal cell is Niggli reduced, the angle nearest to 90 degrees last, all obtuse or all acute. */
static const char *triclinic_rows(double rows[9])
{
    static const double NIGGLI_TOLERANCE =
        1e-7; /* of products of reciprocal lattice vectors without 2 pi, 1/Å^2 */
    double b[9], columns[3][3];
    if (reciprocal_rows(rows, b) != 0) return NULL;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            columns[i][j] = b[3 * j + i];
    if (spg_niggli_reduce(columns, NIGGLI_TOLERANCE) == 0) return NULL;
    double reduced[3][3];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            reduced[j][i] = columns[i][j];
    const double product[3] = {fabs(dot(reduced[1], reduced[2])), fabs(dot(reduced[2], reduced[0])),
                               fabs(dot(reduced[0], reduced[1]))};
    int last = 0;
    for (int i = 1; i < 3; i++)
        if (product[i] < product[last]) last = i;
    double chosen[9];
    for (int i = 0; i < 3; i++)
        memcpy(chosen + 3 * i, reduced[(last + 1 + i) % 3], 3 * sizeof *chosen);
    const bool acute[3] = {dot(chosen + 3, chosen + 6) > 0, dot(chosen, chosen + 6) > 0,
                           dot(chosen, chosen + 3) > 0};
    /* The axis whose angle's kind differs from the other two keeps its sign, the others turn round. */
    for (int i = 0; i < 3; i++)
        if (acute[i] != acute[(i + 1) % 3] && acute[i] != acute[(i + 2) % 3])
            for (int j = 0; j < 9; j++)
                if (j / 3 != i) chosen[j] = -chosen[j];
    if (reciprocal_rows(chosen, rows) != 0) return NULL;
    return dot(chosen + 3, chosen + 6) > 0 ? "aP3" : "aP2";
}

/* "1-N", "-1/2", "1/2+J". */
static double coordinate(const char *text, const parameters p)
{
    double sum = 0;
    while (*text != '\0') {
        double sign = 1;
        if (*text == '+' || *text == '-') sign = *text++ == '-' ? -1 : 1;
        if (isupper((unsigned char)*text)) {
            sum += sign * p[*text++ - 'A'];
        } else {
            char *end;
            double value = (double)strtol(text, &end, 10);
            if (*end == '/') value /= (double)strtol(end + 1, &end, 10);
            sum += sign * value;
            text = end;
        }
    }
    return sum;
}

/* The point `name` (n bytes) of a variant. */
static bool find_point(const variant *v, const char *name, size_t n, const parameters p, double k[3])
{
    if (n == 5 && strncmp(name, "GAMMA", 5) == 0) {
        k[0] = k[1] = k[2] = 0;
        return true;
    }
    for (const char *at = v->point; *at != '\0';) {
        char word[4][12];
        int used = 0;
        if (sscanf(at, "%11[^ ] %11[^ ;] %11[^ ;] %11[^ ;]%n", word[0], word[1], word[2], word[3], &used) !=
            4)
            return false;
        if (strlen(word[0]) == n && strncmp(word[0], name, n) == 0) {
            for (int x = 0; x < 3; x++)
                k[x] = coordinate(word[x + 1], p);
            return true;
        }
        at += used;
        at += strspn(at, "; ");
    }
    return false;
}

/* Corners of the variant's path, from the primitive basis to the fractional coordinates of the user's cell: k_user = A_user
 * A_primitive^-1 k, with lattice vectors as rows. */
static int corners(const variant *v, const parameters p, const double to_user[9], nh_kpath *out,
                   nh_error *err)
{
    size_t count = 1;
    for (const char *c = v->path; *c != '\0'; c++)
        count += *c == ' ' || *c == '|';
    out->node = NH_ARRAY(nh_k_node, count);
    if (out->node == NULL) return nh_fail_memory(err, "the standard path");
    for (const char *at = v->path; *at != '\0'; out->count++) {
        const size_t n = strcspn(at, " |");
        nh_k_node *node = &out->node[out->count];
        double k[3];
        if (!find_point(v, at, n, p, k))
            return nh_fail(err, "standard path of %s: no point %.*s", v->name, (int)n, at);
        memcpy(node->label, at, n);
        for (int i = 0; i < 3; i++)
            node->k[i] = to_user[3 * i] * k[0] + to_user[3 * i + 1] * k[1] + to_user[3 * i + 2] * k[2];
        node->points = 1;
        at += n;
        node->jump = *at == '|';
        at += *at != '\0';
    }
    return 0;
}

/* The conventional cell in the user's orientation, (a_s b_s c_s) = (a b c) P^-1 in spglib's words. */
static int conventional_rows(const nh_structure *s, const SpglibDataset *d, double out[9])
{
    double p[9], inverse[9], turned[9];
    for (int i = 0; i < 9; i++)
        p[i] = d->transformation_matrix[i / 3][i % 3];
    if (invert(p, inverse) != 0) return -1;
    transpose(inverse, turned);
    multiply(turned, s->lattice, out);
    return 0;
}

static int standard_path(const nh_structure *s, const SpglibDataset *d, nh_kpath *out, nh_error *err)
{
    double conventional[9], primitive[9], inverse[9], to_user[9];
    if (conventional_rows(s, d, conventional) != 0)
        return nh_fail(err, "standard path: the cell has no volume");
    char bravais[3];
    const SpglibSpacegroupType type = spg_get_spacegroup_type(d->hall_number);
    bravais_of(d->spacegroup_number, type.international_short[0], bravais);
    const cell l = cell_of(conventional);
    const char *name;
    if (strcmp(bravais, "aP") == 0) {
        name = triclinic_rows(conventional);
        memcpy(primitive, conventional, sizeof primitive);
    } else {
        name = variant_name(bravais, d->spacegroup_number, &l);
        primitive_rows(bravais, conventional, primitive);
    }
    const variant *v = NULL;
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS && name != NULL; i++)
        if (strcmp(VARIANTS[i].name, name) == 0) v = &VARIANTS[i];
    if (v == NULL || invert(primitive, inverse) != 0)
        return nh_fail(err, "standard path: space group %d has a lattice %s that has no table",
                       d->spacegroup_number, bravais);
    multiply(s->lattice, inverse, to_user);
    parameters p = {0};
    lattice_parameters(v->name, &l, p);
    out->space_group = d->spacegroup_number;
    snprintf(out->international, sizeof out->international, "%s", d->international_symbol);
    snprintf(out->lattice, sizeof out->lattice, "%s", v->name);
    out->primitive_cells = fabs(nh_lattice_volume(to_user));
    return corners(v, p, to_user, out, err);
}

int nh_kpath_standard(const nh_structure *s, double symprec, nh_kpath *out, nh_error *err)
{
    *out = (nh_kpath){0};
    double inverse[9], columns[3][3];
    if (invert(s->lattice, inverse) != 0) return nh_fail(err, "standard path: the cell has no volume");
    double(*position)[3] = calloc(s->n_atom, sizeof *position);
    int *element = NH_ARRAY(int, s->n_atom);
    if (position == NULL || element == NULL || s->n_atom > INT32_MAX) {
        free(position);
        free(element);
        return nh_fail_memory(err, "the atoms of the standard path");
    }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            columns[i][j] = s->lattice[3 * j + i];
    for (size_t a = 0; a < s->n_atom; a++) {
        for (size_t j = 0; j < 3; j++)
            position[a][j] = s->position[3 * a] * inverse[j] + s->position[3 * a + 1] * inverse[3 + j] +
                             s->position[3 * a + 2] * inverse[6 + j];
        element[a] =
            s->species[a] + 1; /* not the element: two species of one element may be meant as different */
    }
    SpglibDataset *d = spg_get_dataset(columns, position, element, (int)s->n_atom, symprec);
    int status = d != NULL ? standard_path(s, d, out, err)
                           : nh_fail(err, "standard path: no symmetry found within %g Å (%s)", symprec,
                                     spg_get_error_message(spg_get_error_code()));
    if (d != NULL) spg_free_dataset(d);
    free(position);
    free(element);
    if (status != 0) nh_kpath_free(out);
    return status;
}

void nh_kpath_free(nh_kpath *p)
{
    free(p->node);
    *p = (nh_kpath){0};
}

char *nh_kpath_text(const nh_kpath *p)
{
    const size_t size = 64 + p->count * (NH_K_LABEL + 1);
    char *text = malloc(size);
    if (text == NULL) return NULL;
    int at = snprintf(text, size, "%s (%d), lattice %s:", p->international, p->space_group, p->lattice);
    for (size_t i = 0; i < p->count; i++)
        at += snprintf(text + at, size - (size_t)at, "%s%s", i > 0 && p->node[i - 1].jump ? "|" : " ",
                       p->node[i].label);
    return text;
}
