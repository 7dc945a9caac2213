// The three products of a convolution, channels-last: y = F(x, w), gx = D(gy, w), gw = W(x, gy). Each is one matrix
// product whose left side is never laid out: the micro-kernel reads patches where they lie, in a zero-padded copy of a
// few images that stays in cache (an indirect GEMM, as in XNNPACK). So nothing is computed that is multiplied by zero,
// the gradient of a strided convolution included, and no patches are written. Compiled with norm.c: native.py.
//
// x is [T][N][H][W][C], y [T][N][Ho][Wo][O], both contiguous; w has strides (task, o, row, column, c), in numbers.

#include <stdlib.h>
#include <string.h>

#include "tile.h"

#define GROUP (48 * 1024)  // numbers in the padded copy of a group of images: less than half of a usual L2 cache
#define DEPTH 256  // pixels added up by one call of the micro-kernel in W

// Copy B images [H][W][C] with a border of zeros.
static void pad(const REAL *restrict x, REAL *restrict out, int B, int H, int W, int C, int border) {
  long side = (long)border * C, line = (long)W * C + 2 * side, edge = border * line;
  for (int n = 0; n < B; n++) {
    memset(out, 0, edge * sizeof(REAL));
    out += edge;
    for (int i = 0; i < H; i++, x += (long)W * C, out += line) {
      memset(out, 0, side * sizeof(REAL));
      memcpy(out + side, x, (long)W * C * sizeof(REAL));
      memset(out + side + (long)W * C, 0, side * sizeof(REAL));
    }
    memset(out, 0, edge * sizeof(REAL));
    out += edge;
  }
}

// The pixels that one window slides over, in a group of images: where each one's window starts and its result goes.
typedef struct { int n, *from, *to; } Pixels;

static void products(Pixels p, const REAL *x, const int *runs, int n_runs, int length, const REAL *w, REAL *y, int O,
                     REAL *spare) {
  for (int o = 0; o < O; o += COLUMNS, w += (long)n_runs * length * COLUMNS) {
    int n = least(COLUMNS, O - o);
    for (int t = 0; t < p.n; t += ROWS) {
      const REAL *a[ROWS];
      REAL *c[ROWS];
      for (int m = 0; m < ROWS; m++) {
        int q = least(t + m, p.n - 1);
        a[m] = x + p.from[q];
        c[m] = t + m < p.n ? y + (long)p.to[q] * O + o : spare;
      }
      TILE(n, a, runs, n_runs, length, 1, w, COLUMNS, c, n, 0);
    }
  }
}

typedef struct { int H, W, C, O, k, s, Ho, Wo, border, Hp, Wp, group; } Shape;

// `x` is padded by `border` on each side; a group is as many images as fit.
static Shape shape_of(int N, int H, int W, int C, int O, int k, int s, int Ho, int Wo, int border, int padded_h,
                      int padded_w, int padded_c) {
  Shape g = {H, W, C, O, k, s, Ho, Wo, border, padded_h + 2 * border, padded_w + 2 * border, 1};
  long image = (long)g.Hp * g.Wp * padded_c;
  g.group = image < GROUP ? (int)(GROUP / image) : 1;
  if (g.group > N) g.group = N;
  return g;
}

// Where windows of F and W start in a group of padded images.
static void windows(const Shape *g, int *from) {
  for (int n = 0; n < g->group; n++)
    for (int i = 0; i < g->Ho; i++)
      for (int j = 0; j < g->Wo; j++) *from++ = ((n * g->Hp + i * g->s) * g->Wp + j * g->s) * g->C;
}

