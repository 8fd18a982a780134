"""The installation's own authority in a whole task: its certificate is in the sandbox, its key is not."""

import os
import stat

from cloister.egress.authority import load_authority

from .installation import Installation

LOOK = """
cat "$CODEX_PROXY_CERT"
printf "found: "
grep -c -F -f "$CODEX_PROXY_CERT" "$SSL_CERT_FILE"
"""
KEY = "authority.pem"


async def test_a_sandbox_has_the_certificate_and_no_part_of_the_key(installation: Installation) -> None:
    async with installation.opened() as running:
        looked = await running.run(LOOK)
        certificate_printed, _, found = looked.printed("agent").partition("found: ")
        written = (
            await running.run("grep -rlsF -- 'PRIVATE KEY' /etc /cloister /root /proc/1/environ || true")
        ).printed("agent")
        authority = load_authority(installation.state)
    assert certificate_printed.strip() == authority.certificate.strip()
    assert int(found) >= authority.certificate.count("\n")
    assert written == ""
    file = (installation.state / KEY).stat()
    assert (stat.S_IMODE(file.st_mode), file.st_uid) == (0o600, os.getuid())
