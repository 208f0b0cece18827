/* YAML: any document, the architecture of a network, the settings of a training; what is written is read again. */
#include "base/yaml.h"
#include "nextham/config.h"
#include "nextham/parameters.h"
#include "tests/fuzz/fuzz.h"
#include "training/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void not_read_back(const nh_error *err, const char *text)
{
    fprintf(stderr, "not read back: %s\n%s\n", err->text, text);
    abort();
}

void fuzz_yaml(const uint8_t *data, size_t size)
{
    enum { SHELLS = 12, IRREPS = 10, BLOCKS = 6 }; /* of tables that are worth their time */
    nh_error err;
    nh_yaml *y;
    nh_config c;
    char *text = fuzz_text(data, size);
    if (!nh_yaml_parse(text, "f", &y, &err)) nh_yaml_free(y);
    const int failure = nh_config_parse(text, "f", &c, &err);
    free(text);
    if (failure) return;
    char *again = nh_config_text(&c);
    if (again != NULL) {
        nh_config second;
        if (nh_config_parse(again, "again", &second, &err)) not_read_back(&err, again);
        nh_config_free(&second);
    }
    free(again);
    nh_params p;
    if (c.n_shell <= SHELLS && c.mid.count <= IRREPS && c.blocks < BLOCKS && !nh_params_new(&c, &p, &err))
        nh_params_free(&p);
    nh_config_free(&c);
}

/* What follows a NUL byte is the argument of one --set. */
void fuzz_settings(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    const size_t n = zero != NULL ? (size_t)(zero - data) : size;
    char *set = zero != NULL ? fuzz_text(zero + 1, size - n - 1) : NULL;
    const char *const sets[1] = {set};
    nh_error err;
    nh_settings s;
    bool from_command_line;
    const int failure =
        nh_settings_read(fuzz_file_on_disk(0, data, n), zero != NULL, sets, &s, &from_command_line, &err);
    free(set);
    if (failure) return;
    (void)!nh_settings_check(&s, "f", &err);
    if (s.has_network && !nh_settings_ablate(&s, &s.network, &err)) {
        char *text = nh_settings_text(&s, &s.network);
        nh_settings again;
        if (text != NULL) {
            if (nh_settings_read(fuzz_file_on_disk(0, text, strlen(text)), 0, NULL, &again,
                                 &from_command_line, &err))
                not_read_back(&err, text);
            nh_settings_free(&again);
        }
        free(text);
    }
    nh_settings_free(&s);
}
