"""The same loads as ClientLoad.swift, by redis-py with hiredis: redis-py-peer.py SOCKET one|pipeline|lrange COUNT

Prints operations per second and the median latency of one call in nanoseconds (0 where it has no meaning).
"""

import sys
import time

import hiredis  # noqa: F401  without it redis-py parses in Python, which would be no measure
import redis

socket, load, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = redis.Redis(unix_socket_path=socket)
client.ping()
spans = []
start = time.monotonic_ns()
if load == "pipeline":
    for _ in range(count // 100):
        pipeline = client.pipeline(transaction=False)
        for _ in range(100):
            pipeline.get("bench:client")
        pipeline.execute()
else:
    for _ in range(count):
        before = time.monotonic_ns()
        if load == "lrange":
            client.lrange("bench:list", 0, -1)
        else:
            client.get("bench:client")
        spans.append(time.monotonic_ns() - before)
span = time.monotonic_ns() - start
print(round(count / span * 1e9, 3), sorted(spans)[len(spans) // 2] if spans else 0)
