/* chain.h - chains of dense layers (ops.h: nh_mlp), one text for the host (dense.c) and for devices (kernels/dense.cu). Who
 * includes it says where it runs:
 *
 *   OP(name)    the operation nh_name or nhk_name of this precision
 *   DEVICE, ON  what stands before the parameters of functions, and before the arguments of their calls: nothing, or the
 *               device and a comma
 *
 * and defines the functions that are declared here without a body. The layers of `hidden`, one after another: activation
 * [n][width], normalised sum [n][width], scale [n]. Of `kept`, for values and tangents: activation and its tangent [2n][width],
 * normalised sum and its tangent [2n][width], scale [n], mean of (tangent of the sum) times (normalised sum) [n]. */

/* Layer i of the chain; its bias acts on the first n_bias rows. */
static void layer_forward(DEVICE const R(nh_mlp) *m, size_t i, size_t n, size_t n_bias, const real *x,
                          bool add, real *y);
static void layer_backward(DEVICE const R(nh_mlp) *m, size_t i, size_t n, const real *gy, const real *x,
                           real *gx, bool add, real *gw, real *gbias);
/* The activation s of the sum h, which becomes the normalised one, after layer i; back, in place: the gradient of the sum from
 * that of the activation. ggain and gshift are added to, or NULL. */
static void hidden_forward(DEVICE const R(nh_mlp) *m, size_t i, size_t n, real *h, real *s, real *scale);
static void hidden_backward(DEVICE const R(nh_mlp) *m, size_t i, size_t n, const real *h, const real *scale,
                            real *g, real *ggain, real *gshift);
/* The same with tangents in the second halves of h, s and g. */
static void both_forward(DEVICE const R(nh_mlp) *m, size_t i, size_t n, real *h, real *s, real *scale,
                         real *slope);
static void both_backward(DEVICE const R(nh_mlp) *m, size_t i, size_t n, const real *h, const real *scale,
                          const real *slope, real *g, real *ggain, real *gshift);
/* Gradients of the last map's input and weights from gy and gdy as nh_mlp_jvp_backward takes them; NULL: not wanted. */
static void last_both_backward(DEVICE const R(nh_mlp) *m, size_t n, const real *gy, const real *gdy,
                               const real *x, real *gx, real *gw, real *gbias);

size_t OP(mlp_hidden_size)(const R(nh_mlp) *m)
{
    size_t size = 0;
    for (size_t i = 1; i < m->layers; i++)
        size += 2 * m->width[i] + 1;
    return size;
}

size_t OP(mlp_jvp_size)(const R(nh_mlp) *m)
{
    return 2 * OP(mlp_hidden_size)(m);
}

const real *OP(mlp_last_hidden)(const R(nh_mlp) *m, size_t n, const real *hidden)
{
    size_t before = 0;
    for (size_t i = 1; i + 1 < m->layers; i++)
        before += 2 * m->width[i] + 1;
    return hidden + n * before;
}

static size_t widest_hidden(const R(nh_mlp) *m)
{
    size_t widest = 0;
    for (size_t i = 1; i < m->layers; i++)
        if (m->width[i] > widest) widest = m->width[i];
    return widest;
}

/* Element i of a table of gradients that may be absent. */
static real *entry(real **table, size_t i)
{
    return table != NULL ? table[i] : NULL;
}

void OP(mlp_forward)(DEVICE const R(nh_mlp) *m, size_t n, const real *x, real *hidden, real *y, bool add)
{
    const size_t last = m->layers - 1;
    if (n == 0) return;
    for (size_t i = 0; i < last; i++) {
        const size_t width = m->width[i + 1];
        real *s = hidden, *h = s + n * width, *scale = h + n * width;
        layer_forward(ON m, i, n, n, x, false, h);
        hidden_forward(ON m, i, n, h, s, scale);
        hidden = scale + n;
        x = s;
    }
    if (y != NULL) layer_forward(ON m, last, n, n, x, add, y);
}

