/* The same loads as ClientLoad.swift, by hiredis: hiredis-peer SOCKET one|pipeline|lrange COUNT
   Prints operations per second and the median latency of one call in nanoseconds (0 where it has no meaning). */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void take(redisContext *c) {
  redisReply *reply;
  if (redisGetReply(c, (void **)&reply) != REDIS_OK || reply->type == REDIS_REPLY_ERROR) exit(1);
  freeReplyObject(reply);
}

int main(int argc, char **argv) {
  if (argc != 4) return 64;
  long count = atol(argv[3]);
  redisContext *c = redisConnectUnix(argv[1]);
  if (!c || c->err) return 1;
  double *spans = calloc(count, sizeof *spans), start = now();
  int isPipeline = !strcmp(argv[2], "pipeline");
  for (long i = 0; i < count; i += isPipeline ? 100 : 1) {
    double before = now();
    for (int j = 0; j < (isPipeline ? 100 : 1); j++)
      redisAppendCommand(c, strcmp(argv[2], "lrange") ? "GET bench:client" : "LRANGE bench:list 0 -1");
    for (int j = 0; j < (isPipeline ? 100 : 1); j++) take(c);
    spans[i] = now() - before;
  }
  double span = now() - start;
  qsort(spans, count, sizeof *spans, ascending);
  printf("%.0f %.0f\n", count / span * 1e9, isPipeline ? 0.0 : spans[count / 2]);
  return 0;
}
