// Counts calls of malloc and its kin; LD_PRELOADed by Benchmarks/run --mallocs. Prints the number to standard error at the end.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_long count;
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) { atomic_fetch_add_explicit(&count, 1, memory_order_relaxed); return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { atomic_fetch_add_explicit(&count, 1, memory_order_relaxed); return __libc_calloc(n, size); }
int posix_memalign(void **out, size_t align, size_t size) {
  atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
  *out = __libc_memalign(align, size);
  return *out ? 0 : 12;
}
__attribute__((destructor)) static void report(void) { fprintf(stderr, "mallocs %ld\n", atomic_load(&count)); }
