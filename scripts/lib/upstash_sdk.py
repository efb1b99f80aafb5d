"""What an application written for Upstash does, with Upstash's own clients: `upstash_sdk.py <url> embedded|redis`."""

import asyncio
import sys

from upstash_ratelimit import FixedWindow, Ratelimit, SlidingWindow, TokenBucket
from upstash_ratelimit.asyncio import Ratelimit as AsyncRatelimit
from upstash_redis import Redis
from upstash_redis.asyncio import Redis as AsyncRedis
from upstash_redis.errors import UpstashError

url, store = sys.argv[1:3]
has_lua = store == "redis"
# Seconds: no window ends while this runs.
AGES = 1_000_000_000
checks = 0


def check(found, expected):
    global checks
    checks += 1
    assert found == expected, f"found {found!r}, expected {expected!r}"


def client(secret="app-secret", **options):
    return Redis(url=url, token=secret, rest_retries=0, **options)


def refused(call):
    """The message with which a call is refused."""
    global checks
    checks += 1
    try:
        found = call()
    except UpstashError as error:
        return str(error)
    raise AssertionError(f"{found!r} instead of an error")


def strings(redis):
    text = "é😀\n\"\\\u0000"
    check(redis.set(text, text), True)
    check(redis.get(text), text)
    check(redis.set("a", "1", ex=100, nx=True), True)
    check(redis.set("a", "2", nx=True), False)
    check(redis.set("a", 3, get=True), "1")
    check(redis.incrbyfloat("a", 1.5), 4.5)
    check(redis.mset({"x": "1", "y": "2"}), True)
    check(redis.mget("x", "none", "y"), ["1", None, "2"])
    check(redis.expire("x", 100), True)
    check(redis.ttl("x") in (99, 100), True)
    check(redis.append("y", "zz"), 3)
    check(redis.getrange("y", 1, -1), "zz")
    check(redis.exists("x", "y", "none"), 2)
    check(redis.rename("x", "z"), True)
    check(redis.type("z"), "string")
    check(redis.delete("z"), 1)


def collections(redis):
    check(redis.hset("h", values={"f": "1", "g": "x"}), 2)
    check(redis.hgetall("h"), {"f": "1", "g": "x"})
    check(redis.hincrby("h", "f", 2), 3)
    check(redis.hmget("h", "g", "none"), ["x", None])
    check(redis.hscan("h", 0), (0, {"f": "3", "g": "x"}))
    check(redis.rpush("l", "a", "b", "c"), 3)
    check(redis.lrange("l", 0, -1), ["a", "b", "c"])
    check(redis.lpop("l", 2), ["a", "b"])
    check(redis.lpos("l", "none"), None)
    check(redis.sadd("s", "a", "b"), 2)
    check(set(redis.smembers("s")), {"a", "b"})
    check(redis.sismember("s", "a"), True)
    check(redis.sdiff("s", "none") in (["a", "b"], ["b", "a"]), True)
    check(redis.zadd("z", {"a": 1.5, "b": 2}), 2)
    check(redis.zrange("z", 0, -1, withscores=True), [("a", 1.5), ("b", 2.0)])
    check(redis.zscore("z", "a"), 1.5)
    check(redis.zincrby("z", 1, "a"), 2.5)
    check(sorted(redis.zscan("z", 0)[1]), [("a", 2.5), ("b", 2.0)])
    check(redis.zpopmin("z", 1), [("b", 2.0)])
    check(redis.zrank("z", "a"), 0)


def keys(redis):
    check(redis.dbsize() > 0, True)
    check(redis.flushdb(), True)
    check(redis.dbsize(), 0)
    for number in range(50):
        redis.set(f"k:{number}", number)
    check(set(redis.keys("k:1?")), {f"k:{number}" for number in range(10, 20)})
    found, cursor = set(), None
    while cursor != 0:
        cursor, page = redis.scan(cursor or 0, match="k:*", count=7)
        found.update(page)
    check(found, {f"k:{number}" for number in range(50)})
    check(redis.randomkey() in found, True)


def batches(redis):
    pipeline = redis.pipeline()
    pipeline.set("p", "v")
    pipeline.incr("n")
    pipeline.hgetall("none")
    check(pipeline.exec(), [True, 1, {}])
    transaction = redis.multi()
    transaction.incr("n")
    transaction.get("p")
    check(transaction.exec(), [2, "v"])


