import Crypto
import HoldfastStore

/// User Lua that sees its own names only.
///
/// A script can name any key of a server, and no server can hold it to those that it declares. So a script is sent behind one line
/// of ours, which shadows `KEYS`, `ARGV` and `redis`: the script sees the names that its caller uses, and `redis.call` puts the
/// caller's prefix before each key of a command that is known here, and refuses the others. Arguments are strings and numbers: a
/// table could answer our prefix with another name. What would give the globals back (`_G`, `load`, `server`, …) is shadowed too. A
/// server with a global that is not known here, or with libraries that a script can change (Redis before 6.2.7), runs no scripts: what
/// shadows it could be undone. Errors are raised as texts, or as tables with one: Redis 7.0 does not survive others. The line ends with a semicolon, so that no script goes on with its last statement, and without a
/// line end, so that the numbers in errors stay the script's own.
///
/// `ARGV[1]` is the prefix, so all tenants share one text. A different text has a different digest: ``ScriptNames`` keeps which.
enum ScriptSandbox {
    /// The script as it is sent to the server.
    static func text(of script: Bytes) -> Bytes {
        guard script.starts(with: "#!".utf8) else { return Bytes(Array(preamble.utf8) + Array(script)) }
        let end = script.firstIndex(of: UInt8(ascii: "\n")) ?? script.endIndex
        let head = shebang(String(decoding: script[script.startIndex..<end], as: UTF8.self))
        return Bytes(Array(head.utf8) + Array("\n".utf8) + preamble.utf8 + Array(script[end...].dropFirst()))
    }

    /// The first line without `allow-key-locking`, which Upstash knows and Redis refuses: it lets scripts of other keys run meanwhile,
    /// where Redis lets one run at a time anyway.
    private static func shebang(_ line: String) -> String {
        line.split(whereSeparator: { $0 == " " || $0 == "\r" }).compactMap { word -> String? in
            guard word.hasPrefix("flags=") else { return String(word) }
            let flags = word.dropFirst(6).split(separator: ",").filter { $0 != "allow-key-locking" }
            return flags.isEmpty ? nil : "flags=\(flags.joined(separator: ","))"
        }.joined(separator: " ")
    }

    static func digest(of script: Bytes) -> Bytes { Bytes(hex: Insecure.SHA1.hash(data: Array(script))) }

    // MARK: - The line

    /// `p`: by command, where its keys stand, as `first last step`, or the letter of one of the other ways; `r` where it draws at random.
    private static let preamble: String = {
        let rows = RawCommand.all.compactMap { row -> String? in
            let place: String? =
                switch row.keys {
                case .none: "{}"
                case .range(let first, let last, let step): "{\(first),\(last),\(step)\(row.isDrawing ? ",r=1" : "")}"
                case .counted(let position): "{\(position)}"
                case .destinationAndCounted: "{2,d=1}"
                case .behindStreams: "{s=1}"
                }
            return row.name == "PUBLISH" ? "PUBLISH={1,1,1}" : place.map { "['\(row.name)']=\($0)" }
        }
        let names = (shadowed + harmless).map { "['\($0)']=1" }.joined(separator: ",")
        let text =
            opening + "local known={\(names)} " + checks + "local p={\(rows.joined(separator: ","))} " + guards + closing
            + "local \(shadowed.joined(separator: ","))=nil;"
        return text.split(separator: "\n").map { $0.drop { $0 == " " } }.joined(separator: " ")
    }()

    /// Globals that lead to what the script must not have, on one server or another.
    private static let shadowed =
        "load loadstring server getfenv setfenv newproxy dofile loadfile require module package debug".split(separator: " ")

    /// Globals that do not; `_G`, `redis`, `KEYS` and `ARGV` are shadowed by themselves.
    private static let harmless =
        """
        _G redis KEYS ARGV _VERSION assert bit cjson cmsgpack collectgarbage coroutine error gcinfo getmetatable ipairs math next os pairs \
        pcall print rawequal rawget rawset select setmetatable string struct table tonumber tostring type unpack xpcall \
        __redis__err__handler __redis__compare_helper __server__err__handler
        """.split(separator: " ")

    /// `_G` becomes the refusal where the server cannot hold a script, and nil elsewhere.
    private static let opening = """
        local KEYS,ARGV,redis,_G,error,assert,setmetatable,getmetatable,cjson,collectgarbage=(function(K,A,R,G)

        """

    private static let checks = """
        for k in pairs(G) do
        if not known[k] then
        return K,A,R,R.error_reply('ERR scripts are not available: the global '..tostring(k)..' is not known here')
        end
        end
        if pcall(rawset,string,'',nil) or pcall(rawset,getmetatable(''),'',nil) then
        return K,A,R,R.error_reply('ERR scripts are not available: they could change the libraries of this server, before Redis 6.2.7')
        end
        local h=table.remove(A,1)
        local n=#h
        local own={}
        for i=1,#K do own[i]=string.sub(K[i],n+1) end

        """

