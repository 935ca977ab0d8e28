import CLinux

/// Has the processor fetch the beginning of an object that will soon be used.
///
/// Ten thousand connections do not fit into its caches. Whoever goes through all of them asks for the next ones while
/// the kernel sends for this one, instead of waiting for memory at each.
@inlinable  // Only then is nothing counted in the object, which is the memory that is not there yet.
public func prefetch(_ object: AnyObject) { prefetch(UnsafeRawPointer(Unmanaged.passUnretained(object).toOpaque())) }

@usableFromInline
func prefetch(_ address: UnsafeRawPointer) {
    clinux_prefetch(address)
    clinux_prefetch(address + 64)
}