def errors(redis):
    redis.set("text", "x")
    check(refused(lambda: redis.incr("text")), "ERR value is not an integer or out of range")
    check(refused(lambda: redis.lpush("text", "x")).split(" ")[0], "WRONGTYPE")
    check(refused(lambda: redis.execute(["BLPOP", "l", "0"])).startswith("ERR Command is not available: 'BLPOP'"), True)
    check(refused(lambda: client("wrong").get("a")), "WRONGPASS invalid or missing auth token")
    view = client("view-secret")
    check(view.get("text"), "x")
    check(refused(lambda: view.set("text", "y")), "NOPERM this user has no permissions to run the 'set' command")


def tenants(redis):
    acme = client("acme-secret")
    redis.set("shared-name", "ours")
    check(acme.get("shared-name"), None)
    check(acme.set("shared-name", "theirs"), True)
    check(acme.keys("*"), ["shared-name"])
    check(acme.flushall(), True)
    check(redis.get("shared-name"), "ours")


def scripts(redis):
    if not has_lua:
        check("runs on a Redis server only" in refused(lambda: redis.eval("return 1")), True)
        return
    script = "return {KEYS[1], ARGV[1], redis.call('INCRBY', KEYS[1], ARGV[1]), redis.call('GET', 'other')}"
    redis.set("other", "seen")
    check(redis.eval(script, ["counter"], ["5"]), ["counter", "5", 5, "seen"])
    digest = redis.script_load(script)
    check(redis.evalsha(digest, ["counter"], ["1"]), ["counter", "1", 6, "seen"])
    check(redis.script_exists(digest, "0" * 40), [True, False])
    check(refused(lambda: redis.evalsha("0" * 40)).split(" ")[0], "NOSCRIPT")
    # A script reaches the names of its caller, and no others.
    acme = client("acme-secret")
    check(acme.eval("return redis.call('GET', 'other')"), None)
    check("is not available to scripts here" in refused(lambda: acme.eval("return redis.call('FLUSHALL')")), True)
    for escape in ["return _G.redis.call('DBSIZE')", "return loadstring('return redis')()", "return load", "string.sub = nil"]:
        if escape == "return load":
            check(acme.eval(escape), None)
        else:
            refused(lambda: acme.eval(escape))

def servers_own(redis):
    """What only a Redis has; the embedded store says so, and does nothing."""
    calls = [
        lambda: redis.xadd("stream", "*", {"f": "v"}) != "", lambda: redis.xread({"stream": "0"})[0][0],
        lambda: redis.setbit("bits", 7, 1), lambda: redis.bitcount("bits"),
        lambda: redis.pfadd("hll", "a", "b"), lambda: redis.pfcount("hll"),
        lambda: redis.geoadd("geo", (13.361389, 38.115556, "Palermo")),
    ]
    if store == "redis":
        check([call() for call in calls], [True, "stream", 0, 1, True, 2, 1])
        return
    for call in calls:
        check("runs on a Redis server only" in refused(call), True)
    check(redis.exists("stream", "bits", "hll", "geo"), 0)


def limits(redis):
    if not has_lua:
        return
    for number, limiter in enumerate([FixedWindow(3, AGES), SlidingWindow(3, AGES), TokenBucket(3, 1, AGES)]):
        ratelimit = Ratelimit(redis=redis, limiter=limiter, prefix=f"limit-{number}")
        check([ratelimit.limit("user").allowed for _ in range(4)], [True, True, True, False])
        check(ratelimit.limit("other").remaining, 2)
        ratelimit.get_remaining("user")
        ratelimit.get_reset("user")


async def asynchronous():
    async with AsyncRedis(url=url, token="app-secret", rest_retries=0) as redis:
        check(await asyncio.gather(*[redis.set(f"async:{number}", number) for number in range(20)]), [True] * 20)
        check(await redis.mget(*[f"async:{number}" for number in range(20)]), [str(number) for number in range(20)])
        if has_lua:
            ratelimit = AsyncRatelimit(redis=redis, limiter=FixedWindow(1, AGES), prefix="async-limit")
            check([(await ratelimit.limit("user")).allowed for _ in range(2)], [True, False])


# In base64, as the client does unless told otherwise, and as plain JSON.
for options in [{}, {"rest_encoding": None}]:
    redis = client(**options)
    redis.flushdb()
    for part in [strings, collections, keys, batches, errors, tenants, scripts, servers_own]:
        part(redis)
client().flushdb()
limits(client())
asyncio.run(asynchronous())
print(f"upstash-redis and upstash-ratelimit on {store}: {checks} checks hold")
