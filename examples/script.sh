#!/bin/bash
# A script on your machine, with arguments and an environment variable.
#
# $ krt run -f examples/script.sh --env WHO=Ada -- big red
# hello, Ada: big red
echo "hello, $WHO: $*"
