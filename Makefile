# The commands of this project. CI runs `make check` and `make test`, nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TRAINER_STAMP := $(VENV)/.installed-trainer
CLUSTER := PYTHONPATH=tests/cluster $(BIN)/python -m testcluster
# uv reads the system's certificates where a proxy needs its own authority.
export UV_SYSTEM_CERTS := 1

.PHONY: help setup demo test test-fast check sync lock images cluster cluster-down bench bench-ranking bench-spending bench-step bench-operator bench-reliability bench-faults clean

help: ## Show the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: $(STAMP) ## Make .venv with everything pinned in constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(call install,operator$(COMMA)trainer$(COMMA)export$(COMMA)dev)
	@touch $(TRAINER_STAMP) $@

$(TRAINER_STAMP): pyproject.toml constraints.txt
	@$(call install,trainer)
	@touch $@

# Installs the extras $(1). uv itself comes from constraints.txt too, its hash checked by pip. On a terminal uv shows its progress; in a log it is quiet.
COMMA := ,
define install
set -e; \
echo 'Installing into $(VENV): AutoHAS [$(1)], pinned in constraints.txt.'; \
echo 'Without a cache this downloads about 3 GB from PyPI, most of it PyTorch with its CUDA libraries (Linux; less on macOS), and takes 6 GB of disk.'; \
$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); \
awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' constraints.txt > $(VENV)/uv.txt; \
$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt; \
$(BIN)/uv pip install $$([ -t 2 ] || echo --quiet) --python $(BIN)/python -c constraints.txt -b constraints.txt -e '.[$(1)]'
endef

demo: $(TRAINER_STAMP) ## Search the digits data set on this machine: about a minute, ends with a report (starts afresh in autohas-out/demo)
	@rm -rf autohas-out/demo
	@$(BIN)/autohas run examples/01-quickstart.yaml --out autohas-out/demo

test-fast: setup ## Pure and in-process tests only: 6 minutes on two cores
	$(BIN)/pytest -n auto --dist loadfile -m "not control_plane and not node"

# In-process tests need the processor, control-plane tests wait half of their time, images come from the network and the disk: the first and
# the last fill the gaps in the background. `wait` keeps the node's tests from a machine that still builds. The folders spare the workers
# the collection of what they do not run; tests/cluster/test_levels.py looks for tests elsewhere. Long files come first, so that both workers end together.
CONTROL_PLANE_TESTS := tests/operator/control_plane tests/chart tests/contract tests/cluster
NODE_TESTS := tests/node

test: setup ## Every level that this machine can host: pure, in-process, control plane, node; 21 minutes on two cores, 45 the first time
	@tests/run-all \
		'&in-process' '$(CLUSTER) prepare-in-process; $(BIN)/pytest -n auto --dist loadfile -m "not control_plane and not node" --durations=5' \
		'&prepare-node' '$(CLUSTER) prepare-node' \
		prepare '$(CLUSTER) prepare-control-plane' \
		control-plane '$(BIN)/pytest -n $(if $(AUTOHAS_TEST_KUBECONFIG),0,2) --dist loadfile --no-loadscope-reorder -m control_plane --durations=8 $(CONTROL_PLANE_TESTS)' \
		wait prepare-node \
		node '$(BIN)/pytest -m node --timeout=1800 --durations=10 $(NODE_TESTS)'

check: setup ## Lint, types, layers, drift of generated files: a minute
	@tests/run-all \
		'&types' '$(BIN)/mypy' \
		lint '$(BIN)/ruff check .' \
		format '$(BIN)/ruff format --check .' \
		layers '$(BIN)/lint-imports --no-logo' \
		generated '$(BIN)/python -m autohas_api.generate.sync --check'

sync: setup ## Write what is generated: the CRD and the chart's copy
	$(BIN)/python -m autohas_api.generate.sync

lock: setup ## Pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --upgrade --quiet --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--all-extras --python-version 3.11 --universal pyproject.toml -o constraints.txt

images: setup ## Build both images from the Dockerfile, without a registry
	$(CLUSTER) images

cluster: setup ## Leave a test cluster running with the chart installed; says how to use and end it
	$(CLUSTER) up

cluster-down: setup ## End what `make cluster` started
	$(CLUSTER) down

bench: setup ## Search quality at equal work, three seeds; may be stopped and started again
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quality

bench-ranking: setup ## What the shared weights know about architectures beyond their size
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.ranking

bench-spending: setup ## Forty searches of template mlp-small: supernets that diverge, trainings spent of the budget
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.spending

bench-reliability: setup ## Thirty kill -9 at random moments: every search ends bit for bit as undisturbed
	$(BIN)/python -m benchmarks.reliability

bench-step: setup ## Cost of a step of a supernet and of a lane compared with its floor, every strategy and template
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.step

bench-operator: setup ## A thousand lives of searches on a real control plane: waits, writes, memory
	PYTHONPATH=tests/cluster $(BIN)/python -m benchmarks.operator

bench-faults: setup ## Two hundred random faults over twenty searches on the node test cluster: nothing twice, nothing lost
	PYTHONPATH=tests/cluster:tests/fixtures $(BIN)/python -m benchmarks.faults

clean: ## Remove what these commands made here (not the cluster's cache)
	rm -rf $(VENV) autohas-out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
