# SPDX-License-Identifier: MIT
#
# The front door: meson and ninja do the work. 'make help' lists what there is.
#
# Everything made is below $(BUILD): hako and its objects, a folder for each further kind of build
# (asan, tsan, fuzz, static/ARCH), and guest/, the guest images and what else was fetched, which
# 'make clean' leaves alone.

BUILD ?= build
PREFIX ?= /usr/local
GUEST = $(BUILD)/guest
FUZZ_SECONDS ?= 60
# Further options of bench/run, such as --quick
BENCH ?=

SETUP = meson setup --prefix=$(abspath $(PREFIX))
# No errors from warnings: gcc gives wrong ones about code that a sanitizer has changed.
SANITIZE = --buildtype=debugoptimized -Dwerror=false -Db_lundef=false -Db_sanitize
# What runs under sanitizers: all but Linux, of which one boot is enough.
SHORT = unit,kvm,cli,guest,riscv,debug,insn,fuzz,short
RUN_TESTS = HAKO_GUEST=$(abspath $(GUEST))/arm64 scripts/run-tests

.PHONY: all hako help deps test-deps bench-deps install
.PHONY: guest guest-amd64 guest-arm64 guest-riscv64 test-guests demo demo-riscv demo-x86 demo-guest
.PHONY: static static-amd64 static-arm64 static-riscv64 test-static tests asan tsan
.PHONY: test test-nested test-matrix test-crash test-asan test-tsan fuzz bench clean distclean
.NOTPARALLEL:

all: hako ## build build/hako (the default)

help: ## print this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1 /p' Makefile | \
		while read -r name what; do printf 'make %-11s %s\n' "$$name" "$$what"; done

# ---- What is needed ----

deps: ## install the Debian packages that building hako and its guest needs
	@scripts/deps install build guest

test-deps: ## install those and what the tests need
	@scripts/deps install build guest test

bench-deps:
	@scripts/deps install build guest bench

# ---- hako ----

# Without the tests, which need more packages; 'make test' turns them on.
$(BUILD)/build.ninja:
	@scripts/deps check build
	$(SETUP) --buildtype=release -Dtests=false $(BUILD)

hako: $(BUILD)/build.ninja
	ninja -C $(BUILD) hako

static: static-amd64 static-arm64 static-riscv64 ## build static programs for amd64, arm64 and riscv64, with cross compilers

static-amd64 static-arm64 static-riscv64:
	scripts/static $(@:static-%=%) $(BUILD)/static/$(@:static-%=%) $(GUEST)/$(@:static-%=%)-libs

install: $(BUILD)/build.ninja ## install hako below PREFIX (default /usr/local); DESTDIR works
	meson configure $(BUILD) --prefix=$(abspath $(PREFIX))
	ninja -C $(BUILD) hako libhako.a
	DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

# ---- Guests ----

guest: guest-amd64 guest-arm64 guest-riscv64 ## fetch Debian's amd64, arm64 and riscv64 kernels and make guest images

guest-amd64 guest-arm64 guest-riscv64:
	@scripts/deps check guest
	scripts/guest/build.sh $(@:guest-%=%) $(GUEST)

# riscv64 comes from another suite of Debian than the host's, and not every mirror has that: what
# kept it away is left in riscv64.why, for the tests that are skipped then.
test-guests: guest-amd64 guest-arm64
	@rm -f $(GUEST)/riscv64.why
	@scripts/guest/build.sh riscv64 $(GUEST) 2>$(GUEST)/riscv64.new || \
		{ cat $(GUEST)/riscv64.new >&2; mv $(GUEST)/riscv64.new $(GUEST)/riscv64.why; }
	@rm -f $(GUEST)/riscv64.new
	@for arch in arm64 amd64; do \
		to=$(GUEST)/$$arch/fio; rm -f $$to.why; \
		scripts/guest/make-fio.sh $$arch $(GUEST) 2>$$to.new || \
			{ cat $$to.new >&2; mv $$to.new $$to.why; }; \
		rm -f $$to.new; \
	done

# Where there is no riscv64 guest, there are no libraries for riscv64 either.
test-static: test-guests static-amd64 static-arm64
	@[ -e $(GUEST)/riscv64.why ] || $(MAKE) --no-print-directory static-riscv64

