# `make help` lists what is here.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
NEWEST := build/newest
PORT ?= 8000
STORE ?= build/demo
IMAGES ?= terrazzo
ENGINE ?= docker
export UV_PYTHON_DOWNLOADS := never
# Where a company checks the traffic, its certificate lies in the system's store.
export UV_SYSTEM_CERTS := 1
export UV_NATIVE_TLS := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick newest lint docs pictures evidence release sbom browser train constraints clean

help: ## list the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## install everything into .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5,<1"
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

demo: setup ## precompute the sample area, serve it, print the map's address (PORT=8000)
	exec $(BIN)/terrazzo demo --store $(STORE) --port $(PORT)

test: lint ## lint and run every test
	$(BIN)/python -m pytest -n 2 --dist worksteal

quick: lint ## lint and the tests that need no whole chain and no other program
	$(BIN)/python -m pytest -n 2 -m "not slow and not clients"

newest: setup ## the tests marked `pythons` on the newest Python of this machine, and that its pixels are those of .venv
	@python=$$($(BIN)/python .ci/newest.py); \
	if [ -z "$$python" ]; then \
		echo "newest: skipped, no Python newer than $$($(BIN)/python -V) is installed"; exit 0; fi; \
	set -e; \
	$(BIN)/uv venv --quiet --allow-existing --python "$$python" $(NEWEST); \
	$(BIN)/uv pip install --quiet --python $(NEWEST)/bin/python --require-hashes -r constraints.txt; \
	$(BIN)/uv pip install --quiet --python $(NEWEST)/bin/python --no-deps --no-build-isolation -e .; \
	$(NEWEST)/bin/python -V; \
	TERRAZZO_OTHER_PYTHON=$(BIN)/python $(NEWEST)/bin/python -m pytest -n 2 --dist worksteal -m pythons

lint: setup ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup ## build the documentation, strict, into server/help, which a server shows at /help
	rm -rf server/help
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build --fresh-env --fail-on-warning --keep-going --quiet -b html -d build/doctrees docs server/help

pictures: setup ## write the pictures of README and docs from the sample area (STORE=build/demo)
	$(BIN)/terrazzo precompute sample --store $(STORE)
	$(BIN)/python -m benchmarks.pictures --store $(STORE)

evidence: setup ## measure on the sample area and write the tables of the pages (STORE=build/demo)
	$(BIN)/terrazzo precompute sample --store $(STORE)
	$(BIN)/python -m benchmarks.evidence --store $(STORE)
	$(BIN)/python -m tests.clients.same_numbers $(STORE)

release: lint docs ## check everything that a release needs: docs, words, links, wheel, images, licences (the tests are `make test`)
	$(BIN)/python -m pytest -q -n0 -rs tests/test_docs.py tests/test_wheel.py tests/images
	rm -rf dist
	$(BIN)/uv build --no-build-isolation --quiet --python $(BIN)/python --out-dir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/python .ci/sbom.py > dist/sbom.json
	if [ -x build/images/podman ]; then \
		$(MAKE) sbom ENGINE=build/images/podman IMAGES="terrazzo terrazzo-nginx"; else \
		echo "release: no images were built here; build them and run make sbom"; fi

sbom: setup ## write the bills of materials of images into dist/ (IMAGES="terrazzo terrazzo-nginx", ENGINE=docker)
	mkdir -p dist
	set -e; for image in $(IMAGES); do \
		id=$$($(ENGINE) create $$image); \
		$(ENGINE) export $$id | $(BIN)/python .ci/sbom.py --image > dist/$$image.json; \
		$(ENGINE) rm $$id > /dev/null; done

browser: ## the map libraries and the driver that the tests in Chromium need, into build/browser (needs npm)
	mkdir -p build/browser
	cp tests/clients/package.json build/browser/
	cd build/browser && npm install --no-audit --no-fund --silent

train: setup ## train the cloud classifier on DATA=FOLDER, which holds labelled/ and imagery/
	$(BIN)/terrazzo train --data $(DATA)

constraints: ## write constraints.txt: every dependency pinned, with hashes and without addresses
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml .ci/build.in -o constraints.txt

clean: ## remove what was built, keep the sources
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
