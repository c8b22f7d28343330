# One image for all parts. It runs a worker by default, and contains all `reelqueue` commands.

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/reelqueue
COPY requirements.lock ./
RUN /opt/reelqueue/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
RUN /opt/reelqueue/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 reelqueue \
    && install -d -o reelqueue -g reelqueue /app /app/var /app/var/media /app/var/output \
        /app/var/flower
COPY --from=build /opt/reelqueue /opt/reelqueue
ENV PATH=/opt/reelqueue/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app
USER reelqueue
VOLUME ["/app/var/media", "/app/var/output"]
# Without a shell, so that the worker is process 1 and receives the signal to stop.
CMD ["celery", "-A", "worker.app", "worker", "-P", "gevent"]
