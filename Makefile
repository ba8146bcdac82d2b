# The commands of this repository. Each makes ready what it needs; a second time that takes no time.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin
export PYTHONPATH := $(CURDIR)/plugins:$(CURDIR)
export CHECKPOINT_DISABLE := 1
# Airflow's processes import thousands of modules each: compiled once, they start in a third of the time.
unexport PYTHONDONTWRITEBYTECODE
PYTEST_ARGUMENTS ?=
ENV ?= production
SCHEDULES ?= 300
SEED ?=

.PHONY: help demo up down celery journal test kills rollouts chaos mutations check format

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## three real deployments on this machine, under load; KEEP=0 stops everything at the end
	@$(PYTHON) -m tools.set_up demo
	exec python -m demo run

up: ## start Airflow and the sandbox, and leave them running
	@$(PYTHON) -m tools.set_up demo
	exec python -m demo up

down: ## stop everything, also what a killed demo left behind
	@$(PYTHON) -m tools.set_up stop
	exec python -m demo down

celery: ## the demo through Celery, Postgres and Redis, with the commands of docker-compose.yaml
	@$(PYTHON) -m tools.set_up celery
	exec python -m demo celery

journal: ## who holds an environment's journal and what is open: ENV=name; END=1 ends it if harmless; SANDBOX=1
	@$(PYTHON) -m tools.set_up journal
	exec python -m tools.journal $(ENV) $(if $(filter 1,$(END)),--end) $(if $(filter 1,$(SANDBOX)),--sandbox)

test: ## every test; PYTEST_ARGUMENTS="-k name" chooses some
	@$(PYTHON) -m tools.set_up test
	export BAKEROLL_TERRAFORM_MIRROR="$$(python -m tools.terraform_mirror)"
	exec python -m tools.tests $(PYTEST_ARGUMENTS)

rollouts: ## deployments on real machines that meet trouble: sick versions, aborts, throttling; half an hour
	@$(PYTHON) -m tools.set_up test
	export BAKEROLL_TERRAFORM_MIRROR="$$(python -m tools.terraform_mirror)"
	exec python -m pytest --phase=rollouts tests/rollouts $(PYTEST_ARGUMENTS)

chaos: ## simulated rollouts under random faults; SCHEDULES=n SEED=s, SCHEDULES=1 tells the whole story
	@$(PYTHON) -m tools.set_up check
	exec nice -n 19 python -m tools.chaos --schedules $(SCHEDULES) $(if $(SEED),--seed $(SEED))

mutations: ## break each guard of a rollout on purpose, and see that the chaos run catches it
	@$(PYTHON) -m tools.set_up check
	exec nice -n 19 python -m tools.chaos.mutations --schedules $(SCHEDULES) $(if $(SEED),--seed $(SEED))

kills: ## kill -9 of every task and of Airflow itself, one after the other, on real machines: a quarter of an hour
	@$(PYTHON) -m tools.set_up test
	export BAKEROLL_TERRAFORM_MIRROR="$$(python -m tools.terraform_mirror)"
	exec python -m pytest --phase=kills tests/kills $(PYTEST_ARGUMENTS)

check: ## format, lint, types, import contract, Terraform, Packer, Ansible, Compose file, Dockerfile
	@$(PYTHON) -m tools.set_up check
	exec python -m tools.check

format: ## bring Python and Terraform files into their form
	@$(PYTHON) -m tools.set_up check
	ruff check --fix --quiet . || true
	ruff format .
	terraform fmt -recursive terraform
