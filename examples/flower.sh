#!/bin/sh
# Submit a picture by Flower's HTTP API, and follow it. Needs curl alone.
#
#   FLOWER=http://127.0.0.1:5555 examples/flower.sh https://example.com/cat.jpg cat-1
#
# Flower with a login: put FLOWER=http://user:password@host:5555. Without one, it answers only when
# it was started with FLOWER_UNAUTHENTICATED_API=true.
set -eu
image=$1 key=$2
api=${FLOWER:-http://127.0.0.1:5555}/api/task

field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

task=$(curl -fsS "$api/send-task/tasks.submit" -H 'Content-Type: application/json' \
  -d "{\"args\": [{\"image\": \"$image\", \"key\": \"$key\", \"prompt\": \"a 1-second pan left\"}]}" |
  field task-id)
answer=$(curl -fsS "$api/result/$task?timeout=60")
job=$(echo "$answer" | field job_id)
[ -n "$job" ] || { echo "$answer" >&2; exit 1; }

# PENDING, PROGRESS, then HELD, SUCCESS (with the record), FAILURE or REVOKED.
while :; do
  answer=$(curl -fsS "$api/result/$job")
  case $answer in
    *'"state": "SUCCESS"'*) echo "$answer"; exit 0 ;;
    *'"state": "HELD"'* | *'"state": "FAILURE"'* | *'"state": "REVOKED"'*) echo "$answer" >&2; exit 1 ;;
  esac
  sleep 1
done
