# Everything a new machine needs: `make run` to try it, `make test` to check it.

CARGO      ?= cargo
PREFIX     ?= /usr
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
DESTDIR    ?=
CONFIG     ?= conf/quickstart.yaml
# Debian package names; the commands that show they are there come first.
BUILD_TOOLS = cc:gcc cmake:cmake
TEST_TOOLS  = curl:curl nginx:nginx-light wrk:wrk promtool:prometheus systemd-analyze:systemd taskset:util-linux

.PHONY: help run test lint unit bench bench-smoke bench-overhead deny install build-deps test-deps cargo-there

help:
	@echo "make run             build and start the demo on $(CONFIG)"
	@echo "make test            install what the tests need and run all of them"
	@echo "make bench           Criterion benchmarks of routing, balancing and counting"
	@echo "make bench-overhead  CPU and memory beside nginx and a bare Pingora proxy"
	@echo "make install         binary, configuration and units under DESTDIR=$(DESTDIR)"

run: build-deps
	$(CARGO) run --release --locked --bin sallyport -- demo --config $(CONFIG)

test: build-deps test-deps lint unit bench-smoke deny
	@echo "make test: all passed"

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features --locked

# SALLYPORT_REQUIRE_TOOLS turns a test that would be skipped for want of a tool into a failure.
unit:
	SALLYPORT_REQUIRE_TOOLS=1 $(CARGO) test --workspace --all-features --locked

bench-smoke:
	$(CARGO) bench --locked -p sallyport-route -p sallyport-balance -p sallyport-stats --benches -- --test

bench: build-deps
	$(CARGO) bench --locked -p sallyport-route -p sallyport-balance -p sallyport-stats --benches
	$(CARGO) test --locked --release -p sallyport-balance -- --nocapture maglev_figures

bench-overhead: build-deps test-deps
	$(CARGO) build --release --locked -p sallyport -p loadtest
	target/release/overhead idle --gate 35
	target/release/overhead connections --rounds 5 --seconds 2
	target/release/overhead requests --rounds 15 --seconds 3 --gate 1.10

# The advisory database is fetched from the network; where it cannot be, the other checks still run.
deny:
	@if $(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked --debug --quiet; then \
	  $(CARGO) deny --all-features check bans licenses sources; \
	  $(CARGO) deny --all-features check advisories || echo "cargo deny: advisories could not be checked here"; \
	else echo "cargo deny: cannot be installed here, skipped"; fi

install: build-deps
	$(CARGO) build --profile dist --locked --bin sallyport
	install -Dm755 target/dist/sallyport $(DESTDIR)$(PREFIX)/bin/sallyport
	install -Dm644 systemd/sallyport.service $(DESTDIR)$(UNITDIR)/sallyport.service
	install -Dm644 systemd/sallyport.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/sallyport.conf
	[ -e $(DESTDIR)$(SYSCONFDIR)/sallyport/sallyport.yaml ] || \
	  install -Dm644 conf/sallyport.yaml $(DESTDIR)$(SYSCONFDIR)/sallyport/sallyport.yaml

build-deps: cargo-there
	@sh loadtest/install-tools.sh $(BUILD_TOOLS)

test-deps:
	@sh loadtest/install-tools.sh $(TEST_TOOLS)

cargo-there:
	@command -v $(CARGO) >/dev/null || { \
	  echo "There is no Rust toolchain here. Install one from https://rustup.rs and call make again."; exit 1; }
