// Memory-bound parts of the engine, fused: batch normalisation by batch statistics + activation (+ 2x2 max-pool), with
// its backward. Compiled at first use, for float or (-DDOUBLE) double: native.py.

#include "norm.h"

// ------------------------------------------------------------------------------------------------ forward
INLINE void forward(int act, int pool, const REAL *restrict x, const REAL *gamma, const REAL *beta, REAL *restrict y,
                               uint8_t *restrict corner, REAL *mean, REAL *rstd, REAL *scratch, double *sums, int N, int H, int W,
                               int C, REAL eps) {
  long M = (long)N * H * W;
  REAL *restrict s = scratch, *restrict q = s + C, *restrict a = q + C, *restrict b = a + C;
  memset(s, 0, 2 * C * sizeof(REAL));
  memset(sums, 0, 2 * C * sizeof(double));
  for (long start = 0; start < M; start += CHUNK) {  // sums of x - x[0]: one pass that does not cancel
    for (long r = start; r < M && r < start + CHUNK; r++) {
      const REAL *p = x + r * C;
      CHANNELS { REAL d = p[c] - x[c]; s[c] += d; q[c] += d * d; }
    }
    flush(s, sums, 2 * C);
  }
  CHANNELS {
    double m = sums[c] / M, v = sums[C + c] / M - m * m;
    v = v < 0 ? 0 : v;
    mean[c] = (REAL)(m + x[c]);
    rstd[c] = v <= REAL_MAX ? (REAL)(1 / sqrt(v + eps)) : NAN;  // squares that overflow: 0 would hide a diverged task
    a[c] = rstd[c] * gamma[c];
    b[c] = beta[c] - mean[c] * a[c];
  }
  if (!pool) {
    for (long r = 0; r < M; r++) {
      const REAL *p = x + r * C;
      REAL *o = y + r * C;
      CHANNELS o[c] = activate(act, p[c] * a[c] + b[c]);
    }
    return;
  }
  int h = (H + 1) / 2, w = (W + 1) / 2;
  for (int n = 0; n < N; n++)
    for (int i = 0; i < H; i += 2)
      for (int j = 0; j < W; j += 2) {
        REAL *restrict o = y + POOLED(i, j) * C;
        uint8_t *restrict k = corner + POOLED(i, j) * C;
        CHANNELS k[c] = 0;
        const REAL *p = x + (((long)n * H + i) * W + j) * C;
        CHANNELS o[c] = p[c] * a[c] + b[c];
        for (int e = 1; e < 4; e++) {
          if (i + e / 2 >= H || j + e % 2 >= W) continue;
          p = x + (((long)n * H + i + e / 2) * W + j + e % 2) * C;
          CHANNELS {
            REAL z = p[c] * a[c] + b[c];
            int up = z > o[c] || z != z;
            o[c] = up ? z : o[c];
            k[c] = up ? e : k[c];
          }
        }
        CHANNELS o[c] = activate(act, o[c]);
      }
}

// ------------------------------------------------------------------------------------------------ backward
// gz = f'(z) gy (where pooled: at the winning corner only); dbeta = sum gz; dgamma = sum gz xh;
// gx = u (gz - dbeta/M - xh dgamma/M), u = gamma rstd.
// gx may be x itself: each number of x is read before the one of gx is written in its place.
INLINE void backward(int act, int pool, const REAL *restrict gy, const REAL *x,
                                const uint8_t *restrict corner, const REAL *gamma, const REAL *beta, const REAL *mean,
                                const REAL *rstd, REAL *gx, REAL *restrict dgamma, REAL *restrict dbeta,
                                REAL *scratch, double *sums, int N, int H, int W, int C) {
  long M = (long)N * H * W;
  int h = (H + 1) / 2, w = (W + 1) / 2;
  REAL *restrict a = scratch, *restrict b = a + C, *restrict A = b + C, *restrict B = A + C, *restrict parts = B + C,
       *restrict pg = parts, *restrict pb = pg + C;
  CHANNELS { a[c] = rstd[c] * gamma[c]; b[c] = beta[c] - mean[c] * a[c]; }
  memset(parts, 0, 2 * C * sizeof(REAL));
  memset(sums, 0, 2 * C * sizeof(double));
  SUMS(2, REAL gz; GZ(gz) pb[c] += gz; pg[c] += gz * (p[c] - mean[c]);)
  CHANNELS {
    dgamma[c] = (REAL)(sums[c] * rstd[c]);
    dbeta[c] = (REAL)sums[C + c];
    B[c] = -a[c] * dgamma[c] / M * rstd[c];
    A[c] = -a[c] * dbeta[c] / M - B[c] * mean[c];
  }
  EACH_PIXEL {
    PIXEL
    REAL *restrict o = gx + row * C;
    CHANNELS { REAL gz; GZ(gz) o[c] = a[c] * gz + A[c] + B[c] * p[c]; }
  }
}

