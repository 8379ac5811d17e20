# Builds, installs and tests capture_pipeline. `make` builds, `make install PREFIX=/usr/local` installs, `make demo` shows
# it on a real program, `make test` checks everything. CARGO_FLAGS goes to every build by cargo ("--offline --locked").
# `make build` and `make install-lib` leave out the command capture-pipeline, which takes longer to build than the library. `make nats` and
# `make install-nats` are for the storage in NATS JetStream, a library beside this one.

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR     ?= $(PREFIX)/bin
DATADIR    ?= $(PREFIX)/share
MANDIR     ?= $(DATADIR)/man
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
# The command has a folder of its own in cargo's, so that its build changes nothing in that of the library. RUNNER runs it where it is built for
# another system (qemu-aarch64, say), because it writes its own manual pages and completions.
BUILT_CLI := $(TARGET)/$(if $(CARGO_BUILD_TARGET),$(CARGO_BUILD_TARGET)/)cli/capture-pipeline
RUNNER    ?=

# Quotes a word for the shell, because paths may have spaces.
q = '$(subst ','\'',$(1))'

VERSION := $(shell sed -n '/^\[package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)
MAJOR   := $(firstword $(subst ., ,$(VERSION)))

SO     := libcapture_pipeline.so
SONAME := $(SO).$(MAJOR)
REAL   := $(SO).$(VERSION)
A      := libcapture_pipeline.a

HEADERS := $(wildcard include/capture_pipeline.h include/capture_pipeline_fast.h include/capture_pipeline.hpp \
    include/capture_pipeline_reader.hpp)
SOURCES := $(shell find src -name '*.rs') build.rs Cargo.toml Cargo.lock
CLI       := $(BUILD)/bin/capture-pipeline
# What it writes itself: manual pages and completions, in the folders below DATADIR that they are installed into.
CLI_PAGES := $(BUILD)/share
CLI_SOURCES := $(shell find cli/src -name '*.rs') cli/Cargo.toml
# The storage in NATS JetStream. It too has a folder of its own in cargo's.
BUILT_NATS := $(TARGET)/$(if $(CARGO_BUILD_TARGET),$(CARGO_BUILD_TARGET)/)nats
NATS_SO     := libcapture_pipeline_nats.so
NATS_SONAME := $(NATS_SO).$(MAJOR)
NATS_REAL   := $(NATS_SO).$(VERSION)
NATS_A      := libcapture_pipeline_nats.a
NATS_SOURCES := $(shell find storages/nats/src -name '*.rs') storages/nats/build.rs storages/nats/Cargo.toml Cargo.lock
# Where the parts of an installation go, quoted for the shell.
TO_LIB     = $(call q,$(DESTDIR)$(LIBDIR))
TO_INCLUDE = $(call q,$(DESTDIR)$(INCLUDEDIR))
TO_BIN     = $(call q,$(DESTDIR)$(BINDIR))
TO_DATA    = $(call q,$(DESTDIR)$(DATADIR))
TO_MAN     = $(call q,$(DESTDIR)$(MANDIR))/man1
PC         = $(TO_LIB)/pkgconfig/capture_pipeline.pc
NATS_PC    = $(TO_LIB)/pkgconfig/capture_pipeline_nats.pc
CMAKE      = $(TO_LIB)/cmake/capture_pipeline
FILL       = $(call q,$(VERSION)) $(call q,$(PREFIX)) $(call q,$(LIBDIR)) $(call q,$(INCLUDEDIR)) $(BUILD)/native-static-libs

# An invalid path is refused before anything is built or written.
ifneq ($(filter install install-lib install-cli install-nats uninstall,$(MAKECMDGOALS)),)
REFUSED := $(shell packaging/check_paths.sh $(call q,PREFIX=$(PREFIX)) $(call q,LIBDIR=$(LIBDIR)) $(call q,INCLUDEDIR=$(INCLUDEDIR)) \
    $(call q,BINDIR=$(BINDIR)) $(call q,DATADIR=$(DATADIR)) $(call q,MANDIR=$(MANDIR)))
ifneq ($(REFUSED),)
$(error $(REFUSED))
endif
endif

.PHONY: all build cli nats install install-lib install-cli install-nats uninstall header examples demo demo-elixir bench bench-elixir test simulate check-tools check-tools-beam \
    check-tools-bench local local-nats clean FORCE

all: build cli

build: $(BUILD)/lib/$(REAL) $(BUILD)/lib/$(A)

# The command, its manual pages and its completions.
cli: $(CLI) $(CLI_PAGES)/made

nats: $(BUILD)/lib/$(NATS_REAL) $(BUILD)/lib/$(NATS_A)

# The library is also rebuilt when the flags change.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@echo $(call q,$(CARGO) $(CARGO_FLAGS) $(STRIP)) | cmp -s - $@ || echo $(call q,$(CARGO) $(CARGO_FLAGS) $(STRIP)) > $@

# The crate types are named here because cargo optimizes across crates (lto) only if no rlib is built. The compiler writes down the system
# libraries that the static library needs.
$(BUILD)/lib/$(REAL): $(SOURCES) $(BUILD)/flags packaging/compile.sh
	packaging/compile.sh $(CARGO) rustc --release --lib --crate-type cdylib,staticlib $(CARGO_FLAGS) -- \
	    --print $(call q,native-static-libs=$(TARGET)/native-static-libs)
	@mkdir -p $(BUILD)/lib
	cp $(call q,$(BUILT)/$(A)) $(BUILD)/whole.a
	cp $(call q,$(TARGET)/native-static-libs) $(BUILD)/native-static-libs
	cp $(call q,$(BUILT)/$(SO)) $(BUILD)/lib/$(REAL)
	$(if $(STRIP),$(STRIP) $(BUILD)/lib/$(REAL))
	ln -sf $(REAL) $(BUILD)/lib/$(SONAME)
	ln -sf $(SONAME) $(BUILD)/lib/$(SO)

# One object file, in which only the documented functions are global.
$(BUILD)/lib/$(A): $(BUILD)/lib/$(REAL) packaging/localize.sh packaging/exports.txt
	packaging/localize.sh $(BUILD)/whole.a packaging/exports.txt $@ $(if $(STRIP),--strip-debug)

# It is linked against the library that was built, as any program is: the one copy of the library in a process is that of its program.
$(BUILD)/lib/$(NATS_REAL): $(NATS_SOURCES) $(BUILD)/lib/$(REAL) $(BUILD)/flags packaging/compile.sh
	packaging/compile.sh $(CARGO) rustc --profile nats --package capture_pipeline_nats --lib --crate-type cdylib,staticlib $(CARGO_FLAGS) -- \
	    -C link-arg=-L$(BUILD)/lib -C link-arg=-lcapture_pipeline --print $(call q,native-static-libs=$(TARGET)/nats-native-static-libs)
	cp $(call q,$(BUILT_NATS)/$(NATS_A)) $(BUILD)/whole-nats.a
	cp $(call q,$(TARGET)/nats-native-static-libs) $(BUILD)/nats-native-static-libs
	cp $(call q,$(BUILT_NATS)/$(NATS_SO)) $(BUILD)/lib/$(NATS_REAL)
	$(if $(STRIP),$(STRIP) $(BUILD)/lib/$(NATS_REAL))
	ln -sf $(NATS_REAL) $(BUILD)/lib/$(NATS_SONAME)
	ln -sf $(NATS_SONAME) $(BUILD)/lib/$(NATS_SO)

# The functions of the library stay undefined in it.
$(BUILD)/lib/$(NATS_A): $(BUILD)/lib/$(NATS_REAL) packaging/localize.sh storages/nats/exports.txt
	packaging/localize.sh $(BUILD)/whole-nats.a storages/nats/exports.txt $@ $(if $(STRIP),--strip-debug)

# The profile compiles the library once more, for the command alone.
$(CLI): $(CLI_SOURCES) $(SOURCES) $(BUILD)/flags packaging/compile.sh
	packaging/compile.sh $(CARGO) build --profile cli --package capture_pipeline_cli $(CARGO_FLAGS)
	@mkdir -p $(BUILD)/bin
	cp $(call q,$(BUILT_CLI)) $@
	$(if $(STRIP),$(STRIP) $@)

$(CLI_PAGES)/made: $(CLI)
	@rm -rf $(CLI_PAGES)
	@mkdir -p $(CLI_PAGES)/bash-completion/completions $(CLI_PAGES)/zsh/site-functions $(CLI_PAGES)/fish/vendor_completions.d
	$(RUNNER) $(CLI) man $(CLI_PAGES)/man/man1
	$(RUNNER) $(CLI) completions bash > $(CLI_PAGES)/bash-completion/completions/capture-pipeline
	$(RUNNER) $(CLI) completions zsh > $(CLI_PAGES)/zsh/site-functions/_capture-pipeline
	$(RUNNER) $(CLI) completions fish > $(CLI_PAGES)/fish/vendor_completions.d/capture-pipeline.fish
	@touch $@

install: install-lib install-cli

install-cli: cli
	$(INSTALL) -d $(TO_BIN) $(TO_MAN) $(TO_DATA)/bash-completion/completions $(TO_DATA)/zsh/site-functions $(TO_DATA)/fish/vendor_completions.d
	$(INSTALL) -m 755 $(CLI) $(TO_BIN)/capture-pipeline
	$(INSTALL) -m 644 $(CLI_PAGES)/man/man1/*.1 $(TO_MAN)
	@cd $(CLI_PAGES) && for file in bash-completion/completions/* zsh/site-functions/* fish/vendor_completions.d/*; do \
	    $(INSTALL) -m 644 $$file $(TO_DATA)/$$file || exit 1; done

install-lib: build
	$(INSTALL) -d $(TO_LIB)/pkgconfig $(CMAKE) $(TO_INCLUDE)
	$(INSTALL) -m 755 $(BUILD)/lib/$(REAL) $(TO_LIB)/$(REAL)
	ln -sf $(REAL) $(TO_LIB)/$(SONAME)
	ln -sf $(SONAME) $(TO_LIB)/$(SO)
	$(INSTALL) -m 644 $(BUILD)/lib/$(A) $(TO_LIB)/$(A)
	$(INSTALL) -m 644 $(HEADERS) $(TO_INCLUDE)
	packaging/fill.sh packaging/capture_pipeline.pc.in $(PC) $(FILL)
	packaging/fill.sh packaging/capture_pipelineConfig.cmake.in $(CMAKE)/capture_pipelineConfig.cmake $(FILL)
	packaging/fill.sh packaging/capture_pipelineConfigVersion.cmake.in $(CMAKE)/capture_pipelineConfigVersion.cmake $(FILL)
	@# The loader finds the library by its cache. After a staged install (DESTDIR) the package updates the cache.
	@if [ -z $(call q,$(DESTDIR)) ] && [ "$$(id -u)" = 0 ]; then ldconfig 2>/dev/null || true; fi

install-nats: nats
	$(INSTALL) -d $(TO_LIB)/pkgconfig $(TO_INCLUDE)
	$(INSTALL) -m 755 $(BUILD)/lib/$(NATS_REAL) $(TO_LIB)/$(NATS_REAL)
	ln -sf $(NATS_REAL) $(TO_LIB)/$(NATS_SONAME)
	ln -sf $(NATS_SONAME) $(TO_LIB)/$(NATS_SO)
	$(INSTALL) -m 644 $(BUILD)/lib/$(NATS_A) $(TO_LIB)/$(NATS_A)
	$(INSTALL) -m 644 storages/nats/include/capture_pipeline_nats.h storages/nats/include/capture_pipeline_nats.hpp $(TO_INCLUDE)
	packaging/fill.sh storages/nats/capture_pipeline_nats.pc.in $(NATS_PC) $(subst native-static-libs,nats-native-static-libs,$(FILL))
	@if [ -z $(call q,$(DESTDIR)) ] && [ "$$(id -u)" = 0 ]; then ldconfig 2>/dev/null || true; fi

uninstall:
	rm -f $(TO_LIB)/$(NATS_SO) $(TO_LIB)/$(NATS_SONAME) $(TO_LIB)/$(NATS_REAL) $(TO_LIB)/$(NATS_A) $(NATS_PC) $(TO_INCLUDE)/capture_pipeline_nats.h \
	    $(TO_INCLUDE)/capture_pipeline_nats.hpp
	rm -f $(TO_LIB)/$(SO) $(TO_LIB)/$(SONAME) $(TO_LIB)/$(REAL) $(TO_LIB)/$(A)
	rm -f $(TO_INCLUDE)/capture_pipeline.h $(TO_INCLUDE)/capture_pipeline_fast.h $(TO_INCLUDE)/capture_pipeline.hpp \
	    $(TO_INCLUDE)/capture_pipeline_reader.hpp $(PC)
	rm -f $(CMAKE)/capture_pipelineConfig.cmake $(CMAKE)/capture_pipelineConfigVersion.cmake
	-rmdir $(CMAKE) 2>/dev/null
	rm -f $(TO_BIN)/capture-pipeline $(TO_MAN)/capture-pipeline.1 $(TO_MAN)/capture-pipeline-*.1
	rm -f $(TO_DATA)/bash-completion/completions/capture-pipeline $(TO_DATA)/zsh/site-functions/_capture-pipeline
	rm -f $(TO_DATA)/fish/vendor_completions.d/capture-pipeline.fish
	@if [ -z $(call q,$(DESTDIR)) ] && [ "$$(id -u)" = 0 ]; then ldconfig 2>/dev/null || true; fi

# Installs the library into ./build/prefix, for the examples, the demonstration and the tests.
local:
	@mkdir -p $(BUILD)
	@$(MAKE) --no-print-directory install-lib DESTDIR= $(call q,PREFIX=$(LOCAL)) $(call q,LIBDIR=$(LOCAL)/lib) \
	    $(call q,INCLUDEDIR=$(LOCAL)/include) > $(BUILD)/local.log 2>&1 || { cat $(BUILD)/local.log; exit 1; }
	@echo "installed in $(BUILD)/prefix"

# The same for the storage in NATS JetStream.
local-nats: local
	@$(MAKE) --no-print-directory install-nats DESTDIR= $(call q,PREFIX=$(LOCAL)) $(call q,LIBDIR=$(LOCAL)/lib) \
	    $(call q,INCLUDEDIR=$(LOCAL)/include) > $(BUILD)/local-nats.log 2>&1 || { cat $(BUILD)/local-nats.log; exit 1; }
	@echo "installed in $(BUILD)/prefix, with the storage in NATS JetStream"

# Generates include/capture_pipeline.h from src/ffi.
header:
	UPDATE_HEADER=1 $(CARGO) test $(CARGO_FLAGS) --test header

# Builds the example programs into build/c_examples, against the library in ./build/prefix.
examples: build local
	tests/programs.sh --build-only --out $(BUILD) c_examples

demo: check-tools build local
	c_examples/alloc_trace/demo.sh

test: check-tools check-tools-beam
	tests/all.sh

# The demonstrations for Elixir: the function calls of a real library are captured, stored and printed; and a storage gets more than it can take.
EVENTS ?= 300000
demo-elixir: check-tools-beam build
	cd bindings/elixir && mix run demo/demo.exs $(EVENTS)
	cd bindings/elixir && mix run demo/overload.exs

# The costs of the library beside lower bounds and peers: a table, limits, and plots in docs/benchmarks. QUICK=1 takes a minute. PARTS:
# capture each payload throughput wake load idle writers storage. A peer that cannot be installed is named and left out.
bench: check-tools-bench build local cli
	@$(MAKE) --no-print-directory install-cli DESTDIR= $(call q,PREFIX=$(LOCAL)) >> $(BUILD)/local.log 2>&1 || { cat $(BUILD)/local.log; exit 1; }
	-@$(MAKE) --no-print-directory -k -C benches/native needed peers CARGO='$(CARGO)' CARGO_FLAGS='$(CARGO_FLAGS)' > $(BUILD)/bench.log 2>&1
	@QUICK='$(QUICK)' PARTS='$(PARTS)' python3 benches/native/run.py

# The storage in NATS JetStream beside the official client by itself. NATS_BENCH has options of storages/nats/bench/run.py.
.PHONY: bench-nats
bench-nats: local-nats
	storages/nats/tests/servers.sh
	$(CARGO) build --profile nats --package capture_pipeline_nats_bench $(CARGO_FLAGS)
	tests/programs.sh --build-only --only '*/capture.c' storages/nats/bench
	python3 storages/nats/bench/run.py $(BUILD)/nats-servers/pypi/bin/nats-server $(BUILD)/programs/storages/nats/bench/capture \
	    $(call q,$(BUILT_NATS)/nats_peer) $(NATS_BENCH)

# The costs on the BEAM, beside the ways to do without this library. QUICK=1 takes a minute. PARTS: capture throughput wake default idle.
PARTS ?=
bench-elixir: check-tools-beam build
	cd bindings/elixir && MIX_ENV=bench mix run bench/run.exs $(PARTS)

# Runs the real pool, rings and writers under a scheduler that is determined by a seed: SEEDS seeds from FROM on, in JOBS processes.
# SEED=n replays one.
SEEDS ?= 5000
FROM  ?= 1
JOBS  ?= 2
simulate:
	CARGO='$(CARGO)' CARGO_FLAGS='$(CARGO_FLAGS)' SEEDS=$(SEEDS) FROM=$(FROM) JOBS=$(JOBS) tests/simulate.sh

# Processes with ring files, killed at each point of an event's way and at random moments. KILL_ROUNDS=n and KILL_SEED=n override.
.PHONY: kill-matrix
kill-matrix:
	CARGO='$(CARGO)' CARGO_FLAGS='$(CARGO_FLAGS)' tests/kill_matrix.sh

# A service that runs for long, in some minutes: 10^9 events through a journal that deletes its oldest segments. EVENTS=n overrides. The journal takes at
# most 512 MiB of build/soak.
.PHONY: soak
soak: check-tools build local
	@tests/programs.sh --build-only --only '*/journal_soak.c' tests/c/hosts
	@rm -rf $(BUILD)/soak && mkdir -p $(BUILD)/soak
	@cd $(BUILD)/soak && EVENTS=$(if $(filter file,$(origin EVENTS)),1e9,$(EVENTS)) ../programs/tests/c/hosts/journal_soak

check-tools:
	@packaging/check_tools.sh

check-tools-beam:
	@packaging/check_tools.sh beam

check-tools-bench:
	@packaging/check_tools.sh bench

.PHONY: clean-instrumented sanitize sanitize-address sanitize-thread sanitize-beam memcheck fuzz
# The tests under AddressSanitizer, ThreadSanitizer and valgrind. tests/sanitize.sh names the packages that it installs.
sanitize: sanitize-address sanitize-thread memcheck

sanitize-address sanitize-thread: sanitize-%:
	tests/sanitize.sh $*

# The NIF alone, in a VM with AddressSanitizer. This is a part of sanitize-address.
sanitize-beam:
	tests/sanitize.sh address beam

memcheck:
	tests/sanitize.sh memcheck

.PHONY: targets targets-aarch64 targets-musl targets-otp
# Builds and tests for aarch64 (under QEMU) and for musl. tests/targets.sh names the packages that it installs.
targets: targets-aarch64 targets-musl

targets-aarch64 targets-musl: targets-%:
	tests/targets.sh $*

# The tests of the binding on other releases of Erlang/OTP, in folders of Debian's packages. OTP="27 newest" names them.
OTP ?= 27 newest
targets-otp: build
	tests/otp.sh $(OTP)

# Fuzzes the calls and the structs of the C interface, SECONDS each.
SECONDS ?= 60
fuzz:
	SECONDS_EACH=$(SECONDS) fuzz/run.sh

clean: clean-instrumented
clean-instrumented:
	rm -rf target-address target-thread target-fuzz target-miri target-aarch64 target-musl

clean:
	$(CARGO) clean
	rm -rf $(BUILD) target-loom target-simulator target-kill bindings/erlang/_build bindings/erlang/priv bindings/elixir/_build bindings/elixir/priv
