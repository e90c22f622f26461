# `crispseg serve` for an exported file, without PyTorch: docs/serve.md says how to build and run it.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /wheels /wheels
# Without its dependencies, which pip cannot leave out one by one: these are what running files and serving them needs.
RUN pip install --no-cache-dir --no-deps /wheels/*.whl \
    && pip install --no-cache-dir \
        "numpy>=1.26" "opencv-python-headless>=4.11.0.86" "pillow>=10.1" "pydantic>=2.9" "pyyaml>=6.0" \
        "typer>=0.16" "rich>=13.7" "jinja2>=3.1" "onnxruntime>=1.32" \
        "fastapi>=0.165" "uvicorn>=0.54" "python-multipart>=0.0.34" \
        "rasterio>=1.4.4" "shapely>=2.1" "pycocotools>=2.0.11" \
    && useradd --system --no-create-home crispseg
USER crispseg
EXPOSE 8000
HEALTHCHECK --start-period=20s --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Inside of the container every address is only what its network lets in: publish the port to 127.0.0.1, or to a proxy.
ENTRYPOINT ["crispseg", "serve", "--host", "0.0.0.0"]
CMD ["/models/model.onnx"]
