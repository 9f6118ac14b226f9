"""Real servers without Docker, Java or root: Apache Kafka and a MongoDB-protocol server as child processes.

For the demo, the tests and `credence stack` only. A service never imports this package: it is told addresses by
its environment and cannot know what is behind them. Everything listens on loopback.
"""