    /// `a`: the call's arguments, `c` of them; `u`: what the caller may learn of a reply that names keys.
    private static let guards = """
        local function text(v) return type(v)=='number' and string.format('%.17g',v) or v end
        local function keyed(a,c)
        for i=1,c do
        local t=type(a[i])
        if t~='string' and t~='number' then return nil,'ERR Lua redis lib command arguments must be strings or integers' end
        end
        local name=string.upper(tostring(a[1]))
        local w=p[name]
        if not w then return nil,'ERR '..string.sub(name,1,64)..' is not available to scripts here' end
        if w.r and (tonumber(a[3]) or 0)<-\(Keyspace.maximumDraws) then return nil,'\(ReplyError.tooManyDraws.line)' end
        if name=='COPY' then for i=4,#a do if string.upper(tostring(a[i]))~='REPLACE' then return nil,'ERR syntax error' end end end
        local first,last,step=w[1],w[2],w[3] or 1
        if w.d and a[2]~=nil then a[2]=h..text(a[2]) end
        if w.s then
        local i=2
        while i<=#a do
        local o=string.upper(string.match(tostring(a[i]),'^[^%z]*'))
        if o=='STREAMS' then first=i+1 last=i+math.floor((#a-i)/2) break end
        i=i+(o=='GROUP' and 3 or (o=='COUNT' or o=='BLOCK') and 2 or 1)
        end
        elseif first then
        if not last then last=first+1+(tonumber(a[first+1]) or 0) first=first+2
        elseif last<0 then last=#a+last+1 first=first+1 else first,last=first+1,last+1 end
        end
        if first then for i=first,math.min(last or 0,#a),step do a[i]=h..text(a[i]) end end
        return name
        end
        local function u(name,r)
        if type(r)~='table' or r.err or r.ok then return r end
        if name=='LMPOP' or name=='ZMPOP' then r[1]=string.sub(r[1],n+1)
        elseif name=='XREAD' or name=='XREADGROUP' then for i=1,#r do r[i][1]=string.sub(r[i][1],n+1) end end
        return r
        end
        local call,pcall_,unpack_=R.call,R.pcall,unpack
        local g={error_reply=R.error_reply,status_reply=R.status_reply,sha1hex=R.sha1hex,log=function() end,
        LOG_DEBUG=0,LOG_VERBOSE=1,LOG_NOTICE=2,LOG_WARNING=3}
        g.call=function(...)
        local a={...}
        local name,refusal=keyed(a,select('#',...))
        if not name then error({err=refusal}) end
        return u(name,call(unpack_(a,1,select('#',...))))
        end
        g.pcall=function(...)
        local a={...}
        local name,refusal=keyed(a,select('#',...))
        if not name then return {err=refusal} end
        return u(name,pcall_(unpack_(a,1,select('#',...))))
        end

        """

    /// `cjson` has no settings, and `collectgarbage` only counts: both are the server's, for the scripts of all.
    /// `setmetatable` keeps a copy of what it is given, and `getmetatable` answers the original: the server looks into what a script raises or
    /// answers without a net, so nothing of the script's may run then (`unseen`).
    private static let closing = """
        local E,set,get=error,setmetatable,getmetatable
        local unseen={err=1,source=1,line=1,ignore_error_stats_update=1}
        local given=set({},{__mode='k'})
        local function setmetatable_(t,m)
        local now=type(t)=='table' and given[get(t) or 0]
        if now and rawget(now,'__metatable')~=nil then E('cannot change a protected metatable',2) end
        if type(t)~='table' or type(m)~='table' then return set(t,m) end
        local copy={}
        for k,v in pairs(m) do copy[k]=v end
        copy.__metatable=nil
        copy.__index=function(t,k)
        local i=rawget(m,'__index')
        if i==nil or unseen[k] then return nil end
        if type(i)=='function' then return i(t,k) end
        return i[k]
        end
        given[copy]=m
        return set(t,copy)
        end
        local function getmetatable_(t)
        local m=get(t)
        local seen=type(t)=='table' and m and given[m] or m
        if type(seen)=='table' and rawget(seen,'__metatable')~=nil then return rawget(seen,'__metatable') end
        return seen
        end
        local function raise(e,l)
        if type(e)=='table' and type(rawget(e,'err'))=='string' then E(get(e) and {err=rawget(e,'err')} or e) end
        if type(e)=='number' then e=tostring(e) end
        if type(e)~='string' then e='ERR an error that is no text' end
        E(e,l==0 and 0 or type(l)=='number' and l+1 or 2)
        end
        local function assert_(...)
        local v,m=...
        if v then return ... end
        raise(m==nil and 'assertion failed!' or m,0)
        end
        local J,gc=cjson,collectgarbage
        local json=J and {encode=J.encode,decode=J.decode,null=J.null,_NAME=J._NAME,_VERSION=J._VERSION}
        local function count(what) return what=='count' and gc('count') or 0 end
        return own,A,g,nil,raise,assert_,setmetatable_,getmetatable_,json,gc and count
        end)(KEYS,ARGV,redis,_G)
        if _G then return _G end

        """
}

/// Which digest a script has here that its caller knows by another.
///
/// Kept in this process, as a server keeps its scripts: who asks for one that is not known gets NOSCRIPT, and sends the text again.
final class ScriptNames: Sendable {
    /// Of scripts, in the order in which they came. Callers have dozens; one that makes them at run time loses the oldest.
    static let limit = 10_000

    private struct State {
        var digests: [Bytes: Bytes] = [:]
        var order: [Bytes] = []
    }

    private let state = Locked(State())

    /// The digest that the server has for the script that its caller calls by `digest`.
    func digest(for digest: Bytes) -> Bytes? {
        let name = Bytes(digest.lossyString.lowercased())
        return state.withLock { $0.digests[name] }
    }

    /// Remembers a script and answers the digest that its caller knows it by.
    @discardableResult
    func add(_ script: Bytes, sentAs text: Bytes) -> Bytes {
        let name = ScriptSandbox.digest(of: script)
        let digest = ScriptSandbox.digest(of: text)
        state.withLock { state in
            guard state.digests.updateValue(digest, forKey: name) == nil else { return }
            state.order.append(name)
            guard state.order.count > Self.limit else { return }
            for old in state.order.prefix(Self.limit / 2) { state.digests[old] = nil }
            state.order.removeFirst(Self.limit / 2)
        }
        return name
    }

    func removeAll() { state.withLock { $0 = State() } }
}
