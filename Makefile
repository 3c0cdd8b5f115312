# What can be done here. Everything that is made lies below .venv, .build and .local; `git clean -xdf` removes it.

.DEFAULT_GOAL := help
.PHONY: help setup demo test prove lint package local-up local-down smoke bench chaos docs

PYTHON := .venv/bin/python

# For local-up, also when given after the target: make local-up PORT=4600 TF_VARS="-var poll_seconds=5"
export PORT TF_VARS
# Programs are started hundreds of times: what Python has compiled is kept, in the checkout.
unexport PYTHONDONTWRITEBYTECODE
# npx keeps what it fetches in the home directory otherwise
export npm_config_cache := $(CURDIR)/.build/npm

help: ## print this
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: ## virtual environment, packages, Terraform provider (the other targets do this first)
	@for python in python3 python3.13 python3.12 python3.11 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then exec $$python -m scripts.set_up; fi; \
	done; echo "No Python 3.11 or newer on PATH: https://www.python.org/downloads/" >&2; exit 1

demo: setup ## release to an estate on embedded AWS, watch it, verify it (about two minutes)
	@$(PYTHON) -m scripts.demo

test: setup ## every test but the slower proofs (about seven minutes)
	@$(PYTHON) -m scripts.test

prove: setup ## the slower proofs: chaos, fuzzing, upgrade, API limits, Lambda's Python (about twenty-five minutes)
	@$(PYTHON) -m scripts.prove

lint: setup ## ruff, mypy, terraform fmt and validate, asl-validator, checkov, tflint
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m scripts.lint_types
	$(PYTHON) -m scripts.lint_terraform

package: setup ## build lambda_src/package.zip, the code of the Lambda functions
	@$(PYTHON) scripts/package.py

local-up: setup ## start embedded AWS with examples/local applied (PORT=4566, TF_VARS="-var poll_seconds=5")
	@$(PYTHON) -m scripts.local_up

local-down: setup ## destroy what local-up applied, and stop it
	@$(PYTHON) -m scripts.local_down

smoke: setup ## try the module with examples/sandbox: on embedded AWS, or in a sandbox account (ON=aws; asks first)
	@$(if $(filter aws,$(ON)),$(PYTHON) -m scripts.smoke,$(PYTHON) -m scripts.smoke_embedded)

bench: setup ## measure releases under ECS's documented API limits (SIZES=10,40,80; some minutes)
	@$(PYTHON) -m bench.release

chaos: setup ## random fault schedules over drawn estates (CHAOS_EXAMPLES=300, SEED= to repeat a run)
	@seed=$${SEED:-$$(date +%s)}; echo "seed $$seed; repeat with: make chaos SEED=$$seed"; \
	CHAOS_EXAMPLES=$${CHAOS_EXAMPLES:-300} CHAOS_SEED=$$seed $(PYTHON) -m pytest -q -n 2 -p no:cacheprovider tests/faults/test_chaos.py::test_every_promise_holds_whatever_happens

docs: setup ## write again what is generated: JSON Schemas, and the tables of inputs and outputs
	@PYTHONPATH=lambda_src $(PYTHON) -m ecs_release.manifest.schema schemas
	@$(PYTHON) -m scripts.terraform_docs
