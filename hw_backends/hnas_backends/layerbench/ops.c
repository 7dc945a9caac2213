/* The operations, their weights, and how a layer's key is read. */
#define _POSIX_C_SOURCE 200809L
#include "ops.h"
#include "gemm.h"
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME(kind, name, result) name,
static const char *const names[] = {"conv2d",   "linear", "norm",   "max_pool",
                                    "avg_pool", "add",    "concat", ACTIVATIONS(NAME)};
#define KINDS ((int)(sizeof names / sizeof *names))

void *alloc(size_t bytes) {
    void *p = NULL;
    bytes += 64;                            /* a vector may reach over the end */
    if (posix_memalign(&p, 64, bytes)) return NULL;
    return memset(p, 0, bytes);
}

/* Numbers in [-0.5, 0.5), a hash of position and seed; oracle.py has the same. */
void fill(float *p, size_t n, uint32_t seed, uint32_t from) {
    for (size_t i = 0; i < n; i++) {
        uint32_t x = from + (uint32_t)i + seed * 0x9E3779B9u;
        x ^= x >> 16;
        x *= 0x7FEB352Du;
        x ^= x >> 15;
        x *= 0x846CA68Bu;
        x ^= x >> 16;
        p[i] = (float)(x >> 8) / 16777216.0f - 0.5f;
    }
}

static float *filled(size_t n, uint32_t seed) {
    float *p = alloc(n * sizeof(float));
    if (p) fill(p, n, seed, 0);
    return p;
}

static void linear(const Op *o, const float *in, float *out) {
    int taken = (int)count(o->in), m = 0;
    const float *w = o->weight;
    for (; m + 4 <= o->out.c; m += 4, w += 4 * (size_t)taken) {      /* four rows share what is read of the input */
        const float *w1 = w + taken, *w2 = w1 + taken, *w3 = w2 + taken;
        float s0 = 0.f, s1 = 0.f, s2 = 0.f, s3 = 0.f;
        for (int k = 0; k < taken; k++) {
            s0 += w[k] * in[k];
            s1 += w1[k] * in[k];
            s2 += w2[k] * in[k];
            s3 += w3[k] * in[k];
        }
        out[m] = s0;
        out[m + 1] = s1;
        out[m + 2] = s2;
        out[m + 3] = s3;
    }
    for (; m < o->out.c; m++, w += taken) {
        float s = 0.f;
        for (int k = 0; k < taken; k++) s += w[k] * in[k];
        out[m] = s;
    }
    if (o->shift)
        for (int i = 0; i < o->out.c; i++) out[i] += o->shift[i];
}

static void norm(const Op *o, const float *in, float *out) {
    size_t n = (size_t)o->in.h * o->in.w;
    for (int c = 0; c < o->in.c; c++, in += n, out += n) {
        float scale = o->weight[c], shift = o->shift[c];
        for (size_t i = 0; i < n; i++) out[i] = scale * in[i] + shift;
    }
}

/* A window that reaches over the edge has fewer pixels, as torch has it. */
static void max_pool(const Op *o, const float *in, float *out) {
    int k = o->kernel, s = o->stride, w = o->out.w, d = o->dilation;
    for (int c = 0; c < o->in.c; c++, in += (size_t)o->in.h * o->in.w)
        for (int y = 0; y < o->out.h; y++, out += w) {
            for (int x = 0; x < w; x++) out[x] = -FLT_MAX;
            for (int r = 0; r < k; r++) {
                int iy = y * s - o->padding + r * d;
                if ((unsigned)iy >= (unsigned)o->in.h) continue;
                const float *from = in + (size_t)iy * o->in.w;
                for (int q = 0; q < k; q++) {
                    int shift = q * d - o->padding;
                    if (s == 2)
                        for (int x = o->lo[q]; x < o->hi[q]; x++) {
                            float v = from[2 * x + shift];
                            out[x] = v > out[x] ? v : out[x];
                        }
                    else
                        for (int x = o->lo[q]; x < o->hi[q]; x++) {
                            float v = from[x * s + shift];
                            out[x] = v > out[x] ? v : out[x];
                        }
                }
            }
        }
}

/* Adaptive: output i is the mean of pixels floor(i n / m) up to ceil((i + 1) n / m). */
static void avg_pool(const Op *o, const float *in, float *out) {
    int h = o->in.h, w = o->in.w;
    for (int c = 0; c < o->in.c; c++, in += (size_t)h * w)
        for (int y = 0; y < o->out.h; y++) {
            int y0 = y * h / o->out.h, y1 = ((y + 1) * h + o->out.h - 1) / o->out.h;
            for (int x = 0; x < o->out.w; x++) {
                int x0 = x * w / o->out.w, x1 = ((x + 1) * w + o->out.w - 1) / o->out.w;
                float s = 0.f;
                for (int iy = y0; iy < y1; iy++)
                    for (int ix = x0; ix < x1; ix++) s += in[(size_t)iy * w + ix];
                *out++ = s / (float)((y1 - y0) * (x1 - x0));
            }
        }
}

