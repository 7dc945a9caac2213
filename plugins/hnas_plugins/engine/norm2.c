// The double backward of norm.c's functions: a file of its own, so that both are compiled at the same time.

#include "norm.h"

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

#define VARIANT(ACT, POOL) backward2_##ACT##_##POOL
#define DEFINE(ACT, POOL)                                                                                              \
  NOINLINE void VARIANT(ACT, POOL)(const REAL *v, const REAL *ca, const REAL *cb, const REAL *gy, const REAL *x,       \
                                   const uint8_t *corner, const REAL *gamma, const REAL *beta, const REAL *mean,       \
                                   const REAL *rstd, REAL *ggy, REAL *gx, REAL *dgamma, REAL *dbeta, REAL *scratch,    \
                                   double *sums, int N, int H, int W, int C) {                                         \
    backward2(ACT, POOL, v, ca, cb, gy, x, corner, gamma, beta, mean, rstd, ggy, gx, dgamma, dbeta, scratch, sums, N,  \
              H, W, C);                                                                                                \
  }
VARIANTS(DEFINE)
int norm_backward2(const REAL *v, const REAL *ca, const REAL *cb, const REAL *gy, const REAL *x, const uint8_t *corner,
                   const REAL *gamma, const REAL *beta, const REAL *mean, const REAL *rstd, REAL *ggy, REAL *gx,
                   REAL *dgamma, REAL *dbeta, int G, int N, int H, int W, int C, int act, int pool) {
  static void (*const table[][2])(const REAL *, const REAL *, const REAL *, const REAL *, const REAL *, const uint8_t *,
                                  const REAL *, const REAL *, const REAL *, const REAL *, REAL *, REAL *, REAL *,
                                  REAL *, REAL *, double *, int, int, int, int) = {VARIANTS(TABLE_ROW)};
  double *sums = malloc(5 * (long)C * sizeof(double) + 18 * (long)C * sizeof(REAL));
  if (!sums) return 1;
  REAL *scratch = (REAL *)(sums + 5 * (long)C);
  long in = (long)N * H * W * C, out = pool ? (long)N * ((H + 1) / 2) * ((W + 1) / 2) * C : in;
  for (int t = 0; t < G; t++) {
    long o = (long)t * C;
    table[act][pool != 0](v + t * in, ca + o, cb + o, gy + t * out, x + t * in, pool ? corner + t * out : 0, gamma + o,
                          beta + o, mean + o, rstd + o, ggy + t * out, gx + t * in, dgamma + o, dbeta + o, scratch,
                          sums, N, H, W, C);
  }
  free(sums);
  return 0;
}
