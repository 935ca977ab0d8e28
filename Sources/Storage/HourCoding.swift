import QueueService
import Telemetry

extension StoredHour {
    /// As a column holds it.
    init(number: Int, text: String) throws(StoreError) {
        guard let period = JSON.decode(Period.self, text) else { throw .corrupt("an hour") }
        self.init(number: number, period: period)
    }
}