// ------------------------------------------------------------------------------------------------ entry points
#define VARIANT(ACT, POOL) forward_##ACT##_##POOL
#define DEFINE(ACT, POOL)                                                                                              \
  NOINLINE void VARIANT(ACT, POOL)(const REAL *x, const REAL *gamma, const REAL *beta, REAL *y, uint8_t *corner,       \
                                   REAL *mean, REAL *rstd, REAL *scratch, double *sums, int N, int H, int W, int C,    \
                                   REAL eps) {                                                                         \
    forward(ACT, POOL, x, gamma, beta, y, corner, mean, rstd, scratch, sums, N, H, W, C, eps);                         \
  }
VARIANTS(DEFINE)
int norm_forward(const REAL *x, const REAL *gamma, const REAL *beta, REAL *y, uint8_t *corner, REAL *mean, REAL *rstd,
                 int G, int N, int H, int W, int C, int act, int pool, double eps) {
  static void (*const table[][2])(const REAL *, const REAL *, const REAL *, REAL *, uint8_t *, REAL *, REAL *, REAL *,
                                  double *, int, int, int, int, REAL) = {VARIANTS(TABLE_ROW)};
  double *sums = malloc(2 * (long)C * sizeof(double) + 6 * (long)C * sizeof(REAL));
  if (!sums) return 1;
  REAL *scratch = (REAL *)(sums + 2 * (long)C);
  long in = (long)N * H * W * C, out = pool ? (long)N * ((H + 1) / 2) * ((W + 1) / 2) * C : in;
  for (int t = 0; t < G; t++) {
    long o = (long)t * C;
    table[act][pool != 0](x + t * in, gamma + o, beta + o, y + t * out, pool ? corner + t * out : 0, mean + o, rstd + o,
                          scratch, sums, N, H, W, C, (REAL)eps);
  }
  free(sums);
  return 0;
}
#undef VARIANT
#undef DEFINE

#define VARIANT(ACT, POOL) backward_##ACT##_##POOL
#define DEFINE(ACT, POOL)                                                                                              \
  NOINLINE void VARIANT(ACT, POOL)(const REAL *gy, const REAL *x, const uint8_t *corner, const REAL *gamma,            \
                                   const REAL *beta, const REAL *mean, const REAL *rstd, REAL *gx, REAL *dgamma,       \
                                   REAL *dbeta, REAL *scratch, double *sums, int N, int H, int W, int C) {             \
    backward(ACT, POOL, gy, x, corner, gamma, beta, mean, rstd, gx, dgamma, dbeta, scratch, sums, N, H, W, C);         \
  }
VARIANTS(DEFINE)
int norm_backward(const REAL *gy, const REAL *x, const uint8_t *corner, const REAL *gamma, const REAL *beta,
                  const REAL *mean, const REAL *rstd, REAL *gx, REAL *dgamma, REAL *dbeta, int G, int N, int H, int W,
                  int C, int act, int pool) {
  static void (*const table[][2])(const REAL *, const REAL *, const uint8_t *, const REAL *, const REAL *, const REAL *,
                                  const REAL *, REAL *, REAL *, REAL *, REAL *, double *, int, int, int,
                                  int) = {VARIANTS(TABLE_ROW)};
  double *sums = malloc(2 * (long)C * sizeof(double) + 6 * (long)C * sizeof(REAL));
  if (!sums) return 1;
  REAL *scratch = (REAL *)(sums + 2 * (long)C);
  long in = (long)N * H * W * C, out = pool ? (long)N * ((H + 1) / 2) * ((W + 1) / 2) * C : in;
  for (int t = 0; t < G; t++) {
    long o = (long)t * C;
    table[act][pool != 0](gy + t * out, x + t * in, pool ? corner + t * out : 0, gamma + o, beta + o, mean + o,
                          rstd + o, gx + t * in, dgamma + o, dbeta + o, scratch, sums, N, H, W, C);
  }
  free(sums);
  return 0;
}