int conv_forward(const REAL *x, const REAL *w, REAL *y, int T, int N, int H, int W, int C, int O, int k, int s, int Ho,
                 int Wo, long wt, long wo, long wy, long wx, long wc) {
  Shape g = shape_of(N, H, W, C, O, k, s, Ho, Wo, k / 2, H, W, C);
  int map = Ho * Wo, K = k * k * C, blocks = round_up(O, COLUMNS);
  long padded = (long)g.group * g.Hp * g.Wp * C, packed = (long)blocks * K;
  REAL *memory = malloc((padded + packed + COLUMNS) * sizeof(REAL) + ((long)2 * g.group * map + k) * sizeof(int));
  if (!memory) return 1;
  REAL *copy = memory, *pack = copy + padded, *spare = pack + packed;
  int *runs = (int *)(spare + COLUMNS), *from = runs + k, *to = from + g.group * map;
  for (int r = 0; r < k; r++) runs[r] = r * g.Wp * C;
  windows(&g, from);
  for (int i = 0; i < g.group * map; i++) to[i] = i;
  for (int t = 0; t < T; t++) {
    REAL *q = pack;
    for (int o = 0; o < blocks; o += COLUMNS)
      for (int a = 0; a < k; a++)
        for (int b = 0; b < k; b++)
          for (int c = 0; c < C; c++, q += COLUMNS) {
            const REAL *v = w + t * wt + o * wo + a * wy + b * wx + c * wc;
            int n = least(COLUMNS, O - o);
            if (n == COLUMNS) for (int i = 0; i < COLUMNS; i++) q[i] = v[i * wo];
            else for (int i = 0; i < COLUMNS; i++) q[i] = i < n ? v[i * wo] : 0;
          }
    for (int n = 0; n < N; n += g.group) {
      int images = least(g.group, N - n);
      const REAL *source = x + (long)(t * (long)N + n) * H * W * C;
      if (g.border) pad(source, copy, images, H, W, C, g.border);
      products((Pixels){images * map, from, to}, g.border ? copy : source, runs, k, k * C, pack,
               y + (t * (long)N + n) * map * O, O, spare);
    }
  }
  free(memory);
  return 0;
}

// One class of input pixels, those at (row, column) modulo the stride: what of the kernel meets them, last tap first.
typedef struct { int first_y, taps_y, first_x, taps_x, rows, columns; } Class;

// How many of k taps there are from the first one on, s apart.
static int taps(int first, int k, int s) { return first < k ? (k - 1 - first) / s + 1 : 0; }

static Class class_of(const Shape *g, int row, int column) {
  int p = g->k / 2, a = (row + p) % g->s, b = (column + p) % g->s;
  return (Class){a, taps(a, g->k, g->s), b, taps(b, g->k, g->s),
                 (g->H - row + g->s - 1) / g->s, (g->W - column + g->s - 1) / g->s};
}

// How far windows over an output of `outputs` reach past its ends, when they slide over `inputs` pixels.
static int reach(int inputs, int outputs, int k, int s) {
  int most = 0;
  for (int e = 0; e < s; e++) {
    int first = (e + k / 2) % s, at = (e + k / 2 - first) / s;
    int before = taps(first, k, s) - 1 - at, after = at + (inputs - e + s - 1) / s - outputs;
    if (before > most) most = before;
    if (after > most) most = after;
  }
  return most;
}

