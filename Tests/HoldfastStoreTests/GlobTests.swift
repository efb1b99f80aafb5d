import Testing

@testable import HoldfastStore

@Suite struct GlobTests {
    /// Pattern, text, and what Redis 7.0.15 makes of them (SCAN MATCH; but "*" alone it does not match at all there).
    /// `[a-]` is the range from `]` to `a` there, and unclosed.
    @Test(arguments: [
        ("*", "", false), ("**", "", false), ("*", "abc", true), ("", "", true), ("", "a", false), ("a*", "abc", true),
        ("a*c", "abc", true),
        ("a*c", "abd", false), ("**a", "bba", true), ("a**", "a", true), ("?", "a", true), ("?", "", false), ("a?c", "abc", true),
        ("h[ae]llo", "hello", true), ("h[ae]llo", "hillo", false), ("h[^e]llo", "hallo", true), ("h[^e]llo", "hello", false),
        ("h[a-b]llo", "hbllo", true), ("h[a-b]llo", "hcllo", false), ("h[b-a]llo", "hallo", true), ("[a-]", "-", false),
        ("[a-]", "^", true),
        ("[]", "a", false), ("[^]", "a", true), ("[", "a", false), ("[a", "a", true), ("[a-", "a", true), ("a[", "a", false),
        ("\\*", "*", true), ("\\*", "a", false), ("\\\\", "\\", true), ("\\", "\\", true), ("a\\", "a", false),
        ("[\\]]", "]", true),
        ("[\\-a]", "-", true), ("[a\\-z]", "m", false), ("[a\\-z]", "-", true), ("a*b*c", "aXXbYYc", true),
        ("a*b*c", "aXXcYYb", false),
        ("ABC", "abc", false), ("news.*", "news.", true), ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ("\u{e9}?", "\u{e9}x", true), ("?", "\u{e9}", false), ("??", "\u{e9}", true), ("[!a]", "b", false), ("[!a]", "!", true),
    ]) func matchesAsRedisDoes(_ pattern: String, _ text: String, _ matches: Bool) {
        #expect(Glob(pattern.utf8).matches(Array(text.utf8)) == matches, "\(pattern) on \(text)")
    }

    @Test func whatIsEscapedMatchesOnlyItself() {
        var random = RandomSource(seed: 9)
        let alphabet = Array("ab*?[]^-\\!".utf8)
        for _ in 0..<2000 {
            let text = (0..<Int.random(in: 0...5, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            let other = (0..<Int.random(in: 0...5, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            #expect(Glob(Glob.escape(text)).matches(text))
            #expect(Glob(Glob.escape(text)).matches(other) == (text == other))
        }
    }
}
