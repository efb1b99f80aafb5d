import HoldfastStore

// What callers give, checked before anything is sent. Every refusal names the parameter.

extension Sessions {
    func checkedLifetime(
        of kind: Session.Kind, ttl: Duration?, absoluteTTL: Duration?
    ) throws(StoreError) -> Lifetime {
        if let ttl { try checkTTL(ttl, "ttl") }
        if let absoluteTTL { try checkTTL(absoluteTTL, "absoluteTTL") }
        let usual = configuration.lifetime(of: kind)
        let absolute = absoluteTTL ?? usual.absolute
        if let ttl, ttl > absolute {
            throw .invalid("ttl", "It is longer than the absolute TTL of \(absolute.milliseconds) ms")
        }
        let lifetime = Lifetime(idle: min(ttl ?? usual.idle, absolute), absolute: absolute)
        // The configured ones, where they are out of bounds.
        try checkTTL(lifetime.idle, "ttl")
        try checkTTL(lifetime.absolute, "absoluteTTL")
        return lifetime
    }

    func checkTTL(_ ttl: Duration, _ name: String) throws(StoreError) {
        guard ttl.milliseconds > 0, ttl <= Self.maximumTTL else {
            throw .invalid(name, "It must be positive and at most \(Self.maximumTTL.milliseconds / 86_400_000) days")
        }
    }

    /// The fields of a new session, names and values by turns, but for what the procedure adds.
    func newFields(
        _ userID: String, _ workspaceID: String?, _ kind: Session.Kind, _ data: [String: JSONValue], _ clientAddress: String?,
        _ userAgent: String?
    ) throws(StoreError) -> [Bytes] {
        let limits = configuration.limits
        try checkUser(userID)
        try check(workspaceID, "workspaceID", atMost: limits.identifierBytes)
        try check(clientAddress, "clientAddress", atMost: limits.clientBytes)
        try check(userAgent, "userAgent", atMost: limits.clientBytes)
        guard data.count <= fieldLimit else { throw tooLarge("data", "At most \(fieldLimit) fields are allowed") }
        var fields: [Bytes] = ["user", Bytes(userID), "kind", Bytes(kind.rawValue), "fields", Bytes(Int64(data.count))]
        for (name, text) in [("workspace", workspaceID), ("address", clientAddress), ("agent", userAgent)] {
            if let text { fields += [Bytes(name), Bytes(text)] }
        }
        if kind == .conversation { fields += ["window", Bytes(Int64(min(1000, max(1, configuration.conversationWindow))))] }
        let stored = try storedFields(data)
        let size = stored.reduce(0) { $0 + $1.count }
        guard size <= limits.bytes else { throw tooLarge("data", "At most \(limits.bytes) bytes are allowed") }
        return fields + ["size", Bytes(Int64(size))] + stored
    }

    func updateArguments(
        _ set: [String: JSONValue], _ remove: Set<String>, _ expecting: SessionExpectation
    ) throws(StoreError) -> [Bytes] {
        guard !set.isEmpty || !remove.isEmpty else { throw .invalid("set", "Nothing is to be changed") }
        for name in remove {
            guard set[name] == nil else { throw .invalid("data.\(name)", "It cannot be both set and removed") }
            try checkFieldName(name)
        }
        guard set.count <= fieldLimit, remove.count <= fieldLimit, expecting.fields.count <= fieldLimit else {
            throw tooLarge("data", "At most \(fieldLimit) fields are allowed")
        }
        var expected: [Bytes] = []
        for (name, value) in expecting.fields {
            try checkFieldName(name)
            expected.append(SessionFields.data(name))
            if let value { expected.append(try stored(value, name)) } else { expected.append(Bytes()) }
        }
        let new = try storedFields(set)
        guard new.reduce(0, { $0 + $1.count }) <= configuration.limits.bytes else {
            throw tooLarge("data", "At most \(configuration.limits.bytes) bytes are allowed")
        }
        let head = [
            Bytes(Int64(configuration.limits.bytes)), Bytes(Int64(fieldLimit)), expecting.version.map(Bytes.init) ?? Bytes(),
        ]
        return head + [Bytes(Int64(expected.count / 2))] + expected + [Bytes(Int64(new.count / 2))] + new
            + [Bytes(Int64(remove.count))] + remove.map(SessionFields.data)
    }

    func appendArguments(_ messages: [NewSessionMessage], _ operation: OperationID?) throws(StoreError) -> [Bytes] {
        guard !messages.isEmpty else { throw .invalid("messages", "There is none") }
        guard messages.count <= 1000 else { throw tooLarge("messages", "At most 1000 at once") }
        var arguments = [Bytes(Int64(configuration.limits.bytes)), operation?.retentionArgument ?? Bytes()]
        for message in messages {
            try check(message.role, "messages.role", atMost: configuration.limits.fieldNameBytes)
            guard let json = SessionFields.json(message) else {
                throw .invalid("messages.content", "An infinity or NaN cannot be stored")
            }
            guard json.count <= configuration.limits.bytes else {
                throw tooLarge("messages.content", "At most \(configuration.limits.bytes) bytes are allowed")
            }
            arguments.append(json)
        }
        return arguments
    }

    func checkUser(_ userID: String) throws(StoreError) {
        try check(userID, "userID", atMost: configuration.limits.identifierBytes)
    }

    // MARK: - Small ones

    /// Lua can pass about 8000 arguments on to a command.
    private var fieldLimit: Int { min(1000, configuration.limits.fields) }

    private func storedFields(_ data: [String: JSONValue]) throws(StoreError) -> [Bytes] {
        var fields: [Bytes] = []
        for (name, value) in data {
            try checkFieldName(name)
            fields += [SessionFields.data(name), try stored(value, name)]
        }
        return fields
    }

    private func stored(_ value: JSONValue, _ name: String) throws(StoreError) -> Bytes {
        guard let text = value.encoded() else { throw .invalid("data.\(name)", "An infinity or NaN cannot be stored") }
        return text
    }

    private func checkFieldName(_ name: String) throws(StoreError) {
        guard (1...configuration.limits.fieldNameBytes).contains(name.utf8.count) else {
            throw .invalid("data", "The name of a field has 1 to \(configuration.limits.fieldNameBytes) bytes")
        }
    }

    private func check(_ text: String?, _ name: String, atMost limit: Int) throws(StoreError) {
        guard let text else { return }
        guard !text.isEmpty else { throw .invalid(name, "It must not be empty") }
        guard text.utf8.count <= limit else { throw tooLarge(name, "At most \(limit) bytes are allowed") }
    }

    private func tooLarge(_ name: String, _ message: String) -> StoreError { StoreError(.tooLarge, message, field: name) }
}
