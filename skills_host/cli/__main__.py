"""`python -m skills_host.cli` is `skills-host`."""

from skills_host.cli import main

__all__: list[str] = []

main()
