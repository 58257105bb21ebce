#!/bin/bash
## kola:
##   exclusive: false
##   description: "A config that contradicts another is on another machine."
set -xeuo pipefail
[ "$(cat /etc/sample-ignition)" = "something else" ]
