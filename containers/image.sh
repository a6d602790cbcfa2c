#!/usr/bin/env bash
# `./run container`, after the set-up and with anygpu's wheel in dist/: makes the base image where no registry has it, and both images.
# ANYGPU_BASE names a base image.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

PYTHON=.venv/bin/python
CONTEXT=build-container
say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# ---- the base image ----

# This machine's distribution: its Python and its libraries are those that the wheel was made for.
base_image() {
  local id codename name
  id=$(. /etc/os-release && echo "$ID") codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  name=$id:$codename
  [ "$id" = debian ] && name+=-slim
  if podman image exists "$name" || podman pull -q "$name" >/dev/null 2>&1; then echo "$name"; return; fi
  name=localhost/$id:$codename
  if ! podman image exists "$name"; then
    say "no registry gives $id:$codename: debootstrap makes it" >&2
    [ "$(id -u)" = 0 ] || die "debootstrap needs root; or name an image of $id $codename that you have in ANYGPU_BASE"
    rm -rf $CONTEXT/rootfs
    debootstrap --variant=minbase "$codename" $CONTEXT/rootfs >$CONTEXT/debootstrap.log 2>&1 || die "debootstrap failed; all of it: $CONTEXT/debootstrap.log"
    rm -rf $CONTEXT/rootfs/var/cache/apt/archives/*.deb $CONTEXT/rootfs/var/lib/apt/lists/*
    tar -C $CONTEXT/rootfs -c . | podman import - "$name" >/dev/null 2>&1
    rm -rf $CONTEXT/rootfs
  fi
  echo "$name"
}

# The packages of this distribution that own what anygpu's libraries need, and what the CDI file asks of an image.
packages() {
  local name path asked
  asked=$(build/bin/anygpu cdi generate --software --dry-run 2>&1 >/dev/null | sed -n 's/.*and have: \(.*\); one with.*/\1/p')
  for name in libvulkan.so.1 $asked $(readelf -d build/src/libanygpu.so build/src/libanygpu_cpu_library.so | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'); do
    path=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p | awk -v name="$name" '$1 == name && !path {path = $NF} END {print path}')
    [ -n "$path" ] || die "$name is not on this machine"
    dpkg-query -S "$path" "/usr$path" "$(readlink -f "$path")" 2>/dev/null | sed -n '1s/:.*//p' || true
  done | grep -v -x libc6 | sort -u | tr '\n' ' '
}

# ---- how containers are started here ----

# $CONTEXT/bin/podman and docker: the programs with what this machine asks for besides. Where a container may not have the usual limits,
# or the default runtime does not know the kernel's control groups, they must be told so. No container has a network; a build has this machine's.
wrap() {
  local engine=$1 base=$2 program runtime=() limits=() trial=()
  program=$(command -v "$engine")
  trial=(run --rm --network none)
  if ! "$program" "${trial[@]}" "$base" true >$CONTEXT/start.log 2>&1; then
    limits=(--ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
    [ "$engine" = podman ] && runtime=(--runtime runc)
    "$program" "${runtime[@]}" "${trial[@]}" "${limits[@]}" "$base" true >>$CONTEXT/start.log 2>&1 || { cat $CONTEXT/start.log; die "$engine starts no container here"; }
  fi
  mkdir -p $CONTEXT/bin
  cat >$CONTEXT/bin/"$engine" <<WRAPPER
#!/bin/sh
verb=\$1
shift
case \$verb in
  run) exec $program ${runtime[*]} run --network none ${limits[*]} "\$@" ;;
  build) exec $program ${runtime[*]} build --network host ${limits[*]} --build-arg BASE=$base --build-arg PACKAGES="$(packages)" "\$@" ;;
  *) exec $program "\$verb" "\$@" ;;
esac
WRAPPER
  chmod +x $CONTEXT/bin/"$engine"
}

# ---- the images ----

wheels() {
  mkdir -p $CONTEXT/wheels
  rm -f $CONTEXT/wheels/anygpu-*.whl
  cp dist/anygpu-*.whl $CONTEXT/wheels
  cp examples/train_digits.py $CONTEXT
  local torch
  torch=$(TORCH_DEVICE_BACKEND_AUTOLOAD=0 $PYTHON -c 'import torch; print(torch.__version__)')
  $PYTHON -m pip download -q --disable-pip-version-check -d $CONTEXT/wheels "torch==$torch" $CONTEXT/wheels/anygpu-*.whl numpy scikit-learn matplotlib tqdm
}

build() {
  say "building $1"
  $CONTEXT/bin/podman build -t "$1" -f "$2" $CONTEXT >$CONTEXT/build.log 2>&1 || { tail -n 30 $CONTEXT/build.log; die "podman built no image; all of it: $CONTEXT/build.log"; }
}

mkdir -p $CONTEXT
base=${ANYGPU_BASE:-$(base_image)}
wrap podman "$base"
say "wheels for the image"
wheels
build localhost/anygpu containers/Containerfile
build localhost/anygpu-digits containers/digits/Containerfile
podman images --filter 'reference=localhost/anygpu*'

# docker too, where its engine answers and reads CDI files.
rm -f $CONTEXT/bin/docker
if [[ $(docker info 2>/dev/null) == *'CDI spec directories'* ]]; then
  docker image inspect "$base" >/dev/null 2>&1 || podman save "$base" | docker load >/dev/null
  wrap docker "$base"
fi
