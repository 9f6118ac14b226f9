"""Benchmarks: what the platform costs beside the bare libraries it stands on, measured side by side in one run.

No test depends on a figure here. The scripts may import motor and aiokafka directly, as nothing else outside
`eventcore` may: they are what the kernel is compared with.
"""
