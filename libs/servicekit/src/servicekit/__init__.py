"""What every Credence process needs: settings, tokens, roles, error mapping, health, telemetry, start and drain.

Import the modules, not this package: `servicekit.scope` alone needs no server library.
"""