void OP(mlp_input_gradient)(DEVICE const R(nh_mlp) *m, size_t n, real *g, const real *hidden, real *scratch,
                            real *gx)
{
    if (n == 0) return;
    hidden += n * OP(mlp_hidden_size)(m);
    for (size_t i = m->layers - 1; i-- > 0;) {
        const size_t width = m->width[i + 1];
        const real *scale = hidden - n, *h = scale - n * width;
        real *to = i == 0 ? gx : scratch;
        hidden = h - n * width;
        hidden_backward(ON m, i, n, h, scale, g, NULL, NULL);
        layer_backward(ON m, i, n, g, NULL, to, false, NULL, NULL);
        scratch = g;
        g = to;
    }
}

void OP(mlp_backward)(DEVICE const R(nh_mlp) *m, size_t n, const real *gy, const real *x, const real *hidden,
                      real *scratch, real *gx, bool add, const R(nh_mlp_gradient) *gradient)
{
    const R(nh_mlp_gradient) none = {NULL, NULL, NULL, NULL}, *to = gradient != NULL ? gradient : &none;
    const size_t last = m->layers - 1;
    if (n == 0) return;
    real *g = scratch, *other = scratch + n * widest_hidden(m);
    layer_backward(ON m, last, n, gy, last > 0 ? OP(mlp_last_hidden)(m, n, hidden) : x, last > 0 ? g : gx,
                   last > 0 ? false : add, entry(to->weight, last), entry(to->bias, last));
    hidden += n * OP(mlp_hidden_size)(m);
    for (size_t i = last; i-- > 0;) {
        const size_t width = m->width[i + 1], below = m->width[i];
        const real *scale = hidden - n, *h = scale - n * width;
        hidden = h - n * width;
        hidden_backward(ON m, i, n, h, scale, g, entry(to->gain, i), entry(to->shift, i));
        /* below this layer in `hidden`: activation, sum and scale of the layer before */
        const real *input = i == 0 ? x : hidden - n * (2 * below + 1);
        layer_backward(ON m, i, n, g, input, i == 0 ? gx : other, i == 0 ? add : false, entry(to->weight, i),
                       entry(to->bias, i));
        real *swap = g;
        g = other;
        other = swap;
    }
}

void OP(mlp_jvp_forward)(DEVICE const R(nh_mlp) *m, size_t n, const real *x, real *kept, real *y)
{
    const size_t last = m->layers - 1;
    if (n == 0) return;
    for (size_t i = 0; i < last; i++) {
        const size_t half = n * m->width[i + 1];
        real *s = kept, *h = s + 2 * half, *scale = h + 2 * half, *slope = scale + n;
        layer_forward(ON m, i, 2 * n, n, x, false, h);
        both_forward(ON m, i, n, h, s, scale, slope);
        kept = slope + n;
        x = s;
    }
    if (y != NULL) layer_forward(ON m, last, 2 * n, n, x, false, y);
}

void OP(mlp_jvp_backward)(DEVICE const R(nh_mlp) *m, size_t n, const real *gy, const real *gdy, const real *x,
                          const real *kept, real *scratch, real *gx, const R(nh_mlp_gradient) *gradient)
{
    const R(nh_mlp_gradient) none = {NULL, NULL, NULL, NULL}, *to = gradient != NULL ? gradient : &none;
    const size_t last = m->layers - 1;
    if (n == 0) return;
    real *g = scratch, *other = scratch + 2 * n * widest_hidden(m);
    kept += n * OP(mlp_jvp_size)(m);
    last_both_backward(ON m, n, gy, gdy, last > 0 ? kept - n * (4 * m->width[last] + 2) : x,
                       last > 0 ? g : gx, entry(to->weight, last), entry(to->bias, last));
    for (size_t i = last; i-- > 0;) {
        const size_t width = m->width[i + 1], below = m->width[i], half = n * width;
        const real *slope = kept - n, *scale = slope - n, *h = scale - 2 * half;
        real *bias = entry(to->bias, i);
        kept = h - 2 * half;
        both_backward(ON m, i, n, h, scale, slope, g, entry(to->gain, i), entry(to->shift, i));
        const real *input = i == 0 ? x : kept - n * (4 * below + 2);
        layer_backward(ON m, i, 2 * n, g, input, i == 0 ? gx : other, false, entry(to->weight, i), NULL);
        if (bias != NULL) OP(column_sums)(ON n, width, width, g, NULL, bias);
        real *swap = g;
        g = other;
        other = swap;
    }
}
