# Stands in for a coding agent: looks around, finds the bug, fixes it, runs the project's own tests.
say() { printf '\n* %s\n' "$*"; }

say "I am $(id -un) in $PWD, and was asked:"
cat "$CLOISTER_PROMPT_FILE"
echo

say "Is the secret of setup anywhere? In my environment: ${DEMO_TOKEN-absent}. In the processes I can see:"
grep --text --files-with-matches DEMO_TOKEN /proc/[0-9]*/environ 2>/dev/null || echo "absent"

say "Is there a network?"
curl --silent --show-error http://example.com
say "And for a program that ignores the proxy?"
curl --silent --show-error --noproxy '*' https://example.com 2>&1 | tail --lines=1

say "Which tests fail?"
pytest --quiet tests/test_utils.py | tail --lines=6

say "The length is compared with >= where > is meant."
sed --in-place 's/if total_length >= max_length:/if total_length > max_length:/' src/click/utils.py

say "All tests, offline:"
pytest --quiet | tail --lines=1 || exit 1

echo "Help that is exactly as long as allowed was cut. \`make_default_short_help\` compares with \`>\` again." \
    > /cloister/out/message.md
