import Testing

@testable import Server

@Suite struct FoldedStacksTests {
    /// Names are as in the program, also behind the linker's stubs, and stacks that are alike are counted together.
    @Test func stacksAreNamedAndCounted() {
        let sample = """
            loop-1  42
            \t    55d0 $ss16IndexingIteratorV4next7ElementQzSgyF@plt
            \t    55d1 $s9EventLoopAAC3runyyF
            \t    55d2 start_thread

            """
        let text = String(decoding: FoldedStacks(of: Array((sample + "\n" + sample + "\n").utf8)).text, as: UTF8.self)
        #expect(
            text
                == "loop-1;start_thread;EventLoop.EventLoop.run() -> ();Swift.IndexingIterator.next() -> Swift.Optional<A.Element>@plt 2\n")
    }
}
