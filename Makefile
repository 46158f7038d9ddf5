# make demo    set up and watch a call being transcribed
# make test    set up, with a real Redis and Kafka, and run all tests
# make check   ruff and mypy --strict
# make evaluate   word error rate and language tags of the demo model (needs espeak-ng)
# make clean   remove what the targets above installed

PYTHON ?= python3
VENV ?= .venv
UV = $(VENV)/bin/uv pip install --python $(VENV)/bin/python --quiet --constraints constraints.txt

.PHONY: demo test test-second-python check evaluate clean

demo: $(VENV)/.serve
	$(VENV)/bin/trunkline demo

test: $(VENV)/.test
	$(VENV)/bin/python -m tests.services.install
	$(VENV)/bin/python -m pytest
	$(if $(CI),$(MAKE) test-second-python)

# The audio and engine tests on another Python, where there is one.
test-second-python: $(VENV)/.test
	@second=$$($(VENV)/bin/python -m tests.services.second_python); \
	if [ -z "$$second" ]; then echo "no second Python here: skipped"; exit 0; fi; \
	$(MAKE) VENV=.venv-second PYTHON=$$second .venv-second/.test && \
	.venv-second/bin/python -m pytest tests/pipeline tests/engine -m "not oracle"

check: $(VENV)/.test $(VENV)/.check
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy trunkline connectors pipeline engine sinks liveview supervision training benchmarks tests

evaluate: $(VENV)/.test
	$(VENV)/bin/python -m training.evaluate

clean:
	rm -rf .venv .venv-second .test-services *.egg-info

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check uv

$(VENV)/.serve: $(VENV)/bin/uv pyproject.toml constraints.txt
	$(UV) --editable .
	touch $@

$(VENV)/.test: $(VENV)/bin/uv pyproject.toml constraints.txt
	$(UV) --editable '.[test]'
	touch $@ $(VENV)/.serve

$(VENV)/.check: $(VENV)/.test
	$(UV) --editable '.[test,check]'
	touch $@
