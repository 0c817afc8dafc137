# One image for controller, sidecar and init. BASE is any Debian with Python 3.11 or later.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements.lock requirements-image.lock ./
RUN python3 -m pip install --quiet --no-cache-dir --root-user-action=ignore --require-hashes --no-deps \
        --only-binary :all: --target /tools -r requirements.lock && \
    python3 -m pip install --quiet --no-cache-dir --root-user-action=ignore --require-hashes --no-deps \
        --only-binary :all: --target /opt/smi-mesh -r requirements-image.lock
# The request path is compiled; what `make` compiled for the same Python is taken as it is.
COPY . .
RUN abi=$(python3 -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))') && \
    if [ ! -d "proxy/_native/$abi" ]; then \
        apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev && \
        { [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || \
          apt-get install -y -qq --no-install-recommends python3-dev; }; \
    fi && \
    PYTHONPATH=/tools python3 -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . && \
    python3 -m pip install --quiet --no-cache-dir --root-user-action=ignore --no-deps --no-index \
        --target /opt/smi-mesh /wheels/*.whl && \
    python3 -m compileall -q /opt/smi-mesh

FROM ${BASE}
RUN command -v iptables >/dev/null || \
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends iptables && rm -rf /var/lib/apt/lists/*; }
# Nothing can be written where it runs, and some bases come without: a sidecar would compile its imports at each start.
RUN python3 -m compileall -q -j 0 -x '/(test|tests|idlelib|lib2to3|tkinter|turtledemo|ensurepip|(site|dist)-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/smi-mesh /opt/smi-mesh
ENV PYTHONPATH=/opt/smi-mesh PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/smi-mesh/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
USER 2102:2102
CMD ["python3", "-m", "translator.kube", "--help"]
