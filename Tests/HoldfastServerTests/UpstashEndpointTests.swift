import HTTPTypes
import Holdfast
import HoldfastRedis
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

@testable import HoldfastServer

/// Upstash's protocol as its documentation has it, against the endpoint.
@Suite struct UpstashEndpointTests {
    static let stores: [Backend] = [.embedded, .redis, .redisRESP2, .cluster]

    /// A server over one kind of store, with a namespace of its own.
    ///
    /// - Parameter inOneSlot: whether all names share a slot of a cluster.
    static func server(_ backend: Backend, inOneSlot: Bool = false) async throws -> ServerUnderTest {
        let store = try await backend.store()
        let names = inOneSlot ? backend.slotNamespace() : backend.namespace()
        let failover: Failover
        if backend.description == Backend.embedded.description {
            failover = Failover(local: store)
        } else {
            failover = Failover(server: store, local: EmbeddedStore())
        }
        return try ServerUnderTest(state: AgentState(failover: failover, namespace: names))
    }

    private func post(
        _ server: ServerUnderTest, _ path: String, _ body: String?, key: String? = ServerUnderTest.writer,
        headers: [String: String] = [:]
    ) async throws -> ServerUnderTest.Reply {
        try await server.send(.post, "/upstash\(path)", text: body, key: key, headers: headers)
    }

