# `make help` lists what there is. Every target does its own set-up: Python 3.11+ and make are all that must be there.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PORT ?= 8000
VENV ?= .venv
# Arguments for pytest, the demo or the benchmark: make test ARGS="-k emit"
ARGS ?=
# The first of these that is 3.11 or newer; make PYTHON=/path/to/python chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Half as many again as there are cores: many tests wait for a time.
TESTERS := $(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))
PY := $(VENV)/bin/python
# A process that finds no bytecode compiles everything itself, and pytest rewrites each test: of collecting, more than half.
export PYTHONDONTWRITEBYTECODE :=
# Only errors: a machine with an index of its own makes pip talkative.
PIP := $(PY) -m pip -qq --disable-pip-version-check --no-input

# A virtual environment whose interpreter has gone (a new Python, a moved folder) is of no use: it is made again.
BROKEN := $(shell [ ! -e $(VENV) ] || $(PY) -c 'import pip' >/dev/null 2>&1 || { rm -rf $(VENV); echo yes; })

.PHONY: help run test processes faults security browser lint format bench demo matrix audit requirements openapi snippets messages screenshots clean

help:  ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 24

run: $(VENV)/.run  ## The demo: web server, worker, beat and receiver at http://127.0.0.1:$PORT (8000)
	@PORT=$(PORT) exec $(PY) -m project.run

test: $(VENV)/.dev  ## The tests, without the slow kinds; on SQLite, or where DATABASE_URL and CELERY_BROKER_URL say
	PYTHONDEVMODE=1 $(PY) -m pytest --numprocesses=$(TESTERS) --dist=worksteal $(ARGS)

processes: $(VENV)/.dev  ## The tests with workers that are started, stopped and killed, and other slow ones; where `make test` runs
	PYTHONDEVMODE=1 $(PY) -m pytest -m processes --numprocesses=auto --dist=worksteal $(ARGS)

faults: $(VENV)/.dev  ## Break servers and workers of its own, and count what is lost (make faults ARGS="-k lock")
	$(PY) -m pytest tests/faults -m faults --numprocesses=3 --dist=worksteal --tb=short $(ARGS)

security: $(VENV)/.dev  ## The security tests, slow ones too, with more fuzzing, and a table of what was tried; where `make test` runs
	FUZZ=$${FUZZ:-100} $(PY) -m pytest -m security --numprocesses=$(TESTERS) --dist=worksteal --tb=short $(ARGS)

browser: $(VENV)/.dev  ## The tests in a real browser (apt-get install chromium), against the running project
	$(PY) -m pytest tests/browser --numprocesses=auto --dist=worksteal $(ARGS)

lint: $(VENV)/.dev  ## Style, types, floors, unused code, missing migrations
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()'
	$(PY) -m tests.unused
	DJANGO_SETTINGS_MODULE=project.settings_test $(PY) manage.py makemigrations --check --dry-run

format: $(VENV)/.dev  ## Put the code into shape
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

demo: $(VENV)/.dev  ## One shot: emit, deliver, count (make demo ARGS="--events 2000 --endpoints 50")
	@$(PY) manage.py migrate --verbosity 0
	@$(PY) manage.py webhooks_demo $(ARGS)

bench: $(VENV)/.dev  ## The benchmarks (make bench ARGS="drain --events 50000 --endpoints 1000 --workers 2")
	$(PY) -m bench $(ARGS)

matrix: $(VENV)/.dev  ## The tests on other versions of Python and Django, as far as they are installed
	$(PY) -m nox $(ARGS)

UV_COMPILE := UV_CUSTOM_COMPILE_COMMAND="make requirements" $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --upgrade pyproject.toml
EXTRAS := --extra curl --extra postgres --extra redis --extra project
audit: $(VENV)/.dev  ## Look for known vulnerabilities of the pinned packages (needs the internet)
	$(PY) -m nox --session audit

requirements: $(VENV)/.dev  ## Pin the newest versions of everything
	$(PIP) install uv
	$(UV_COMPILE) $(EXTRAS) --output-file requirements.txt
	$(UV_COMPILE) $(EXTRAS) --extra prometheus --extra opentelemetry --group test --group browser --group lint --group matrix --output-file requirements-dev.txt

openapi: $(VENV)/.dev  ## Write the API's description, docs/reference/openapi.yaml
	$(PY) manage.py spectacular --urlconf project.api_urls --validate --fail-on-warn --file docs/reference/openapi.yaml

snippets: $(VENV)/.dev  ## Write the code in docs/how-to/verify-a-webhook.md
	$(PY) -m tests.contract.snippets_page

# Without places and line breaks, so that a difference shows what was said otherwise, and nothing else.
messages: $(VENV)/.dev  ## Gather what is to be translated, and compile the translations (apt-get install gettext)
	cd webhooks_app && $(abspath $(PY)) ../manage.py makemessages --locale fr --locale pt_BR --no-location --no-wrap --no-obsolete
	cd webhooks_app && $(abspath $(PY)) ../manage.py compilemessages

screenshots: $(VENV)/.dev  ## Take the pictures in docs/screenshots (apt-get install chromium)
	$(PY) -m tests.browser.screenshots

clean:  ## Remove the virtual environment, caches, and the demo's data
	rm -rf $(VENV) .nox .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis var staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed, and none was found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV) with $(PYTHON) …"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# The stamps hold what was installed, so that a changed requirements file installs again and an unchanged one costs nothing.
$(VENV)/.run: requirements.txt | $(VENV)/bin/python
	@echo "Installing what the project needs …"
	@$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing what the project and its tests need …"
	@$(PIP) install -r requirements-dev.txt
	@touch $@ $(VENV)/.run
