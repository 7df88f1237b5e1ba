# The worker with its four bundled plugins: docker build -t bot-runner-worker .
# The classic builder is enough. A base image of your own needs Python 3.11 or newer, pip, and git or apt.
ARG BASE_IMAGE=python:3.12-slim


FROM ${BASE_IMAGE} AS build
# A private package index; not in the final image's history.
ARG PIP_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Installed below another root, at the paths of the base image's own Python: the final image takes it over as it
# is, and its pip sees what is there when somebody adds a plugin.
COPY requirements/worker-image.txt requirements/
RUN pip install --root /dependencies --ignore-installed --no-deps --only-binary :all: --require-hashes \
      --requirement requirements/worker-image.txt

COPY requirements/image-build.txt requirements/
RUN pip install --only-binary :all: --require-hashes --requirement requirements/image-build.txt

COPY core core
COPY libraries libraries
COPY plugins plugins
RUN pip install --root /distributions --no-deps --no-build-isolation --no-index \
      ./core ./libraries/git ./plugins/simple ./plugins/custom_git ./plugins/custom_archive ./plugins/image


FROM ${BASE_IMAGE}

# git fetches the bots' repositories; its servers, which nobody needs here, are 13 MB. tini is PID 1: it reaps
# what a killed git leaves behind, and a stop that comes while Python still starts is not lost. iptables is for
# the command firewall, in a container with the host's network.
RUN set -eu; \
    missing=; \
    for command in git tini iptables; do command -v "$command" >/dev/null || missing="$missing $command"; done; \
    if [ -n "$missing" ]; then \
      apt-get update; \
      DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        -o "DPkg::Options::=--path-exclude=/usr/share/doc/*" \
        -o "DPkg::Options::=--path-include=/usr/share/doc/*/copyright" \
        -o "DPkg::Options::=--path-exclude=/usr/share/man/*" \
        -o "DPkg::Options::=--path-exclude=/usr/share/locale/*" \
        $missing; \
      for program in git-daemon git-http-backend git-http-fetch git-http-push git-imap-send scalar; do \
        rm -f "/usr/lib/git-core/$program"; \
      done; \
    fi; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
      /var/log/alternatives.log

COPY docker/worker_is_ready.py /usr/local/lib/bot-runner/
COPY --from=build /dependencies /
COPY --from=build /distributions /
# An image that cannot start is not built. What this leaves is the bytecode of the standard library, which the
# official Python images come without: it saves a second until a worker is ready.
RUN bot-runner-worker plugins

# For who adds a plugin with pip: nothing but the plugin stays behind.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# An empty folder: a .env file is read where the worker starts, so one can be mounted here.
WORKDIR /etc/bot-runner

# It runs as root: the Engine's socket belongs to root and to a group whose number differs from host to host, and
# whoever may use it is as good as root on that host anyway.

STOPSIGNAL SIGTERM
# That the worker runs is seen without a check. Without the Engine or the orchestrator, it runs and serves nobody.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python3", "-I", "-S", "/usr/local/lib/bot-runner/worker_is_ready.py"]
ENTRYPOINT ["tini", "--", "bot-runner-worker"]
CMD ["run"]

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Avtomatika Bot Runner Worker" \
      org.opencontainers.image.description="Deploys Telegram bots into isolated Docker containers" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
