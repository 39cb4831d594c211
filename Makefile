# Two commands: `make demo` trains a recogniser of handwritten digits, `make test` checks everything.
# Needs python3 (3.11 or newer) and make; everything else goes into a virtual environment beside this file.

PYTHON ?= python3
DEMO := .venv-demo
TEST := .venv-test

# Tests run in parallel processes; one thread each keeps them from fighting over the cores.
WORKERS ?= auto

.PHONY: demo test bench bench-check python clean

demo: python
	@echo "Making a fresh environment in $(DEMO) and installing Sightline; the first time this downloads PyTorch."
	@$(PYTHON) -m venv --clear $(DEMO)
	@$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check .
	$(DEMO)/bin/sightline train digits

test: python
	@echo "Making a fresh environment in $(TEST) and installing Sightline with its test tools."
	@$(PYTHON) -m venv --clear $(TEST)
	@$(TEST)/bin/python -m pip install --quiet --disable-pip-version-check '.[test]'
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/ruff check .
	$(TEST)/bin/mypy
	OMP_NUM_THREADS=1 $(TEST)/bin/pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal

# Needs an environment with Sightline and its extras: BENCH=.venv-test/bin/python, or one of yours. On a GPU, if there is one.
BENCH ?= $(TEST)/bin/python

bench:
	$(BENCH) benches/all.py run

bench-check:
	$(BENCH) benches/all.py check

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Sightline needs Python 3.11 or newer; $(PYTHON) is older or missing. Try: make demo PYTHON=python3.12" >&2; exit 1; }

clean:
	rm -rf $(DEMO) $(TEST) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
