import Foundation

/// Why a command ends without having done what it should: lines for people and a code for programs.
struct CommandFailure: Error {
    /// The codes of `sysexits.h`, where one fits.
    enum Code: Int32 {
        /// What was asked for is not there, or a check failed.
        case negative = 1
        case usage = 64
        case data = 65
        case unavailable = 69
        case software = 70
        case temporary = 75
        case noPermission = 77
        case configuration = 78
    }

    let code: Code
    let lines: [String]

    init(_ code: Code, _ lines: [String]) {
        self.code = code
        self.lines = lines
    }

    init(_ code: Code, _ line: String) { self.init(code, [line]) }

    func finish() -> Never {
        for line in lines { Terminal.complain(line) }
        exit(code.rawValue)
    }
}
