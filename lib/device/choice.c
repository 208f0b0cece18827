#include "device/choice.h"

#include <stdlib.h>
#include <string.h>

int nh_device_parse(const char *text, nh_device_choice *out)
{
    *out = (nh_device_choice){.kind = NH_DEVICE_CPU};
    if (strcmp(text, "cpu") == 0) return 0;
    if (strncmp(text, "auto", 4) == 0) {
        out->kind = NH_DEVICE_AUTO;
        text += 4;
    } else if (strncmp(text, "cuda", 4) == 0) {
        out->kind = NH_DEVICE_CUDA;
        text += 4;
        for (char before = ':'; text[0] == before && text[1] >= '0' && text[1] <= '9'; before = ',') {
            char *end;
            const long index = strtol(text + 1, &end, 10);
            if (index > 1023 || out->n_index == NH_MOST_DEVICES) return -1;
            for (size_t i = 0; i < out->n_index; i++)
                if (out->index[i] == (int)index) return -1;
            out->index[out->n_index++] = (int)index;
            text = end;
        }
    } else {
        return -1;
    }
    out->tf32 = strcmp(text, ",tf32") == 0;
    return text[0] == '\0' || out->tf32 ? 0 : -1;
}

static int expected(const char *form, const char *text, nh_error *err)
{
    return nh_fail(err, "cpu, auto or %s expected, found '%s'", form, text);
}

int nh_device_check_one(const char *text, nh_error *err)
{
    nh_device_choice c;
    if (nh_device_parse(text, &c)) return expected("cuda[:I][,tf32]", text, err);
    return c.n_index > 1 ? nh_fail(err, "one device expected, found '%s'", text) : 0;
}

int nh_device_check_several(const char *text, nh_error *err)
{
    nh_device_choice c;
    return nh_device_parse(text, &c) ? expected("cuda[:I[,J]...][,tf32]", text, err) : 0;
}
