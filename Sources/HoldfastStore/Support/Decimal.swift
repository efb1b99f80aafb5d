#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Numbers in text, by Redis's rules.
enum Decimal {
    /// `string2ll`: an optional minus, digits without leading zeros, within 64 bits. "-0" and "+1" are refused.
    static func parseInteger(_ bytes: ArraySlice<UInt8>) -> Int64? {
        bytes.withUnsafeBufferPointer { text in
            guard let first = text.first else { return nil }
            let negative = first == UInt8(ascii: "-")
            let digits = negative ? text.dropFirst() : text[...]
            guard let lead = digits.first, digits.count <= 19 else { return nil }
            if lead == UInt8(ascii: "0") { return digits.count == 1 && !negative ? 0 : nil }
            // Nineteen digits fit into 64 bits without a sign.
            var magnitude: UInt64 = 0
            for digit in digits {
                let value = digit &- UInt8(ascii: "0")
                guard value <= 9 else { return nil }
                magnitude = magnitude &* 10 &+ UInt64(value)
            }
            if negative { return magnitude <= UInt64(Int64.max) + 1 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil }
            return Int64(exactly: magnitude)
        }
    }

    /// `strtod` over the whole text, without leading space and without "nan".
    ///
    /// - Parameter allowsOverflow: take what is too large for infinity and what is too small for zero, rather than refuse it.
    static func parseDouble(_ bytes: ArraySlice<UInt8>, allowsOverflow: Bool = false) -> Double? {
        // Scores are mostly small integers, which a double holds exactly.
        if bytes.count <= 15, let integer = parseInteger(bytes) { return Double(integer) }
        guard let first = bytes.first, bytes.count < 256, !bytes.contains(0), first > 0x20 else { return nil }
        var text = [CChar](unsafeUninitializedCapacity: bytes.count + 1) { buffer, count in
            for (offset, byte) in bytes.enumerated() { buffer[offset] = CChar(bitPattern: byte) }
            buffer[bytes.count] = 0
            count = bytes.count + 1
        }
        let length = bytes.count
        let parsed: Double? = text.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return nil }
            var end: UnsafeMutablePointer<CChar>?
            let value = strtod(base, &end)
            guard let end, end - base == length, !value.isNaN else { return nil }
            return allowsOverflow || !isOutOfRange(value, bytes) ? value : nil
        }
        return parsed
    }

    /// Whether infinity or zero stands for a number that the text does not say.
    private static func isOutOfRange(_ value: Double, _ bytes: ArraySlice<UInt8>) -> Bool {
        if value.isInfinite { return bytes.contains { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } }
        guard value == 0 else { return false }
        let mantissa = bytes.prefix { $0 | 0x20 != UInt8(ascii: "e") && $0 | 0x20 != UInt8(ascii: "p") }
        return mantissa.contains { (UInt8(ascii: "1")...UInt8(ascii: "9")).contains($0) }
    }

    /// A double as Redis writes it in replies: the shortest text that reads back the same ("%.17g" in RESP3 terms: `3`, `0.1`,
    /// `inf`).
    static func format(_ value: Double) -> String {
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        if value == value.rounded(), abs(value) < 1e17 {
            return value.sign == .minus && value == 0 ? "-0" : String(Int64(value))
        }
        var buffer = [CChar](repeating: 0, count: 40)
        withVaList([value]) { _ = vsnprintf(&buffer, buffer.count, "%.17g", $0) }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    #if arch(x86_64) && os(Linux)
        /// C's `long double`, in which Redis adds what INCRBYFLOAT and HINCRBYFLOAT add.
        typealias LongDouble = Float80
    #else
        /// Redis adds in `long double` here too, which Swift cannot: sums differ in the last digits.
        typealias LongDouble = Double
    #endif

    /// The sum of a number in text (nothing counts as zero) and an amount; nil where the text is no number.
    ///
    /// The amount is taken as its shortest decimal text, which is what goes over the wire: 0.1 and not the double beside it.
    static func sum(_ text: Bytes?, _ amount: Double) -> LongDouble? {
        guard let text else { return LongDouble(amount.description) }
        guard let old = parseDouble(text.storage, allowsOverflow: true).flatMap({ _ in LongDouble(text.lossyString) }) else {
            return nil
        }
        return LongDouble(amount.description).map { old + $0 }
    }

    /// A number as INCRBYFLOAT stores it: `%.17Lf` of a long double without trailing zeros, never an exponent.
    static func formatIncrement(_ value: LongDouble) -> String {
        #if arch(x86_64) && os(Linux)
            var buffer = [CChar](repeating: 0, count: 5120)
            withVaList([value]) { _ = vsnprintf(&buffer, buffer.count, "%.17Lf", $0) }
        #else
            var buffer = [CChar](repeating: 0, count: 400)
            withVaList([value]) { _ = vsnprintf(&buffer, buffer.count, "%.17f", $0) }
        #endif
        var text = Substring(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        while text.last == "0" { text.removeLast() }
        if text.last == "." { text.removeLast() }
        return text == "-0" ? "0" : String(text)
    }
}

extension [UInt8] {
    /// Adds the decimal digits of an integer, as Redis writes them.
    package mutating func append(decimal integer: Int64) {
        let zero = UInt8(ascii: "0")
        // Lengths and counts are mostly this short.
        if integer >= 0, integer < 100 {
            if integer >= 10 { append(zero + UInt8(truncatingIfNeeded: integer / 10)) }
            append(zero + UInt8(truncatingIfNeeded: integer % 10))
            return
        }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { text in
            var place = text.count
            func put(_ byte: UInt8) {
                place -= 1
                text[place] = byte
            }
            var rest = integer.magnitude
            while rest > 0 {
                put(zero + UInt8(truncatingIfNeeded: rest % 10))
                rest /= 10
            }
            if integer < 0 { put(UInt8(ascii: "-")) }
            append(contentsOf: UnsafeBufferPointer(rebasing: text[place...]))
        }
    }
}
