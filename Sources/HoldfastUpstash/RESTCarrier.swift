import Crypto
import HoldfastStore

/// What brings arguments that are no text over an endpoint whose requests are JSON: Lua that is given them in base64.
///
/// A command whose last argument alone is no text goes as a path with that argument as the body, as Upstash documents it. All others, and
/// those within pipelines and transactions, go as one script: it runs its commands in turn, and together nothing runs in between. Integers
/// beyond 2^53 in their replies would be rounded.
enum RESTCarrier {
    /// Lua unpacks 8,000 values at most, less what stands on its stack by then.
    static let maximumArguments = 7900

    /// One EVAL for these commands.
    ///
    /// ARGV: for each command the number of its arguments, then those in base64. Result: for each command 0 and its reply, or 1 and its
    /// error. No KEYS: they are among the arguments. Cost: that of the commands.
    ///
    /// - Throws: ``HoldfastStore/ErrorCode/tooLarge`` for a command with more than ``maximumArguments``.
    static func script(for commands: [[Bytes]], reads: Bool) throws(StoreError) -> [Bytes] {
        for command in commands where command.count > maximumArguments {
            throw StoreError(
                .tooLarge,
                "A command has \(command.count) arguments; what is no text, or in a transaction with it, takes \(maximumArguments)"
            )
        }
        return [reads ? "EVAL_RO" : "EVAL", commandScript, "0"]
            + commands.flatMap { [Bytes(Int64($0.count))] + $0.map(encoded) }
    }

    /// The replies in that script's reply; nil where it has another shape.
    static func replies(in reply: Reply, count: Int) -> [Reply]? {
        guard let items = reply.elements, items.count == count else { return nil }
        var replies: [Reply] = []
        for item in items {
            guard let parts = item.elements, parts.count == 2, let mark = parts[0].integer else { return nil }
            replies.append(mark == 0 ? parts[1] : .error(ReplyError(parts[1].bytes?.lossyString ?? "ERR")))
        }
        return replies
    }

    static func encoded(_ bytes: Bytes) -> Bytes { Bytes(Base64.standard.encode(bytes)) }

    /// A procedure's Lua, given its ARGV in base64.
    static func decoding(_ lua: String) -> String {
        let end = lua.hasPrefix("#!") ? lua.firstIndex(of: "\n").map { lua.index(after: $0) } ?? lua.endIndex : lua.startIndex
        return lua[..<end] + decoder + "for i=1,#ARGV do ARGV[i]=decode(ARGV[i]) end " + lua[end...]
    }

    static func digest(of lua: String) -> Bytes { Bytes(hex: Insecure.SHA1.hash(data: Array(lua.utf8))) }

    private static let commandScript = Bytes(
        decoder + """
            local results={}
            local i=1
            while i<=#ARGV do
            local n=tonumber(ARGV[i])
            local command={}
            for j=1,n do command[j]=decode(ARGV[i+j]) end
            i=i+n+1
            local reply=redis.pcall(unpack(command))
            if type(reply)=='table' and reply.err then results[#results+1]={1,reply.err} else results[#results+1]={0,reply} end
            end
            return results
            """)

    /// Base64 without padding's subtleties: four digits are three bytes.
    private static let decoder =
        "local digits={} for i=1,64 do digits[string.byte('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',i)]=i-1 end "
        + "local function decode(text) local out={} local n=#text "
        + "local pad=(string.sub(text,-2)=='==') and 2 or (string.sub(text,-1)=='=') and 1 or 0 "
        + "for i=1,n,4 do local a,b,c,d=string.byte(text,i,i+3) "
        + "local v=digits[a]*262144+digits[b]*4096+(digits[c] or 0)*64+(digits[d] or 0) "
        + "out[#out+1]=string.char(math.floor(v/65536),math.floor(v/256)%256,v%256) end "
        + "local all=table.concat(out) return string.sub(all,1,#all-pad) end "
}
