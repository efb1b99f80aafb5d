"""RedisInsight's calls, feature by feature, and what its code reads in the answers."""

import re

from resp_servers import Connection, Failure, Status

# What the overview, the list of databases and the recommendations take from INFO: section, name.
INFO_FIELDS = [
    ("Server", "redis_version"), ("Server", "uptime_in_seconds"), ("Server", "redis_mode"),
    ("Clients", "connected_clients"), ("Memory", "used_memory"), ("Memory", "number_of_cached_scripts"),
    ("Stats", "instantaneous_ops_per_sec"), ("Stats", "instantaneous_input_kbps"), ("Stats", "instantaneous_output_kbps"),
    ("Stats", "keyspace_hits"), ("Stats", "keyspace_misses"), ("Replication", "role"), ("CPU", "used_cpu_sys"), ("CPU", "used_cpu_user"), ("Keyspace", "db0"), ("Cluster", "cluster_enabled"),
]

# One key of each type that the embedded store has, and what is asked of it.
KEYS = [b"ri:string", b"ri:hash", b"ri:list", b"ri:set", b"ri:zset"]


def shape(reply):
    """Types only: of a list that of its elements, once where they are alike."""
    if isinstance(reply, Failure):
        return "error " + reply.split(" ")[0]
    if isinstance(reply, Status):
        return f"status {reply}"
    if isinstance(reply, list):
        shapes = [shape(element) for element in reply]
        return shapes[:1] * bool(shapes) if len(set(map(repr, shapes))) <= 1 else shapes
    return {int: "integer", bytes: "string", type(None): "nil"}[type(reply)]


def unordered(reply):
    """Without the order that a set or a hash need not keep."""
    return sorted(reply) if isinstance(reply, list) else reply


def pairs(reply):
    return sorted(zip(reply[::2], reply[1::2])) if isinstance(reply, list) else reply


def scanned(reply):
    """A scan's last page: the cursor, and its elements in any order."""
    return [reply[0], unordered(reply[1])] if isinstance(reply, list) else reply


def scanned_pairs(reply):
    return [reply[0], pairs(reply[1])] if isinstance(reply, list) else reply


def equal(reply):
    return reply


class Comparison:
    def __init__(self, ours, theirs):
        self.ports = (ours, theirs)
        self.faults = []
        self.ours, self.theirs = self.connections()

    def connections(self):
        return tuple(Connection(port) for port in self.ports)

    def ask(self, *commands, by=equal):
        """Sends a pipeline to both and compares each answer by what the function makes of it."""
        answers = self.ours.pipeline(*commands), self.theirs.pipeline(*commands)
        for command, ours, theirs in zip(commands, *answers):
            self.compare(" ".join(str(word) for word in command), by(ours), by(theirs))
        return answers[0]

    def compare(self, what, ours, theirs):
        if ours != theirs:
            self.faults.append(f"{what}: {ours!r} and not {theirs!r}")

    def need(self, what, holds):
        if not holds:
            self.faults.append(what)


def played(ours, theirs):
    both = Comparison(ours, theirs)
    for step in [connecting, adding, filling, opening, browsing, looking_at_keys, changing, mistakes, slow_log, recommendations,
                 publishing, profiling, leaving]:
        step(both)
    return both.faults


def connecting(both):
    # ioredis: a name, and INFO until the server is ready.
    both.ask(["client", "setname", "redisinsight-common-0a1b2c3d"], ["select", "0"])
    information = both.ask(["info"], by=shape)[0]
    both.need("INFO says that it loads", b"loading:0" in information)
    # node-redis: says what library it is, which Redis 7.0 does not know.
    for word in ("LIB-NAME", "LIB-VER"):
        both.need(f"CLIENT SETINFO {word}", both.ours("CLIENT", "SETINFO", word, "node-redis") == Status("OK"))
    for connection in (both.ours, both.theirs):
        both.need("HELLO 3 and back", isinstance(connection("HELLO", "2"), list))


def adding(both):
    """Is it a sentinel, is it a cluster, which modules has it?"""
    both.ask(["sentinel", "masters"], ["cluster", "info"], ["module", "list"])


def filling(both):
    both.ask(
        ["flushall"], ["set", "ri:string", "a text", "EX", 1000], ["hset", "ri:hash", "f", "v", "g", "w"],
        ["rpush", "ri:list", "a", "b", "c"], ["sadd", "ri:set", "x", "y"], ["zadd", "ri:zset", 1, "one", 2.5, "two"])


