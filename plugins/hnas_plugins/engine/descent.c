// Gradient descent on the support sets of T tasks, for convolution blocks and a classifier: the inner loop of adaption and
// of first-order training, without a graph and without Python. Nothing is kept for a second derivative,
// gradients overwrite what they are of, and the gradient of the images is not computed.
//
// Weights are [T][O][k][k][C], the classifier's [T][ways][C * places] and [T][ways]. All tasks start from the same ones:
// in the first step they share one copy, so convolutions run once over the images of all tasks.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

// Images (H, W, C), convolved to (Ho, Wo, O). They are those that block `from` gives, or the task's own (-1). Where `join`
// is not -1 this is the shortcut of a residual block: what block `join` gives is added, and `after` activates the sum.
typedef struct { int H, W, C, O, k, s, Ho, Wo, act, pool, from, join, after; } Block;

// What a block computed: z = convolution (later its gradient), y = normalised, activated and pooled (later its gradient);
// sum = what `after` activates.
typedef struct { REAL *z, *y, *sum, *mean, *rstd; uint8_t *corner; } Maps;

static long pixels_of(const Block *b) {
  return b->pool ? (long)((b->Ho + 1) / 2) * ((b->Wo + 1) / 2) : (long)b->Ho * b->Wo;
}
static long weights_of(const Block *b) { return (long)b->O * b->k * b->k * b->C; }

// w -= rate * g; at the first step w is the one that all tasks share, and each task gets its own.
static void update(REAL *w, const REAL *g, REAL rate, long size, int T, int first) {
  for (int t = T - 1; t >= 0; t--)  // the shared one is task 0's, so it comes last
    for (long i = 0; i < size; i++) w[t * size + i] = w[first ? i : t * size + i] - rate * g[t * size + i];
}

// One task's classifier: from the features (N, F) to the gradients of the mean cross-entropy. `g` is (N, ways).
static void classify(const REAL *f, const REAL *w, const REAL *b, const int64_t *y, int N, int F, int ways, REAL *g,
                     REAL *gw, REAL *gb, REAL *gf) {
  memset(gw, 0, (long)ways * F * sizeof(REAL));
  memset(gb, 0, ways * sizeof(REAL));
  memset(gf, 0, (long)N * F * sizeof(REAL));
  for (int n = 0; n < N; n++, f += F, gf += F, g += ways) {
    REAL most = -INFINITY, sum = 0;
    for (int c = 0; c < ways; c++) {
      const REAL *v = w + (long)c * F;
      REAL s = b[c];
#pragma omp simd reduction(+ : s)
      for (int i = 0; i < F; i++) s += f[i] * v[i];
      g[c] = s;
      most = s > most ? s : most;
    }
    for (int c = 0; c < ways; c++) sum += g[c] = exp(g[c] - most);
    for (int c = 0; c < ways; c++) {
      REAL d = (g[c] / sum - (c == y[n])) / N;
      const REAL *v = w + (long)c * F;
      REAL *u = gw + (long)c * F;
      gb[c] += d;
#pragma omp simd
      for (int i = 0; i < F; i++) { u[i] += d * f[i]; gf[i] += d * v[i]; }
    }
  }
}

// Features of an image: average j of channel c, sum over pixels p of averages[j][p] y[p][c], stands at c * places + j.
static void average(const REAL *averages, const REAL *y, REAL *f, int pixels, int C, int places) {
  memset(f, 0, (long)C * places * sizeof(REAL));
  for (int j = 0; j < places; j++)
    for (int p = 0; p < pixels; p++) {
      REAL a = averages[j * pixels + p];
      if (a != 0) for (int c = 0; c < C; c++) f[c * places + j] += a * y[p * C + c];
    }
}
static void spread(const REAL *averages, const REAL *gf, REAL *gy, int pixels, int C, int places) {
  memset(gy, 0, (long)C * pixels * sizeof(REAL));
  for (int j = 0; j < places; j++)
    for (int p = 0; p < pixels; p++) {
      REAL a = averages[j * pixels + p];
      if (a != 0) for (int c = 0; c < C; c++) gy[p * C + c] += a * gf[c * places + j];
    }
}

