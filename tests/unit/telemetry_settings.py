"""Django's settings of the processes that `test_telemetry_hooks` starts."""

USE_TZ = True
WEBHOOKS = {"MONITORING": {"METRICS": ["prometheus"]}}
