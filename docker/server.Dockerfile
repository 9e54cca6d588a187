# The server: answers from a store, writes nothing but its tile cache and its exports.
#   docker build -f docker/server.Dockerfile -t terrazzo-server .
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY terrazzo terrazzo
COPY server server
COPY precompute/__init__.py precompute/__init__.py
# The pins of constraints.txt without their hashes, which pip would demand of this folder too.
RUN sed -e '/--hash=/d' -e 's/ *\\$//' constraints.txt > /tmp/pins.txt \
 && pip install --no-cache-dir --constraint /tmp/pins.txt ".[server]" \
 && rm -r /src/* /tmp/pins.txt \
 && useradd --system --uid 10001 --no-create-home terrazzo \
 && install -d -o terrazzo /store /cache /state

WORKDIR /
USER 10001
# The root file system may be read-only: compiled kernels and temporary files go to /tmp, tiles to /cache, exports to /state.
ENV TERRAZZO_STORE=/store TERRAZZO_CACHE_DIR=/cache TERRAZZO_STATE=/state NUMBA_CACHE_DIR=/tmp/numba PYTHONDONTWRITEBYTECODE=1
VOLUME ["/store", "/cache", "/state"]
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["terrazzo"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--workers", "2"]
