# What a contributor types. CI runs the same commands (.ci/run).
PYTHON ?= python

.PHONY: install test lint types docs sanitize old-processors bench compare wheel clean

install:            ## editable, with everything the tests need
	$(PYTHON) -m pip install -e '.[test,lint]'

test:
	$(PYTHON) -m pytest

lint:
	ruff check .
	ruff format --check .
	cython-lint src/kernels

types:
	mypy

docs:               ## the site, into docs/_build/html; pip install -e '.[docs]'; QUICK=1 leaves the gallery unexecuted
	$(PYTHON) -m sphinx -W --keep-going -q $(if $(QUICK),-D plot_gallery=0) docs docs/_build/html
	$(PYTHON) tools/check_site.py docs/_build/html

sanitize:           ## addresses, undefined behaviour, threads; pip install Cython setuptools
	$(PYTHON) tools/sanitize.py

old-processors:     ## machine code, and every operation without AVX2 and AVX-512 (qemu-user)
	$(PYTHON) tools/check_isa.py
	$(PYTHON) tools/smoke.py --emulated

bench:              ## one process, quick: pytest-benchmark
	$(PYTHON) -m pytest bench --benchmark-only --benchmark-group-by=group,param:case

compare:            ## a process per side, in turns: the figures in the README
	$(PYTHON) bench/compare.py --markdown

wheel:
	$(PYTHON) -m pip wheel . --no-deps -w dist
	@ls -l dist

clean:
	rm -rf build dist *.egg-info fastconv/*.egg-info docs/_build docs/auto_examples docs/api/generated
	find src -name '*.so' -delete -o -name cy.cpp -delete
