#!/usr/bin/env bash
# A server of MongoDB's wire protocol on 127.0.0.1:PORT, without containers: FerretDB 2.7.0 (Go) on PostgreSQL 18 with the DocumentDB
# extension (Debian's packages in a folder of their own, entered with chroot). Needs Debian and root.
# usage: mongodb.sh [up|fresh|stop] PORT
# environment: BASE      folder for programs and data
#              AUTH=1    ask for user tester, password s3cret
#              TLS=1     speak TLS only; the CA is written to $BASE/mongodb-PORT/ca.pem, the certificate is for localhost and 127.0.0.1
#              DURABLE=1 keep what was written through a crash of the machine
#              SUITE     Debian suite that carries postgresql-18-documentdb: forky
#              PG_PORT   PostgreSQL's port: PORT + 10000, or - 10000 above 55535
set -euo pipefail
# shellcheck source=scripts/services/instance.sh
source "$(dirname "$0")/instance.sh"
begin mongodb 27017 "$@"
VERSION=2.7.0
SUITE=${SUITE:-forky}
POSTGRES_PORT=${PG_PORT:-$((PORT > 55535 ? PORT - 10000 : PORT + 10000))}
TREE=$BASE/debian-$SUITE
DATA=/var/lib/tidelock-$PORT
POSTGRES=/usr/lib/postgresql/18/bin
FERRETDB=$BASE/ferretdb-$VERSION
MODE="auth=${AUTH:-0} tls=${TLS:-0}"

build_ferretdb() {
  local go
  go=$(find_go) || die "building FerretDB needs Go 1.21 or later; scripts/install-prerequisites.sh installs it on Debian"
  mkdir -p "$FERRETDB"
  if ! GOBIN=$FERRETDB CGO_ENABLED=0 GOFLAGS=-modcacherw "$go" install "github.com/FerretDB/FerretDB/v2/cmd/ferretdb@v$VERSION" >"$FERRETDB.log" 2>&1; then
    tail -5 "$FERRETDB.log" >&2
    die "could not build FerretDB $VERSION; the whole log: $FERRETDB.log"
  fi
}

