#include "base/yaml.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

static nh_yaml *parse(const char *text)
{
    nh_yaml *y = NULL;
    nh_error err = {""};
    if (nh_yaml_parse(text, "t.yaml", &y, &err) != 0) fail_msg("%s", err.text);
    return y;
}

static void tree_with_lines(void **state)
{
    (void)state;
    nh_yaml *y = parse("# comment\n"
                       "seed: 1\n"
                       "loss:\n"
                       "  lambda: {h: 0.5, trace: 2}\n"
                       "  ranges: [[0, 2], [2, 4.5]]\n"
                       "files:\n"
                       "- a.nc\n"
                       "- 'b c.nc'\n");
    assert_int_equal(y->kind, NH_YAML_MAP);
    assert_int_equal(y->count, 3);
    assert_string_equal(y->key[2], "files");
    const nh_yaml *loss = nh_yaml_find(y, "loss");
    assert_int_equal(loss->line, 3);
    const nh_yaml *lambda = nh_yaml_find(loss, "lambda");
    assert_int_equal(lambda->line, 4);
    assert_string_equal(nh_yaml_find(lambda, "trace")->text, "2");
    const nh_yaml *ranges = nh_yaml_find(loss, "ranges");
    assert_int_equal(ranges->kind, NH_YAML_LIST);
    assert_int_equal(ranges->count, 2);
    assert_string_equal(ranges->item[1]->item[1]->text, "4.5");
    const nh_yaml *files = nh_yaml_find(y, "files");
    assert_int_equal(files->line, 6);
    assert_string_equal(files->item[1]->text, "b c.nc");
    assert_int_equal(files->item[1]->line, 8);
    assert_null(nh_yaml_find(y, "file"));
    assert_null(nh_yaml_find(files, "a.nc"));
    assert_null(nh_yaml_find(NULL, "a.nc"));
    nh_yaml_free(y);
    nh_yaml_free(NULL);
}

static void empty_documents(void **state)
{
    (void)state;
    nh_yaml *y = parse("");
    assert_int_equal(y->kind, NH_YAML_MAP);
    assert_int_equal(y->count, 0);
    nh_yaml_free(y);
    y = parse("# nothing but a comment\n");
    assert_int_equal(y->count, 0);
    nh_yaml_free(y);
}

static void values(void **state)
{
    (void)state;
    nh_yaml *y = parse("a: 5e-4\nb: 1e-6\nc: .5\nd: -3.\ne: +7\nt1: true\nt2: Yes\nf1: FALSE\nf2: no\n"
                       "text: 'x: y'\nnumber: -12\n");
    nh_error err = {""};
    double x = 0;
    static const struct {
        const char *key;
        double value;
    } reals[] = {{"a", 5e-4}, {"b", 1e-6}, {"c", 0.5}, {"d", -3}, {"e", 7}, {"number", -12}};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        assert_int_equal(nh_yaml_get_real(y, "t", reals[i].key, &x, &err), 0);
        assert_true(x == reals[i].value);
    }
    bool b = false;
    assert_int_equal(nh_yaml_get_bool(y, "t", "t1", &b, &err), 0);
    assert_true(b);
    b = false;
    assert_int_equal(nh_yaml_get_bool(y, "t", "t2", &b, &err), 0);
    assert_true(b);
    assert_int_equal(nh_yaml_get_bool(y, "t", "f1", &b, &err), 0);
    assert_false(b);
    b = true;
    assert_int_equal(nh_yaml_get_bool(y, "t", "f2", &b, &err), 0);
    assert_false(b);
    const char *text = NULL;
    assert_int_equal(nh_yaml_get_text(y, "t", "text", &text, &err), 0);
    assert_string_equal(text, "x: y");
    long n = 0;
    assert_int_equal(nh_yaml_get_long(y, "t", "number", &n, &err), 0);
    assert_int_equal(n, -12);
    /* What is not there keeps its default. */
    assert_int_equal(nh_yaml_get_long(y, "t", "absent", &n, &err), 0);
    assert_int_equal(nh_yaml_get_real(y, "t", "absent", &x, &err), 0);
    assert_int_equal(nh_yaml_get_bool(y, "t", "absent", &b, &err), 0);
    assert_int_equal(nh_yaml_get_text(y, "t", "absent", &text, &err), 0);
    assert_int_equal(n, -12);
    nh_yaml_free(y);
}

