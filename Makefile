# Builds, installs and tests capture_pipeline. `make` builds, `make install PREFIX=/usr/local` installs, `make demo` shows
# it on a real program, `make test` checks everything. CARGO_FLAGS goes to every build by cargo ("--offline --locked").

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DESTDIR    ?=

CARGO       ?= cargo
CARGO_FLAGS ?= --locked
INSTALL     ?= install
# Installed files carry no debug information (they are a tenth of the size so); `make STRIP=` keeps it.
STRIP       ?= strip --strip-debug

BUILD  := build
TARGET := $(or $(CARGO_TARGET_DIR),target)
# CARGO_BUILD_TARGET builds for another system (with its LD, OBJCOPY, AR, NM and STRIP); cargo then writes elsewhere.
BUILT  := $(TARGET)/$(if $(CARGO_BUILD_TARGET),$(CARGO_BUILD_TARGET)/)release
LOCAL  := $(CURDIR)/$(BUILD)/prefix

VERSION := $(shell sed -n '/^\[package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)
MAJOR   := $(firstword $(subst ., ,$(VERSION)))

SO     := libcapture_pipeline.so
SONAME := $(SO).$(MAJOR)
REAL   := $(SO).$(VERSION)
A      := libcapture_pipeline.a

HEADERS := $(wildcard include/capture_pipeline.h include/capture_pipeline_fast.h include/capture_pipeline.hpp)
SOURCES := $(shell find src -name '*.rs') build.rs Cargo.toml Cargo.lock
PC      := $(DESTDIR)$(LIBDIR)/pkgconfig/capture_pipeline.pc
CMAKE   := $(DESTDIR)$(LIBDIR)/cmake/capture_pipeline

.PHONY: all build install uninstall header examples demo demo-elixir bench bench-elixir test simulate check-tools check-tools-beam \
    check-tools-bench local clean FORCE

all: build

build: $(BUILD)/lib/$(REAL) $(BUILD)/lib/$(A)

# Rebuilds when the flags change, not only when a source does.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@echo '$(CARGO) $(CARGO_FLAGS) $(STRIP)' | cmp -s - $@ || echo '$(CARGO) $(CARGO_FLAGS) $(STRIP)' > $@

# The crate types are named here because cargo links across crates (lto) only where no rlib is asked for.
# What the static library needs from the system is written down by the compiler itself.
$(BUILD)/lib/$(REAL): $(SOURCES) $(BUILD)/flags
	$(CARGO) rustc --release --lib --crate-type cdylib,staticlib $(CARGO_FLAGS) -- \
	    --print native-static-libs=$(TARGET)/native-static-libs
	@mkdir -p $(BUILD)/lib
	cp $(BUILT)/$(A) $(BUILD)/whole.a
	cp $(TARGET)/native-static-libs $(BUILD)/native-static-libs
	cp $(BUILT)/$(SO) $(BUILD)/lib/$(REAL)
	$(if $(STRIP),$(STRIP) $(BUILD)/lib/$(REAL))
	ln -sf $(REAL) $(BUILD)/lib/$(SONAME)
	ln -sf $(SONAME) $(BUILD)/lib/$(SO)

# One object in which everything but the documented functions is local.
$(BUILD)/lib/$(A): $(BUILD)/lib/$(REAL) packaging/localize.sh packaging/exports.txt
	packaging/localize.sh $(BUILD)/whole.a packaging/exports.txt $@ $(if $(STRIP),--strip-debug)

install: build
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(CMAKE) $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 755 $(BUILD)/lib/$(REAL) $(DESTDIR)$(LIBDIR)/$(REAL)
	ln -sf $(REAL) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/$(SO)
	$(INSTALL) -m 644 $(BUILD)/lib/$(A) $(DESTDIR)$(LIBDIR)/$(A)
	$(INSTALL) -m 644 $(HEADERS) $(DESTDIR)$(INCLUDEDIR)
	packaging/fill.sh packaging/capture_pipeline.pc.in $(PC) \
	    '$(VERSION)' '$(PREFIX)' '$(LIBDIR)' '$(INCLUDEDIR)' $(BUILD)/native-static-libs
	packaging/fill.sh packaging/capture_pipelineConfig.cmake.in $(CMAKE)/capture_pipelineConfig.cmake \
	    '$(VERSION)' '$(PREFIX)' '$(LIBDIR)' '$(INCLUDEDIR)' $(BUILD)/native-static-libs
	packaging/fill.sh packaging/capture_pipelineConfigVersion.cmake.in $(CMAKE)/capture_pipelineConfigVersion.cmake \
	    '$(VERSION)' '$(PREFIX)' '$(LIBDIR)' '$(INCLUDEDIR)' $(BUILD)/native-static-libs
	@# The loader finds a library in its own directories by its cache; a staged install leaves that to the package.
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig 2>/dev/null || true; fi

uninstall:
	rm -f $(DESTDIR)$(LIBDIR)/$(SO) $(DESTDIR)$(LIBDIR)/$(SONAME) $(DESTDIR)$(LIBDIR)/$(REAL) $(DESTDIR)$(LIBDIR)/$(A)
	rm -f $(DESTDIR)$(INCLUDEDIR)/capture_pipeline.h $(DESTDIR)$(INCLUDEDIR)/capture_pipeline_fast.h $(DESTDIR)$(INCLUDEDIR)/capture_pipeline.hpp $(PC)
	rm -f $(CMAKE)/capture_pipelineConfig.cmake $(CMAKE)/capture_pipelineConfigVersion.cmake
	-rmdir $(CMAKE) 2>/dev/null
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig 2>/dev/null || true; fi

# Installs into ./build/prefix, for the examples, the demonstration and the tests.
local:
	@mkdir -p $(BUILD)
	@$(MAKE) --no-print-directory install DESTDIR= PREFIX=$(LOCAL) LIBDIR=$(LOCAL)/lib INCLUDEDIR=$(LOCAL)/include \
	    > $(BUILD)/local.log 2>&1 || { cat $(BUILD)/local.log; exit 1; }
	@echo "installed in $(BUILD)/prefix"

# Writes include/capture_pipeline.h anew from src/ffi.
header:
	UPDATE_HEADER=1 $(CARGO) test $(CARGO_FLAGS) --test header

# Builds the example programs into build/c_examples, against the library in ./build/prefix.
examples: build local
	tests/programs.sh --build-only --out $(BUILD) c_examples

demo: check-tools build local
	c_examples/alloc_trace/demo.sh

test: check-tools check-tools-beam
	tests/all.sh

# The same for Elixir: a real library's function calls, captured, stored and told.
EVENTS ?= 300000
demo-elixir: check-tools-beam build
	cd bindings/elixir && mix run demo/demo.exs $(EVENTS)

# What it costs, against floors and peers: a table, bounds, plots in docs/benchmarks. QUICK=1 for a first look. PARTS: capture each
# payload throughput wake load idle writers. A peer that cannot be had is said so, and left out.
bench: check-tools-bench build local
	-@$(MAKE) --no-print-directory -k -C benches/native needed peers CARGO='$(CARGO)' CARGO_FLAGS='$(CARGO_FLAGS)' > $(BUILD)/bench.log 2>&1
	@QUICK='$(QUICK)' PARTS='$(PARTS)' python3 benches/native/run.py

# What it costs on the BEAM, against what one would do without this library; QUICK=1 for a first look. PARTS: capture
# throughput wake default idle.
PARTS ?=
bench-elixir: check-tools-beam build
	cd bindings/elixir && MIX_ENV=bench mix run bench/run.exs $(PARTS)

# The shipped pool, rings and writers under a scheduler that follows from a seed: SEEDS of them, from FROM on, in JOBS
# processes. SEED=n replays one.
SEEDS ?= 5000
FROM  ?= 1
JOBS  ?= 2
simulate:
	CARGO='$(CARGO)' CARGO_FLAGS='$(CARGO_FLAGS)' SEEDS=$(SEEDS) FROM=$(FROM) JOBS=$(JOBS) tests/simulate.sh

check-tools:
	@packaging/check_tools.sh

check-tools-beam:
	@packaging/check_tools.sh beam

check-tools-bench:
	@packaging/check_tools.sh bench

.PHONY: clean-instrumented sanitize sanitize-address sanitize-thread sanitize-beam memcheck fuzz
# The tests under AddressSanitizer, ThreadSanitizer and valgrind; tests/sanitize.sh says what it installs for that.
sanitize: sanitize-address sanitize-thread memcheck

sanitize-address sanitize-thread: sanitize-%:
	tests/sanitize.sh $*

# The NIF alone, in a VM with AddressSanitizer; it is a part of sanitize-address.
sanitize-beam:
	tests/sanitize.sh address beam

memcheck:
	tests/sanitize.sh memcheck

.PHONY: targets targets-aarch64 targets-musl
# Built for aarch64 and for musl, and tested there (aarch64 under QEMU); tests/targets.sh says what it installs for that.
targets: targets-aarch64 targets-musl

targets-aarch64 targets-musl: targets-%:
	tests/targets.sh $*

# Fuzzes calls and structs of the C interface, each for so many seconds.
SECONDS ?= 60
fuzz:
	SECONDS_EACH=$(SECONDS) fuzz/run.sh

clean: clean-instrumented
clean-instrumented:
	rm -rf target-address target-thread target-fuzz target-aarch64 target-musl

clean:
	$(CARGO) clean
	rm -rf $(BUILD) target-loom target-simulator bindings/erlang/_build bindings/erlang/priv bindings/elixir/_build bindings/elixir/priv
