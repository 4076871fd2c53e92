# make run    makes .venv, installs Roost into it and starts the daemon   (CONFIG=FILE for a configuration)
# make test   installs the test tools and the real SIP peers, and runs every check
# make demo   shows the product in a minute, on loopback
# make help   names the rest

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CONFIG ?=
ROOT ?=
COMPILED ?=
PYTEST_ARGS ?=
FUZZ_SECONDS ?= 60

# pjsua2-pybind11 has wheels for these interpreters alone; with a newer one Roost runs without media=process.
PYTHONS := python3.11 python3.12 python3.10 python3

# Programs of the real peers, and the Debian packages that have them.
PEERS := sipp=sip-tester baresip=baresip-core sipsak=sipsak sip-options=sofia-sip-bin svmap=sipvicious tshark=tshark \
	sngrep=sngrep curl=curl jq=jq ip=iproute2 nft=nftables
# Programs that Debian's package is tried with.
PACKAGERS := lintian=lintian mmdebstrap=mmdebstrap systemd-nspawn=systemd-container
APT := DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0
# Root needs nothing, others a sudo that asks for no password; who has neither may not install.
AS_ROOT := $(shell if [ "$$(id -u)" = 0 ]; then echo env; elif sudo -n true 2>/dev/null; then echo sudo env; else echo false; fi)

# $(call missing,PEERS) is the packages of those that are not there.
missing = $(strip $(foreach peer,$(1),$(if $(shell command -v $(firstword $(subst =, ,$(peer)))),,$(lastword $(subst =, ,$(peer))))))
# $(call install,PACKAGES) installs them, after bringing the package lists up to date if they have none of that name.
install = $(AS_ROOT) $(APT) install -y --no-install-recommends $(1) >/dev/null 2>&1 || { \
	$(AS_ROOT) $(APT) update >/dev/null 2>&1 && $(AS_ROOT) $(APT) install -y --no-install-recommends $(1) >/dev/null; }

PYTEST = $(BIN)/python -m pytest
# Those with real peers mostly wait, so they run beside the others, and tell when these are done.
all-tests = told=$$(mktemp); $(PYTEST) tests/interop >$$told 2>&1 & beside=$$!; \
	$(PYTEST) --ignore=tests/interop; here=$$?; wait $$beside; there=$$?; \
	cat $$told; rm -f $$told; exit $$(( here | there ))

.PHONY: help run test fuzz check demo peers baresip reference wheel compiled lock audit deb package install uninstall clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: $(VENV)/installed ## start the daemon
	@exec $(BIN)/roost run $(if $(CONFIG),--config $(CONFIG))

demo: $(VENV)/installed baresip ## two real phones, status, a sync and a call, in a minute
	@exec $(BIN)/roost demo

test: $(VENV)/tested-with peers check ## lint, types, import contracts and all tests
	@echo "== tests"
	@$(if $(PYTEST_ARGS),$(PYTEST) $(PYTEST_ARGS),$(all-tests))
	@$(MAKE) --no-print-directory missing-peers

# Goes on from what earlier runs have found worth keeping, in .fuzz; what fails is written there too.
fuzz: $(VENV)/tested-with ## look for messages that break something, for FUZZ_SECONDS (60)
	@mkdir -p .fuzz/corpus
	@$(BIN)/python tests/fuzz/fuzz.py -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -dict=tests/fuzz/sip.dict \
	    -artifact_prefix=.fuzz/ .fuzz/corpus tests/data/sip

check: $(VENV)/tested-with ## lint, types and import contracts
	@echo "== format"    && $(BIN)/ruff format --check .
	@echo "== lint"      && $(BIN)/ruff check .
	@echo "== types"     && $(BIN)/mypy
	@echo "== contracts" && $(BIN)/lint-imports --no-logo

reference: $(VENV)/installed ## write default.toml and the generated pages of docs
	@$(BIN)/python -m config.reference && $(BIN)/python -m daemon.cli_reference && $(BIN)/python -m api.reference

wheel: $(VENV)/installed ## build the wheel into dist/
	@rm -rf dist && $(PIP) wheel --no-deps --wheel-dir dist . && ls dist

# The tests that go through what is compiled; others make classes of their own out of it, or watch its Python.
COMPILED_TESTS = admission agenda connections digest endpoint guard location message nonce offenders parts registrar registration release \
	store_bindings timers torture torture_endpoint transaction trust turn uri via

