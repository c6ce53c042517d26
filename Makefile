# Entourage. `make` lists what there is.

PYTHON ?= python3
RUNS ?= 10
SEEDS ?= 100000
UV := .tools/bin/uv
BIN := .venv/bin

export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help setup check test demo bench-switch bench-chaos bench-realtime bench-rules clean root host environment

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

setup: root environment ## install what is missing and build the lab root; once, then quick (needs root)
	@$(BIN)/python -m entourage.lab.setup

test: setup check ## the set-up, the checks and every test, the lab's included (needs root)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not alone"
	$(BIN)/pytest -m alone

demo: setup ## the story: two sites, one service, and two ways to move it (needs root)
	$(BIN)/entourage demo

bench-switch: setup ## the figures: RUNS=10 moves by each strategy; writes out/bench/switch.json (needs root)
	$(BIN)/python -m entourage.bench.switch --runs $(RUNS)

bench-realtime: setup ## latency beside CPU hogs: 3 runs of each case, moves, admission; writes out/bench/realtime.json (needs root)
	$(BIN)/python -m entourage.bench.realtime

bench-rules: setup ## rules at work: 10 groups that follow, 10 cut links, 5 killed sites; writes out/bench/rules.json (needs root)
	$(BIN)/python -m entourage.bench.rules

bench-chaos: setup ## interrupted moves: SEEDS=100000 simulated, RUNS=10 times 4 kills in a lab; writes out/bench/chaos.json (needs root)
	$(BIN)/python -m entourage.bench.chaos --seeds $(SEEDS) --runs $(RUNS)

check: environment ## format, lint, types and layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove what was built here; the lab root stays in its cache
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache out

# Exit code 77: EX_NOPERM of sysexits.h.
root:
	@[ "$$(id -u)" -eq 0 ] || { echo "entourage: this needs root, because the lab is real: it makes network namespaces," \
	  "TAP devices and virtual machines, runs QEMU and FRR in a directory of its own with chroot, and installs missing" \
	  "packages. Run it as root, or with sudo. Without root there is: make check" >&2; exit 77; }

host:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "entourage: Python 3.11 or newer is needed, and $(PYTHON) is not; name another: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) scripts/host_packages.py

environment: host .tools/tools.txt
	@$(UV) sync --quiet --frozen --python $(PYTHON)

.tools/tools.txt: scripts/tools.txt
	@echo "installing the tools of scripts/tools.txt"
	@$(PYTHON) -m venv --clear .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check --requirement scripts/tools.txt
	@cp scripts/tools.txt $@
