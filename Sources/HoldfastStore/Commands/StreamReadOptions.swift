/// The options of XREAD and XREADGROUP, read as a server reads them: what is a value is no option, whatever it is called, and a word ends
/// where C ends it, at a zero byte.
package struct StreamReadOptions {
    /// What stands behind BLOCK; nil where that is not there.
    package private(set) var block: Bytes?
    /// Where STREAMS stands, behind which are the keys and as many identifiers; nil where it is not there.
    package private(set) var streams: Int?

    /// - Parameter arguments: name first.
    package init(_ arguments: [Bytes]) {
        var place = 1
        while place < arguments.count, streams == nil {
            switch Self.word(arguments[place]) {
            case "STREAMS": streams = place
            case "BLOCK":
                if place + 1 < arguments.count { block = arguments[place + 1] }
                place += 2
            case "COUNT": place += 2
            // Its group and its consumer.
            case "GROUP": place += 3
            default: place += 1
            }
        }
    }

    private static func word(_ bytes: Bytes) -> String {
        String(decoding: bytes.prefix(16).prefix { $0 != 0 }.map { (97...122).contains($0) ? $0 - 32 : $0 }, as: UTF8.self)
    }
}
