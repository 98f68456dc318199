# The worker, the dispatcher and all other commands of Globetag in one image. On a machine with an NVIDIA GPU run it
# with the NVIDIA container toolkit; without a GPU it works too, slowly.
FROM python:3.11-slim-bookworm

# tini passes signals on and collects orphans: SIGTERM drains the worker instead of killing it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/globetag globetag

WORKDIR /opt/globetag
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# What the project needs is a layer of its own (about 5 GB): a change of the code does not bring it again.
COPY constraints.txt pyproject.toml ./
RUN pip install -c constraints.txt pip setuptools \
    && python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > /tmp/requirements.txt \
    && pip install -c constraints.txt -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY LICENSE NOTICE README.md ./
COPY schema schema
COPY worker worker
COPY atlas atlas
RUN pip install --no-deps --no-build-isolation .

# Settings come as GLOBETAG_* variables (docs/settings.md); models from the hub are kept in the volume.
ENV GLOBETAG_HOME=/var/lib/globetag \
    HF_HOME=/var/lib/globetag/huggingface
USER globetag
WORKDIR /var/lib/globetag

ENTRYPOINT ["tini", "--", "globetag"]
CMD ["worker"]