int conv_data(const REAL *gy, const REAL *w, REAL *gx, int T, int N, int H, int W, int C, int O, int k, int s, int Ho,
              int Wo, long wt, long wo, long wy, long wx, long wc) {
  int reach_y = reach(H, Ho, k, s), reach_x = reach(W, Wo, k, s);
  Shape g = shape_of(N, H, W, C, O, k, s, Ho, Wo, reach_y > reach_x ? reach_y : reach_x, Ho, Wo, O);
  int blocks = round_up(C, COLUMNS), pixels = g.group * ((H + s - 1) / s) * ((W + s - 1) / s), half = k / 2;
  long padded = (long)g.group * g.Hp * g.Wp * O, packed = (long)blocks * k * k * O;
  REAL *memory = malloc((padded + packed + COLUMNS) * sizeof(REAL) + ((long)2 * s * s * pixels + k * s * s) * sizeof(int));
  if (!memory) return 1;
  REAL *copy = memory, *pack = copy + padded, *spare = pack + packed;
  int *runs = (int *)(spare + COLUMNS), *from = runs + k * s * s, *to = from + s * s * pixels;
  for (int e = 0; e < s * s; e++) {
    Class d = class_of(&g, e / s, e % s);
    int *f = from + e * pixels, *u = to + e * pixels;
    for (int n = 0; n < g.group; n++)
      for (int i = 0; i < d.rows; i++)
        for (int j = 0; j < d.columns; j++) {  // the output that the last tap of this pixel belongs to
          int y = (i * s + e / s + half - d.first_y) / s - (d.taps_y - 1) + g.border;
          int z = (j * s + e % s + half - d.first_x) / s - (d.taps_x - 1) + g.border;
          *f++ = ((n * g.Hp + y) * g.Wp + z) * O;
          *u++ = (n * H + i * s + e / s) * W + j * s + e % s;
        }
    for (int r = 0; r < d.taps_y; r++) runs[e * k + r] = r * g.Wp * O;
  }
  for (int t = 0; t < T; t++) {
    REAL *q = pack;
    for (int e = 0; e < s * s; e++) {
      Class d = class_of(&g, e / s, e % s);
      for (int c = 0; c < blocks; c += COLUMNS)
        for (int a = d.taps_y - 1; a >= 0; a--)
          for (int b = d.taps_x - 1; b >= 0; b--)
            for (int o = 0; o < O; o++, q += COLUMNS) {
              const REAL *v = w + t * wt + o * wo + (d.first_y + a * s) * wy + (d.first_x + b * s) * wx + c * wc;
              int n = least(COLUMNS, C - c);
              if (n == COLUMNS && wc == 1) memcpy(q, v, COLUMNS * sizeof(REAL));
              else for (int i = 0; i < COLUMNS; i++) q[i] = i < n ? v[i * wc] : 0;
            }
    }
    for (int n = 0; n < N; n += g.group) {
      int images = least(g.group, N - n);
      const REAL *source = gy + (long)(t * (long)N + n) * Ho * Wo * O, *p = pack;
      REAL *target = gx + (t * (long)N + n) * H * W * C;
      if (g.border) pad(source, copy, images, Ho, Wo, O, g.border);
      for (int e = 0; e < s * s; e++) {
        Class d = class_of(&g, e / s, e % s);
        int number = images * d.rows * d.columns;
        products((Pixels){number, from + e * pixels, to + e * pixels}, g.border ? copy : source, runs + e * k,
                 d.taps_y, d.taps_x * O, p, target, C, spare);
        p += (long)blocks * d.taps_y * d.taps_x * O;
      }
    }
  }
  free(memory);
  return 0;
}

// W for many channels: gy and what it meets are packed, DEPTH pixels at a time. w is [T][O][k][k][C].
static void weight_packed(const Shape *g, int pixels, const REAL *x, const int *from, const REAL *gy, REAL *w,
                          REAL *left, REAL *right, REAL *spare) {
  int O = g->O, L = g->k * g->C, K = g->k * L, zero = 0;
  for (int p = 0; p < pixels; p += DEPTH) {
    int depth = least(DEPTH, pixels - p);
    for (int o = 0; o < O; o += ROWS) {
      REAL *q = left + (long)o * DEPTH;
      const REAL *v = gy + (long)p * O + o;
      if (o + ROWS <= O) for (int d = 0; d < depth; d++, q += ROWS, v += O) memcpy(q, v, ROWS * sizeof(REAL));
      else
        for (int d = 0; d < depth; d++, v += O)
          for (int m = 0; m < ROWS; m++) *q++ = o + m < O ? v[m] : 0;
    }
    for (int r = 0; r < g->k; r++)
      for (int l = 0; l < L; l += COLUMNS) {
        int n = least(COLUMNS, L - l);
        for (int d = 0; d < depth; d++) {
          const REAL *v = x + from[p + d] + r * g->Wp * g->C + l;
          for (int i = 0; i < NV; i++) *(vec *)(right + d * COLUMNS + i * VL) = *(const vec *)(v + i * VL);
        }
        for (int o = 0; o < O; o += ROWS) {
          const REAL *a[ROWS];
          REAL *c[ROWS];
          for (int m = 0; m < ROWS; m++) {
            a[m] = left + (long)o * DEPTH + m;
            c[m] = o + m < O ? w + (long)(o + m) * K + r * L + l : spare;
          }
          TILE(n, a, &zero, 1, depth, ROWS, right, COLUMNS, c, n, 1);
        }
      }
  }
}

