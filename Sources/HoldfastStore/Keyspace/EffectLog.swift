/// What becomes of a step that may change something, now.
package enum WriteAdmission: Sendable {
    case granted
    /// The disk fails.
    case refused(ReplyError)
    /// More waits for the disk than may: ``EmbeddedStore/waitForRoom()``, and then again.
    case full
}

/// What a key space has changed and nobody has taken yet, in RESP: what a journal appends to its file.
///
/// It is written while the key space is locked, straight into one growing buffer; whoever writes to the disk swaps the buffer for
/// an empty one and does so outside the lock. The effects of one step (an operation, a transaction, a procedure) stand between
/// MULTI and EXEC where there are several, so that a reader that stops anywhere has the whole step or nothing of it.
struct EffectLog: Sendable {
    /// Set once, before the first step that counts.
    var isOn = false
    /// Whether the reader sleeps and wants to be woken by the next effect.
    var readerSleeps = false
    /// Why steps that would change something are refused; nil where they are not.
    var refusal: ReplyError?
    /// How many bytes may wait to be taken before such steps have to wait.
    var capacity = Int.max

    private var writer = CommandWriter()
    /// How many bytes were taken so far.
    private var taken = 0
    /// Where the step under way begins, and how many effects it has had.
    private var stepStart = 0
    private var stepCount = 0

    /// How many bytes there have been in all. What a step has written ends here.
    var end: Int { taken + writer.buffer.count }
    /// How many bytes wait to be taken.
    var count: Int { writer.buffer.count }

    var admission: WriteAdmission {
        if let refusal { return .refused(refusal) }
        return count > capacity ? .full : .granted
    }

    mutating func append(_ effect: Operation) {
        if stepCount == 1 { writer.buffer.insert(contentsOf: Self.multi, at: stepStart) }
        effect.write(to: &writer)
        stepCount += 1
    }

    /// Ends a step; answers whether the reader has to be woken.
    mutating func endStep() -> Bool {
        guard stepCount > 0 else { return false }
        if stepCount > 1 { writer.buffer.append(contentsOf: Self.exec) }
        stepCount = 0
        stepStart = writer.buffer.count
        defer { readerSleeps = false }
        return readerSleeps
    }

    /// Gives what has been written in exchange for a buffer, whose memory is used again.
    mutating func take(into buffer: inout [UInt8]) {
        taken += writer.buffer.count
        buffer.removeAll(keepingCapacity: true)
        swap(&buffer, &writer.buffer)
        stepStart = 0
    }

    static let multi = Array("*1\r\n$5\r\nMULTI\r\n".utf8)
    static let exec = Array("*1\r\n$4\r\nEXEC\r\n".utf8)
}