// Take `bytes` of a block of memory, or only count them where there is none yet.
static void *take(char *block, long *used, long bytes) {
  char *found = block ? block + *used : 0;
  *used += (bytes + 63) / 64 * 64;
  return found;
}

// Give every task a row of its own, which the kernels want.
static void repeat(const REAL *row, REAL *rows, int T, int C) {
  for (int t = 0; t < T; t++) memcpy(rows + (long)t * C, row, C * sizeof(REAL));
}

// x is [T][N][H][W][C], y [T][N]. weights: those of each block, then the classifier's and its bias, each for T tasks; the
// first task's hold the initial ones. norms: gamma and beta of each block, step after step. rates: [blocks + 2][steps].
// averages is [places][pixels of the last block]. Where they are wanted, and not 0, `gradients` gets each step's gradient
// of each of `weights`, [steps][T][...], and `stats` the mean and the reciprocal deviation of each block's normalisation,
// [steps][T][O]. Returns 1 where memory is short.
int descend(const REAL *x, const int64_t *y, const Block *blocks, int L, int T, int N, int ways, int steps,
            REAL *const *weights, const REAL *const *norms, const REAL *rates, const REAL *averages, int places,
            REAL *const *gradients, REAL *const *stats, double eps) {
  const Block *last = blocks + L - 1;
  int F = last->O * places, pixels = (int)pixels_of(last);
  Maps maps[L];
  REAL *g, *gw, *gamma, *beta, *dgamma, *dbeta, *f, *gf, *gb, *side;
  char *block = 0;
  for (int round = 0; round < 2; round++) {  // count, then take
    long used = 0;
    long largest = (long)ways * F, widest = 0, given = 0;
    for (int i = 0; i < L; i++) {
      const Block *b = blocks + i;
      long out = (long)T * N * pixels_of(b) * b->O;
      maps[i].z = take(block, &used, (long)T * N * b->Ho * b->Wo * b->O * sizeof(REAL));
      maps[i].y = take(block, &used, out * sizeof(REAL));
      maps[i].sum = take(block, &used, b->join < 0 ? 0 : out * sizeof(REAL));
      maps[i].corner = take(block, &used, b->pool ? out : 1);
      maps[i].mean = take(block, &used, (long)T * b->O * sizeof(REAL));
      maps[i].rstd = take(block, &used, (long)T * b->O * sizeof(REAL));
      if (weights_of(b) > largest) largest = weights_of(b);
      if (b->O > widest) widest = b->O;
      if (b->join >= 0 && b->from >= 0 && (long)b->H * b->W * b->C > given) given = (long)b->H * b->W * b->C;
    }
    side = take(block, &used, T * N * given * sizeof(REAL));
    gw = take(block, &used, T * largest * sizeof(REAL));
    gamma = take(block, &used, T * widest * sizeof(REAL));
    beta = take(block, &used, T * widest * sizeof(REAL));
    dgamma = take(block, &used, T * widest * sizeof(REAL));
    dbeta = take(block, &used, T * widest * sizeof(REAL));
    f = take(block, &used, (long)N * F * sizeof(REAL));
    gf = take(block, &used, (long)N * F * sizeof(REAL));
    g = take(block, &used, (long)N * ways * sizeof(REAL));
    gb = take(block, &used, (long)T * ways * sizeof(REAL));
    if (!block && !(block = malloc(used))) return 1;
  }
  int failed = 0;
  for (int step = 0; step < steps; step++) {
    int shared = step == 0, t = shared ? 1 : T, n = shared ? T * N : N;
    for (int i = 0; i < L; i++) {
      const Block *b = blocks + i;
      Maps *m = maps + i;
      const REAL *in = b->from < 0 ? x : maps[b->from].y;
      long k = (long)b->k * b->C;
      if (stats) {
        m->mean = stats[2 * i] + (long)step * T * b->O;
        m->rstd = stats[2 * i + 1] + (long)step * T * b->O;
      }
      failed |= conv_forward(in, weights[i], m->z, t, n, b->H, b->W, b->C, b->O, b->k, b->s, b->Ho, b->Wo, weights_of(b),
                             b->k * k, k, b->C, 1);
      repeat(norms[2 * (step * L + i)], gamma, T, b->O);
      repeat(norms[2 * (step * L + i) + 1], beta, T, b->O);
      failed |= norm_forward(m->z, gamma, beta, m->y, m->corner, m->mean, m->rstd, T, N, b->Ho, b->Wo, b->O, b->act,
                             b->pool, eps);
      if (b->join >= 0) join_forward(maps[b->join].y, m->sum, m->y, b->after, T, (long)N * pixels_of(b) * b->O);
    }
    REAL *top = maps[L - 1].y, *w = weights[L], *bias = weights[L + 1];
    REAL *dw = gradients ? gradients[L] + (long)step * T * ways * F : gw;
    REAL *db = gradients ? gradients[L + 1] + (long)step * T * ways : gb;
    for (int task = 0; task < T; task++) {
      long own = shared ? 0 : task;
      REAL *maps_of_task = top + (long)task * N * pixels * last->O;
      for (int i = 0; i < N; i++)
        average(averages, maps_of_task + (long)i * pixels * last->O, f + (long)i * F, pixels, last->O, places);
      classify(f, w + own * ways * F, bias + own * ways, y + (long)task * N, N, F, ways, g,
               dw + (long)task * ways * F, db + (long)task * ways, gf);
      for (int i = 0; i < N; i++)
        spread(averages, gf + (long)i * F, maps_of_task + (long)i * pixels * last->O, pixels, last->O, places);
    }
    update(w, dw, rates[L * steps + step], (long)ways * F, T, shared);
    update(bias, db, rates[(L + 1) * steps + step], ways, T, shared);
    int waiting = -1;  // the block, a part of whose gradient lies in `side`
    for (int i = L - 1; i >= 0; i--) {
      const Block *b = blocks + i;
      Maps *m = maps + i;
      long k = (long)b->k * b->C, images = (long)T * N * b->H * b->W * b->C;
      if (b->join >= 0) join_backward(m->sum, m->y, maps[b->join].y, b->after, T, (long)N * pixels_of(b) * b->O);
      repeat(norms[2 * (step * L + i)], gamma, T, b->O);
      repeat(norms[2 * (step * L + i) + 1], beta, T, b->O);
      failed |= norm_backward(m->y, m->z, m->corner, gamma, beta, m->mean, m->rstd, m->z, dgamma, dbeta, T, N, b->Ho,
                              b->Wo, b->O, b->act, b->pool);
      REAL *d = gradients ? gradients[i] + step * T * weights_of(b) : gw;
      REAL *in = b->from < 0 ? 0 : maps[b->from].y;
      failed |= conv_weight(in ? in : x, m->z, d, T, N, b->H, b->W, b->C, b->O, b->k, b->s, b->Ho, b->Wo);
      // A shortcut's images are needed once more, by the block's first convolution, to whose gradient its own is added.
      if (in)
        failed |= conv_data(m->z, weights[i], b->join < 0 ? in : side, t, n, b->H, b->W, b->C, b->O, b->k, b->s, b->Ho,
                            b->Wo, weights_of(b), b->k * k, k, b->C, 1);
      if (in && b->join < 0 && waiting == b->from) {
        for (long j = 0; j < images; j++) in[j] += side[j];
        waiting = -1;
      }
      if (in && b->join >= 0) waiting = b->from;
      update(weights[i], d, rates[i * steps + step], weights_of(b), T, shared);
    }
  }
  free(block);
  return failed;
}
