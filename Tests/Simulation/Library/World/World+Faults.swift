import QueueEngine
import QueueService

/// Larger events: an outage, a queue that cannot be written, a cut, a process that freezes, dies or is restarted, a bus that is silent.
extension World {
    func scheduleFaults() {
        schedule(\.outageEvery) { world, length in
            world.isStoreAway = true
            world.scheduler.after(length) { world.isStoreAway = false }
        }
        schedule(\.refusalEvery) { world, length in
            guard !world.queues.isEmpty else { return }
            let (queue, error) = (world.dice.pick(world.queues).id, world.dice.pick([StoreError.busy("simulated"), .corrupt("simulated")]))
            world.database.refuse(queue, error)
            world.scheduler.after(length) { world.database.refuse(queue, nil) }
        }
        schedule(\.silenceEvery) { world, length in
            world.isBusAway = true
            world.scheduler.after(length) { world.isBusAway = false }
        }
        schedule(\.cutEvery) { world, length in
            guard let process = world.pickProcess() else { return }
            process.gate.isCut = true
            world.scheduler.after(length) { if process.isAlive { process.gate.isCut = false } }
        }
        schedule(\.freezeEvery) { world, length in
            guard let process = world.pickProcess() else { return }
            process.runQueue.isFrozen = true
            world.scheduler.after(length) { process.runQueue.isFrozen = false }
        }
        schedule(\.killEvery) { world, length in
            guard let process = world.pickProcess() else { return }
            process.kill()
            world.scheduler.after(length) { world.startProcess(process.slot) }
        }
        schedule(\.restartEvery) { world, length in
            guard let process = world.pickProcess() else { return }
            world.restart(process, after: length)
        }
    }

    private func schedule(_ every: KeyPath<Weather, Double>, _ happen: @escaping (World, Timestamp.Span) -> Void) {
        let mean = weather[keyPath: every]
        guard mean > 0 else { return }
        scheduler.after(dice.time(mean: mean)) { [weak self] in
            guard let self, self.calmSince == nil else { return }
            self.tally.faults += 1
            happen(self, self.dice.time(self.weather.length))
            self.schedule(every, happen)
        }
    }

    func restart(_ process: Incarnation, after length: Timestamp.Span) {
        let startAgain: @Sendable () -> Void = { [self] in
            guard process.isAlive else { return }
            process.kill()
            scheduler.after(length) { self.startProcess(process.slot) }
        }
        process.stop(then: startAgain)
        // Whoever supervises processes does not wait for ever.
        scheduler.after(.seconds(30), startAgain)
    }

    /// A process dies, and what it left is seen to while nothing else goes wrong.
    func killProcessInCalm() {
        guard let process = pickProcess() else { return }
        tally.faults += 1
        process.kill()
        scheduler.after(dice.time(stormyWeather.length)) { [weak self] in self?.startProcess(process.slot) }
    }

    /// Nothing goes wrong from here on, and what went wrong ends; in some worlds the last thing to go wrong is an outage, or that
    /// answers are lost, and there is nothing after it that would set right what came of that.
    func calmDown() {
        weather = .calm
        calmSince = scheduler.now + .seconds(Int(stormyWeather.length.upperBound.rounded(.up)) + 30)
        if stormyWeather.outageEvery > 0, dice.chance(0.5) {
            isStoreAway = true
            scheduler.after(dice.time(5...30)) { [weak self] in self?.isStoreAway = false }
        }
        guard stormyWeather.lostAfter > 0, dice.chance(0.7) else { return }
        weather.lostAfter = 0.2
        scheduler.after(dice.time(5...30)) { [weak self] in if self?.calmSince != nil { self?.weather = .calm } }
    }

    func brew() {
        calmSince = nil
        weather = stormyWeather
        scheduleFaults()
    }
}
