import QueueService

/// How much every long-lived collection of a service holds, found by reflection: one that is added later is seen, too.
struct Sizes {
    /// The number of elements in each collection, by its path from the service.
    func of(_ service: QueueService) -> [String: Int] {
        var sizes: [String: Int] = [:]
        add(Mirror(reflecting: service), "", depth: 0, &sizes)
        return sizes
    }

    private static let deepest = 6
    /// Elements of one collection that are looked into; all are counted.
    private static let looked = 64

    private func add(_ mirror: Mirror, _ path: String, depth: Int, _ sizes: inout [String: Int]) {
        guard depth < Sizes.deepest else { return }
        switch mirror.displayStyle {
        case .collection, .dictionary, .set:
            sizes[path, default: 0] += mirror.children.count
            for child in mirror.children.prefix(Sizes.looked) { descend(child.value, path + "[]", depth, &sizes) }
        case .optional: for child in mirror.children { descend(child.value, path, depth, &sizes) }
        case .class where depth > 0: break
        default:
            for child in mirror.children {
                descend(child.value, path.isEmpty ? child.label ?? "" : path + "." + (child.label ?? ""), depth, &sizes)
            }
        }
    }

    private func descend(_ value: Any, _ path: String, _ depth: Int, _ sizes: inout [String: Int]) {
        let mirror = Mirror(reflecting: value)
        guard !mirror.children.isEmpty || mirror.displayStyle == .collection else { return }
        add(mirror, path, depth: depth + 1, &sizes)
    }
}
