#!/bin/sh
# Submit a picture through the HTTP API of Flower, and wait for its record. Only curl is needed.
#
#   FLOWER=http://127.0.0.1:5555 examples/flower.sh https://example.com/cat.jpg cat-1
#
# If Flower has a login, use FLOWER=http://user:password@host:5555. Without a login, it must have
# been started with FLOWER_UNAUTHENTICATED_API=true.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 IMAGE KEY" >&2; exit 2; }
image=$1 key=$2
api=${FLOWER:-http://127.0.0.1:5555}/api/task

field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

task=$(curl -fsS "$api/send-task/tasks.submit" -H 'Content-Type: application/json' \
  -d "{\"args\": [{\"image\": \"$image\", \"key\": \"$key\", \"prompt\": \"a 1-second pan left\"}]}" |
  field task-id)
answer=$(curl -fsS "$api/result/$task?timeout=60")
job=$(echo "$answer" | field job_id)
[ -n "$job" ] || { echo "$answer" >&2; exit 1; }

# The state is PENDING or PROGRESS, then HELD, SUCCESS (with the record), FAILURE or REVOKED.
while :; do
  answer=$(curl -fsS "$api/result/$job")
  case $answer in
    *'"state": "SUCCESS"'*) echo "$answer"; exit 0 ;;
    *'"state": "HELD"'* | *'"state": "FAILURE"'* | *'"state": "REVOKED"'*) echo "$answer" >&2; exit 1 ;;
  esac
  sleep 1
done
