# The two commands of the README: `make demo` and `make test`. Everything else is a part of them.
#   make test PYTHON=python3.13     another interpreter (it gets a virtual environment of its own)

PYTHON ?= python3
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
SOURCES := .
PYTEST_ARGS ?=

.PHONY: demo test check tests bench bench-quick conformance e2e kubectls image community-image crds charts reference fmt lock clean help

help:
	@echo "make demo   install into $(VENV) and run the canary demo"
	@echo "make test   install, then format check, lint, types, import rules and all tests with coverage"
	@echo "make check  all of that without the tests"
	@echo "make bench  compare with Envoy, HAProxy, nginx and write the figures into docs/performance.md; half an hour, root, a quiet machine"
	@echo "make bench-quick  the main ratios, in a minute and a half"
	@echo "make conformance  all black-box cases against a local mesh"
	@echo "make image  build the image IMAGE with IMAGE_BUILD (docker build -t IMAGE .)"
	@echo "make community-image  build the application of the community's suite with COMMUNITY_BUILD; needs Go"
	@echo "make e2e    end-to-end tests on the cluster that KUBECONFIG names; its nodes have the images already"
	@echo "make kubectls  fetch the kubectls KUBECTLS, which the end-to-end tests then ask, too"
	@echo "make crds   write manifests/crds anew"
	@echo "make charts write manifests/helm anew"
	@echo "make reference  write docs/reference anew"
	@echo "make fmt    format and sort imports"
	@echo "make lock   resolve the locked dependencies anew"
	@echo "make clean  remove what was built"

demo:
	@.ci/venv "$(PYTHON)" "$(VENV)" run
	@$(BIN)/smi demo canary

test: check tests

check:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

tests:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	$(BIN)/pytest --cov --cov-report=term $(PYTEST_ARGS)
	$(BIN)/pytest --native -q tests/proxy

bench:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	@.ci/bench "$(BIN)"
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.document

bench-quick:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	@.ci/bench "$(BIN)"
	$(BIN)/python -m benchmarks --quick

IMAGE ?= localhost/smi-mesh:dev
IMAGE_BUILD ?= docker build -t $(IMAGE) .

image:
	$(IMAGE_BUILD)

# One static binary and nothing else; tests/community/README.md says what it is for.
COMMUNITY_IMAGE ?= localhost/community-app:dev
COMMUNITY_BUILD ?= docker build -t $(COMMUNITY_IMAGE) tests/community/app

community-image:
	cd tests/community/app && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o community-app .
	$(COMMUNITY_BUILD)

# The mesh's image is SMI_MESH_IMAGE (localhost/smi-mesh:dev), applications run on SMI_MESH_APP_IMAGE (localhost/python:slim),
# those of the community's suite on SMI_MESH_COMMUNITY_IMAGE (localhost/community-app:dev; without it that suite is skipped).
e2e:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	$(BIN)/pytest tests/e2e $(PYTEST_ARGS)

# Clients of other versions than the PATH's, for tests/e2e/test_27_kubectl.py.
KUBECTLS ?= 1.36.3 1.37.1
kubectls:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	@.ci/kubectls $(BIN)/python .kubectls $(KUBECTLS)

conformance:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	$(BIN)/python -m conformance

crds:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	$(BIN)/python -m smi.crds manifests/crds

charts:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	$(BIN)/python -m translator.charts manifests/helm

reference:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	$(BIN)/python -m translator.reference docs/reference

fmt:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix-only $(SOURCES)

lock:
	@.ci/venv "$(PYTHON)" "$(VENV)" dev
	.ci/lock "$(BIN)"

clean:
	rm -rf .venv .venv-* build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
