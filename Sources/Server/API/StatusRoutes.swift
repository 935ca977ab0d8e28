import HTTPTypes
import QueueService
import Telemetry

/// Health, measurements, published keys, and the pages.
extension ServerCore {
    func addStatusRoutes(_ router: inout Router) {
        router.on(.get, "health") { _, _ in .json { $0.member("status", "ok") } }
        // What costs something is made for strangers once a second at most. Who shows a key is told more.
        let readiness = SharedBody { [self] in await self.readiness(for: nil) }
        router.on(.get, "ready") { [self] request, _ in
            let key = request.bearer == nil ? nil : try await keys.authenticate(request, atLeast: .operator)
            var response = Response.json { _ in }
            response.body = if let key { await self.readiness(for: key.tenant) } else { await readiness.get() }
            return response
        }
        let metrics = SharedBody { [self] in Array(await measured(queuesOf: nil).utf8) }
        router.on(.get, "metrics") { [self] request, _ in
            let key = request.bearer == nil ? nil : try await keys.authenticate(request, atLeast: .integrator)
            let body = if let key { Array(await measured(queuesOf: key.tenant).utf8) } else { await metrics.get() }
            return Response(.ok, body: body, type: "text/plain; version=0.0.4; charset=utf-8")
        }
        router.on(.get, ".well-known/jwks.json") { [self] _, _ in
            var response = Response(.ok, body: await secrets.keySet(), type: "application/json")
            response.fields[.cacheControl] = "public, max-age=\(AdmissionSigner.keySetSeconds)"
            // Public keys, which any page may verify an admission with.
            response.fields[.accessControlAllowOrigin] = "*"
            return response
        }
        WebPages(settings).add(to: &router)
    }

    /// 200 while visitors can be served: those who are here are, even while the store is away.
    ///
    /// - Parameter tenant: whose operator asks, who learns which queues lag and what the bus says; nil: a stranger, who would learn
    ///   names and addresses.
    private func readiness(for tenant: TenantID?) async -> [UInt8] {
        let since = await service.outage?.since
        let bus = service.bus.health
        let instances = await service.instanceCount
        let staleQueues = await service.staleQueueCount
        let lags = await service.lags.sorted { $0.value > $1.value }
        let own = tenant == nil ? [] : await Set(service.snapshots.filter { $0.record.tenant == tenant }.map(\.record.id))
        var body: [UInt8] = []
        body.object { bytes in
            bytes.member("status", since == nil && staleQueues == 0 && !bus.isDown ? "ok" : "degraded")
            bytes.member("store") { bytes in
                bytes.member("status", since == nil ? "ok" : "down")
                bytes.member("since", ifPresent: since)
            }
            bytes.member("staleQueues", staleQueues)
            bytes.member("instances", instances)
            bytes.member("laggingQueues", lags.count)
            if tenant != nil {
                bytes.key("lag")
                bytes.array(lags.filter { own.contains($0.key) }.prefix(20)) { bytes, lag in
                    bytes.object {
                        $0.member("queue", "\(lag.key)")
                        $0.member("events", lag.value)
                    }
                }
            }
            bytes.member("bus") { bytes in
                bytes.member("status", bus.isDown ? "degraded" : "ok")
                bytes.member("kind", bus == .none ? "store" : "redis")
                if tenant != nil, case .down(let reason) = bus { bytes.member("reason", String(reason.prefix(500))) }
            }
        }
        return body
    }
}

extension BusHealth {
    var isDown: Bool { if case .down = self { true } else { false } }
}
