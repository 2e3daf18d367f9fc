# What can be done here; `make` alone lists it. Needs Python 3.10 or newer and nothing else:
# everything is installed in .venv, from requirements whose every file is pinned by its hash.

# Another interpreter: PYTHON=python3.12 make run
PYTHON ?= python3
# Where `make serve` listens.
PORT ?= 8080
# More for pytest or uv: make test ARGS="-k folder", make lock ARGS=--upgrade
ARGS ?=

# The stamp's name holds the version, so that another PYTHON makes .venv anew, as changed requirements do.
VERSION := $(shell "$(PYTHON)" -c 'import platform; print(platform.python_version())' 2>/dev/null)
READY := .venv/made-with-python-$(VERSION)
IN_VENV := .venv/bin/python -m
REQUIREMENTS := requirements.txt requirements/dev.txt
LOCK := .venv/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header

.PHONY: help
help: ## list what can be done
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: $(READY) ## crawl 400 songs of the sample API through the function, once, and show what came of it
	@$(IN_VENV) examples.try_function run

.PHONY: serve
serve: $(READY) ## leave the sample API and the function running on PORT until Ctrl-C
	@$(IN_VENV) examples.try_function serve --port "$(PORT)"

.PHONY: test
test: $(READY) ## run every test
	$(IN_VENV) pytest -n auto --maxprocesses 4 $(ARGS)

# The long durability campaigns on real processes; each has a short version among the tests. TIMES=20 make kill; SEEDS=500 make model
TIMES ?=
SEEDS ?= 10000
CAMPAIGN := PYTHONPATH=.:tests $(IN_VENV)

CAMPAIGNS := kill duplicates stores zombie deadline troubles growth fanout fuzz deployment memory

.PHONY: campaigns $(CAMPAIGNS)
campaigns: $(READY) ## list the durability campaigns: make kill, make duplicates, make memory, ...
	@$(CAMPAIGN) campaigns --help
$(CAMPAIGNS): $(READY)
	$(CAMPAIGN) campaigns $@ $(if $(TIMES),--times $(TIMES))

# What the function is compared with has a virtual environment of its own.
PEERS := .venv-peers/made-with-python-$(VERSION)

.PHONY: bench
bench: $(READY) $(PEERS) ## measure the function beside its peers, on nginx; ARGS="at-once --rounds 2" for a part of it
	$(CAMPAIGN) bench $(ARGS)

.PHONY: hostile
hostile: $(READY) $(PEERS) ## try every hostile answer on each fetcher and three peers, and write the table of docs/hostile.md
	$(CAMPAIGN) campaigns.hostile docs/hostile.md

$(PEERS): requirements/peers.txt
	@echo "Making .venv-peers, once; this takes about half a minute."
	@"$(PYTHON)" -m venv --clear .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.txt
	@touch $@

.PHONY: control
control: $(READY) ## find the rate of quotas, outages and queues over real sockets, and write docs/control.md; ARGS=wait for one
	$(CAMPAIGN) campaigns.control $(ARGS)

.PHONY: model
model: $(READY) ## run the real engine in seeded worlds where everything goes wrong (SEEDS of them)
	$(CAMPAIGN) simulation --seeds $(SEEDS)

SCRIPTS := deploy.sh .ci/run $(wildcard findings/*.sh)

.PHONY: lint
lint: $(READY) ## check format, style and types
	$(IN_VENV) ruff format --check .
	$(IN_VENV) ruff check .
	$(IN_VENV) mypy main.py crawler examples bench tests
	.venv/bin/shellcheck $(SCRIPTS)
	.venv/bin/shfmt --indent 4 --diff $(SCRIPTS)

.PHONY: format
format: $(READY) ## put the code in the format that lint asks for
	$(IN_VENV) ruff check --fix .
	$(IN_VENV) ruff format .
	.venv/bin/shfmt --indent 4 --write $(SCRIPTS)

.PHONY: lock
lock: $(READY) ## compile requirements/*.in into the pinned files; ARGS=--upgrade for newer versions
	$(LOCK) $(ARGS) requirements/requirements.in --output-file requirements.txt
	$(LOCK) $(ARGS) --constraints requirements.txt requirements/dev.in --output-file requirements/dev.txt
	$(LOCK) $(ARGS) requirements/peers.in --output-file requirements/peers.txt

.PHONY: clean
clean: ## remove .venv, .venv-peers, build, dist and caches; what was crawled into songs/ stays
	rm -rf .venv .venv-peers build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): $(REQUIREMENTS)
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON) here; name one: PYTHON=python3.12 make"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is Python $(VERSION), 3.10 or newer is needed; name one: PYTHON=python3.12 make"; exit 1; }
	@echo "Making .venv with Python $(VERSION), once; this takes about half a minute."
	@"$(PYTHON)" -m venv --clear .venv
	@$(IN_VENV) pip install --quiet --disable-pip-version-check --require-hashes $(REQUIREMENTS:%=-r %)
	@touch $@