/* Whether an average pooling is given by its shapes, or is windows side by side that fill the map: the same. */
static int adaptive(const Op *o) {
    int k = o->kernel, filled = o->out.h * k == o->in.h && o->out.w * k == o->in.w;
    return k == 1 || (k == o->stride && !o->padding && filled);
}

/* Windows. What lies beyond the edge counts as zeros, which is torch's default (count_include_pad). */
static void avg_windows(const Op *o, const float *in, float *out) {
    int k = o->kernel, s = o->stride, w = o->out.w;
    float share = 1.f / (float)(k * k);
    for (int c = 0; c < o->in.c; c++, in += (size_t)o->in.h * o->in.w)
        for (int y = 0; y < o->out.h; y++, out += w) {
            for (int x = 0; x < w; x++) out[x] = 0.f;
            for (int r = 0; r < k; r++) {
                int iy = y * s - o->padding + r;
                if ((unsigned)iy >= (unsigned)o->in.h) continue;
                const float *from = in + (size_t)iy * o->in.w;
                for (int q = 0; q < k; q++) {
                    int shift = q - o->padding;
                    if (s == 1)
                        for (int x = o->lo[q]; x < o->hi[q]; x++) out[x] += from[x + shift];
                    else
                        for (int x = o->lo[q]; x < o->hi[q]; x++) out[x] += from[x * s + shift];
                }
            }
            for (int x = 0; x < w; x++) out[x] *= share;
        }
}

#define EACH(result) \
    for (size_t i = 0; i < n; i++) { \
        float x = in[i]; \
        out[i] = (result); \
    } \
    break
#define CASE(kind, name, result) case kind: EACH(result);

static void compute(const Op *o, const float *restrict in, const float *restrict other, float *restrict out) {
    size_t n = count(o->in);
    switch (o->kind) {
    case CONV2D: conv_run(o, in, out); break;
    case LINEAR: linear(o, in, out); break;
    case NORM: norm(o, in, out); break;
    case MAX_POOL: max_pool(o, in, out); break;
    case AVG_POOL: (adaptive(o) ? avg_pool : avg_windows)(o, in, out); break;
    case ADD: EACH(x + other[i]);
    case CONCAT: break;                     /* see op_run */
    ACTIVATIONS(CASE)
    }
}

void op_run(const Op *o, float *const *buffers) {
    const Read *read = o->reads;
    float *out = buffers[o->to];
    if (o->kind == CONCAT) {
        for (int r = 0; r < o->n_reads; out += count(read[r++].map))
            memcpy(out, buffers[read[r].buffer], count(read[r].map) * sizeof(float));
        return;
    }
    compute(o, buffers[read->buffer], o->n_reads > 1 ? buffers[read[1].buffer] : o->weight, out);
    for (int r = 2; o->kind == ADD && r < o->n_reads; r++) {
        const float *more = buffers[read[r].buffer];
        for (size_t i = 0; i < count(o->out); i++) out[i] += more[i];
    }
}

/* Windows may reach over the edge (rounding up), but none may begin behind it. */
static int windows_fit(int in, int out, int k, int s, int p, int up) {
    int span = in + 2 * p - k;
    if (span < 0 && !up) return 0;
    int down = span < 0 ? 1 : span / s + 1;
    return out == down || (up && out == down + 1 && (out - 1) * s < in + p);
}

static const char *wrong_shape(const Op *o) {
    int same = o->in.c == o->out.c && o->in.h == o->out.h && o->in.w == o->out.w;
    const int sizes[] = {o->in.c,  o->in.h,   o->in.w,   o->out.c,  o->out.h,
                         o->out.w, o->kernel, o->stride, o->groups, o->dilation};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] < 1 || sizes[i] > 1 << 20) return "a size is not from 1 to 2^20";
    if (o->padding < 0 || o->kernel >= MAX_KERNEL || o->padding >= MAX_KERNEL * o->dilation)
        return "kernel or padding out of range";
    if (o->dilation > 1 && o->kind != CONV2D && o->kind != MAX_POOL)
        return "only a convolution or a max_pool has a dilation";
    if (o->n_reads > 1 && o->kind != ADD && o->kind != CONCAT) return "only an add or a concat reads several results";
    if ((double)o->in.c * o->in.h * o->in.w > 1e9 || (double)o->out.c * o->out.h * o->out.w > 1e9) return "map too large";
    switch (o->kind) {
    case CONV2D:
        if (o->in.c % o->groups || o->out.c % o->groups) return "groups do not divide the channels";
        if ((double)o->in.c / o->groups * o->out.c * o->kernel * o->kernel > 2.5e8) return "too many weights";
        break;
    case LINEAR:
        if ((double)count(o->in) * o->out.c > 2.5e8) return "too many weights";
        return o->out.h == 1 && o->out.w == 1 ? NULL : "a linear layer has an output of height and width 1";
    case AVG_POOL:
    case MAX_POOL:
        if (o->in.c != o->out.c) return "a pooling keeps the channels";
        if (o->kind == AVG_POOL && adaptive(o)) return NULL;
        if (o->padding * 2 > o->kernel) return "padding is more than half of the window";
        break;
    default: return same ? NULL : "input and output differ in shape";
    }
    int window = (o->kernel - 1) * o->dilation + 1;
    if (!windows_fit(o->in.h, o->out.h, window, o->stride, o->padding, o->kind == MAX_POOL) ||
        !windows_fit(o->in.w, o->out.w, window, o->stride, o->padding, o->kind == MAX_POOL))
        return "the output does not follow from input, kernel, stride and padding";
    return NULL;
}

