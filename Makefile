# Two commands: `make demo` and `make test`. Both set up what they need, in .venv.
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/demo
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help setup demo test check docs bench clean

help:
	@echo "make demo    set up, then run the main job on simulated ECGs; writes $(RUN)/report.html"
	@echo "make test    set up, then pass the checks and the tests"
	@echo "make bench   side by side with what you would pick instead; writes benchmarks/results.json, explainers.json"
	@echo "make docs    build the documentation into docs/_build/html"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ecglens needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/user: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing ecglens into .venv (once; torch is large)"
	$(INSTALL) -e .
	@touch $@

.venv/developer: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing ecglens with its test tools into .venv (once; torch is large)"
	$(INSTALL) -e ".[dev,docs]"
	@touch $@ .venv/user

setup: .venv/user

demo: .venv/user
	@rm -rf $(RUN) runs/demo-ecgs
	$(BIN)/ecglens train --data simulated --model lenet --epochs 20 --out $(RUN)
	$(BIN)/ecglens evaluate $(RUN) --data simulated --fold 10
	$(BIN)/python examples/write_simulated_ecgs.py runs/demo-ecgs
	$(BIN)/ecglens explain runs/demo-ecgs --bundle $(RUN) --method saliency --out $(RUN)/explanations
	$(BIN)/ecglens report $(RUN)

test: .venv/developer check
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { echo "Pages are tested in a real browser: install chromium (Debian: apt-get install chromium)" >&2; exit 1; }
	$(BIN)/python -m pytest -n auto --dist loadfile

check: .venv/developer
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/developer
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

bench: .venv/developer
	$(BIN)/python benchmarks/run.py
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/explainers.py

clean:
	rm -rf .venv docs/_build runs
