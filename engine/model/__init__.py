"""The model in readable torch: log-mel features, FastConformer encoder with its caches, RNN-T decoder."""