static void window_bounds(Op *o) {
    for (int q = 0; q < o->kernel; q++) {
        int before = o->padding - q * o->dilation, behind = o->in.w - 1 + before;
        o->lo[q] = before > 0 ? (before + o->stride - 1) / o->stride : 0;
        o->hi[q] = behind < 0 ? 0 : behind / o->stride + 1;
        if (o->hi[q] > o->out.w) o->hi[q] = o->out.w;
    }
}

/* 0, or -1 when there is no memory */
static int make_weights(Op *o, uint32_t seed) {
    size_t channels = o->out.c, n = 0;
    if (o->kind == CONV2D) n = channels * (o->in.c / o->groups) * o->kernel * o->kernel;
    if (o->kind == LINEAR) n = channels * count(o->in);
    if (o->kind == NORM) n = channels;
    if (o->kind == ADD) n = count(o->in);
    if (n && !(o->weight = filled(n, seed + 7))) return -1;
    if ((o->kind == NORM || (o->bias && (o->kind == CONV2D || o->kind == LINEAR))) &&
        !(o->shift = filled(channels, seed + 8))) return -1;
    if (o->kind != CONV2D) return 0;
    if (!(o->packed = alloc(conv_packed(o) * sizeof(float)))) return -1;
    conv_pack(o);
    return 0;
}

/* What an operation reads: "@1,4", or nothing for what the one before gives. 0, or -1 if it is something else. */
static int parse_reads(Op *o, const char *text) {
    int n = 1;
    for (const char *c = text; *c; c++) n += *c == ',';
    if (!(o->reads = alloc(n * sizeof *o->reads))) return -1;
    o->n_reads = n;
    o->reads->back = 1;
    if (!*text) return 0;
    for (int r = 0; r < n; r++) {
        char *end;
        long back = *text == (r ? ',' : '@') ? strtol(text + 1, &end, 10) : 0;
        if (back < 1 || back > 1 << 20) return -1;
        o->reads[r].back = (int)back;
        text = end;
    }
    return *text ? -1 : 0;
}

Op *op_new(const char *key, uint32_t seed, char *error, size_t size) {
    char name[16];
    int kind = 0, end = 0, used = 0;
    Op *o = alloc(sizeof *o);
    if (!o) {
        snprintf(error, size, "out of memory");
        return NULL;
    }
    int read = sscanf(key, "%15[a-z0-9_]-%dx%dx%d-%dx%dx%d-k%ds%dp%dg%db%d%n", name, &o->in.c, &o->in.h, &o->in.w,
                      &o->out.c, &o->out.h, &o->out.w, &o->kernel, &o->stride, &o->padding, &o->groups, &o->bias, &end);
    o->dilation = 1;
    if (read == 12 && sscanf(key + end, "d%d%n", &o->dilation, &used) == 1) end += used;
    while (kind < KINDS && strcmp(name, names[kind])) kind++;
    if (read < 1 || kind == KINDS) {
        used = snprintf(error, size, "unknown operation %.60s; known:", key);
        for (int i = 0; i < KINDS && used < (int)size; i++) used += snprintf(error + used, size - used, " %s", names[i]);
    } else if (read != 12 || parse_reads(o, key + end)) {
        snprintf(error, size, "no layer key: %.120s", key);
    } else {
        o->kind = (enum Kind)kind;
        const char *wrong = wrong_shape(o);
        if (!wrong) {
            window_bounds(o);
            if (make_weights(o, seed)) wrong = "out of memory";
        }
        if (!wrong) return o;
        snprintf(error, size, "%s: %.120s", wrong, key);
    }
    op_free(o);
    return NULL;
}

void op_free(Op *o) {
    while (o) {
        Op *next = o->next;
        free(o->weight);
        free(o->packed);
        free(o->shift);
        free(o->reads);
        free(o);
        o = next;
    }
}
