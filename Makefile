# `make demo` and `make test` do all of their own set-up, and can be run again.

CARGO ?= cargo
# Where the build is kept, so that the programs below find each other.
export CARGO_TARGET_DIR := $(CURDIR)/target
# Where tests that cannot run on this machine note why.
SKIPPED := target/skipped-tests
DEMO_FLAGS ?=
BENCH_FLAGS ?=

.PHONY: help
help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: build ## Watch 10,000 rows go through plugins into PostgreSQL + pgvector
	@echo '==> plugins'
	plugins/build.sh --no-tests
	@target/release/forebay demo $(DEMO_FLAGS)

.PHONY: test
test: tools plugins examples lint ## Run every check and every test
	@rm -f $(SKIPPED)
	@echo '==> tests of the example plugins, natively'
	cd plugins && CARGO_TARGET_DIR=$(CURDIR)/target/guests-native $(CARGO) test --locked --quiet \
		-p forebay-plugin -p recruit-normalize -p recruit-rules -p recruit-dlq
	@echo '==> Python environment of the examples'
	examples/setup.sh
	@echo '==> tests of the host, on real parts, and of the bench'
	@status=0; \
	$(CARGO) test --release --locked --workspace --no-fail-fast || status=$$?; \
	if [ -s $(SKIPPED) ]; then \
		sort -u $(SKIPPED) | sed 's/^/SKIPPED /'; \
		[ -z "$$CI" ] || ! grep -qve "$${MAY_SKIP:-^$$}" $(SKIPPED) || \
			{ echo 'CI has to run every test' >&2; status=1; }; \
	fi; \
	exit $$status

.PHONY: build
build: tools ## Build the host
	@echo '==> host (the first build takes several minutes)'
	$(CARGO) build --release --locked

.PHONY: plugins
plugins: tools ## Build the plugins into target/plugins
	@echo '==> plugins'
	plugins/build.sh

.PHONY: examples
examples: build ## Build the example plugins of every language into target/examples
	@echo '==> example plugins (the first time, their tools are installed into target)'
	examples/plugins/build.sh

.PHONY: bench
bench: build examples plugins ## Measure the way into the tables and plugins, into target/bench (BENCH_FLAGS=--help)
	@echo '==> bench'
	$(CARGO) build --release --locked -p forebay-bench
	@target/release/forebay-bench $(BENCH_FLAGS)

.PHONY: lint
lint: tools ## Check spelling, format, lints and documentation
	@echo '==> spelling (the first time, its checker is installed into target)'
	tests/lint/spelling.sh
	@echo '==> format and lints'
	$(CARGO) fmt --all --check
	cd plugins && $(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- --deny warnings
	@echo '==> documentation'
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --release --locked --workspace --no-deps \
		--document-private-items --quiet

.PHONY: deny
deny: ## Check licences and advisories (needs cargo-deny)
	$(CARGO) deny check

.PHONY: tools
tools:
	@missing=; \
	for tool in $(CARGO) rustc cc python3 git; do \
		command -v "$$tool" >/dev/null || missing="$$missing $$tool"; \
	done; \
	python3 -m pip --version >/dev/null 2>&1 || missing="$$missing python3-pip"; \
	if [ -n "$$missing" ]; then \
		echo "missing:$$missing" >&2; \
		echo "Forebay builds with rustup's stable Rust, a C compiler, Python 3 with pip, make and git." >&2; \
		exit 1; \
	fi

.PHONY: clean
clean: ## Stop the embedded server, and remove what was built and what the demo wrote
	-@test ! -x target/release/forebay || target/release/forebay db stop
	rm -rf target .forebay
