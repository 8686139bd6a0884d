#!/usr/bin/env bash
# Tries the beliefs of docs/aws.md on AWS itself, prints which of them hold, and deletes everything that it made.
#   tests/aws.sh              in the account and Region of your AWS credentials; takes about half an hour
#   tests/aws.sh ministack    on MiniStack, without an account, as .ci/run does; takes about a minute
#
# It makes one stack, tests/aws/stack.yaml: two buckets, a table, six queues, a function that fails on purpose, and a
# distribution. Most of its time goes to making the distribution and deleting it again. It deletes the stack also after
# a failure or Ctrl-C. The exit status is 0 if no belief is broken.
#
# It needs Python 3, and credentials in one of the places where boto3 looks for them, such as the environment. They
# have to allow it to create and delete stacks, buckets, tables, queues, functions, IAM roles (the stack has one),
# EventBridge rules and distributions, and to use what is in them; use AdministratorAccess of an account for tests.
#
# It costs about two cents, and up to a dollar if the account has used up its 1,000 free invalidation paths of the month:
# it invalidates some 170.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-aws} in
    aws)
        .ci/install stack
        work="$PWD/target/aws"
        mkdir -p "$work"
        ;;
    ministack)
        .ci/install ministack sam stack
        work="$PWD/target/aws"
        rm -rf "$work"
        source tests/stack/ministack.sh
        ;;
    *)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
        exit 2
        ;;
esac
target/venv/stack/bin/python tests/aws/main.py "${1:-aws}"
