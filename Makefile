# SPDX-License-Identifier: Apache-2.0
# demo     an environment, the package, and the brain mask of a head phantom or of IMAGE=scan.nii.gz
# install  everything a developer needs
# test     the test suite, as CI runs it: JOBS=2 files at once
# fuzz     damaged files for every reader: N=how many, SEED=which
# check    style, types, import floors, length limits
# docs     the pages as a site in docs/_build, every command and link in them checked
# commands every command of the pages, run in its order in a scratch folder (some minutes)
# slices   tumour slices end to end: DATA=folder of slices.csv and its images
# weights  brain extraction's weights again: LABELMAPS=folder of label maps, DATA=folder with test scans in heads/
# axon-weights  axon-myelin's weights again: DATA=folder of data_axondeepseg_sem
# isotropic-weights  isotropic's weights again: LABELMAPS=folder, PAIRS and INFANTS=folders of pairs
#          of T1w and T2w, each left out once to judge the gain
#          QUICK=1, of both: small, to see that it works, and not packaged

VENV ?= .venv
PYTHON ?=
IMAGE ?=
OUT ?= demo-output
LABELMAPS ?=
DATA ?=
PAIRS ?=
INFANTS ?=
RUNS ?= runs
QUICK ?=
TESTS ?= tests
JOBS ?= 2
N ?= 10000
SEED ?= 1

BIN := $(VENV)/bin
PACKAGED := src/encephalon/models/packaged
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

# Two spinning thread pools on two busy cores are several times slower than two sleeping ones.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo install test fuzz check docs commands slices weights isotropic-weights \
  axon-weights clean

demo: $(VENV)/.base
	$(BIN)/encephalon demo -o "$(OUT)" --overwrite $(if $(IMAGE),--image "$(IMAGE)")

install: $(VENV)/.dev

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(TESTS)

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

ifneq ($(QUICK),)
QUICKLY := --set training.epochs=1 --set training.steps_per_epoch=4 --set training.batch_size=1 \
  --set training.warmup_steps=0 --set training.checkpoint_every=2 --set study.validation_samples=2
ONE_BLOCK := --set study.blocks_per_head=1
endif

# From the weights of version 0.2.0, as they are kept in the history of this repository.
SECOND_WEIGHTS := 9e121c2f0ae44e3c768be327b2a9b89eb4788493
ON_FROM_SECOND := --set training.start_from=$(RUNS)/second --set training.epochs=40 \
  --set training.learning_rate=8e-4 --set study.coarse_steps=0

weights: $(VENV)/.dev
	mkdir -p $(RUNS)/second
	git archive $(SECOND_WEIGHTS):$(PACKAGED)/brain-extraction | tar -x -C $(RUNS)/second
	$(BIN)/python tools/label_map_table.py "$(LABELMAPS)" -o $(RUNS)/label-maps.csv
	$(BIN)/encephalon train brain-extraction -t $(RUNS)/label-maps.csv -o $(RUNS)/brain-extraction \
	  --resume --threads 2 $(ON_FROM_SECOND) $(QUICKLY)
	$(if $(QUICK),,$(BIN)/python tools/package_model.py $(RUNS)/brain-extraction \
	  --card tools/cards/brain-extraction.toml)
	$(BIN)/python tools/extraction_errors.py $(PACKAGED)/brain-extraction $(RUNS)/label-maps.csv \
	  -o $(RUNS)/errors --heads $(if $(QUICK),40,320)
	$(if $(QUICK),,$(BIN)/python tools/package_model.py $(PACKAGED)/brain-extraction \
	  --card tools/cards/brain-extraction.toml --calibration $(RUNS)/errors/errors.toml)
	$(BIN)/python benchmarks/extraction_accuracy.py "$(DATA)" -o $(RUNS)/accuracy \
	  $(if $(QUICK),--model $(RUNS)/brain-extraction)
	$(if $(QUICK),,$(BIN)/python tools/package_model.py $(PACKAGED)/brain-extraction \
	  --card tools/cards/brain-extraction.toml --scores $(RUNS)/accuracy/scores/summary.json)

# First on synthetic contrasts alone, then with scans too: patches of blocks of heads that were
# reconstructed as a whole. What was killed goes on, what is done is not done again.
IN_BLOCKS := --set study.block=64 --set study.blocks_per_head=24 --set study.largest_trust=1 \
  --set study.validation_samples=48 --set training.warmup_steps=100 \
  --set study.scanner.missing=0.4 --set study.scanner.infant=0.5 \
  --set study.scanner.decimated=0.1 --set study.scanner.resampled=0.02 \
  --set training.epochs=40 --set training.learning_rate=7e-4
GENTLY := --set training.start_from=$(RUNS)/isotropic-base --set training.epochs=20 \
  --set study.real_share=0.85 --set study.scanner.swapped=0.3
TRAIN_ISOTROPIC := $(BIN)/encephalon train isotropic --resume --threads 2 $(IN_BLOCKS)

isotropic-weights: $(VENV)/.dev
	$(BIN)/python tools/isotropic_table.py "$(LABELMAPS)" -o $(RUNS)/isotropic-base.csv
	$(TRAIN_ISOTROPIC) -t $(RUNS)/isotropic-base.csv -o $(RUNS)/isotropic-base $(QUICKLY) \
	  $(ONE_BLOCK)
	$(BIN)/python tools/isotropic_table.py "$(LABELMAPS)" --pairs "$(PAIRS)" "$(INFANTS)" --maps 8 \
	  -o $(RUNS)/isotropic.csv
	$(TRAIN_ISOTROPIC) -t $(RUNS)/isotropic.csv -o $(RUNS)/isotropic $(GENTLY) $(QUICKLY) \
	  $(ONE_BLOCK)
	$(BIN)/python benchmarks/isotropic_infants.py "$(PAIRS)" "$(INFANTS)" \
	  --final $(RUNS)/isotropic --table $(RUNS)/isotropic.csv -o $(RUNS)/isotropic-infants \
	  --turned $(if $(QUICK),--small)
	$(BIN)/python benchmarks/isotropic_accuracy.py "$(LABELMAPS)" "$(PAIRS)" \
	  --final $(RUNS)/isotropic --without $(RUNS)/isotropic-infants/runs/without-{subject} \
	  -o $(RUNS)/isotropic-accuracy $(if $(QUICK),--small)
	$(if $(QUICK),,$(BIN)/python tools/package_model.py $(RUNS)/isotropic \
	  --card tools/cards/isotropic.toml --scores $(RUNS)/isotropic-accuracy/scores.json)

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
