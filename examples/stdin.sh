#!/bin/bash
# A script from stdin.
#
# $ krt run -f - < examples/stdin.sh
# 4
# $ echo 'echo $1' | krt run -f - -- five
# five
echo "$((2 + 2))"
