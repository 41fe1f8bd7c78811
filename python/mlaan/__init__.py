"""MLAAN: networks trained module by module. `mlaan.torch` is the method for any PyTorch network."""
