# The project's chores. `make demo` and `make test` are all that a fresh machine needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
WORKERS ?= 3

CLIENTS := $(basename $(notdir $(wildcard tests/clients/*.txt)))

.PHONY: demo demo-reward test test-quick test-ray test-clients fuzz lint format bench site dist check-deploy docs clean

demo: $(VENV)/installed-video
	@$(BIN)/curate run mr2bench-video --dir demo
	@echo
	@echo "Look around:  $(BIN)/curate status --store demo/curate.duckdb"
	@echo "              $(BIN)/curate rankings p0001 --store demo/curate.duckdb"
	@echo "              demo/report.html in a browser;  $(BIN)/curate release ls demo/releases"

# A reward model on simulated clips, on a CPU: adds torch and transformers.
demo-reward: $(VENV)/installed-train
	@$(BIN)/curate run reward-video --dir demo-reward
	@echo
	@echo "Look around:  demo-reward/model/README.md, curves.png;  $(BIN)/curate score demo-reward/model demo-reward/benchmark --media demo-reward/world"

# Each worker imports all tests; rewriting their assertions takes longer than that. Only those that fail are rewritten.
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --assert=plain
SHOW_FAILED = { $(BIN)/python -m pytest --last-failed --last-failed-no-failures=none $(1); exit 1; }

# Everything, in WORKERS processes. Compiled kernels are cached beside the sources, shared by all of them.
test: $(VENV)/installed-dev
	$(PYTEST) || $(call SHOW_FAILED)

# The engine ray on two nodes, one of which is lost; installs Ray (80 MB).
test-ray: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]'
	$(BIN)/python -m pytest tests/test_engine.py tests/test_engine_jobs.py -k ray

# The inner loop: without browsers, training, crashes and whole jobs.
test-quick: $(VENV)/installed-dev
	$(PYTEST) -m "not slow" || $(call SHOW_FAILED,-m "not slow")

# Our files in the programs of others, and theirs in ours. CLIENTS="argilla potato" takes only some of tests/clients/*.txt.
test-clients: $(VENV)/installed-dev $(CLIENTS:%=.venv-clients/%/installed)
	$(BIN)/python -m pytest $(CLIENTS:%=tests/clients/test_%.py)

# Each list of packages is complete; --no-deps leaves out what a client needs only elsewhere.
.venv-clients/%/installed: tests/clients/%.txt
	$(PYTHON) -m venv --clear .venv-clients/$*
	.venv-clients/$*/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

# Mutated vote files of every format and platform: no traceback, crash, hang or wrong total; then the properties in the
# tests, on new examples. SEED=1 gives others.
fuzz: $(VENV)/installed-dev
	$(BIN)/python -m tests.fuzz --cases $(or $(CASES),300) --seed $(or $(SEED),0)
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile explore --hypothesis-seed $(or $(SEED),0)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Ratios against peers, in one process run. DATA=votes.csv adds your own votes.
bench: $(VENV)/installed-bench
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.cold_start
	$(BIN)/python -m benchmarks.speed $(if $(DATA),--votes $(DATA))
	$(BIN)/python -m benchmarks.calibration && $(BIN)/python -m benchmarks.calibration --world video && $(BIN)/python -m benchmarks.calibration --world heavy
	$(BIN)/python -m benchmarks.control
	$(BIN)/python -m benchmarks.plan
	$(BIN)/python -m benchmarks.near
	$(BIN)/python -m benchmarks.media
	$(BIN)/python -m benchmarks.release
	$(BIN)/python -m benchmarks.refresh
	$(BIN)/curate run mr2bench-video --dir demo && $(BIN)/python -m benchmarks.ceiling --dir demo && $(BIN)/python -m benchmarks.report --dir demo
	$(BIN)/python -m benchmarks.annotate && $(BIN)/python -m benchmarks.annotate_http && $(BIN)/python -m benchmarks.annotate_kills && $(BIN)/python -m benchmarks.annotate_loop && $(BIN)/python -m benchmarks.annotate_start
	$(BIN)/python -m benchmarks.reward
	$(BIN)/python -m benchmarks.reward_video
	$(BIN)/python -m benchmarks.grpo
	$(BIN)/python -m benchmarks.accuracy --quick $(if $(DATA),&& $(BIN)/python -m benchmarks.accuracy --votes $(DATA))

# The documentation as a site that needs no network: build/site/index.html. Broken links are errors.
site: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

# Wheel and sdist, checked: the wheel is built from the sdist and runs in an environment of its own.
dist: $(VENV)/installed-dev
	rm -rf dist build/dist && mkdir -p build
	$(BIN)/python -m hatchling build --target sdist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	$(PYTHON) -m venv build/dist && build/dist/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	cd build/dist && bin/curate --version && bin/curate simulate --out world --prompt-count 5 && bin/curate ingest world/votes.csv && bin/curate denoise

# The commands of deploy/Dockerfile without Docker.
check-deploy:
	PYTHON=$(PYTHON) deploy/check.sh

docs: $(VENV)/installed-dev
	$(BIN)/python -m cli.reference > docs/cli.md
	$(BIN)/python -m schemas.reference > docs/data.md

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("curate needs Python 3.11 or newer: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-video: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[video]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-train: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train]'
	@touch $@ $(VENV)/installed $(VENV)/installed-video

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/installed $(VENV)/installed-video $(VENV)/installed-train

$(VENV)/installed-bench: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@ $(VENV)/installed $(VENV)/installed-video $(VENV)/installed-train $(VENV)/installed-dev

clean:
	find curate -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) .venv-clients demo demo-reward build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