static void wrong_types(void **state)
{
    (void)state;
    nh_yaml *y = parse("a: 1.5x\nb: [1]\nc: {d: 1}\nd: maybe\ne: 1.5\nf:\ng: 99999999999999999999\nh: nan\n"
                       "i: 1e999\nj: 0x10\n");
    nh_error err;
    double x = 42;
    long n = 42;
    bool b = true;
    const char *text = NULL;
    assert_int_equal(nh_yaml_get_real(y, "t", "a", &x, &err), -1);
    assert_string_equal(err.text, "t:1: a: number expected, found '1.5x'");
    assert_int_equal(nh_yaml_get_real(y, "t", "b", &x, &err), -1);
    assert_string_equal(err.text, "t:2: b: number expected, found a list");
    assert_int_equal(nh_yaml_get_text(y, "t", "c", &text, &err), -1);
    assert_string_equal(err.text, "t:3: c: text expected, found a map");
    assert_int_equal(nh_yaml_get_bool(y, "t", "d", &b, &err), -1);
    assert_string_equal(err.text, "t:4: d: true or false expected, found 'maybe'");
    assert_int_equal(nh_yaml_get_bool(y, "t", "b", &b, &err), -1);
    assert_int_equal(nh_yaml_get_long(y, "t", "e", &n, &err), -1);
    assert_string_equal(err.text, "t:5: e: integer expected, found '1.5'");
    assert_int_equal(nh_yaml_get_long(y, "t", "f", &n, &err), -1);
    assert_string_equal(err.text, "t:6: f: integer expected, found ''");
    assert_int_equal(nh_yaml_get_long(y, "t", "g", &n, &err), -1);
    assert_int_equal(nh_yaml_get_real(y, "t", "h", &x, &err), -1);
    assert_int_equal(nh_yaml_get_real(y, "t", "i", &x, &err), -1);
    assert_int_equal(nh_yaml_get_real(y, "t", "j", &x, &err), -1);
    assert_true(x == 42 && n == 42 && b && text == NULL);
    nh_yaml_free(y);
}

static void unknown_keys(void **state)
{
    (void)state;
    static const char *const known[] = {"seed", "epochs", NULL};
    nh_error err;
    nh_yaml *y = parse("seed: 1\nepochs: 3\n");
    assert_int_equal(nh_yaml_check_keys(y, "t", known, &err), 0);
    nh_yaml_free(y);
    y = parse("seed: 1\nepoch:\n  - 3\n");
    assert_int_equal(nh_yaml_check_keys(y, "t", known, &err), -1);
    assert_string_equal(err.text, "t:2: unknown key epoch");
    nh_yaml_free(y);
}

static void bad_documents(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a: 1\nb: 2\na: 3\n", "t.yaml:3: key a stands twice (first in line 1)"},
        {"a: &x 1\nb: 2\n", "t.yaml:1: anchors (&name) are not supported"},
        {"b: 1\na: *x\n", "t.yaml:2: aliases (*name) are not supported"},
        {"a: !!int 1\n", "t.yaml:1: tags (!name) are not supported"},
        {"? [a, b]\n: 1\n", "t.yaml:1: plain text expected as a key"},
        {"a: 1\n---\nb: 1\n", "t.yaml:2: one document expected, found a second"},
        {"a: \"x\\0y\"\n", "t.yaml:1: NUL character in a value"},
        {"\"x\\0y\": 1\n", "t.yaml:1: NUL character in a key"},
        {"a: 1\nb: [1, 2\n", "t.yaml:3: did not find expected ',' or ']' while parsing a flow sequence"},
        {"a: 1\n\tb: 2\n", NULL},
        {"a: 1\nb: 2\nc: \xff\n", "t.yaml:3: invalid leading UTF-8 octet"},
        {"a: 1\nb: 'x\n", NULL},
        {"a: b: c\n", NULL},
        {"a: 1\n  b: 2\n", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nh_yaml *y = NULL;
        nh_error err = {""};
        assert_int_equal(nh_yaml_parse(cases[i].text, "t.yaml", &y, &err), -1);
        assert_null(y);
        assert_int_equal(strncmp(err.text, "t.yaml:", 7), 0);
        assert_null(strchr(err.text, '\n'));
        if (cases[i].message != NULL) assert_string_equal(err.text, cases[i].message);
    }
}

static void depth_is_limited(void **state)
{
    (void)state;
    char text[20001];
    nh_yaml *y = NULL;
    nh_error err;
    for (int i = 0; i < 20; i++) {
        text[i] = '[';
        text[20 + i] = ']';
    }
    text[40] = '\0';
    assert_int_equal(nh_yaml_parse(text, "t", &y, &err), 0);
    nh_yaml_free(y);
    memset(text, '[', 20000);
    text[20000] = '\0';
    assert_int_equal(nh_yaml_parse(text, "t", &y, &err), -1);
    assert_string_equal(err.text, "t:1: more than 32 levels");
}

/* A text cut anywhere is either a shorter valid document or an error, never a crash or a leak. */
static void cut_anywhere(void **state)
{
    (void)state;
    static const char full[] =
        "a: {b: [1, 'x', \"y\\n\"], c: {d: e}}\nf:\n  - g: 1\n    h: |\n      text\n  - i\n";
    char text[sizeof full];
    for (size_t n = 0; n < sizeof full; n++) {
        memcpy(text, full, n);
        text[n] = '\0';
        nh_yaml *y = NULL;
        nh_error err;
        int status = nh_yaml_parse(text, "t", &y, &err);
        assert_true((status == 0) == (y != NULL));
        nh_yaml_free(y);
    }
}

