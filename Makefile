# Every target does all of its own set-up, in .venv and target/. `make demo` and `make test` are where to begin.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Arguments for pytest: `make test PYTEST_ARGS="-k registry"`.
PYTEST_ARGS ?=

# maturin sets this as well; without it cargo and maturin would rebuild each other's pyo3.
export PYO3_BUILD_EXTENSION_MODULE := 1
export CARGO_TARGET_DIR := $(CURDIR)/target
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-rust test-python test-vm lint lint-rust lint-python bench build develop clean cargo system test-wheel

help:
	@echo "make demo     build, install into .venv, run containers"
	@echo "make test     every test (those that need root run as root only)"
	@echo "make test-vm  the Rust tests on a kernel with control groups v2 alone, emulated by qemu"
	@echo "make lint     formats, lints, types, import rules"
	@echo "make bench    benchmarks beside crun and tar, as root"
	@echo "make build    the wheel and the source distribution, in dist/"
	@echo "make develop  an editable installation in .venv"
	@echo "make clean    removes everything that was built"

# --- set-up -------------------------------------------------------------------------------------------------------

cargo:
	@command -v cargo >/dev/null || { echo "cargo was not found: install Rust 1.88 or newer, it builds the core" >&2; exit 1; }

system:
	@.ci/system-packages

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "==> preparing $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "the module \`venv\` does not work: install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install -q --upgrade "pip>=25.1"
	@$(BIN)/pip install -q --group dev
	@touch $@

# The wheel of this checkout, dev profile: overflow checks are on, and its dependencies are those of `cargo test`.
test-wheel: cargo $(VENV)/.ready
	@echo "==> building and installing the wheel (dev profile)"
	@rm -rf target/test-wheel
	@$(BIN)/maturin build -q -o target/test-wheel
	@$(BIN)/pip install -q --no-deps --force-reinstall target/test-wheel/*.whl

# --- targets ------------------------------------------------------------------------------------------------------

demo: cargo $(VENV)/.ready
	@echo "==> pip install ."
	@$(BIN)/pip install -q --force-reinstall --no-deps .
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

test: test-rust test-python

test-rust: cargo system
	@echo "==> cargo test"
	@cargo build -q -p ctr-shim --bins
	@cargo test -q --workspace --exclude ctr-py

test-python: system test-wheel
	@echo "==> pytest"
	@[ "$$(id -u)" -eq 0 ] || echo "==> skipped: tests marked root (this user is not root)"
	@$(BIN)/pytest $(PYTEST_ARGS)

test-vm: cargo
	@echo "==> tests on a pure control group v2 kernel"
	@.ci/system-packages vm
	@$(PYTHON) -m tests.vm.run

lint: lint-rust lint-python

lint-rust: cargo
	@echo "==> cargo fmt, clippy"
	@cargo fmt --all --check
	@cargo clippy -q --workspace --all-targets -- -D warnings

lint-python: test-wheel
	@echo "==> ruff, mypy, stubtest, import rules"
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy
	@$(BIN)/python -m mypy.stubtest pyrust_ctr._core --allowlist tests/support/stubtest_allowlist.txt
	@$(BIN)/pytest -q tests/architecture

bench: cargo system $(VENV)/.ready
	@[ "$$(id -u)" -eq 0 ] || { echo "the benchmarks start containers, which needs root" >&2; exit 1; }
	@echo "==> building and installing the wheel (release profile)"
	@rm -rf target/bench-wheel
	@$(BIN)/maturin build -q --release -o target/bench-wheel
	@$(BIN)/pip install -q --no-deps --force-reinstall target/bench-wheel/*.whl
	@$(BIN)/pytest benches -o python_files='bench_*.py' -o python_functions='bench_*' --benchmark-disable-gc --timeout=1800 -q -s

build: cargo $(VENV)/.ready
	@$(BIN)/maturin build --release --sdist -o dist

develop: cargo $(VENV)/.ready
	@VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/maturin develop -q

clean:
	rm -rf target dist $(VENV) python/pyrust_ctr/_bin python/pyrust_ctr/_core*.so .mypy_cache .pytest_cache .ruff_cache .benchmarks
