#!/usr/bin/env bash
# Ask Globetag for a photograph: HTTP with curl (and jq, which writes JSON that is right whatever the name).
#
#     TOKEN=… ./submit.sh https://globetag.example s3://archive/1931/0042.tif "glass negatives"
#
# The key is made of the request, so that trying again is safe: the answer is the same, and so is the job.

set -euo pipefail
url=$1 uri=$2 collection=$3

body=$(jq --null-input --compact-output --arg uri "$uri" --arg collection "$collection" \
    '{uri: $uri, collection: $collection, hints: {region: "Styria"}}')
key=$(printf '%s' "$body" | sha256sum | cut -c 1-64)

# The token goes in through a file descriptor: whoever lists processes sees arguments.
curl --silent --show-error --fail-with-body --max-time 30 --retry 5 --retry-connrefused \
    --header @<([[ -z ${TOKEN:-} ]] || printf 'Authorization: Bearer %s\n' "$TOKEN") \
    --header 'Content-Type: application/json' \
    --header "Idempotency-Key: \"$key\"" \
    --data-binary "$body" \
    "$url/v1/jobs"
echo
