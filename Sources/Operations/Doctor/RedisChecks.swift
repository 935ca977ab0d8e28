import Fanout

/// What Redis says of itself.
enum RedisChecks {
    static func diagnose(_ facts: RedisFacts) -> [Diagnosis] { [slowAnswers, slowCommands, memory].compactMap { $0(facts) } }

    private static func slowAnswers(_ facts: RedisFacts) -> Diagnosis? {
        // One that is slow may be chance; the second slowest of five is not.
        guard let ping = facts.pingSeconds.sorted().dropLast().last,
            let severity = Diagnosis.Severity(ping, over: 0.01, criticalOver: 0.25)
        else { return nil }
        return Diagnosis(
            "redis_slow", severity, .redis, symptom: "Redis answers slowly.",
            evidence: ["of five PINGs the second slowest took \(Words.time(ping)); 10 ms is much"],
            cause: "One command at a time: a long one keeps all others waiting. Or the way there is long.",
            remedy: "SLOWLOG GET names the commands. Give Stanchion a Redis of its own.", check: "`redis-cli --latency`.")
    }

    private static func slowCommands(_ facts: RedisFacts) -> Diagnosis? {
        guard let slow = facts.slow, let now = facts.now else { return nil }
        let recent = slow.filter { now - $0.at <= 300 && $0.seconds > 0.01 }
        guard let worst = recent.map(\.seconds).max() else { return nil }
        return Diagnosis(
            "redis_slow_commands", .warning, .redis, symptom: "Commands keep Redis busy for long.",
            evidence: ["\(recent.count) within five minutes, the longest \(Words.time(worst))"]
                + recent.sorted { $0.seconds > $1.seconds }.prefix(3).map { "\(Words.time($0.seconds)): \($0.command)" },
            cause: "Somebody else uses this Redis: what instances send takes microseconds.",
            remedy: "Give Stanchion a Redis of its own, or forbid those commands.", check: "SLOWLOG GET has nothing new.")
    }

    private static func memory(_ facts: RedisFacts) -> Diagnosis? {
        guard let info = facts.info, let used = info["used_memory"].flatMap({ Double($0) }),
            let most = info["maxmemory"].flatMap({ Double($0) }), most > 0, used > 0.9 * most, info["maxmemory_policy"] == "noeviction"
        else { return nil }
        return Diagnosis(
            "redis_full", .warning, .redis, symptom: "Redis is full, and refuses to keep what is new.",
            evidence: ["\(Words.rounded(used / 1e6)) of \(Words.rounded(most / 1e6)) MB, and the policy is noeviction"],
            cause: "The policy is not the one of Config/redis.conf.", remedy: "CONFIG SET maxmemory-policy allkeys-lru.",
            check: "evicted_keys grows, and nothing is refused.")
    }
}