compiled: $(VENV)/tested-with ## build the wheel with a REGISTER's way compiled into dist/compiled, and test it
	@echo "== compiling" && rm -rf dist/compiled && $(BIN)/python -m daemon.deployment.wheel dist/compiled
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && ls dist/compiled/*.whl \
	&& $(BIN)/python -m venv --without-pip "$$scratch" \
	&& site=$$("$$scratch/bin/python" -c 'import site; print(site.getsitepackages()[0])') \
	&& $(BIN)/python -c 'import site; print(site.getsitepackages()[0])' >"$$site/tools.pth" \
	&& $(PIP) install --no-deps --target "$$site" dist/compiled/*.whl && cd "$$scratch" \
	&& bin/python -c 'import daemon.registration as it; assert it.__file__.endswith(".so"), it.__file__' \
	&& bin/python -m pytest -p no:cacheprovider --config-file "$(CURDIR)/pyproject.toml" --rootdir "$(CURDIR)" \
	    $(COMPILED_TESTS:%="$(CURDIR)/tests/test_%.py")

# The locks name every dependency, and what it needs, by version and hash, for all interpreters and machines at once.
UV_COMPILE = $(BIN)/uv pip compile --quiet --no-config --default-index https://pypi.org/simple --universal \
	--python-version 3.10 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --upgrade

lock: $(VENV)/released-with ## bring the locked, hashed dependencies of a release up to date
	@$(UV_COMPILE) --output-file systemd/requirements.lock pyproject.toml
	@$(UV_COMPILE) --group build --output-file systemd/requirements-build.lock

audit: $(VENV)/released-with ## known vulnerabilities of the locked dependencies, and bandit over our own code
	@echo "== bandit" && $(BIN)/bandit --quiet --recursive --configfile pyproject.toml daemon sip api config
	@echo "== pip-audit" && $(BIN)/pip-audit --strict --disable-pip --require-hashes \
	    --requirement systemd/requirements.lock --requirement systemd/requirements-build.lock

# What it is compiled with is locked as well; without gcc and python3-dev it says so, and names the way without.
deb: $(VENV)/installed ## build Debian's package into dist/, for the Debian that this is
	@$(BIN)/python systemd/debian/build.py

# In a Debian of its own with its own systemd, which takes root and half a minute.
package: $(VENV)/tested-with deb ## check the package: lintian, then installed, run, upgraded and removed
	@$(if $(call missing,$(PACKAGERS)),echo "== installing $(call missing,$(PACKAGERS))"; $(call install,$(call missing,$(PACKAGERS))))
	@ROOST_PACKAGE=$$(ls -t dist/roost_*.deb | head -1) $(BIN)/python -m pytest tests/interop/test_package_interop.py

install: $(VENV)/installed ## as root: put the service on this host, or bring it up to date   (COMPILED=1, ROOT=DIR for an image)
	@$(BIN)/roost install --systemd $(if $(COMPILED),--compiled) $(if $(ROOT),--root $(ROOT))

uninstall: $(VENV)/installed ## as root: take the service away, and leave configuration and data
	@$(BIN)/roost uninstall $(if $(ROOT),--root $(ROOT))

clean: ## remove what was built, and .venv
	@rm -rf $(VENV) dist .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@python=; for each in $(PYTHONS); do \
	    if $$each -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then python=$$each; break; fi; \
	done; \
	[ -n "$$python" ] || { echo "Roost needs Python 3.10 or newer: apt-get install python3 python3-venv" >&2; exit 1; }; \
	if ! $$python -c 'import ensurepip' 2>/dev/null; then \
	    echo "== python3-venv is missing: installing it"; \
	    $(AS_ROOT) $(APT) update && $(AS_ROOT) $(APT) install -y python3-venv \
	        || { echo "$$python cannot make a virtual environment: run  apt-get install python3-venv  as root" >&2; exit 1; }; \
	fi; \
	echo "== $(VENV) with $$($$python --version)" && $$python -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo "== installing Roost" && $(PIP) install --editable . && touch $@

$(VENV)/tested-with: pyproject.toml | $(BIN)/python
	@echo "== installing Roost and the test tools" && $(PIP) install --editable '.[test]' && touch $@ $(VENV)/installed
	@$(PIP) install --only-binary atheris --editable '.[fuzz]' 2>/dev/null || echo "!! the fuzzer has no wheel for this Python"

$(VENV)/released-with: pyproject.toml | $(BIN)/python
	@echo "== installing the release tools" && $(PIP) install --editable '.[release]' && touch $@

# Installs what it may. What is missing then is told here, and again when the tests are done.
peers:
	@$(if $(call missing,$(PEERS)),echo "== installing $(call missing,$(PEERS))"; $(call install,$(call missing,$(PEERS))) || true)
	@$(MAKE) --no-print-directory missing-peers

baresip:
	@$(if $(call missing,baresip=baresip-core),echo "== installing baresip-core"; $(call install,baresip-core) \
	    || echo "!! baresip-core cannot be installed: the phones are pjsua2's")

.PHONY: missing-peers
missing-peers:
	@missing="$(call missing,$(PEERS))"; [ -n "$$missing" ] || exit 0; \
	echo "!! not installed: $$missing"; \
	if [ "$$ROOST_REQUIRE_PEERS" = 1 ]; then echo "!! and ROOST_REQUIRE_PEERS=1 asks for all of them"; exit 1; fi; \
	echo "!! the tests that need them are skipped; to have them run:  apt-get install $$missing"
