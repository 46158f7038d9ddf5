# make demo    set up and watch a call being transcribed
# make test    set up, with a real Redis and Kafka, and run all tests
# make quick   those of them that need no service, NeMo or browser, in less than 90 s
# make test-avx2   the numerical tests as on a CPU with AVX2 alone
# make check   ruff and mypy --strict
# make evaluate   word error rate and language tags of the demo model (needs espeak-ng)
# make image  the container image, DEVICE=cpu or cuda, with BUILDER=podman, buildah or docker (docs/deploy.md)
# make clean   remove what the targets above installed

PYTHON ?= python3
VENV ?= .venv
UV = $(VENV)/bin/uv pip install --python $(VENV)/bin/python --quiet --constraints constraints.txt

DEVICE ?= cpu
BUILDER ?= podman

# Most tests wait: for a peer, a timer, a broker. So several files run side by side, and idle OpenMP threads sleep.
WORKERS = --numprocesses 4 --dist loadfile
SIDE_BY_SIDE = OMP_WAIT_POLICY=passive

# Tests whose results could depend on the order of sums, and so on the CPU.
NUMERICAL = tests/engine tests/pipeline tests/connectors/media_ws/test_foreseen*.py \
	tests/connectors/media_ws/test_bulk*.py tests/connectors/rtp/test_bulk.py tests/connectors/rtp/test_recognition.py \
	--ignore=tests/pipeline/pipecat --ignore=tests/pipeline/livekit --ignore=tests/pipeline/recognition

# Tests of cores, parsers and rules: no service, no NeMo, no browser, no whole server.
QUICK = tests/test_layout.py tests/supervision tests/connectors/codecs tests/connectors/sdp tests/connectors/siprec \
	tests/connectors/sip/message tests/engine/sessions/test_transcript.py tests/pipeline/test_call.py \
	tests/pipeline/test_call_start.py tests/pipeline/test_call_end.py tests/pipeline/test_segments.py \
	tests/pipeline/test_any_speech.py tests/sinks/test_fanout.py tests/sinks/test_shedding.py --ignore-glob=*test_fuzz*

.PHONY: demo test quick test-avx2 check evaluate image clean

demo: $(VENV)/.serve
	$(VENV)/bin/trunkline demo

test: $(VENV)/.test
	$(VENV)/bin/python -m tests.services.install
	$(SIDE_BY_SIDE) $(VENV)/bin/python -m pytest $(WORKERS)
	$(if $(CI),$(MAKE) test-avx2)

quick: $(VENV)/.test
	$(SIDE_BY_SIDE) $(VENV)/bin/python -m pytest $(WORKERS) -m "not oracle" $(QUICK)

# The numerical tests as on a CPU with AVX2 alone, where this one has it; on another Python, where there is one.
test-avx2: $(VENV)/.test
	@second=$$($(VENV)/bin/python -m tests.services.second_python); venv=$(VENV); \
	if [ -n "$$second" ]; then venv=.venv-second; $(MAKE) VENV=$$venv PYTHON=$$second $$venv/.test || exit 1; fi; \
	$(SIDE_BY_SIDE) $$venv/bin/python -m tests.services.avx2 -m pytest $(WORKERS) -m "not oracle" $(NUMERICAL)

check: $(VENV)/.test $(VENV)/.check
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy trunkline connectors pipeline engine sinks liveview supervision training benchmarks examples testing \
		tests

evaluate: $(VENV)/.test
	$(VENV)/bin/python -m training.evaluate

image:
	$(BUILDER) build $(if $(findstring docker,$(BUILDER)),,--format docker) --file deploy/Dockerfile \
		--build-arg DEVICE=$(DEVICE) --tag trunkline:$(DEVICE) .

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
