/// One extension in `Sec-WebSocket-Extensions` (RFC 6455 §9.1), with its parameters in order:
///
///     extension-list  = 1#extension
///     extension       = extension-token *( ";" extension-param )
///     extension-param = token [ "=" (token | quoted-string) ]
struct ExtensionOffer: Equatable {
    let name: String
    var parameters: [(name: String, value: String?)] = []

    static func == (a: ExtensionOffer, b: ExtensionOffer) -> Bool {
        a.name == b.name && a.parameters.elementsEqual(b.parameters) { $0 == $1 }
    }

    /// All offers of all values; nil where one of them breaks the grammar, which then says nothing.
    static func parse(_ values: [String]) -> [ExtensionOffer]? {
        var offers: [ExtensionOffer] = []
        for value in values {
            var reader = Reader(rest: Array(value.utf8)[...])
            guard reader.list(&offers) else { return nil }
        }
        return offers
    }

    private struct Reader {
        var rest: ArraySlice<UInt8>

        /// Empty elements of a list are passed over (RFC 9110 §5.6.1.2).
        mutating func list(_ offers: inout [ExtensionOffer]) -> Bool {
            while true {
                while take(0x2C) {}
                if rest.isEmpty { return true }
                guard let name = token() else { return false }
                var offer = ExtensionOffer(name: name)
                while take(0x3B) {
                    guard let parameter = token() else { return false }
                    var value: String?
                    if take(0x3D) {
                        value = rest.first == 0x22 ? quoted() : token()
                        guard value != nil else { return false }
                    }
                    offer.parameters.append((parameter, value))
                }
                offers.append(offer)
                guard rest.isEmpty || rest.first == 0x2C else { return false }
            }
        }

        private mutating func skipSpace() { rest = rest.drop { $0 == 0x20 || $0 == 0x09 } }

        private mutating func take(_ byte: UInt8) -> Bool {
            skipSpace()
            guard rest.first == byte else { return false }
            rest.removeFirst()
            skipSpace()
            return true
        }

        private mutating func token() -> String? {
            let text = rest.prefix(while: Reader.isTokenByte)
            guard !text.isEmpty else { return nil }
            rest = rest[text.endIndex...]
            skipSpace()
            return String(decoding: text, as: UTF8.self)
        }

        /// What is inside the quotes must be a token too (RFC 6455 §9.1).
        private mutating func quoted() -> String? {
            rest.removeFirst()
            var text: [UInt8] = []
            while let byte = rest.popFirst(), byte != 0x22 {
                guard let next = byte == 0x5C ? rest.popFirst() : byte, Reader.isTokenByte(next) else { return nil }
                text.append(next)
                if rest.isEmpty { return nil }
            }
            skipSpace()
            return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
        }

        private static func isTokenByte(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E, 0x5F, 0x60, 0x7C, 0x7E: true
            default: false
            }
        }
    }
}
