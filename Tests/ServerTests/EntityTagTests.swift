import Testing

@testable import Server

@Suite struct EntityTagTests {
    @Test(arguments: [
        ([#""a""#], ["a"]), ([#""a", "b""#], ["a", "b"]), ([#"  "a"  ,W/"c"  "#], ["a"]), ([#""a""#, #""b""#], ["a", "b"]),
        ([#"W/"a""#], []), ([#","a",, "b","#], ["a", "b"]),
        ([#""""#], [""]), ([#""a,b""#], ["a,b"]),
    ]) func strongTagsAreRead(_ values: [String], _ tags: [String]) {
        #expect(EntityTags(values)?.strong == Set(tags))
        #expect(EntityTags(values)?.isAny == false)
    }

    @Test(arguments: ["", ",", "a", #""a"#, #"a""#, #""a""b""#, #""a" "b""#, #"w/"a""#, #"W/ "a""#, #""a b""#, #"*, "a""#, "\"\u{E4}\""])
    func otherTextsAreRefused(_ text: String) {
        #expect(EntityTags([text]) == nil)
    }

    @Test func aStarIsAnything() {
        #expect(EntityTags(["*"])?.isAny == true)
        #expect(EntityTags(["*"])?.matches(weakly: "a") == true)
        #expect(EntityTags([#"W/"a", "b""#])?.matches(weakly: "a") == true)
        #expect(EntityTags([#"W/"a", "b""#])?.matches(weakly: "c") == false)
    }

    @Test func aListHasAnEnd() {
        let list = { (count: Int) in [repeatElement(#""a""#, count: count).joined(separator: ",")] }
        #expect(EntityTags(list(64)) != nil)
        #expect(EntityTags(list(65)) == nil)
        #expect(EntityTags(list(40) + list(40)) == nil)
    }
}
