/* Convolution: windows are copied into panels of NR pixels (im2col, a block at a time) and multiplied by panels of MR
 * output channels, packed once. Blocks of KC x NC stay in the second-level cache, a panel of pixels in the first. */
#include "gemm.h"
#include <string.h>

#define KC 256
#define NC (NR * 8)

static float block[KC * NC] __attribute__((aligned(64)));

#if VL > 2
typedef float vec __attribute__((vector_size(VL * 4), aligned(VL * 4)));

static inline void micro(int kc, const float *restrict a, const float *restrict b, float *restrict tile) {
    vec left[MR], right[MR];
    for (int i = 0; i < MR; i++) left[i] = right[i] = (vec){0};
    for (int k = 0; k < kc; k++, a += MR, b += NR) {
        vec b0 = *(const vec *)b, b1 = *(const vec *)(b + VL);
#pragma GCC unroll 8
        for (int i = 0; i < MR; i++) {
            left[i] += a[i] * b0;
            right[i] += a[i] * b1;
        }
    }
    for (int i = 0; i < MR; i++) {
        *(vec *)(tile + i * NR) = left[i];
        *(vec *)(tile + i * NR + VL) = right[i];
    }
}
#else
static inline void micro(int kc, const float *restrict a, const float *restrict b, float *restrict tile) {
    float sums[MR][NR] = {{0}};
    for (int k = 0; k < kc; k++, a += MR, b += NR) {
#pragma GCC unroll 4
        for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
            for (int j = 0; j < NR; j++) sums[i][j] += a[i] * b[j];
    }
    memcpy(tile, sums, sizeof sums);
}
#endif

static int panels(int n, int width) { return (n + width - 1) / width; }

size_t conv_packed(const Op *o) {
    int taken = o->in.c / o->groups * o->kernel * o->kernel, rows = panels(o->out.c / o->groups, MR);
    return (size_t)o->groups * rows * MR * taken;
}

void conv_pack(const Op *o) {
    int taken = o->in.c / o->groups * o->kernel * o->kernel, given = o->out.c / o->groups, rows = panels(given, MR);
    float *to = o->packed;
    for (int g = 0; g < o->groups; g++)
        for (int m = 0; m < rows; m++)
            for (int k = 0; k < taken; k++)
                for (int i = 0; i < MR; i++, to++) {
                    int row = m * MR + i;
                    *to = row < given ? o->weight[((size_t)g * given + row) * taken + k] : 0.f;
                }
}

/* The pixels that weight (r, q) of one channel meets at outputs (y, x) and the n - 1 after it; 0 in the padding. */
static void gather(const Op *o, const float *channel, int r, int q, int y, int x, int n, float *to) {
    for (; n > 0; y++, x = 0) {
        int end = x + n < o->out.w ? x + n : o->out.w, iy = y * o->stride - o->padding + r * o->dilation;
        n -= end - x;
        if ((unsigned)iy >= (unsigned)o->in.h) {
            for (; x < end; x++) *to++ = 0.f;
            continue;
        }
        const float *from = channel + (size_t)iy * o->in.w;
        int shift = q * o->dilation - o->padding, hi = o->hi[q] < end ? o->hi[q] : end;
        for (; x < end && x < o->lo[q]; x++) *to++ = 0.f;
        if (o->stride == 1)
            for (; x < hi; x++) *to++ = from[x + shift];
        else if (o->stride == 2)
            for (; x < hi; x++) *to++ = from[2 * x + shift];
        else
            for (; x < hi; x++) *to++ = from[x * o->stride + shift];
        for (; x < end; x++) *to++ = 0.f;
    }
}

