import Foundation  // For log, which the standard library lacks.
import HashTreeCollections

/// An honest range for a wait: half of the people wait less than `p50Seconds`, nine of ten less than `p90Seconds`.
public struct WaitEstimate: Sendable, Hashable {
    public let p50Seconds: Double
    public let p90Seconds: Double
}

/// How fast the line drains, as far as can be told at one moment.
///
/// Releases: the setting, or what the cap lets through where that is less. Of a cap of C, with n admitted and T places
/// becoming free a second, C·T/n can be let in (Little's law). Departures: each who waits leaves with the same small
/// probability a second, so the drain at a position is the releases plus what leaves ahead of it.
public struct DrainRate: Sendable, Hashable {
    /// For how long nobody is released because the line waits for somebody who was lost (`settleSeconds`).
    public let stillSeconds: Double
    /// Releases a second from then on: the middle, and a cautious one.
    public let releases: Double
    public let cautiousReleases: Double
    /// Departures a second of each person in line.
    public let departuresPerPerson: Double

    /// Whether the rate is the same at every position.
    public var isUniform: Bool { departuresPerPerson == 0 }

    /// Positions a second at a position: what a client is told as `rate`.
    public func rate(at position: Int) -> Double {
        (stillSeconds > 0 ? 0 : releases) + departuresPerPerson * Double(max(0, position - 1))
    }

    /// The same after `seconds`, in which nothing has happened but time; nil where the line has gone on by then.
    public func after(_ seconds: Double) -> DrainRate? {
        guard stillSeconds > seconds else { return nil }
        return DrainRate(
            stillSeconds: stillSeconds - seconds, releases: releases, cautiousReleases: cautiousReleases,
            departuresPerPerson: departuresPerPerson)
    }

    /// The wait at a position; nil where nobody is released.
    public func wait(at position: Int) -> WaitEstimate? {
        guard releases > 0, cautiousReleases > 0 else { return nil }
        let people = Double(position)
        let middle = DrainRate.time(people, releases, departuresPerPerson)
        // Arrivals of free places vary like a Poisson count: 1.28 standard deviations for nine of ten.
        let spread = releases == cautiousReleases ? 0 : 1.28 * people.squareRoot()
        let late = DrainRate.time(people + spread, cautiousReleases, departuresPerPerson / 2)
        return WaitEstimate(p50Seconds: stillSeconds + middle, p90Seconds: stillSeconds + max(late, middle * 1.1))
    }

    /// How long `people` take to drain where dP/dt = −(releases + leaving · P).
    private static func time(_ people: Double, _ releases: Double, _ leaving: Double) -> Double {
        leaving * people < releases * 1e-6 ? people / releases : log(1 + leaving * people / releases) / leaving
    }
}

extension QueueState {
    /// The drain as measured up to `now`; no releases while nobody is let in (paused, scheduled, closed, or a rate of 0).
    public func drain(at now: Timestamp) -> DrainRate {
        let leaving = departuresPerPerson(at: now)
        guard status == .open else {
            return DrainRate(stillSeconds: 0, releases: 0, cautiousReleases: 0, departuresPerPerson: leaving)
        }
        let setting = Double(configuration.releaseRatePerMinute) / 60
        let (middle, cautious) = throughCap(at: now)
        return DrainRate(
            stillSeconds: settlingEnds(after: now).map { ($0 - now).seconds } ?? 0, releases: min(setting, middle ?? setting),
            cautiousReleases: min(setting, cautious ?? setting),
            departuresPerPerson: leaving)
    }

    private func departuresPerPerson(at now: Timestamp) -> Double {
        let (count, seconds) = meter.total(.departure, last: 120, at: now, since: watchedSince)
        guard count > 0 else { return 0 }
        return Double(count) / seconds / (Double(waitingCount) + Double(count) / 2)
    }

    /// What the cap lets through a second, over several windows; nil where it cannot be what limits.
    private func throughCap(at now: Timestamp) -> (middle: Double?, cautious: Double?) {
        guard !admitted.isEmpty else { return (nil, nil) }
        let cap = Double(configuration.maxConcurrentUsers)
        let rates = [Int64(30), 120, 600].compactMap { (window: Int64) -> Double? in
            let (count, seconds) = meter.total(.turnover, last: window, at: now, since: watchedSince)
            return count == 0 ? nil : cap * Double(count) / seconds / Double(admitted.count)
        }
        if rates.isEmpty {
            // Nothing measured: an admission is held for its whole time at worst. That matters once the cap is near.
            let worst = cap / Double(max(1, configuration.admissionTTLSeconds))
            return (room == 0 ? worst : nil, room * 2 < configuration.maxConcurrentUsers ? worst : nil)
        }
        return (rates.sorted()[rates.count / 2], rates.min()! * 0.9)
    }
}
