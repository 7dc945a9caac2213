/* See flow.h. Value 0 is the network's input, value n what the n-th operation gives. */
#include "flow.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct { Map map; int last, buffer; } Value;        /* `last`: the operation, from 1, that reads it last */

static int takes(const Op *o, Map m) {
    if (o->kind == LINEAR) return count(m) == count(o->in);
    return (m.c == o->in.c || o->kind == CONCAT) && m.h == o->in.h && m.w == o->in.w;
}

/* Find the shapes of what each operation reads, and the last reader of each value. 0, or the number of the first
 * operation that fits nothing, or less the number of one that nothing reads. */
static int connect(Op *first, int n, Value *values) {
    int i = 1;
    values[0].map = first->in;
    for (Op *o = first; o; o = o->next, i++) {
        int64_t channels = 0;
        for (Read *r = o->reads; r < o->reads + o->n_reads; r++) {
            if (r->back > i || !takes(o, values[i - r->back].map)) return i;
            Value *v = values + (i - r->back);
            channels += (r->map = v->map).c;
            v->last = i;
        }
        if (o->kind == CONCAT && channels != o->in.c) return i;
        values[i].map = o->out;
        values[i].last = i;
    }
    for (i = 1; i < n; i++)
        if (values[i].last == i) return -i;
    return 0;
}

/* Give each value the first buffer that holds nothing still to be read: for a chain, two in turn. */
static int place(Op *first, Value *values, int *held) {
    int buffers = 1, i = 1;
    for (Op *o = first; o; o = o->next, i++) {
        int b = 1;
        while (b < buffers && held[b] >= i) b++;
        if (b == buffers) buffers++;
        for (int r = 0; r < o->n_reads; r++) o->reads[r].buffer = values[i - o->reads[r].back].buffer;
        o->to = values[i].buffer = b;
        held[b] = values[i].last;
    }
    return buffers;
}

int flow(Op *first, char *error, size_t size) {
    int n = 0;
    for (Op *o = first; o; o = o->next) n++;
    Value *values = calloc(n + 1, sizeof *values);
    int *held = calloc(n + 2, sizeof *held), buffers = 0;
    if (values && held) {
        int bad = connect(first, n, values);
        if (bad) {
            const Op *o = first;
            for (int i = 1; i < abs(bad); i++) o = o->next;
            Map m = bad > 0 ? o->in : o->out;
            snprintf(error, size, "layer %d of the network %s %dx%dx%d, which is %s", abs(bad),
                     bad > 0 ? "takes" : "gives", m.c, m.h, m.w, bad > 0 ? "not what it reads" : "never read");
        } else {
            buffers = place(first, values, held);
        }
    } else {
        snprintf(error, size, "out of memory");
    }
    free(values);
    free(held);
    return buffers;
}
