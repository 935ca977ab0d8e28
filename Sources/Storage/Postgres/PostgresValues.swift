import CPostgres
import QueueEngine
import QueueService

/// A value in Postgres' binary format: what is sent needs no quoting, and what comes needs no parsing.
protocol PostgresValue {
    /// `pg_type.oid`, for arrays.
    static var oid: UInt32 { get }
    func encode(into bytes: inout [UInt8])
    /// - Parameter bytes: a whole value; nil where it cannot be one.
    init?(postgres bytes: UnsafeRawBufferPointer)
}

extension Int64: PostgresValue {
    static var oid: UInt32 { 20 }
    func encode(into bytes: inout [UInt8]) { bytes.appendBigEndian(UInt64(bitPattern: self)) }
    init?(postgres bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 8 else { return nil }
        self = Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
    }
}

extension Double: PostgresValue {
    static var oid: UInt32 { 701 }
    func encode(into bytes: inout [UInt8]) { bytes.appendBigEndian(bitPattern) }
    init?(postgres bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 8 else { return nil }
        self = Double(bitPattern: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)))
    }
}

extension Bool: PostgresValue {
    static var oid: UInt32 { 16 }
    func encode(into bytes: inout [UInt8]) { bytes.append(self ? 1 : 0) }
    init?(postgres bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 1 else { return nil }
        self = bytes[0] != 0
    }
}

extension String: PostgresValue {
    static var oid: UInt32 { 25 }
    func encode(into bytes: inout [UInt8]) { bytes.append(contentsOf: utf8) }
    init?(postgres bytes: UnsafeRawBufferPointer) { self = String(decoding: bytes, as: UTF8.self) }
}

/// `bytea`.
struct Bytes: PostgresValue {
    let bytes: [UInt8]
    init(_ bytes: [UInt8]) { self.bytes = bytes }
    static var oid: UInt32 { 17 }
    func encode(into target: inout [UInt8]) { target.append(contentsOf: bytes) }
    init?(postgres bytes: UnsafeRawBufferPointer) { self.bytes = Array(bytes) }
}

extension Identifier: PostgresValue {
    static var oid: UInt32 { 2950 }
    func encode(into bytes: inout [UInt8]) {
        bytes.appendBigEndian(high)
        bytes.appendBigEndian(low)
    }
    init?(postgres bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 16 else { return nil }
        self.init(
            high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
            low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
}

/// `timestamptz`: microseconds since 2000.
extension Timestamp: PostgresValue {
    static var oid: UInt32 { 1184 }
    private static var year2000: Int64 { 946_684_800_000_000 }
    private static var year10000: Int64 { 253_402_300_800_000_000 }
    func encode(into bytes: inout [UInt8]) { (microseconds &- Timestamp.year2000).encode(into: &bytes) }
    init?(postgres bytes: UnsafeRawBufferPointer) {
        guard let since = Int64(postgres: bytes) else { return nil }
        // Whoever edits a row by hand may write 'infinity'; nothing that is reckoned from a moment may overflow.
        let last = Timestamp.year10000 - Timestamp.year2000
        self.init(microseconds: max(Timestamp.distantPast.microseconds, min(max(since, -last), last) + Timestamp.year2000))
    }
}

extension [UInt8] {
    mutating func appendBigEndian(_ number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }
}

/// A column of values on its way to `unnest`: one parameter, however many rows.
struct PostgresColumn<Element: PostgresValue> {
    private(set) var count: Int32 = 0
    private var hasNulls = false
    private var elements: [UInt8] = []

    mutating func append(_ element: Element?) {
        count += 1
        guard let element else {
            hasNulls = true
            return elements.appendBigEndian(Int32(-1))
        }
        let start = elements.count
        elements.appendBigEndian(Int32(0))
        element.encode(into: &elements)
        let length = UInt32(elements.count - start - 4)
        for byte in 0..<4 { elements[start + byte] = UInt8(truncatingIfNeeded: length >> UInt32(24 - 8 * byte)) }
    }

    /// The array as the server's `array_recv` reads it: dimensions, whether there are nulls, the type, size and first index.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(20 + elements.count)
        bytes.appendBigEndian(Int32(count == 0 ? 0 : 1))
        bytes.appendBigEndian(Int32(hasNulls ? 1 : 0))
        bytes.appendBigEndian(Element.oid)
        if count > 0 {
            bytes.appendBigEndian(count)
            bytes.appendBigEndian(Int32(1))
            bytes += elements
        }
        return bytes
    }
}

/// A statement with what it is given. Each text is prepared once a connection.
struct PostgresCall {
    let sql: StaticString
    private(set) var parameters: [[UInt8]?] = []

    init(_ sql: StaticString) { self.sql = sql }

    func with<V: PostgresValue>(_ value: V?) -> PostgresCall {
        with(
            encoded: value.map { value in
                var bytes: [UInt8] = []
                value.encode(into: &bytes)
                return bytes
            })
    }

    func with<V: PostgresValue>(_ column: PostgresColumn<V>) -> PostgresCall { with(encoded: column.encoded) }

    private func with(encoded bytes: [UInt8]?) -> PostgresCall {
        var call = self
        call.parameters.append(bytes)
        return call
    }
}

/// What a statement answered. Read-only, so any thread may read it.
final class PostgresResult: @unchecked Sendable {
    private let handle: OpaquePointer

    /// Takes `handle` over.
    init(owning handle: OpaquePointer) { self.handle = handle }
    deinit { PQclear(handle) }

    var count: Int { Int(PQntuples(handle)) }
    /// Rows that the statement has changed.
    var changedCount: Int { Int(String(cString: PQcmdTuples(handle))) ?? 0 }

    /// The value in a row's column; nil for NULL.
    func value<V: PostgresValue>(_ row: Int, _ column: Int, as type: V.Type = V.self) throws(StoreError) -> V? {
        let (row, column) = (Int32(row), Int32(column))
        guard PQgetisnull(handle, row, column) == 0 else { return nil }
        let bytes = UnsafeRawBufferPointer(start: PQgetvalue(handle, row, column), count: Int(PQgetlength(handle, row, column)))
        guard let value = V(postgres: bytes) else { throw .corrupt("a column that is no \(V.self)") }
        return value
    }

    var rows: [PostgresRow] { (0..<count).map { PostgresRow(result: self, index: $0) } }
    var first: PostgresRow? { count == 0 ? nil : PostgresRow(result: self, index: 0) }
}

/// A row, read by the order of its columns.
struct PostgresRow {
    let result: PostgresResult
    let index: Int

    func optional<V: PostgresValue>(_ column: Int, as type: V.Type = V.self) throws(StoreError) -> V? {
        try result.value(index, column)
    }

    /// A number that is never negative, unless somebody has edited it.
    func number(_ column: Int) throws(StoreError) -> UInt64 {
        guard let number = UInt64(exactly: try get(column, as: Int64.self)) else { throw .corrupt("a negative number in a row") }
        return number
    }

    func get<V: PostgresValue>(_ column: Int, as type: V.Type = V.self) throws(StoreError) -> V {
        guard let value: V = try result.value(index, column) else { throw .corrupt("a column without a value") }
        return value
    }
}
