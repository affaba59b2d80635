# The light image: a bundle over HTTP, without torch. The bundle must have been exported (`whichland export`).
#
#   docker build -t whichland .
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --cap-drop ALL --security-opt no-new-privileges \
#       -e WHICHLAND_TOKEN -v "$PWD/runs/mine/bundle:/bundle:ro" whichland

FROM python:3.11-slim-bookworm AS build
COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
COPY recipes /source/recipes
RUN python -m venv /opt/whichland \
    && /opt/whichland/bin/pip install --no-cache-dir /source \
    && /opt/whichland/bin/python -m compileall -q /opt/whichland/lib

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin whichland
COPY --from=build /opt/whichland /opt/whichland
# 0.0.0.0 is the container's own network; what of it is seen outside is for `docker run -p` to say.
# Two arenas keep glibc from holding on to memory for every thread that once decoded a photo.
ENV PATH=/opt/whichland/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    WHICHLAND_BUNDLE=/bundle \
    WHICHLAND_HOST=0.0.0.0 \
    WHICHLAND_PORT=8000
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['WHICHLAND_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["whichland", "serve"]
