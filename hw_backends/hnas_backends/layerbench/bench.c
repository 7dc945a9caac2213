/* See bench.h. */
#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE
#include "bench.h"
#include "device.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

typedef struct {
    const Op *first;
    float **buffers;
} Run;

/* Buffer 0 is never written, so that repeated runs see the same numbers (and do not drift to denormals). */
static const float *run(const Run *r) {
    const float *result = NULL;
    for (const Op *o = r->first; o; o = o->next) {
        op_run(o, r->buffers);
        result = r->buffers[o->to];
    }
    __asm__ volatile("" ::"r"(result) : "memory");
    return result;
}

static uint64_t time_of(const Run *r, long inner) {
    uint64_t start = now_ns();
    for (long i = 0; i < inner; i++) run(r);
    return now_ns() - start;
}

static void print_result(const float *result, Map out) {
    size_t n = count(out);
    double sum = 0, size = 0, mix = 0;
    float weight[256];
    for (size_t i = 0; i < n; i++) {
        if (i % 256 == 0) fill(weight, 256, 5, (uint32_t)i);
        sum += result[i];
        size += result[i] < 0 ? -result[i] : result[i];
        mix += (double)result[i] * weight[i % 256];
    }
    printf("\"out\":[%d,%d,%d],\"sum\":%.9g,\"abs\":%.9g,\"mix\":%.9g,\"first\":%.9g,\"last\":%.9g", out.c, out.h,
           out.w, sum, size, mix, result[0], result[n - 1]);
}

/* Runs that fill a sample: found by trying, since the first runs are slow. What fills it is tried twice: something else
 * may have run in the meantime, and samples would be too short ever after. */
static long inner_runs(const Run *r, const Plan *plan) {
    if (plan->flush) return 1;
    for (long inner = 1;;) {
        uint64_t t = time_of(r, inner);
        if (t >= plan->sample_ns) {
            t = time_of(r, inner);
            if (t >= plan->sample_ns) return inner;
        }
        double factor = t ? 1.1 * (double)plan->sample_ns / (double)t : 10;
        inner = (long)((double)inner * (factor > 10 ? 10 : factor)) + 1;
    }
}

static void flush(char *bytes, size_t n) {
    for (size_t i = 0; i < n; i += 32) bytes[i]++;
    __asm__ volatile("" ::"r"(bytes) : "memory");
}

int bench(const char *id, const Op *first, int buffers, const Plan *plan, int core) {
    size_t largest = 0;
    Map out = first->out;
    for (const Op *o = first; o; o = o->next) {
        out = o->out;
        if (count(out) > largest) largest = count(out);
    }
    Run r = {first, alloc(buffers * sizeof *r.buffers)};
    uint64_t *ns = alloc(plan->samples * sizeof *ns);
    char *bytes = plan->flush ? alloc(plan->flush) : NULL;
    int ok = r.buffers && ns && (bytes || !plan->flush);
    for (int b = 0; ok && b < buffers; b++) ok = !!(r.buffers[b] = alloc((b ? largest : count(first->in)) * 4));
    if (ok) {
        fill(r.buffers[0], count(first->in), 1, 0);
        printf("{\"id\":");
        print_text(id);
        putchar(',');
        print_result(run(&r), out);

        uint64_t start = now_ns();
        for (int i = 1; i < 3 || now_ns() - start < plan->warm_ns; i++) run(&r);
        long inner = inner_runs(&r, plan);

        struct rusage before, after;
        getrusage(RUSAGE_SELF, &before);
        int n = 0;
        for (start = now_ns(); n < plan->samples && (n < 3 || now_ns() - start < plan->limit_ns); n++) {
            if (bytes) flush(bytes, plan->flush);
            ns[n] = time_of(&r, inner);
        }
        getrusage(RUSAGE_SELF, &after);

        printf(",\"inner\":%ld,\"nivcsw\":%ld,\"majflt\":%ld,", inner, after.ru_nivcsw - before.ru_nivcsw,
               after.ru_majflt - before.ru_majflt);
        if (core < 0) printf("\"cpu\":null,");
        else printf("\"cpu\":%d,", core);
        print_sensors(core);
        for (int i = 0; i < n; i++) printf("%s%llu", i ? "," : ",\"ns\":[", (unsigned long long)ns[i]);
        printf("]}\n");
    }
    for (int b = 0; r.buffers && b < buffers; b++) free(r.buffers[b]);
    free(r.buffers);
    free(ns);
    free(bytes);
    return ok ? 0 : -1;
}
