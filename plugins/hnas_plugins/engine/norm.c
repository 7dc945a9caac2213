// Memory-bound parts of the engine, fused: batch normalisation by batch statistics + activation (+ 2x2 max-pool), with
// backward and double backward. Compiled at first use, for float or (-DDOUBLE) double: native.py.
//
// Arrays are [G][N][H][W][C], contiguous: G independent tasks, each with its own gamma and beta [G][C].
// Notation of the derivation in norm.py: M = N*H*W rows, xh the normalised input, z = gamma*xh + beta, y = f(z).

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// A loop over channels, which are independent: said aloud, because compilers cannot prove it of pointers into one block
// of scratch space, and a loop that is not vectorised is up to ten times slower. Needs -fopenmp-simd.
#define CHANNELS _Pragma("omp simd") for (int c = 0; c < C; c++)
#define INLINE static inline __attribute__((always_inline))  // so that the activation is a constant in each loop

#include "activations.h"

#ifdef DOUBLE
#define REAL_MAX DBL_MAX
#else
#define REAL_MAX FLT_MAX
#endif

// The pooled position of input pixel (i, j) and which of its four it is.
#define POOLED(i, j) (((long)n * h + (i) / 2) * w + (j) / 2)
#define CORNER(i, j) (((i) & 1) * 2 + ((j) & 1))

// Sums over rows: at most about CHUNK rows are added up in REAL, then into doubles. Added up in one go, half a million
// floats lose four digits, and with them which side of a kink a value falls on.
#define CHUNK 64
static inline void flush(REAL *restrict part, double *restrict sum, long n) {
#pragma omp simd
  for (long c = 0; c < n; c++) { sum[c] += part[c]; part[c] = 0; }
}

