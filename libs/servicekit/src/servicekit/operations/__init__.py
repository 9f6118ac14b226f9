"""What every service serves alike, for whoever runs it: `credence.operations.v1`, a file a gRPC service.

`runtime.assemble` registers them. Whatever changes something here is recorded first, with who did it and why
(`recording`): an intervention that nobody can explain later is one more fault.
"""