install_postgres() {
  local mirror
  require debootstrap "installing PostgreSQL with the DocumentDB extension"
  # This machine's own Debian mirror, whatever it is called.
  mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } | grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ')
  [ -n "$mirror" ] || die "no Debian mirror in /etc/apt: FerretDB's PostgreSQL comes from Debian's packages"
  if [ -e "$TREE" ]; then
    # An installation cut short may have left these.
    umount -l "$TREE/proc" "$TREE/sys" 2>/dev/null || true
    rm -rf --one-file-system "$TREE"
  fi
  if ! debootstrap --variant=minbase --include=postgresql-18-documentdb "$SUITE" "$TREE" "$mirror" /usr/share/debootstrap/scripts/sid >"$TREE.log" 2>&1; then
    tail -5 "$TREE.log" >&2
    die "could not install PostgreSQL from Debian $SUITE; the whole log: $TREE.log"
  fi
  rm -rf "$TREE"/var/cache/apt/archives/*.deb "$TREE"/var/lib/apt/lists/* "$TREE"/usr/share/{doc,man,locale,info}
}

as_postgres() (without_descriptors chroot "$TREE" runuser -u postgres -- "$@")

postgres_running() { [ -s "$TREE$DATA/postmaster.pid" ] && as_postgres "$POSTGRES/pg_ctl" -D "$DATA" status >/dev/null 2>&1; }

sql() { as_postgres "$POSTGRES/psql" -qAtX -h /tmp -p "$POSTGRES_PORT" -U postgres -v ON_ERROR_STOP=1 -c "$1"; }

start_postgres() {
  if postgres_running; then return; fi
  if listening "$POSTGRES_PORT"; then die "port $POSTGRES_PORT, meant for PostgreSQL, is taken by another process; set PG_PORT or choose another port"; fi
  if [ ! -e "$TREE$DATA/.complete" ]; then
    rm -rf --one-file-system "${TREE:?}$DATA"
    install -d -m 700 "$TREE$DATA"
    chroot "$TREE" chown postgres:postgres "$DATA"
    as_postgres "$POSTGRES/initdb" -D "$DATA" -A trust -U postgres --locale=C.UTF-8 -E UTF8 --no-sync >"$INSTANCE/initdb.log"
    # Without TCP the extension's inserts and pg_cron's jobs, which connect back to localhost, hang for ever.
    cat >>"$TREE$DATA/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $POSTGRES_PORT
unix_socket_directories = '/tmp'
dynamic_shared_memory_type = mmap
shared_preload_libraries = 'pg_cron, pg_documentdb_core, pg_documentdb'
cron.database_name = 'postgres'
jit = off
CONF
    if [ -z "${DURABLE:-}" ]; then printf 'fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n' >>"$TREE$DATA/postgresql.conf"; fi
    touch "$TREE$DATA/.complete"
  fi
  if ! as_postgres "$POSTGRES/pg_ctl" -D "$DATA" -w -t 60 -l "$DATA/log" start </dev/null >"$INSTANCE/pg_ctl.log" 2>&1; then
    tail -20 "$TREE$DATA/log" >&2
    die "PostgreSQL does not start on port $POSTGRES_PORT"
  fi
  sql "set client_min_messages = error; create extension if not exists documentdb cascade" >/dev/null
}

create_user() {
  if [ "$(sql "select count(*) from pg_roles where rolname = 'tester'")" = 1 ]; then return; fi
  sql "select documentdb_api.create_user('{\"createUser\":\"tester\",\"pwd\":\"s3cret\",\"roles\":[{\"role\":\"clusterAdmin\",\"db\":\"admin\"},{\"role\":\"readWriteAnyDatabase\",\"db\":\"admin\"}]}')" >/dev/null
}

create_certificate() {
  if [ -s "$INSTANCE/server.pem" ]; then return; fi
  require openssl "making a test certificate"
  (
    cd "$INSTANCE"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=test-ca -days 3650
    openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out server.part \
      -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n')
    mv server.part server.pem
  ) >"$INSTANCE/openssl.log" 2>&1 || die "could not make a certificate; see $INSTANCE/openssl.log"
}

start() {
  if running >/dev/null && listening "$PORT" && postgres_running && [ "$(cat "$INSTANCE/mode")" = "$MODE" ]; then return; fi
  [ "$(id -u)" = 0 ] || die "needs root, because PostgreSQL runs in a chroot"
  local building listen=(--listen-addr="127.0.0.1:$PORT") access=(--no-auth)
  # Several minutes of one core and several of network: side by side.
  (install_once "ferretdb-$VERSION" build_ferretdb) &
  building=$!
  (install_once "debian-$SUITE" install_postgres) || die "PostgreSQL is not installed"
  wait "$building" || die "FerretDB is not installed"
  end_process
  start_postgres
  if [ -n "${AUTH:-}" ]; then
    create_user
    access=()
  fi
  if [ -n "${TLS:-}" ]; then
    create_certificate
    listen=(--listen-addr= --listen-tls="127.0.0.1:$PORT" --listen-tls-cert-file="$INSTANCE/server.pem" --listen-tls-key-file="$INSTANCE/server.key")
  fi
  printf '%s' "$MODE" >"$INSTANCE/mode"
  launch "$FERRETDB/ferretdb" "${listen[@]}" "${access[@]}" --debug-addr=- --state-dir="$INSTANCE" --log-level=ERROR --telemetry=disable \
    --postgresql-url="postgres://postgres@/postgres?host=$TREE/tmp&port=$POSTGRES_PORT"
  await 60 listening "$PORT"
}

halt() {
  end_process
  if [ -s "$TREE$DATA/postmaster.pid" ] && ! as_postgres "$POSTGRES/pg_ctl" -D "$DATA" -m fast -w -t 30 stop >"$INSTANCE/pg_ctl.log" 2>&1 && postgres_running; then
    die "PostgreSQL on port $POSTGRES_PORT does not stop; see $INSTANCE/pg_ctl.log"
  fi
}

wipe() {
  find "$INSTANCE" -mindepth 1 -delete
  rm -rf --one-file-system "${TREE:?}$DATA"
}

# The certificate's first name is what a client with TLS checks.
HOST=${TLS:+localhost}
serve "mongodb://${AUTH:+tester:s3cret@}${HOST:-127.0.0.1}:$PORT/?directConnection=true&retryWrites=false${AUTH:+&authSource=admin}${TLS:+&tls=true&tlsCAFile=$INSTANCE/ca.pem}"
