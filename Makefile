# SPDX-License-Identifier: Apache-2.0
# demo     an environment, the package, and the brain mask of a head phantom or of IMAGE=scan.nii.gz
# install  everything a developer needs
# test     the test suite, as CI runs it
# fuzz     damaged files for every reader: N=how many, SEED=which
# check    style, types, import floors, length limits
# docs     the pages as a site in docs/_build, every command and link in them checked
# commands every command of the pages, run in its order in a scratch folder (some minutes)
# slices   tumour slices end to end: DATA=folder of slices.csv and its images
# weights  brain extraction's weights again: LABELMAPS=folder of label maps, DATA=folder of test scans
# axon-weights  axon-myelin's weights again: DATA=folder of data_axondeepseg_sem
# isotropic-weights  isotropic's weights again: LABELMAPS=folder, PAIRS=folder of T1w and T2w pairs

VENV ?= .venv
PYTHON ?=
IMAGE ?=
OUT ?= demo-output
LABELMAPS ?=
DATA ?=
PAIRS ?=
TESTS ?= tests
N ?= 10000
SEED ?= 1

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

# Two spinning thread pools on two busy cores are several times slower than two sleeping ones.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo install test fuzz check docs commands slices weights isotropic-weights axon-weights clean

demo: $(VENV)/.base
	$(BIN)/encephalon demo -o "$(OUT)" --overwrite $(if $(IMAGE),--image "$(IMAGE)")

install: $(VENV)/.dev

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(TESTS)

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz --files $(N) --seed $(SEED)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/limits.py
	$(BIN)/python tools/distributions.py

docs: $(VENV)/.dev
	$(BIN)/python tools/website.py

commands: $(VENV)/.dev
	$(BIN)/python tools/commands.py

slices: $(VENV)/.dev
	$(BIN)/encephalon table images "$(DATA)" "$(DATA)/slices.csv" --id path -o runs/slices.csv \
	  --overwrite
	$(BIN)/encephalon train tumour-slices -t runs/slices.csv -o runs/tumour-slices --resume

weights: $(VENV)/.dev
	$(BIN)/python tools/label_map_table.py "$(LABELMAPS)" -o runs/label-maps.csv
	$(BIN)/encephalon train brain-extraction -t runs/label-maps.csv -o runs/brain-extraction \
	  --resume --threads 2
	$(BIN)/python benchmarks/extraction_accuracy.py "$(DATA)" --model runs/brain-extraction \
	  -o runs/accuracy
	$(BIN)/python tools/package_model.py runs/brain-extraction \
	  --card tools/cards/brain-extraction.toml --scores runs/accuracy/scores/summary.json

# First on synthetic contrasts alone, then, shortly, with real pairs among them. Some of these were
# resampled from thick slices themselves.
GENTLY := --set training.start_from=runs/isotropic-base --set training.epochs=4 \
  --set training.learning_rate=1e-3 --set study.real_share=0.85 --set study.scanner.resampled=0.2

isotropic-weights: $(VENV)/.dev
	$(BIN)/python tools/isotropic_table.py "$(LABELMAPS)" -o runs/isotropic-base.csv
	$(BIN)/encephalon train isotropic -t runs/isotropic-base.csv -o runs/isotropic-base \
	  --resume --threads 2
	$(BIN)/python tools/isotropic_table.py "$(LABELMAPS)" --pairs "$(PAIRS)" \
	  -o runs/isotropic.csv
	$(BIN)/encephalon train isotropic -t runs/isotropic.csv -o runs/isotropic --resume \
	  --threads 2 $(GENTLY)
	$(BIN)/python benchmarks/isotropic_accuracy.py "$(LABELMAPS)" "$(PAIRS)" \
	  --base runs/isotropic-base --final runs/isotropic -o runs/isotropic-accuracy
	$(BIN)/python tools/package_model.py runs/isotropic --card tools/cards/isotropic.toml \
	  --scores runs/isotropic-accuracy/scores.json

axon-weights: $(VENV)/.dev
	$(BIN)/encephalon table tiles axon-sem --data "$(DATA)" -o runs/axon-tiles --overwrite
	$(BIN)/encephalon train axon-myelin -t runs/axon-tiles/tiles.csv -o runs/axon-myelin \
	  --resume --threads 2
	$(BIN)/python benchmarks/axon_myelin.py runs/axon-tiles/tiles.csv --model runs/axon-myelin \
	  -o runs/axon-scores
	$(BIN)/python tools/package_model.py runs/axon-myelin --card tools/cards/axon-myelin.toml \
	  --scores runs/axon-scores/results.json

clean:
	rm -rf build dist docs/_build demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	sh tools/venv.sh "$(VENV)" $(PYTHON)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	sh tools/chromium.sh
	touch $@ $(VENV)/.base