// W for few channels: rows of the tile are places in the window, columns are filters. w is [k*k*C][O].
static void weight_direct(const Shape *g, int lines, const REAL *x, const int *starts, const REAL *gy, REAL *w,
                          REAL *spare) {
  int O = g->O, L = g->k * g->C, K = g->k * L, many = 4096 / (g->Wo * O) + 1;
  for (int i = 0; i < lines; i += many)
    for (int o = 0; o < O; o += COLUMNS)
      for (int l = 0; l < K; l += ROWS) {
        int n = least(COLUMNS, O - o);
        const REAL *a[ROWS];
        REAL *c[ROWS];
        for (int m = 0; m < ROWS; m++) {
          int q = least(l + m, K - 1);
          a[m] = x + q / L * g->Wp * g->C + q % L;
          c[m] = l + m < K ? w + (long)q * O + o : spare;
        }
        TILE(n, a, starts + i, least(many, lines - i), g->Wo, (long)g->s * g->C, gy + (long)i * g->Wo * O + o, O, c, n, 1);
      }
}

int conv_weight(const REAL *x, const REAL *gy, REAL *w, int T, int N, int H, int W, int C, int O, int k, int s, int Ho,
                int Wo) {
  Shape g = shape_of(N, H, W, C, O, k, s, Ho, Wo, k / 2, H, W, C);
  int map = Ho * Wo, K = k * k * C, direct = k * C < COLUMNS;
  long padded = (long)g.group * g.Hp * g.Wp * C + COLUMNS, left = direct ? (long)K * O : (long)round_up(O, ROWS) * DEPTH;
  long right = direct ? 0 : DEPTH * COLUMNS, whole = (long)g.group * map * O + COLUMNS;
  REAL *memory = malloc((padded + left + right + COLUMNS + whole) * sizeof(REAL) + (long)g.group * map * sizeof(int));
  if (!memory) return 1;
  REAL *copy = memory, *l = copy + padded, *r = l + left, *spare = r + right;
  int *from = (int *)(spare + COLUMNS + whole);
  windows(&g, from);
  if (direct) for (int i = 0; i < g.group * Ho; i++) from[i] = from[i * Wo];
  for (int t = 0; t < T; t++) {
    REAL *target = w + (long)t * K * O;
    memset(direct ? l : target, 0, (long)K * O * sizeof(REAL));
    for (int n = 0; n < N; n += g.group) {
      int images = least(g.group, N - n);
      const REAL *source = x + (long)(t * (long)N + n) * H * W * C, *back = gy + (t * (long)N + n) * map * O;
      pad(source, copy, images, H, W, C, g.border);
      if (direct) {
        if (O % COLUMNS) back = memcpy(spare + COLUMNS, back, (long)images * map * O * sizeof(REAL));
        weight_direct(&g, images * Ho, copy, from, back, l, spare);
      } else weight_packed(&g, images * map, copy, from, back, target, l, r, spare);
    }
    if (direct)
      for (int o = 0; o < O; o++)
        for (int i = 0; i < K; i++) target[(long)o * K + i] = l[(long)i * O + o];
  }
  free(memory);
  return 0;
}
