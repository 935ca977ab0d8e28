#if SANITIZE_THREAD
import Glibc

/// The lock of the thread sanitizer's build. It knows pthreads; the standard library's lock it does not see, and
/// would report everything that is behind one.
public struct Lock<Value>: ~Copyable, @unchecked Sendable {
    private let storage: UnsafeMutablePointer<(lock: pthread_mutex_t, value: Value)>

    public init(_ value: sending Value) {
        storage = .allocate(capacity: 1)
        storage.initialize(to: (pthread_mutex_t(), value))
        pthread_mutex_init(&storage.pointee.lock, nil)
    }

    deinit {
        storage.deinitialize(count: 1)
        storage.deallocate()
    }

    public borrowing func withLock<R, E: Error>(_ body: (inout sending Value) throws(E) -> sending R) throws(E) -> sending R {
        pthread_mutex_lock(&storage.pointee.lock)
        defer { pthread_mutex_unlock(&storage.pointee.lock) }
        return try body(&storage.pointee.value)
    }
}
#else
public import Synchronization

/// A lock around a value: `Synchronization.Mutex`, under a name whose members come from here in both builds.
public struct Lock<Value>: ~Copyable, Sendable {
    @usableFromInline let mutex: Mutex<Value>

    @inlinable public init(_ value: consuming sending Value) { mutex = Mutex(value) }

    @inlinable
    public borrowing func withLock<R, E: Error>(_ body: (inout sending Value) throws(E) -> sending R) throws(E) -> sending R {
        try mutex.withLock(body)
    }
}
#endif
