import Configuration
import Foundation
import Operations
import SystemPackage

/// A scenario as it is written in a file: one `name: number` a line.
enum ScenarioFile {
    /// - Parameter name: one that the program knows, or a path.
    static func read(_ name: String) async throws -> Scenario {
        if let known = Scenario.builtIn.first(where: { $0.name == name }) { return known }
        let path = name
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            let names = Scenario.builtIn.map(\.name).joined(separator: ", ")
            throw Failure.usage("there is no scenario \(path): give one of \(names), or a file like those of Config/scenarios")
        }
        let given = text.split(separator: "\n").compactMap { $0.prefixMatch(of: /([A-Za-z_][A-Za-z0-9_-]*)\s*:/)?.1 }
        let names = Scenario.members.map(\.name)
        if let unknown = given.first(where: { !names.contains(String($0)) }) {
            throw Failure.usage("\(unknown) in \(path) is nothing that a scenario says: that is \(names.joined(separator: ", "))")
        }
        guard let provider = try? await FileProvider<YAMLSnapshot>(filePath: FilePath(path)) else {
            throw Failure.usage("\(path) is no YAML: one `name: number` a line")
        }
        let file = ConfigReader(provider: provider)
        var scenario = Scenario(name: FilePath(path).stem ?? name)
        for member in Scenario.members {
            let key = ConfigKey(member.name)
            guard let value = file.double(forKey: key) ?? file.int(forKey: key).map(Double.init) else {
                throw Failure.usage("\(member.name) is missing in \(path), or is no number")
            }
            scenario[keyPath: member.path] = value
        }
        if let fault = scenario.fault { throw Failure.usage("\(path): \(fault)") }
        return scenario
    }
}
