// The activations of the spaces: each as a function f, its slope f' and its curvature f''. NONE leaves z as it is.

#include <math.h>
#include <stdint.h>

#include "kernels.h"

// Each activation, in the order of hnas.toolkit.activations, and for none. An activation's code is its place.
#define ACTIVATIONS(DO, WITH)                                                          \
  DO(RELU, WITH) DO(ELU, WITH) DO(SELU, WITH) DO(SIGMOID, WITH) DO(RELU6, WITH)        \
  DO(LEAKYRELU, WITH) DO(NONE, WITH)
#define CODE(ACT, WITH) ACT,
enum { ACTIVATIONS(CODE, ) };
#undef CODE
#define SELU_A 1.6732632423543772848170429916717
#define SELU_L 1.0507009873554804934193349852946

#ifdef DOUBLE
#define SQRT sqrt
static inline REAL exp_neg(REAL x) { return exp(x); }
#else
#define SQRT sqrtf
// exp that compilers turn into SIMD (Cephes; relative error 2e-7). Arguments here are at most 0.
static inline REAL exp_neg(REAL x) {
  x = x < -87.0f ? -87.0f : x;
  float n = floorf(x * 1.44269504088896341f + 0.5f);
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  union { int32_t i; float f; } scale = {((int32_t)n + 127) << 23};
  return p * scale.f;
}
#endif

// f, f' and f'' of each activation at z. `a` is a compile-time constant wherever these are used, so each loop is a
// specialised one. NaN passes through f, so that a diverged task is seen.
static inline REAL activate(int a, REAL z) {
  switch (a) {
    case RELU: return z < 0 ? 0 : z;
    case ELU: { REAL e = exp_neg(z < 0 ? z : 0) - 1; return z < 0 ? e : z; }
    case SELU: { REAL e = (REAL)SELU_A * (exp_neg(z < 0 ? z : 0) - 1); return (REAL)SELU_L * (z < 0 ? e : z); }
    case SIGMOID: { REAL e = exp_neg(z < 0 ? z : -z), s = 1 / (1 + e); return z != z ? z : (z < 0 ? e * s : s); }
    case RELU6: return z < 0 ? 0 : (z > 6 ? 6 : z);
    case NONE: return z;
    default: return z < 0 ? (REAL)0.01 * z : z;
  }
}
static inline REAL slope(int a, REAL z) {
  switch (a) {
    case RELU: return z > 0 ? 1 : 0;
    case ELU: { REAL e = exp_neg(z < 0 ? z : 0); return z > 0 ? 1 : e; }
    case SELU: { REAL e = (REAL)SELU_A * exp_neg(z < 0 ? z : 0); return (REAL)SELU_L * (z > 0 ? 1 : e); }
    case SIGMOID: { REAL e = exp_neg(z < 0 ? z : -z), s = 1 / (1 + e); return e * s * s; }
    case RELU6: return (z > 0 && z < 6) ? 1 : 0;
    case NONE: return 1;
    default: return z > 0 ? 1 : (REAL)0.01;
  }
}
static inline REAL curvature(int a, REAL z) {
  switch (a) {
    case ELU: { REAL e = exp_neg(z < 0 ? z : 0); return z > 0 ? 0 : e; }
    case SELU: { REAL e = (REAL)SELU_L * (REAL)SELU_A * exp_neg(z < 0 ? z : 0); return z > 0 ? 0 : e; }
    case SIGMOID: {
      REAL e = exp_neg(z < 0 ? z : -z), s = 1 / (1 + e), d = e * s * s * (1 - e) * s;
      return z < 0 ? d : -d;
    }
    default: return 0;
  }
}
static inline int curved(int a) { return a == ELU || a == SELU || a == SIGMOID; }
