#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install Chromium, in which the tests open the dashboard of a grid, where it is not there. Without
# it these tests are skipped.
set -eu
if command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1; then exit; fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "There is no Chromium: tests of the dashboard will be skipped." >&2
    exit
fi
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
$sudo apt-get update -qq
$sudo apt-get install -y -qq chromium