/* Fill `block` with the windows of n pixels from the n0-th, weights k0 to k0 + kc. */
static void pack_windows(const Op *o, const float *in, int n0, int n, int k0, int kc) {
    int area = o->kernel * o->kernel, width = panels(n, NR), y = n0 / o->out.w, x = n0 % o->out.w;
    int c = k0 / area, r = k0 % area / o->kernel, q = k0 % o->kernel;
    float row[NC] __attribute__((aligned(64))) = {0};
    for (int k = 0; k < kc; k++) {
        gather(o, in + (size_t)c * o->in.h * o->in.w, r, q, y, x, n, row);
        for (int j = 0; j < width; j++) memcpy(block + ((size_t)j * kc + k) * NR, row + j * NR, NR * sizeof(float));
        if (++q == o->kernel) {
            q = 0;
            if (++r == o->kernel) { r = 0; c++; }
        }
    }
}

/* Add a tile to its place in the output; the first one of a pixel brings the bias along. */
static void store(const float *tile, float *out, size_t row, int rows, int columns, int first, const float *bias) {
    for (int i = 0; i < rows; i++, tile += NR, out += row) {
        float b = bias ? bias[i] : 0.f;
        if (first && columns == NR)
            for (int j = 0; j < NR; j++) out[j] = tile[j] + b;
        else if (first)
            for (int j = 0; j < columns; j++) out[j] = tile[j] + b;
        else
            for (int j = 0; j < columns; j++) out[j] += tile[j];
    }
}

static void product(const Op *o, const float *packed, const float *in, const float *bias, float *out) {
    int taken = o->in.c / o->groups * o->kernel * o->kernel, given = o->out.c / o->groups, pixels = o->out.h * o->out.w;
    float tile[MR * NR] __attribute__((aligned(64)));
    for (int n0 = 0; n0 < pixels; n0 += NC) {
        int n = pixels - n0 < NC ? pixels - n0 : NC;
        for (int k0 = 0; k0 < taken; k0 += KC) {
            int kc = taken - k0 < KC ? taken - k0 : KC;
            pack_windows(o, in, n0, n, k0, kc);
            for (int j = 0; j < n; j += NR)
                for (int m = 0; m < given; m += MR) {
                    micro(kc, packed + (size_t)m * taken + (size_t)k0 * MR, block + (size_t)j * kc, tile);
                    store(tile, out + (size_t)m * pixels + n0 + j, pixels, given - m < MR ? given - m : MR,
                          n - j < NR ? n - j : NR, k0 == 0, bias ? bias + m : NULL);
                }
        }
    }
}

/* Each output reads one channel: too thin for a product of matrices. */
static void depthwise(const Op *o, const float *input, float *out) {
    int k = o->kernel, s = o->stride, w = o->out.w, d = o->dilation, given = o->out.c / o->groups;
    for (int c = 0; c < o->out.c; c++) {
        const float *in = input + (size_t)(c / given) * o->in.h * o->in.w;
        for (int y = 0; y < o->out.h; y++, out += w) {
            for (int x = 0; x < w; x++) out[x] = o->shift ? o->shift[c] : 0.f;
            for (int r = 0; r < k; r++) {
                int iy = y * s - o->padding + r * d;
                if ((unsigned)iy >= (unsigned)o->in.h) continue;
                for (int q = 0; q < k; q++) {
                    const float *from = in + (size_t)iy * o->in.w;
                    float weight = o->weight[((size_t)c * k + r) * k + q];
                    int shift = q * d - o->padding;
                    if (s == 1)
                        for (int x = o->lo[q]; x < o->hi[q]; x++) out[x] += weight * from[x + shift];
                    else
                        for (int x = o->lo[q]; x < o->hi[q]; x++) out[x] += weight * from[x * s + shift];
                }
            }
        }
    }
}

void conv_run(const Op *o, const float *in, float *out) {
    if (o->groups == o->in.c && o->groups > 1) {
        depthwise(o, in, out);
        return;
    }
    int given = o->out.c / o->groups, area = o->kernel * o->kernel;
    size_t step = (size_t)panels(given, MR) * MR * (o->in.c / o->groups) * area;
    for (int g = 0; g < o->groups; g++)
        product(o, o->packed + g * step, in + (size_t)g * (o->in.c / o->groups) * o->in.h * o->in.w,
                o->shift ? o->shift + (size_t)g * given : NULL, out + (size_t)g * given * o->out.h * o->out.w);
}
