#!/bin/sh
# What GitHub refuses of a push, for one ref: $1 is its name, $2 and $3 the old and the new object.
for branch in $CLOISTER_TESTING_PROTECTED; do
    if [ "$1" = "refs/heads/$branch" ]; then
        echo "error: GH006: Protected branch update failed for $1." >&2
        exit 1
    fi
done
if [ "$CLOISTER_TESTING_WORKFLOWS" = no ] && [ -n "${3##*0000000000000000}" ]; then
    changed=$(git log --format= --name-only "$3" --not --all -- .github/workflows | head -n 1)
    if [ -n "$changed" ]; then
        echo "refusing to allow a GitHub App to create or update workflow \`$changed\` without \`workflows\` permission" >&2
        exit 1
    fi
fi
exit 0
