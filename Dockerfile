# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY sql sql
# Named in Cargo.toml, so cargo wants it there; not built here.
COPY benches benches
COPY tests tests
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/tegata --create-home tegata
COPY --from=build /src/target/release/tegata /usr/local/bin/tegata
USER 10001
WORKDIR /var/lib/tegata
# Inside a container the loopback address would reach nobody; publish the port to where it should be reached.
ENV BIND_ADDR=0.0.0.0:8000 DATA_DIR=/var/lib/tegata/data
VOLUME /var/lib/tegata
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s CMD ["tegata", "healthcheck"]
ENTRYPOINT ["tegata"]
