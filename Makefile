# synguard: the commands of its developers; bare `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
unexport PYTHONDONTWRITEBYTECODE # else every run of pytest rewrites the assertions of all tests anew
PY := .venv/bin/python
RUNTIME := .venv/.runtime
STAMP := .venv/.installed
DEMO := .venv/.demo
IN_TEST := not bench and not soak and not adversary and not pages and not deb and not debians and not kernels
TWICE := tests/package/test_deb.py::test_two_builds_give_the_same_bytes
WHEEL_ON_13 := what_must_work and trixie
FUZZ := 10m
INSTALL := .venv/bin/pip install --quiet --disable-pip-version-check --use-pep517 --editable

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

runtime: $(RUNTIME) ## install what running needs: system packages and .venv

setup: $(STAMP) ## install what developing and testing need too

$(RUNTIME): pyproject.toml .ci/system-packages
	.ci/system-packages
	test -x $(PY) || python3 -m venv .venv
	$(INSTALL) .
	touch $@

$(STAMP): $(RUNTIME)
	.ci/system-packages --for-tests
	$(INSTALL) '.[dev]'
	touch $@

run: runtime ## set up everything and run the agent in dry-run on this host (Ctrl-C ends it)
	.venv/bin/synguard run --dry-run

lint: setup ## ruff and mypy --strict
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test: lint ## set up everything, then lint and run every test, those in the kernel too
	$(PY) -m pytest -m 'not kernel and $(IN_TEST)' --numprocesses 2 --dist loadfile
	$(PY) -m pytest -m 'kernel and $(IN_TEST)' --numprocesses 2 --dist loadfile --no-loadscope-reorder

docs: setup ## work through every page of the documentation on a host under a flood, a minute or two
	$(PY) -m pytest -m pages tests/netns

bench: setup ## benchmarks side by side, as ratios (SHORT=1 for the short form)
	$(PY) -m pytest -m bench -s --timeout 1800 tests/bench

soak: setup ## an hour of floods, restarts and wiped rules: nothing may grow (SOAK=10m for less, SHORT=1 for CI)
	SOAK='$(SOAK)' $(PY) -m pytest -m soak -s tests/soak

screenshots: setup ## make the pictures of the documentation under a real flood (PICTURES=report for some of them)
	$(PY) -m tests.support.screenshots $(PICTURES)

fuzz: setup ## every reader of hostile bytes, guided by coverage, for FUZZ=10m (SHORT=1: half a minute)
	$(INSTALL) '.[fuzz]'
	$(PY) -m tests.fuzz.run $(if $(SHORT),34s,$(FUZZ))

attackers: setup ## the attackers of docs/threat-model.md: before, now, and beside the host without the agent (ROWS="4 14")
	$(PY) -m tests.support.attackers $(ROWS)

adversary: setup ## random mixes of clients and attackers, in memory and in the kernel, for an hour (ADVERSARY=10m, SHORT=1 for CI)
	$(if $(SHORT),,ADVERSARY_EXAMPLES=1500 $(PY) -m pytest --timeout 5400 tests/property/test_adversary.py)
	ADVERSARY='$(ADVERSARY)' $(PY) -m pytest -m adversary -s tests/adversary

$(DEMO): $(RUNTIME)
	.ci/system-packages --for-demo
	touch $@

demo: $(DEMO) ## a flood, the agent, who gets through: before and after, in under a minute
	$(PY) -m tests.support.demo

deb: ## build dist/synguard_VERSION_ARCH.deb
	.ci/system-packages --for-deb
	.ci/deb/build

deb-lock: ## pin anew what the Debian package carries
	.ci/deb/lock

deb-check: setup ## build, install, use, upgrade and purge the package on a fresh Debian (SUITE=trixie; SHORT=1: one build)
	.ci/system-packages --for-deb-check
	SUITE=$(SUITE) $(PY) -m pytest -m deb tests/package/test_deb.py $(if $(SHORT),--deselect $(TWICE))

debians: setup ## the whole of `make test` on Debian 12, 13 and testing, Python 3.11 to 3.14 (SUITE=forky; SHORT=1: the wheel on 13)
	.ci/system-packages --for-debians
	$(PY) -m pytest -s -m debians tests/package/test_debians.py $(if $(SHORT),-k '$(WHEEL_ON_13)',$(if $(SUITE),-k '$(SUITE)'))

kernels: setup ## what must work, tried in other kernels under software emulation, half an hour (KERNEL=bookworm, trixie, backports for one)
	.ci/system-packages --for-kernels
	$(PY) -m pytest -s -m kernels tests/package/test_kernels.py $(if $(KERNEL),-k '$(KERNEL)')

newcomer: setup deb ## type the quick start on a fresh Debian: commands counted, seconds to the first report
	.ci/system-packages --for-deb-check
	$(PY) -m pytest -m deb tests/package/test_newcomer.py

bpf: setup ## compile the challenge program anew (synguard/enforcer/challenge/bpf)
	synguard/enforcer/challenge/bpf/build

man: setup ## write man pages, references, completions and the example config anew from the code
	$(PY) -m tests.support.manual

clean: ## remove what the targets above made
	rm -rf .venv .fuzz build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: $(shell grep -oE '^[a-z-]+:' $(firstword $(MAKEFILE_LIST)) | tr -d :)