def opening(both):
    both.ask(["config", "get", "databases"], by=shape)
    both.ask(["module", "list"], ["command", "info", "ft.search", "json.get", "ts.add"])
    both.ask(["command", "info", "get", "hset", "zadd"], by=lambda reply: [described(entry) for entry in reply])
    for connection, name in ((both.ours, "ours"), (both.theirs, "theirs")):
        clients = connection("client", "list").decode()
        for line in clients.splitlines():
            fields = dict(field.split("=", 1) for field in line.split(" ") if field)
            both.need(f"CLIENT LIST, {name}: {line}", {"id", "addr", "name", "age", "db", "cmd"} <= set(fields))
        both.need(f"CLIENT LIST, {name}, shows the name", "name=redisinsight-common-0a1b2c3d" in clients)
        fields = information(connection)
        for section, field in INFO_FIELDS:
            value = fields.get(section, {}).get(field)
            isNumber = re.fullmatch(r"-?\d+(\.\d+)?", value or "") is not None
            isText = field in ("redis_version", "redis_mode", "role", "db0")
            both.need(f"INFO, {name}: {section}.{field} is {value}", value and (isNumber or isText))
        both.need(f"INFO keyspace, {name}", fields.get("Keyspace", {}).get("db0", "").startswith("keys=5,expires=1,"))


def described(entry):
    """Name, arity and key positions; flags and categories are each server's own."""
    return entry if entry is None else [entry[0], entry[1], entry[3:6]]


def information(connection):
    sections, name = {}, None
    for line in connection("info").decode().splitlines():
        if line.startswith("# "):
            name = line[2:]
            sections[name] = {}
        elif ":" in line and name:
            field, value = line.split(":", 1)
            sections[name][field] = value
    return sections


def browsing(both):
    """The list of keys: how many, a page of names, and of each its size, type and time, each in a pipeline."""
    both.ask(["dbsize"])
    both.ask(["scan", "0", "MATCH", "*", "COUNT", "500"], ["scan", "0", "MATCH", "ri:*", "COUNT", 10_000, "TYPE", "hash"], by=scanned)
    both.ask(["scan", "0", "MATCH", "*", "COUNT", 500, "TYPE", "stream"], ["scan", "0", "MATCH", "none:*", "COUNT", 500], by=scanned)
    both.ask(*[["memory", "usage", key, "samples", "0"] for key in KEYS], by=shape)
    both.ask(*[["type", key] for key in KEYS])
    both.ask(*[["ttl", key] for key in KEYS], by=lambda ttl: ttl if ttl < 0 else "some time")
    both.ask(["type", "none"], ["ttl", "none"], ["memory", "usage", "none", "samples", "0"])


def looking_at_keys(both):
    for key, length in zip(KEYS, ["strlen", "hlen", "llen", "scard", "zcard"]):
        both.ask(["ttl", key], [length, key], ["memory", "usage", key, "samples", "0"], by=shape)
        both.ask([length, key], ["object", "encoding", "none"])
    both.ask(["get", "ri:string"], ["getrange", "ri:string", 0, 3], ["strlen", "ri:string"])
    both.ask(["hscan", "ri:hash", "0", "MATCH", "*", "COUNT", 500], by=scanned_pairs)
    both.ask(["hscan", "ri:hash", "0", "MATCH", "f*", "COUNT", 500], by=scanned_pairs)
    both.ask(["hget", "ri:hash", "f"], ["hget", "ri:hash", "none"])
    both.ask(["lrange", "ri:list", 0, 499], ["lindex", "ri:list", 1], ["lindex", "ri:list", 99])
    both.ask(["sscan", "ri:set", "0", "MATCH", "*", "COUNT", 500], by=scanned)
    both.ask(["sismember", "ri:set", "x"], ["sismember", "ri:set", "none"])
    both.ask(
        ["zrange", "ri:zset", 0, 499, "WITHSCORES"], ["zrevrange", "ri:zset", 0, 499, "WITHSCORES"], ["zscore", "ri:zset", "two"],
        ["zscore", "ri:zset", "none"])
    both.ask(["zscan", "ri:zset", "0", "MATCH", "*", "COUNT", 500], by=scanned_pairs)


