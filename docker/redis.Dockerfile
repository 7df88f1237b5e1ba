# A stand-in for redis:7-alpine on a machine that can pull nothing: Debian's Redis, in the same places.
#   docker build --build-arg BASE_IMAGE=… - <docker/redis.Dockerfile
ARG BASE_IMAGE=debian:12-slim
FROM ${BASE_IMAGE}

RUN set -eu; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends redis-server; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*; \
    install --directory --owner redis --group redis /data

USER redis
WORKDIR /data
VOLUME /data
EXPOSE 6379
CMD ["redis-server"]
