import Foundation
import HoldfastStore

/// The clock on the wall of a server that a test starts, which the test can set while the server runs.
///
///     let clock = try await ServerClock.start()
///     options.clock = clock
///     clock.step(by: .seconds(-30))
///
/// A small library that is loaded before the server's own answers what the system would, and adds the offset that stands in a file that
/// both have mapped. What measures spans, `CLOCK_MONOTONIC`, goes on as it does when a real clock is set. (libfaketime does not start with a
/// Redis that is linked to jemalloc, which asks for the time before the loader has found anybody to ask.)
public final class ServerClock: Sendable {
    private let library: String
    private let file: String
    private let setting = Locked(Duration.zero)

    private static let built = Task.detached { try await build() }

    public static func start() async throws -> ServerClock { try ServerClock(library: await built.value) }

    private init(library: String) throws {
        self.library = library
        file = try TestFolders.make("clock") + "/offset"
        try Data(count: 8).write(to: URL(fileURLWithPath: file))
    }

    /// How far it is from the machine's.
    public var offset: Duration { setting.withLock { $0 } }

    /// Sets the clock forward by the span, or back where it is negative.
    public func step(by span: Duration) {
        let microseconds = setting.withLock { setting in
            setting += span
            return setting.milliseconds * 1000
        }
        // In place: the server has this very file mapped, and eight bytes are written at once.
        guard let handle = FileHandle(forUpdatingAtPath: file) else { return }
        handle.write(withUnsafeBytes(of: microseconds) { Data($0) })
        try? handle.close()
    }

    /// What stands before the command that starts a server.
    var command: [String] { ["env", "LD_PRELOAD=\(library)", "HOLDFAST_SERVER_CLOCK=\(file)"] }

    /// By the compiler that Swift's toolchain brings along.
    private static func build() async throws -> String {
        let folder = try TestFolders.make("server-clock")
        let (code, library, log) = (folder + "/clock.c", folder + "/clock.so", folder + "/log")
        try source.write(toFile: code, atomically: false, encoding: .utf8)
        let compiler = try ChildProcess(
            ["clang", "-shared", "-fPIC", "-O1", "-o", library, code], standardOutput: log, standardError: log)
        try await polled("clang did not end") { !compiler.isRunning }
        guard compiler.wait() == 0 else {
            throw TestServerError("clang failed: \((try? String(contentsOfFile: log, encoding: .utf8)) ?? "")")
        }
        return library
    }

    private static let source = """
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>

        static const volatile long long *offset;

        __attribute__((constructor)) static void map(void) {
            const char *path = getenv("HOLDFAST_SERVER_CLOCK");
            int file = path ? open(path, O_RDONLY) : -1;
            if (file < 0) abort();
            void *place = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
            if (place == MAP_FAILED) abort();
            offset = place;
            close(file);
        }

        static long long microseconds(void) {
            struct timespec now;
            syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
            return now.tv_sec * 1000000LL + now.tv_nsec / 1000 + (offset ? *offset : 0);
        }

        int gettimeofday(struct timeval *restrict time, void *restrict zone) {
            long long now = microseconds();
            time->tv_sec = now / 1000000;
            time->tv_usec = now % 1000000;
            return 0;
        }

        time_t time(time_t *place) {
            time_t now = microseconds() / 1000000;
            if (place) *place = now;
            return now;
        }

        int clock_gettime(clockid_t clock, struct timespec *time) {
            if (clock != CLOCK_REALTIME) return syscall(SYS_clock_gettime, clock, time);
            long long now = microseconds();
            time->tv_sec = now / 1000000;
            time->tv_nsec = now % 1000000 * 1000;
            return 0;
        }
        """
}