demo: deps hako guest-arm64 ## boot Debian's arm64 kernel to a shell; installs what is missing
	@scripts/demo $(BUILD)/hako $(GUEST)/arm64

demo-riscv: deps hako guest-riscv64 ## the same with Debian's riscv64 kernel
	@scripts/demo $(BUILD)/hako $(GUEST)/riscv64

demo-x86: deps hako guest-amd64 ## the same with Debian's amd64 kernel, on KVM
	@scripts/demo $(BUILD)/hako $(GUEST)/amd64

demo-guest: ## show our own RISC-V kernel, guest/kernel, writing to a disk; installs what is missing
	@scripts/deps install build kernel
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) -t query guest-kernels >/dev/null 2>&1 || meson setup --reconfigure $(BUILD)
	ninja -C $(BUILD) hako guest-kernels
	@scripts/demo-guest $(BUILD)/hako $(BUILD)/guest/kernel/kernel-riscv32.elf $(BUILD)/demo-guest

# ---- Tests ----

$(BUILD)/with-tests: $(BUILD)/build.ninja
	meson configure $(BUILD) -Dtests=true
	@touch $@

tests: $(BUILD)/with-tests
	ninja -C $(BUILD)

$(BUILD)/asan/build.ninja:
	$(SETUP) $(SANITIZE)=address,undefined $(BUILD)/asan

$(BUILD)/tsan/build.ninja:
	$(SETUP) $(SANITIZE)=thread $(BUILD)/tsan

asan: $(BUILD)/asan/build.ninja
	ninja -C $(BUILD)/asan

tsan: $(BUILD)/tsan/build.ninja
	ninja -C $(BUILD)/tsan

test: test-deps tests asan test-guests test-static ## run every test, some with sanitizers too; installs what is missing
	@$(RUN_TESTS) $(BUILD) $(BUILD)/asan:$(SHORT)

test-nested: test-deps tests test-guests test-static ## run the tests of KVM, inside QEMU's emulation of it
	@$(RUN_TESTS) $(BUILD):nested

test-matrix: test-deps tests test-guests static-amd64 static-arm64 ## run fio in guests with every way to serve a disk
	tests/linux/test_fio.py $(BUILD)/hako $(GUEST)/arm64 --all
	tests/nested/test_matrix.py amd64 $(BUILD)/static/amd64/hako $(GUEST)/amd64 --all
	tests/nested/test_matrix.py arm64 $(BUILD)/static/arm64/hako $(GUEST)/arm64 --all

test-crash: test-deps tests test-guests ## cut the power of a guest's disk at every flush, and more
	tests/linux/test_crash.py $(BUILD)/hako $(GUEST)/arm64 --all

test-asan: test-deps asan test-guests ## run the tests with the address and undefined behaviour sanitizers
	@$(RUN_TESTS) $(BUILD)/asan:$(SHORT)

test-tsan: test-deps tsan test-guests ## run the tests with the thread sanitizer
	@$(RUN_TESTS) $(BUILD)/tsan:$(SHORT)

fuzz: test-deps ## run each fuzzer for FUZZ_SECONDS (default 60)
	[ -e $(BUILD)/fuzz/build.ninja ] || CC=clang $(SETUP) $(SANITIZE)=address,undefined \
		-Dfuzz=true -Dtests=false $(BUILD)/fuzz
	ninja -C $(BUILD)/fuzz
	scripts/run-fuzzers $(BUILD)/fuzz $(FUZZ_SECONDS)

bench: bench-deps hako guest-arm64 guest-amd64 static-arm64 static-amd64 ## measure speed and memory, against QEMU on the same guest
	bench/run --hako $(BUILD)/hako --guest $(GUEST)/arm64 --json $(BUILD)/bench.json

# ---- The end ----

clean: ## remove all that was built, but not the guest images
	@[ ! -d $(BUILD) ] || find $(BUILD) -mindepth 1 -maxdepth 1 ! -name guest -exec rm -rf {} +

distclean: ## remove the guest images too, with the demos' disks
	rm -rf $(BUILD)
