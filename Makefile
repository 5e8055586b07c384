# make run    install into .venv and start the endpoint with the embedded model
# make test   install what the tests need and run them all
# make check  formatting, lints, import direction, types (linux and win32)
# make bench  what we claim about speed

PYTHON ?= python3
VENV   ?= .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test check bench clean
.DELETE_ON_ERROR:

run: $(VENV)/.run
	$(BIN)/tundish serve $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.test $(VENV)/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/pyright --pythonpath $(BIN)/python --pythonplatform Linux
	$(BIN)/pyright --pythonpath $(BIN)/python --pythonplatform Windows

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(ARGS)

# Each stamp is newer than what it was made from, so a second run installs nothing.
$(VENV)/.run: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "Installing what the tests need (once)"
	@$(PIP) install --constraint constraints.txt --editable '.[test]'
	@touch $@

$(VENV)/.check: $(VENV)/.run
	@echo "Installing the linters (once)"
	@$(PIP) install --constraint constraints.txt --editable '.[check]'
	@touch $@

clean:
	rm -rf $(VENV)
