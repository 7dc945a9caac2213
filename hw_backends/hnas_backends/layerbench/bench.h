/* How a network, or a single operation, is timed. */
#ifndef BENCH_H
#define BENCH_H
#include "ops.h"

typedef struct {
    int samples;
    uint64_t sample_ns;                     /* a sample repeats it until it lasts this long */
    uint64_t limit_ns;                      /* no more samples after this time, but three at least */
    uint64_t warm_ns;                       /* warm-up, of three runs at least */
    size_t flush;                           /* bytes written before each sample, of one run then, so that caches are cold */
} Plan;

/* Print the row of a network that `flow` has connected; 0, or -1 where there is no memory (nothing is printed then). */
int bench(const char *id, const Op *first, int buffers, const Plan *plan, int core);
#endif
