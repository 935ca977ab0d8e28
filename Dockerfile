# docker build -t stanchion . && docker run -p 8080:8080 -v stanchion:/var/lib/stanchion stanchion
FROM swift:6.3-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends make
WORKDIR /source
COPY . .
RUN make release && strip --strip-debug .build/release/stanchion

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libhiredis0.14 libjansson4 libpq5 libsqlite3-0 libssl3 libstdc++6 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 990 --home-dir /var/lib/stanchion --create-home stanchion
COPY --from=build /source/.build/release/stanchion /usr/local/bin/stanchion
USER stanchion
WORKDIR /var/lib/stanchion
VOLUME /var/lib/stanchion
EXPOSE 8080
# Any setting may be a variable: STANCHION_LISTEN, STANCHION_DATABASE_URL … `docker stop --time 30` lets it drain.
ENV STANCHION_LISTEN=0.0.0.0:8080
ENTRYPOINT ["stanchion"]
CMD ["serve"]
