/* Every activation: its kind, its name in a layer's key, and what it makes of x. The order is that of
 * hnas.toolkit.activations. */
#ifndef ACTIVATIONS_H
#define ACTIVATIONS_H
#include <stdint.h>

#define SELU_SCALE 1.05070099f
#define SELU_ALPHA 1.67326324f
#define ACTIVATIONS(DO) \
    DO(RELU, "relu", above(x)) \
    DO(ELU, "elu", above(x) + (exp_of(below(x)) - 1.f)) \
    DO(SELU, "selu", SELU_SCALE * above(x) + SELU_SCALE * SELU_ALPHA * (exp_of(below(x)) - 1.f)) \
    DO(SIGMOID, "sigmoid", 1.f / (1.f + exp_of(-x))) \
    DO(RELU6, "relu6", x < 0.f ? 0.f : x > 6.f ? 6.f : x) \
    DO(LEAKYRELU, "leakyrelu", x > 0.f ? x : 0.01f * x)

/* exp within 1e-6, as a polynomial: the same on any libc, and compilers make vectors of it. */
static inline float exp_of(float x) {
    union { float f; int32_t i; } power;
    x = x < -87.f ? -87.f : x > 87.f ? 87.f : x;
    float scaled = x * 1.44269504f;
    int32_t n = (int32_t)(scaled + (scaled < 0.f ? -0.5f : 0.5f));
    float r = x - (float)n * 0.693147181f;
    power.i = (n + 127) << 23;
    return power.f * (1.f + r * (1.f + r * (0.5f + r * (0.166666667f + r * (0.0416666667f + r * (0.00833333333f + r * 0.00138888889f))))));
}

/* Sums of these instead of a choice: compilers make no vectors of a branch. */
static inline float above(float x) { return x > 0.f ? x : 0.f; }
static inline float below(float x) { return x < 0.f ? x : 0.f; }
#endif
