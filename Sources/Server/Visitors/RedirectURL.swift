import Foundation

/// Where a queue sends those whom it lets in: an address of HTTP or HTTPS, to which the admission is added.
enum RedirectURL {
    static func isUsable(_ text: String) -> Bool {
        text.wholeMatch(of: /(?i:https?):\/\/[A-Za-z0-9.\[\]:-]+([\/?#][!-~]*)?/) != nil
    }

    /// The address with one `admission` in its query, whichever was there before, and ahead of a fragment, in which applications of a single
    /// page keep their own path.
    static func adding(_ admission: String, to address: String) -> String {
        let hash = address.firstIndex(of: "#") ?? address.endIndex
        let mark = address[..<hash].firstIndex(of: "?") ?? hash
        let others = address[mark..<hash].dropFirst().split(separator: "&").filter { pair in
            pair.prefix { $0 != "=" }.removingPercentEncoding != "admission"
        }
        return address[..<mark] + "?" + (others + ["admission=\(admission)"]).joined(separator: "&") + address[hash...]
    }
}
