import EventLoop
import Foundation
import GRDB
import Glibc
public import QueueService

/// The embedded home of queues: one SQLite file in WAL mode with `synchronous=FULL`, so what is committed survives the
/// machine. One writer, as SQLite has it; readers go beside it and see whole transactions.
public final class SQLiteStore: QueueStore {
    public var isShared: Bool { false }
    public var folder: String? { (pool.path as NSString).deletingLastPathComponent }
    let pool: DatabasePool
    private let lock: FileLock?
    /// Readers and the writer that SQLite has, and who waits for one.
    private let poolLoad = PoolLoad()
    private static let readers = 4
    /// Of the four readers lists leave some for look-ups.
    let lists: ReadGate
    private let smallWrites: SmallWrites

    /// Opens the file, makes it where it is not there, and brings its schema up to date.
    ///
    /// - Parameters:
    ///   - exclusively: refuses a file that another process serves from. Commands that only look something up or add a key go without.
    ///   - limits: how many lists may be read at once, at most three, and how many may wait and for how long.
    public init(path: String, exclusively: Bool, limits: PostgresSettings = PostgresSettings()) throws(StoreOpenError) {
        lists = ReadGate(limit: min(3, limits.lists), maximumWaiting: limits.maximumWaiting, waitSeconds: limits.waitSeconds)
        smallWrites = SmallWrites(maximumWaiting: limits.maximumWaiting)
        lock = exclusively ? try FileLock(path: path) : nil
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.maximumReaderCount = SQLiteStore.readers
        configuration.prepareDatabase { db in
            // What is hot is the end of each table; the system keeps the rest of the file in its own cache.
            try db.execute(sql: "PRAGMA cache_size = -512")
            // A checkpoint for every 16 MB of log: at a thousand joins a commit the default of 4 MB is many.
            try db.execute(sql: "PRAGMA wal_autocheckpoint = 4000")
        }
        do {
            pool = try DatabasePool(path: path, configuration: configuration)
            // Only now: a pool sets it to NORMAL as it opens, and a commit would not wait for the disk.
            try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
            let migrator = SQLiteSchema.migrator
            // An older program on a newer file: GRDB's `migrate` would say nothing.
            guard try pool.read({ try !migrator.hasBeenSuperseded($0) }) else { throw StoreOpenError.newer(path) }
            try migrator.migrate(pool)
            // Whoever served from the file before has ended: the lock says so.
            if exclusively { try pool.write { try $0.execute(sql: "DELETE FROM instances") } }
        } catch let error as StoreOpenError {
            throw error
        } catch {
            throw StoreOpenError(error, path: path)
        }
    }

    /// Whether the file's schema is the one of this program; makes nothing.
    public static func isCurrent(path: String) throws(StoreOpenError) -> Bool {
        do {
            var configuration = Configuration()
            configuration.readonly = true
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            return try queue.read { db in
                guard try !SQLiteSchema.migrator.hasBeenSuperseded(db) else { throw StoreOpenError.newer(path) }
                return try SQLiteSchema.migrator.hasCompletedMigrations(db)
            }
        } catch let error as StoreOpenError {
            throw error
        } catch {
            throw StoreOpenError(error, path: path)
        }
    }

    /// Breaks off what still reads, and closes the file.
    public func close() {
        pool.interrupt()
        try? pool.close()
    }

    /// From beginning to end on the pool's own threads: GRDB's `read` gives its reader back on the caller's executor,
    /// and where that has ended meanwhile, `close` would wait for the reader for ever.
    func reading<R: Sendable>(_ body: @escaping @Sendable (Database) throws -> R) async throws(StoreError) -> R {
        let asked = waits()
        let result: Result<R, any Error> = await withCheckedContinuation { read in
            pool.asyncRead { [self] db in
                begins(asked)
                let result = Result { try body(db.get()) }
                ended()
                read.resume(returning: result)
            }
        }
        do { return try result.get() } catch { throw StoreError(error) }
    }

    /// In one transaction. On the writer's thread at once: GRDB's `write` goes by way of the shared threads.
    func writing<R: Sendable>(_ body: @escaping @Sendable (Database) throws -> R) async throws(StoreError) -> R {
        let asked = waits()
        let result: Result<R, any Error> = await withCheckedContinuation { written in
            pool.asyncWrite { [self] db in
                begins(asked)
                return try body(db)
            } completion: { [self] _, result in
                ended()
                written.resume(returning: result)
            }
        }
        do { return try result.get() } catch { throw StoreError(error) }
    }

