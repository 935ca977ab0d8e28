import Glibc

enum Disk {
    /// How much of the disk that a folder is on is in use, 0 to 1; nil where it cannot be asked.
    static func usedShare(at folder: String) -> Double? {
        var status = statvfs()
        guard statvfs(folder.isEmpty ? "." : folder, &status) == 0, status.f_blocks > 0 else { return nil }
        return 1 - Double(status.f_bavail) / Double(status.f_blocks)
    }
}