/* Getters with bounds: what is inside is taken, what is outside is an error with the line and leaves the value alone. */
static void bounded_values(void **state)
{
    (void)state;
    static const char *const words[] = {"adam", "adamw", NULL}, *const known[] = {"a", NULL};
    nh_yaml *y = parse(
        "real: 0.5\nedge: 1\nsize: 12\nminus: -3\nword: adamw\nother: sgd\nmemory: 1.5 gb\n"
        "wrong: 3 apples\nbelow: -1 MB\nname: x/y.nc\nroot: /z.nc\nnone: ''\nmap: {a: 1}\nodd: {b: 1}\n");
    nh_error err;
    double real = 7;
    size_t size = 7;
    int word = 7;
    const nh_yaml *map = y;
    char *path = NULL;
    assert_int_equal(nh_yaml_get_real_in(y, "t", "absent", 0, 1, true, &real, &err), 0);
    assert_int_equal(nh_yaml_get_size(y, "t", "absent", 0, 1, &size, &err), 0);
    assert_int_equal(nh_yaml_get_choice(y, "t", "absent", words, &word, &err), 0);
    assert_int_equal(nh_yaml_get_bytes(y, "t", "absent", &real, &err), 0);
    assert_int_equal(nh_yaml_get_path(y, "t", "absent", "/f", &path, &err), 0);
    assert_int_equal(nh_yaml_get_map(y, "t", "absent", known, &map, &err), 0);
    assert_true(real == 7 && size == 7 && word == 7 && path == NULL && map == NULL);

    assert_int_equal(nh_yaml_get_real_in(y, "t", "edge", 0, 1, true, &real, &err), -1);
    assert_string_equal(err.text, "t:2: edge: 1 found, a number between 0 and 1 expected");
    assert_int_equal(nh_yaml_get_real_in(y, "t", "edge", 1, INFINITY, true, &real, &err), -1);
    assert_string_equal(err.text, "t:2: edge: 1 found, a finite number > 1 expected");
    assert_int_equal(nh_yaml_get_size(y, "t", "size", 0, 11, &size, &err), -1);
    assert_string_equal(err.text, "t:3: size: 12 found, a number from 0 to 11 expected");
    assert_int_equal(nh_yaml_get_size(y, "t", "minus", 0, SIZE_MAX, &size, &err), -1);
    assert_int_equal(nh_yaml_get_choice(y, "t", "other", words, &word, &err), -1);
    assert_string_equal(err.text, "t:6: other: 'sgd' found, adam or adamw expected");
    assert_int_equal(nh_yaml_get_bytes(y, "t", "wrong", &real, &err), -1);
    assert_int_equal(nh_yaml_get_bytes(y, "t", "below", &real, &err), -1);
    assert_int_equal(nh_yaml_get_map(y, "t", "odd", known, &map, &err), -1);
    assert_int_equal(nh_yaml_get_map(y, "t", "size", known, &map, &err), -1);
    assert_true(real == 7 && size == 7 && word == 7);

    assert_int_equal(nh_yaml_get_real_in(y, "t", "real", 0, 1, true, &real, &err), 0);
    assert_true(real == 0.5);
    assert_int_equal(nh_yaml_get_real_in(y, "t", "edge", 0, 1, false, &real, &err), 0);
    assert_true(real == 1);
    assert_int_equal(nh_yaml_get_size(y, "t", "size", 12, 12, &size, &err), 0);
    assert_int_equal(size, 12);
    assert_int_equal(nh_yaml_get_choice(y, "t", "word", words, &word, &err), 0);
    assert_int_equal(word, 1);
    assert_int_equal(nh_yaml_get_bytes(y, "t", "memory", &real, &err), 0);
    assert_true(real == 1.5e9);
    assert_int_equal(nh_yaml_get_map(y, "t", "map", known, &map, &err), 0);
    assert_int_equal(map->count, 1);
    assert_int_equal(nh_yaml_get_path(y, "t", "name", "/f", &path, &err), 0);
    assert_string_equal(path, "/f/x/y.nc");
    assert_int_equal(nh_yaml_get_path(y, "t", "root", "/f", &path, &err), 0);
    assert_string_equal(path, "/z.nc");
    assert_int_equal(nh_yaml_get_path(y, "t", "none", "/f", &path, &err), 0);
    assert_null(path);
    assert_int_equal(nh_yaml_line(y, "size"), 3);
    nh_yaml_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_with_lines), cmocka_unit_test(empty_documents),  cmocka_unit_test(values),
        cmocka_unit_test(wrong_types),     cmocka_unit_test(bounded_values),   cmocka_unit_test(unknown_keys),
        cmocka_unit_test(bad_documents),   cmocka_unit_test(depth_is_limited), cmocka_unit_test(cut_anywhere),
    };
    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
