# AlexNet from pixels to production. `make demo` does the main job, `make test` proves the parts.
.DEFAULT_GOAL := help
SHELL := /bin/bash -eo pipefail
PYTHON ?= $(shell command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# What the environment is made from: it is made again when one of these changes.
REQUIREMENTS := pyproject.toml client/pyproject.toml constraints.txt
# What the unit tests need.
TOOLS := $(VENV)/tensorrt $(addprefix $(BIN)/, helm promtool prometheus-alertmanager)
# Only root can build and run the image: others leave its tests out.
IMAGE := $(if $(filter 0,$(shell id -u)),,-m 'not image')
export PYTHONUNBUFFERED := 1
# The backends' Python processes find their packages through the first python3 on PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Several processes test on few cores: a thread that waits for its team is not to spin meanwhile.
check test unit: export OMP_WAIT_POLICY := PASSIVE

.PHONY: help demo serve engines image check test lint unit bench load soak format clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

demo: $(VENV)/ready ## train, export, prove, publish, serve and ask: everything, from nothing (about 10 minutes)
	python -m deploy.demo

serve: $(VENV)/ready ## serve build/repository on 8001 (gRPC) and 8002 (metrics) until Ctrl-C
	python -m deploy.serve --repository build/repository

engines: $(VENV)/tensorrt ## build FP16 and INT8 TensorRT engines for five kinds of GPU, with no GPU, from the demo's checkpoint
	python -m deploy.demo.engines

image: $(VENV)/ready ## build the image for CPUs, as root, with no Docker and no registry: alexnet-serving
	bash deploy/serve/install.sh buildah
	bash deploy/docker/image.sh alexnet-serving

check: $(TOOLS) ## the quick loop, about a minute: lint, types and unit tests, offline and without a server
	$(MAKE) --no-print-directory -j2 --output-sync lint unit

test: $(TOOLS) $(BIN)/perf_analyzer $(BIN)/chromium ## run every test, with coverage; as root, those of the image too
	((EUID)) || { bash deploy/serve/install.sh buildah && bash deploy/serve/install.sh podman; }
	rm -f .coverage .coverage.*
	coverage run -m pytest $(IMAGE) -n 3 --dist loadfile --no-loadscope-reorder --durations=20
	coverage combine -q
	coverage report

lint: $(VENV)/ready ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

unit: $(TOOLS) ## the unit tests alone
	pytest -q -n 4 --dist loadfile tests/unit tests/contract

format: $(VENV)/ready ## let ruff format and fix
	ruff check --fix .
	ruff format .

bench: $(VENV)/ready $(BIN)/perf_analyzer ## measure throughput and latency, in-process and served, in one run
	python -m deploy.loadtest bench

load: $(VENV)/ready ## find the highest rate that keeps p99 under 100 ms, in an open loop, with a page; and the served accuracy
	python -m deploy.loadtest load
	python -m deploy.loadtest loadgen --accuracy
	python -m deploy.loadtest loadgen --accuracy --model alexnet

soak: $(VENV)/ready ## faults under checked load, three times; then an hour of mixed load and 100 releases: does anything grow?
	python -m deploy.loadtest faults
	python -m deploy.loadtest soak

clean: ## remove what was built; the environment and the downloads stay
	rm -rf build/demo build/checkpoint build/artefacts build/predictions build/repository build/repository.releases build/bench build/sizing

$(VENV)/ready: $(REQUIREMENTS) deploy/serve/install.sh
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13) and f"got Python {sys.version.split()[0]}, want 3.11 or 3.12, which have the numpy 1 that Triton 24.10 reads: make PYTHON=python3.12 ...")'
	PYTHON=$(PYTHON) bash deploy/serve/install.sh system
	$(PYTHON) -m venv $(VENV)
	bash deploy/serve/install.sh triton
	pip install --quiet --disable-pip-version-check -c constraints.txt -e client -e '.[dev]'
	touch $@

$(VENV)/tensorrt: $(VENV)/ready
	pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[tensorrt-rtx]'
	touch $@

$(BIN)/perf_analyzer: $(VENV)/ready
	bash deploy/serve/install.sh perf_analyzer

$(BIN)/helm: $(VENV)/ready
	bash deploy/serve/install.sh helm

$(BIN)/promtool: $(VENV)/ready
	bash deploy/serve/install.sh prometheus

$(BIN)/prometheus-alertmanager: $(VENV)/ready
	bash deploy/serve/install.sh alertmanager

$(BIN)/chromium: $(VENV)/ready
	bash deploy/serve/install.sh chromium
