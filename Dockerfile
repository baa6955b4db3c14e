# docker build -t fox-shard . && docker run -p 8080:8080 -p 8081:8081 -p 1883:1883 -p 8088:8088 -v fox-data:/app/data fox-shard
FROM python:3.12-slim

WORKDIR /app
COPY pyproject.toml setup.py README.md LICENSE MANIFEST.in ./
COPY conf conf
COPY tools tools
COPY fox_shard fox_shard
RUN pip install --no-cache-dir . \
 && rm -rf fox_shard setup.py build *.egg-info \
 && install -d -o 1000 -g 1000 data run

# Here `docker run -e FOX_SHARDS=8` sets the counts, and supervisord's own lines go to the log too.
RUN sed -i \
      -e 's/^environment=.*/environment=FOX_GATEWAYS="%(ENV_FOX_GATEWAYS)s",FOX_SHARDS="%(ENV_FOX_SHARDS)s"/' \
      -e 's/^silent=true/silent=false/' \
      conf/fox.conf

# Open to the network that the container is attached to; everything else as in conf/fox.toml. There
# are no users and no roles in the image, so whoever reaches a published port may do everything.
# FOX_AUTH_OPEN says that this is meant: `docker run -e FOX_AUTH_OPEN=false` refuses to start as long
# as neither conf/users.toml nor roles in conf/fox.toml are mounted.
ENV PYTHONUNBUFFERED=1 \
    FOX_CONFIG=/app/conf/fox.toml \
    FOX_GATEWAYS=2 \
    FOX_SHARDS=2 \
    FOX_GATEWAY_WEBSOCKET=0.0.0.0:8080 \
    FOX_GATEWAY_RAWSOCKET=0.0.0.0:8081 \
    FOX_GATEWAY_MQTT=0.0.0.0:1883 \
    FOX_WEB_ADDRESS=0.0.0.0:8088 \
    FOX_AUTH_OPEN=true

# A number, so that `runAsNonRoot` can be checked and the owner of a mounted directory is known.
USER 1000:1000
VOLUME /app/data
EXPOSE 8080 8081 1883 8088
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["fox", "health"]
CMD ["fox", "run"]