    /// Writes a single request's row in one transaction with those of others. Throws `busy` where too many wait.
    func writingTogether(_ body: @escaping SmallWrites.Body) async throws(StoreError) {
        let error = await withCheckedContinuation { completion in
            guard smallWrites.add(body, completion) else { return completion.resume(returning: StoreError.busy("too many writes wait")) }
            writeNextBatch()
        }
        if let error { throw error }
    }

    /// One transaction at a time: a commit waits for one of them at most.
    private func writeNextBatch() {
        guard let batch = smallWrites.take() else { return }
        write([batch[...]])
    }

    /// Writes the last of the batches, then the others. One that meets damage is halved until what is damaged stands alone: SQLite
    /// refuses every write of a transaction in which it has found damage.
    private func write(_ batches: [ArraySlice<SmallWrites.Write>]) {
        guard let batch = batches.last else {
            smallWrites.finish()
            return writeNextBatch()
        }
        let others = Array(batches.dropLast())
        let asked = waits()
        pool.asyncWrite { [self] db in
            begins(asked)
            return try batch.map { try $0.run(db) }
        } completion: { [self] _, result in
            ended()
            switch result {
            case .success(let errors): for (write, error) in zip(batch, errors) { write.completion.resume(returning: error) }
            case .failure(let error):
                if batch.count > 1, case .corrupt = StoreError(error) {
                    let middle = batch.startIndex + batch.count / 2
                    return write(others + [batch[middle...], batch[..<middle]])
                }
                for write in batch { write.completion.resume(returning: StoreError(error)) }
            }
            write(others)
        }
    }
}

/// Its load, and its disk.
extension SQLiteStore {
    public func takeLoad() -> StoreLoad { poolLoad.take() }

    /// Somebody waits for a reader or the writer. Returns when that began.
    private func waits() -> UInt64 {
        poolLoad.change { load in
            // One writer beside the readers.
            (load.limit, load.connections) = (SQLiteStore.readers + 1, SQLiteStore.readers + 1)
            load.waiting += 1
        }
        return EventLoop.monotonicNow()
    }

    private func begins(_ asked: UInt64) {
        let waited = Double(EventLoop.monotonicNow() - asked) / 1e9
        poolLoad.change { load in
            (load.waiting, load.busy) = (load.waiting - 1, load.busy + 1)
            load.longestWaitSeconds = max(load.longestWaitSeconds, waited)
        }
    }

    private func ended() { poolLoad.change { $0.busy -= 1 } }

    public func diskUse() async throws(StoreError) -> DiskUse? {
        let bytes = ["", "-wal"].reduce(0.0) { sum, ending in
            var status = stat()
            return stat(pool.path + ending, &status) == 0 ? sum + Double(status.st_size) : sum
        }
        return DiskUse(bytes: bytes, usedShare: Disk.usedShare(at: folder ?? "."))
    }
}

extension StoreOpenError {
    init(_ error: any Error, path: String) {
        switch (error as? DatabaseError)?.resultCode.primaryResultCode {
        case .SQLITE_NOTADB, .SQLITE_CORRUPT: self = .corrupt(path)
        case .SQLITE_BUSY, .SQLITE_LOCKED: self = .locked(path)
        default: self = .unusable(path, (error as? DatabaseError)?.message ?? "\(error)")
        }
    }
}

extension StoreError {
    init(_ error: any Error) {
        guard let error = error as? DatabaseError else {
            self = (error as? StoreError) ?? .unavailable("\(error)")
            return
        }
        switch error.resultCode.primaryResultCode {
        case .SQLITE_FULL: self = .full
        case .SQLITE_IOERR where errno == ENOSPC: self = .full
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: self = .corrupt(error.message ?? "corrupt")
        // The values themselves.
        case .SQLITE_CONSTRAINT, .SQLITE_TOOBIG, .SQLITE_MISMATCH: self = .rejected(error.message ?? "\(error.resultCode)")
        default: self = .unavailable(error.message ?? "\(error.resultCode)")
        }
    }
}

/// Held while a process serves from a file: SQLite itself would let two of them write in turn.
private final class FileLock: Sendable {
    private let descriptor: Int32

    init(path: String) throws(StoreOpenError) {
        let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard opened >= 0 else { throw .unusable(path, String(cString: strerror(errno))) }
        guard flock(opened, LOCK_EX | LOCK_NB) == 0 else {
            Glibc.close(opened)
            throw .locked(path)
        }
        // Last of all: once it is set, `deinit` closes it, also where this initializer throws.
        descriptor = opened
    }

    // After the pool is closed: closing any descriptor of the file would drop SQLite's own locks on it.
    deinit { Glibc.close(descriptor) }
}
