#!/bin/bash
## kola:
##   description: "A Butane config holds, and its units wait for the helper (the example of the reference)."
set -xeuo pipefail

[ "$(stat --format=%a /etc/sample/butane)" = 600 ]
answer=
for _ in $(seq 60); do
    answer=$(curl --silent --fail localhost/butane) && break
    sleep 1
done
[ "$answer" = "from Butane" ]
