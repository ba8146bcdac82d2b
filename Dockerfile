# Two images: `airflow`, which runs bakeroll for an AWS account, and `sandbox` on top of it, which plays the account.
# Exact tags, no digests: those could not be verified where this was written. To pin one:
#   docker build --build-arg PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

# --- Terraform and Packer: only what HashiCorp signed ---------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS tools
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl gnupg unzip \
    && rm -rf /var/lib/apt/lists/*
ARG TARGETARCH
ARG TERRAFORM_VERSION=1.11.4
ARG PACKER_VERSION=1.12.0
# Empty: whatever HashiCorp signed under that version. A checksum that you have verified holds it to that one archive.
ARG TERRAFORM_SHA256=
ARG PACKER_SHA256=
# https://www.hashicorp.com/.well-known/pgp-key.txt; also in every terraform binary, which verifies providers with it
ARG HASHICORP_KEY_FINGERPRINT=C874011F0AB405110D02105534365D9472D7468F
COPY compose/install_hashicorp.sh /usr/local/bin/
RUN ARCHIVE_SHA256=${TERRAFORM_SHA256} install_hashicorp.sh terraform "${TERRAFORM_VERSION}" /usr/local/bin \
    && ARCHIVE_SHA256=${PACKER_SHA256} install_hashicorp.sh packer "${PACKER_VERSION}" /usr/local/bin
# Packer checks the plugins against the checksums published beside them. packer/plugins.pkr.hcl takes these versions.
ENV PACKER_PLUGIN_PATH=/opt/packer-plugins CHECKPOINT_DISABLE=1
RUN packer plugins install github.com/hashicorp/amazon 1.3.9 \
    && packer plugins install github.com/hashicorp/ansible 1.1.3

# --- Python packages: only what the lock file has the hash of -------------------------------------------------------
FROM ${PYTHON_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements/production.lock /tmp/
RUN /opt/venv/bin/pip install --only-binary=:all: --require-hashes -r /tmp/production.lock

# --- Airflow and what a deployment calls ----------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS airflow
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git openssh-client \
    && rm -rf /var/lib/apt/lists/*
# A volume takes owner and mode of the folder that it covers first.
RUN groupadd --gid 50000 airflow \
    && useradd --uid 50000 --gid airflow --create-home airflow \
    && install -d -o airflow -g airflow /opt/airflow /opt/airflow/logs /home/airflow/.cache
COPY --from=tools /usr/local/bin/terraform /usr/local/bin/packer /usr/local/bin/
COPY --from=tools /opt/packer-plugins /opt/packer-plugins
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    PYTHONPATH=/opt/bakeroll \
    PACKER_PLUGIN_PATH=/opt/packer-plugins \
    CHECKPOINT_DISABLE=1
WORKDIR /opt/bakeroll
COPY plugins plugins
COPY packer packer
COPY terraform terraform
COPY compose compose
COPY dags dags
USER 50000:50000
CMD ["airflow", "version"]

# --- The sandbox: an AWS account in a container, with the tools that it was tested with -----------------------------
FROM airflow AS sandbox
USER 0:0
# Packer of Debian: the later one above speaks to AWS, which refuses this one's signatures (packer/README.md).
# hadolint ignore=DL3008
RUN rm -rf /usr/local/bin/packer /opt/packer-plugins \
    && apt-get update \
    && apt-get install -y --no-install-recommends debootstrap haproxy mount openssh-server packer \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/development.lock /tmp/
RUN pip install --no-cache-dir --only-binary=:all: --require-hashes -r /tmp/development.lock
COPY sandbox sandbox
COPY tools tools
COPY demo demo
USER 50000:50000
CMD ["python", "-m", "sandbox", "serve"]
