#!/bin/sh
# Builds the image and runs it as compose.yaml does, without a registry of images: docs/deploy.md, "How it was checked".
#
# As root on Debian, with buildah, podman, runc and mmdebstrap; needs 30 GB in $WORK and a package index that pip reaches.
# PIP_CONF and CA: pip's configuration and certificates for the build, as secrets; neither ends up in the image.
# SOURCES: a list of Debian's package sources for the base, by default this machine's. CPU_WHEELS: where torch without CUDA is; empty: the package index's.

set -eu

cd "$(dirname "$0")/.."
work=${WORK:-/var/tmp/trunkline-image}
sources=${SOURCES:-/etc/apt/sources.list.d/debian.sources}
base=docker.io/library/debian:bookworm-slim
mkdir -p "$work/tmp"
cat > "$work/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run"
END
export CONTAINERS_STORAGE_CONF="$work/storage.conf" TMPDIR="$work/tmp" BUILDAH_ISOLATION=chroot

if ! podman image exists "$base"; then
    mmdebstrap --variant=minbase --include=ca-certificates \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        bookworm "$work/base.tar" "$sources"
    podman import "$work/base.tar" "$base"
fi

buildah build --format docker --network host --file deploy/Dockerfile \
    ${CPU_WHEELS+--build-arg CPU_WHEELS="$CPU_WHEELS"} \
    ${PIP_CONF:+--secret id=pip,src="$PIP_CONF"} ${CA:+--secret id=ca,src="$CA"} --tag trunkline:cpu .

# Until it is ready: seconds of the clock, and of CPU time, which other programs on the machine change less.
start() {
    label=$1
    shift
    began=$(date +%s%N)
    id=$(podman --runtime runc run --detach --network none --read-only --read-only-tmpfs=false --cap-drop all \
        --security-opt no-new-privileges --ulimit nofile=20000:20000 --ulimit nproc=10000:10000 \
        --env TRUNKLINE_LIVEVIEW_TOKEN=check --env TRUNKLINE_TWILIO_AUTH_TOKEN=check "$@" trunkline:cpu 2>"$work/errors")
    until podman logs "$id" 2>&1 | grep -q "ready: page at"; do
        if [ "$(podman inspect --format '{{.State.Running}}' "$id")" != true ]; then
            podman logs "$id"
            exit 1
        fi
        sleep 0.1
    done
    wall=$(($(date +%s%N) - began))
    cpu=$(cat "/sys/fs/cgroup/cpuacct/libpod_parent/libpod-$id/cpuacct.usage")
    podman healthcheck run "$id"
    podman --runtime runc stop --time 60 "$id" >/dev/null
    status=$(podman inspect --format '{{.State.ExitCode}}' "$id")
    podman rm --volumes "$id" >/dev/null
    echo "$label: ready after $((wall / 10000000))0 ms, $((cpu / 10000000))0 ms of CPU time; healthy, exit status $status"
    [ "$status" = 0 ]
}

for run in 1 2 3; do
    start "start $run" --tmpfs /tmp:size=64m,mode=1777
done
start "as on a CPU without VNNI" --tmpfs /tmp:size=64m,mode=1777 --env NUMBA_CPU_NAME=x86-64-v3
start "kernels compiled for this very CPU" --tmpfs /tmp:size=64m,mode=1777 --env NUMBA_CPU_NAME="$(
    podman --runtime runc run --rm --network none --ulimit nofile=20000:20000 --ulimit nproc=10000:10000 \
        --entrypoint /opt/trunkline/bin/python trunkline:cpu \
        -c 'import llvmlite.binding as llvm; print(llvm.get_host_cpu_name())' 2>"$work/errors"
)"
podman images trunkline
