# make demo    digits to a served model, in a virtual environment of its own
# make test    all tests but the slow ones
# make prove   the slow ones: training bars, and every data set in ../shared/data; starts ablation
# make ablation  what each option brings on nuclei: five hours in the background
# make lint    ruff
# make docs    the pages and the API as HTML, in runs/site
# On another Python or stack: make test PYTHON=python3.10 VENV=.venv-addons EXTRAS=test,addons,beam,serving

# The newest Python that really runs: a version manager may leave names behind that do not.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
EXTRAS ?= test,convert,beam,serving,docs,demo
RUN ?= runs/digits
SEED ?= 0
NUCLEI ?= ../shared/data/nuclei

PY = TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python
SHARDS = $(RUN)/shards
STARTED := $(shell date +%s)

.PHONY: demo test prove ablation lint docs

demo: $(VENV)/.ready
	$(PY) -m data_pipeline.make_digits --output_dir=$(SHARDS) --num_train=12000 --num_pictures=8
	$(PY) train_main.py --flagfile=rpe_tf/recipes/digits.flags --run_dir=$(RUN) --seed=$(SEED) \
		--train_shards='$(SHARDS)/train-*' \
		--eval_shards='$(SHARDS)/test_mixed-*,$(SHARDS)/test_same-*'
	$(PY) -m export.export_main --run_dir=$(RUN) --export_dir=$(RUN)/export
	$(PY) -m export.verify_main --run_dir=$(RUN) --export_dir=$(RUN)/export
	$(PY) -m export.predict_main --model=$(RUN)/export --images=$(SHARDS)/pictures \
		--output_dir=$(RUN)/predictions
	$(PY) -m rpe_tf.figures.digits_main --run_dir=$(RUN) --output_dir=$(RUN)/pictures \
		--started=$(STARTED)

test: $(VENV)/.ready
	$(PY) -m pytest -m "not slow" -n 2 --dist loadfile --timeout=600

prove: $(VENV)/.ready ablation
	$(PY) -m pytest -m slow

# Five hours on two cores, in the background: it goes on where it was, and its table is the log.
ablation: $(VENV)/.ready
	@if test -d $(NUCLEI); then \
		$(PY) -m data_pipeline.convert_folders --images=$(NUCLEI)/images --labels=$(NUCLEI)/labels \
			--split_file=$(NUCLEI)/index.csv --output_dir=runs/ablation/shards && \
		{ nohup nice env $(PY) -m tests.benchmarks.ablation --shards=runs/ablation/shards \
			--output_dir=runs/ablation > runs/ablation/log.txt 2>&1 & } ; \
		echo "the ablation runs on in the background: runs/ablation/log.txt"; \
	else echo "skipped: the ablation needs $(NUCLEI)"; fi

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

docs: $(VENV)/.ready
	$(VENV)/bin/python -m mkdocs build --strict --config-file=.ci/mkdocs.yml

$(VENV)/.ready: setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.10 or newer found; set PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@
