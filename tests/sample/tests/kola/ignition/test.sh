#!/bin/bash
## kola:
##   exclusive: false
##   description: "An Ignition config holds, on a shared machine too."
set -xeuo pipefail
[ "$(cat /etc/sample-ignition)" = "from Ignition" ]
