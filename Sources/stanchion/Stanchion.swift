import ArgumentParser
import Configuration


@main struct Stanchion { static func main() { print("hi") } }
