#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make a virtual environment in FOLDER with the first Python that fits. On Debian and Ubuntu the
# venv module is a package of its own; it is installed when it is missing.
# Usage: tools/venv.sh FOLDER [PYTHON]
set -eu
folder=$1
wanted=${2:-}

fits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

python=
for candidate in $wanted python3 python3.12 python3.13 python3.11; do
    if fits "$candidate"; then python=$candidate && break; fi
done
if [ -z "$python" ]; then
    echo "Python 3.11, 3.12 or 3.13 is needed and none was found:" \
        "install one, or name it with  make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if command -v apt-get >/dev/null 2>&1; then
        sudo=
        [ "$(id -u)" -eq 0 ] || sudo=sudo
        $sudo apt-get update -qq
        $sudo apt-get install -y -qq "python$version-venv"
    else
        echo "$python has no venv module: install the package that holds it and try again." >&2
        exit 1
    fi
fi
"$python" -m venv "$folder"
