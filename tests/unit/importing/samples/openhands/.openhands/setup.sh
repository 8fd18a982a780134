#!/bin/bash
# Prepares the project.
export STAGE="dev"
pip install -e '.[test]'
cat <<'EOF' > /root/.netrc-example
machine "example.com" \
EOF