// ------------------------------------------------------------------------------------------------ forward
INLINE void forward(int act, const REAL *restrict x, const REAL *gamma, const REAL *beta, REAL *restrict y,
                               uint8_t *restrict corner, REAL *mean, REAL *rstd, REAL *scratch, double *sums, int N, int H, int W,
                               int C, int pool, REAL eps) {
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
#define GZ(out)                                                                        \
  {                                                                                    \
    REAL z = p[c] * a[c] + b[c], f1 = slope(act, z);                                \
    out = pool ? (k[c] == me ? f1 * g[c] : 0) : f1 * g[c];                             \
  }
#define EACH_LINE                                                                      \
  for (int n = 0; n < N; n++)                                                          \
    for (int i = 0; i < H; i++)
#define EACH_PIXEL EACH_LINE for (int j = 0; j < W; j++)
#define PIXEL                                                                          \
  long row = ((long)n * H + i) * W + j, at = pool ? POOLED(i, j) : row;                \
  const REAL *p = x + row * C, *restrict g = gy + at * C;                     \
  const uint8_t *restrict k = pool ? corner + at * C : 0;                              \
  int me = CORNER(i, j);                                                               \
  (void)me; (void)k;
// Add up `rows` sums over all pixels: what is given adds one channel of one pixel to `parts`, which go into `sums`.
#define SUMS(rows, ...)                                                                \
  {                                                                                    \
    long since = 0;                                                                    \
    EACH_LINE {                                                                        \
      for (int j = 0; j < W; j++) { PIXEL CHANNELS { __VA_ARGS__ } }                   \
      if ((since += W) >= CHUNK) { flush(parts, sums, (long)(rows) * C); since = 0; }  \
    }                                                                                  \
    flush(parts, sums, (long)(rows) * C);                                              \
  }

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

// ------------------------------------------------------------------------------------------------ double backward
// Given cotangents v of gx, ca of dgamma and cb of dbeta, returns those of gy, x, gamma and beta (norm.py derives them).
INLINE void backward2(int act, int pool, const REAL *restrict v, const REAL *ca, const REAL *cb,
                                 const REAL *restrict gy, const REAL *restrict x, const uint8_t *restrict corner,
                                 const REAL *gamma, const REAL *beta, const REAL *mean, const REAL *rstd,
                                 REAL *restrict ggy, REAL *restrict gx, REAL *restrict dgamma, REAL *restrict dbeta,
                                 REAL *scratch, double *sums, int N, int H, int W, int C) {
  long M = (long)N * H * W;
  int h = (H + 1) / 2, w = (W + 1) / 2;
  REAL *restrict a = scratch, *restrict b = a + C, *restrict sv = b + C, *restrict svx = sv + C, *restrict sg = svx + C,
       *restrict sgx = sg + C, *restrict svg = sgx + C, *restrict k0 = svg + C, *restrict kx = k0 + C,
       *restrict kv = kx + C, *restrict kg = kv + C, *restrict c0 = kg + C, *restrict cx = c0 + C, *restrict parts = cx + C,
       *restrict pv = parts, *restrict pvx = pv + C, *restrict pg = pvx + C, *restrict pgx = pg + C,
       *restrict pvg = pgx + C;
  CHANNELS { a[c] = rstd[c] * gamma[c]; b[c] = beta[c] - mean[c] * a[c]; }
  memset(parts, 0, 5 * C * sizeof(REAL));
  memset(sums, 0, 5 * C * sizeof(double));
  memset(dgamma, 0, C * sizeof(REAL));
  memset(dbeta, 0, C * sizeof(REAL));
  SUMS(5, REAL gz; REAL d = p[c] - mean[c]; REAL t = v[row * C + c]; GZ(gz)
       pv[c] += t; pvx[c] += t * d; pg[c] += gz; pgx[c] += gz * d; pvg[c] += t * gz;)
  for (int c = 0; c < 5 * C; c++) sv[c] = (REAL)sums[c];  // sv, svx, sg, sgx and svg lie side by side
  CHANNELS {  // dgz = u v + k0 + kx x
    svx[c] *= rstd[c];
    sgx[c] *= rstd[c];
    kx[c] = (ca[c] - a[c] * svx[c] / M) * rstd[c];
    k0[c] = cb[c] - a[c] * sv[c] / M - kx[c] * mean[c];
  }
  if (curved(act)) {  // z depends on x, gamma and beta: dz = f''(z) gy dgz
    memset(sums, 0, 2 * C * sizeof(double));
    SUMS(2, REAL z = p[c] * a[c] + b[c]; REAL dgz = a[c] * v[row * C + c] + k0[c] + kx[c] * p[c];
         REAL d = curvature(act, z) * g[c] * dgz; d = pool ? (k[c] == me ? d : 0) : d;
         pv[c] += d; pvx[c] += d * (p[c] - mean[c]);)
    CHANNELS { dbeta[c] = (REAL)sums[c]; dgamma[c] = (REAL)(sums[C + c] * rstd[c]); }
  }
  CHANNELS {  // gx = kv v + kg gz + u dz + c0 + cx x
    REAL u = a[c], br = svg[c] - sv[c] * sg[c] / M - svx[c] * sgx[c] / M;
    REAL m0 = (-u / M * (sv[c] * sgx[c] + sg[c] * svx[c]) + ca[c] * sg[c] + gamma[c] * dbeta[c]) / M;
    REAL mx = (-u / M * 2 * svx[c] * sgx[c] + ca[c] * sgx[c] + gamma[c] * dgamma[c]) / M;
    kv[c] = -rstd[c] * u / M * sgx[c];
    kg[c] = rstd[c] * (ca[c] - u / M * svx[c]);
    cx[c] = -rstd[c] * (mx + u * br / M) * rstd[c];
    c0[c] = -rstd[c] * m0 - cx[c] * mean[c];
    dgamma[c] += rstd[c] * br;
  }
  EACH_PIXEL {
    PIXEL
    const REAL *restrict t = v + row * C;
    REAL *restrict o = gx + row * C, *restrict q = ggy + at * C;
    CHANNELS {
      REAL z = p[c] * a[c] + b[c], f1 = slope(act, z), dgz = a[c] * t[c] + k0[c] + kx[c] * p[c];
      REAL gz = f1 * g[c], dz = curved(act) ? curvature(act, z) * g[c] * dgz : 0, back = f1 * dgz;
      if (pool) {
        int hit = k[c] == me;
        gz = hit ? gz : 0;
        dz = hit ? dz : 0;
        q[c] = hit ? back : q[c];
      } else q[c] = back;
      o[c] = kv[c] * t[c] + kg[c] * gz + a[c] * dz + c0[c] + cx[c] * p[c];
    }
  }
}

// ------------------------------------------------------------------------------------------------ entry points
// One constant activation and pool in each call, so that the inner loops above are specialised.
#define SPECIALISE(call)                                                               \
  switch (act * 2 + (pool ? 1 : 0)) {                                                  \
    case 0: call(0, 0); break;   case 1: call(0, 1); break;                            \
    case 2: call(1, 0); break;   case 3: call(1, 1); break;                            \
    case 4: call(2, 0); break;   case 5: call(2, 1); break;                            \
    case 6: call(3, 0); break;   case 7: call(3, 1); break;                            \
    case 8: call(4, 0); break;   case 9: call(4, 1); break;                            \
    case 10: call(5, 0); break;  case 11: call(5, 1); break;                           \
    case 12: call(6, 0); break;  default: call(6, 1);                                  \
  }

int norm_forward(const REAL *x, const REAL *gamma, const REAL *beta, REAL *y, uint8_t *corner, REAL *mean,
                     REAL *rstd, int G, int N, int H, int W, int C, int act, int pool, double eps) {
  double *sums = malloc(2 * (long)C * sizeof(double) + 6 * (long)C * sizeof(REAL));
  if (!sums) return 1;
  REAL *scratch = (REAL *)(sums + 2 * (long)C);
  long in = (long)N * H * W * C, out = pool ? (long)N * ((H + 1) / 2) * ((W + 1) / 2) * C : in;
  for (int t = 0; t < G; t++) {
#define CALL(ACT, POOL)                                                                                          \
  forward(ACT, x + t * in, gamma + (long)t * C, beta + (long)t * C, y + t * out, POOL ? corner + t * out : 0, \
              mean + (long)t * C, rstd + (long)t * C, scratch, sums, N, H, W, C, POOL, (REAL)eps)
    SPECIALISE(CALL)
#undef CALL
  }
  free(sums);
  return 0;
}

int norm_backward(const REAL *gy, const REAL *x, const uint8_t *corner, const REAL *gamma, const REAL *beta,
                      const REAL *mean, const REAL *rstd, REAL *gx, REAL *dgamma, REAL *dbeta, int G, int N, int H,
                      int W, int C, int act, int pool) {
  double *sums = malloc(2 * (long)C * sizeof(double) + 6 * (long)C * sizeof(REAL));
  if (!sums) return 1;
  REAL *scratch = (REAL *)(sums + 2 * (long)C);
  long in = (long)N * H * W * C, out = pool ? (long)N * ((H + 1) / 2) * ((W + 1) / 2) * C : in;
  for (int t = 0; t < G; t++) {
    long o = (long)t * C;
#define CALL(ACT, POOL)                                                                                            \
  backward(ACT, POOL, gy + t * out, x + t * in, POOL ? corner + t * out : 0, gamma + o, beta + o, mean + o,     \
               rstd + o, gx + t * in, dgamma + o, dbeta + o, scratch, sums, N, H, W, C)
    SPECIALISE(CALL)
#undef CALL
  }
  free(sums);
  return 0;
}

int norm_backward2(const REAL *v, const REAL *ca, const REAL *cb, const REAL *gy, const REAL *x,
                       const uint8_t *corner, const REAL *gamma, const REAL *beta, const REAL *mean, const REAL *rstd,
                       REAL *ggy, REAL *gx, REAL *dgamma, REAL *dbeta, int G, int N, int H, int W, int C, int act,
                       int pool) {
  double *sums = malloc(5 * (long)C * sizeof(double) + 18 * (long)C * sizeof(REAL));
  if (!sums) return 1;
  REAL *scratch = (REAL *)(sums + 5 * (long)C);
  long in = (long)N * H * W * C, out = pool ? (long)N * ((H + 1) / 2) * ((W + 1) / 2) * C : in;
  for (int t = 0; t < G; t++) {
    long o = (long)t * C;
#define CALL(ACT, POOL)                                                                                           \
  backward2(ACT, POOL, v + t * in, ca + o, cb + o, gy + t * out, x + t * in, POOL ? corner + t * out : 0,      \
                gamma + o, beta + o, mean + o, rstd + o, ggy + t * out, gx + t * in, dgamma + o, dbeta + o, scratch, sums, \
                N, H, W, C)
    SPECIALISE(CALL)
#undef CALL
  }
  free(sums);
  return 0;
}
