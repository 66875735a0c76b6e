# Two commands do it all: `make run` and `make test`.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps

.PHONY: run test lint proof bench lock clean dev
.DEFAULT_GOAL := run

$(STAMPS)/venv: tools/venv
	@PYTHON="$(PYTHON)" tools/venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: $(STAMPS)/venv requirements.lock pyproject.toml
	@tools/install $(VENV) requirements.lock
	@touch $@

$(STAMPS)/dev: $(STAMPS)/venv requirements-dev.lock pyproject.toml
	@tools/install $(VENV) requirements-dev.lock
	@touch $@ $(STAMPS)/run

dev: $(STAMPS)/dev

run: $(STAMPS)/run
	@$(BIN)/wayport serve $(ARGS)

lint: $(STAMPS)/dev
	$(BIN)/ruff format --check src tests bench tools
	$(BIN)/ruff check src tests bench tools
	$(BIN)/mypy

test: lint
	@tools/with-services $(BIN)/pytest -m "not proof" $(ARGS)

proof: $(STAMPS)/dev
	@tools/with-services $(BIN)/pytest -m proof --timeout=1800 $(ARGS)

bench: $(STAMPS)/dev
	@$(BIN)/python -m bench $(ARGS)

lock: $(STAMPS)/dev
	tools/lock

clean:
	rm -rf $(VENV) $(STAMPS) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
