// What each process admits by itself, against its share of the limit.
//
// The share is max(1, ⌊limit / instances⌋), by as many instances as the process must know of at the least: it has counted them, or has found the
// number in its predecessor's folder. One that can know nothing takes itself for the only one (`docs/OUTAGES.md`, "How many share a limit").
// A successor with the folder goes on with what is used of the share already, so that restarts open no further ones. What all processes
// admit in an outage is then at most the sum of their shares.

extension Ledger {
    /// Something that a process admitted by itself.
    public struct Admission: Sendable {
        /// By the clock that nobody sets.
        let at: Duration
        /// How many units the process had charged to the server before: once more of them are, this one may be among them, and of what
        /// was charged a successor knows nothing.
        let charged: Int
        /// Whether it is in a sum for certain, which reaches the folder within a second; not where a reply was lost.
        let isKept: Bool

        public init(at: Duration, charged: Int, isKept: Bool) { (self.at, self.charged, self.isKept) = (at, charged, isKept) }
    }

    struct ShareRecord: Sendable {
        /// By the window.
        var admissions: [Int64: [Admission]] = [:]
        /// The largest share by which something was admitted in a window: the number of instances may rise in it.
        var bounds: [Int64: Int] = [:]
    }

    /// A process must know of so many instances from now on, itself included.
    public mutating func knows(_ process: Process, instances: Int) { limits.instances[process] = instances }

    /// A process was started in the place of one that has crashed, whose folder it has: it knows of as many instances, and goes on with its share.
    ///
    /// - Parameters:
    ///   - moment: what was admitted until then is in the folder.
    ///   - charged: how many units the old one had charged to the server.
    public mutating func succeeds(_ new: Process, _ old: Process, writtenUntil moment: Duration, charged: Int) {
        limits.instances[new] = limits.instances[old]
        var record = ShareRecord()
        for (window, admissions) in limits.shares[old]?.admissions ?? [:] {
            let left = admissions.filter { $0.isKept && $0.at <= moment && $0.charged == charged }
            record.admissions[window] = left.map { Admission(at: $0.at, charged: 0, isKept: true) }
        }
        limits.shares[new] = record
    }

    mutating func admitted(_ admission: Admission, by process: Process, in window: Int64, limit: Int) {
        let instances = limits.instances[process] ?? processes
        var record = limits.shares[process] ?? ShareRecord()
        record.admissions[window, default: []].append(admission)
        let bound = max(record.bounds[window] ?? 0, 1, limit / max(1, instances))
        record.bounds[window] = bound
        limits.shares[process] = record
        guard let count = record.admissions[window]?.count, count > bound else { return }
        violated(
            "limit: \(process.name) admitted \(count) in window \(window), its predecessors' included, bound \(bound) by \(instances) instances"
        )
    }
}
