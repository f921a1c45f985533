# Two stages: the first has the tools to build, the second only what runs.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements/uv.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/gamma \
 && pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
 && uv pip install --no-cache --python /opt/gamma/bin/python --require-hashes --compile-bytecode -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE app.yml ./
COPY gamma_bot gamma_bot
COPY templates templates
# The package itself is built by hatchling in an environment of its own; its dependencies are the pinned ones above.
RUN uv pip install --no-cache --python /opt/gamma/bin/python --no-deps --compile-bytecode .

FROM python:3.11-slim
RUN useradd --system --create-home --uid 10001 gamma && mkdir /data && chown gamma /data
COPY --from=build /opt/gamma /opt/gamma
ENV PATH=/opt/gamma/bin:$PATH GAMMA_HOST=0.0.0.0 GAMMA_PORT=8080 GAMMA_DATA_DIR=/data PYTHONUNBUFFERED=1
USER gamma
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
CMD ["gamma", "serve"]
