#!/bin/sh
# Installs the recommender of this folder, without any network: ./install.sh [--prefix DIR] [--python PROGRAM] [--no-service]
#
# A new environment is made beside the one in service and takes its place only when `edgerec-device doctor` has found
# that the model gives the right answers with it. With root's rights and systemd, a service is installed as well.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
service=yes
if [ "$(id -u)" -eq 0 ]; then prefix=/opt/edgerec; else prefix=$HOME/.local/share/edgerec; fi

fail() { echo "install.sh: $*" >&2; exit 1; }

while [ $# -gt 0 ]; do
    case $1 in
        --prefix) [ $# -gt 1 ] || fail "--prefix needs a folder"; prefix=$2; shift 2 ;;
        --python) [ $# -gt 1 ] || fail "--python needs a program"; python=$2; shift 2 ;;
        --no-service) service=no; shift ;;
        *) fail "unknown argument $1; use [--prefix DIR] [--python PROGRAM] [--no-service]" ;;
    esac
done
case $prefix in /*) ;; *) prefix=$(pwd)/$prefix ;; esac

command -v "$python" >/dev/null || fail "$python is not there; sudo apt install python3 python3-venv, or name one with --python"
found=$("$python" -c 'import platform, struct, sys
machine, bits = platform.machine(), 8 * struct.calcsize("P")
print("%d.%d" % sys.version_info[:2], "armv7l" if machine == "aarch64" and bits == 32 else machine)')
[ "$found" = "@PYTHON@ @MACHINE@" ] || fail "this folder is for Python @PYTHON@ on @MACHINE@, but $python is Python ${found% *} on ${found#* }; export it again for that one, or name another Python with --python"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python cannot make environments; sudo apt install python3-venv"
packages=@SYSTEM_PACKAGES@
if [ "$packages" = yes ]; then
    "$python" -c 'import numpy; assert int(numpy.__version__.partition(".")[0]) < 2' 2>/dev/null || fail "numpy 1 is not there, and has no package for @MACHINE@ on PyPI; sudo apt install python3-numpy libopenblas0"
fi

mkdir -p "$prefix"
new=$prefix/venv-$(date +%s)-$$
trap 'rm -rf "$new" "$prefix/model.tflite.new"' EXIT
echo "making $new"
if [ "$packages" = yes ]; then "$python" -m venv --system-site-packages "$new"; else "$python" -m venv "$new"; fi
# Without dependencies: the wheels of this folder are all that the device needs.
PIP_NO_INDEX=1 PIP_CONFIG_FILE=/dev/null "$new/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-index --no-deps --no-cache-dir --find-links "$here/wheels" "$here"/wheels/*.whl
"$new/bin/edgerec-device" doctor "$here/model.tflite" || fail "nothing was changed; see the problem above"

cp "$here/model.tflite" "$prefix/model.tflite.new"
mv -f "$prefix/model.tflite.new" "$prefix/model.tflite"
ln -sfn "$(basename "$new")" "$prefix/venv.new"
mv -fT "$prefix/venv.new" "$prefix/venv"
trap - EXIT
for old in "$prefix"/venv-*; do
    [ "$old" = "$new" ] || rm -rf "$old"
done
echo "installed: $prefix/venv/bin/edgerec-device recommend $prefix/model.tflite --history FILE"

if [ "$service" = yes ] && [ "$(id -u)" -eq 0 ] && [ -d /run/systemd/system ]; then
    sed "s|@PREFIX@|$prefix|g" "$here/edgerec.service" >/etc/systemd/system/edgerec.service
    systemctl daemon-reload
    systemctl enable --quiet edgerec.service
    systemctl restart edgerec.service
    echo "serving: curl -s http://127.0.0.1:8377/health"
else
    echo "no service was installed (that needs root's rights and systemd); to serve by hand:"
    echo "    $prefix/venv/bin/edgerec-device serve $prefix/model.tflite"
fi
