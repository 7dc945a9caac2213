/* layerbench - times single layers of neural networks, or chains of them, on the machine that it runs on.
 * C99 and libc only; linked statically it runs on any Linux of its processor.
 *
 *   layerbench --hello      one line of JSON: what was built, what the device is
 *   layerbench [OPTIONS]    for each line "ID KEY [KEY...]" on standard input one line of JSON, at once
 *
 * A KEY is a layer: conv2d-64x14x14-96x7x7-k3s2p1g1b1 is operation, input, output (channels x height x width), kernel,
 * stride, padding, groups, bias; d2 behind them is a dilation. Several keys are a network: each reads what the one
 * before gives, or what it names: add-8x7x7-8x7x7-k1s1p0g1b0@1,4 reads the results of the one before and of the fourth
 * before it.
 * Something wrong with a line gives {"id":..,"error":..}.
 *
 *   --samples N (10)        --min-us T (2000): a sample repeats the layer for so long, and for 1000 steps of the clock
 *   --max-ms T (5000)       no more samples of a layer after this time, but three at least
 *   --warm-ms T (500)       warm-up at the start, and after a pause of a second; 5 ms before other layers
 *   --cpu N                 the core to pin to; -1: none. Without it the last one that may be used
 *   --flush MB (0)          write so much memory before each sample, of one run then: cold caches
 *   --lock FILE TOKEN       one client at a time; a process that holds the lock with the same TOKEN is ended
 *   --idle S (0: never)     end where no line comes for so long
 *
 * Status: 0 end of input, 2 wrong option or no such core, 4 output lost, 5 busy, 6 idle. */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"
#include "device.h"
#include "flow.h"
#include "gemm.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROTOCOL 2
#define MAX_ID 64

static void report(const char *id, const char *error) {
    printf("{\"id\":");
    print_text(id);
    printf(",\"error\":");
    print_text(error);
    printf("}\n");
}

static Op *read_network(char *keys, char *error, size_t size) {
    Op *first = NULL, **end = &first;
    char *rest = NULL;
    uint32_t seed = 0;
    for (char *key = strtok_r(keys, " \n", &rest); key; key = strtok_r(NULL, " \n", &rest), seed += 16) {
        Op *o = op_new(key, seed, error, size);
        if (!o) {
            op_free(first);
            return NULL;
        }
        *end = o;
        end = &o->next;
    }
    if (!first) snprintf(error, size, "no layer");
    return first;
}

static void serve(char *line, const Plan *plan, int core) {
    char error[400] = "", *rest = NULL, *id = strtok_r(line, " \n", &rest);
    if (!id) return;
    if (strlen(id) > MAX_ID) id[MAX_ID] = 0;
    Op *first = read_network(rest, error, sizeof error);
    if (first) {
        int buffers = flow(first, error, sizeof error);
        if (buffers && bench(id, first, buffers, plan, core)) snprintf(error, sizeof error, "out of memory");
    }
    if (*error) report(id, error);
    op_free(first);
}

static void idle(int signal) {
    static const char words[] = "no layer came in the time that --idle allows\n";
    (void)signal;
    if (write(2, words, sizeof words - 1)) {}
    _exit(6);
}

int main(int argc, char **argv) {
    static char line[1 << 16];
    Plan plan = {10, 2000000, 5000000000u, 0, 0};
    uint64_t first_warm = 500000000, last_end = 0, step;
    int core = LAST_CORE, seconds = 0, greet = 0;
    const char *lock = NULL, *token = NULL;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--hello")) {
            greet = 1;
            continue;
        }
        if (!strcmp(name, "--lock") && i + 2 < argc) {
            lock = argv[++i];
            token = argv[++i];
            continue;
        }
        char *end = NULL;
        double value = i + 1 < argc ? strtod(argv[++i], &end) : 0;
        if (!end || *end || end == argv[i] || value < -1 || value > 1e7) name = "";
        if (!strcmp(name, "--samples") && value >= 1) plan.samples = (int)value;
        else if (!strcmp(name, "--min-us") && value >= 0) plan.sample_ns = (uint64_t)(value * 1e3);
        else if (!strcmp(name, "--max-ms") && value >= 0) plan.limit_ns = (uint64_t)(value * 1e6);
        else if (!strcmp(name, "--warm-ms") && value >= 0) first_warm = (uint64_t)(value * 1e6);
        else if (!strcmp(name, "--cpu")) core = (int)value;
        else if (!strcmp(name, "--flush") && value >= 0 && value <= 1024) plan.flush = (size_t)value << 20;
        else if (!strcmp(name, "--idle") && value >= 0) seconds = (int)value;
        else {
            fprintf(stderr, "unknown option, or a wrong value: %s\n", argv[i]);
            return 2;
        }
    }
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    long all = cores();
    core = pin(core);
    if (greet) {
        hello(PROTOCOL, SIMD, MR, NR, all, core);
        return 0;
    }
    if (lock) {
        int status = take_lock(lock, token);
        if (status) return status;
    }
    signal(SIGALRM, idle);
    step = clock_step_ns();
    if (plan.sample_ns < 1000 * step) plan.sample_ns = 1000 * step;

    while (alarm((unsigned)seconds), fgets(line, sizeof line, stdin)) {
        alarm(0);
        if (!strchr(line, '\n') && !feof(stdin)) {
            for (int c = 0; c != '\n' && c != EOF;) c = getchar();
            line[strcspn(line, " ")] = 0;
            line[MAX_ID] = 0;
            report(line, "the line is too long");
        } else {
            plan.warm_ns = !last_end || now_ns() - last_end > 1000000000u ? first_warm : 5000000;
            serve(line, &plan, core);
            last_end = now_ns();
        }
        if (fflush(stdout) || ferror(stdout)) return 4;
    }
    return 0;
}
