# The front door. `make` alone says what there is.
.DEFAULT_GOAL := help
# Swift's own libraries are linked in: a tenth less of processor time, and nothing of Swift is needed where it runs.
RELEASE = swift build -c release --static-swift-stdlib --product stanchion
.PHONY: help run release test lint format bench scenarios conformance faults simulate day mutations drill lives fuzz sanitize

help: ## Show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## Build and serve http://127.0.0.1:8080/ with a demo queue and a crowd in it
	@Scripts/prepare run
	swift build --product stanchion
	.build/debug/stanchion serve --demo

release: ## Build the program for where it is to run: .build/release/stanchion
	@Scripts/prepare run
	$(RELEASE)

# Sixteen tests at once: all of them together leave each other no processor, and their deadlines pass.
test: ## Install what the tests need, build, and run them all
	@Scripts/prepare test
	swift build --build-tests
	SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=16 SWIFT_BACKTRACE=enable=yes,images=none,registers=none \
		Scripts/with-databases Scripts/failures-last swift test --skip-build

lint: ## Check the format of every source file
	swift format lint --strict --recursive --parallel Package.swift Sources Tests Benchmarks web-client

format: ## Format every source file
	swift format --in-place --recursive --parallel Package.swift Sources Tests Benchmarks web-client

bench: ## Measure, each figure beside its reference in the same run; fails where a limit is missed
	@Scripts/prepare bench
	Scripts/with-databases Benchmarks/run
	Scripts/with-databases Benchmarks/api

scenarios: ## Run the load tests normal, peak and stress at full length: an hour (SCENARIOS)
	@Scripts/prepare bench
	$(RELEASE)
	Benchmarks/scenarios $(SCENARIOS)

conformance: ## All 517 Autobahn cases, over ws:// and wss://
	@Scripts/prepare test
	$(RELEASE)
	STANCHION=.build/release/stanchion Tests/Conformance/run

faults: ## Three instances and a crowd through everything that can go wrong (FAULT_SEEDS, FAULT_SEED)
	@Scripts/prepare test
	$(RELEASE)
	Tests/Faults/run $(FAULTS)

simulate: ## Virtual months of the service under faults, on all cores (SIMULATE_SECONDS, SIMULATE_SEED)
	@Scripts/prepare run
	swift build -c release --product simulate
	Tests/Simulation/run

day: ## A simulated day at a thousand joins a second: memory stays where it was (DAY_JOINS, DAY_HOURS)
	@Scripts/prepare run
	swift build -c release --product simulate
	.build/release/simulate --busy-day $${DAY_JOINS:-1000} --hours $${DAY_HOURS:-24}

mutations: ## Put faults back into a copy of the code, and have the simulator find each
	@Scripts/prepare run
	python3 Tests/Simulation/mutations.py

drill: ## Lose an index under load, and find it out: what docs/runbook.md shows
	@Scripts/prepare test
	$(RELEASE)
	STANCHION=$(CURDIR)/.build/release/stanchion PROJECT=$(CURDIR) .venv/bin/python Tests/Drill/missing_index.py

lives: ## 100,000 random lives of connections, and all that they were counted for comes back (LIVES)
	@Scripts/prepare test
	$(RELEASE)
	LIVES=$${LIVES:-100000} STANCHION=$(CURDIR)/.build/release/stanchion PROJECT=$(CURDIR) .venv/bin/python Tests/AcceptanceTests/Python/lives.py

fuzz: ## Search for ten minutes for what costs too much, and fuzz each parser as long (FUZZ_SECONDS)
	@Scripts/prepare test
	$(RELEASE)
	COST_SECONDS=$${FUZZ_SECONDS:-600} TEST_SEED=$$(date +%s) STANCHION=$(CURDIR)/.build/release/stanchion PROJECT=$(CURDIR) \
		.venv/bin/python Tests/AcceptanceTests/Python/costs.py
	Tests/Fuzz/run $${FUZZ_SECONDS:-600}

sanitize: ## Run the tests under the thread and the address sanitizer
	@Scripts/prepare test
	Tests/sanitize