    @Test(arguments: stores)
    func aCommandIsAnArrayInTheBody(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        let set = try await post(server, "", #"["SET", "foo", "bar", "EX", 100]"#)
        #expect(set.status == 200 && set.text == #"{"result":"OK"}"#)
        #expect(set.header("Content-Type") == "application/json")
        #expect(try await post(server, "/", #"["get", "foo"]"#).text == #"{"result":"bar"}"#)
        #expect(try await post(server, "", #"["GET", "none"]"#).text == #"{"result":null}"#)
        #expect(try await post(server, "", #"["INCRBY", "n", 137]"#).text == #"{"result":137}"#)
        #expect(try await post(server, "", #"["MGET", "foo", "none", "n"]"#).text == #"{"result":["bar",null,"137"]}"#)
        let wrong = try await post(server, "", #"["GET"]"#)
        #expect(wrong.status == 400 && wrong.text == #"{"error":"ERR wrong number of arguments for 'get' command"}"#)
    }

    @Test(arguments: stores)
    func aCommandIsAPath(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        #expect(try await server.send(.get, "/upstash/set/foo/bar/EX/1000").text == #"{"result":"OK"}"#)
        #expect(try await server.send(.get, "/upstash/get/foo").text == #"{"result":"bar"}"#)
        #expect(try await post(server, "/set/employee:1?EX=1000", "a/value?").text == #"{"result":"OK"}"#)
        #expect(try await server.send(.get, "/upstash/get/employee:1").text == #"{"result":"a/value?"}"#)
        #expect(try await server.send(.get, "/upstash/ttl/employee%3A1").json["result"]?.integer ?? 0 > 90)
        #expect(try await post(server, "/set/foo?NX", "other").text == #"{"result":null}"#)
        #expect(try await server.send(.put, "/upstash/zadd/teams/100/team-x/90/team-y", text: nil).text == #"{"result":2}"#)
        let head = try await server.send(.head, "/upstash/get/foo")
        #expect(head.status == 200 && head.text.isEmpty && head.header("Content-Length") == "16")
    }

    @Test(arguments: stores)
    func aPipelineAnswersEachCommand(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        let body = """
            [["SET", "key1", "valuex"], ["SETEX", "key2", 1300, "valuez"], ["INCR", "key1"], ["ZADD", "myset", 11, "item1", 22, "item2"],
             ["NOSUCH"], ["KEYS", "key*"], ["DBSIZE"]]
            """
        let replies = try #require(try await post(server, "/pipeline", body).json.array)
        #expect(
            replies[0...3] == [
                ["result": "OK"], ["result": "OK"], ["error": "ERR value is not an integer or out of range"], ["result": 2],
            ])
        #expect(replies[4]["error"]?.string?.hasPrefix("ERR Command is not available: 'NOSUCH'") == true)
        #expect(Set(replies[5]["result"]?.array ?? []) == ["key1", "key2"])
        #expect(replies[6] == ["result": 3])
    }

    /// A 400 says that nothing was carried out.
    @Test(arguments: [(StoreError.Effect.none, 200), (.unknown, 503)])
    func aPipelineThatStopsHalfWaySaysWhatItMayHaveDone(effect: StoreError.Effect, status: Int) async throws {
        let store = InterceptedStore(EmbeddedStore()) { call throws(StoreError) in
            guard case .operation(let operation) = call, operation.name == "SCAN" else { return }
            throw StoreError(.tooLarge, "Too many keys", effect: effect)
        }
        let server = try ServerUnderTest(state: AgentState(failover: Failover(local: store)))
        let reply = try await post(server, "/pipeline", #"[["INCR", "n"], ["KEYS", "*"], ["INCR", "n"]]"#)
        #expect(reply.status == status, "\(reply.text)")
        #expect(reply.text.contains("it may have been carried out") == (effect == .unknown))
        guard effect == .none else { return }
        #expect(reply.json.array?.first == ["result": 1] && reply.json.array?.last == ["result": 2])
        #expect(reply.json.array?[1]["error"]?.string?.contains("Too many keys") == true)
    }

    @Test(arguments: stores)
    func copyNamesNoOtherDatabase(_ backend: Backend) async throws {
        let server = try await Self.server(backend, inOneSlot: true)
        #expect(try await post(server, "", #"["SET", "a", "1"]"#).status == 200)
        for word in ["DB", "db", "DB\\u0000"] {
            #expect(try await post(server, "", #"["COPY", "a", "b", "\#(word)", 1]"#).status == 400, "\(word)")
            guard backend.description != Backend.embedded.description else { continue }
            let script = #"return redis.call('COPY', KEYS[1], KEYS[2], ARGV[1], 1)"#
            let reply = try await post(server, "", #"["EVAL", "\#(script)", 2, "a", "b", "\#(word)"]"#)
            #expect(reply.status == 400 && reply.text.contains("syntax"), "\(reply.text)")
        }
        #expect(try await post(server, "", #"["COPY", "a", "b", "replace"]"#).text == #"{"result":1}"#)
    }

    /// A Redis makes as many draws as it is asked for, from a set of one member too, and everybody waits for it.
    @Test(arguments: stores)
    func drawsAreLimited(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        let body = #"[["SADD", "s", "m"], ["HSET", "h", "f", "v"], ["ZADD", "z", 1, "m"]]"#
        #expect(try await post(server, "/pipeline", body).status == 200)
        for (name, key) in [("SRANDMEMBER", "s"), ("hrandfield", "h"), ("ZRANDMEMBER", "z")] {
            let few = try await post(server, "", #"["\#(name)", "\#(key)", -3]"#, key: ServerUnderTest.reader)
            #expect(few.status == 200 && few.json["result"]?.array?.count == 3, "\(few.text)")
            let many = try await post(server, "", #"["\#(name)", "\#(key)", -100001]"#, key: ServerUnderTest.reader)
            #expect(many.status == 400 && many.text.contains("ERR value is out of range"), "\(many.text.prefix(200))")
            guard backend.description != Backend.embedded.description else { continue }
            for (count, status) in [("-3", 200), ("-100001", 400), ("'-100001'", 400)] {
                let script = "return redis.call('\(name)',KEYS[1],\(count))"
                let reply = try await post(server, "", #"["EVAL_RO", "\#(script)", 1, "\#(key)"]"#, key: ServerUnderTest.reader)
                #expect(reply.status == status, "\(script): \(reply.text.prefix(200))")
            }
        }
    }

    @Test(arguments: stores)
    func aTransactionIsAllOrNothing(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        let done = try await post(server, "/multi-exec", #"[["SET", "a", "x"], ["INCR", "a"], ["GET", "a"]]"#)
        #expect(
            done.text
                == #"[{"result":"OK"},{"error":"ERR value is not an integer or out of range"},{"result":"x"}]"#)
        for wrong in [#"["NOSUCH"]"#, #"["GET"]"#, #"["KEYS", "*"]"#, "[]", "7"] {
            let reply = try await post(server, "/multi-exec", #"[["SET", "a", "y"], \#(wrong)]"#)
            #expect(reply.status == 400 && reply.json["error"]?.string?.hasPrefix("ERR ") == true, "\(wrong): \(reply.text)")
        }
        #expect(try await server.send(.get, "/upstash/get/a").text == #"{"result":"x"}"#)
    }

    @Test(arguments: stores)
    func repliesHaveTheShapesOfRESP2(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        let body = """
            [["ZADD", "z", 1.5, "a", 2, "b"], ["ZRANGE", "z", 0, -1, "WITHSCORES"], ["ZSCORE", "z", "a"], ["ZPOPMIN", "z", 1],
             ["HSET", "h", "f", "v"], ["HGETALL", "h"], ["SADD", "s", "m"], ["SMEMBERS", "s"], ["RPUSH", "l", "x"],
             ["LMPOP", 1, "l", "LEFT"], ["ZMPOP", 1, "z", "MIN"]]
            """
        let replies = try #require(try await post(server, "/pipeline", body).json.array?.map { $0["result"] ?? $0 })
        #expect(
            replies == [
                2, ["a", "1.5", "b", "2"], "1.5", ["a", "1.5"], 1, ["f", "v"], 1, ["m"], 1, ["l", ["x"]], ["z", [["b", "2"]]],
            ])
        var (cursor, found): (String, Set<JSONValue>) = ("0", [])
        repeat {
            let page = try #require(
                try await post(server, "", #"["SCAN", "\#(cursor)", "MATCH", "h*", "COUNT", 10000]"#).json["result"]?.array)
            try #require(page.count == 2)
            cursor = page[0].string ?? "0"
            found.formUnion(page[1].array ?? [])
        } while cursor != "0"
        #expect(found == ["h"])
    }

    /// What one command does to several keys takes them in one slot. What Redis defines key by key does not.
    @Test func onAClusterKeysOfSeveralSlotsAreRefused() async throws {
        let server = try await Self.server(.cluster)
        let names = (0..<8).map { "k\($0)" }
        let keys = names.map { "\"\($0)\"" }.joined(separator: ",")
        let pairs = names.map { "\"\($0)\",\"v\"" }.joined(separator: ",")
        for body in [#"["MSET",\#(pairs)]"#, #"["SINTER",\#(keys)]"#, #"["EVAL","return 1","8",\#(keys)]"#] {
            let reply = try await post(server, "", body)
            #expect(reply.status == 400 && reply.json["error"]?.string?.hasPrefix("CROSSSLOT ") == true, "\(body): \(reply.text)")
        }
        let sets = names.map { "[\"SET\",\"\($0)\",\"v\"]" }.joined(separator: ",")
        let together = try await post(server, "/multi-exec", "[\(sets)]")
        #expect(together.status == 400 && together.text.contains("CROSSSLOT "), "\(together.text)")
        #expect(try await post(server, "", #"["EXISTS",\#(keys)]"#).text == #"{"result":0}"#, "something was done")
        #expect(try await post(server, "/pipeline", "[\(sets)]").status == 200)
        #expect(try await post(server, "", #"["DEL",\#(keys)]"#).text == #"{"result":8}"#)
        #expect(try await post(server, "", #"["MSET","{t}a","1","{t}b","2"]"#).text == #"{"result":"OK"}"#)
        #expect(try await post(server, "", #"["MGET","{t}a","{t}b"]"#).text == #"{"result":["1","2"]}"#)
    }

    @Test(arguments: stores)
    func base64EncodesEveryStringButOK(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        let encoded = ["Upstash-Encoding": "base64"]
        #expect(try await post(server, "/SET/foo/bar", nil, headers: encoded).text == #"{"result":"OK"}"#)
        #expect(try await post(server, "/GET/foo", nil, headers: encoded).text == #"{"result":"YmFy"}"#)
        // Any bytes: in the path percent-encoded, in the reply base64.
        #expect(try await post(server, "/SET/b%FF/%00%FE", nil).status == 200)
        #expect(try await post(server, "/MGET/b%FF/none", nil, headers: encoded).text == #"{"result":["AP4=",null]}"#)
        #expect(try await post(server, "/GET/b%FF", nil).text == #"{"result":"\u0000\#u{FFFD}"}"#)
        let wrong = try await post(server, "/GET/foo", nil, headers: ["Upstash-Encoding": "rot13"])
        #expect(wrong.status == 400)
    }

    @Test(arguments: stores)
    func resp2IsTheWireForm(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        let resp2 = ["Upstash-Response-Format": "resp2"]
        let set = try await post(server, "/SET/foo/bar", nil, headers: resp2)
        #expect(set.text == "+OK\r\n" && set.header("Content-Type") == "application/octet-stream")
        #expect(try await post(server, "/GET/foo", nil, headers: resp2).text == "$3\r\nbar\r\n")
        #expect(try await post(server, "/GET/none", nil, headers: resp2).text == "$-1\r\n")
        #expect(
            try await post(server, "/pipeline", #"[["GET","foo"],["INCR","n"]]"#, headers: resp2).text == "$3\r\nbar\r\n:1\r\n")
        let both = try await post(
            server, "/GET/foo", nil, headers: ["Upstash-Response-Format": "resp2", "Upstash-Encoding": "base64"])
        #expect(both.status == 400)
        #expect(try await post(server, "/GET/foo", nil, headers: ["Upstash-Response-Format": "xml"]).status == 400)
    }

    @Test func theTokenIsTheAPIKey() async throws {
        let server = try await Self.server(.embedded)
        for key in [nil, "wrong"] as [String?] {
            let reply = try await post(server, "", #"["PING"]"#, key: key)
            #expect(reply.status == 401 && reply.text == #"{"error":"WRONGPASS invalid or missing auth token"}"#)
        }
        let byQuery = try await server.send(.get, "/upstash/set/a/b?_token=\(ServerUnderTest.writer)&EX=100", key: nil)
        #expect(byQuery.status == 200)
        #expect(try await server.send(.get, "/upstash/get/a?_token=wrong", key: nil).status == 401)
    }

    @Test(arguments: stores)
    func aReaderMayOnlyRead(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        let (key, writer) = (ServerUnderTest.reader, ServerUnderTest.writer)
        _ = try await post(server, "/set/a/b", nil, key: writer)
        #expect(try await post(server, "/get/a", nil, key: key).text == #"{"result":"b"}"#)
        for command in ["set/a/c", "del/a", "getex/a", "keys/*", "scan/0", "flushdb", "publish/c/m", "dbsize", "info"] {
            let reply = try await post(server, "/\(command)", nil, key: key)
            let name = command.prefix { $0 != "/" }
            #expect(reply.status == 400)
            #expect(reply.text == #"{"error":"NOPERM this user has no permissions to run the '\#(name)' command"}"#)
        }
        #expect(try await post(server, "/multi-exec", #"[["GET","a"],["DEL","a"]]"#, key: key).status == 400)
        #expect(try await post(server, "/pipeline", #"[["DEL","a"],["GET","a"]]"#, key: key).json.array?.last == ["result": "b"])
        #expect(try await post(server, "/info", nil, key: ServerUnderTest.admin).status == 200)
    }

    @Test(arguments: stores)
    func everyCallerHasItsOwnNames(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        _ = try await server.state.cache.set("a", "the service's own")
        _ = try await post(server, "/set/a/default", nil)
        _ = try await post(server, "/set/a/tenant", nil, key: ServerUnderTest.acme)
        _ = try await post(server, "/set/b/tenant", nil, key: ServerUnderTest.acme)
        #expect(try await post(server, "/get/a", nil).text == #"{"result":"default"}"#)
        #expect(try await post(server, "/get/a", nil, key: ServerUnderTest.acme).text == #"{"result":"tenant"}"#)
        let asAcme = try await post(server, "/get/a", nil, key: ServerUnderTest.admin, headers: ["X-Tenant": "acme"])
        #expect(asAcme.text == #"{"result":"tenant"}"#)
        #expect(try await post(server, "/keys/*", nil).text == #"{"result":["a"]}"#)
        #expect(try await post(server, "/randomkey", nil).text == #"{"result":"a"}"#)
        #expect(try await post(server, "/dbsize", nil, key: ServerUnderTest.acme).text == #"{"result":2}"#)
        #expect(try await post(server, "/flushall", nil, key: ServerUnderTest.acme).text == #"{"result":"OK"}"#)
        #expect(try await post(server, "/dbsize", nil, key: ServerUnderTest.acme).text == #"{"result":0}"#)
        #expect(try await post(server, "/get/a", nil).text == #"{"result":"default"}"#)
        let kept = try await server.state.cache.get("a", as: String.self)
        #expect(kept.value == "the service's own")
    }

    @Test(arguments: stores)
    func whatIsNoOptionRemovesNothing(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        for command in ["FLUSHDB", "flushall"] {
            #expect(try await post(server, "/set/a/b", nil).status == 200)
            for wrong in ["cache:*", "", "SYNC\\u0000"] {
                let reply = try await post(server, "", #"["\#(command)", "\#(wrong)"]"#)
                #expect(reply.status == 400 && reply.text == #"{"error":"ERR syntax error"}"#, "\(wrong): \(reply.text)")
            }
            for option in ["async", "SYNC"] {
                #expect(try await post(server, "/get/a", nil).text == #"{"result":"b"}"#)
                #expect(try await post(server, "", #"["\#(command)", "\#(option)"]"#).text == #"{"result":"OK"}"#)
                #expect(try await post(server, "/set/a/b", nil).status == 200)
            }
        }
    }

    /// Groups and consumers may be called as options are; a word ends for the server at its first zero byte.
    @Test func streamsAreTheCallersOwnWhateverTheirGroupsAreCalled() async throws {
        let server = try await Self.server(.redis)
        func send(_ body: String, _ key: String) async throws -> String { try await post(server, "", body, key: key).text }
        for (key, value) in [(ServerUnderTest.writer, "default"), (ServerUnderTest.acme, "tenant")] {
            _ = try await send(#"["XADD","jobs","1-1","f","\#(value)"]"#, key)
            for group in ["streams", "block"] { _ = try await send(#"["XGROUP","CREATE","jobs","\#(group)","0"]"#, key) }
        }
        let jobs = #"{"result":[["jobs",[["1-1",["f","tenant"]]]]]}"#
        for group in ["streams", "block"] {
            let read = #""XREADGROUP","GROUP","\#(group)","streams","COUNT","1","STREAMS","jobs",">""#
            #expect(try await send("[\(read)]", ServerUnderTest.acme) == jobs, "\(group)")
        }
        #expect(try await send(#"["XREAD","STREAMS\u0000","jobs","0"]"#, ServerUnderTest.acme) == jobs)
        let script = "return redis.call('XREADGROUP','GROUP','streams','block','STREAMS','jobs','0')"
        #expect(try await send(#"["EVAL","\#(script)","0"]"#, ServerUnderTest.acme) == #"{"result":[["jobs",[]]]}"#)
        let zero = #"return redis.call('XREAD','STREAMS\\0','jobs','0')"#
        #expect(try await send(#"["EVAL","\#(zero)","0"]"#, ServerUnderTest.acme) == jobs)
        let waiting = try await send(#"["XREAD","BLOCK\u0000","0","STREAMS","jobs","$"]"#, ServerUnderTest.acme)
        #expect(waiting.contains("BLOCK is not supported"), "\(waiting)")
    }

    /// Each of them reaches another's name where one of our guards is missing.
    @Test func noScriptReachesAnothersNames() async throws {
        let (store, names) = (try await Backend.redis.store(), Backend.redis.namespace())
        let server = try ServerUnderTest(
            state: AgentState(failover: Failover(server: store, local: EmbeddedStore()), namespace: names))
        #expect(try await post(server, "/set/victim/the%20secret", nil).status == 200)
        let key = names.key("upstash:victim")
        #expect(try await store(.get(key)) == "the secret")
        let name = key.bytes.lossyString
        let get = "redis.call('GET','\(name)')"
        let anything = "setmetatable({},{__concat=function() return '\(name)' end,__tostring=function() return 'GET' end})"
        let scripts = [
            "return \(get)", "return redis.call('GET',\(anything))", "return redis.pcall('GET',\(anything))",
            "return redis.call(\(anything),'\(name)')", "return redis.call('BITOP','AND','mine',\(anything))",
            "return server.call('GET','\(name)')", "return _G.redis.call('GET','\(name)')",
            "return _G.server.call('GET','\(name)')",
            "return load('return redis')().call('GET','\(name)')",
            "return loadstring('return redis')().call('GET','\(name)')",
            "return getfenv(1).redis.call('GET','\(name)')",
            "or load return loadstring('return redis')().call('GET','\(name)')",
            "or _G return debug.redis.call('GET','\(name)')", ",_G return \(get)",
            "=_G return load.redis.call('GET','\(name)')", "or _G return _G.redis.call('GET','\(name)')",
            "string.upper=function() return 'PING' end return \(get)", "rawset(string,'sub',tostring) return \(get)",
            "getmetatable('').__concat=function() return '\(name)' end return redis.call('GET','x')",
            "table.remove=function() return '' end return \(get)",
        ]
        for script in scripts {
            let body = JSONValue.array(["EVAL", .string(script), "0"]).encoded()?.lossyString
            for _ in 0..<2 {
                let reply = try await post(server, "", body, key: ServerUnderTest.acme)
                #expect(reply.status == 400 || reply.text == #"{"result":null}"#, "\(script): \(reply.text)")
                #expect(!reply.text.contains("the secret"), "\(script)")
            }
        }
        let script = "redis.call('SET',5,KEYS[1]) return redis.call('GET','5')"
        let own = try await post(server, "", #"["EVAL","\#(script)","1","k"]"#)
        #expect(own.text == #"{"result":"k"}"#)
    }

    /// What metatables do without our guards.
    private static let metatables = [
        ("local A={} A.__index=A function A.f(s) return s.n end return setmetatable({n=5},A):f()", "5"),
        ("local m={} local o=setmetatable({},m) m.__index=function(t,k) return k..'!' end return o.a", #""a!""#),
        ("local m={} return getmetatable(setmetatable({},m))==m and 1 or 0", "1"),
        ("return getmetatable(setmetatable({},{__metatable='mine'}))", #""mine""#),
        ("return pcall(setmetatable,setmetatable({},{__metatable=1}),{}) and 1 or 0", "0"),
        ("return setmetatable({},{__call=function(_,a) return a end})(7)", "7"),
        ("local o=setmetatable({},{}) return getmetatable(setmetatable(o,nil))==nil and 1 or 0", "1"),
        (
            "local B={} B.__index=B function B.g() return 3 end local A=setmetatable({},B) A.__index=A return setmetatable({},A).g()",
            "3"
        ),
        (
            "return setmetatable({},{__tostring=function() return 'text' end}) and tostring(setmetatable({},{__tostring=function() return 'text' end}))",
            #""text""#
        ),
        ("return pcall(setmetatable,1,{}) and 1 or 0", "0"),
    ]

    /// Whatever a script raises or answers ends its own call and nobody else's.
    @Test func noScriptDisturbsOthers() async throws {
        let server = try await Self.server(.redis)
        let trap = "setmetatable({err='x'},{__index=function() error('boom') end})"
        for raising in [
            "error({})", "error()", "error(nil,2)", "error({err={}})", "error(setmetatable({},{__index={err='x'}}))",
            "error(true)",
            "assert(false,{})", "assert(nil)", "coroutine.wrap(function() error({}) end)()", "error(5)", "error('text')",
            "error({err='MINE text'})", "local ok,e=pcall(redis.call,'NOSUCH') error(e)", "error(redis.error_reply('x'))",
        ] {
            let reply = try await post(server, "", JSONValue.array(["EVAL_RO", .string(raising), "0"]).encoded()?.lossyString)
            #expect(reply.status == 400 && reply.json["error"] != nil, "\(raising): \(reply.text)")
        }
        let kept = #"["EVAL","return {pcall(error,'a',0)}","0"]"#
        #expect(try await post(server, "", kept).text == #"{"result":[null,"a"]}"#)
        #expect(try await post(server, "", #"["EVAL","return assert(7,'x')","0"]"#).text == #"{"result":7}"#)
        for answering in [
            "local t={} t[1]=t return t", "return {big_number='abc'}", "return {double=0/0}", "return {err='x y'}",
            "return {verbatim_string={format='x',string='y'}}", "return {map={a={}}}", "return {set={1}}",
            "return redis.error_reply('MOVED 1 127.0.0.1:1')", "return {err='READONLY x'}", "return {err='LOADING x'}",
            // What the server looks into without a net.
            "return \(trap)", "return {\(trap)}", "return {map={a=\(trap)}}", "error(\(trap))",
            "return setmetatable({err='x'},{__index=string.rep})",
            "return setmetatable({err='x'},{__index=function() coroutine.yield() end})",
            "error(setmetatable({err='x'},{__metatable=false,__index=function() error('boom') end}))",
            "local m={} local t=setmetatable({err='x'},m) m.__index=error return t",
            "local m={} local t=setmetatable({err='x'},m) getmetatable(t).__index=error return t",
            "local t=setmetatable({},{__index=setmetatable({},{__index=error})}) rawset(t,'err','x') return t",
            // Lines that no parser should have to keep.
            "return {ok=string.rep('x',70000)}", "return {err=string.rep('x',70000)}",
            "return {big_number=string.rep('1',70000)}",
            "error(string.rep('x',70000))", "return redis.pcall(string.rep('x',70000))",
            "return redis.status_reply(string.rep('x',200000))",
        ] {
            let others = (0..<20).map { _ in Task { try await post(server, "/set/a/1", nil).status } }
            let reply = try await post(server, "", JSONValue.array(["EVAL", .string(answering), "0"]).encoded()?.lossyString)
            #expect([200, 400].contains(reply.status), "\(answering): \(reply.text)")
            for other in others { #expect(try await other.value == 200, "\(answering)") }
        }
        let group = #"["XPENDING","k","\#(String(repeating: "g", count: 70_000))"]"#
        let others = (0..<20).map { _ in Task { try await post(server, "/set/a/1", nil).status } }
        #expect(try await post(server, "", group).status == 400)
        for other in others { #expect(try await other.value == 200) }
        for (script, result) in Self.metatables {
            let reply = try await post(server, "", JSONValue.array(["EVAL_RO", .string(script), "0"]).encoded()?.lossyString)
            #expect(reply.text == #"{"result":\#(result)}"#, "\(script)")
        }
        // What is set for all scripts of the server.
        for setting in [
            "encode_number_precision(2)", "encode_max_depth(2)", "decode_max_depth(2)", "encode_invalid_numbers(true)",
            "encode_sparse_array(true,1,1)", "encode_keep_buffer(false)", "decode_invalid_numbers(false)",
            "new().encode_max_depth(2)",
        ] {
            let reply = try await post(server, "", #"["EVAL","cjson.\#(setting) return 1","0"]"#)
            #expect(reply.status == 400, "\(setting)")
        }
        let json = "return cjson.encode({1.123456789,cjson.decode('[[[1]]]')[1][1][1]})"
        #expect(
            try await post(server, "", #"["EVAL","\#(json)","0"]"#, key: ServerUnderTest.acme).text
                == #"{"result":"[1.123456789,1]"}"#)
        #expect(
            try await post(server, "", #"["EVAL","return collectgarbage('stop')+(collectgarbage('count')>0 and 1 or 0)","0"]"#)
                .text == #"{"result":1}"#)
        // Numbers as Redis sees them.
        let numbers =
            "redis.call('SET',1796121963796513,'one') return {redis.call('GET','1796121963796513'),redis.call('GET',1796121963796514)}"
        let read = try await post(server, "", JSONValue.array(["EVAL", .string(numbers), "0"]).encoded()?.lossyString)
        #expect(read.text == #"{"result":["one",null]}"#)
    }

    @Test func whatCannotBeUnderstoodIsA400() async throws {
        let server = try await Self.server(.embedded)
        for body in ["", "[", "7", "[]", #"[["GET","a"]]"#, #"["GET",null]"#, #"["GET",{"a":1}]"#, #"[""]"#, "{}"] {
            let reply = try await post(server, "", body)
            #expect(reply.status == 400 && reply.json["error"]?.string?.hasPrefix("ERR ") == true, "\(body): \(reply.text)")
        }
        for path in [
            "/pipeline", "/multi-exec", "/get/%zz", "/get/a?%zz", "/blpop/a/1", "/watch/a", "/client/list", "/config/get/x",
        ] {
            let reply = try await post(server, path, nil)
            #expect(reply.status == 400 && reply.json["error"]?.string?.hasPrefix("ERR ") == true, "\(path): \(reply.text)")
        }
        let method = try await server.send(.delete, "/upstash/get/a")
        #expect(method.status == 405 && method.header("Allow") == "GET, HEAD, POST, PUT" && method.json["error"] != nil)
        #expect(try await server.send(.get, "/upstashes").status == 404)
    }

    /// It would show the commands of every tenant: see docs/decisions/0020-no-monitor-behind-upstash.md.
    @Test(arguments: stores)
    func nobodyIsShownWhatOthersDo(_ backend: Backend) async throws {
        let server = try await Self.server(backend)
        for key in [ServerUnderTest.writer, ServerUnderTest.admin] {
            let stream = try await post(server, "/monitor", nil, key: key)
            #expect(stream.status == 400 && stream.text.contains("MONITOR is not available here"), "\(stream.text)")
            #expect(try await post(server, "", #"["MONITOR"]"#, key: key).status == 400)
        }
    }

    @Test func sizesAreLimited() async throws {
        let server = try await Self.server(.embedded)
        let key = String(repeating: "k", count: 32 * 1024)
        #expect(try await post(server, "", #"["SET","\#(key)","v"]"#).status == 200)
        let long = try await post(server, "", #"["SET","\#(key)k","v"]"#)
        #expect(
            long.status == 400 && long.text == #"{"error":"ERR max key size exceeded. Limit: 32768 bytes, Actual: 32769 bytes"}"#)
        let large = try await post(server, "/set/a", String(repeating: "v", count: 10 * 1024 * 1024 + 1))
        #expect(large.status == 400 && large.json["error"]?.string?.hasPrefix("ERR max request size exceeded.") == true)
        #expect(try await post(server, "/set/a", String(repeating: "v", count: 10 * 1024 * 1024)).status == 200)
    }

    @Test func theSyncTokenIsEchoed() async throws {
        let server = try await Self.server(.embedded)
        #expect(
            try await post(server, "/ping", nil, headers: ["upstash-sync-token": "abc=="]).header("upstash-sync-token") == "abc=="
        )
        #expect(try await post(server, "/ping", nil).header("upstash-sync-token") != nil)
    }

    @Test func anOutageIsA503AndNothingIsDecidedHere() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)))
        let under = try ServerUnderTest(state: AgentState(failover: Failover(server: store, local: EmbeddedStore())))
        #expect(try await post(under, "/set/a/b", nil).status == 200)
        server.kill()
        let reply = try await post(under, "/set/a/c", nil)
        #expect(reply.status == 503 && reply.json["error"]?.string?.hasPrefix("ERR ") == true, "\(reply.text)")
        await store.shutdown()
    }
}
