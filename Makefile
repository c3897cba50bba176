# Every target works from a bare clone: the scripts install what they need into $TIDELOCK_CACHE (~/.cache/tidelock), see scripts/.

.DEFAULT_GOAL := help
export CARGO_LAMBDA_GLOBAL := $(CURDIR)/cargo-lambda.toml
ifdef TARGET
export TARGET
endif
ifdef PIPELINE
export PIPELINE
endif

.PHONY: help build certificates demo test check sim sim-mutants bench lint fmt services-up services-down clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build every function for Lambda: target/lambda/NAME/bootstrap
	@scripts/install-prerequisites.sh
	@scripts/build.sh

certificates: ## Put Amazon's certificates for DocumentDB beside the functions that need them; FILE=… gives them
	@scripts/certificates.sh $(FILE)

demo: ## Run a pipeline on this machine; TARGET=… chooses where the documents go; PIPELINE=documentdb: from an API to a search
	@scripts/demo.sh

test: ## Run all tests on real servers; FILTER=name runs some
	@scripts/test.sh $(FILTER)

check: ## Run the unit tests of the core: seconds, no server
	@cargo test -p tidelock-core

sim: ## Simulate SEEDS=500 worlds with every fault there is; SEED=17 shows one again; FLEET=1: functions that overload a server
	@scripts/sim.sh $(if $(FLEET),--fleet --seeds $(or $(SEEDS),3),$(if $(SEED),--seed $(SEED) --trace,--seeds $(or $(SEEDS),500)))

sim-mutants: ## Break the code in one place after another: the simulation must notice each; FILTER=name runs some
	@scripts/sim.sh mutants "$(FILTER)"

bench: ## Measure the built functions; ARGS=… chooses what
	@scripts/bench.sh $(ARGS)

lint: ## Check formatting, clippy, dependencies, templates and scripts
	@scripts/lint.sh

fmt: ## Format the Rust code
	@cargo fmt --all

services-up: ## Start the test servers and print their TIDELOCK_TEST_* variables
	@scripts/install-prerequisites.sh
	@scripts/services/all.sh up

services-down: ## Stop the servers that services-up started
	@scripts/services/all.sh stop

clean: ## Remove what was built
	@cargo clean
