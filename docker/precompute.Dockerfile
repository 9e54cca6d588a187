# The offline stage: products in, a store out.
#   docker build -f docker/precompute.Dockerfile -t terrazzo-precompute .
#   docker run --rm -v ./products:/products:ro -v ./store:/store terrazzo-precompute /products
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY terrazzo terrazzo
COPY precompute precompute
COPY server/__init__.py server/__init__.py
# The pins of constraints.txt without their hashes, which pip would demand of this folder too.
RUN sed -e '/--hash=/d' -e 's/ *\\$//' constraints.txt > /tmp/pins.txt \
 && pip install --no-cache-dir --constraint /tmp/pins.txt ".[precompute]" \
 && rm -r /src/* /tmp/pins.txt \
 && useradd --system --uid 10001 --no-create-home terrazzo \
 && install -d -o terrazzo /store

WORKDIR /
USER 10001
ENV NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib PYTHONDONTWRITEBYTECODE=1
VOLUME ["/store"]
ENTRYPOINT ["terrazzo", "precompute", "--store", "/store"]
CMD ["--help"]
