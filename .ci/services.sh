# What the whole test suite needs beside Python, on Debian 12: packages, and a RabbitMQ on loopback.

BROKER_STARTS_WITHIN_S=120
BROKER_STOPS_WITHIN_S=30

broker_pid=  # set if it was started here
epmd_pid=

# Installs what is missing, and starts RabbitMQ unless one is running.
start_services() {
    local epmd_before
    epmd_before=$(pidof epmd || true)
    if broker_answers; then
        echo "ci: RabbitMQ is running already"
        install_packages
        return
    fi
    install_packages
    if broker_answers; then
        echo "ci: the package has started RabbitMQ"
    else
        echo "ci: starting RabbitMQ"
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=5672 ERL_EPMD_ADDRESS=127.0.0.1 \
            rabbitmq-server -detached
        wait_for_broker
    fi
    broker_pid=$(rabbitmqctl -q eval 'os:getpid().' | tr -cd 0-9)
    [[ -n $epmd_before ]] || epmd_pid=$(pidof epmd || true)
}

# Ends what `start_services` has started.
stop_services() {
    [[ -n $broker_pid ]] || return 0
    kill "$broker_pid" 2>/dev/null || true
    local deadline=$((SECONDS + BROKER_STOPS_WITHIN_S))
    while kill -0 "$broker_pid" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.2; done
    kill -KILL "$broker_pid" 2>/dev/null || true
    [[ -z $epmd_pid ]] || kill "$epmd_pid" 2>/dev/null || true
}

install_packages() {
    local missing=()
    command -v make >/dev/null || missing+=(make)
    command -v rabbitmq-server >/dev/null || missing+=(rabbitmq-server)
    command -v chromium >/dev/null || missing+=(chromium)
    command -v exiftool >/dev/null || missing+=(libimage-exiftool-perl)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    command -v psql >/dev/null || missing+=(postgresql-client)
    command -v curl >/dev/null || missing+=(curl)
    command -v jq >/dev/null || missing+=(jq)
    if ((${#missing[@]})); then
        echo "ci: installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
    # What the producers' recipes for Node.js need; no script of a package is run.
    npm ci --prefix docs/messages/producers --ignore-scripts --no-audit --no-fund --loglevel=error
}

broker_answers() {
    command -v rabbitmqctl >/dev/null && rabbitmqctl -q await_startup --timeout 10 >/dev/null 2>&1
}

wait_for_broker() {
    local deadline=$((SECONDS + BROKER_STARTS_WITHIN_S))
    until broker_answers; do
        if ((SECONDS > deadline)); then
            echo "ci: RabbitMQ did not start within $BROKER_STARTS_WITHIN_S s; see /var/log/rabbitmq" >&2
            return 1
        fi
        sleep 1
    done
}