def changing(both):
    both.ask(
        ["exists", "ri:new"], ["set", "ri:new", "v", "XX"], ["set", "ri:new", "v"], ["expire", "ri:new", 100], ["persist", "ri:new"],
        ["persist", "ri:new"], ["renamenx", "ri:new", "ri:string"], ["rename", "ri:new", "ri:other"], ["del", "ri:other", "ri:none"])
    both.ask(["hset", "ri:hash", "f", "1", "h", "2"], ["hdel", "ri:hash", "h", "none"])
    both.ask(
        ["lpush", "ri:list", "0"], ["rpushx", "ri:list", "d"], ["lpushx", "ri:none", "d"], ["lset", "ri:list", 0, "z"],
        ["lset", "ri:list", 99, "z"], ["rpop", "ri:list", 2], ["lpop", "ri:list"], ["lpop", "ri:none"])
    both.ask(["sadd", "ri:set", "z", "x"], ["srem", "ri:set", "z", "none"])
    both.ask(["zadd", "ri:zset", "XX", "CH", 3, "one"], ["zadd", "ri:zset", "XX", "CH", 3, "none"], ["zrem", "ri:zset", "two"])
    # A value of the user's own bytes, and a transaction of the workbench.
    both.ask(["set", b"ri:\xff\x00", b"\x00\xff"], ["get", b"ri:\xff\x00"], ["unlink", b"ri:\xff\x00"])
    both.ask(["multi"], ["incr", "ri:count"], ["get", "ri:count"], ["exec"], ["del", "ri:count"])


def mistakes(both):
    """What the user of its command line does wrong is answered in the server's own words."""
    both.ask(
        ["get", "ri:hash"], ["hlen", "ri:string"], ["get"], ["nonsense", "a", "b"], ["set", "a", "b", "EX", "x"], ["ft._list"],
        ["json.get", "ri:string"], ["object", "nonsense"], ["scan", "x"], ["zadd", "ri:zset", "x", "y"], ["rename", "ri:none", "b"])


def slow_log(both):
    both.ask(["config", "get", "slowlog*"], by=lambda reply: sorted(reply[::2]))
    both.ask(["slowlog", "get", 50], by=lambda reply: isinstance(reply, list))
    both.ask(["config", "set", "slowlog-log-slower-than", 0], ["config", "set", "slowlog-max-len", 100], ["slowlog", "reset"])
    both.ask(["get", "ri:string"])
    entries = both.ask(["slowlog", "get", 1], by=lambda reply: [[shape(part) for part in entry] for entry in reply])[0]
    both.need(f"SLOWLOG GET: {entries}", entries and entries[0][3][:1] in ([b"get"], [b"slowlog"], [b"SLOWLOG"], [b"GET"]))
    both.ask(["config", "set", "slowlog-log-slower-than", 10_000], ["slowlog", "reset"], ["slowlog", "len"])


def recommendations(both):
    both.ask(["acl", "whoami"], ["auth", ""], ["function", "list"], ["info", "nonsense"])
    both.ask(["info", "keyspace"], ["info", "memory"], ["memory", "doctor"], by=shape)


def publishing(both):
    for connection, name in ((both.ours, "ours"), (both.theirs, "theirs")):
        port = both.ports[0 if name == "ours" else 1]
        listener = Connection(port)
        listener.send(["subscribe", "ri:news"], ["psubscribe", "*"])
        heard = [listener.read(), listener.read(), connection("publish", "ri:news", "hello"), listener.read(), listener.read()]
        heard.append(connection("pubsub", "channels", "ri:*"))
        listener.send(["unsubscribe", "ri:news"], ["punsubscribe", "*"])
        heard += [listener.read(), listener.read()]
        listener.close()
        if name == "ours":
            ours = heard
        else:
            both.compare("SUBSCRIBE and PUBLISH", ours, heard)


def profiling(both):
    """The lines that ioredis takes apart: time, [database address] and the arguments in quotes."""
    line = re.compile(r'^\d+\.\d+ \[0 [^\]]+\] "get" "ri:\\"string\\x00"$', re.IGNORECASE)
    for connection, port in zip((both.ours, both.theirs), both.ports):
        observer = Connection(port)
        both.need("MONITOR", observer("monitor") == Status("OK"))
        connection("get", b'ri:"string\x00')
        shown = observer.read()
        both.need(f"MONITOR shows {shown!r}", isinstance(shown, Status) and line.match(shown))
        observer.close()


def leaving(both):
    both.ask(["del", *KEYS], ["dbsize"], ["quit"])
